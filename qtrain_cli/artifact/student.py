"""A student's file but for its tensors: what it is, how it was taught, what came out. No torch.

A student is the method `student` of the one container: its plan is its text with the shape of an input and
the number of outputs, from which all tensors follow (`students.spec`), and the lesson. Its groups are those
tensors, stored as they are in float32. What was read has to be what this version would write, character for
character.
"""

from __future__ import annotations

import hashlib
import math
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtrain_cli.artifact.container import (
    RUN_DIGITS,
    Container,
    canonical,
    check_hexadecimal,
    read_container,
)
from qtrain_cli.artifact.extents import check_size
from qtrain_cli.artifact.formats import FORMAT, FORMER_STUDENT, Foreign, format_of, refusals
from qtrain_cli.artifact.former import model_4, student_1
from qtrain_cli.artifact.payload import (
    DIGEST_BYTES,
    MAX_OUTPUTS,
    STUDENT,
    Opened,
    join_payload,
    method_in,
    opened,
)
from qtrain_cli.errors import BadInput
from qtrain_cli.methods.forms import Form, Forms
from qtrain_cli.results import Lesson, Measured, StudentDesign, StudentRecord
from qtrain_cli.students.spec import Student, parse_student, student_text

STUDENT_RULES = "wire0=msb float32"
MAX_INPUT_DIMENSIONS, MAX_NUMBERS = 8, 2**24
MAX_PARAMETERS = 2**26
_FORMER = str(model_4.FORMER_NUMBER)
#: What finds the method that a file's facts name, by the file's metadata.
_NAMERS = {str(FORMAT): method_in, _FORMER: model_4.former_method_in}


@dataclass(frozen=True)
class StudentDescription:
    """All of a student's file except its tensors.

    `mean` and `std` normalise inputs (`data`); `probes` are the first outputs for a fixed input, which
    `verify` computes again, float32 each; `teacher` is the count and the float32 bytes of its teacher, None
    for labels alone.

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
        if len(inputs) > MAX_INPUT_DIMENSIONS or math.prod(inputs) > MAX_NUMBERS:
            raise BadInput(f"an input has the shape {reprlib.repr(list(inputs))}")
        if self.student.parameters > MAX_PARAMETERS:
            raise BadInput(f"it has {self.student.parameters} parameters; allowed: {MAX_PARAMETERS}")
        if len(self.mean) != len(self.std) or not all(value > 0 for value in self.std):
            raise BadInput("its normalisation is none")
        if len(self.probes) != min(MAX_OUTPUTS, self.student.outputs):
            needed = min(MAX_OUTPUTS, self.student.outputs)
            raise BadInput(f"it has {len(self.probes)} probes; needed: {needed}")
        if not all(map(math.isfinite, (*self.mean, *self.std, *self.probes))):
            raise BadInput("one of its numbers is not finite")
        check_hexadecimal("run", self.run, RUN_DIGITS)


def is_student(container: Container) -> bool:
    """Whether a file says that it is of this kind."""
    if container.text in _NAMERS:
        return _NAMERS[container.text](container) == STUDENT
    return f'"format":"{FORMER_STUDENT.partition("/")[0]}/' in container.text


def require_student(container: Container) -> None:
    """Raises `BadInput` for a file of the other kind."""
    if not is_student(container):
        raise BadInput(
            f"'{container.path}' is a compressed model's artifact, not a student's",
            "give a file that `qtrain train` or `qtrain distill` wrote",
        )


def describe_student(container: Container) -> StudentDescription:
    """Everything but the tensors, validated.

    Raises:
        BadInput: another version of the format.
        Refused: it is damaged or hostile.
    """
    return student_parts(container)[0]


def student_parts(container: Container) -> tuple[StudentDescription, bytes]:
    """The description, and the bytes of all tensors in their order, of the size and digest that they need."""
    found = format_of(container)
    with refusals(container):
        parts = _opened(container, found)
        description = _described(parts)
        forms = forms_of_student(description.student)
        numbers = parts.numbers(forms, parts.rest)
        check_size(forms, len(numbers))
        if parts.digest and parts.digest != digest_of_bytes(numbers):
            raise BadInput("its tensors do not match its digest")
        if parts.rewritten(student_facts(description)) != parts.text:
            raise BadInput("its facts are not what an honest writer writes")
    return description, numbers


def read_student_record(path: Path) -> StudentRecord:
    """The record of a student's file; no torch."""
    container = read_container(path)
    return student_record(describe_student(container), container)


def student_record(description: StudentDescription, container: Container) -> StudentRecord:
    """What was measured, joined with what follows from the student and the file."""
    return StudentRecord(
        stored_design(description.student, description.teacher),
        description.lesson,
        description.measured,
        len(container.data),
        container.sha256,
    )


def stored_design(student: Student, teacher: tuple[int, int] | None) -> StudentDesign:
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


def forms_of_student(student: Student) -> Forms:
    """All tensors, as they are."""
    return {name: Form(shape, "F32", coded=False) for name, shape in student.shapes.items()}


def digest_of_bytes(numbers: bytes) -> str:
    """The digest of a student's tensors, which the file itself holds."""
    return hashlib.sha256(numbers).digest()[:DIGEST_BYTES].hex()


def student_facts(description: StudentDescription) -> dict[str, Any]:
    """The facts, as plain data."""
    student = description.student
    plan = {
        "student": student_text(student.spec),
        "inputs": list(student.inputs),
        "outputs": student.outputs,
        "normalisation": [list(description.mean), list(description.std)],
        "teacher": None if description.teacher is None else list(description.teacher),
        "lesson": description.lesson.to_stored(),
    }
    return {
        "method": STUDENT,
        "plan": plan,
        "record": description.measured.to_stored(),
        "rules": STUDENT_RULES,
    }


def student_tensor(description: StudentDescription, numbers: bytes) -> bytes:
    """The bytes of a file's one tensor, its check blank."""
    measured = description.measured
    origin = (description.run, measured.data_sha256, measured.model_sha256)
    text = canonical(student_facts(description))
    return join_payload(digest_of_bytes(numbers), text, description.probes, origin, b"", numbers)


def _opened(container: Container, found: str) -> Opened:
    if found == FORMER_STUDENT:
        return student_1.opened(container)
    openers = {str(FORMAT): lambda: opened(container, canonical), _FORMER: lambda: model_4.opened(container)}
    parts = openers[found]() if found in openers else None
    if parts is None or parts.facts.get("method") != STUDENT:
        raise Foreign("is no student's file", "give a file that `qtrain train` or `qtrain distill` wrote")
    return parts


def _described(parts: Opened) -> StudentDescription:
    value, (run, data, model) = parts.facts, parts.origin
    plan = value["plan"]
    if value["rules"] != STUDENT_RULES:
        raise BadInput(
            f"it has the rules {reprlib.repr(value['rules'])}; this version knows '{STUDENT_RULES}'"
        )
    _check_sizes(plan["inputs"], [plan["outputs"], *(plan["teacher"] or ())])
    mean, std = (tuple(map(float, part)) for part in plan["normalisation"])
    count, size = plan["teacher"] or (0, 0)
    return StudentDescription(
        student=Student(parse_student(plan["student"]), tuple(plan["inputs"]), plan["outputs"]),
        mean=mean,
        std=std,
        probes=parts.probes,
        teacher=(count, size) if plan["teacher"] else None,
        lesson=Lesson.from_stored(plan["lesson"]),
        measured=Measured.from_stored(value["record"], data, model),
        run=run,
    )


def _check_sizes(inputs: list[Any], others: list[Any]) -> None:
    """Raises `BadInput` before anything is computed of sizes that cannot be."""
    whole = all(type(size) is int and 0 < size < 2**62 for size in (*inputs, *others))
    if not whole or len(inputs) > MAX_INPUT_DIMENSIONS:
        raise BadInput("a size in it is not a whole number above 0")
    if math.prod(inputs) > MAX_NUMBERS or others[0] > MAX_NUMBERS:
        raise BadInput("its input or its outputs are too many numbers")
