"""Fuzzes readers one after the other: ``python tests/fuzz [READER...] [--seconds 20] [--folder FOLDER] ...``

Each reader runs in a process of its own (`harness`), from its seeds, the findings that are kept in `corpus`,
and what FOLDER has of an earlier run. A process that a crash, a hang or memory ended is started again, and
goes on for the rest of its time. Exit code 1: something was found; the files lie in FOLDER/findings/READER.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

#: The rows of `readers`, which is imported only where it is watched.
READERS = (
    "artifact", "checkpoint", "pickles", "zip", "safetensors", "shards", "pt2", "npz", "csv", "parquet",
    "json", "arrow", "processor", "images", "toml",
)  # fmt: skip
#: Processes that a finding may end before a reader's time is given up.
MOST_ENDED = 100
#: Where a small file costs least.
FAST = Path("/dev/shm")


@dataclass
class Task:
    """One reader's time in seconds, and what came of it in `ended` processes and the present one."""

    name: str
    folder: Path
    seed: int
    left: float
    inputs: int = 0
    ended: int = 0
    before: list[Path] = field(default_factory=list)
    work: Path = Path()

    @property
    def found(self) -> list[Path]:
        """The files of all findings."""
        return sorted((self.folder / "findings" / self.name).glob("*"))

    def start(self, body: Callable[[Task], None]) -> int:
        """Starts a process with this body, its output in the log; its number."""
        for part in ("findings", "corpus"):
            (self.folder / part / self.name).mkdir(parents=True, exist_ok=True)
        self.work = Path(tempfile.mkdtemp(prefix="fuzz-", dir=FAST if FAST.is_dir() else None))
        self.before = self.found
        process = os.fork()
        if process:
            return process
        try:
            log = os.open(self.folder / f"{self.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            body(self)
        finally:  # no child comes back from here
            os._exit(1)

    def end(self, code: int) -> None:
        """Counts what a process left; `left` is 0 where no other shall follow."""
        shutil.rmtree(self.work, ignore_errors=True)
        count = self.folder / f"{self.name}.json"
        counted = json.loads(count.read_text()) if count.exists() else {"inputs": 0, "seconds": 1}
        count.unlink(missing_ok=True)
        self.inputs += counted["inputs"]
        self.left -= max(1, counted["seconds"])
        if code and self.found == self.before:  # nobody says why: the log may
            silent = self.folder / "findings" / self.name / f"ended-{self.ended}"
            silent.write_text(f"exit code {code}, see the log\n")
            code = 0
        self.ended += 1
        if not code or self.ended == MOST_ENDED or self.left < 1:
            self.left = 0
        for path in self.found:  # what ended a process begins no other; libFuzzer names both files alike
            (self.folder / "corpus" / self.name / path.name.rpartition("-")[2]).unlink(missing_ok=True)


def perform(tasks: list[Task], jobs: int, body: Callable[[Task], None]) -> None:
    """Runs all tasks to their ends, so many at a time."""
    waiting, running = list(tasks), dict[int, Task]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                task = waiting.pop(0)
                running[task.start(body)] = task
            process, status = os.wait()
            task = running.pop(process)
            task.end(os.waitstatus_to_exitcode(status))
            if task.left:
                waiting.insert(0, task)
    finally:
        for process in running:
            os.kill(process, signal.SIGKILL)


def main() -> int:
    """Fuzzes what the command line says, and prints a line for each reader."""
    said = _said()
    if importlib.util.find_spec("atheris") is None:
        print("skipped: atheris is not installed (it has no build for this Python or system)")
        return 0
    sys.path[:1] = [str(Path(__file__).resolve().parents[n]) for n in (1, 2)]
    with contextlib.redirect_stderr(io.StringIO()):  # a line for each module that is watched
        from fuzz.harness import fuzz  # once, for all processes

    folder = said.folder or Path(tempfile.mkdtemp(prefix="fuzz-"))
    tasks = [Task(name, folder, said.seed, said.seconds) for name in said.reader or READERS]
    perform(tasks, said.jobs, fuzz)
    for task in tasks:
        print(f"{task.name:11} {task.inputs:9} inputs {len(task.found):3} findings", *task.found, sep="\n  ")
    found = any(task.found for task in tasks)
    if not said.folder and not found:
        shutil.rmtree(folder)
    return int(found)


def _said() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/fuzz", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("reader", nargs="*", help=f"of {', '.join(READERS)}; default: all")
    parser.add_argument("--seconds", type=int, default=20, help="for each reader")
    parser.add_argument("--jobs", type=int, default=1, help="readers at a time")
    parser.add_argument("--folder", type=Path, help="keeps inputs and findings; default: a temporary one")
    parser.add_argument("--seed", type=int, default=0, help="0: another each time")
    said = parser.parse_args()
    if unknown := sorted(set(said.reader) - set(READERS)):
        parser.error(f"no reader {', '.join(unknown)}; allowed: {', '.join(READERS)}")
    return said


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    sys.exit(main())
