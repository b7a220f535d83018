"""Segmentation: a class for each pixel.

    loss        the mean over pixels that count of -log softmax(s)[y]
    figure      mean intersection over union: over the classes that are there or are named, the share of
                pixels that both are, of those that either is (Everingham et al. 2015)
    further     the share of pixels that are named rightly
    trivial     the commonest class everywhere

s: scores (C,) of a pixel, outputs (N, C, H, W), y: its class, targets (N, H, W). A row's counts are
intersections and unions by class, so that the figure is that of all pixels of a split and no mean of
pictures. The void label counts nowhere (`places`).

A model of one output a pixel says yes or no: its score is that of class 1 over class 0. Where a forward ends
in a softmax or sigmoid, scores are the logarithms or log-odds.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from qtrain_cli.tasks.classification import commonest, log_odds, logarithm, sigmoid, softmax
from qtrain_cli.tasks.counting import over
from qtrain_cli.tasks.places import counted, of_places, right_places
from qtrain_cli.tasks.task import PERCENT, Task

if TYPE_CHECKING:
    from torch import Tensor

_AXIS = 1


def _counts(outputs: Tensor, targets: Tensor) -> Tensor:
    import torch

    rows, classes, places = len(outputs), outputs.shape[_AXIS], counted(targets)
    named, right = outputs.argmax(_AXIS)[places], targets[places].long()
    first = classes * places.flatten(1).nonzero()[:, 0]  # of the row that a pixel is in

    def tally(found: Tensor) -> Tensor:
        return found.bincount(minlength=rows * classes).reshape(rows, classes).double()

    both = tally((first + right)[named == right])
    return torch.cat([both, tally(first + named) + tally(first + right) - both], 1)  # (N, 2 C)


def _mean_share(sums: Tensor) -> Tensor:
    both, either = sums.unflatten(-1, (2, -1)).unbind(-2)  # (..., 2 C) -> twice (..., C)
    return over(over(both, either).sum(-1), (either > 0).double().sum(-1))


def _commonest(targets: Tensor, shape: tuple[int, ...]) -> Tensor:
    return commonest(targets[counted(targets)], shape[:1]).reshape(-1, 1, 1)


SEGMENTATION = Task(
    name="segmentation",
    family="segmentation",
    pipelines={"picture": "image-segmentation"},
    word="miou",
    closeness="pixel_agreement",
    closeness_label="Agreement with the teacher, by pixels",
    higher_is_better=True,
    most=1.0,
    scale=PERCENT,
    gate="min-metric",
    takes=lambda targets: targets.ndim == 3 and targets.dtype.kind == "i",
    **of_places(_AXIS, "a score of each class for each pixel: (N, C, H, W)"),
    counts=_counts,
    figure=_mean_share,
    metrics=(right_places(_AXIS, "pixel_accuracy", "pixel accuracy"),),
    trivial=_commonest,
    trivial_said="the commonest class everywhere",
    said="outputs are scores of classes at each pixel; cross-entropy",
)


def _of_yes(scores: Tensor) -> Tensor:
    """Scores of both classes (N, 2, H, W) of those of yes (N, 1, H, W) or (N, H, W)."""
    import torch

    yes = scores if scores.dim() == 4 else scores.unsqueeze(1)
    return torch.cat([torch.zeros_like(yes), yes], 1)


def _check_yes(outputs: Tensor, targets: Tensor, classes: int | None) -> None:
    SEGMENTATION.check(_of_yes(outputs), targets, classes)


SEGMENTATION_PROBABILITIES = SEGMENTATION.of_outputs(
    "segmentation-probabilities", logarithm, softmax,
    "outputs are probabilities of classes at each pixel already; cross-entropy on their logarithms",
)  # fmt: skip
SEGMENTATION_YES = replace(
    SEGMENTATION.of_outputs(
        "segmentation-binary", _of_yes, None, "one output a pixel: scores of yes or no; cross-entropy"
    ),
    check=_check_yes,
)
SEGMENTATION_YES_PROBABILITIES = replace(
    SEGMENTATION.of_outputs(
        "segmentation-binary-probabilities", lambda outputs: _of_yes(log_odds(outputs)), sigmoid,
        "one output a pixel, a probability already (a sigmoid in the forward); cross-entropy on it",
    ),
    check=_check_yes,
)  # fmt: skip
