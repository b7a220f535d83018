"""Progress on stderr: a bar on a terminal, some ten lines a run elsewhere, nothing when asked to be quiet.

In a notebook the bar is the cell's own, where `ipywidgets` is there to redraw it; else there are lines.
"""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qtrain_cli.report.lines import tell

if TYPE_CHECKING:
    from qtrain_cli.training.loop import Progress, Show

#: About how many lines a whole run prints where there is no terminal.
LINES = 10
_SMOOTHING = 0.98


@contextmanager
def shown_progress(quiet: bool) -> Iterator[Show]:
    """A function that shows each `Progress`, as long as the block lasts."""
    if quiet:
        yield lambda progress: None
    elif sys.stderr.isatty() or _in_notebook():
        with _bar() as show:
            yield show
    else:
        yield _line


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


def _line(progress: Progress) -> None:
    every = max(1, progress.epochs // LINES)
    if progress.validation is not None and (progress.epoch % every == 0 or progress.epoch == progress.epochs):
        known = not math.isnan(progress.validation)
        figure = f"  validation {progress.word} {progress.validation:.4f}" if known else ""
        tell(f"epoch {progress.epoch}/{progress.epochs}  loss {progress.loss:.4f}{figure}")


@contextmanager
def _bar() -> Iterator[Show]:
    from rich import progress as rich_progress
    from rich.console import Console

    columns = (
        rich_progress.TextColumn("epoch {task.fields[epoch]}"),
        rich_progress.BarColumn(),
        rich_progress.TaskProgressColumn(),
        rich_progress.TextColumn("loss {task.fields[loss]}  {task.fields[word]} {task.fields[score]}"),
        rich_progress.TextColumn("validation {task.fields[validation]}"),
        rich_progress.TimeRemainingColumn(),
    )
    with rich_progress.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("fit", total=None, epoch="-", loss="-", word="", score="-", validation="-")
        loss, score = _Smooth(), _Smooth()

        def show(progress: Progress) -> None:
            fields = {
                "epoch": f"{progress.epoch}/{progress.epochs}",
                "word": progress.word,
                "loss": f"{loss(progress.loss):.4f}",
                "score": f"{score(progress.score):.4f}",
            }
            if progress.validation is not None and not math.isnan(progress.validation):
                fields["validation"] = f"{progress.validation:.4f}"
            bar.update(task, total=progress.steps, completed=progress.step, **fields)  # type: ignore[arg-type]

        yield show


class _Smooth:
    """A running average, so that the figures of single batches can be read."""

    def __init__(self) -> None:
        self._value: float | None = None

    def __call__(self, value: float) -> float:
        last = value if self._value is None else self._value
        self._value = _SMOOTHING * last + (1 - _SMOOTHING) * value
        return self._value
