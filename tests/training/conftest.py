"""Tiny problems: real digits for classification, a smooth function for regression, seconds at most."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qtrain_cli.data import Normalisation, TrainSplit, ValidationSplit
from qtrain_cli.methods.generator.spec import MAPPINGS, AngleCoding, GeneratorSpec, MappingSpec
from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec, qubits_for
from qtrain_cli.settings import FitSettings
from qtrain_cli.targets.layout import layout_of
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.training.devices import moved_to
from qtrain_cli.training.loop import Fitted, Problem, Progress, Recovery, fit

DIGITS = Path(__file__).resolve().parents[2] / "samples" / "digits" / "digits.npz"
TRAIN_ROWS, VALIDATION_ROWS = 200, 100


def small_network() -> nn.Sequential:
    """(N, 1, 8, 8) -> (N, 10), 1,010 weights: 10 qubits."""
    torch.manual_seed(0)
    return nn.Sequential(nn.AvgPool2d(2, 1), nn.Flatten(), nn.Linear(49, 16), nn.ReLU(), nn.Linear(16, 10))


@pytest.fixture(scope="session")
def rows() -> tuple[Tensor, Tensor]:
    """300 images (N, 1, 8, 8) uint8 and their labels."""
    arrays = np.load(DIGITS)
    count = TRAIN_ROWS + VALIDATION_ROWS
    return torch.from_numpy(arrays["x_train"][:count]), torch.from_numpy(arrays["y_train"][:count])


@pytest.fixture(scope="session")
def teacher(rows) -> nn.Sequential:
    """The small network, trained on the 200 rows."""
    module = small_network()
    images, labels = (part[:TRAIN_ROWS] for part in rows)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(80):
        optimizer.zero_grad()
        F.cross_entropy(module(images / 255), labels).backward()
        optimizer.step()
    return module.eval()


@pytest.fixture
def make_problem(rows) -> Callable[..., Problem]:
    """``make_problem(module, **changes)``: a digits problem, or what is `given`: inputs and targets."""

    def make(
        module: nn.Module,
        given: tuple[Tensor, Tensor] | None = None,
        ansatz: str = "real-amplitudes",
        layers: int = 8,
        mapping: str = "linear",
        bits: int = 32,
        objective: Objective | None = None,
        validation: tuple[Tensor, Tensor] | None = None,
        **patterns: tuple[str, ...],
    ) -> Problem:
        inputs, targets = given or rows
        cut = 2 * len(inputs) // 3
        layout = layout_of(module, **patterns)
        entangler = ANSATZE[ansatz].entanglers[0]
        circuit = CircuitSpec(ansatz, entangler, qubits_for(layout.generated, 1), layers)
        spec = GeneratorSpec(
            circuit, MappingSpec(mapping, MAPPINGS[mapping].hidden), layout, AngleCoding(bits, 0)
        )
        return Problem(
            module=module,
            teacher=moved_to(module.state_dict(keep_vars=True), torch.device("cpu")),
            spec=spec,
            train=TrainSplit(inputs[:cut], targets[:cut]),
            validation=ValidationSplit(*(validation or (inputs[cut:], targets[cut:]))),
            prepare=Normalisation(),
            objective=objective or Objective("classification", 0.9, 4.0),
        )

    return make


@pytest.fixture
def run_fit(tmp_path) -> Callable[..., tuple[Fitted, list[Progress]]]:
    """``run_fit(problem, **settings)``: the fitted state, and every step as it was shown."""

    def run(problem: Problem, *, resume: bool = False, show=None, name: str = "run", **settings):
        seen: list[Progress] = []

        def both(progress: Progress) -> None:
            seen.append(progress)
            if show:
                show(progress)

        given = {"epochs": 2, "batch_size": 50, "lr": 0.01, "device": "cpu", **settings}
        recovery = Recovery(tmp_path / f"{name}.ckpt", {"test": "identity"}, resume)
        return fit(problem, FitSettings(**given), recovery, both), seen

    return run
