"""A tiny problem that every method can be tried on: digits, a network of 1,010 weights, two epochs."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from qtrain_cli.training.rival_loop import Lesson
from torch import nn

from qtrain_cli.data import Normalisation, TrainSplit, ValidationSplit
from qtrain_cli.methods.method import Scene
from qtrain_cli.models.call import predict
from qtrain_cli.targets.layout import layout_of
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.training.devices import moved_to

DIGITS = Path(__file__).resolve().parents[2] / "samples" / "digits" / "digits.npz"
CPU = torch.device("cpu")


def network() -> nn.Sequential:
    """(N, 1, 8, 8) -> (N, 10), 1,062 weights and running statistics."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 16),
        nn.ReLU(), nn.Linear(16, 10),
    )  # fmt: skip


@pytest.fixture(scope="session")
def rows():
    arrays = np.load(DIGITS)
    return torch.from_numpy(arrays["x_train"][:450]), torch.from_numpy(arrays["y_train"][:450])


@pytest.fixture(scope="session")
def teacher(rows) -> nn.Sequential:
    """The network, trained on the first 300 rows."""
    module = network()
    images, labels = (part[:300] for part in rows)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images / 255), labels).backward()
        optimizer.step()
    return module.eval()


@pytest.fixture
def scene_of() -> Callable[..., Scene]:
    """``scene_of(module, inputs, **changes)``: the scene of a model for inputs of that shape."""

    def make(module: nn.Module, shape=(1, 8, 8), **changes) -> Scene:
        state = moved_to(module.state_dict(keep_vars=True), CPU)
        outputs = predict(module, state, torch.zeros(2, *shape), Normalisation())
        scene = Scene(module, state, layout_of(module), shape, tuple(outputs.shape[1:]), 0, CPU)
        return replace(scene, **changes)

    return make


@pytest.fixture
def scene(teacher, scene_of) -> Scene:
    return scene_of(teacher)


@pytest.fixture
def lesson(teacher, rows) -> Lesson:
    """Six steps an epoch, two epochs."""
    images, labels = rows
    taught = predict(teacher, moved_to(teacher.state_dict(), CPU), images[:300], Normalisation())
    return Lesson(
        TrainSplit(images[:300], labels[:300]), ValidationSplit(images[300:], labels[300:]), Normalisation(),
        Objective("classification", 0.5, 4.0), taught, 2, 50,
    )  # fmt: skip
