"""The figures of a record, measured on whole splits: the only use of the test split.

Student and teacher go through the same evaluation. Where the interval of the test figure does not follow from
figure and count alone, it comes from the spread of the test rows' scores (`tasks.task`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from qtrain_cli.data import Dataset
from qtrain_cli.models.call import predict
from qtrain_cli.results import Scores
from qtrain_cli.tasks.intervals import Interval
from qtrain_cli.tasks.objective import Objective


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
    return Figures(
        scores=Scores(
            task=data.task,
            train=objective.score(train, data.train.targets),
            validation=objective.score(validation, data.validation.targets),
            test=objective.score(test, data.test.targets),
            count=len(data.test),
            teacher=None if taught is None else objective.score(taught, data.test.targets),
            closeness=None if taught is None else objective.closeness(test, taught),
            stored_interval=objective.stored_interval(objective.row_scores(test, data.test.targets)),
        ),
        train_loss=float(objective.hard_loss(train, data.train.targets)),
        test_loss=float(objective.hard_loss(test, data.test.targets)),
    )


def measure_test(
    module: nn.Module, state: Mapping[str, Tensor], data: Dataset, objective: Objective
) -> tuple[float, Interval]:
    """The test figure of `state` and its 95 % interval. Raises as `measure`, but for a figure that is not
    finite."""
    outputs = predict(module, state, data.test.inputs, data.normalisation)
    scores = objective.row_scores(outputs, data.test.targets)
    return float(scores.mean()), objective.interval(scores)
