"""The estimators' comparison, ``qtrain.gradients/1``: the same training under each, and random circuits'
gradients.

One row an estimator (with its shots): final figures over seeds, the exact loss by epoch (mean and spread over
them), circuit runs and seconds of one training's steps. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qtrain_cli.results.students import StudentRecord
from qtrain_cli.tasks.intervals import mean_and_spread
from qtrain_cli.tasks.task import seven_digits

GRADIENTS_SCHEMA = "qtrain.gradients/1"


@dataclass(frozen=True)
class GradientRow:
    """One estimator: the records of its seeds, and the seconds that each training took, if known."""

    gradient: str
    shots: int
    records: tuple[StudentRecord, ...]
    seconds: tuple[float | None, ...]

    @property
    def losses(self) -> list[float | None]:
        """The mean training loss of each epoch, averaged over the seeds; None where one of them has none."""
        return [None if None in column else mean_and_spread(column)[0] for column in self._columns()]

    @property
    def loss_spreads(self) -> list[float | None]:
        """The standard deviation of each epoch's loss over the seeds; None for one seed, or no loss."""
        return [None if None in column else mean_and_spread(column)[1] for column in self._columns()]

    def _columns(self) -> list[tuple[Any, ...]]:
        """The losses of every seed, epoch by epoch."""
        courses = [[loss for loss, _ in record.lesson.history] for record in self.records]
        return list(zip(*courses, strict=True))

    @property
    def evaluations(self) -> int:
        """Circuit runs of one training."""
        return self.records[0].lesson.evaluations

    @property
    def total_shots(self) -> int:
        """Shots of all circuit runs of one training."""
        return self.records[0].lesson.total_shots

    @property
    def mean_seconds(self) -> float | None:
        """Of the steps of one training."""
        known = [seconds for seconds in self.seconds if seconds is not None]
        return sum(known) / len(known) if known else None

    def to_json(self) -> dict[str, Any]:
        """The row as plain data."""
        word = self.records[0].scores.row.word
        mean, spread = mean_and_spread([record.scores.test for record in self.records])
        losses = self.losses
        return {
            "gradient": self.gradient,
            "shots": self.shots,
            "seeds": len(self.records),
            f"test_{word}": seven_digits(mean),
            "spread": seven_digits(spread),
            "final_loss": seven_digits(losses[-1]) if losses else None,
            "epochs": len(losses),
            "evaluations": self.evaluations,
            "total_shots": self.total_shots,
            "seconds": seven_digits(self.mean_seconds),
            "losses": [seven_digits(loss) for loss in losses],
            "loss_spreads": [seven_digits(spread) for spread in self.loss_spreads],
        }


@dataclass(frozen=True)
class GradientTable:
    """All rows, and the plateau of random circuits: qubits, layers, the gradient's mean variance."""

    student: str
    rows: tuple[GradientRow, ...]
    plateaus: tuple[dict[str, float], ...]

    def to_json(self) -> dict[str, Any]:
        """The document."""
        return {
            "schema": GRADIENTS_SCHEMA,
            "student": self.student,
            "rows": [row.to_json() for row in self.rows],
            "plateaus": list(self.plateaus),
        }
