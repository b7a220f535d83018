"""`qtrain distill`: a student from a teacher, or from itself."""

from __future__ import annotations

from qtrain_cli.errors import UsageError
from qtrain_cli.results import StudentRecord
from qtrain_cli.results.rehearsal import Rehearsal
from qtrain_cli.runs import teach as teaching
from qtrain_cli.runs.making import Log
from qtrain_cli.runs.rehearsals import rehearse_student
from qtrain_cli.settings import TeachSettings
from qtrain_cli.training.loop import Show


def run(settings: TeachSettings, show: Show, log: Log) -> StudentRecord | Rehearsal:
    """Distils one student. Raises as `teaching.teach`; `UsageError` where nobody teaches."""
    if settings.teacher is None and settings.itself is None:
        raise UsageError(
            "there is nobody to learn from", "give a teacher's file, or --self born-again or running-average"
        )
    if settings.dry_run:
        return rehearse_student("distill", settings, log)
    return teaching.teach(settings, show, log)
