"""Progress on stderr: a bar on a terminal, a line each twentieth of the run elsewhere, nothing when quiet.

In a notebook the bar is the cell's own, where `ipywidgets` is there to redraw it; else there are lines. As
soon as a few seconds were timed, and before the first minute is over, the lines say how long all will take.
"""

from __future__ import annotations

import importlib.util
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qtrain_cli.report.bar import shown_bar
from qtrain_cli.report.lines import tell
from qtrain_cli.report.pace import SETTLED, Pace, PaceNow, figures_said, stage_said
from qtrain_cli.results.durations import duration

if TYPE_CHECKING:
    from qtrain_cli.training.loop import Progress, Show

#: How many lines a run prints at most where there is no terminal.
LINES = 20
#: Runs that are over sooner need no estimate, and no time left.
BRIEF_SECONDS = 20.0


@contextmanager
def shown_progress(quiet: bool, stopping: str = "") -> Iterator[Show]:
    """A function that shows each `Progress`, as long as the block lasts; `stopping` says what Ctrl-C does."""
    if quiet:
        yield lambda progress: None
    elif sys.stderr.isatty() or _in_notebook():
        with shown_bar(stopping) as show:
            yield show
    else:
        yield ProgressLines().take


@contextmanager
def shown_share(quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A function that shows how much of a whole is done: a bar on a terminal, else nothing."""
    if quiet or not (sys.stderr.isatty() or _in_notebook()):
        yield lambda done, total: None
        return
    from rich import progress as rich_progress
    from rich.console import Console

    with rich_progress.Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("weights", total=None)
        yield lambda done, total: bar.update(task, total=total, completed=done)


def _in_notebook() -> bool:
    """Whether there is a notebook's kernel around us that can redraw a bar."""
    running = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    there = type(running).__name__ == "ZMQInteractiveShell"
    return there and importlib.util.find_spec("ipywidgets") is not None


class ProgressLines:
    """A line where another twentieth of the run is done: at an epoch's end, unless epochs are longer."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.pace, self.said, self.estimated = Pace(clock), 0, False

    def take(self, progress: Progress) -> None:
        """After every step."""
        now = self.pace(progress)
        self._estimate(now)
        part = int(LINES * now.share + 1e-9)
        whole = progress.validation is not None or progress.epochs < LINES
        if (part > self.said and whole) or (progress.step == progress.steps and now.share >= 1):
            self.said = part
            tell(_line(progress, now))

    def _estimate(self, now: PaceNow) -> None:
        """Once: how long all of it will take."""
        if not self.estimated and now.elapsed >= SETTLED and now.whole is not None:
            self.estimated = True
            if now.whole > BRIEF_SECONDS:
                tell(f"about {duration(now.whole)} in all, from the first {now.elapsed:.0f} s")


def _line(progress: Progress, now: PaceNow) -> str:
    """What is known after a step."""
    known = progress.validation is not None and not math.isnan(progress.validation)
    figure = f"validation {progress.word} {progress.validation:.4f}" if known else ""
    long = now.whole is not None and now.whole > BRIEF_SECONDS and now.share < 1
    parts = (
        stage_said(progress),
        f"epoch {progress.epoch}/{progress.epochs}",
        f"loss {(progress.loss if progress.epoch_loss is None else progress.epoch_loss):.4f}",
        figure,
        figures_said(progress),
        f"about {duration(now.left or 0.0)} left" if long else "",
    )
    return "  ".join(filter(None, parts))
