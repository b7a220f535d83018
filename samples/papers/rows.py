"""What the scripts of this folder share: runs of the command line that are kept, and rows of a table.

Every run is a command of `qtrain` whose JSON lands in a folder under its own name. A script that was killed
is run again: finished runs are read, an interrupted one goes on from its checkpoint. With ``--list`` a
script prints its commands and runs nothing.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SAMPLES = Path(__file__).resolve().parents[1]
DIGITS = SAMPLES / "digits" / "digits.npz"
MNIST_ARCH = f"{SAMPLES / 'mnist_cnn.py'}:MnistCNN"


class Bench:
    """One script's runs: a folder, the paths that were given, seeds, and whether anything is run at all."""

    def __init__(self, text: str, minutes: str, seeds: int = 3) -> None:
        end = f"Time: {minutes}. MNIST and CIFAR-10 are read with: pip install 'qtrain[data]'"
        parser = argparse.ArgumentParser(
            description=text, epilog=end, formatter_class=argparse.RawTextHelpFormatter
        )
        parser.add_argument("--mnist", default="mnist", help="folder of MNIST's Parquet files")
        parser.add_argument("--cifar10", default="cifar10", help="folder of CIFAR-10's Parquet files")
        parser.add_argument("--model", default="mnist_cnn_6690.pt", help="the 6,690-weight network, trained")
        parser.add_argument("--seeds", type=int, default=seeds, help=f"how many, from 0 (default {seeds})")
        parser.add_argument("-o", "--out", type=Path, default=Path("papers"), help="folder for finished runs")
        parser.add_argument("--list", action="store_true", help="print the commands, run nothing")
        self.given = parser.parse_args()
        self.seeds = range(self.given.seeds)
        self.listed = self.given.list

    @property
    def mnist(self) -> list[str]:
        """Options of MNIST, scaled to [-1, 1]."""
        return ["--data", self.given.mnist, "--mean", "0.5", "--std", "0.5"]

    @property
    def cifar10(self) -> list[str]:
        """Options of CIFAR-10, scaled to [-1, 1]."""
        return ["--data", self.given.cifar10, "--mean", "0.5", "--std", "0.5"]

    @property
    def network(self) -> list[str]:
        """The paper's MNIST network."""
        return [self.given.model, "--arch", MNIST_ARCH]

    @property
    def digits(self) -> Path:
        """The shipped 8x8 digits."""
        return DIGITS

    def path(self, name: str) -> Path:
        """A file or folder of this script's own."""
        return Path(self.given.out) / name

    def teacher(self, network: str, data: str, epochs: int) -> list[str]:
        """Words that name a network of the samples (FILE:CLASS), trained on `data` unless it lies there."""
        arch = str(SAMPLES / network)
        path = self.path(f"{Path(network.partition(':')[0]).stem}.pt")
        if not (self.listed or path.exists()):
            path.parent.mkdir(parents=True, exist_ok=True)
            script = [sys.executable, SAMPLES / "6_train_teacher.py", arch, data, path, epochs]
            subprocess.run([str(word) for word in script], check=True)
        return [str(path), "--arch", arch]

    def run(self, name: str, *words: object) -> dict[str, Any]:
        """The JSON of one command, from its file when this command wrote it; an empty one with ``--list``."""
        told = [str(word) for word in words]
        if self.listed:
            print("qtrain", shlex.join(told))
            return {}
        kept, command_of = self.path(f"{name}.json"), self.path(f"{name}.command")
        same = not command_of.exists() or command_of.read_text() == shlex.join(told)
        if not (kept.exists() and same):
            kept.parent.mkdir(parents=True, exist_ok=True)
            command = [sys.executable, "-m", "qtrain_cli", *told, "--json"]
            print(f"-> {name}", file=sys.stderr)
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{name} ended with {done.returncode}: {done.stdout.strip()}")
            kept.write_text(done.stdout)
            command_of.write_text(shlex.join(told))
        found: dict[str, Any] = json.loads(kept.read_text())
        return found

    def compressed(self, name: str, *words: object) -> dict[str, Any]:
        """A record of `qtrain compress`, whose file lies beside it."""
        return self.run(name, "compress", *words, "-o", self.path(f"{name}.qtrain"), "--resume")

    def taught(self, name: str, *words: object) -> dict[str, Any]:
        """A record of `qtrain train` or `distill`, whose file lies beside it."""
        return self.run(name, *words, "-o", self.path(f"{name}.qtrain"), "--resume")


def shape_of(student: str) -> str:
    """What a file's name says of a student: ``qnn:qubits=8,layers=8`` is ``8x8``."""
    return "x".join(part.partition("=")[2] for part in student.split(","))


def cooled(first: float, last: float) -> list:
    """Options of a teacher's temperature in the first step and in the last."""
    return ["--temperature", first, *(["--temperature-end", last] if last != first else [])]


def student_records(folder: Path, part: str) -> list[dict[str, Any]]:
    """The records of a comparison's students whose file's name has this part, by seed."""
    from qtrain_cli.artifact.student import read_student_record

    return [read_student_record(path).to_json() for path in sorted(folder.glob(f"*{part}*.qtrain"))]


def show_students(found: dict[str, dict[str, Any]]) -> None:
    """The rows and verdicts of comparisons of students, by name."""
    rows = []
    for name, document in found.items():
        for row in document["rows"]:
            figures, epochs = [100 * one for one in row["figures"]], row["epochs_to_95"]
            runs = row["evaluations_to_95"]
            rows.append([
                name, row["name"], row["method"], row["parameters"], f"{spread(figures)} %",
                "-" if epochs is None else f"{epochs:.1f}", "-" if runs is None else f"{runs:,.0f}",
            ])  # fmt: skip
    head = ["", "student", "method", "numbers", "test accuracy", "epochs to 95 %", "circuit runs to 95 %"]
    table(head, rows)
    for name, document in found.items():
        for verdict in document["verdicts"][:-1]:
            print(f"- {name}: {verdict}")


def percent(records: Sequence[dict[str, Any]], field: str = "test_accuracy") -> str:
    """Mean and standard deviation of accuracies, in per cent."""
    return spread([100 * record[field] for record in records], "{:.2f}") + " %"


def spread(figures: Sequence[float], form: str = "{:.2f}") -> str:
    """Mean and standard deviation; one figure alone."""
    mean = form.format(statistics.fmean(figures))
    return mean if len(figures) < 2 else f"{mean} ± {form.format(statistics.stdev(figures))}"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a Markdown table."""
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(str(cell) for cell in row) + " |")


def finish(bench: Bench, show: Callable[[], None]) -> None:
    """Shows a script's rows, once there are any."""
    if not bench.listed:
        show()
