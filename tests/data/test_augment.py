"""Augmentation against plain definitions, its draws, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from qtrain_cli.data.augment import _STEPS, MIXUP, Augment, augment_of, cropped, flipped, mixed_up
from qtrain_cli.data.inputs import NamedInputs
from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.settings.fit import AUGMENTATIONS

PIXELS = torch.randint(0, 256, (40, 3, 16, 12), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(40) % 5


def random(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_every_augmentation_that_may_be_asked_for_is_done():
    assert (*_STEPS, MIXUP) == AUGMENTATIONS


def test_half_of_the_pictures_are_mirrored_and_the_others_are_not_touched():
    found, targets = flipped(PIXELS, LABELS, random())
    mirrored = [torch.equal(one, other.flip(-1)) for one, other in zip(found, PIXELS, strict=True)]
    same = [torch.equal(one, other) for one, other in zip(found, PIXELS, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True)) and 10 < sum(mirrored) < 30
    assert torch.equal(targets, LABELS) and found.dtype == torch.uint8


def test_targets_of_each_place_are_mirrored_with_their_picture():
    places = PIXELS[:, 0].long()
    found, targets = flipped(PIXELS, places, random())
    assert torch.equal(targets, found[:, 0].long())
    _, coarse = flipped(PIXELS, places[:, ::4, ::4], random())  # of a model that names a place in sixteen
    unturned = (found == PIXELS).flatten(1).all(1)
    assert torch.equal(coarse[unturned], places[unturned, ::4, ::4])
    assert torch.equal(coarse[~unturned], places[~unturned, ::4, ::4].flip(-1))


def test_a_crop_is_a_window_of_the_picture_with_a_black_edge():
    found, _ = cropped(PIXELS, LABELS, random())
    draws = random().integers(0, 5, (2, 40))
    seen = set()
    for row, (top, left) in enumerate(draws.T):
        padded = torch.zeros(3, 20, 16, dtype=torch.uint8)
        padded[:, 2:18, 2:14] = PIXELS[row]
        assert torch.equal(found[row], padded[:, top : top + 16, left : left + 12])
        seen.add((int(top), int(left)))
    assert len(seen) > 10


def test_mixed_rows_are_weighted_means_and_know_their_other_target():
    found = mixed_up(PIXELS, LABELS, random(3))
    again = random(3)
    share, order = float(again.beta(0.2, 0.2)), torch.from_numpy(again.permutation(40))
    plain = PIXELS.float() / 255
    assert torch.allclose(found.inputs, share * plain + (1 - share) * plain[order])
    assert found.mixed.share == share and torch.equal(found.mixed.targets, LABELS[order])
    assert torch.equal(found.targets, LABELS)


def test_draws_follow_from_seed_and_step_alone():
    def made(seed, step):
        return Augment(("mixup", "crop", "flip"), seed)(PIXELS, LABELS, step).inputs

    assert torch.equal(made(0, 7), made(0, 7))
    assert not torch.equal(made(0, 7), made(0, 8)) and not torch.equal(made(0, 7), made(1, 7))
    before = torch.random.get_rng_state()
    made(0, 7)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("names", "inputs", "targets", "message"),
    [
        (("flip",), torch.zeros(4, 3), LABELS[:4], "--augment flip is for pictures"),
        (("mixup",), torch.zeros(4, 3, dtype=torch.int64), LABELS[:4], "is for pictures or numbers in one"),
        (("mixup",), NamedInputs({"a": torch.zeros(4, 3)}), LABELS[:4], "is for pictures or numbers in one"),
        (("flip", "crop"), PIXELS[:4], PIXELS[:4, 0].long(), "targets of each place of a picture go with"),
    ],
)
def test_what_cannot_be_augmented_so_is_refused(names, inputs, targets, message):
    with pytest.raises(UsageError, match=message):
        augment_of(names, 0, inputs, targets)


def test_nothing_is_asked_for_and_nothing_is_done():
    assert augment_of((), 0, torch.zeros(4, 3), LABELS[:4]) is None
    assert augment_of(("mixup",), 0, torch.zeros(4, 3), LABELS[:4]) == Augment(("mixup",), 0)


def test_randaugment_without_torchvision_says_the_way_on(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchvision.transforms", None)
    with pytest.raises(BadInput, match="--augment randaugment needs the package torchvision") as caught:
        augment_of(("randaugment",), 0, PIXELS, LABELS)
    assert caught.value.advice == "pip install 'qtrain[torchvision]'"


def test_randaugment_goes_picture_by_picture_through_what_torchvision_has(monkeypatch):
    """A stand-in draws from torch's generator, as the original does."""
    from types import ModuleType, SimpleNamespace

    module = ModuleType("torchvision.transforms")
    module.v2 = SimpleNamespace(RandAugment=lambda: lambda one: one.roll(int(torch.randint(99, ())), -1))
    monkeypatch.setitem(__import__("sys").modules, "torchvision", ModuleType("torchvision"))
    monkeypatch.setitem(__import__("sys").modules, "torchvision.transforms", module)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    augment = augment_of(("randaugment",), 0, PIXELS, LABELS)
    one, again, other = (augment(PIXELS, LABELS, step).inputs for step in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert len({tuple(picture.flatten().tolist()) for picture in one}) == 40
