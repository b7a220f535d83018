"""Batches that are drawn while the step before them is still at work.

    where it costs nothing         on the step's own thread: rows that are in memory, as they are
    large, or augmented            in one other thread, a batch ahead
    --workers N                    in N other processes, by PyTorch's `DataLoader`, whose samples are steps

A step's rows follow from the step alone (`batches`), so that all three give the same bytes, and a run that
goes on begins with the step that it had come to. A thread costs no copy of a batch, and processes are for
augmentation that Python itself does. RandAugment draws from torch's one generator of a process, which belongs
to the model's dropout: it is not left to a thread.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as Samples

from qtrain_cli.data import Dataset
from qtrain_cli.data.augment import augment_of
from qtrain_cli.data.inputs import tensors_in
from qtrain_cli.errors import RunFailed, UsageError, first_line
from qtrain_cli.files.spilled import is_large
from qtrain_cli.settings import FitSettings
from qtrain_cli.training.batches import Batch, Batches, Drawn, RowBatches
from qtrain_cli.training.ranks import Ranks, present

#: The batches from a step on, without end.
_Ahead = Callable[[RowBatches, int], Iterator[Batch]]


def row_batches(data: Dataset, fit: FitSettings, device: torch.device) -> Batches:
    """The batches of a training, or this process's share of them.

    Raises:
        UsageError, BadInput: rows cannot be augmented so, or are fewer in a step than there are processes.
    """
    augment, ranks = augment_of(fit.augment, fit.seed, data.train.inputs, data.train.targets), present()
    rows = RowBatches(data.train, data.normalisation, fit.batch_size, fit.seed, device, augment, ranks)
    _check_shares(rows.whole_size, ranks)
    if fit.workers:
        return AheadBatches(rows, lambda rows, step: by_processes(rows, step, fit.workers or 0))
    return AheadBatches(rows, by_a_thread) if fit.workers is None and _is_slow(rows) else rows


def _check_shares(rows: int, ranks: Ranks) -> None:
    if rows < ranks.count:
        raise UsageError(
            f"a step has {rows} rows, and there are {ranks.count} processes",
            f"use --processes {rows} or fewer, or a larger --batch-size",
        )


def _is_slow(rows: RowBatches) -> bool:
    """Whether drawing costs enough for a thread of its own, which may do it."""
    if rows.augment is not None:
        return rows.augment.in_threads
    return any(is_large(part.numel() * part.element_size()) for part in tensors_in(rows.split.inputs))


class AheadBatches:
    """The batches of `rows` as `ahead` draws them, which begins anew wherever steps do not follow."""

    def __init__(self, rows: RowBatches, ahead: _Ahead) -> None:
        self.rows, self._ahead, self._next = rows, ahead, -1
        self._coming: Iterator[Batch] = iter(())

    @property
    def per_epoch(self) -> int:
        """Steps of an epoch."""
        return self.rows.per_epoch

    def at(self, step: int) -> Batch:
        """The batch of a step, counted from 0 over all epochs."""
        if step != self._next:
            self._coming = self._ahead(self.rows, step)
        self._next = step + 1
        return next(self._coming)


def by_a_thread(rows: RowBatches, step: int) -> Iterator[Batch]:
    """Each batch is drawn from when the one before it was given out."""
    with _one_thread() as pool:
        coming = pool.submit(rows.at, step)
        for following in itertools.count(step + 1):
            batch = coming.result()
            coming = pool.submit(rows.at, following)
            yield batch


def _one_thread() -> ThreadPoolExecutor:
    """A thread that shares its work with no others, which this one goes on to do."""
    threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(1, "qtrain-batches", _alone)
    pool.submit(int).result()
    torch.set_num_threads(threads)  # of this thread; what a new one begins with was changed, too
    return pool


def _alone() -> None:
    torch.get_num_threads()  # once asked, PyTorch does not give the thread its usual number any more
    torch.set_num_threads(1)


def by_processes(rows: RowBatches, step: int, workers: int) -> Iterator[Batch]:
    """Two batches ahead for each process. No stream of this process is drawn from."""
    loader = DataLoader(
        _Steps(rows),
        batch_size=None,
        sampler=itertools.count(step),
        num_workers=workers,
        multiprocessing_context="fork" if sys.platform == "linux" else None,
        worker_init_fn=_leave_signals,
        generator=torch.Generator(),
    )
    return map(rows.placed, _failing_as_ours(loader))


def _failing_as_ours(loader: Iterable[Drawn]) -> Iterator[Drawn]:
    """Raises `RunFailed` where a process has ended, as the system ends one for want of memory."""
    try:
        with _no_handler():
            drawn = iter(loader)
        yield from drawn
    except (RuntimeError, OSError, EOFError) as error:
        raise RunFailed(
            f"a process that draws batches has ended: {first_line(error)}",
            "go on with --resume and fewer --workers, or 0",
        ) from error


@contextlib.contextmanager
def _no_handler() -> Iterator[None]:
    """A loader's own handler of ended processes would raise anywhere, also between two steps."""
    before = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    yield
    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, before)


class _Steps(Samples[Drawn]):
    """A step's number -> its rows."""

    def __init__(self, rows: RowBatches) -> None:
        self.rows = rows

    def __getitem__(self, step: int) -> Drawn:
        return self.rows.drawn(step)


def _leave_signals(worker: int) -> None:
    """Ctrl-C goes to every process of a terminal, SIGTERM to all of a service: they are the run's to answer,
    and workers end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
