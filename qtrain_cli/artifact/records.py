"""The record of a `.qtrain` file of either kind: a compressed model's, or a student's. No torch.

A bare file has none; what it says of itself is a `BareFile`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qtrain_cli.artifact.container import Container
from qtrain_cli.artifact.description import describe_container, design_of, record_of
from qtrain_cli.artifact.student import describe_student, is_student, student_record
from qtrain_cli.results import Design, Record, StudentRecord
from qtrain_cli.tasks.task import seven_digits

BARE_SCHEMA = "qtrain.bare/1"


@dataclass(frozen=True)
class BareFile:
    """What an artifact without a record says of itself: its size and digest, and what it generates."""

    artifact: str
    design: Design
    artifact_bytes: int
    artifact_sha256: str

    @property
    def bytes_ratio(self) -> float:
        """As a record's."""
        return self.design.bytes_ratio(self.artifact_bytes)

    @property
    def parameter_ratio(self) -> float:
        """As a record's."""
        return self.design.parameter_ratio

    def to_json(self) -> dict[str, Any]:
        """The document ``qtrain.bare/1``: the fields of a record that need no measurement."""
        return {
            "schema": BARE_SCHEMA,
            **vars(self.design),
            "artifact_bytes": self.artifact_bytes,
            "bytes_ratio": seven_digits(self.bytes_ratio),
            "parameter_ratio": seven_digits(self.parameter_ratio),
            "artifact_sha256": self.artifact_sha256,
        }


def any_record_of(container: Container) -> Record | StudentRecord:
    """The record, with the size and the hash of the very bytes that were read.

    Raises:
        BadInput: a bare one, or one of another version.
        Refused: it is damaged or hostile.
    """
    if is_student(container):
        return student_record(describe_student(container), container)
    return record_of(describe_container(container), container)


def record_or_size_of(container: Container) -> Record | StudentRecord | BareFile:
    """`any_record_of`, but what a bare file says of itself where it is one."""
    if is_student(container):
        return any_record_of(container)
    description = describe_container(container)
    if description.origin:
        return record_of(description, container)
    design = design_of(description.spec, description.change)
    return BareFile(container.path.name, design, len(container.data), container.sha256)
