"""Training loss after equally many steps by the plan of version 0.5 and by today's, one architecture a row.

    python tests/benchmarks/losses.py CIFAR10 TEXTS [--steps 100] [--numbers N] [--only NAME,NAME]

The networks of `plans.py` with seeded weights and ten outputs, on CIFAR-10's pictures doubled to 64x64
pixels; GPT-2 on the bytes of texts (a folder with `train.csv`), 64 a row. Labels alone, batches of 32 (GPT-2:
of 8), one seed. Each quarter of the steps goes once through the same rows; a loss is its mean. That of
a guess among ten is 2.30, among 256 bytes 5.55, among GPT-2's 50,257 tokens 10.8.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

import qtrain_cli
from qtrain_cli.data import load_data
from qtrain_cli.settings import DataSettings
from qtrain_cli.targets.layout import layout_of

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.plans import ARCHITECTURES, former_plan

QUARTERS = 4
LENGTH = 64
#: Settings of an architecture for small pictures and few classes.
SMALL: dict[str, dict[str, Any]] = {
    "vit_b_16": {"num_classes": 10, "image_size": 64},
    "deit_tiny_patch16_224": {"num_classes": 10, "img_size": 64},
    "gpt2": {"n_positions": LENGTH, "resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0},
}


@dataclass(frozen=True)
class Rows:
    """Rows in their order: inputs and targets, of which `batch` make a step."""

    x: Tensor
    y: Tensor
    batch: int
    task: str

    def parts(self, steps: int) -> list[tuple[Tensor, Tensor]]:
        """Train rows for a quarter of the steps; two batches to validate, two to test."""
        sizes = [steps // QUARTERS * self.batch, 2 * self.batch, 2 * self.batch]
        return list(zip(*(tensor[: sum(sizes)].split(sizes) for tensor in (self.x, self.y)), strict=True))


def pictures(folder: str) -> Rows:
    """CIFAR-10's training rows, each pixel twice in both directions, scaled to [-1, 1]."""
    data = load_data(DataSettings(folder, (0.5,) * 3, (0.5,) * 3), 0)
    some = torch.arange(4096)
    x = data.normalisation(data.train.inputs[some])
    assert isinstance(x, Tensor)
    return Rows(
        x.repeat_interleave(2, 2).repeat_interleave(2, 3), data.train.targets[some], 32, "classification"
    )


def texts(folder: str) -> Rows:
    """The bytes of all texts as one, cut into rows, whose next ones are learned."""
    content = Path(folder, "train.csv").read_bytes()
    whole = len(content) // LENGTH * LENGTH
    tokens = torch.frombuffer(bytearray(content[:whole]), dtype=torch.uint8).long().view(-1, LENGTH)
    return Rows(tokens, tokens, 8, "language")


def trained(make: Callable[[], nn.Module], rows: Rows, steps: int, **plan: int) -> tuple[list[float], float]:
    """The mean loss of each quarter of the steps, and seconds a step."""
    torch.manual_seed(0)
    module, (train, validation, test) = make(), rows.parts(steps)
    # Today's tool refuses what the former plan did.
    unchecked = mock.patch("qtrain_cli.runs.compress.check_start", lambda *start: "")
    with tempfile.TemporaryDirectory() as folder, unchecked:
        out, started = Path(folder, "out.qtrain"), time.perf_counter()
        qtrain_cli.compress(
            module, train, validation, test, out=out, quiet=True, epochs=QUARTERS, batch_size=rows.batch,
            task=rows.task, distill=0.0, device="cpu", teacher_any=True, **plan,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        log = Path(f"{out}.jsonl").read_text().splitlines()
    losses = [line["loss"] for line in map(json.loads, log) if "epoch" in line]
    return losses, seconds / (steps // QUARTERS * QUARTERS)


def row(name: str, rows: Rows, steps: int, numbers: int) -> str:
    """A row of the table: one architecture, both plans."""

    def make() -> nn.Module:
        made: nn.Module = ARCHITECTURES[name](**SMALL.get(name, {"num_classes": 10}))
        return made

    layout = layout_of(make())
    former = former_plan(layout, numbers)
    circuit = former.circuit
    plans = (
        {"circuits": circuit.circuits, "layers": circuit.layers, "seeded_layers": 0}, {"params": numbers},
    )  # fmt: skip
    cells = [f"{name}, {layout.generated:,}"]
    for plan in plans:
        losses, seconds = trained(make, rows, steps, **plan)
        cells += [*(f"{loss:.3g}" for loss in (losses[0], losses[-1])), f"{seconds:.2f}"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Prints the table, a row as soon as it is there."""
    shown = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=shown)
    parser.add_argument("cifar10")
    parser.add_argument("texts")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--numbers", type=int, default=10_000)
    parser.add_argument("--only", default="")
    given = parser.parse_args()
    heads = ["first quarter", "last quarter", "s a step"]
    print("| architecture, weights | " + " | ".join([f"{head}, before" for head in heads] + heads) + " |")
    print("|---|" + "---:|" * (2 * len(heads)), flush=True)
    images = pictures(given.cifar10)
    for name in given.only.split(",") if given.only else ARCHITECTURES:
        rows = texts(given.texts) if name == "gpt2" else images
        print(row(name, rows, given.steps, given.numbers), flush=True)


if __name__ == "__main__":
    main()
