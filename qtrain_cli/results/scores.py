"""The figures of one task, as a record keeps them.

Words, direction, bounds and interval are those of the task's row (`tasks.task`): a classification has
accuracies in 0..1 and the share of test rows on which student and teacher agree, a regression mean squared
errors and the mean squared difference to the teacher.

Figures are kept to seven significant digits, so that what `compress` prints, what the artifact stores and
what `report` prints are the same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from qtrain_cli.errors import BadInput, suggestion
from qtrain_cli.tasks import TASKS, Task
from qtrain_cli.tasks.intervals import Interval
from qtrain_cli.tasks.task import seven_digits


@dataclass(frozen=True)
class Scores:
    """Figures of one task, from 0 up to the task's largest.

    `count` is the number of test rows; `closeness` compares the outputs with the teacher's on them. The 95 %
    interval of `test` is stored where it does not follow from `test` and `count`. `trivial` is the figure of
    whoever answers without looking (`tasks.task`), `metrics` are further figures of the test rows by name.
    A figure other than `test` that is not finite becomes None.

    Raises:
        BadInput: an unknown task, a figure outside its range, or an interval without its test figure.
    """

    task: str
    train: float | None
    validation: float | None
    test: float
    count: int
    teacher: float | None = None
    closeness: float | None = None
    stored_interval: Interval | None = None
    trivial: float | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise BadInput(f"unknown task '{self.task}'", suggestion(self.task, TASKS))
        if self.count < 1:
            raise BadInput(f"the test count is {self.count}; allowed: 1 or more")
        for name in ("train", "validation", "test", "teacher", "closeness", "trivial"):
            self._check_figure(name)
        self._check_metrics()
        stores = self.row.stores_interval
        if (self.stored_interval is not None) != stores:
            needs = "needs an interval beside it" if stores else "derives its interval"
            raise BadInput(f"the test {self.row.word} of a {self.task} {needs}")
        if self.stored_interval is not None:
            self._check_interval(*self.stored_interval)

    def _check_figure(self, name: str) -> None:
        figure, most = seven_digits(getattr(self, name)), self.row.most
        if (figure is None and name == "test") or (figure is not None and not 0 <= figure <= most):
            raise BadInput(f"the {name} figure is {getattr(self, name)}; allowed: 0 to {most:g}")
        object.__setattr__(self, name, figure)

    def _check_metrics(self) -> None:
        known = [metric.name for metric in self.row.metrics]
        for name in self.metrics:
            if name not in known:
                raise BadInput(f"a {self.task} has no metric '{name}'", suggestion(name, known))
        rounded = {name: seven_digits(value) for name, value in self.metrics.items()}
        object.__setattr__(self, "metrics", rounded)

    def _check_interval(self, low: float, high: float) -> None:
        least, most = seven_digits(low), seven_digits(high)
        if least is None or most is None or not 0 <= least <= self.test <= most <= self.row.most:
            raise BadInput(f"the interval {low} to {high} does not hold the test {self.row.word} {self.test}")
        object.__setattr__(self, "stored_interval", (least, most))

    @property
    def row(self) -> Task:
        """The task's row of the table."""
        return TASKS[self.task]

    @property
    def interval(self) -> Interval:
        """The 95 % interval of the test figure: the stored one, or what follows from figure and count."""
        if self.stored_interval:
            return self.stored_interval
        assert self.row.derived  # else there is a stored one
        return self.row.derived(self.test, self.count)

    @property
    def drop(self) -> float | None:
        """How much worse than the teacher on the test rows; negative when better. None without a teacher."""
        return None if self.teacher is None else self.worse_than(self.teacher)

    @property
    def is_trivial(self) -> bool:
        """Whether the test figure is no better than the trivial one."""
        return self.trivial is not None and not self.row.better(self.test, self.trivial)

    @property
    def beside_trivial(self) -> str:
        """The test figure beside the trivial one, in a sentence; a warning where it is no better."""
        said, without = self.row.trivial_said, self.show(self.trivial)
        head = f"test {self.row.word} {self.show(self.test)}, {said} {without}"
        return f"warning: {head}: no better than without looking" if self.is_trivial else head

    @property
    def by_name(self) -> dict[str, float | None]:
        """Every figure of the test rows by its name, the task's own first."""
        return {self.row.word: self.test, **self.metrics}

    def worse_than(self, figure: float) -> float:
        """How much worse `test` is than `figure`, to seven digits: 0.97 is 0.01 worse than 0.98, no more."""
        return float(f"{self.row.gain(figure, self.test):.7g}")

    def show(self, figure: float | None) -> str:
        """A figure of this task for people."""
        return self.row.show(figure)

    def show_change(self, change: float) -> str:
        """A difference of two figures for people."""
        return self.row.show_change(change)

    def to_json(self) -> dict[str, Any]:
        """The figures by their names in the record's JSON."""
        low, high = self.interval
        figures = {
            "train_{word}": self.train,
            "validation_{word}": self.validation,
            "test_{word}": self.test,
            "test_count": self.count,
            "test_{word}_low": seven_digits(low),
            "test_{word}_high": seven_digits(high),
            "teacher_test_{word}": self.teacher,
            "teacher_{closeness}": self.closeness,
            "trivial": self.trivial,
            "metrics": dict(self.metrics),
            "task": self.task,
            "metric": self.row.word,
            "metric_value": self.test,
            "metric_low": seven_digits(low),
            "metric_high": seven_digits(high),
            "teacher_metric_value": self.teacher,
        }
        return {self.row.named(name): figure for name, figure in figures.items()}

    @classmethod
    def from_json(cls, task: Task, given: Mapping[str, Any]) -> Scores:
        """The inverse of `to_json`, from a record's checked fields."""
        word = task.word
        interval = (given[f"test_{word}_low"], given[f"test_{word}_high"])
        return cls(
            task=task.name,
            train=given[f"train_{word}"],
            validation=given[f"validation_{word}"],
            test=given[f"test_{word}"],
            count=given["test_count"],
            teacher=given[f"teacher_test_{word}"],
            closeness=given[f"teacher_{task.closeness}"],
            stored_interval=interval if task.stores_interval else None,
            trivial=given["trivial"],
            metrics=given["metrics"],
        )
