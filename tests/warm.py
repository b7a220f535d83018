"""Commands for a shell, `qtrain` and `python`, that need not import PyTorch: forked from a process that has.

    with warm_commands(folder, "qtrain_cli.cli.app", "torch") as path:     # a value of PATH
        subprocess.run(["sh", "-c", "qtrain --version"], env=os.environ | {"PATH": path})

What a test starts spends most of its time on imports. Words are as Python takes them (``-m NAME``, ``-c
CODE``, a file, ``-P`` and ``-u`` before them), and run in a process of their own, in the caller's
folder, environment and streams; what that starts by `sys.executable` is forked too. A caller that
SIGTERM or SIGINT asks to stop passes it on, and one that is gone takes the process with it, so that whoever
kills the one ends the other. Tests of imports start Python itself.

This file is all three parts: the test's, the process that forks, and, run as a program, what a shell calls.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

MOST = 2**20


@contextlib.contextmanager
def warm_commands(folder: Path, *modules: str) -> Iterator[str]:
    """The PATH on which `qtrain` and `python` are those of a process that has imported the modules."""
    import subprocess

    at, programs = folder / "warm.socket", folder / "programs"
    programs.mkdir()
    call = f'exec "{sys.executable}" -IS "{Path(__file__)}" "{at}"'
    for name, words in (("qtrain", "-m qtrain_cli "), ("python", "")):
        (programs / name).write_text(f'#!/bin/sh\n{call} {words}"$@"\n')
        (programs / name).chmod(0o755)
    command = [sys.executable, "-c", "from warm import serve; serve()", str(at), *modules]
    here = Path(__file__).resolve().parent
    own = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (here.parent, here)))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=own, **pipes) as server:  # ends when its input does
        assert server.stdout
        assert server.stdout.readline() == b"ready\n", "the process that forks has ended"
        yield f"{programs}{os.pathsep}{os.environ['PATH']}"


def serve() -> None:
    """Imports the modules that are named, then forks a process a call until standard input ends."""
    import gc
    import importlib
    import inspect
    import select

    at, *modules = sys.argv[1:]
    for name in modules:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    inspect.stack()  # PyTorch's launcher names functions so: what Python then notes of all modules is kept
    gc.collect()
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(at)
    listener.listen()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    while listener in select.select([listener, sys.stdin], [], [])[0]:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            _answer(connection)
        connection.close()


def _answer(connection: socket.socket) -> None:
    """Runs what one call asks for, tells it the exit code, and ends."""
    import atexit
    import traceback

    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    raw, streams, _, _ = socket.recv_fds(connection, MOST, 3)
    words, folder, environment = json.loads(raw)
    connection.send(str(os.getpid()).encode())
    threading.Thread(target=_end_with, args=(connection,), daemon=True).start()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    try:
        _run(words)
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
        if isinstance(left.code, str):
            print(left.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        code = 1
    with contextlib.suppress(OSError):
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    connection.send(str(code).encode())
    os._exit(code)


def _end_with(connection: socket.socket) -> None:
    """Ends this process once the caller has gone, which sends nothing."""
    connection.recv(1)
    os.kill(os.getpid(), signal.SIGKILL)


def _run(words: list[str]) -> None:
    import runpy
    import shutil

    sys.executable = shutil.which("python") or sys.executable
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    before = next(place for place, word in enumerate(words) if word not in ("-P", "-u"))
    kind, *rest = words[before:]
    sys.argv = rest if kind in ("-m", "-c") else [kind, *rest]
    own = [os.getcwd() if kind in ("-m", "-c") else str(Path(kind).resolve().parent)]
    sys.path[:0] = [*([] if "-P" in words[:before] else own), *filter(None, paths)]
    if "-u" in words[:before]:
        sys.stdout.reconfigure(write_through=True)
    if kind == "-m":
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        sys.argv = ["-c", *rest[1:]]
        exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        runpy.run_path(kind, run_name="__main__")


def _call() -> int:
    """A shell's call: hands everything over, and has the exit code."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(sys.argv[1])
        asked = json.dumps([sys.argv[2:], os.getcwd(), dict(os.environ)]).encode()
        socket.send_fds(connection, [asked], [0, 1, 2])
        process = int(connection.recv(16) or 0)

        def pass_on(number: int, frame: object) -> None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, number)

        if process:
            signal.signal(signal.SIGTERM, pass_on)
            signal.signal(signal.SIGINT, pass_on)
        answer = connection.recv(16)
    return int(answer) if answer else 70


if __name__ == "__main__":
    sys.exit(_call())
