"""kill -9 of one of the processes of a run at any moment: the others start again, and the same file arrives.

    python tests/kill_worker.py WORK [--kills 10] [--seed 0] [--processes 2] [--epochs 60]

First the run undisturbed, then as many more as there are kills, each in a folder of its own: which process
and when (a share of the undisturbed time) are drawn from the seed. A line a kill is printed: what was killed,
at which step the last state lay, the exit code, the test accuracy, the artifact's SHA-256, and what else lay
in the folder. Exit code 1: a run ended otherwise than the undisturbed one, or a file is there that should not
be.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ROOT / "samples" / "digits"
ARTIFACT = "net.qtrain"


@dataclass(frozen=True)
class Ended:
    """How a run ended: seconds, exit code, test accuracy, the artifact's digest, the folder's other files."""

    seconds: float
    code: int
    accuracy: float | None
    digest: str
    others: tuple[str, ...]
    killed: str

    @property
    def result(self) -> tuple[object, ...]:
        """What has to be the same each time."""
        return self.code, self.accuracy, self.digest, self.others


def started(folder: Path, processes: int, epochs: int) -> subprocess.Popen[str]:
    """One run, in a folder of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    words = [
        "compress", DIGITS / "digits_cnn_module.pt", "--data", DIGITS / "digits.npz", "--layers", 4,
        "--epochs", epochs, "--processes", processes, "--max-restarts", 5, "--json", "-o", ARTIFACT,
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "qtrain_cli", *map(str, words)]
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ended(run: subprocess.Popen[str], folder: Path, since: float, killed: str = "") -> Ended:
    """Waits for a run."""
    out, err = run.communicate(timeout=900)
    (folder.parent / f"{folder.name}.err").write_text(err)
    artifact = folder / ARTIFACT
    digest = hashlib.sha256(artifact.read_bytes()).hexdigest() if artifact.exists() else "none"
    others = tuple(sorted(path.name for path in folder.iterdir() if path.name != ARTIFACT))
    accuracy = json.loads(out).get("test_accuracy") if out.strip() else None
    return Ended(time.monotonic() - since, run.returncode, accuracy, digest, others, killed)


def workers(launcher: int) -> dict[int, int]:
    """The processes of a run by rank."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            named = (path / "environ").read_bytes().split(b"\0") if parent == launcher else []
        except OSError:
            continue
        ranks = [int(one[5:]) for one in named if one.startswith(b"RANK=")]
        found |= {rank: int(path.name) for rank in ranks}
    return found


def step_of(folder: Path) -> str:
    """Where the last state lies, for people."""
    path = folder / f"{ARTIFACT}.ckpt"
    try:
        data = path.read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        return f"step {json.loads(header['__metadata__']['qtrain.checkpoint'])['state']['step']}"
    except (OSError, ValueError, KeyError):
        return "no state"


def kill(folder: Path, rank: int, moment: float, given: argparse.Namespace) -> Ended | None:
    """A run of which one process is killed after so many seconds; None where it had ended before."""
    since = time.monotonic()
    run = started(folder, given.processes, given.epochs)
    while time.monotonic() - since < moment or rank not in workers(run.pid):
        if run.poll() is not None:
            return None if run.returncode == 0 else ended(run, folder, since)
        time.sleep(0.01)
    where = step_of(folder)
    os.kill(workers(run.pid)[rank], signal.SIGKILL)
    return ended(run, folder, since, f"process {rank} at {moment:.1f} s, {where}")


def main() -> int:
    shown = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shown)
    parser.add_argument("work", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=60)
    given = parser.parse_args()
    draw, work = random.Random(given.seed), given.work.resolve()
    since = time.monotonic()
    whole = ended(started(work / "whole", given.processes, given.epochs), work / "whole", since)
    print(f"undisturbed: {_line(whole)}", flush=True)
    bad = whole.code != 0
    done = tries = 0
    while done < given.kills:
        tries += 1
        rank, moment = draw.randrange(given.processes), draw.random() * whole.seconds
        found = kill(work / f"{tries}", rank, moment, given)
        if found is None:
            continue
        done += 1
        same = found.result == whole.result
        bad |= not same
        print(f"{done}. {found.killed}: {_line(found)}; {'the same' if same else 'DIFFERENT'}", flush=True)
    return int(bad)


def _line(found: Ended) -> str:
    others = ", ".join(found.others) or "nothing else"
    return (
        f"{found.seconds:.0f} s, exit code {found.code}, test accuracy {found.accuracy},"
        f" SHA-256 {found.digest[:12]}, {others} in the folder"
    )


if __name__ == "__main__":
    sys.exit(main())
