"""The figures of a record, measured on whole splits: the only use of the test split.

Student and teacher go through the same evaluation. Where the interval of the test figure does not follow from
figure and count alone, it comes from the counts of the test rows (`tasks.task`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn

from qtrain_cli.data import Dataset, TestSplit, TrainSplit, ValidationSplit
from qtrain_cli.data.inputs import Inputs
from qtrain_cli.models.call import outputs_of, predict
from qtrain_cli.results import Scores
from qtrain_cli.tasks.intervals import Interval
from qtrain_cli.tasks.objective import Objective, OutputsOf, Scored

Split = TrainSplit | ValidationSplit | TestSplit


@dataclass(frozen=True)
class Figures:
    """Scores of all splits, and the task's own loss (without the teacher's part) on train and test."""

    scores: Scores
    train_loss: float
    test_loss: float


def measure(
    module: nn.Module,
    state: Mapping[str, Tensor],
    teacher: Mapping[str, Tensor] | None,
    data: Dataset,
    objective: Objective,
) -> Figures:
    """Measures `state` and `teacher`, if there is one: whole state dictionaries of `module` on one device.

    Raises:
        BadInput: the model fails on some of the data, or the test figure is not finite.
    """
    if teacher is None:
        return figures_of(module, state, None, data, objective)
    asked = partial(predict, module, teacher, prepare=data.normalisation)
    return figures_of(module, state, answered(asked, data), data, objective)


def answered(ask: Callable[[Inputs], Tensor], data: Dataset) -> OutputsOf:
    """A teacher's outputs for test rows: all of them beforehand, where they are looked at at once."""
    inputs = data.test.inputs
    if data.objective().at_once < len(inputs):
        return lambda part: ask(inputs[part])
    known = ask(inputs)
    return lambda part: known[part]


def figures_of(
    module: nn.Module,
    state: Mapping[str, Tensor],
    taught: OutputsOf | None,
    data: Dataset,
    objective: Objective,
) -> Figures:
    """The same for any teacher: `taught` are its outputs on test rows, None without one."""

    def scored(split: Split, teacher: OutputsOf | None = None) -> Scored:
        found = outputs_of(module, state, split.inputs, data.normalisation)
        return objective.scored(found, split.targets, teacher, further=split is data.test)

    train, test = scored(data.train), scored(data.test, taught)
    validation = scored(data.validation) if len(data.validation) else None
    row = objective.row
    trivial = objective.trivial(data.train.targets, data.test.targets, test.shape)
    return Figures(
        scores=Scores(
            task=data.task,
            train=row.figure_of(train.counts),
            validation=None if validation is None else row.figure_of(validation.counts),
            test=row.figure_of(test.counts),
            count=len(data.test),
            teacher=test.teacher,
            closeness=test.closeness,
            stored_interval=objective.stored_interval(test.counts),
            trivial=trivial,
            metrics=test.metrics,
        ),
        train_loss=train.loss,
        test_loss=test.loss,
    )


def measure_test(
    module: nn.Module, state: Mapping[str, Tensor], data: Dataset, objective: Objective
) -> tuple[float, Interval]:
    """The test figure of `state` and its 95 % interval. Raises as `measure`, but for a figure that is not
    finite."""
    found = outputs_of(module, state, data.test.inputs, data.normalisation)
    counts = objective.counts_of(found, data.test.targets)
    return objective.row.figure_of(counts), objective.row.interval_of(counts)
