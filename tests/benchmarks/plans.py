"""What the planner chooses for real architectures, and how their weights begin: before and now.

    python tests/benchmarks/plans.py [--numbers 10000] [--only NAME,NAME]

Architectures of torchvision and timm, and GPT-2 of transformers, where installed, on the meta device: only
their shapes count. For each the plan of version 0.5 (fewest circuits whose step stays under 2**25 amplitude
updates, else the most; no seeded layers) and today's: circuits x qubits x layers, numbers that are used,
the work of a step, var(z) at the start, and the share of z below -0.9, which is of weights that are all but
one number.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Any

import torch

from qtrain_cli.errors import BadInput
from qtrain_cli.methods.generator.angles import start_angles
from qtrain_cli.methods.generator.generator import Generator
from qtrain_cli.methods.generator.planning import WORK_LIMIT, plan_generator
from qtrain_cli.methods.generator.sizes import step_work
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.quantum.circuit import MAX_QUBITS, qubits_for
from qtrain_cli.settings import BudgetSettings
from qtrain_cli.targets.entries import LayoutSpec
from qtrain_cli.targets.layout import layout_of


def _of(package: str, *names: str) -> dict[str, Callable[..., Any]]:
    def maker(name: str) -> Callable[..., Any]:
        def make(**settings: Any) -> Any:
            found = importlib.import_module(package)
            made = found.create_model if package == "timm" else found.get_model
            return made(name, **settings)

        return make

    return {name: maker(name) for name in names}


def _gpt2(**settings: Any) -> Any:
    transformers = importlib.import_module("transformers")
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**settings))


#: Architecture -> makes it, with settings of its library's.
ARCHITECTURES: dict[str, Callable[..., Any]] = {
    **_of("torchvision.models", "mobilenet_v3_small", "shufflenet_v2_x1_0", "efficientnet_b0", "resnet18"),
    **_of("torchvision.models", "densenet121", "resnet50", "vit_b_16"),
    **_of("timm", "mobilevit_xxs", "deit_tiny_patch16_224"),
    "gpt2": _gpt2,
}


def former_plan(layout: LayoutSpec, numbers: int) -> GeneratorSpec:
    """As the planner of version 0.5 chose."""
    plans = []
    for qubits in range(min(MAX_QUBITS, qubits_for(layout.generated, 1)), 7, -1):
        asked = BudgetSettings(params=numbers, circuits=-(-layout.generated // 2**qubits), seeded_layers=0)
        try:
            plans.append(plan_generator(layout, asked, 0, lambda spec: 0))
        except BadInput:
            continue  # not one layer
    affordable = [plan for plan in plans if step_work(plan) <= WORK_LIMIT]
    return affordable[0] if affordable else plans[-1]


def start_of(spec: GeneratorSpec) -> tuple[float, float]:
    """Variance of z over all outcomes at the start, and the share below -0.9."""
    theta = start_angles(spec.circuit, spec.angles.start_seed)[:, spec.angles.seeded :].float()
    with torch.no_grad():
        z = Generator(spec).all_probabilities(theta).flatten()
        z.mul_(2**spec.circuit.qubits).sub_(1)
        low = float((z < -0.9).float().mean())
        return float(z.square_().mean(dtype=torch.float64)), low


def row(name: str, layout: LayoutSpec, numbers: int) -> str:
    """A row of the table: one architecture, both plans."""
    cells = [f"{name}, {layout.generated:,}"]
    now = plan_generator(layout, BudgetSettings(params=numbers), 0, lambda spec: 0)
    for spec in (former_plan(layout, numbers), now):
        circuit, (variance, low) = spec.circuit, start_of(spec)
        seeded = f" ({spec.angles.seeded} seeded)" if spec.angles.seeded else ""
        cells += [
            f"{circuit.circuits} x {circuit.qubits} x {circuit.layers}{seeded}", f"{spec.trained_numbers:,}",
            f"{step_work(spec) / 2**20:,.0f} M", f"{variance:.3g}", f"{100 * low:.0f} %",
        ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Prints the table, a row as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--numbers", type=int, default=10_000)
    parser.add_argument("--only", default="")
    asked = parser.parse_args()
    heads = ["plan", "numbers", "work", "var(z)", "z < -0.9"]
    print("| architecture, weights | " + " | ".join([f"{head}, before" for head in heads] + heads) + " |")
    print("|---|" + "---:|" * (2 * len(heads)), flush=True)
    for name, make in ARCHITECTURES.items():
        if asked.only and name not in asked.only.split(","):
            continue
        try:
            with torch.device("meta"):
                module = make()
        except ImportError as error:
            print(f"| {name} | not installed: {error.name} |" + " |" * (2 * len(heads) - 1), flush=True)
            continue
        layout = layout_of(module)
        print(row(name, layout, asked.numbers), flush=True)


if __name__ == "__main__":
    main()
