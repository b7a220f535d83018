"""1, 10 and 100 million weights: what a step takes, foretold and measured, and what an export takes.

    python tests/benchmarks/scale.py [--weights 1e6,1e7,1e8] [--numbers 10000] [--steps 30]

A wide network of three linear layers, 784 inputs, 10 classes, seeded weights and rows; `--steps` of 128
rows. Each figure is of a process of its own: `qtrain plan`; `qtrain compress`, whose steps are taken apart
by clocks around the engine, the mapping and the optimiser (what is left is the model's); plain training of
all weights by Adam, for its memory; `qtrain export`. Peak memory is the process's whole (VmHWM), libraries
included.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ROWS, INPUTS, CLASSES = 128, 784, 10
VALIDATION = 0.1
ARCHITECTURE = f"""
from torch import nn


def wide(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Linear({INPUTS}, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, {CLASSES})
    )
"""


def width_for(weights: float) -> int:
    """The width whose network has about so many weights: w**2 + (784 + 12) w."""
    half = (INPUTS + CLASSES + 2) / 2
    return round(math.sqrt(half * half + weights) - half)


def prepare(folder: Path, width: int, steps: int) -> None:
    """Architecture, seeded weights and seeded rows of one network."""
    import numpy as np
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    scope: dict[str, Any] = {}
    (folder / "wide.py").write_text(ARCHITECTURE)
    exec(ARCHITECTURE, scope)
    save_file(scope["wide"](width).state_dict(), folder / "wide.safetensors")
    train, random = round(steps * ROWS / (1 - VALIDATION)), np.random.default_rng(0)
    means = random.normal(size=(CLASSES, INPUTS)).astype("float32")
    parts = {}
    for name, count in (("train", train), ("test", 256)):
        labels = random.integers(0, CLASSES, count)
        rows = means[labels] + random.normal(size=(count, INPUTS)).astype("float32")
        parts |= {f"x_{name}": rows.astype("float32"), f"y_{name}": labels}
    np.savez(folder / "rows.npz", **parts)


def clocked() -> dict[str, float]:
    """Puts clocks around the parts of a step; seconds by part, added up while a run goes on."""
    from qtrain_cli.methods.generator.linear import _Linear
    from qtrain_cli.quantum.statevector import _Once, _Probabilities
    from qtrain_cli.training.loop import _Loop
    from qtrain_cli.training.whitened import WhitenedAdam

    spent: dict[str, float] = defaultdict(float)
    places = (
        (_Probabilities, "forward", "circuit"), (_Once, "forward", "circuit"),
        (_Linear, "forward", "mapping"), (_Linear, "backward", "mapping"), (WhitenedAdam, "step",
        "optimiser"), (_Loop, "step", "step"),
    )  # fmt: skip
    for owner, name, part in places:
        setattr(owner, name, _timed(owner, name, spent, part))
    return spent


def _timed(owner: Any, name: str, spent: dict[str, float], part: str) -> Any:
    known = owner.__dict__[name]
    inner = getattr(owner, name) if isinstance(known, staticmethod) else known

    def timed(*given: Any, **named: Any) -> Any:
        started = time.perf_counter()
        try:
            return inner(*given, **named)
        finally:
            spent[part] += time.perf_counter() - started
            spent[f"{part} calls"] += 1

    return staticmethod(timed) if isinstance(known, staticmethod) else timed


def run_qtrain(words: list[str]) -> dict[str, Any]:
    """One command in this process: its record, peak, seconds, and the parts of its steps."""
    import contextlib
    import io

    from benchmarks.peak import highest

    from qtrain_cli.cli import main

    spent, out, started = clocked(), io.StringIO(), time.perf_counter()
    with contextlib.redirect_stdout(out):
        code = main([*words, "--json"])
    if code:
        sys.exit(code)
    seconds = time.perf_counter() - started
    return {"record": json.loads(out.getvalue()), "peak": highest(), "seconds": seconds, "spent": dict(spent)}


def train_all(folder: str, width: int, steps: int) -> dict[str, Any]:
    """The model's own training: so many steps of Adam on all weights."""
    import numpy as np
    import torch
    from benchmarks.peak import highest
    from safetensors.torch import load_file

    scope: dict[str, Any] = {}
    exec(ARCHITECTURE, scope)
    model = scope["wide"](width)
    model.load_state_dict(load_file(Path(folder) / "wide.safetensors"), assign=True)
    rows = np.load(Path(folder) / "rows.npz")
    x, y = torch.from_numpy(rows["x_train"]), torch.from_numpy(rows["y_train"])
    optimiser, times = torch.optim.Adam(model.parameters(), 1e-3), []
    for step in range(steps):
        started, part = time.perf_counter(), slice(step * ROWS, (step + 1) * ROWS)
        loss = torch.nn.functional.cross_entropy(model(x[part]), y[part])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        times.append(time.perf_counter() - started)
    return {"peak": highest(), "step": sorted(times)[steps // 2]}


def asked(*words: object) -> dict[str, Any]:
    """The answer of this file in a process of its own."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    command = [sys.executable, __file__, "--one", *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def measured(folder: Path, weights: float, numbers: int, steps: int) -> dict[str, Any]:
    """A row of the table."""
    width = width_for(weights)
    prepare(folder, width, steps)
    arch, model = f"{folder / 'wide.py'}:wide", folder / "wide.safetensors"
    common = ["--arch", arch, "--arch-args", json.dumps({"width": width}), "--params", numbers]
    common += ["--batch-size", ROWS]
    plan = asked("plan", model, *common, "--input-shape", INPUTS)
    fit = asked(
        "compress", model, *common, "--data", folder / "rows.npz", "--validation", VALIDATION, "--epochs", 1,
        "--teacher-any", "--bare", "--force", "-o", folder / "wide.qtrain",
    )  # fmt: skip
    own = asked("own", folder, width, steps)
    out = folder / "out.safetensors"
    out.unlink(missing_ok=True)
    export = asked("export", folder / "wide.qtrain", "--classical", "-o", out)
    return {"plan": plan, "fit": fit, "own": own, "export": export}


def line(row: dict[str, Any]) -> str:
    """A row as Markdown."""
    plan, fit, own, export = row["plan"]["record"], row["fit"], row["own"], row["export"]
    spent, steps, weights = fit["spent"], max(1, fit["spent"]["step calls"]), plan["weights"]
    each = {part: spent.get(part, 0.0) / steps for part in ("step", "circuit", "mapping", "optimiser")}
    model = each["step"] - each["circuit"] - each["mapping"] - each["optimiser"]
    copies = (fit["peak"] - own["peak"]) / (4 * weights)
    shape = f"{plan['circuits']} x {plan['qubits']} x {plan['layers']} ({plan['seeded_layers']} seeded)"
    cells = [
        f"{weights:,}", shape, f"{plan['trained_numbers']:,}", f"{plan['seconds_per_step']:.3f}",
        *(f"{seconds:.3f}" for seconds in (each["step"], each["circuit"], each["mapping"], model)),
        f"{each['optimiser']:.3f}", f"{own['step']:.3f}", f"{plan['memory_bytes'] / 1e6:,.0f}",
        f"{fit['peak'] / 1e6:,.0f}", f"{own['peak'] / 1e6:,.0f}", f"{copies:+.1f}",
        f"{export['seconds']:.1f}", f"{export['peak'] / 1e6:,.0f}",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "weights", "circuits x qubits x layers", "numbers", "s a step, foretold", "measured", "circuit",
    "mapping", "model", "optimiser", "training all weights", "peak MB, foretold", "measured",
    "training all weights",
    "difference in copies", "export, s", "its peak, MB",
)  # fmt: skip


def main() -> None:
    """Measures and prints the table, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--weights", default="1e6,1e7,1e8")
    parser.add_argument("--numbers", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--json", type=Path)
    asked_for = parser.parse_args()
    print(f"{os.getloadavg()[0]:.1f} of {os.cpu_count()} cores are asked for before it begins\n")
    print("| " + " | ".join(HEAD) + " |\n|" + "---:|" * len(HEAD), flush=True)
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = asked_for.folder or Path(temporary)
        for weights in map(float, asked_for.weights.split(",")):
            rows.append(measured(folder, weights, asked_for.numbers, asked_for.steps))
            print(line(rows[-1]), flush=True)
    if asked_for.json:
        asked_for.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        what, *rest = sys.argv[2:]
        print(
            json.dumps(
                train_all(rest[0], *map(int, rest[1:])) if what == "own" else run_qtrain([what, *rest])
            )
        )
    else:
        main()
