"""Features: no labels at all, the teacher's outputs on the same rows are what is learned.

    hard and soft loss   MSE(t, s)
    figure               a row's mean squared difference; the mean over rows is the error
    further              the mean cosine of outputs and the teacher's, and R2
    trivial              the mean of the teacher's outputs on train

s: student outputs (N, ...), t: the teacher's, which become the targets. Where the data have labels, which the
training never sees, the share of test rows whose largest output is the label is told too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from qtrain_cli.tasks.metrics import COSINE, R2, Metric
from qtrain_cli.tasks.regression import REGRESSION
from qtrain_cli.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor


def _largest(outputs: Tensor, targets: Tensor) -> Tensor:
    return outputs.reshape(len(outputs), -1).argmax(1)


LABEL_ACCURACY = Metric("accuracy", "accuracy by the data's labels", _largest, lambda parts, targets: None)


def _for_answers(answers: Tensor | None) -> Task:
    """The row where the test rows have these labels (N,), or none."""
    if answers is None:
        return replace(FEATURES, metrics=(COSINE, R2))

    def accuracy(parts: Sequence[Tensor], targets: Tensor) -> float:
        import torch

        return float((torch.cat(list(parts)) == answers).double().mean())

    return replace(FEATURES, metrics=(COSINE, R2, replace(LABEL_ACCURACY, whole=accuracy)))


FEATURES = replace(
    REGRESSION,
    name="features",
    family="features",
    pipelines={"text": "feature-extraction", "picture": "image-feature-extraction"},
    takes=lambda targets: False,
    told_by_count=False,
    told_by_word=False,
    blind=None,
    metrics=(COSINE, R2, LABEL_ACCURACY),
    own_outputs=True,
    for_answers=_for_answers,
    trivial_said="the mean of the teacher's outputs on train",
    said="the model's own outputs are the targets; squared error",
)
