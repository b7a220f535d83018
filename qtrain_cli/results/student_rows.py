"""Several students side by side: one row a student and method, figures over seeds, and sentences that judge.

A gain is beyond chance when it is larger than Welch's interval of two means of seeds (`tasks.intervals`), all
on the same test rows. One seed has no spread; then the 95 % intervals of the two measurements decide, which
take the rows as independent.

Epochs are counted to 95 % of the last validation figure that the same student reached from labels with the
same seed, so that every method of a student is held to one mark; where generations taught each other, in the
last one, and with all epochs before it.

Where labels stand in a teacher's place (`sharpened-labels`: its weight, its temperature, none of what it
knows), every teaching is held against them too: a gain over labels that these have as well is not shown to be
the teacher's.

A verdict is for its own comparison: chance finds 5 % of equal pairs different, and the more are compared, the
more of them. Nothing is corrected for their number. Standard library only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qtrain_cli.results.students import StudentRecord
from qtrain_cli.settings.students import SHARPENED
from qtrain_cli.tasks.intervals import Interval, mean_and_spread, welch_half
from qtrain_cli.tasks.task import seven_digits

LABELS = "labels"
#: The last sentence of every list of verdicts.
UNCORRECTED = "each verdict is for its own comparison at 95 %; nothing is corrected for their number"


@dataclass(frozen=True)
class StudentRow:
    """One student by one method: the records of its seeds, in order; `plain` are those from labels alone.

    `name` is what the student is called beside others of its kind; without one, its kind.
    """

    student: str
    method: str
    records: tuple[StudentRecord, ...]
    plain: tuple[StudentRecord, ...] = ()
    name: str = ""

    @property
    def called(self) -> str:
        """The student's name, or its kind."""
        return self.name or self.kind

    @property
    def kind(self) -> str:
        """hybrid, classical or qnn."""
        return self.records[0].design.kind

    @property
    def test(self) -> tuple[float, float | None]:
        """Mean and spread of the test figure."""
        return mean_and_spread([record.scores.test for record in self.records])

    @property
    def interval(self) -> Interval:
        """The mean of the seeds' 95 % intervals, which is that of the test rows."""
        lows, highs = zip(*(record.scores.interval for record in self.records), strict=True)
        return math.fsum(lows) / len(lows), math.fsum(highs) / len(highs)

    @property
    def reached(self) -> tuple[int, ...]:
        """The epochs to the mark of each seed that reached it."""
        pairs = zip(self.records, self.plain, strict=False)
        found = [_epochs_to_mark(record, plain) for record, plain in pairs]
        return tuple(number for number in found if number is not None)

    @property
    def epochs(self) -> tuple[float | None, float | None]:
        """Mean and spread of the epochs to the mark; None where a seed never reached it."""
        if not self.reached or len(self.reached) < len(self.records):
            return None, None
        return mean_and_spread(self.reached)

    @property
    def epochs_before(self) -> int:
        """Epochs of the generations that came before the one whose epochs are counted."""
        lesson = self.records[0].lesson
        return lesson.generation * len(lesson.history)

    @property
    def evaluations_to_mark(self) -> float | None:
        """Mean circuit runs until the mark, with those of all generations before; None as `epochs`."""
        if self.epochs[0] is None:
            return None
        spent = []
        for record, reached in zip(self.records, self.reached, strict=True):
            lesson, length = record.lesson, max(1, len(record.lesson.history))
            before = lesson.generation * length
            spent.append(lesson.evaluations * (before + reached) / (before + length))
        return mean_and_spread(spent)[0]

    def to_json(self) -> dict[str, Any]:
        """The row as plain data."""
        mean, spread = self.test
        epochs, epoch_spread = self.epochs
        design, word = self.records[0].design, self.records[0].scores.row.word
        teacher = self.records[0].scores.teacher
        return {
            "student": self.student,
            "name": self.called,
            "kind": self.kind,
            "method": self.method,
            "parameters": design.parameters,
            "circuit_parameters": design.circuit_parameters,
            "seeds": len(self.records),
            f"test_{word}": seven_digits(mean),
            "spread": seven_digits(spread),
            "low": seven_digits(self.interval[0]),
            "high": seven_digits(self.interval[1]),
            f"teacher_{word}": teacher,
            "epochs_to_95": seven_digits(epochs),
            "epochs_spread": seven_digits(epoch_spread),
            "seeds_to_95": len(self.reached),
            "epochs_before": self.epochs_before,
            "evaluations_to_95": seven_digits(self.evaluations_to_mark),
            "figures": [record.scores.test for record in self.records],
        }


def _epochs_to_mark(record: StudentRecord, plain: StudentRecord) -> int | None:
    task = record.scores.row
    return record.lesson.epochs_to(plain.lesson.mark(task), task)


def verdicts(rows: Sequence[StudentRow]) -> list[str]:
    """A sentence for each method against labels and against labels in a teacher's place, and for each hybrid
    against its control."""
    found = []
    by_name = {(row.student, row.method): row for row in rows}
    for row in rows:
        if row.method == LABELS:
            continue
        base = by_name.get((row.student, LABELS))
        if base is not None:
            found.append(f"{row.method} against labels, {row.called} student: {_judged(row, base)}")
            found += _faster(row, base)
        sharp = by_name.get((row.student, SHARPENED))
        if sharp is not None and sharp is not row:
            found.append(
                f"{row.method} against {SHARPENED}, {row.called} student: {_judged(row, sharp)}"
                f"{_whose(row, base, sharp)}"
            )
    for row in rows:
        control = f"classical:like={row.student}"
        for other in rows:
            if other.student == control and other.method == row.method:
                which = f" of {row.name}" if row.name else ""
                found.append(
                    f"the circuit{which} against its classical control, {row.method}: {_judged(row, other)}"
                )
    return [*found, UNCORRECTED] if found else []


def _gain(row: StudentRow, base: StudentRow) -> float:
    return row.records[0].scores.row.gain(row.test[0], base.test[0])


def _whose(row: StudentRow, base: StudentRow | None, sharp: StudentRow) -> str:
    """Said of a gain over labels that labels in the teacher's place have as well."""
    gains = base is not None and _gain(row, base) > _chance(row, base)
    shown = _gain(row, sharp) > _chance(row, sharp)
    return "; the gain over labels is not shown to be the teacher's" if gains and not shown else ""


def _judged(row: StudentRow, base: StudentRow) -> str:
    scores = row.records[0].scores
    gain = _gain(row, base)
    chance = _chance(row, base)
    size = scores.show_change(abs(gain))
    if abs(gain) <= chance:
        return f"a difference of {size} lies within chance ({scores.show_change(chance)})"
    word = "gains" if gain > 0 else "loses"
    return f"{word} {size}, more than chance ({scores.show_change(chance)})"


def _chance(row: StudentRow, base: StudentRow) -> float:
    """How large a difference chance explains."""
    spreads = [(one.test[1], len(one.records)) for one in (row, base)]
    if any(spread is None for spread, _ in spreads):
        return math.hypot(*((one.interval[1] - one.interval[0]) / 2 for one in (row, base)))
    return welch_half([(spread or 0.0, count) for spread, count in spreads])


def _faster(row: StudentRow, base: StudentRow) -> list[str]:
    epochs, plain = row.epochs[0], base.epochs[0]
    if plain is None:
        return []
    if epochs is None:
        seeds = f"{len(row.reached)} of {len(row.records)} seeds"
        return [
            f"{row.method}, {row.called} student: {seeds} reached 95 % of what labels reach,"
            f" labels in {plain:.1f} epochs"
        ]
    before = f" ({epochs + row.epochs_before:.1f} with all generations)" if row.epochs_before else ""
    spreads = [(spread, len(one.records)) for one in (row, base) if (spread := one.epochs[1]) is not None]
    judged = ""
    if len(spreads) == 2:
        chance = welch_half(spreads)
        word = "within chance" if abs(epochs - plain) <= chance else "more than chance"
        judged = f"; the difference of {abs(epochs - plain):.1f} is {word} ({chance:.1f})"
    return [
        f"{row.method}, {row.called} student: {epochs:.1f} epochs{before} to 95 % of what labels reach,"
        f" labels {plain:.1f}{judged}"
    ]
