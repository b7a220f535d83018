"""The benchmark's side of the conversation with a rival: a process that lives as long as the run.

A rival in a process of its own keeps its own threads, compiled code and memory, and answers one line at a
time (`workers/protocol.py`), so that its rounds stand between the engine's. A rival that takes too long is
ended.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import IO, Any

from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.operations import operations

#: Settings of this process that are not the rivals' business; how threads wait is the same for everybody.
OURS = ("PYTHONPATH",)


class Failed(Exception):
    """A rival answered with an error, ended, or took too long: the reason, to be shown."""


def thread_settings(threads: int) -> dict[str, str]:
    """The environment variables that give a rival as many threads as the engine."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


def describe(circuit: CircuitSpec) -> str:
    """The gates of one circuit as JSON: [name, wires, [layer, qubit, kind] or null]."""
    return json.dumps([[one.gate.name, one.wires, one.angle] for one in operations(circuit)])


class Worker:
    """One rival's process. Started at the first question, and again after it had to be ended."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.command = command
        self.environment = {k: v for k, v in os.environ.items() if k not in OURS} | environment
        self.process: subprocess.Popen[str] | None = None
        self.complaints: IO[str] | None = None
        self.replies: queue.Queue[str] = queue.Queue()

    def ask(self, question: dict[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to one line.

        Raises:
            Failed: an error, no answer within so many seconds, or the process ended.
        """
        if self.process is None:
            self._start()
        assert self.process is not None
        try:
            self.process.stdin.write(json.dumps(question) + "\n")
            self.process.stdin.flush()
            line = self.replies.get(timeout=seconds)
        except queue.Empty:
            self.close()
            raise Failed(f"over the budget of {seconds:.0f} s") from None
        except OSError:
            line = ""
        if not line:
            raise Failed(self._epitaph())
        answer = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def _start(self) -> None:
        self.complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            self.command, env=self.environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.complaints,
        )  # fmt: skip
        self.replies = queue.Queue()
        threading.Thread(target=_collect, args=(self.process.stdout, self.replies), daemon=True).start()

    def _epitaph(self) -> str:
        """Why the process ended: its last line, or the signal."""
        assert self.process is not None
        assert self.complaints is not None
        code = self.process.wait()
        self.complaints.seek(0)
        lines = [line for line in self.complaints.read().splitlines() if line.strip()]
        self.close()
        if code < 0:
            return f"ended by signal {-code}" + (", probably for want of memory" if code == -9 else "")
        return f"ended with exit code {code}: {(lines or ['nothing on stderr'])[-1].strip()}"

    def close(self) -> None:
        """Ends the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout, self.complaints):
                try:
                    stream.close()
                except OSError:
                    continue  # what was still to be written to a process that is gone
        self.process = None


def _collect(stream: IO[str], replies: queue.Queue[str]) -> None:
    """Every line of the process, then an empty one when it has ended."""
    for line in stream:
        replies.put(line)
    replies.put("")


def worker(python: str, script: Path, threads: int) -> Worker:
    """A worker that runs `script` with a rival's interpreter."""
    return Worker([python, str(script)], thread_settings(threads))
