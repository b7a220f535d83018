"""A class for each place of a row: what tokens of a text and pixels of a picture have in common.

    tokens      outputs (N, L, C)       targets (N, L)
    pixels      outputs (N, C, H, W)    targets (N, H, W)

    hard loss   the mean over places that count of CE(y, s)
    soft loss   the mean over them of T**2 KL(softmax(t / T) || softmax(s / T))
    closeness   the share of them at which student and teacher name the same class

s: the scores of a place, t: the teacher's, y: its class. Places whose target is `IGNORED` (padding, the void
label) count nowhere: scores are chosen before anything is computed of them, so that such places change no
bit. Targets may be of any integer type, the smaller the better: a split's are held in memory.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypedDict

from qtrain_cli.errors import BadInput
from qtrain_cli.tasks.classification import CLASSIFICATION, weight_of
from qtrain_cli.tasks.counting import mean_of
from qtrain_cli.tasks.metrics import Metric, of_sums

if TYPE_CHECKING:
    from torch import Tensor

#: What a target is that counts nowhere, whatever the data call it.
IGNORED = -100


def counted(targets: Tensor) -> Tensor:
    """Which places count (N, ...)."""
    return targets != IGNORED


class OfPlaces(TypedDict):
    """What the rows of these tasks have in common, as fields of `Task`."""

    check: Callable[[Tensor, Tensor, int | None], None]
    hard_loss: Callable[[Tensor, Tensor], Tensor]
    soft_loss: Callable[[Tensor, Tensor, float, Tensor], Tensor]
    weighted: Callable[[Tensor, Tensor, Tensor], Tensor]
    weight_of: Callable[[Tensor, Tensor], float]
    closeness_counts: Callable[[Tensor, Tensor, Tensor], Tensor]
    size_of: Callable[[Tensor], int]
    resampled: bool
    places: bool


def of_places(axis: int, form: str) -> OfPlaces:
    """For outputs with classes along this axis; `form` is what they should be, for people."""
    return {
        "check": _check(axis, form),
        "hard_loss": _hard_loss(axis),
        "soft_loss": _soft_loss(axis),
        "weighted": _weighted(axis),
        "weight_of": lambda targets, weights: weight_of(targets[counted(targets)], weights),
        "closeness_counts": _closeness_counts(axis),
        "size_of": _places_that_count,
        "resampled": True,
        "places": True,
    }


def right_places(axis: int, name: str, label: str) -> Metric:
    """The share of places that are named rightly."""
    counts = right_counts(axis)
    return Metric(name, label, lambda outputs, targets: counts(outputs, targets).sum(0), of_sums(mean_of))


def _places_that_count(targets: Tensor) -> int:
    return int(counted(targets).sum())


def chosen(axis: int, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Scores (M, C) and classes (M,), int64, of the places that count; classes are along this axis."""
    places = counted(targets)
    return outputs.movedim(axis, -1)[places], targets[places].long()


def by_row(values: Tensor, targets: Tensor) -> Tensor:
    """Sums (N,), float64, over each row's places that count, of a value (M,) for each of them."""
    rows = counted(targets).reshape(len(targets), -1).nonzero()[:, 0]
    return values.new_zeros(len(targets)).double().index_add(0, rows, values.double())


def row_places(targets: Tensor) -> Tensor:
    """How many places of each row count (N,), float64."""
    return counted(targets).reshape(len(targets), -1).sum(1).double()


def right_counts(axis: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Counts (N, 2): places that are named rightly, and places."""

    def counts(outputs: Tensor, targets: Tensor) -> Tensor:
        import torch

        scores, right = chosen(axis, outputs, targets)
        return torch.stack([by_row(scores.argmax(1) == right, targets), row_places(targets)], 1)

    return counts


def _closeness_counts(axis: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Counts (N, 2): places at which both name the same, and places."""

    def counts(outputs: Tensor, teacher: Tensor, targets: Tensor) -> Tensor:
        import torch

        ours, theirs = (chosen(axis, found, targets)[0].argmax(1) for found in (outputs, teacher))
        return torch.stack([by_row(ours == theirs, targets), row_places(targets)], 1)

    return counts


def _hard_loss(axis: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The cross-entropy; 0 where no place counts."""

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        scores, right = chosen(axis, outputs, targets)
        return CLASSIFICATION.hard_loss(scores, right) if len(right) else outputs.sum() * 0.0

    return loss


def _soft_loss(axis: int) -> Callable[[Tensor, Tensor, float, Tensor], Tensor]:
    """The same against a teacher's scores."""

    def loss(outputs: Tensor, teacher: Tensor, temperature: float, targets: Tensor) -> Tensor:
        ours, right = chosen(axis, outputs, targets)
        theirs, _ = chosen(axis, teacher, targets)
        if not len(right):
            return outputs.sum() * 0.0
        return CLASSIFICATION.soft_loss(ours, theirs, temperature, right)

    return loss


def _weighted(axis: int) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The hard loss with a weight (C,) for each class."""

    def loss(outputs: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        scores, right = chosen(axis, outputs, targets)
        assert CLASSIFICATION.weighted
        return CLASSIFICATION.weighted(scores, right, weights) if len(right) else outputs.sum() * 0.0

    return loss


def _check(axis: int, form: str) -> Callable[[Tensor, Tensor, int | None], None]:
    """Refuses outputs that have not a score of each class for each place; `form` is what they should be."""

    def checked(outputs: Tensor, targets: Tensor, classes: int | None) -> None:
        found = list(outputs.shape[1:])
        fits = outputs.dim() == targets.dim() + 1
        places = list(outputs.movedim(axis, -1).shape[1:-1]) if fits else []
        if not fits or places != list(targets.shape[1:]) or outputs.shape[axis] < (classes or 1):
            raise BadInput(
                f"the model's outputs have the shape {found}, the targets {list(targets.shape[1:])} with"
                f" {classes} classes",
                f"the model must return {form}; --ignore-index names a label that does not count",
            )

    return checked
