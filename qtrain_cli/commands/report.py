"""`qtrain report`: the artifact's record and its gates.

Reads the record from the artifact alone: nothing is evaluated and no torch is imported. Outputs that could
not be written are refused before anything is read. A failed gate is an outcome like any other; the caller
decides what it means (`gates.gate_failure`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qtrain_cli.artifact.container import Container, read_container
from qtrain_cli.artifact.dossiers import dossier_of
from qtrain_cli.artifact.records import BareFile, any_record_of, record_or_size_of
from qtrain_cli.errors import BadInput, QtrainError, UsageError
from qtrain_cli.files.atomic import check_output
from qtrain_cli.files.reading import open_ordinary
from qtrain_cli.results import GateResult, Record, StudentRecord, any_record
from qtrain_cli.results.dossier import Dossier
from qtrain_cli.results.gates import check_gates, size_gate
from qtrain_cli.settings import GateSettings, ReportSettings

#: A record takes some kilobytes.
MAX_BASELINE_BYTES = 2**24
_ITS_SOURCE = "give the output of: qtrain report --json"


@dataclass(frozen=True)
class ReportOutcome:
    """What `run` found: the record, one result for each gate that was asked for, and what a page needs."""

    record: Record | StudentRecord | BareFile
    gates: tuple[GateResult, ...]
    dossier: Dossier | None = None


def run(settings: ReportSettings, log: Callable[[str], None] = lambda line: None) -> ReportOutcome:
    """Reads the record and checks the gates; `log` takes what is said of a model or data.

    A bare file has no record; of it only the size can be demanded.

    Raises:
        UsageError: an output exists, or two outputs or an output and an input are one file; a gate does not
            fit the task.
        BadInput: the artifact or the baseline is missing or malformed, or an output cannot be; the artifact
            is bare, and more than its size is asked for.
        Refused: the artifact is damaged.
    """
    _check_outputs(settings)
    container = read_container(settings.artifact)
    outcome = _judged(settings, container)
    if not settings.html:
        return outcome
    dossier = dossier_of(container)
    if settings.looks:
        from qtrain_cli.runs.looking import looked_at

        dossier = looked_at(container, dossier, settings, log)
    return replace(outcome, dossier=dossier)


def _judged(settings: ReportSettings, container: Container) -> ReportOutcome:
    """The record, and what came of each gate."""
    gates = settings.gates
    if gates.of_size_alone or (gates == GateSettings() and settings.html):
        record = record_or_size_of(container)
        limit = gates.max_bytes
        return ReportOutcome(record, (size_gate(record.artifact_bytes, limit),) if limit else ())
    known = any_record_of(container)
    baseline = read_baseline(gates.baseline) if gates.baseline else None
    return ReportOutcome(known, check_gates(known, gates, baseline))


def read_baseline(path: Path) -> Record | StudentRecord:
    """An older record, from a file with the output of ``qtrain report --json``.

    The output of a run whose gate failed carries an ``error`` beside the record; the record still counts.

    Raises:
        BadInput: not there or no ordinary file, not JSON, no record, or a record of another version.
    """
    try:
        with open_ordinary(path, _ITS_SOURCE) as file:
            document = json.loads(file.read(MAX_BASELINE_BYTES))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"the baseline '{path}' is not JSON", _ITS_SOURCE) from error
    try:
        return any_record(_without_error(document))
    except QtrainError as error:
        advice = error.advice or _ITS_SOURCE
        raise BadInput(f"the baseline '{path}': {error.message}", advice) from error


def _without_error(document: Any) -> Any:
    if not isinstance(document, dict) or "error" not in document:
        return document
    if len(document) == 1:
        raise BadInput("it holds an error, not a record", "give the output of a run that ended well")
    return {name: value for name, value in document.items() if name != "error"}


def _check_outputs(settings: ReportSettings) -> None:
    taken = {_real(settings.artifact): "the artifact"}
    if settings.gates.baseline:
        taken[_real(settings.gates.baseline)] = "--baseline"
    asked = {"--markdown": settings.markdown, "--junit": settings.junit, "--html": settings.html}
    for option, path in asked.items():
        if path is None:
            continue
        if _real(path) in taken:
            raise UsageError(f"{option} '{path}' is also {taken[_real(path)]}", "name another file")
        check_output(path, settings.force)
        taken[_real(path)] = option
    if settings.step_summary and _real(settings.step_summary) in taken:
        what = taken[_real(settings.step_summary)]
        raise UsageError(f"the step summary '{settings.step_summary}' is also {what}", "name another file")


def _real(path: Path) -> str:
    return os.path.realpath(path)
