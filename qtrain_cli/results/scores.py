"""The figures of one task, and how far chance alone moves them.

Classification has an accuracy in 0..1 (higher is better) and the share of test rows on which student and
teacher agree; regression a mean squared error from 0 up (lower is better) and the mean squared difference to
the teacher. Everything that differs between the two is a row of `TASKS`.

    accuracy a on N rows    Wilson's score interval (Wilson 1927), which holds near 0 and 1 too
    error e on N rows       e +- z * s / sqrt(N), s the standard deviation of the squared errors
    R repetitions           mean +- t * s / sqrt(R), Student's t with R - 1 degrees of freedom

Figures are kept to seven significant digits, so that what `compress` prints, what the artifact stores and
what `report` prints are the same numbers.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qtrain_cli.errors import BadInput, suggestion

#: The 97.5 % point of the normal distribution: two-sided 95 % intervals.
Z95 = 1.959963984540054
#: The same point of Student's distribution with 1, 2, ... degrees of freedom.
_T95 = (
    12.7062047,
    4.3026527,
    3.1824463,
    2.7764451,
    2.5705818,
    2.4469119,
    2.3646243,
    2.3060041,
    2.2621572,
    2.2281389,
)


@dataclass(frozen=True)
class Task:
    """One row of the task table: the words that its JSON keys are made of, and which way is better."""

    name: str
    word: str
    closeness: str
    higher_is_better: bool

    def show(self, figure: float | None) -> str:
        """A figure for people: ``97.31 %``, or ``0.0123`` for an error."""
        if figure is None:
            return "not measured"
        return f"{100 * figure:.2f} %" if self.higher_is_better else f"{figure:.4g}"

    def show_interval(self, low: float, high: float) -> str:
        """Two figures for people: ``97.01 to 97.60 %``."""
        return f"{self.show(low).removesuffix(' %')} to {self.show(high)}"

    def show_change(self, change: float) -> str:
        """A difference of two figures for people: ``0.31 points``, or ``0.0012`` for errors."""
        return f"{100 * change:.2f} points" if self.higher_is_better else f"{change:.4g}"


TASKS: dict[str, Task] = {
    row.name: row
    for row in (
        Task("classification", "accuracy", "agreement", True),
        Task("regression", "error", "difference", False),
    )
}


def rounded(value: float | None) -> float | None:
    """Seven significant digits; None for what is missing or not finite, because JSON has no NaN."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.7g}")


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share measured on `count` rows; it holds the share and stays in 0..1."""
    z2 = Z95**2 / count
    centre = (share + z2 / 2) / (1 + z2)
    half = Z95 / (1 + z2) * math.sqrt(share * (1 - share) / count + z2 / (4 * count))
    # min and max against rounding: at a share of 0 or 1 one end is the share itself.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def mean_interval(mean: float, deviation: float, count: int) -> tuple[float, float]:
    """The 95 % interval of the mean of `count` squared errors with this standard deviation."""
    half = Z95 * deviation / math.sqrt(count)
    return max(0.0, mean - half), mean + half


def student_t95(freedom: int) -> float:
    """The 97.5 % point of Student's distribution: tabulated, from 11 degrees of freedom on to five digits by
    the series in 1 / freedom (Abramowitz and Stegun 26.7.5)."""
    if freedom <= len(_T95):
        return _T95[freedom - 1]
    z = Z95
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))


def student_interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95 % interval of the mean of repetitions; None of one alone, whose spread nobody knows, and of
    infinity."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    mean = statistics.fmean(values)
    half = student_t95(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - half, mean + half


def joint_interval(
    mean: float, *intervals: tuple[float, float] | None, most: float = math.inf
) -> tuple[float, float]:
    """The interval that independent sources of chance give together: half-widths add in squares on each
    side."""
    known = [interval for interval in intervals if interval]
    low = math.hypot(*(mean - interval[0] for interval in known))
    high = math.hypot(*(interval[1] - mean for interval in known))
    return max(0.0, mean - low), min(most, mean + high)


@dataclass(frozen=True)
class Scores:
    """Accuracies in 0..1, or mean squared errors from 0 up.

    `count` is the number of test rows; `closeness` compares the outputs with the teacher's on them. An error
    brings its interval (see `mean_interval`), an accuracy does not: it follows from `test` and `count`.
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
    error_interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise BadInput(f"unknown task '{self.task}'", suggestion(self.task, TASKS))
        if self.count < 1:
            raise BadInput(f"the test count is {self.count}; allowed: 1 or more")
        for name in ("train", "validation", "test", "teacher", "closeness"):
            self._check_figure(name)
        if (self.error_interval is None) != self.row.higher_is_better:
            raise BadInput("an error needs the interval of its test figure, and an accuracy derives it")
        if self.error_interval is not None:
            self._check_interval(*self.error_interval)

    def _check_figure(self, name: str) -> None:
        figure, most = rounded(getattr(self, name)), 1.0 if self.row.higher_is_better else math.inf
        if (figure is None and name == "test") or (figure is not None and not 0 <= figure <= most):
            raise BadInput(f"the {name} figure is {getattr(self, name)}; allowed: 0 to {most:g}")
        object.__setattr__(self, name, figure)

    def _check_interval(self, low: float, high: float) -> None:
        least, most = rounded(low), rounded(high)
        if least is None or most is None or not 0 <= least <= self.test <= most:
            raise BadInput(f"the interval {low} to {high} does not hold the test error {self.test}")
        object.__setattr__(self, "error_interval", (least, most))

    @property
    def row(self) -> Task:
        """The task's row of the table."""
        return TASKS[self.task]

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the test figure: Wilson's for an accuracy, the measured one for an error."""
        return self.error_interval or wilson_interval(self.test, self.count)

    @property
    def drop(self) -> float | None:
        """How much worse than the teacher on the test rows; negative when better. None without a teacher."""
        return None if self.teacher is None else self.worse_than(self.teacher)

    def worse_than(self, figure: float) -> float:
        """How much worse `test` is than `figure`, to seven digits: 0.97 is 0.01 worse than 0.98, no more."""
        difference = figure - self.test if self.row.higher_is_better else self.test - figure
        return float(f"{difference:.7g}")

    def show(self, figure: float | None) -> str:
        """A figure of this task for people."""
        return self.row.show(figure)

    def show_change(self, change: float) -> str:
        """A difference of two figures for people."""
        return self.row.show_change(change)

    def to_json(self) -> dict[str, Any]:
        """The figures by their names in the record's JSON."""
        word, (low, high) = self.row.word, self.interval
        return {
            f"train_{word}": self.train,
            f"validation_{word}": self.validation,
            f"test_{word}": self.test,
            "test_count": self.count,
            f"test_{word}_low": rounded(low),
            f"test_{word}_high": rounded(high),
            f"teacher_test_{word}": self.teacher,
            f"teacher_{self.row.closeness}": self.closeness,
        }

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
            error_interval=None if task.higher_is_better else interval,
        )
