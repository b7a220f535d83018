"""Progress on stderr: a bar on a terminal, a line an epoch elsewhere, nothing when asked to be quiet."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtrain_cli.training.fit import Progress

_SMOOTHING = 0.98


@contextmanager
def shown_progress(quiet: bool, word: str = "score") -> Iterator[Callable[[Progress], None]]:
    """A function that shows each `Progress`, as long as the block lasts."""
    if quiet:
        yield lambda progress: None
    elif sys.stderr.isatty():
        with _bar() as show:
            yield show
    else:
        yield _line


def _line(progress: Progress) -> None:
    if progress.validation is not None:
        print(
            f"epoch {progress.epoch}/{progress.epochs}  loss {progress.loss:.4f}"
            f"  validation {progress.validation:.4f}",
            file=sys.stderr,
            flush=True,
        )


@contextmanager
def _bar() -> Iterator[Callable[[Progress], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress as Bar, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("epoch {task.fields[epoch]}"), BarColumn(), TaskProgressColumn(),
        TextColumn("loss {task.fields[loss]:.4f}  batch {task.fields[score]:.4f}"),
        TextColumn("validation {task.fields[validation]}"), TimeRemainingColumn(),
    )  # fmt: skip
    with Bar(*columns, console=Console(stderr=True), transient=False) as bar:
        task = bar.add_task("fit", total=None, epoch="-", loss=0.0, score=0.0, validation="-")
        smooth = {"loss": None, "score": None}

        def show(progress: Progress) -> None:
            for name in smooth:
                value = getattr(progress, name)
                smooth[name] = (
                    value if smooth[name] is None else _SMOOTHING * smooth[name] + (1 - _SMOOTHING) * value
                )
            fields = {"epoch": f"{progress.epoch}/{progress.epochs}", **smooth}
            if progress.validation is not None:
                fields["validation"] = f"{progress.validation:.4f}"
            bar.update(task, total=progress.steps, completed=progress.step, **fields)

        yield show
