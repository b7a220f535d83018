"""Functions that run in several processes at once, as a launcher would have started them.

    in_processes(3, function, argument)      what it returns in each of them, by rank

The processes are copies (`fork`) of one that has this project loaded and has done nothing with it. Each has
joined the others when the function is called, and one thread, as sums of other lengths have other last bits.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import socket
import traceback
from collections.abc import Callable
from typing import Any

_LOADED = [
    "torch", "torch._dynamo", "qtrain_cli.training.loop", "qtrain_cli.runs.teach", "qtrain_cli.runs.compress",
]  # fmt: skip


def in_processes(count: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What the function, of a module that can be imported, returns in each of so many processes.

    Raises:
        AssertionError: it raised in one of them; the message is that one's traceback.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_LOADED)
    port, pipes, started = _free_port(), [], []
    for rank in range(count):
        ours, theirs = context.Pipe(duplex=False)
        given = (theirs, rank, count, port, function, arguments)
        process = context.Process(target=_run, args=given, daemon=True)
        process.start()
        theirs.close()
        pipes.append(ours)
        started.append(process)
    try:
        found = [_received(pipe, process) for pipe, process in zip(pipes, started, strict=True)]
    finally:
        for process in started:
            process.join(10)
            process.kill()
    failures = [text for failed, text in found if failed]
    assert not failures, "\n".join(failures)
    return [value for _, value in found]


def _received(pipe: Any, process: Any) -> tuple[bool, Any]:
    try:
        found: tuple[bool, Any] = pickle.loads(pipe.recv_bytes()) if pipe.poll(120) else (True, "no answer")
        return found
    except EOFError:
        process.join(10)
        return True, f"ended with {process.exitcode}"


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _run(pipe: Any, rank: int, count: int, port: int, function: Callable[..., Any], arguments: Any) -> None:
    import torch

    from qtrain_cli.training.ranks import joined_processes

    torch.set_num_threads(1)
    names = {"RANK": rank, "WORLD_SIZE": count, "LOCAL_RANK": rank, "LOCAL_WORLD_SIZE": count}
    os.environ |= {name: str(value) for name, value in names.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    try:
        with joined_processes():
            # One that has nothing to say to the others would be gone before they have met it.
            torch.distributed.barrier()
            pipe.send_bytes(pickle.dumps((False, function(*arguments))))
    except BaseException:
        pipe.send_bytes(pickle.dumps((True, traceback.format_exc())))
