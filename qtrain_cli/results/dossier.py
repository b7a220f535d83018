"""What is known of one artifact beside its record: its tensors, its circuit, its training, its neighbours.

A page shows it (`report.page`). All of it but `errors` and `examined` is read without torch. Standard library
only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.results.history import EpochLine


@dataclass(frozen=True)
class TensorFacts:
    """One tensor: how it comes about in words, and its scale, ``1 / sqrt(3 fan_in)``, where it is generated.

    `spread` is the root of the mean square of what the file gives, `error` the norm of its difference to the
    teacher's over the teacher's norm; None where they were not asked for.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    role: str
    count: int
    scale: float | None = None
    spread: float | None = None
    error: float | None = None


@dataclass(frozen=True)
class ClassFigures:
    """Of one class: how many test rows it has, how many of them were right, and of the rows it was given."""

    name: str
    rows: int
    right: int
    given: int


@dataclass(frozen=True)
class Examination:
    """What the test rows say beside the figure: by class, row by row, or place by place.

    `confusions` are counts by true and by predicted class, in the order of `classes`; `pairs` are true and
    predicted numbers of some rows; `places` are places of a row, from 1 on, each with the mean loss there.
    What a task has none of is empty. `same_data`: the rows are those of the record.
    """

    source: str
    count: int
    figure: float
    same_data: bool
    classes: tuple[ClassFigures, ...] = ()
    confusions: tuple[tuple[int, ...], ...] = ()
    pairs: tuple[tuple[float, float], ...] = ()
    places: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True)
class Dossier:
    """See above. `history_at` is where a history was looked for, `comparison` the document of a comparison
    of the same model on the same data that lies beside the file, `teacher` the file that errors are against.
    """

    artifact: str
    base: str | None = None
    int8_bytes: int | None = None
    tensors: tuple[TensorFacts, ...] = ()
    circuit: CircuitSpec | None = None
    history: tuple[EpochLine, ...] = ()
    history_at: str = ""
    comparison: Mapping[str, Any] | None = None
    examined: Examination | None = None
    teacher: str = ""
