"""Weights as files that know nothing of this project: `.safetensors`, `.pt`, `.pt2`, `.onnx`.

`EXPORTERS` has one row an ending. Every export goes the same way,

    state -> temporary file -> the format's public reader -> compare with state -> rename

so a file stands under its final name only after plain PyTorch or onnxruntime has read it back: tensors bit
for bit, and what a graph computes within `comparison.tolerance`. `writers` holds the four formats, `tracing`
makes the graph that `.pt2` and `.onnx` carry, `comparison` decides what counts as the same.

`circuits` writes programs of circuits (`.qasm`) in the same way.

The same weights give the same bytes, but for `.onnx`, whose exporter promises no such thing. Left out:
external data, quantised exports, graphs of several outputs.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from qtrain_cli.data.inputs import Inputs
from qtrain_cli.errors import BadInput, QtrainError, RunFailed, UsageError
from qtrain_cli.exports import writers
from qtrain_cli.exports.circuits import CircuitExport, require_circuit_ending, write_program
from qtrain_cli.exports.tracing import PLAIN_ADVICE, RealRows, reason
from qtrain_cli.exports.writers import Checked, Source
from qtrain_cli.files.atomic import replacing

__all__ = [
    "EXPORTERS",
    "CircuitExport",
    "ExportRecord",
    "Exporter",
    "RealRows",
    "export",
    "require_circuit_ending",
    "write_program",
]


@dataclass(frozen=True)
class Exporter:
    """One row of the table. `write` writes a file, reads it back and raises `RunFailed` if it differs."""

    ending: str
    format: str
    write: Callable[[Source, Path], Checked]
    graph: bool = False
    packages: tuple[str, ...] = ()


EXPORTERS: dict[str, Exporter] = {
    row.ending: row
    for row in (
        Exporter(".safetensors", "safetensors", writers.write_safetensors),
        Exporter(".pt", "PyTorch state dictionary", writers.write_pt),
        Exporter(".pt2", "torch.export archive", writers.write_pt2, graph=True),
        Exporter(
            ".onnx",
            "ONNX",
            writers.write_onnx,
            graph=True,
            packages=("onnx", "onnxscript", "onnxruntime"),
        ),
    )
}


@dataclass(frozen=True)
class ExportRecord:
    """A finished export.

    `bytes` is the size of the file, `tensors` how many names were exported, `checked` how the file was read
    back and compared. `note` is empty unless the file can do less than its format allows.
    """

    path: Path
    bytes: int
    sha256: str
    format: str
    tensors: int
    checked: str
    note: str = ""


def export(
    state: Mapping[str, Tensor],
    path: Path,
    *,
    module: nn.Module | None = None,
    example: Inputs | RealRows | None = None,
    force: bool = False,
) -> ExportRecord:
    """Write `state` to `path` in the format that its ending names, and check the file before the rename.

    Args:
        state: named tensors of any shape and dtype. Names that share one tensor stay tied, but not in
            `.safetensors`, which has no ties: there each has its own copy.
        module: takes (k, ...) and returns what counts as one tensor; its own weights do not matter, and it is
            not changed.
        example: a batch of inputs (k, ...) with k >= 1, or several by name; `RealRows` are compared on, too.
        force: replace an existing file.

    Raises:
        UsageError: an unknown ending, an existing file, a graph without `module` or `example`.
        BadInput: a package is not installed; `state` does not fit `module`; `module` fails on `example`.
        RunFailed: the module cannot be traced or converted, or the file differs. Nothing is left behind.
    """
    exporter = _exporter(path)
    source = Source(dict(state), module, example)
    with replacing(path, force) as temporary, _silenced(), _failing_as_ours(exporter):
        checked = exporter.write(source, temporary)
        written = temporary.read_bytes()
    return ExportRecord(
        path=path,
        bytes=len(written),
        sha256=hashlib.sha256(written).hexdigest(),
        format=exporter.format,
        tensors=len(source.state),
        checked=checked.how,
        note=checked.note,
    )


def _exporter(path: Path) -> Exporter:
    """The row for the ending of `path`. Raises `UsageError`, or `BadInput` if it lacks a package."""
    ending = path.suffix.lower()
    if ending not in EXPORTERS:
        allowed = ", ".join(EXPORTERS)
        near = difflib.get_close_matches(ending, EXPORTERS, n=1)
        advice = f"did you mean '{near[0]}'?" if near else "choose one of these endings"
        raise UsageError(f"'{path.name}' has the ending '{path.suffix}'; allowed: {allowed}", advice)
    for package in EXPORTERS[ending].packages:
        if importlib.util.find_spec(package) is None:
            raise BadInput(
                f"a {ending} export needs the package {package}, which is not installed",
                "pip install 'qtrain[onnx]'",
            )
    return EXPORTERS[ending]


@contextmanager
def _silenced() -> Iterator[None]:
    """Drop what torch and onnx print and log while exporting: stdout carries data only."""
    level = logging.root.manager.disable
    # Not by redirection alone: torch's log handlers hold the real stderr.
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


@contextmanager
def _failing_as_ours(exporter: Exporter) -> Iterator[None]:
    """Turn what the format's libraries raise, which can be anything, into `RunFailed`.

    Our own errors and the disk's (`replacing` explains those) pass.
    """
    try:
        yield
    except (QtrainError, OSError):
        raise
    except Exception as error:
        advice = PLAIN_ADVICE if exporter.graph else "set QTRAIN_DEBUG=1 to see where"
        raise RunFailed(f"the {exporter.ending} export failed: {reason(error)}", advice) from error
