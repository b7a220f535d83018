"""Rows beside each other: figures with their intervals, and sizes as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qtrain_cli.report.page.axes import Canvas, Scaled, scaled, ticks_of
from qtrain_cli.report.page.parts import DrawingOf
from qtrain_cli.report.page.svg import WIDE, box, dot, drawing, label, line
from qtrain_cli.tasks import Task

_ROW, _TOP = 44.0, 22.0


@dataclass(frozen=True)
class Strip:
    """One figure: its name, its interval where it has one, its class in the style sheet."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    kind: str = "own"


def intervals_drawn(strips: Sequence[Strip], what: str, task: Task) -> DrawingOf:
    """A dot a figure, its interval as a line through it, all over one scale."""
    ends = [end for strip in strips for end in (strip.value, strip.low, strip.high) if end is not None]
    height = _TOP + _ROW * len(strips) + 34
    plot = Canvas(scaled(ends), Scaled(0, 1), height, left=14, right=14, top=_TOP)
    parts = plot.frame(what, "", (ticks_of(task), lambda value: ""))
    parts = [part for part in parts if part.get("class") != "grid"]
    for place, strip in enumerate(strips):
        y = _TOP + _ROW * (place + 0.62)
        x, _ = plot.at(strip.value, 0)
        words, radius = f"{strip.name}: {task.show(strip.value)}", 4
        if strip.low is not None and strip.high is not None:
            (low, _), (high, _) = plot.at(strip.low, 0), plot.at(strip.high, 0)
            parts.append(line(low, y, high, y, f"whisker thick {strip.kind}"))
            words, radius = f"{words} ({task.show_interval(strip.low, strip.high)})", 5
        parts += [dot(x, y, radius, f"point {strip.kind}", words),
                  label(14, y - 13, words, "row")]  # fmt: skip
    said = "; ".join(f"{strip.name} {task.show(strip.value)}" for strip in strips)
    return DrawingOf(drawing(parts, f"{what}: {said}", height))


def bars_drawn(sizes: Sequence[tuple[str, int, str]], what: str) -> DrawingOf:
    """Sizes in bytes as bars from zero, each with its name, its figure and its class."""
    most = max(size for _, size, _ in sizes)
    parts, height = [], _ROW * len(sizes) + 8
    for place, (name, size, kind) in enumerate(sizes):
        y = _ROW * place + 6
        parts += [
            label(2, y + 9, name, "row"),
            label(WIDE - 2, y + 9, f"{size:,} bytes", "row", "end"),
            box(2, y + 16, WIDE - 4, 14, "track", 3),
            box(2, y + 16, max(2.0, (WIDE - 4) * size / most), 14, f"bar {kind}", 3),
        ]
    said = "; ".join(f"{name} {size:,} bytes" for name, size, _ in sizes)
    return DrawingOf(drawing(parts, f"{what}: {said}", height))
