"""kill -9 at any moment, then the same command again: the same bytes, and nothing else in the folder.

    python tests/kill_nine.py WORK [--kills 50] [--seed 0] [--jobs compress,bare,distill,compare,export]

Each kill has its own folder and draws from the seed a command and a moment: a share of the time that the
command takes undisturbed, or the n-th time that it opens a file there for writing, renames one or removes
one. One kill in three is followed by a second one, of the command that goes on. A line a kill is added to
WORK/kills.jsonl, so that the whole goes on where it was when it is run again, and the table at its end is of
all. Exit code 1: a run ended otherwise than the undisturbed one, with other bytes, or left a file behind.

Each run is a copy (`fork`) of one process that has torch loaded, and saves its state after every step. Of a
cell of a comparison, its seconds are not compared.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "samples" / "digits"
DATA = ("--data", f"{DIGITS / 'digits.npz'}")
MODEL = f"{DIGITS / 'digits_cnn_module.pt'}"
STUDENT = ("--student", "hybrid:qubits=3,reps=1,front=linear")
COMPRESS = ("compress", MODEL, *DATA, "--layers", "4", "--epochs", "1", "-o", "net.qtrain")
COMPARE = ("--bytes", "700", "--methods", "pruning", "--seeds", "1", "--epochs", "4", "--quick")
#: Of each command: its words, and those that it goes on with.
JOBS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "compress": (COMPRESS, ("--resume",)),
    "bare": ((*COMPRESS, "--bare"), ("--resume",)),
    "distill": (("distill", MODEL, *DATA, *STUDENT, "--epochs", "1", "-o", "student.qtrain"), ("--resume",)),
    "compare": (("compare", MODEL, *DATA, *COMPARE, "--state", "cells", "--markdown", "c.md"), ("--force",)),
    "export": (("export", "../net.qtrain", "--classical", "-o", "net.safetensors"), ("--force",)),
}


def changes_in(folder: Path, seen: Callable[[str, str], None]) -> None:
    """From now on, for good: `seen` is called just before this process changes a file in `folder`.

    It is told ``open``, ``os.rename`` or ``os.remove``, and the file's name.
    """
    top, writing = os.path.join(os.path.realpath(folder), ""), os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def hook(event: str, arguments: tuple) -> None:
        if event not in ("open", "os.rename", "os.remove") or not isinstance(arguments[0], str | bytes):
            return
        path = os.path.realpath(os.fsdecode(arguments[0]))
        if path.startswith(top) and (event != "open" or (arguments[2] or 0) & writing):
            seen(event, os.path.basename(path))

    sys.addaudithook(hook)


def snapshot(folder: Path) -> dict[str, str]:
    """SHA-256 of every file, hidden ones too, by its path in the folder."""
    return {str(path.relative_to(folder)): _digest(path) for path in _files(folder)}


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if not path.is_dir())


def _digest(path: Path) -> str:
    data = path.read_bytes()
    if path.suffix in (".json", ".jsonl"):  # one document, or one a line: the same but for the time
        lines = data.splitlines() if path.suffix == ".jsonl" else [data]
        data = b"".join(
            json.dumps({**json.loads(line), "seconds": 0}, sort_keys=True).encode() for line in lines
        )
    return hashlib.sha256(data).hexdigest()


# --- a run in a process of its own -----------------------------------------------------------------------


def _run(folder: Path, last: int, words: tuple[str, ...]) -> int:
    """The command line in `folder`, up to its change number `last` (0: to its end), of how many it says."""
    from qtrain_cli.cli import main

    count = 0

    def seen(event: str, name: str) -> None:
        nonlocal count
        count += 1
        if count == last:
            os.kill(os.getpid(), signal.SIGKILL)

    os.chdir(folder)
    changes_in(folder, seen)
    code = main(words)
    print(f"\nchanges {count}", flush=True)
    return code


def _started(folder: Path, words: tuple[str, ...], last: int = 0) -> int:
    """Begins it, in a copy of this process; its number."""
    child = os.fork()
    if child:
        return child
    said = os.open(_said(folder), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    for stream in (1, 2):
        os.dup2(said, stream)
    os._exit(_run(folder, last, words))


def _said(folder: Path) -> Path:
    return folder.with_suffix(".txt")


def _ended(child: int, seconds: float = float("inf")) -> int:
    """How it ended, by itself or killed after so long: its exit code, or minus its signal."""
    end, done = time.monotonic() + seconds, (0, 0)
    while not done[0]:
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            done = os.waitpid(child, 0)
        else:
            done = os.waitpid(child, os.WNOHANG)
            time.sleep(0.001)
    return os.waitstatus_to_exitcode(done[1])


def _killed(folder: Path, words: tuple[str, ...], moment: float | int) -> bool:
    """Whether the kill came before the end: after so many seconds, or at a change of that number."""
    if isinstance(moment, int):
        code = _ended(_started(folder, words, moment))
    else:
        code = _ended(_started(folder, words), moment)
    return code == -signal.SIGKILL


def _undisturbed(work: Path, job: str) -> dict:
    """How a command ends by itself: files, seconds, changes. Made once, and kept."""
    known, folder = work / f"{job}.json", work / f"whole-{job}"
    if known.exists():
        return json.loads(known.read_text())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    began = time.monotonic()
    code = _ended(_started(folder, JOBS[job][0]))
    said = _said(folder).read_text()
    if code:
        raise SystemExit(f"{job} ended with {code}:\n{said}")
    found = {
        "files": snapshot(folder), "seconds": time.monotonic() - began, "changes": int(said.split()[-1]),
    }  # fmt: skip
    known.write_text(json.dumps(found))
    return found


def _one_kill(work: Path, number: int, seed: int, jobs: list[str]) -> dict:
    """A command killed once or twice, then let go on to its end."""
    chance = random.Random(f"{seed}-{number}")
    job = jobs[number % len(jobs)]
    whole, folder = _undisturbed(work, job), work / f"kill-{number:04d}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    words, on, moments, left = JOBS[job][0], JOBS[job][1], [], []
    for _ in range(1 + (chance.random() < 1 / 3)):
        moment: float | int = chance.uniform(0, whole["seconds"])
        if chance.random() < 0.5:
            moment = chance.randint(1, whole["changes"])
        before = words if not moments else (*words, *on)
        moments.append((moment, _killed(folder, before, moment)))
        left.append(sorted(snapshot_names(folder)))
    code = _ended(_started(folder, (*words, *on)))
    files, expected = snapshot(folder), whole["files"]
    found = {
        "kill": number,
        "job": job,
        "moments": moments,
        "left": left,
        "code": code,
        "stray": sorted(files.keys() - expected.keys()),
        "missing": sorted(expected.keys() - files.keys()),
        "other": sorted(name for name in files.keys() & expected.keys() if files[name] != expected[name]),
    }
    found["good"] = not (found["code"] or found["stray"] or found["missing"] or found["other"])
    if found["good"]:
        shutil.rmtree(folder)
    else:
        found["said"] = _said(folder).read_text().splitlines()[-5:]
    return found


def snapshot_names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return [str(path.relative_to(folder)) for path in _files(folder)]


def _table(rows: list[dict], jobs: list[str]) -> str:
    head = (
        "command",
        "kills",
        "before the end",
        "leaving a hidden file",
        "then the same bytes",
        "stray files",
    )
    lines = [f"| {' | '.join(head)} |", "|---|---:|---:|---:|---:|---:|"]
    for job in jobs:
        own = [row for row in rows if row["job"] == job]
        kills = [hit for row in own for _, hit in row["moments"]]
        torn = sum(any(".qtrain-" in name for name in left) for row in own for left in row["left"])
        same = sum(not (row["code"] or row["missing"] or row["other"]) for row in own)
        stray = sum(len(row["stray"]) for row in own)
        lines.append(f"| {job} | {len(kills)} | {sum(kills)} | {torn} | {same} of {len(own)} | {stray} |")
    return "\n".join(lines)


def kill_all(work: Path, kills: int, seed: int, jobs: list[str]) -> int:
    """All kills that are not in WORK/kills.jsonl yet; prints each, and the table."""
    sys.path.insert(0, os.fspath(ROOT))
    import torch

    import qtrain_cli.runs.compress  # noqa: F401  loaded once, for all of them
    from qtrain_cli.training import recovery

    torch.set_num_threads(1)
    recovery.Clock.due = lambda clock: True
    os.fsync = lambda number: None  # a kill is no power cut
    work.mkdir(parents=True, exist_ok=True)
    shutil.copy(_artifact(work), work / "net.qtrain")
    log = work / "kills.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    for number in range(len(rows), kills):
        rows.append(_one_kill(work, number, seed, jobs))
        with log.open("a") as file:
            file.write(json.dumps(rows[-1]) + "\n")
        print(json.dumps(rows[-1]), flush=True)
    print(_table(rows, jobs))
    return int(not all(row["good"] for row in rows))


def _artifact(work: Path) -> Path:
    """What is exported: the undisturbed compression's."""
    _undisturbed(work, "compress")
    return work / "whole-compress" / "net.qtrain"


def _main() -> int:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("work", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", default=",".join(JOBS))
    said = parser.parse_args()
    return kill_all(said.work.resolve(), said.kills, said.seed, said.jobs.split(","))


if __name__ == "__main__":
    sys.exit(_main())
