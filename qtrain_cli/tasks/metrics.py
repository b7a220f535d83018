"""Further figures of a split, beside the one that a task is judged by.

    outputs, targets --part--> a tensor for each part of the split --whole--> the figure

A part's tensor is a sum over its rows where that is enough, and the outputs themselves for figures of a
ranking. What is asked of a figure and of nothing else (an interval, a direction) is the task's.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from qtrain_cli.tasks.counting import mean_of, of_rows, over

if TYPE_CHECKING:
    from torch import Tensor

Part = Callable[["Tensor", "Tensor"], "Tensor"]


@dataclass(frozen=True)
class Metric:
    """One figure.

    Args:
        name: in JSON, and in `--min-metric`.
        label: for people.
        part: of outputs (M, ...) and targets (M, ...) of some rows.
        whole: of all parts and all targets; None or not finite where nobody can tell.
        needs: the package that finds it, if it is not always there.
        higher_is_better: its direction.
    """

    name: str
    label: str
    part: Part
    whole: Callable[[Sequence[Tensor], Tensor], float | None]
    needs: str = ""
    higher_is_better: bool = True

    def of_outputs(self, scores_of: Callable[[Tensor], Tensor]) -> Metric:
        """The same of outputs that are something else made of scores."""
        return replace(self, part=lambda outputs, targets: self.part(scores_of(outputs), targets))

    def value(self, parts: Sequence[Tensor], targets: Tensor) -> float | None:
        """The figure of a split, None where there is none."""
        found = self.whole(parts, targets)
        return found if found is not None and math.isfinite(found) else None


def of_sums(figure: Callable[[Tensor], Tensor]) -> Callable[[Sequence[Tensor], Tensor], float]:
    """A figure of the sum of all parts."""
    return lambda parts, targets: float(figure(total(parts)))


def total(parts: Sequence[Tensor]) -> Tensor:
    """The sum of all parts."""
    import torch

    return torch.stack(list(parts)).sum(0)


# --- numbers -------------------------------------------------------------------------------------------


def _squares(outputs: Tensor, targets: Tensor) -> Tensor:
    squares = (outputs - targets.view_as(outputs)).double().square()
    return squares.reshape(len(outputs), -1).sum(0)  # (N, ...) -> (k,)


def _r2(parts: Sequence[Tensor], targets: Tensor) -> float | None:
    """``1 - squares / squares about the mean``, the mean over outputs; None where targets are constant."""
    rows = targets.reshape(len(targets), -1).double()
    spread = (rows - rows.mean(0)).square().sum(0)
    if not bool((spread > 0).all()):
        return None
    return float((1 - total(parts) / spread).mean())


R2 = Metric("r2", "R2", _squares, _r2)


def _cosines(outputs: Tensor, targets: Tensor) -> Tensor:
    from torch.nn.functional import cosine_similarity

    one, other = (rows.reshape(len(rows), -1).double() for rows in (outputs, targets))
    return of_rows(cosine_similarity(one, other, dim=1)).sum(0)


COSINE = Metric("cosine", "cosine", _cosines, of_sums(mean_of))

# --- yes and no ----------------------------------------------------------------------------------------


def f1_of(right: Tensor, named: Tensor, there: Tensor) -> Tensor:
    """``2 right / (named + there)``: of those that are named, that are there, and both."""
    return over(2 * right, named + there)


def _named(outputs: Tensor, targets: Tensor) -> Tensor:
    """How often each label (k of them) is named rightly, is named, and is there: (3, k)."""
    import torch

    yes, there = (outputs > 0).reshape(len(outputs), -1), targets.reshape(len(targets), -1) > 0
    return torch.stack([found.double().sum(0) for found in (yes & there, yes, there)])


def _mean_average_precision(parts: Sequence[Tensor], targets: Tensor) -> float | None:
    import torch

    try:
        from torchmetrics.functional.classification import multilabel_average_precision
    except ImportError:
        return None
    right = targets.reshape(len(targets), -1).long()
    shares = torch.stack([_ranked(scores) for scores in torch.cat(list(parts)).T], 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a label that no row has is left out
        return float(multilabel_average_precision(shares, right, right.shape[1]))


def _ranked(scores: Tensor) -> Tensor:
    """Scores (N,) in the same order within 0 and 1: a sigmoid makes one number of large ones."""
    found, places = scores.unique(return_inverse=True)
    return places.double() / len(found)


F1 = Metric("f1", "F1", _named, of_sums(lambda sums: f1_of(*sums.sum(1))))
F1_MICRO = replace(F1, name="f1_micro", label="F1 over all labels")
F1_MACRO = replace(
    F1, name="f1_macro", label="F1, mean of labels", whole=of_sums(lambda sums: f1_of(*sums).mean())
)
MAP = Metric(
    "map", "mean average precision", lambda outputs, targets: outputs.reshape(len(outputs), -1),
    _mean_average_precision, needs="torchmetrics",
)  # fmt: skip
