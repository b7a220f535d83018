"""Every method under a budget of bytes on a tiny model: sized, made, and the file that comes of it."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from trainees import DIGITS, scene_of

from qtrain_cli.artifact.container import container_of
from qtrain_cli.artifact.description import Example
from qtrain_cli.artifact.numbers import Artifact, decode_artifact, encode_artifact
from qtrain_cli.artifact.size import Known
from qtrain_cli.data import Dataset, Normalisation, TestSplit, TrainSplit, ValidationSplit
from qtrain_cli.methods.method import Scene
from qtrain_cli.methods.table import METHODS
from qtrain_cli.runs.making import Made, Work, answers_of, finished_by, make
from qtrain_cli.runs.sizing import Measure
from qtrain_cli.settings import FitSettings, own_rate
from qtrain_cli.training.recovery import Recovery

#: Of the whole file.
BUDGET = 700
INPUTS = (1, 8, 8)


def network() -> nn.Sequential:
    """(N, 1, 8, 8) -> (N, 10), 818 weights and running statistics."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(36, 16),
        nn.ReLU(), nn.Linear(16, 10),
    )  # fmt: skip


@functools.cache
def digits_rows() -> tuple[Tensor, Tensor]:
    """450 images and labels."""
    arrays = np.load(DIGITS)
    return torch.from_numpy(arrays["x_train"][:450]), torch.from_numpy(arrays["y_train"][:450])


@functools.cache
def trained_network() -> nn.Sequential:
    """The network, trained on the first 300 rows in 60 steps."""
    module = network()
    images, labels = (part[:300] for part in digits_rows())
    optimizer = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images / 255), labels).backward()
        optimizer.step()
    return module.eval()


@functools.cache
def digits_data() -> Dataset:
    """300 rows to train with, six steps of 50 an epoch; 150 to validate and, here, to test."""
    images, labels = digits_rows()
    held = images[300:], labels[300:]
    return Dataset(
        TrainSplit(images[:300], labels[:300]), ValidationSplit(*held), TestSplit(*held),
        "classification", 10, "d" * 64, Normalisation(),
    )  # fmt: skip


def model_scene(module: nn.Module, shape: tuple[int, ...] = INPUTS) -> Scene:
    """The scene of a model for inputs of that shape."""
    return scene_of(module, torch.zeros(2, *shape))


def measure_of(name: str, scene: Scene) -> Measure:
    """What sizes a method's bare files."""
    return Measure(
        name, scene, Known("m", "classification", Example("F32", scene.input_shape), 2, 0, "cpu", "", True)
    )


def work_of(
    name: str, scene: Scene, budget: int = BUDGET, lr: float | None = None, epochs: int = 2, **fit: object
) -> Work:
    """What is made at this budget, with the method's first rate and width."""
    row, measure = METHODS[name], measure_of(name, scene)
    chosen = measure.sized(measure.fitting(row.widths[0], budget))
    rate = row.rates[0] * (own_rate(chosen.numbers) if row.relative_rates else 1)
    given = {"epochs": epochs, "batch_size": 50, "seed": scene.seed, "device": "cpu", **fit}
    settings = FitSettings(lr=lr or rate, **given)
    answers, data = answers_of(scene, digits_data()), digits_data()
    return Work(name, chosen, scene, data, settings, answers, None if chosen.method.planned else budget)


def made_in(folder: Path, work: Work, resume: bool = False) -> Made:
    """`make` with its checkpoint in this folder."""
    recovery = Recovery(folder / "run.ckpt", {"of": "a test"}, resume)
    return make(work, recovery, lambda progress: None, lambda line: None)


def file_of(work: Work, made: Made) -> bytes:
    """The finished bare file."""
    _, digest = finished_by(work, made.numbers)
    return encode_artifact(Artifact(replace(work.described(made.numbers), digest=digest), made.numbers))


def artifact_in(data: bytes) -> Artifact:
    """What a reader finds in these bytes."""
    return decode_artifact(container_of(Path("a.qtrain"), data))
