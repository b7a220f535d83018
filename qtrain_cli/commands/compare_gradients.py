"""`qtrain compare-gradients`: the same training under every estimator, and the gradients of random circuits.

Each cell is one run of `train` or `distill` whose file lands in the folder; a finished one is read again,
with the seconds that it took beside it.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from qtrain_cli.errors import BadInput, missing_package
from qtrain_cli.files.atomic import check_output, write_bytes_atomically
from qtrain_cli.results import GradientRow, GradientTable, StudentRecord
from qtrain_cli.students import teaching
from qtrain_cli.students.settings import CompareGradientsSettings, TeachSettings
from qtrain_cli.students.spec import ClassicalSpec, StudentSpec, parse_student, student_text
from qtrain_cli.training.fit import Progress
from qtrain_cli.training.plateaus import gradient_variance

#: A table as a picture in the format of an ending. `cli` passes that of `students.figures`.
Draw = Callable[[GradientTable, str], bytes]


def run(
    settings: CompareGradientsSettings,
    draw: Draw,
    show: Callable[[Progress], None],
    log: Callable[[str], None],
) -> GradientTable:
    """Runs every cell that is not there yet, then the random circuits, then draws.

    Raises:
        UsageError, BadInput, Refused, RunFailed, Interrupted: as `teaching.run`; finished cells stay.
    """
    spec = parse_student(settings.base.student)
    if isinstance(spec, ClassicalSpec):
        raise BadInput(
            "a classical student has no circuit whose gradients could be compared", "give a hybrid"
        )
    if settings.plot:
        check_output(settings.plot, force=settings.force)
        if importlib.util.find_spec("matplotlib") is None:
            raise missing_package("--plot", "matplotlib", "plot")
    if not settings.folder.is_dir():
        if settings.folder.exists():
            raise BadInput(f"'{settings.folder}' is not a folder", "name a folder for the students' files")
        settings.folder.mkdir()
    rows = []
    for gradient, shots in settings.estimators:
        cells = [_cell(settings, gradient, shots, seed) for seed in range(settings.seeds)]
        done = [_run(cell, show, log) for cell in cells]
        records, seconds = zip(*done, strict=True)
        rows.append(GradientRow(gradient, shots, records, seconds))
    table = GradientTable(student_text(spec), tuple(rows), _plateaus(settings, spec))
    if settings.plot:
        write_bytes_atomically(
            settings.plot, draw(table, settings.plot.suffix[1:].lower()), force=settings.force
        )
    return table


def _cell(settings: CompareGradientsSettings, gradient: str, shots: int, seed: int) -> TeachSettings:
    base = settings.base
    return replace(
        base,
        fit=replace(base.fit, seed=seed),
        out=settings.folder / f"{gradient}-{shots}-{seed}.qtrain",
        circuit=replace(base.circuit, gradient=gradient, shots=shots, test_shots=0, test_noise=0.0),
        resume=True,
    )


def _run(
    cell: TeachSettings, show: Callable[[Progress], None], log: Callable[[str], None]
) -> tuple[StudentRecord, float | None]:
    """One cell's record, and the seconds of the run that made it."""
    clock, before = cell.out.with_suffix(".seconds"), cell.out.exists()
    log(f"-> {cell.out.name}")
    record = teaching.run_cell(cell, show, log)
    if not before and record.seconds is not None:
        write_bytes_atomically(clock, json.dumps(record.seconds).encode(), force=True)
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
