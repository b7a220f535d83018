"""`qtrain train`: a student from labels alone. Teachers and controls come from here."""

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
    """Trains one student. Raises as `teaching.teach`; `UsageError` for a teacher, which is `distill`'s."""
    if settings.teacher or settings.itself:
        raise UsageError("train learns from labels alone", "use qtrain distill for a teacher")
    if settings.dry_run:
        return rehearse_student("train", settings, log)
    return teaching.teach(settings, show, log)
