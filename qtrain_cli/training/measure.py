"""The figures of a record, measured on whole splits: the only use of the test split.

Student and teacher go through the same evaluation. For a regression the interval of the test error comes
from the spread of the squared errors; that of an accuracy follows from its count (`results.scores`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from qtrain_cli.data import Dataset
from qtrain_cli.models.call import predict
from qtrain_cli.results import Scores, mean_interval, wilson_interval
from qtrain_cli.tasks.objective import REGRESSION, Objective


@dataclass(frozen=True)
class Figures:
    """Scores of all splits, and the task's own loss (without the teacher's part) on train and test."""

    scores: Scores
    train_loss: float
    test_loss: float


def measure(
    module: nn.Module,
    state: Mapping[str, Tensor],
    teacher: Mapping[str, Tensor],
    data: Dataset,
    objective: Objective,
) -> Figures:
    """Measures `state` and `teacher`, whole state dictionaries of `module` on one device.

    Raises:
        BadInput: the model fails on some of the data, or the test figure is not finite.
    """
    taught = predict(module, teacher, data.test.inputs, data.normalisation)
    return figures_of(module, state, taught, data, objective)


def figures_of(
    module: nn.Module,
    state: Mapping[str, Tensor],
    taught: Tensor | None,
    data: Dataset,
    objective: Objective,
) -> Figures:
    """The same for any teacher: `taught` are its outputs on the test rows (N, ...), None without one."""
    train, validation, test = (
        predict(module, state, split.inputs, data.normalisation)
        for split in (data.train, data.validation, data.test)
    )
    error = objective.score(test, data.test.targets)
    return Figures(
        scores=Scores(
            task=data.task,
            train=objective.score(train, data.train.targets),
            validation=objective.score(validation, data.validation.targets),
            test=error,
            count=len(data.test),
            teacher=None if taught is None else objective.score(taught, data.test.targets),
            closeness=None if taught is None else objective.closeness(test, taught),
            error_interval=_interval(test, data, error) if data.task == REGRESSION else None,
        ),
        train_loss=float(objective.hard_loss(train, data.train.targets)),
        test_loss=float(objective.hard_loss(test, data.test.targets)),
    )


def measure_test(
    module: nn.Module, state: Mapping[str, Tensor], data: Dataset, objective: Objective
) -> tuple[float, tuple[float, float]]:
    """The test figure of `state` and its 95 % interval. Raises as `measure`, but for a figure that is not
    finite."""
    outputs = predict(module, state, data.test.inputs, data.normalisation)
    figure = objective.score(outputs, data.test.targets)
    if data.task == REGRESSION:
        return figure, _interval(outputs, data, figure)
    return figure, wilson_interval(figure, len(data.test))


def row_scores(outputs: Tensor, targets: Tensor, task: str) -> Tensor:
    """Each row's own score, float64 (N,): 1 for right, 0 for wrong, or its squared error."""
    if task == REGRESSION:
        return (outputs - targets.view_as(outputs)).square().double().flatten(1).mean(1)
    return (outputs.argmax(1) == targets).double()


def _interval(outputs: Tensor, data: Dataset, error: float) -> tuple[float, float]:
    """The 95 % interval of the mean squared error on the test rows: outputs (N, ...)."""
    squared = row_scores(outputs, data.test.targets, REGRESSION)
    return mean_interval(error, float(squared.std(correction=0)), len(data.test))
