"""`qtrain card`: what a model card says of an artifact. Reads the record alone: no torch, nothing evaluated.

Files that lie in the card's folder are listed where they carry the artifact's name (exported weights, a
report) or are the model that it was made from. What the record cannot tell (licence, names on the hub) is
taken from the options.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from qtrain_cli.artifact.container import read_container
from qtrain_cli.artifact.description import describe_container, record_of
from qtrain_cli.artifact.example import Example, NamedExamples
from qtrain_cli.artifact.student import describe_student, is_student, student_record
from qtrain_cli.files.atomic import check_output
from qtrain_cli.files.hashing import file_sha256
from qtrain_cli.results import Record, StudentRecord
from qtrain_cli.settings import CardSettings

#: What is uploaded beside a card, by ending, and what it is.
COMPANIONS = {
    ".qtrain": "the artifact",
    ".safetensors": "ordinary weights",
    ".pt": "a PyTorch file",
    ".pt2": "the graph with its weights (`torch.export`)",
    ".onnx": "the graph with its weights (ONNX)",
    ".qasm": "the trained circuits (OpenQASM 3)",
    ".html": "a page",
}
ORIGINAL = "the model that it was made from"
MOST_COMPANIONS = 50
#: Larger files are not read to see whether they are the model.
MOST_HASHED_BYTES = 2**26


@dataclass(frozen=True)
class Companion:
    """A file of the card's folder."""

    name: str
    bytes: int
    what: str


@dataclass(frozen=True)
class Card:
    """All that a card is made of. `form` is what goes in: ``picture``, ``text``, ``table`` or empty."""

    settings: CardSettings
    record: Record | StudentRecord
    form: str
    files: tuple[Companion, ...]


def run(settings: CardSettings) -> Card:
    """Reads the record, and looks what lies where the card will.

    Raises:
        UsageError: the output exists, or is the artifact.
        BadInput: no artifact, a bare one, which has no record, or an output that cannot be.
        Refused: the artifact is damaged.
    """
    check_output(settings.out, settings.force, [settings.artifact])
    container = read_container(settings.artifact)
    if is_student(container):
        student = describe_student(container)
        found: Record | StudentRecord = student_record(student, container)
        form = _form(tuple(student.student.inputs), "F32")
    else:
        description = describe_container(container)
        found, form = record_of(description, container), _form_of(description.example)
    files = tuple(_companions(settings, found.measured.model_sha256))
    return Card(settings, found, form, files)


def _form_of(example: Example | NamedExamples) -> str:
    first = example.parts[0][1] if isinstance(example, NamedExamples) else example
    return _form(first.shape, first.dtype)


def _form(shape: tuple[int, ...], dtype: str) -> str:
    """Pictures have channels, texts are rows of whole numbers, tables rows of others."""
    if len(shape) == 3:
        return "picture"
    if len(shape) != 1:
        return ""
    return "text" if dtype.startswith("I") else "table"


def _companions(settings: CardSettings, model_sha256: str) -> Iterator[Companion]:
    """The artifact first, wherever it lies, then what has its name or is its model; no stranger's file."""
    artifact = settings.artifact
    yield Companion(artifact.name, artifact.stat().st_size, COMPANIONS[".qtrain"])
    there = settings.out.parent.iterdir()
    others = sorted(path for path in there if path.suffix in COMPANIONS and path.is_file())
    for path in others[:MOST_COMPANIONS]:
        size = path.stat().st_size
        if os.path.realpath(path) == os.path.realpath(artifact):
            continue
        if size <= MOST_HASHED_BYTES and file_sha256(path) == model_sha256:
            yield Companion(path.name, size, ORIGINAL)
        elif path.name.startswith(f"{artifact.stem}."):
            yield Companion(path.name, size, COMPANIONS[path.suffix])
