"""`qtrain compare-gradients`: the same training under every estimator, and the gradients of random circuits.

Each cell is one run of `train` or `distill` whose file lands in the folder; a finished one is read again,
with the seconds of its training steps beside it. The losses are exact ones, whatever the shots of the
gradient, so that the curves can be compared.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from qtrain_cli.errors import BadInput, missing_package
from qtrain_cli.files.atomic import check_output, filled_folder, write_bytes_atomically
from qtrain_cli.quantum.plateaus import gradient_variance
from qtrain_cli.results import GradientRow, GradientTable, StudentRecord
from qtrain_cli.runs import teach as teaching
from qtrain_cli.settings.students import CompareGradientsSettings, TeachSettings
from qtrain_cli.students.spec import ClassicalSpec, StudentSpec, parse_student, student_text
from qtrain_cli.training.loop import Progress

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
    with filled_folder(settings.folder):
        rows = _rows(settings, show, log)
    table = GradientTable(student_text(spec), rows, _plateaus(settings, spec))
    if settings.plot:
        write_bytes_atomically(
            settings.plot, draw(table, settings.plot.suffix[1:].lower()), force=settings.force
        )
    return table


def _rows(
    settings: CompareGradientsSettings, show: Callable[[Progress], None], log: Callable[[str], None]
) -> tuple[GradientRow, ...]:
    """Seed by seed, every estimator in turn: a machine that slows down slows all of them alike."""
    done: dict[tuple[str, int], list[tuple[StudentRecord, float | None]]] = {}
    for seed in range(settings.seeds):
        for gradient, shots in settings.estimators:
            found = _run(_cell(settings, gradient, shots, seed), show, log)
            done.setdefault((gradient, shots), []).append(found)
    rows = []
    for (gradient, shots), pairs in done.items():
        records, seconds = zip(*pairs, strict=True)
        rows.append(GradientRow(gradient, shots, records, seconds))
    return tuple(rows)


def _cell(settings: CompareGradientsSettings, gradient: str, shots: int, seed: int) -> TeachSettings:
    base = settings.base
    return replace(
        base,
        fit=replace(base.fit, seed=seed),
        out=settings.folder / f"{gradient}-{shots}-{seed}.qtrain",
        circuit=replace(base.circuit, gradient=gradient, shots=shots, test_shots=0, test_noise=0.0),
        resume=True,
        force=settings.force,
    )


def _run(
    cell: TeachSettings, show: Callable[[Progress], None], log: Callable[[str], None]
) -> tuple[StudentRecord, float | None]:
    """One cell's record, and the seconds of its training steps: no start, no data, no measurement."""
    clock = cell.out.with_suffix(".seconds")
    log(f"-> {cell.out.name}")
    record = teaching.run_cell(cell, show, log)
    if record.seconds is not None:  # it ran now
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
