"""What the benchmark found, as a table for the terminal and as one JSON document.

    {"version": 1, "machine": {...}, "rivals": {name: {"versions", "error", "note"}},
     "speed": [{"ansatz", "qubits", "layers", "circuits", "engine_seconds", "gpu_seconds", "bytes_moved",
                "bound_seconds", "bound_cached_seconds",
                "rivals": {name: {"seconds", "mode", "modes", "reason", "difference"}}}],
     "memory": [{"engine", "ansatz", "qubits", "layers", "peak_bytes"}]}

Seconds are the best round. `reason` says why there are none; `difference` is the relative distance to the
engine's answer; `modes` are the ways a rival was tried in, with the seconds of one call or the error.
`bound_seconds` is bytes_moved at the bandwidth of large arrays, `bound_cached_seconds` at that of arrays of
the state's size.
"""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
import torch
from benchmarks import physics
from benchmarks.suite import Outcome, Row

import qtrain_cli


@dataclass
class Memory:
    """One measured peak above the baseline of its process, in bytes, or why there is none."""

    engine: str
    ansatz: str
    qubits: int
    layers: int
    peak_bytes: int


@dataclass
class Report:
    """Everything of one run."""

    rivals: dict[str, dict[str, Any]] = field(default_factory=dict)
    speed: list[Row] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)


def machine() -> dict[str, Any]:
    """Where the figures come from."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "rivals_threads": "OMP_NUM_THREADS and the like set to `cores`; XLA uses all cores",
        "system": platform.platform(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "copy_bytes_per_second": physics.bandwidth(physics.LARGE),
        "versions": {
            "qtrain": qtrain_cli.__version__,
            "torch": torch.__version__,
            "numpy": numpy.__version__,
            "python": platform.python_version(),
        },
    }


def processor() -> str:
    """The processor's name where the system says it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "unknown")


def document(report: Report) -> dict[str, Any]:
    """The JSON document as plain data."""
    return {
        "version": 1,
        "machine": machine(),
        "rivals": report.rivals,
        "speed": [_speed(row) for row in report.speed],
        "memory": [dataclasses.asdict(one) for one in report.memory],
    }


def _speed(row: Row) -> dict[str, Any]:
    circuit = row.circuit
    return {
        **{name: getattr(circuit, name) for name in ("ansatz", "qubits", "layers", "circuits")},
        "engine_seconds": row.engine,
        "gpu_seconds": row.gpu,
        "bytes_moved": physics.bytes_moved(circuit),
        "bound_seconds": row.bound,
        "bound_cached_seconds": row.bound_cached,
        "rivals": {name: dataclasses.asdict(outcome) for name, outcome in row.rivals.items()},
    }


def lines(report: Report) -> Iterator[str]:
    """The terminal's tables."""
    if report.speed:
        yield from _speed_lines(report)
    if report.memory:
        yield ""
        yield from _memory_lines(report.memory)


def _speed_lines(report: Report) -> Iterator[str]:
    names = list(report.speed[0].rivals)
    gpu = torch.cuda.is_available()
    heads = ["engine", *(["GPU"] if gpu else []), "bound", "x bound", "cached"]
    yield (
        f"{'ansatz, n, L, b':28}"
        + "".join(f"{head:>10}" for head in heads)
        + "".join(f"{name:>20}" for name in names)
    )
    notes: dict[str, int] = {}
    for row in report.speed:
        yield _line(row, gpu, notes)
    yield ""
    yield from _legend(report, gpu)
    yield from (f"[{number}] {text}" for text, number in notes.items())


def _line(row: Row, gpu: bool, notes: dict[str, int]) -> str:
    one = row.circuit
    name = f"{one.ansatz} {one.qubits} {one.layers} {one.circuits}"
    times = [row.engine, *([row.gpu] if gpu else []), row.bound]
    cells = [short(seconds) for seconds in times] + [f"{row.engine / row.bound:.1f}", short(row.bound_cached)]
    rivals = [_rival(outcome, row.engine, notes) for outcome in row.rivals.values()]
    return f"{name:28}" + "".join(f"{cell:>10}" for cell in cells) + "".join(f"{cell:>20}" for cell in rivals)


def _rival(outcome: Outcome, engine: float, notes: dict[str, int]) -> str:
    """Its time and how many times longer that is, or the number of the note that says why there is none."""
    if outcome.seconds is None:
        return f"[{notes.setdefault(outcome.reason or 'not run', len(notes) + 1)}]"
    return f"{short(outcome.seconds)} ({outcome.seconds / engine:.1f}x)"


def short(seconds: float | None) -> str:
    """Three figures with a unit."""
    if seconds is None:
        return "-"
    if seconds < 1:
        return f"{seconds * 1e3:#.3g} ms".replace(". ", " ")
    return f"{seconds:#.3g} s".replace(". ", " ")


def _legend(report: Report, gpu: bool) -> Iterator[str]:
    here = machine()
    yield (
        f"{here['processor']}, {here['threads']} threads for everybody, float32 / complex64; best round;"
        " (x) is how many times the engine's"
    )
    yield (
        f"bound: 6 S L bytes at {here['copy_bytes_per_second'] / 1e9:.1f} GB/s (copying large arrays);"
        " cached: the same bytes at the bandwidth of arrays of the state's size S"
    )
    if not gpu:
        yield "no GPU column: torch sees no CUDA device"
    for name, facts in report.rivals.items():
        found = ", ".join(f"{package} {version}" for package, version in facts["versions"].items())
        modes = dict.fromkeys(
            row.rivals[name].mode for row in report.speed if name in row.rivals and row.rivals[name].mode
        )
        what = [facts["error"] or found, *modes, *([facts["note"]] if facts["note"] else [])]
        yield f"{name}: {'; '.join(what)}"


def _memory_lines(rows: list[Memory]) -> Iterator[str]:
    """A line an engine, ansatz and width: peaks, and the last as a multiple of the first."""
    yield "peak memory of a pass above the process's own, against depth"
    groups: dict[tuple[str, str, int], list[Memory]] = {}
    for row in rows:
        groups.setdefault((row.engine, row.ansatz, row.qubits), []).append(row)
    for (engine, ansatz, qubits), found in groups.items():
        peaks = "".join(f"{f'L={one.layers}: {one.peak_bytes / 2**20:.1f} MiB':>20}" for one in found)
        growth = found[-1].peak_bytes / max(1, found[0].peak_bytes)
        yield f"{f'{engine}, {ansatz}, n={qubits}':40}{peaks}   {growth:.2f}x"
