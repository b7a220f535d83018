"""Fuzzes readers one after the other: ``python tests/fuzz [READER...] [--seconds 20] [--folder FOLDER] ...``

Each reader runs in a process of its own (`harness`), from its seeds, the findings that are kept in `corpus`,
and what FOLDER has of an earlier run. A process that a crash, a hang or memory ended is started again, and
goes on for the rest of its time. Exit code 1: something was found; the files lie in FOLDER/findings/READER.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
READERS = (
    "artifact", "checkpoint", "pickles", "zip", "safetensors", "pt2", "npz", "csv", "parquet", "images",
    "toml",
)  # fmt: skip
#: Bounds of one input: seconds until the process is ended (the harness counts those of the processor),
#: megabytes of the whole process, bytes.
SECONDS, MEGABYTES, BYTES = 60, 2048, 2**16
#: Seconds of importing PyTorch and making seeds, which are not counted; more of them end a process.
STARTING = 200
#: Processes that a finding may end before a reader's time is given up.
MOST_ENDED = 100


@dataclass(frozen=True)
class Run:
    """How long each reader is fuzzed, where its files go, and the random seed; 0 is another each time."""

    seconds: int
    folder: Path
    seed: int


def fuzz(name: str, run: Run) -> int:
    """Fuzzes one reader for the whole time; the number of inputs of all of its processes."""
    ends, inputs, ended, left = time.monotonic() + run.seconds, 0, 0, run.seconds
    while left >= 1 and ended < MOST_ENDED:
        before = findings(run.folder, name)
        code = _process(name, run, left, ended)
        inputs += _counted(run.folder / f"{name}.json")
        if code == 0:
            break
        if findings(run.folder, name) == before:  # nobody says why: the log may
            (run.folder / "findings" / name / f"ended-{ended}").write_text(f"exit code {code}, see the log\n")
            break
        _drop(run.folder, name)
        ended, left = ended + 1, int(ends - time.monotonic())
    return inputs


def _counted(count: Path) -> int:
    inputs = json.loads(count.read_text())["inputs"] if count.exists() else 0
    count.unlink(missing_ok=True)
    return int(inputs)


def findings(folder: Path, name: str) -> list[Path]:
    """The files of all findings of a reader."""
    return sorted((folder / "findings" / name).glob("*"))


def _drop(folder: Path, name: str) -> None:
    """Takes what ended a process out of the inputs of the next one; libFuzzer names both alike."""
    for path in findings(folder, name):
        (folder / "corpus" / name / path.name.rpartition("-")[2]).unlink(missing_ok=True)


def _process(name: str, run: Run, seconds: int, number: int) -> int:
    own, found = run.folder / "corpus" / name, run.folder / "findings" / name
    for folder in (own, found):
        folder.mkdir(parents=True, exist_ok=True)
    options = [
        f"-max_total_time={seconds}", f"-timeout={SECONDS}", f"-rss_limit_mb={MEGABYTES}",
        f"-max_len={BYTES}", "-len_control=0", "-report_slow_units=1000000", f"-artifact_prefix={found}/",
    ]  # fmt: skip
    options += [f"-seed={run.seed + number}"] if run.seed else []
    places = [own, *filter(Path.is_dir, [HERE / "corpus" / name])]
    command = [sys.executable, HERE / "harness.py", name, run.folder, *options, *places]
    calm = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    with (run.folder / f"{name}.log").open("ab") as log:
        try:
            limit = seconds + STARTING + SECONDS
            return subprocess.run(
                command, stdout=log, stderr=log, env=calm, timeout=limit, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            return -1


def main() -> int:
    """Fuzzes what the command line says, and prints a line for each reader."""
    said = _said()
    if importlib.util.find_spec("atheris") is None:
        print("skipped: atheris is not installed (it has no build for this Python or system)")
        return 0
    run = Run(said.seconds, said.folder or Path(tempfile.mkdtemp(prefix="fuzz-")), said.seed)
    with ThreadPoolExecutor(said.jobs) as pool:
        rows = {name: pool.submit(fuzz, name, run) for name in said.reader or READERS}
        for name, row in rows.items():
            inputs, found = row.result(), findings(run.folder, name)
            print(f"{name:11} {inputs:9} inputs {len(found):3} findings", *found, sep="\n  ", flush=True)
    found = any(findings(run.folder, name) for name in rows)
    if not said.folder and not found:
        shutil.rmtree(run.folder)
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
    sys.exit(main())
