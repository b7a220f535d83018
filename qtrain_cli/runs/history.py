"""Where a run's history goes while it runs: a file of one line an epoch, and events for TensorBoard.

    net.qtrain  ->  net.qtrain.jsonl      by default, beside the artifact (`results.history` reads it)

Each line is there as soon as its epoch is over. A run that goes on keeps the epochs before the one it goes on
with; a line that was half written is dropped. The artifact's bytes do not depend on any of it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtrain_cli.errors import QtrainError, UsageError, missing_package
from qtrain_cli.files.atomic import check_output, write_bytes_atomically, write_failure
from qtrain_cli.results.history import EpochLine, finite, history_beside, read_history
from qtrain_cli.settings.parsing import BESIDE, NO_LOG, TENSORBOARD
from qtrain_cli.training.loop import Progress, Show
from qtrain_cli.training.ranks import present

#: Takes an epoch, with whether it is the first one of this process.
Sink = Callable[[EpochLine, bool], None]


@dataclass(frozen=True)
class HistoryPlaces:
    """Where one run's history goes: a file, a folder of TensorBoard's, or neither; `own` where the file's
    place was not said."""

    file: Path | None = None
    folder: Path | None = None
    own: bool = True


def history_places(log: str, out: Path) -> HistoryPlaces:
    """What `--log` says of a run with this output."""
    if log == NO_LOG:
        return HistoryPlaces()
    if log == BESIDE:
        return HistoryPlaces(history_beside(out))
    if log.startswith(TENSORBOARD):
        return HistoryPlaces(history_beside(out), Path(log.removeprefix(TENSORBOARD)))
    return HistoryPlaces(Path(log), own=False)


def check_history(places: HistoryPlaces, go_on: bool, inputs: list[Path]) -> None:
    """Before a run begins: that its history can be written.

    A history that lies in the usual place is only the trace of an earlier run, and is replaced.

    Raises:
        UsageError, BadInput: as `check_output`; TensorBoard is not installed, or its folder is a file.
    """
    if places.file:
        check_output(places.file, force=go_on or (places.own and _is_history(places.file)), inputs=inputs)
    if places.folder:
        _writer_class()
        if places.folder.exists() and not places.folder.is_dir():
            raise UsageError(f"--log: '{places.folder}' is a file", "name a folder for TensorBoard's events")


@contextmanager
def kept_history(places: HistoryPlaces, run: str, show: Show) -> Iterator[Show]:
    """`show`, and every epoch goes to these places as well; of several processes the first one writes.

    Raises:
        RunFailed, BadInput: a line cannot be written.
    """
    with ExitStack() as stack:
        sinks = [sink(stack, place) for sink, place in _sinks(places) if place and present().first]
        yield _recording(sinks, run, show) if sinks else show


def _sinks(places: HistoryPlaces) -> list[tuple[Callable[[ExitStack, Path], Sink], Path | None]]:
    return [(_lines_to, places.file), (_events_to, places.folder)]


def _recording(sinks: list[Sink], run: str, show: Show) -> Show:
    began, seen = time.monotonic(), set[str]()

    def shown(progress: Progress) -> None:
        show(progress)
        if progress.validation is not None:
            line = _line_of(progress, run, time.monotonic() - began)
            for sink in sinks:
                sink(line, line.stage not in seen)
            seen.add(line.stage)

    return shown


def _line_of(progress: Progress, run: str, seconds: float) -> EpochLine:
    return EpochLine(
        run=run,
        stage=progress.stage,
        epoch=progress.epoch,
        epochs=progress.epochs,
        loss=finite(progress.epoch_loss),
        validation=finite(progress.validation),
        metric=progress.word,
        lr=progress.rate,
        rounding=progress.rounds,
        best=progress.best_epoch == progress.epoch,
        seconds=round(seconds, 3),
    )


def _is_history(path: Path) -> bool:
    """Whether what lies there, if anything does, is a history and nothing else."""
    try:
        return bool(read_history(path)) or path.stat().st_size == 0
    except (QtrainError, OSError):
        return False


def _lines_to(stack: ExitStack, path: Path) -> Sink:
    """Lines that are there at once. Before the first one of a training, what is kept of an earlier run."""

    def write(line: EpochLine, first: bool) -> None:
        if first:
            write_bytes_atomically(path, _kept(path, line).encode(), force=True)
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(line.as_line())
        except OSError as error:
            raise write_failure(path, error) from error

    return write


def _kept(path: Path, line: EpochLine) -> str:
    """The lines of the same run that come before this one."""
    try:
        before = [known for known in read_history(path) if known.run == line.run]
    except QtrainError:
        return ""
    ends = (n for n, known in enumerate(before) if known.stage == line.stage and known.epoch >= line.epoch)
    return "".join(known.as_line() for known in before[: next(ends, len(before))])


def _events_to(stack: ExitStack, folder: Path) -> Sink:
    """TensorBoard's events, a curve a figure; a run that goes on takes the place of what it repeats."""
    writers: dict[str, Any] = {}

    def write(line: EpochLine, first: bool) -> None:
        if first:
            where = folder / line.stage.replace(" ", "-") if line.stage else folder
            writers[line.stage] = _writer_class()(os.fspath(where), purge_step=line.epoch)
            stack.callback(writers[line.stage].close)
        writer = writers[line.stage]
        figures = {"loss/train": line.loss, f"{line.metric}/validation": line.validation, "lr": line.lr}
        for name, value in figures.items():
            if value is not None:
                writer.add_scalar(name, value, line.epoch)
        writer.flush()

    return write


def _writer_class() -> Any:
    """Raises `BadInput` where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise missing_package(f"--log {TENSORBOARD}DIR", "tensorboard", "tensorboard") from None
    return SummaryWriter
