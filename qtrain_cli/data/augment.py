"""What training batches of pictures go through, at random: never validation rows, never test rows.

    flip          each picture is mirrored left to right, or not
    crop          an eighth of the height is added all around in black, and as much is cut away: anywhere
    randaugment   torchvision's `v2.RandAugment` (Cubuk et al. 2020), picture by picture
    mixup         l x + (1 - l) x', l from Beta(0.2, 0.2), x' another row of the batch (Zhang et al. 2018);
                  the loss is l times that of the row's target and 1 - l times that of the other's

in this order. What is drawn follows from seed and step alone, by Philox: the same step has the same batch in
any process, so that a run that goes on repeats the undisturbed one. A teacher is asked on the batch as it
became.

Mixing works for any inputs of numbers, the others are for pictures (N, C, H, W); a picture whose places have
targets of their own is mirrored with them, and takes no other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from qtrain_cli.data.inputs import Inputs
from qtrain_cli.errors import UsageError, missing_package

#: Of the height, all around; and both parameters of Beta.
CROP_SHARE, MIXED_BY = 8, 0.2
MIXUP, RANDAUGMENT = "mixup", "randaugment"


@dataclass(frozen=True)
class Mixed:
    """The other targets (N, ...) of a mixed batch, and the share of its own ones."""

    targets: Tensor
    share: float


@dataclass(frozen=True)
class Augmented:
    """A batch as it became: inputs (N, ...), targets (N, ...), and the other targets where two were mixed."""

    inputs: Tensor
    targets: Tensor
    mixed: Mixed | None = None


@dataclass(frozen=True)
class Augment:
    """Some of `settings.fit.AUGMENTATIONS`, by name."""

    names: tuple[str, ...]
    seed: int

    @property
    def in_threads(self) -> bool:
        """Whether it draws from no stream that others of the process draw from."""
        return RANDAUGMENT not in self.names

    def __call__(self, inputs: Tensor, targets: Tensor, step: int) -> Augmented:
        """The batch of a step, which is not changed in place."""
        random = np.random.Generator(np.random.Philox(key=[self.seed, step]))
        for name, augmentation in _STEPS.items():
            if name in self.names:
                inputs, targets = augmentation(inputs, targets, random)
        return mixed_up(inputs, targets, random) if MIXUP in self.names else Augmented(inputs, targets)


def augment_of(names: Sequence[str], seed: int, inputs: Inputs, targets: Tensor) -> Augment | None:
    """What was asked for, if anything was, once it fits the rows.

    Raises:
        UsageError: the inputs are no pictures, or no numbers that can be mixed.
        BadInput: torchvision is not there.
    """
    if not names:
        return None
    plain = isinstance(inputs, Tensor)
    picture = isinstance(inputs, Tensor) and inputs.dim() == 4
    for name in names:
        if name != MIXUP and not picture:
            raise UsageError(f"--augment {name} is for pictures (N, C, H, W)", f"leave out {name}")
    if not plain or not (inputs.is_floating_point() or inputs.dtype == torch.uint8):  # type: ignore[union-attr]
        raise UsageError("--augment is for pictures or numbers in one tensor", "leave out --augment")
    if picture and targets.dim() == 3 and set(names) - {"flip"}:
        what = "targets of each place of a picture go with flip alone"
        raise UsageError(f"--augment {','.join(names)}: {what}", "leave out the others")
    if RANDAUGMENT in names:
        _randaugment()
    return Augment(tuple(names), seed)


# --- the table ---------------------------------------------------------------------------------------------

_Pair = tuple[Tensor, Tensor]


def flipped(inputs: Tensor, targets: Tensor, random: np.random.Generator) -> _Pair:
    """Half of the pictures (N, C, H, W) mirrored, with targets (N, h, w) of places where they have such."""
    chosen = torch.from_numpy(random.random(len(inputs)) < 0.5).to(inputs.device)
    if targets.dim() == 3:
        targets = torch.where(chosen[:, None, None], targets.flip(-1), targets)
    return torch.where(chosen[:, None, None, None], inputs.flip(-1), inputs), targets


def cropped(inputs: Tensor, targets: Tensor, random: np.random.Generator) -> _Pair:
    """Each picture (N, C, H, W) moved by up to an eighth of its height; what comes in is 0."""
    count, channels, height, width = inputs.shape
    edge = max(1, height // CROP_SHARE)
    padded = F.pad(inputs, (edge,) * 4)  # (N, C, H + 2 edge, W + 2 edge)
    places = torch.from_numpy(random.integers(0, 2 * edge + 1, (2, count))).to(inputs.device)
    rows = places[0, :, None] + torch.arange(height, device=inputs.device)  # (N, H)
    columns = places[1, :, None] + torch.arange(width, device=inputs.device)  # (N, W)
    which = torch.arange(count, device=inputs.device)[:, None, None, None]
    channel = torch.arange(channels, device=inputs.device)[None, :, None, None]
    return padded[which, channel, rows[:, None, :, None], columns[:, None, None, :]], targets


def by_torchvision(inputs: Tensor, targets: Tensor, random: np.random.Generator) -> _Pair:
    """Each picture (C, H, W) by `RandAugment` with its own draws. Torch's generator is left as it was."""
    augment = _randaugment()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(random.integers(2**31)))
        return torch.stack([augment(picture) for picture in inputs]), targets


def mixed_up(inputs: Tensor, targets: Tensor, random: np.random.Generator) -> Augmented:
    """The batch with another order of itself; pixels become floats of 0 to 1, as they are prepared."""
    share = float(random.beta(MIXED_BY, MIXED_BY))
    order = torch.from_numpy(random.permutation(len(inputs))).to(inputs.device)
    plain = inputs.float() / 255 if inputs.dtype == torch.uint8 else inputs
    return Augmented(share * plain + (1 - share) * plain[order], targets, Mixed(targets[order], share))


#: All but mixing, in their order.
_STEPS: dict[str, Callable[[Tensor, Tensor, np.random.Generator], _Pair]] = {
    "flip": flipped,
    "crop": cropped,
    RANDAUGMENT: by_torchvision,
}


def _randaugment() -> Callable[[Tensor], Tensor]:
    try:
        from torchvision.transforms import v2
    except ImportError:
        raise missing_package("--augment randaugment", "torchvision", "torchvision") from None
    augment: Callable[[Tensor], Tensor] = v2.RandAugment()
    return augment
