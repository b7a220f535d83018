"""Classification: one score for each class, the highest one wins.

    hard loss   CE(y, s)                                              cross-entropy
    soft loss   T**2 KL(softmax(t / T) || softmax(s / T))             Hinton et al. 2015
    score       1 where the highest of the row's scores is the right class, else 0; the mean is the accuracy
    closeness   1 where student and teacher name the same class

s: student outputs (N, classes), t: teacher outputs, y: class numbers (N,), T: temperature.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtrain_cli.errors import BadInput
from qtrain_cli.tasks.intervals import wilson_interval
from qtrain_cli.tasks.task import PERCENT, Task

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def _takes(targets: np.ndarray) -> bool:
    return targets.dtype.kind == "i"


def _check(outputs: Tensor, targets: Tensor, classes: int | None) -> None:
    if outputs.dim() != 2 or outputs.shape[1] < (classes or 1):
        raise BadInput(
            f"the model's outputs have the shape {list(outputs.shape[1:])}; the data has {classes} classes",
            "the model must return one score for each class",
        )


def _hard_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    from torch.nn.functional import cross_entropy

    return cross_entropy(outputs, targets)


def _soft_loss(outputs: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    from torch.nn.functional import kl_div

    student, taught = ((found / temperature).log_softmax(1) for found in (outputs, teacher))
    return temperature**2 * kl_div(student, taught, reduction="batchmean", log_target=True)


def _row_scores(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(1) == targets).double()


def _row_closeness(outputs: Tensor, teacher: Tensor) -> Tensor:
    return _row_scores(outputs, teacher.argmax(1))


CLASSIFICATION = Task(
    name="classification",
    word="accuracy",
    closeness="agreement",
    closeness_label="Agreement with the teacher",
    higher_is_better=True,
    most=1.0,
    scale=PERCENT,
    gate="min-accuracy",
    takes=_takes,
    check=_check,
    hard_loss=_hard_loss,
    soft_loss=_soft_loss,
    row_scores=_row_scores,
    row_closeness=_row_closeness,
    derived=wilson_interval,
    told_by_count=True,
)
