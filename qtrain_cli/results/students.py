"""The record of a student, ``qtrain.student/1``: what it is, how it was taught, what came out.

It stands beside a compressed model's record: the same figures, intervals, digests and gates, with a student's
design and its lesson in place of the generator. A student that learned from labels alone has no teacher:
every field about one is null. Standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qtrain_cli.errors import BadInput
from qtrain_cli.results.measured import Measured
from qtrain_cli.results.ratios import bytes_ratio as bytes_ratio_of
from qtrain_cli.results.ratios import parameter_ratio as parameter_ratio_of
from qtrain_cli.results.record import Record, check_file, own, read_values, values_of
from qtrain_cli.results.schema import (
    ADDED,
    FIGURES,
    INTEGER,
    LIST,
    MAYBE,
    MAYBE_TEXT,
    MAYBE_WHOLE,
    NUMBER,
    TABLE,
    TEXT,
    Fields,
    check_derived,
    check_kind,
    check_whole,
    named_fields,
)
from qtrain_cli.results.scores import Scores
from qtrain_cli.tasks import Task
from qtrain_cli.tasks.task import seven_digits

STUDENT_SCHEMA = "qtrain.student/1"
#: In place of a teacher's trust and digest, where there is none: the digest of nothing.
NO_TEACHER = "no-teacher"
NOTHING_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#: Epochs are counted to this share of the last validation figure.
CONVERGED = 0.95
MAX_HISTORY = 100_000

_DESIGN: Fields = (
    ("student", TEXT), ("kind", TEXT), ("parameters", INTEGER), ("circuit_parameters", INTEGER),
    ("qubits", INTEGER),
    ("teacher_parameters", MAYBE_WHOLE), ("model_bytes", MAYBE_WHOLE),
)  # fmt: skip
_LESSON: Fields = (
    ("method", TEXT), ("distill", NUMBER), ("temperature", NUMBER), ("temperature_end", MAYBE),
    ("align", MAYBE_TEXT), ("align_loss", MAYBE_TEXT), ("align_weight", MAYBE), ("generation", INTEGER),
    ("gradient", TEXT), ("shots", INTEGER), ("noise", NUMBER), ("test_shots", INTEGER),
    ("test_noise", NUMBER), ("evaluations", INTEGER), ("history", LIST),
)  # fmt: skip
#: Of a lesson, what files of earlier versions lack: null in a record that was read from them.
_LATER = tuple(name for name, _ in _LESSON if name in ADDED)
_FIELDS: Fields = (
    ("schema", TEXT), ("model", MAYBE_TEXT), *_DESIGN,
    ("artifact_bytes", INTEGER), ("bytes_ratio", MAYBE), ("parameter_ratio", MAYBE),
    *FIGURES,
    ("train_loss", MAYBE), ("test_loss", MAYBE), ("generalization_gap", MAYBE),
    *_LESSON, ("total_shots", INTEGER), ("epochs_to_95", MAYBE_WHOLE),
    ("seconds", MAYBE), ("epochs", INTEGER), ("seed", INTEGER), ("device", TEXT), ("versions", TABLE),
    ("data_sha256", TEXT), ("model_sha256", MAYBE_TEXT), ("artifact_sha256", TEXT), ("trust", MAYBE_TEXT),
    ("weights_entry", MAYBE_TEXT), ("output", MAYBE_TEXT), ("skipped_rows", MAYBE_WHOLE), ("precision", TEXT),
    ("processes", INTEGER),
)  # fmt: skip


@dataclass(frozen=True)
class StudentDesign:
    """What was built. `student` is its whole text; the teacher's two figures are None without one."""

    student: str
    kind: str
    parameters: int
    circuit_parameters: int
    qubits: int
    teacher_parameters: int | None = None
    model_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in ("parameters", "qubits"):
            check_whole(name, getattr(self, name), least=1)
        check_whole("circuit_parameters", self.circuit_parameters, least=0)
        if (self.teacher_parameters is None) != (self.model_bytes is None):
            raise BadInput("a teacher has both a count of parameters and a size")


@dataclass(frozen=True)
class Lesson:
    """How it was taught: `method`, the teacher's weight and temperature (and that of the last step, where it
    moved), alignment, gradients, and the course.

    `shots` and `noise` are those of training, `test_shots` and `test_noise` those of the measurement.
    `evaluations` counts circuit runs in training (one circuit on one sample), those of earlier generations
    and of their teaching among them; `history` has, for each epoch of the last generation, the mean training
    loss and the validation figure.

    Raises:
        BadInput: a value of the wrong kind, or a history that is none.
    """

    method: str
    distill: float
    temperature: float
    temperature_end: float | None = None
    align: str | None = None
    align_loss: str | None = None
    align_weight: float | None = None
    generation: int = 0
    gradient: str = "adjoint"
    shots: int = 0
    noise: float = 0.0
    test_shots: int = 0
    test_noise: float = 0.0
    evaluations: int = 0
    history: tuple[tuple[float | None, float | None], ...] = ()

    def __post_init__(self) -> None:
        for name, kind in _LESSON[:-1]:
            check_kind(f"'{name}'", kind, getattr(self, name))
        if len({part is None for part in (self.align, self.align_loss, self.align_weight)}) > 1:
            raise BadInput("an alignment has a layer, a loss and a weight, or none of them")
        end = self.temperature_end
        if end is not None and not (end > 0 and self.distill):
            raise BadInput(f"'temperature_end' is {end}, of a teacher with the weight {self.distill:g}")
        object.__setattr__(self, "history", tuple(_checked_epoch(row) for row in self.history[:MAX_HISTORY]))

    @property
    def total_shots(self) -> int:
        """Shots of all circuit runs in training; 0 where they ran exactly."""
        return self.evaluations * self.shots

    def to_json(self) -> dict[str, Any]:
        """Plain data, as the record holds it."""
        return {**vars(self), "history": [list(row) for row in self.history]}

    def to_stored(self) -> dict[str, Any]:
        """The same as the file holds it: what came later is there where it says something."""
        found = self.to_json()
        return {name: found[name] for name in found if name not in _LATER or found[name] is not None}

    @classmethod
    def from_stored(cls, given: Any) -> Lesson:
        """The inverse of `to_stored`, from parsed JSON of any origin. Raises `BadInput`."""
        if not isinstance(given, dict):
            return cls.from_json(given)
        if any(given.get(name, "") is None for name in _LATER):
            raise BadInput(f"a lesson says {', '.join(_LATER)} where there is one, or not at all")
        return cls.from_json({**dict.fromkeys(_LATER), **given})

    @classmethod
    def from_json(cls, given: Any) -> Lesson:
        """The inverse of `to_json`, from parsed JSON of any origin. Raises `BadInput`."""
        if not isinstance(given, dict) or given.keys() != {name for name, _ in _LESSON}:
            raise BadInput(f"a lesson holds exactly {', '.join(name for name, _ in _LESSON)}")
        check_kind("'history'", LIST, given["history"])
        return cls(**{**given, "history": tuple(given["history"])})

    def mark(self, task: Task) -> float | None:
        """The figure to which epochs are counted: 95 % as good as the last; None without one."""
        last = self.history[-1][1] if self.history else None
        return None if last is None else task.share_of(last, CONVERGED)

    def epochs_to(self, mark: float | None, task: Task) -> int | None:
        """The first epoch whose validation figure reaches a mark; None where none does."""
        for number, (_, figure) in enumerate(self.history, 1):
            if mark is not None and figure is not None and task.reaches(figure, mark):
                return number
        return None


def _checked_epoch(row: Any) -> tuple[float | None, float | None]:
    if not isinstance(row, list | tuple) or len(row) != 2:
        raise BadInput("an epoch of the history is not a loss and a figure")
    for value in row:
        check_kind("'history'", MAYBE, value)
    return seven_digits(row[0]), seven_digits(row[1])


@dataclass(frozen=True)
class StudentRecord:
    """All that is known of one student. `seconds`, and those of its training steps (no part of the JSON), are
    known to the run that taught it only."""

    design: StudentDesign
    lesson: Lesson
    measured: Measured
    artifact_bytes: int
    artifact_sha256: str
    seconds: float | None = None
    training_seconds: float | None = None

    def __post_init__(self) -> None:
        check_file(self)

    @property
    def scores(self) -> Scores:
        """The task's figures."""
        return self.measured.scores

    @property
    def has_teacher(self) -> bool:
        """False for labels alone."""
        return self.measured.trust != NO_TEACHER

    @property
    def bytes_ratio(self) -> float | None:
        """Bytes of the teacher's tensors in float32 over those of the file; None without a teacher."""
        model = self.design.model_bytes
        return None if model is None else bytes_ratio_of(model, self.artifact_bytes)

    @property
    def parameter_ratio(self) -> float | None:
        """How many times fewer numbers the student has than its teacher; None without one."""
        teacher = self.design.teacher_parameters
        return None if teacher is None else parameter_ratio_of(teacher, 0, self.design.parameters)

    @property
    def epochs_to_95(self) -> int | None:
        """Epochs until 95 % of the last validation figure was reached."""
        task = self.scores.row
        return self.lesson.epochs_to(self.lesson.mark(task), task)

    def to_json(self) -> dict[str, Any]:
        """The flat object ``qtrain.student/1``."""
        there = self.has_teacher
        values = {
            **values_of(self),
            **self.lesson.to_json(),
            "schema": STUDENT_SCHEMA,
            "model": self.measured.model if there else None,
            "model_sha256": self.measured.model_sha256 if there else None,
            "trust": self.measured.trust if there else None,
            "total_shots": self.lesson.total_shots,
            "epochs_to_95": self.epochs_to_95,
        }
        return {name: values[name] for name in student_fields(self.scores.row)}

    @classmethod
    def from_json(cls, document: Any) -> StudentRecord:
        """The inverse of `to_json`, from parsed JSON of any origin. Raises `BadInput`."""
        given = read_values(document, student_fields, STUDENT_SCHEMA)
        measured = own(Measured, given)
        known = ("model", "model_sha256", "trust")
        if len({given[name] is None for name in known}) > 1:
            raise BadInput(f"a record has all of {', '.join(known)}, or none of them")
        if given["trust"] is None:
            measured |= {"model": "", "model_sha256": NOTHING_SHA256, "trust": NO_TEACHER}
        record = cls(
            StudentDesign(**own(StudentDesign, given)),
            Lesson.from_json({name: given[name] for name, _ in _LESSON}),
            Measured(**measured),
            given["artifact_bytes"],
            given["artifact_sha256"],
            given["seconds"],
        )
        check_derived(record.to_json(), given)
        return record


def student_fields(task: Task) -> dict[str, str]:
    """The JSON's field names in their order, each with its kind, for one task."""
    return named_fields(_FIELDS, task)


AnyRecord = Record | StudentRecord


def any_record(document: Any) -> AnyRecord:
    """A record of either kind, by its schema. Raises `BadInput`."""
    if isinstance(document, dict) and document.get("schema") == STUDENT_SCHEMA:
        return StudentRecord.from_json(document)
    return Record.from_json(document)
