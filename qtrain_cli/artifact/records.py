"""The record of a `.qtrain` file of either kind: a compressed model's, or a student's. No torch."""

from __future__ import annotations

from pathlib import Path

from qtrain_cli.artifact.container import read_container
from qtrain_cli.artifact.description import describe_container, record_of
from qtrain_cli.artifact.student_description import describe_student, is_student, student_record
from qtrain_cli.results import Record, StudentRecord


def read_any_record(path: Path) -> Record | StudentRecord:
    """The record, with the size and the hash of the very bytes that were read.

    Raises:
        BadInput: no such file, no artifact, or one of another version.
        Refused: it is damaged or hostile.
    """
    container = read_container(path)
    if is_student(container):
        return student_record(describe_student(container), container)
    return record_of(describe_container(container), container)
