"""`qtrain compare-gradients`: the same training under every estimator, and the gradients of random circuits.

Each cell is one run of `train` or `distill` whose file lands in the folder; a finished one is read again,
with the seconds of its training steps beside it. The losses are exact ones, whatever the shots of the
gradient, so that the curves can be compared.
"""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

from qtrain_cli.errors import BadInput
from qtrain_cli.files.atomic import check_output, filled_folder, write_bytes_atomically
from qtrain_cli.files.outputs import check_picture
from qtrain_cli.quantum.plateaus import gradient_variance
from qtrain_cli.results import GradientRow, GradientTable, StudentRecord
from qtrain_cli.results.rehearsal import Rehearsal
from qtrain_cli.runs import teach as teaching
from qtrain_cli.runs.making import Log
from qtrain_cli.runs.rehearsals import rehearse_teaching
from qtrain_cli.runs.rehearsing import rehearsal_of
from qtrain_cli.runs.whole import WholeRun
from qtrain_cli.settings import CircuitSettings, CompareGradientsSettings, TeachSettings
from qtrain_cli.students.spec import ClassicalSpec, StudentSpec, parse_student, student_text
from qtrain_cli.training.loop import Show
from qtrain_cli.training.ranks import by_first, present


def run(settings: CompareGradientsSettings, show: Show, log: Log) -> GradientTable | Rehearsal:
    """Runs every cell that is not there yet, then the random circuits; with `dry_run` nothing.

    Raises:
        UsageError, BadInput, Refused, RunFailed, Interrupted: as `teaching.teach`; finished cells stay.
    """
    spec = parse_student(settings.student)
    if isinstance(spec, ClassicalSpec):
        raise BadInput(
            "a classical student has no circuit whose gradients could be compared", "give a hybrid"
        )
    check_picture(settings.plot, settings.force)
    if settings.html:
        check_output(settings.html, settings.force)
    if settings.dry_run:
        return _rehearsed(settings, log)
    with by_first(filled_folder(settings.folder)):
        rows = _rows(settings, show, log)
    return GradientTable(student_text(spec), rows, _plateaus(settings, spec))


def _rehearsed(settings: CompareGradientsSettings, log: Log) -> Rehearsal:
    """A cell of each estimator, as often as there are seeds."""
    parts = [
        rehearse_teaching(
            _cell(settings, gradient, shots, 0), log, f"{gradient}, {shots or 'exact'}", settings.seeds
        )
        for gradient, shots in settings.estimators
    ]
    note = f"gradients of {len(settings.qubits) * len(settings.layers)} random circuits come on top"
    return rehearsal_of(
        "compare-gradients", "cpu", parts, (settings.folder, settings.plot, settings.html), [note]
    )


def _rows(settings: CompareGradientsSettings, show: Show, log: Log) -> tuple[GradientRow, ...]:
    """Seed by seed, every estimator in turn: a machine that slows down slows all of them alike."""
    done: dict[tuple[str, int], list[tuple[StudentRecord, float | None]]] = {}
    whole = WholeRun(show, len(settings.estimators) * settings.seeds)
    for seed in range(settings.seeds):
        for gradient, shots in settings.estimators:
            found = _run(_cell(settings, gradient, shots, seed), whole, log)
            done.setdefault((gradient, shots), []).append(found)
    rows = []
    for (gradient, shots), pairs in done.items():
        records, seconds = zip(*pairs, strict=True)
        rows.append(GradientRow(gradient, shots, records, seconds))
    return tuple(rows)


def _cell(settings: CompareGradientsSettings, gradient: str, shots: int, seed: int) -> TeachSettings:
    return TeachSettings(
        student=settings.student,
        data=settings.data,
        fit=replace(settings.fit, seed=seed),
        out=settings.folder / f"{gradient}-{shots}-{seed}.qtrain",
        circuit=CircuitSettings(gradient, shots, settings.noise, test_shots=0, test_noise=0.0),
        resume=True,
        force=settings.force,
    )


def _run(cell: TeachSettings, whole: WholeRun, log: Log) -> tuple[StudentRecord, float | None]:
    """One cell's record, and the seconds of its training steps: no start, no data, no measurement."""
    clock = cell.out.with_suffix(".seconds")
    log(f"-> {cell.out.name}")
    record = teaching.run_cell(cell, whole.of_part(cell.out.stem, 1), log)
    whole.finish(1, trained=record.seconds is not None)
    if record.seconds is not None and present().first:  # it ran now
        write_bytes_atomically(clock, json.dumps(record.training_seconds).encode(), force=True)
    return record, _read_seconds(clock)


def _read_seconds(path: Path) -> float | None:
    """What stands in a cell's clock; None where there is none, or no number."""
    try:
        return float(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _plateaus(settings: CompareGradientsSettings, spec: StudentSpec) -> tuple[dict[str, float], ...]:
    """Variances of random circuits of the student's own ansatz."""
    assert not isinstance(spec, ClassicalSpec)
    return tuple(
        asdict(gradient_variance(spec.ansatz, spec.entangler, qubits, layers, seed=0))
        for layers in settings.layers
        for qubits in settings.qubits
    )
