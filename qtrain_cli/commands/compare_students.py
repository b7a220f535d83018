"""`qtrain compare-students`: students and their classical controls by every method, over seeds, in one table.

Each cell is one run of `train` or `distill` whose file lands in the folder; a cell that is finished is read,
one that was interrupted goes on. Killed means: run it again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from qtrain_cli.files.atomic import check_output, filled_folder
from qtrain_cli.results import LABELS, StudentRecord, StudentRow, verdicts
from qtrain_cli.results.rehearsal import Rehearsal
from qtrain_cli.runs import teach as teaching
from qtrain_cli.runs.making import Log
from qtrain_cli.runs.rehearsals import rehearse_teaching
from qtrain_cli.runs.rehearsing import rehearsal_of
from qtrain_cli.runs.whole import WholeRun
from qtrain_cli.settings import (
    SHARPENED,
    TEACHINGS,
    CompareStudentsSettings,
    SelfSettings,
    TeachSettings,
    rate_of,
)
from qtrain_cli.students.spec import HybridSpec, parse_student, student_text
from qtrain_cli.training.devices import resolve_device
from qtrain_cli.training.loop import Show
from qtrain_cli.training.ranks import by_first


@dataclass(frozen=True)
class StudentTable:
    """What was found: a row a student and method, and sentences that judge them."""

    rows: tuple[StudentRow, ...]
    verdicts: tuple[str, ...]

    @property
    def courses(self) -> dict[str, list[float | None]]:
        """Of the first seed of each row: the validation figure of each epoch."""
        return {
            f"{row.called}, {row.method}": [figure for _, figure in row.records[0].lesson.history]
            for row in self.rows
        }

    def to_json(self) -> dict[str, Any]:
        """The document ``qtrain.students/1``."""
        return {
            "schema": "qtrain.students/1",
            "rows": [row.to_json() for row in self.rows],
            "verdicts": list(self.verdicts),
        }


def run(settings: CompareStudentsSettings, show: Show, log: Log) -> StudentTable | Rehearsal:
    """Runs every cell that is not there yet; with `dry_run` none.

    Raises:
        UsageError, BadInput, Refused, RunFailed, Interrupted: as `teaching.teach`; finished cells stay.
    """
    if settings.dry_run:
        return _rehearsed(settings, log)
    if settings.html:
        check_output(settings.html, settings.force)
    with by_first(filled_folder(settings.folder)):
        rows = _rows(settings, show, log)
    return StudentTable(tuple(rows), tuple(verdicts(rows)))


def _rehearsed(settings: CompareStudentsSettings, log: Log) -> Rehearsal:
    """A cell of each student and method, as often as there are seeds."""
    names = _students(settings)
    parts = [
        rehearse_teaching(
            _cell(settings, number, student, method, 0), log, f"{student}, {method}", settings.seeds
        )
        for number, student in enumerate(names)
        for method in settings.methods
    ]
    device = str(resolve_device(settings.fit.device))
    return rehearsal_of("compare-students", device, parts, (settings.folder, settings.html))


def _rows(settings: CompareStudentsSettings, show: Show, log: Log) -> list[StudentRow]:
    rows: list[StudentRow] = []
    names = _students(settings)
    trainings = sum(_trainings(settings, method) for method in settings.methods) * len(names) * settings.seeds
    whole = WholeRun(show, trainings)
    for number, student in enumerate(names):
        found: dict[str, tuple[StudentRecord, ...]] = {}
        for method in settings.methods:
            cells = [_cell(settings, number, student, method, seed) for seed in range(settings.seeds)]
            weight = _trainings(settings, method)
            found[method] = tuple(_run(cell, whole, weight, log) for cell in cells)
        rows += [
            StudentRow(student, method, done, found.get(LABELS, ()), names[student])
            for method, done in found.items()
        ]
    return rows


def _trainings(settings: CompareStudentsSettings, method: str) -> int:
    """How many trainings one cell of a method is."""
    return 1 + settings.generations * (TEACHINGS[method][2] == "born-again")


def _run(cell: TeachSettings, whole: WholeRun, weight: int, log: Log) -> StudentRecord:
    log(f"-> {cell.out.name}")
    record = teaching.run_cell(cell, whole.of_part(cell.out.stem, weight), log)
    whole.finish(weight, trained=record.seconds is not None)
    log(f"{cell.out.name}: test {record.scores.row.word} {record.scores.show(record.scores.test)}")
    return record


def _students(settings: CompareStudentsSettings) -> dict[str, str]:
    """The students' full texts, each hybrid's control behind it, with the user's own text as a name for each
    that is not the only one of its kind."""
    found: dict[str, str] = {}
    for text in settings.students:
        spec = parse_student(text)
        found.setdefault(student_text(spec), text)
        if settings.control and isinstance(spec, HybridSpec):
            found.setdefault(f"classical:like={student_text(spec)}", f"classical:like={text}")
    kinds = Counter(text.partition(":")[0] for text in found)
    return {full: name if kinds[full.partition(":")[0]] > 1 else "" for full, name in found.items()}


def _cell(
    settings: CompareStudentsSettings, number: int, student: str, method: str, seed: int
) -> TeachSettings:
    soft, aligned, itself = TEACHINGS[method]
    sharpened = method == SHARPENED
    weight = settings.fit.distill if soft or itself or sharpened else 0.0
    fit = replace(settings.fit, seed=seed, distill=weight, lr=rate_of(student, settings.lr))
    kind = student.partition(":")[0]
    return TeachSettings(
        student=student,
        data=settings.data,
        fit=fit,
        out=settings.folder / f"{number}-{kind}-{method}-{seed}.qtrain",
        teacher=settings.teacher if soft or aligned else None,
        align=settings.align if aligned else None,
        itself=SelfSettings(itself, settings.generations, settings.decay) if itself else None,
        resume=True,
        force=settings.force,
        teacher_any=settings.teacher_any,
        sharpened=sharpened,
    )
