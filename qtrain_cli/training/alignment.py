"""Feature-space alignment: what a teacher's layer says, against a student's features through a trained
projection.

    f (N, k) student, t (N, d) teacher (standardised over the training rows), g = f W^T + c with W (d, k)
    trained

    mse      mean (g - t)**2                          cosine   mean 1 - <g, t> / (|g| |t|)
    cka      1 - |G^T T|**2 / (|G^T G| |T^T T|)       G, T centred over the batch (Kornblith et al. 2019)

A teacher's features are read by a hook on the named layer. Only the projection is thrown away at the end.
Of several processes each has the features of its share, and the loss is taken of all of them: cka is no mean.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from qtrain_cli.data import TrainSplit
from qtrain_cli.data.inputs import Inputs, Prepare
from qtrain_cli.errors import BadInput, UsageError, suggestion
from qtrain_cli.models.call import predict
from qtrain_cli.training.batches import Batch
from qtrain_cli.training.course import Answers
from qtrain_cli.training.ranks import present

#: Added to a spread that may be zero: a unit that is always dead is no target.
_LEAST_SPREAD = 1e-6


def mse(projected: Tensor, taught: Tensor) -> Tensor:
    """Mean squared difference."""
    return F.mse_loss(projected, taught)


def cosine(projected: Tensor, taught: Tensor) -> Tensor:
    """One minus the mean cosine of each row's angle."""
    return 1 - F.cosine_similarity(projected, taught, dim=1).mean()


def cka(projected: Tensor, taught: Tensor) -> Tensor:
    """One minus linear centred kernel alignment over the batch."""
    g, t = projected - projected.mean(0), taught - taught.mean(0)
    cross, own, theirs = ((a.mT @ b).square().sum() for a, b in ((g, t), (g, g), (t, t)))
    return 1 - cross / (own.sqrt() * theirs.sqrt()).clamp_min(1e-12)


#: `--align-loss` -> (projected (N, d), taught (N, d)) -> scalar.
ALIGN_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"mse": mse, "cosine": cosine, "cka": cka}


@dataclass(frozen=True)
class Alignment:
    """A teacher's standardised features of a batch (N, d), the projection to them, loss and weight."""

    taught: Answers
    projection: nn.Linear
    loss: str
    weight: float

    def penalty(self, features: Tensor, batch: Batch) -> Tensor:
        """The weighted alignment loss of a batch, a scalar: features (N, k) of the student. Of a share, what
        it adds to the batch's."""
        given, ranks = (self.projection(features), self.taught(batch)), present()
        if batch.whole is None:
            return self.weight * ALIGN_LOSSES[self.loss](*given)
        # Everybody has the same loss: each of them adds its part of it to the sum.
        every = (ranks.gathered(part, len(batch.whole.targets)) for part in given)
        return self.weight / ranks.count * ALIGN_LOSSES[self.loss](*every)


def teacher_features(
    module: nn.Module,
    state: Mapping[str, Tensor],
    layer: str,
    train: TrainSplit,
    prepare: Prepare,
) -> tuple[Answers, int]:
    """What the named layer returns for a batch, flat and standardised over the training rows: (N, d), and d.

    Raises:
        UsageError: no such layer (with the nearest), or one that is not a single module call with a tensor.
        BadInput: it returns no row for each input.
    """
    ask = _caught(module, state, layer, prepare)
    features = ask(train.inputs)
    mean, spread = features.mean(0), features.std(0) + _LEAST_SPREAD
    known = (features - mean) / spread
    return Answers(lambda inputs: (ask(inputs) - mean) / spread, known), known.shape[1]


def _caught(
    module: nn.Module, state: Mapping[str, Tensor], layer: str, prepare: Prepare
) -> Callable[[Inputs], Tensor]:
    """Inputs (N, ...) -> what the layer returns for them (N, d), on the CPU."""
    found = dict(module.named_modules())
    if layer not in found or not layer:
        raise UsageError(f"the teacher has no layer '{layer}'", suggestion(layer, filter(None, found)))

    def ask(inputs: Inputs) -> Tensor:
        caught: list[Tensor] = []
        hook = found[layer].register_forward_hook(lambda _m, _i, out: caught.append(_rows(layer, out)))
        try:
            predict(module, state, inputs, lambda batch: prepare(batch))  # in the rows' own order
        finally:
            hook.remove()
        return _a_row_each(layer, torch.cat(caught) if caught else torch.empty(0), inputs)

    return ask


def _a_row_each(layer: str, features: Tensor, inputs: Inputs) -> Tensor:
    if len(features) != len(inputs):
        raise BadInput(
            f"the teacher's layer '{layer}' returns {len(features)} rows for {len(inputs)} inputs",
            "align with a layer that runs once for each input",
        )
    return features


def _rows(layer: str, out: object) -> Tensor:
    if not isinstance(out, Tensor):
        raise BadInput(
            f"the teacher's layer '{layer}' returns a {type(out).__name__}, not a tensor",
            "align another layer",
        )
    return out.detach().flatten(1).float().cpu()


def projection(features: int, taught: int, seed: int) -> nn.Linear:
    """The trained map from a student's features to a teacher's, seeded."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        return nn.Linear(features, taught)
