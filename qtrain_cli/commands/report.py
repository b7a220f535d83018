"""`qtrain report`: the artifact's record, its gates, and the files a pipeline wants.

Reads the record from the artifact alone: nothing is evaluated and no torch is imported. Outputs that could
not be written are refused before anything is read; when a gate fails they are written all the same, and the
caller decides what a failed gate means (`gates.gate_failure`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtrain_cli.artifact.records import read_any_record
from qtrain_cli.errors import BadInput, QtrainError, UsageError
from qtrain_cli.files.atomic import check_output, write_bytes_atomically, write_failure
from qtrain_cli.results import GateResult, Record, StudentRecord, any_record
from qtrain_cli.results.gates import check_gates
from qtrain_cli.settings import ReportSettings

#: One form of a record and its gates, as text. `cli` passes those of `render`, which no command imports.
Renderer = Callable[[Record | StudentRecord, tuple[GateResult, ...]], str]


@dataclass(frozen=True)
class ReportOutcome:
    """What `run` found: the record, and one result for each gate that was asked for."""

    record: Record | StudentRecord
    gates: tuple[GateResult, ...]


def run(settings: ReportSettings, as_markdown: Renderer, as_junit: Renderer) -> ReportOutcome:
    """Read the record, check the gates, write the files that are asked for.

    Raises:
        UsageError: an output exists, or two outputs or an output and an input are one file; a gate does not
            fit the task.
        BadInput: the artifact or the baseline is missing or malformed, or an output cannot be.
        Refused: the artifact is damaged.
        RunFailed: the disk is full.
    """
    _check_outputs(settings)
    record = read_any_record(settings.artifact)
    path = settings.gates.baseline
    gates = check_gates(record, settings.gates, read_baseline(path) if path else None)
    markdown = as_markdown(record, gates)
    if settings.markdown:
        write_bytes_atomically(settings.markdown, markdown.encode(), settings.force)
    if settings.junit:
        write_bytes_atomically(settings.junit, as_junit(record, gates).encode(), settings.force)
    if settings.step_summary:
        _append(settings.step_summary, markdown)
    return ReportOutcome(record, gates)


def read_baseline(path: Path) -> Record | StudentRecord:
    """An older record, from a file with the output of ``qtrain report --json``.

    The output of a run whose gate failed carries an ``error`` beside the record; the record still counts.

    Raises:
        BadInput: not there, not JSON, no record, or a record of another version.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise BadInput(f"the baseline '{path}' cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise BadInput(
            f"the baseline '{path}' is not JSON", "give the output of: qtrain report --json"
        ) from error
    try:
        return any_record(_without_error(document))
    except QtrainError as error:
        raise BadInput(f"the baseline '{path}': {error.message}", error.advice) from error


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
    for option, path in (("--markdown", settings.markdown), ("--junit", settings.junit)):
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


def _append(path: Path, text: str) -> None:
    """Add to a file that others write to as well, as the step summary of a pipeline is."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise write_failure(path, error) from error
