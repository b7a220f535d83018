"""The bar on a terminal: which stage and epoch, figures so far, time gone and left, what Ctrl-C will do.

It is drawn anew four times a second by a thread of its own; a step only leaves its figures here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qtrain_cli.report.pace import Pace, PaceNow, figures_said, stage_said
from qtrain_cli.report.text import clipped
from qtrain_cli.results.durations import duration

if TYPE_CHECKING:
    from rich.console import RenderableType

    from qtrain_cli.training.loop import Progress, Show

_SMOOTHING = 0.98
#: Seconds between two looks at figures that lie on a device.
_EVERY = 0.25
_WIDTH = 28


@contextmanager
def shown_bar(stopping: str) -> Iterator[Show]:
    """A function that shows each `Progress` as long as the block lasts; `stopping` is said of Ctrl-C."""
    from rich.console import Console
    from rich.live import Live

    watched = _Watched(stopping)
    with Live(get_renderable=watched.drawn, console=Console(stderr=True), refresh_per_second=4):
        yield watched.take


class _Watched:
    """The last step, and running averages of the figures of single batches."""

    def __init__(self, stopping: str) -> None:
        self.stopping, self.pace = stopping, Pace()
        self.last: Progress | None = None
        self.now = PaceNow(0.0, 0.0, None)
        self.validation: float | None = None
        self.loss, self.score = Smooth(), Smooth()
        self._next = 0.0

    def take(self, progress: Progress) -> None:
        """After every step."""
        self.now, self.last = self.pace(progress), progress
        now = time.monotonic()
        if isinstance(progress.loss, (int, float)) or now >= self._next:  # a device is waited for
            self._next = now + _EVERY
            self.loss(float(progress.loss))
            self.score(float(progress.score))
        if progress.validation is not None and not math.isnan(progress.validation):
            self.validation = progress.validation

    def drawn(self) -> RenderableType:
        """Two lines and a hint; nothing before the first step."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.table import Table
        from rich.text import Text

        if self.last is None:
            return Text("")
        line = Table.grid(padding=(0, 1))
        bar = ProgressBar(total=1.0, completed=self.now.share, width=_WIDTH)
        line.add_row(bar, Text(f"{100 * self.now.share:.0f}%", style="bold"), Text(self._time()))
        figures = Text(clipped(self._figures(self.last)), overflow="ellipsis")
        hint = [Text(clipped(self.stopping), style="dim")] if self.now.share < 1 else []
        return Group(figures, line, *hint)

    def _figures(self, last: Progress) -> str:
        shown = "-" if self.validation is None else f"{self.validation:.4f}"
        parts = (
            stage_said(last), f"epoch {last.epoch}/{last.epochs}", f"loss {self.loss.value:.4f}",
            f"{last.word} {self.score.value:.4f}", f"validation {shown}", figures_said(last),
        )  # fmt: skip
        return "  ".join(filter(None, parts))

    def _time(self) -> str:
        now, gone = self.now, duration(self.now.elapsed)
        if now.left is None or now.whole is None:
            return "timing the first steps"
        if now.share >= 1:
            return f"trained in {gone}"
        return f"{gone} gone, about {duration(now.left)} left of {duration(now.whole)}"


class Smooth:
    """A running average, so that the figures of single batches can be read."""

    def __init__(self) -> None:
        self.value = 0.0
        self.begun = False

    def __call__(self, value: float) -> float:
        last = self.value if self.begun else value
        self.value, self.begun = _SMOOTHING * last + (1 - _SMOOTHING) * value, True
        return self.value
