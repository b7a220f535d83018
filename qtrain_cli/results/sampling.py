"""What is left of a model whose weights come from measured frequencies: one cell for each noise and number of
shots.

A cell was measured `repeat` times, each with shots and errors of its own, on the same test rows. Two kinds of
chance move its mean figure, and each has an interval:

    repetitions   Student's t interval of the mean over the repetitions: shots and noise, these test rows
    test          the mean of the repetitions' own intervals (Wilson's for an accuracy): which test rows
    both          the root of the sum of the squares of their half-widths, on each side

Comparing a cell with the exact figure needs the first only, for both are of the same rows. One repetition has
no interval of its own: there `both` is that of the test rows, and says nothing of the shots.

Left out: pairing of rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qtrain_cli.tasks import TASKS, Task
from qtrain_cli.tasks.intervals import Interval, joint_interval, mean_and_spread, student_interval
from qtrain_cli.tasks.task import seven_digits

SAMPLE_SCHEMA = "qtrain.sample/1"


@dataclass(frozen=True)
class SampleCell:
    """One noise and number of shots (of each circuit; None: exact probabilities).

    `figures` has the test figure of each repetition and `test_intervals` their intervals. `z_error` is the
    mean square of the error of z over all weights and repetitions, `shot_variance` the part that shots
    explain, and `simulation_variance` the part that comes from the finite number of simulated trajectories,
    and that no quantum computer would add.
    """

    noise: str
    shots: int | None
    figures: tuple[float, ...]
    test_intervals: tuple[Interval, ...]
    z_error: float
    shot_variance: float
    simulation_variance: float

    @property
    def mean(self) -> float:
        """Over the repetitions."""
        return mean_and_spread(self.figures)[0]

    @property
    def deviation(self) -> float | None:
        """The standard deviation of one repetition; None of a single one."""
        return mean_and_spread(self.figures)[1]

    @property
    def repetition_interval(self) -> Interval | None:
        """95 %: shots and noise. None of a single repetition."""
        return student_interval(self.figures)

    @property
    def test_interval(self) -> Interval:
        """95 %: test rows."""
        low, high = (mean_and_spread(ends)[0] for ends in zip(*self.test_intervals, strict=True))
        return low, high

    def interval(self, most: float = math.inf) -> Interval:
        """95 %: both, within 0 and `most`."""
        return joint_interval(self.mean, self.test_interval, self.repetition_interval, most=most)


@dataclass(frozen=True)
class SampleRecord:
    """All cells, and the figures they are compared with, of one artifact on one data set.

    `exact` is measured here on the weights that the artifact regenerates; `recorded` and `teacher` are the
    artifact's. `same_data` tells whether the record's data were these. `unbiased`: the weights' expectation
    is that of exact probabilities, which a mapping that is not linear undoes, and so does noise (`noise`
    of a cell).
    """

    artifact: str
    artifact_sha256: str
    model: str
    task: str
    weights: int
    circuits: int
    qubits: int
    layers: int
    mapping: str
    sampler: str
    trajectories: int
    repeat: int
    seed: int
    count: int
    data_sha256: str
    same_data: bool
    recorded: float | None
    teacher: float | None
    exact: float
    exact_interval: Interval
    z_variance: float
    cells: tuple[SampleCell, ...]

    @property
    def row(self) -> Task:
        """The task's row of the table."""
        return TASKS[self.task]

    @property
    def most(self) -> float:
        """The largest figure there can be."""
        return self.row.most

    @property
    def unbiased(self) -> bool:
        """Of the weights from shots, without noise."""
        return self.mapping.startswith("linear")

    def drop(self, cell: SampleCell) -> float:
        """How much worse than with exact probabilities; negative when better."""
        return self.row.gain(self.exact, cell.mean)

    def to_json(self) -> dict[str, Any]:
        """One document, its fields in a fixed order; figures carry the task's word."""
        word = self.row.word
        low, high = self.exact_interval
        return {
            "schema": SAMPLE_SCHEMA,
            **{name: getattr(self, name) for name in (
                "artifact", "artifact_sha256", "model", "task", "weights", "circuits", "qubits", "layers",
                "mapping", "sampler", "unbiased", "trajectories", "repeat", "seed",
                "data_sha256", "same_data",
            )},
            "test_count": self.count,
            f"teacher_test_{word}": self.teacher,
            f"recorded_test_{word}": self.recorded,
            f"exact_test_{word}": seven_digits(self.exact),
            f"exact_test_{word}_low": seven_digits(low),
            f"exact_test_{word}_high": seven_digits(high),
            "z_variance": seven_digits(self.z_variance),
            "rows": [self._row(cell, word) for cell in self.cells],
        }  # fmt: skip

    def _row(self, cell: SampleCell, word: str) -> Mapping[str, Any]:
        low, high = cell.interval(self.most)
        shots_low, shots_high = cell.repetition_interval or (None, None)
        test_low, test_high = cell.test_interval
        return {
            "noise": cell.noise,
            "shots": cell.shots,
            "repetitions": len(cell.figures),
            f"test_{word}": seven_digits(cell.mean),
            f"test_{word}_low": seven_digits(low),
            f"test_{word}_high": seven_digits(high),
            "repetitions_low": seven_digits(shots_low),
            "repetitions_high": seven_digits(shots_high),
            "test_rows_low": seven_digits(test_low),
            "test_rows_high": seven_digits(test_high),
            "deviation": seven_digits(cell.deviation),
            "drop": seven_digits(self.drop(cell)),
            "z_error": seven_digits(cell.z_error),
            "shot_variance": seven_digits(cell.shot_variance),
            "simulation_variance": seven_digits(cell.simulation_variance),
        }
