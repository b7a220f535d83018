"""`qtrain distill`: a student from a teacher, or from itself."""

from __future__ import annotations

from collections.abc import Callable

from qtrain_cli.errors import UsageError
from qtrain_cli.results import StudentRecord
from qtrain_cli.runs import teach as teaching
from qtrain_cli.settings import TeachSettings
from qtrain_cli.training.loop import Progress


def run(
    settings: TeachSettings, show: Callable[[Progress], None], log: Callable[[str], None]
) -> StudentRecord:
    """Distils one student. Raises as `teaching.teach`; `UsageError` where nobody teaches."""
    if settings.teacher is None and settings.itself is None:
        raise UsageError(
            "there is nobody to learn from", "give a teacher's file, or --self born-again or running-average"
        )
    return teaching.teach(settings, show, log)
