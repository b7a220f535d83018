"""A student's figures, measured on whole splits at the very end: the only use of its test rows.

As `measure`, for a student and a teacher that are different modules; the teacher may be missing.
"""

from __future__ import annotations

from torch import Tensor

from qtrain_cli.files.data import Dataset
from qtrain_cli.results import Scores, mean_interval
from qtrain_cli.training.measure import Figures
from qtrain_cli.training.objective import REGRESSION, Objective, predict
from qtrain_cli.training.students import StudentModule


def assess(
    module: StudentModule,
    state: dict[str, Tensor],
    data: Dataset,
    objective: Objective,
    taught: Tensor | None,
) -> Figures:
    """Measures a student; `taught` are its teacher's outputs on the test rows (N, ...), None without one.

    Raises:
        BadInput: the test figure is not finite.
    """
    train, validation, test = (
        predict(module, state, split.inputs, data.normalisation)
        for split in (data.train, data.validation, data.test)
    )
    error = objective.score(test, data.test.targets)
    interval = None
    if data.task == REGRESSION:
        squared = (test - data.test.targets.view_as(test)).square().double().flatten(1).mean(1)
        interval = mean_interval(error, float(squared.std(correction=0)), len(data.test))
    scores = Scores(
        task=data.task,
        train=objective.score(train, data.train.targets),
        validation=objective.score(validation, data.validation.targets),
        test=error,
        count=len(data.test),
        teacher=None if taught is None else objective.score(taught, data.test.targets),
        closeness=None if taught is None else objective.closeness(test, taught),
        error_interval=interval,
    )
    losses = (
        float(objective.hard_loss(train, data.train.targets)),
        float(objective.hard_loss(test, data.test.targets)),
    )
    return Figures(scores, *losses)
