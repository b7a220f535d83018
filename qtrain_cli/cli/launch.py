"""Several processes of one command, started here by PyTorch's elastic launcher, or by `torchrun`.

    qtrain compress ... --processes 2       this process starts two of the same words, and waits
    torchrun --nproc-per-node 2 -m qtrain_cli compress ...      the same two, of a launcher of the user's

Each of them runs the whole command on its share (`training.ranks`); the first one alone writes and prints.
How one ended is known here by a file that it leaves (`FAILURES`), by its exit code, or by the signal that
ended it. Ctrl-C and SIGTERM go on to all of them, which save their state. With restarts, all are started anew
when one was ended, and go on from the state as with ``--resume``; what one has ended with for itself is said
again.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import sys
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from qtrain_cli.errors import (
    BadInput,
    GateFailed,
    Interrupted,
    QtrainError,
    Refused,
    RunFailed,
    UsageError,
)
from qtrain_cli.files.notes import FAILURES, OVER, notes_folder

#: The words of the command line that is being run.
ARGUMENTS: ContextVar[Sequence[str]] = ContextVar("arguments", default=())
#: The package's own place comes last: what runs is what runs here, and no file of the current folder.
_ENTRY = "import sys; sys.path.append({root!r}); from qtrain_cli.cli import main; sys.exit(main())"
_KINDS = {row.kind: row for row in (RunFailed, BadInput, UsageError, GateFailed, Refused, Interrupted)}
_AGAIN = "run it again with --resume; with --max-restarts 3 it goes on by itself"


def launch(processes: int, restarts: int) -> None:
    """Runs this command in so many processes, to its end.

    Raises:
        QtrainError: what the first of them to fail has ended with. KeyboardInterrupt: a signal before there
            was anything to save.
    """
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    with tempfile.TemporaryDirectory(prefix="qtrain-") as folder:
        with _environment(folder, processes), _no_logs(), _own_signals():
            try:
                _run(Path(folder), processes, restarts)
                return
            except ChildFailedError as error:
                codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            except SignalException:
                codes = {}
        if Path(folder, OVER).exists() and not _said(Path(folder)):
            return  # all is written and shown: a library of a process has failed while it left
        raise _failure(Path(folder), codes, processes) or KeyboardInterrupt


def of_ours() -> bool:
    """Whether this process was started by this launcher, and not by `torchrun`."""
    return notes_folder() is not None


def restarts_before() -> int:
    """How often the launcher has started these processes anew."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def torchrun_starts_again(error: QtrainError) -> bool:
    """Whether `torchrun` starts these processes anew after this end, so that it is not the run's."""
    left = int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")) - restarts_before()
    return left > 0 and not of_ours() and not isinstance(error, Interrupted)


def raise_earlier_failure() -> None:
    """Raises what a process of an earlier start has ended with for itself: it would end so again, or what
    was refused would be done."""
    folder = notes_folder()
    earlier = [one for one in _said(folder) if one["restart"] < restarts_before()] if folder else []
    own = [one for one in earlier if one["kind"] != Interrupted.kind and not one["aftermath"]]
    if own:
        raise _raised(own[0])


def leave_failure(error: QtrainError, kind: str, code: int) -> bool:
    """Says to the launcher how this process ends; False where there is none of ours."""
    folder = notes_folder()
    if not folder:
        return False
    said = {"kind": kind, "code": code, "message": error.message, "advice": error.advice}
    said["aftermath"] = getattr(error, "aftermath", False)
    name = f"{restarts_before()}-{os.environ['RANK']}.json"
    with contextlib.suppress(OSError):
        whole = Path(folder, name)
        whole.with_suffix(".part").write_text(json.dumps(said), encoding="utf-8")
        whole.with_suffix(".part").replace(whole)
        return True
    return False


def said_by_first(error: QtrainError) -> bool:
    """Whether rank 0 of `torchrun` says the same, or why this one was stopped; False where it does not, in
    rank 0 itself, and where nothing was started by a launcher. What one process alone has met is said by it.
    """
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != str(True) or of_ours():
        return False
    from qtrain_cli.training.ranks import end_of_first

    found = end_of_first(error.message)
    follows = isinstance(error, Interrupted) or getattr(error, "aftermath", False)
    return found is not None and (follows or found == error.message)


def _run(folder: Path, processes: int, restarts: int) -> None:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=str(uuid.uuid4()),
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=restarts,
        monitor_interval=0.1,
        logs_specs=DefaultLogsSpecs(log_dir=str(folder)),
    )
    root = str(Path(__file__).resolve().parents[2])
    elastic_launch(config, sys.executable)("-P", "-c", _ENTRY.format(root=root), *ARGUMENTS.get())


@contextmanager
def _environment(folder: str, processes: int) -> Iterator[None]:
    """What the processes find: where to say how they failed, their share of the cores, and that they talk
    within this machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    usual = {"OMP_NUM_THREADS": str(max(1, cores // processes))}
    if sys.platform == "linux":
        usual["GLOO_SOCKET_IFNAME"] = "lo"
    before = dict(os.environ)
    os.environ.update({name: value for name, value in usual.items() if name not in before})
    os.environ[FAILURES] = folder
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _own_signals() -> Iterator[None]:
    """The launcher takes some for itself, and leaves them so."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _no_logs() -> Iterator[None]:
    """The launcher's own lines say in ten what ours says in one."""
    before = logging.root.manager.disable
    logging.disable(logging.NOTSET if os.environ.get("QTRAIN_DEBUG") == "1" else logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _failure(folder: Path, codes: Mapping[int, int], processes: int) -> QtrainError | None:
    """What the processes ended with, the last time: what one has said for itself; else how the system ended
    one; else that they were asked to stop, which the launcher does to those that are left; else what they
    say of each other."""
    said = _said(folder)
    last = [one for one in said if one["restart"] == said[-1]["restart"]]
    stopped = [one for one in last if one["kind"] == Interrupted.kind]
    failed = [one for one in last if one not in stopped and not one["aftermath"]]
    if failed:
        return _raised(failed[0])
    killed = sorted((-code, rank) for rank, code in codes.items() if code < 0)  # 9 before the launcher's 15
    if killed:
        number, rank = killed[0]
        name = signal.Signals(number).name
        return RunFailed(f"process {rank} of {processes} was ended by {name}", _AGAIN)
    if stopped or last:
        return _raised((stopped or last)[0])
    if codes:
        rank, code = next(iter(codes.items()))
        return RunFailed(f"process {rank} of {processes} has ended with code {code} and said nothing", _AGAIN)
    return None


def _said(folder: Path) -> list[dict[str, Any]]:
    return [_read(path) for path in sorted(folder.glob("*.json"), key=_place)]


def _place(path: Path) -> tuple[int, int]:
    restart, _, rank = path.stem.partition("-")
    return int(restart), int(rank)


def _read(path: Path) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return said | {"restart": _place(path)[0]}


def _raised(said: Mapping[str, Any]) -> QtrainError:
    error = _KINDS.get(said["kind"], QtrainError)(said["message"], said["advice"])
    error.kind, error.exit_code = said["kind"], said["code"]
    return error
