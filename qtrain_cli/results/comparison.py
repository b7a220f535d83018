"""Methods at equal bytes: cells of (method, budget, seed), their means, and how far chance moves them.

    figure of a cell        mean over test rows of its scores: right or wrong (1, 0), or squared errors
    point                   mean of a method's cells at a budget, over k seeds
    interval of a point     +- hypot(t(k - 1) s / sqrt(k), z sqrt(v / N))

s: standard deviation over seeds; v: variance over the N test rows of a row's mean score; z and t: see
`tasks.intervals`. Two points are compared on the same test rows, pair by pair,

    difference              +- hypot(t(ka + kb - 2) sqrt(sa**2 / ka + sb**2 / kb), z sqrt(var(d) / N))

d: a row's mean score under one less that under the other. With one seed a method has no spread, and the
test rows' part stands alone. Standard library only. Sentences: `verdict`.
"""

from __future__ import annotations

import array
import base64
import math
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from qtrain_cli.errors import BadInput
from qtrain_cli.results.schema import check_digest, check_whole
from qtrain_cli.tasks import TASKS, Task
from qtrain_cli.tasks.intervals import mean_and_spread, pooled_half, repetitions_half, rows_half
from qtrain_cli.tasks.task import seven_digits

COMPARISON = "qtrain.compare/1"
#: The name of the method that the others are set against.
OURS = "ours"
MODELS, CHANGES, BOTH = "models", "changes", "both"
#: How a cell ended.
DONE, UNREACHED, UNSUITED, FAILED = "done", "unreached", "unsuited", "failed"
ENDS = (DONE, UNREACHED, UNSUITED, FAILED)


@dataclass(frozen=True)
class Contender:
    """One method, for people: what it is, what is trained, what is tuned, whether it is a control of ours.

    A control gets as many numbers as ours has at a budget, where ours reaches it. `relative_rates`: rates are
    multiples of compress's own. `serves` says whether it makes models, changes to a base, or either; `target`
    how it writes changes whatever was asked for, as `--target` has it, "" as asked for.
    """

    name: str
    summary: str
    trained: str
    rates: tuple[float, ...]
    widths: tuple[int, ...]
    control: bool = False
    relative_rates: bool = False
    serves: str = BOTH
    target: str = ""

    def of_changes(self) -> Contender:
        """Ours and its controls have the fewest bits first where they change a base (`settings.budget`)."""
        return replace(self, widths=self.widths[::-1]) if self.relative_rates or self.control else self

    @property
    def tuned(self) -> str:
        """What was tuned, as text."""
        rates = "learning rate " + ", ".join(f"{rate:g}" for rate in sorted(self.rates))
        rates += " times compress's own" if self.relative_rates else ""
        bits = ", ".join(str(width) for width in sorted(self.widths) if width)
        return f"{rates}; bits {bits}" if len(self.widths) > 1 else rates


@dataclass(frozen=True)
class Cell:
    """One method at one budget with one seed.

    `end` is one of `ENDS`; `note` says more when it is not "done". `file_bytes` is the size of the finished
    file, or of the smallest one that the method can write when a budget is not reached; `header_bytes` of it
    are no numbers but names, shapes and record. `rows` holds the test rows' scores (`pack_rows`). Raises
    `BadInput` for what cannot be.
    """

    method: str
    budget: int
    seed: int
    end: str
    note: str = ""
    file_bytes: int = 0
    file_sha256: str = ""
    header_bytes: int = 0
    numbers: int = 0
    lr: float = 0.0
    bits: int = 0
    validation: float | None = None
    test: float | None = None
    rows: str = ""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        for name in ("budget", "seed", "file_bytes", "header_bytes", "numbers", "bits"):
            check_whole(name, getattr(self, name), least=0)
        if self.end not in ENDS:
            raise BadInput(f"a cell ends '{self.end}'; allowed: {', '.join(ENDS)}")
        if self.end == DONE:
            check_digest("file_sha256", self.file_sha256)
        for name in ("validation", "test", "lr", "seconds"):
            object.__setattr__(self, name, seven_digits(getattr(self, name)))

    def to_json(self) -> dict[str, Any]:
        """All fields by name."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Any) -> Cell:
        """The inverse, from parsed JSON of any origin. Raises `BadInput`."""
        names = {field.name: field.type for field in fields(cls)}
        if not isinstance(document, dict) or document.keys() != names.keys():
            raise BadInput("this is no cell of a comparison")
        for name, value in document.items():
            texts = isinstance(value, str) == (names[name] == "str")
            if (
                not texts
                or isinstance(value, bool | list | dict)
                or (value is None and names[name] in ("int", "str"))
            ):
                raise BadInput(f"the field '{name}' of a cell has the wrong type")
        return cls(**document)


def pack_rows(scores: Iterable[float]) -> str:
    """Test rows' scores as text: float32, deflated, base 64."""
    return base64.b64encode(zlib.compress(array.array("f", scores).tobytes(), 9)).decode("ascii")


def unpack_rows(text: str) -> list[float]:
    """The inverse of `pack_rows`. Raises `BadInput` for anything else."""
    try:
        values = array.array("f")
        values.frombytes(zlib.decompress(base64.b64decode(text, validate=True)))
    except (ValueError, zlib.error) as error:
        raise BadInput(f"the rows of a cell are damaged ({error})") from None
    return values.tolist()


@dataclass(frozen=True)
class Point:
    """A method at a budget: mean over its seeds, spread (one seed: None), interval, largest file's bytes."""

    method: str
    budget: int
    seeds: int
    mean: float
    spread: float | None
    low: float
    high: float
    file_bytes: int
    header_bytes: int
    numbers: int
    lr: float
    bits: int


@dataclass(frozen=True)
class Difference:
    """By how much `one` is better than `other` at a budget, and how far chance alone moves that."""

    one: str
    other: str
    budget: int
    better_by: float
    noise: float

    @property
    def real(self) -> bool:
        """Whether it is larger than the noise."""
        return abs(self.better_by) > self.noise


@dataclass(frozen=True)
class Comparison:
    """All that was measured. `cells` hold every method at every budget with every seed; `trivial` is the
    figure of whoever answers without looking (`tasks.task`), the digests are those of a record."""

    model: str
    task: str
    teacher: float | None
    count: int
    model_bytes: int
    epochs: int
    seeds: tuple[int, ...]
    budgets: tuple[int, ...]
    methods: tuple[Contender, ...]
    cells: tuple[Cell, ...]
    trivial: float | None = None
    model_sha256: str = ""
    data_sha256: str = ""

    @property
    def row(self) -> Task:
        """The task's row of the table of tasks."""
        return TASKS[self.task]

    def show(self, figure: float) -> str:
        """A figure for people: ``97.31 %``, or ``0.0123`` for an error."""
        return self.row.show(figure)

    def show_change(self, change: float) -> str:
        """A difference for people, without its sign: ``0.31 points``, or ``0.0012``."""
        return self.row.show_change(abs(change))

    def cells_of(self, method: str, budget: int) -> list[Cell]:
        """The cells of one method at one budget."""
        return [cell for cell in self.cells if (cell.method, cell.budget) == (method, budget)]

    def point(self, method: str, budget: int) -> Point | None:
        """A method's figure at a budget; None when one of its seeds has none."""
        cells = self.cells_of(method, budget)
        if not cells or any(cell.end != DONE or cell.test is None for cell in cells):
            return None
        mean, spread = _over_seeds(cells)
        half = math.hypot(repetitions_half(spread, len(cells)), rows_half(_row_means(cells)))
        best = cells[0]
        return Point(
            method, budget, len(cells), mean, spread, *self.row.within(mean - half, mean + half),
            max(cell.file_bytes for cell in cells), best.header_bytes, best.numbers, best.lr, best.bits,
        )  # fmt: skip

    def points(self, budget: int) -> list[Point]:
        """The points at a budget, the best first."""
        found = [point for one in self.methods if (point := self.point(one.name, budget))]
        return sorted(found, key=lambda point: self.row.gain(0.0, point.mean))

    def difference(self, one: str, other: str, budget: int) -> Difference:
        """`one` against `other`, both of which have a point at this budget."""
        mine, theirs = self.cells_of(one, budget), self.cells_of(other, budget)
        pairs = zip(_row_means(mine), _row_means(theirs), strict=True)
        rows = [self.row.gain(a, b) for a, b in pairs]
        seeds = pooled_half([(_over_seeds(cells)[1], len(cells)) for cells in (mine, theirs)])
        return Difference(one, other, budget, mean_and_spread(rows)[0], math.hypot(seeds, rows_half(rows)))

    def to_json(self, verdict: Sequence[str]) -> dict[str, Any]:
        """The one JSON document of ``qtrain compare --json``; cells come without their rows."""
        return {
            "schema": COMPARISON,
            "model": self.model,
            "task": self.task,
            f"teacher_test_{self.row.word}": self.teacher,
            "trivial": seven_digits(self.trivial),
            "test_count": self.count,
            "model_bytes": self.model_bytes,
            "epochs": self.epochs,
            "seeds": list(self.seeds),
            "budgets": list(self.budgets),
            "methods": [_method(row) for row in self.methods],
            "points": [_rounded(asdict(point)) for budget in self.budgets for point in self.points(budget)],
            "cells": [{k: v for k, v in cell.to_json().items() if k != "rows"} for cell in self.cells],
            "verdict": list(verdict),
            "model_sha256": self.model_sha256,
            "data_sha256": self.data_sha256,
        }


def _method(row: Contender) -> dict[str, Any]:
    shown = ("name", "summary", "trained", "tuned", "control")
    return {name: getattr(row, name) for name in shown}


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: seven_digits(value) if isinstance(value, float) else value for name, value in values.items()
    }


def _over_seeds(cells: Sequence[Cell]) -> tuple[float, float | None]:
    """Mean and spread of the figures of some seeds."""
    return mean_and_spread([cell.test or 0.0 for cell in cells])


def _row_means(cells: Sequence[Cell]) -> list[float]:
    """Each test row's mean score over the seeds."""
    columns = zip(*(unpack_rows(cell.rows) for cell in cells), strict=True)
    return [math.fsum(scores) / len(scores) for scores in columns]
