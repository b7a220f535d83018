"""The metadata of a student's file: everything but its tensors. Standard library only.

A report needs nothing else, so it needs no torch. The tensors must be exactly those that the student's own
text asks for, and what was read has to be what this version would write, character for character.
"""

from __future__ import annotations

import json
import math
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtrain_cli.artifact.container import (
    BLANK,
    RUN_DIGITS,
    Container,
    canonical,
    check_hexadecimal,
    read_container,
)
from qtrain_cli.errors import BadInput, QtrainError
from qtrain_cli.files.header import Header
from qtrain_cli.results import Lesson, Measured, StudentDesign, StudentRecord
from qtrain_cli.students.spec import Student, parse_student, student_text

FORMAT = "qtrain.student/1"
RULES = "wire0=msb float32"
MAX_DIMENSIONS, MAX_NUMBERS = 8, 2**24
MAX_PARAMETERS = 2**26
#: A file stores so many outputs of its probe input at most.
MAX_PROBES = 16


@dataclass(frozen=True)
class StudentDescription:
    """All of a student's file except its tensors.

    `mean` and `std` normalise inputs (`files.data`); `probes` are the first outputs for a fixed input, which
    `verify` computes again; `teacher` is the count and the float32 bytes of its teacher, None for labels
    alone.

    Raises:
        BadInput: a size outside its bounds, or a part that cannot be.
    """

    student: Student
    mean: tuple[float, ...]
    std: tuple[float, ...]
    probes: tuple[float, ...]
    teacher: tuple[int, int] | None
    lesson: Lesson
    measured: Measured
    run: str

    def __post_init__(self) -> None:
        inputs = self.student.inputs
        if len(inputs) > MAX_DIMENSIONS or math.prod(inputs) > MAX_NUMBERS:
            raise BadInput(f"an input has the shape {reprlib.repr(list(inputs))}")
        if self.student.parameters > MAX_PARAMETERS:
            raise BadInput(f"it has {self.student.parameters} parameters; allowed: {MAX_PARAMETERS}")
        if len(self.mean) != len(self.std) or not all(value > 0 for value in self.std):
            raise BadInput("its normalisation is none")
        if len(self.probes) != min(MAX_PROBES, self.student.outputs):
            raise BadInput(
                f"it has {len(self.probes)} probes; needed: {min(MAX_PROBES, self.student.outputs)}"
            )
        if not all(map(math.isfinite, (*self.mean, *self.std, *self.probes))):
            raise BadInput("one of its numbers is not finite")
        check_hexadecimal("run", self.run, RUN_DIGITS)


def is_student(container: Container) -> bool:
    """Whether a file says that it is of this kind."""
    return f'"format":"{FORMAT.partition("/")[0]}/' in container.text


def describe_student(container: Container) -> StudentDescription:
    """Everything but the tensors, validated.

    Raises:
        BadInput: another version of the format.
        Refused: it is damaged or hostile.
    """
    try:
        value = json.loads(container.text)
        if isinstance(value, dict) and isinstance(value.get("format"), str) and value["format"] != FORMAT:
            raise _Strange(value["format"])
        description = _from_json(value)
        _check_tensors(description.student, container.header)
        if metadata(description, value["check"]) != container.text:
            raise BadInput("its metadata is not what an honest writer writes")
        if len(value["check"]) != len(BLANK):
            raise BadInput("its check is none")
    except _Strange as error:
        raise BadInput(
            f"'{container.path}' has the format {reprlib.repr(str(error))}; this version reads '{FORMAT}'",
            "use the version of qtrain that wrote it",
        ) from None
    except QtrainError as error:
        raise container.refused(error.message) from None
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise container.refused(f"its metadata is malformed ({type(error).__name__}: {error})") from None
    return description


class _Strange(Exception):
    """Another version's file is no attack."""


def read_student_record(path: Path) -> StudentRecord:
    """The record of a student's file; no torch."""
    container = read_container(path)
    return student_record(describe_student(container), container)


def student_record(description: StudentDescription, container: Container) -> StudentRecord:
    """What was measured, joined with what follows from the student and the file."""
    return StudentRecord(
        design_of(description.student, description.teacher),
        description.lesson,
        description.measured,
        len(container.data),
        container.sha256,
    )


def design_of(student: Student, teacher: tuple[int, int] | None) -> StudentDesign:
    """What a student is, as the record names it."""
    parameters, size = teacher or (None, None)
    return StudentDesign(
        student=student_text(student.spec),
        kind=student.spec.kind,
        parameters=student.parameters,
        circuit_parameters=student.circuit_parameters,
        qubits=student.qubits,
        teacher_parameters=parameters,
        model_bytes=size,
    )


def metadata(description: StudentDescription, check: str = BLANK) -> str:
    """The metadata's canonical JSON; the check is blank until the whole file is known."""
    student = description.student
    value = {
        "format": FORMAT,
        "rules": RULES,
        "student": student_text(student.spec),
        "inputs": list(student.inputs),
        "outputs": student.outputs,
        "normalisation": [list(description.mean), list(description.std)],
        "probes": list(description.probes),
        "teacher": None if description.teacher is None else list(description.teacher),
        "lesson": description.lesson.to_json(),
        "record": description.measured.to_stored(),
        "digests": [description.measured.data_sha256, description.measured.model_sha256],
        "run": description.run,
        "check": check,
    }
    return canonical(value)


def _from_json(value: Any) -> StudentDescription:
    if value["rules"] != RULES:
        raise BadInput(f"it has the rules {reprlib.repr(value['rules'])}; this version knows '{RULES}'")
    sizes = [*value["inputs"], value["outputs"], *(value["teacher"] or ())]
    if (
        not all(type(size) is int and 0 < size < 2**62 for size in sizes)
        or len(value["inputs"]) > MAX_DIMENSIONS
    ):
        raise BadInput("a size in it is not a whole number above 0")
    if math.prod(value["inputs"]) > MAX_NUMBERS or value["outputs"] > MAX_NUMBERS:
        raise BadInput("its input or its outputs are too many numbers")
    mean, std = (tuple(map(float, part)) for part in value["normalisation"])
    count, size = value["teacher"] or (0, 0)
    return StudentDescription(
        student=Student(parse_student(value["student"]), tuple(value["inputs"]), value["outputs"]),
        mean=mean,
        std=std,
        probes=tuple(map(float, value["probes"])),
        teacher=(count, size) if value["teacher"] else None,
        lesson=Lesson.from_json(value["lesson"]),
        measured=Measured.from_stored(value["record"], *value["digests"]),
        run=value["run"],
    )


def _check_tensors(student: Student, header: Header) -> None:
    """The stored tensors must be exactly the student's. Raises `BadInput`."""
    expected = {name: ("F32", shape) for name, shape in student.shapes.items()}
    found = {name: (tensor.dtype, tensor.shape) for name, tensor in header.tensors.items()}
    if found != expected:
        names = sorted(name for name in found.keys() | expected if found.get(name) != expected.get(name))
        raise BadInput(f"its stored tensors {', '.join(names)} do not match its student")
