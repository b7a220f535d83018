"""A dry run for people: how long, how much memory, what would be written, and where the time goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtrain_cli.report.terminal import columns, sheet, stacked, styled
from qtrain_cli.results.durations import duration
from qtrain_cli.results.rehearsal import Rehearsal, TimedPart

if TYPE_CHECKING:
    from rich.console import RenderableType


def rehearsal_terminal(found: Rehearsal) -> RenderableType:
    """The totals, then a row a kind of training."""
    memory = [("Memory of this process, at most", f"{found.memory_bytes / 1e6:,.0f} MB")]
    if found.device_memory_bytes is not None:
        memory.append((f"Memory of {found.device}, at most", f"{found.device_memory_bytes / 1e6:,.0f} MB"))
    rows = [
        ("Time, about", f"{duration(found.seconds)}, and reading, measuring and writing"),
        *memory,
        ("Device", found.device),
        *(("Writes", name) for name in found.writes),
        *(("Note", note) for note in found.notes),
    ]
    timed = [_part(one) for one in found.parts]
    return stacked(
        styled(f"qtrain {found.command} would do this", "bold"),
        sheet({"Dry run: nothing was written": rows}),
        *([columns("Timed on some steps of each", timed)] if timed else []),
    )  # fmt: skip


def _part(part: TimedPart) -> dict[str, str]:
    return {
        "what": part.name,
        "times": f"{part.trainings:,}",
        "epochs": f"{part.epochs:,}",
        "steps of each": f"{part.steps:,}",
        "ms a step": f"{1000 * part.seconds_per_step:.3g}",
        "file, at most": "-" if part.artifact_bytes is None else f"{part.artifact_bytes:,} B",
        "about": duration(part.seconds),
    }
