"""Regression: outputs near to numbers.

    hard loss   MSE(y, s)            soft loss   MSE(t, s), whatever the temperature
    score       a row's mean squared error; the mean over rows is the error
    closeness   a row's mean squared difference to the teacher

s: student outputs (N,) or (N, ...), t: teacher outputs, y: targets of as many numbers a row.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from qtrain_cli.errors import BadInput
from qtrain_cli.tasks.counting import of_rows
from qtrain_cli.tasks.metrics import R2
from qtrain_cli.tasks.task import PLAIN, Task

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


def _takes(targets: np.ndarray) -> bool:
    return targets.dtype.kind == "f"


def _check(outputs: Tensor, targets: Tensor, classes: int | None) -> None:
    if outputs[0].numel() != targets[0].numel():
        shapes = [list(rows.shape[1:]) for rows in (outputs, targets)]
        raise BadInput(
            f"the model's outputs have the shape {shapes[0]}, the targets {shapes[1]}",
            "a model of numbers has as many outputs as a row has targets; --task says another task",
        )


def _hard_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    from torch.nn.functional import mse_loss

    return mse_loss(outputs, targets.view_as(outputs))


def _soft_loss(outputs: Tensor, teacher: Tensor, temperature: float, targets: Tensor) -> Tensor:
    from torch.nn.functional import mse_loss

    return mse_loss(outputs, teacher)


def _counts(outputs: Tensor, targets: Tensor) -> Tensor:
    squares = (outputs - targets.view_as(outputs)).square().double()
    return of_rows(squares.reshape(len(outputs), -1).mean(1))  # (N, ...) -> (N, numbers) -> (N, 2)


def _closeness_counts(outputs: Tensor, teacher: Tensor, targets: Tensor) -> Tensor:
    return _counts(outputs, teacher)


def _blind(outputs: Tensor, targets: Tensor) -> float:
    """The error of the targets' mean."""
    return float((targets - targets.mean(0)).square().double().mean())


def _mean(targets: Tensor, shape: tuple[int, ...]) -> Tensor:
    return targets.double().mean(0).reshape(shape).float()


REGRESSION = Task(
    name="regression",
    family="regression",
    drawn="pairs",
    pipelines={"table": "tabular-regression"},
    word="error",
    closeness="difference",
    closeness_label="Difference to the teacher",
    higher_is_better=False,
    most=math.inf,
    scale=PLAIN,
    gate="max-error",
    takes=_takes,
    check=_check,
    hard_loss=_hard_loss,
    soft_loss=_soft_loss,
    tempered=False,
    counts=_counts,
    closeness_counts=_closeness_counts,
    told_by_count=True,
    blind=_blind,
    metrics=(R2,),
    trivial=_mean,
    trivial_said="the mean of the training targets",
    said="outputs are numbers; squared error",
)
