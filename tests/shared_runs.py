"""Trainings that tests run in one process and in several (`ranked`)."""

from __future__ import annotations

import os
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from trainees import (
    BOTH,
    CLASSICAL,
    DIGITS,
    HYBRID,
    IDENTITY,
    Normalised,
    Problem,
    method_problem,
    our_problem,
    small_network,
    student_problem,
)

from qtrain_cli.errors import Refused, UsageError
from qtrain_cli.methods.generator.plan import plan_of
from qtrain_cli.methods.generator.spec import AngleCoding, GeneratorSpec, MappingSpec
from qtrain_cli.methods.table import OURS
from qtrain_cli.quantum.circuit import CircuitSpec, qubits_for
from qtrain_cli.settings import FitSettings
from qtrain_cli.students.layout import Execution
from qtrain_cli.targets.layout import layout_of
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.training.batches import RowBatches
from qtrain_cli.training.dividing import DividedCircuits
from qtrain_cli.training.exchange import Exchange
from qtrain_cli.training.generated import Generated
from qtrain_cli.training.loop import train
from qtrain_cli.training.ranks import ProcessEnded, leave_together, present
from qtrain_cli.training.recovery import Recovery
from qtrain_cli.training.synced import SharedStatistics, check_shared

ROWS = 300
WEIGHTED = Objective("classification", 0.5, 4.0, weights=(3.0, 1.0, 0.2, 1.0, 1.0, 5.0, 1.0, 0.5, 1.0, 1.0))


def digits() -> tuple[torch.Tensor, torch.Tensor]:
    """300 images (N, 1, 8, 8) and their labels."""
    arrays = np.load(DIGITS)
    return torch.from_numpy(arrays["x_train"][:ROWS]), torch.from_numpy(arrays["y_train"][:ROWS])


def problem(kind: str) -> Problem:
    """By name: everything whose sums several processes share."""
    rows = digits()
    return {
        "ours": lambda: our_problem(small_network(), rows),
        "ours rounded": lambda: our_problem(small_network(), rows, bits=4),
        "batch norm": lambda: our_problem(Normalised(0.0), rows, objective=BOTH),
        "class weights": lambda: our_problem(small_network(), rows, objective=WEIGHTED),
        "rival": lambda: method_problem("subspace", small_network(), {"k": 160, "seed": 0}, rows),
        "student": lambda: student_problem(CLASSICAL, small_network(), rows),
        "itself": lambda: student_problem(CLASSICAL, small_network(), rows, decay=0.9),
        "aligned": lambda: student_problem(CLASSICAL, small_network(), rows, align="2"),
        "cka": lambda: student_problem(CLASSICAL, small_network(), rows, align="2", align_loss="cka"),
        "divided": lambda: divided(0),
        "divided seeded": lambda: divided(2),
        "measured": lambda: student_problem(
            HYBRID, small_network(), rows, execution=Execution("parameter-shift", 0)
        ),
        "dropout": lambda: our_problem(Normalised(0.5), rows),
    }[kind]()


def divided(seeded: int) -> Problem:
    """Eight circuits of 6 layers, of which the first ones are seeded; each process runs a part of them."""
    module, rows = small_network(), digits()
    layout = layout_of(module)
    circuit = CircuitSpec("real-amplitudes", "cnot-ring", qubits_for(layout.generated, 8), 6, 8)
    plan = plan_of(GeneratorSpec(circuit, MappingSpec("linear"), layout, AngleCoding(32, 0, seeded)))
    given = method_problem(OURS, module, plan, rows)

    def begin(fit: FitSettings) -> Generated:
        trainee, ranks = given.begin(fit), present()
        if ranks.several:
            trainee.circuits = DividedCircuits(circuit, seeded, ranks)
        return trainee

    return replace(given, begin=begin)


def normalised() -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The whole batch's gradient of layers with batch statistics, and their buffers, by this one's share."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.BatchNorm2d(8, affine=False), nn.Flatten(),
        nn.Linear(8 * 16, 5), nn.BatchNorm1d(5, momentum=None),
    )  # fmt: skip
    draw, ranks = torch.Generator().manual_seed(1), present()
    inputs, targets = torch.randn(7, 3, 6, 6, generator=draw) + 5, torch.randn(7, 5, generator=draw)
    with SharedStatistics(ranks) if ranks.several else nullcontext():
        outputs = module(inputs[ranks.share])
    ((outputs - targets[ranks.share]).square().sum() / 7).backward()
    gradient = torch.cat([part.grad.flatten() for part in module.parameters()])
    return ranks.summed(gradient) if ranks.several else gradient, list(module.buffers())


def normalised_halves(affine: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """The gradient of this one's rows of bfloat16, (rows, C, H, W), and the layer's buffers."""
    draw, ranks = torch.Generator().manual_seed(1), present()
    whole = (torch.randn(7, 3, 31, 31, generator=draw) + 5).bfloat16()
    slope = torch.randn(7, 3, 31, 31, generator=draw).bfloat16()
    layer, own = nn.BatchNorm2d(3, affine=affine), whole[ranks.share].clone().requires_grad_()
    with SharedStatistics(ranks) if ranks.several else nullcontext():
        outputs = layer(own)
    outputs.backward(slope[ranks.share])
    assert own.grad is not None and own.grad.dtype == outputs.dtype == torch.bfloat16
    return own.grad.float(), list(layer.buffers())


def scripted() -> list[str]:
    """What is said of TorchScript with batch statistics, and without."""
    layers = (nn.BatchNorm1d(3), nn.Linear(3, 3))
    return [_said_of(nn.Sequential(nn.ReLU(), torch.jit.script(layer))) for layer in layers]


def _said_of(module: nn.Module) -> str:
    try:
        check_shared(module)
    except UsageError as error:
        return error.message
    return ""


def aside() -> list[float]:
    """What a step's own stream gives in this process."""
    with Exchange(present(), [], 0).around_step(5):
        return torch.rand(3).tolist()


def started_by() -> tuple[int, int]:
    """Who has started this process, as it was when all met and as it is."""
    return present().parent, os.getppid()


def summed() -> float:
    return present().summed(torch.tensor([present().rank + 1.0])).item()


def gathered() -> tuple[list[float], list[float]]:
    """Seven numbers of three processes, and the gradient of half the sum of their squares in each."""
    own = torch.arange(7.0)[present().block(7)].requires_grad_()
    whole = present().gathered(own, 7)
    (whole.square().sum() / 2).backward()
    return whole.tolist(), own.grad.tolist()


def led() -> tuple[str, str]:
    """What rank 0 found, and raised."""
    found = present().led(lambda: f"from {present().rank}")
    try:
        present().led(_refusing)
    except Refused as error:
        return found, f"{type(error).__name__}: {error.message}; {error.advice}"
    return found, ""


def spread() -> list[list[int]]:
    """Rank 0's tensors of kinds that gloo does not know, one of them not contiguous."""
    rows = torch.arange(6, dtype=torch.int16).reshape(2, 3).t()
    given = [
        rows,
        torch.tensor(True),
        torch.tensor([7], dtype=torch.uint16),
        torch.zeros(0, dtype=torch.int16),
    ]
    if not present().first:
        given = [torch.zeros_like(one) for one in given]
    present().spread(given)
    return [one.flatten().tolist() for one in given]


def _refusing() -> None:
    raise Refused("no", "ask")


def failing() -> str:
    """Rank 1 leaves, rank 0 waits for it."""
    if not present().first:
        return "gone"
    try:
        present().summed(torch.zeros(1))
    except ProcessEnded as error:
        return error.message
    return ""


def leaving(rank_0_fails: bool) -> tuple[float, float]:
    """When this process is done, and when it may leave; rank 0 is done, or gone, a while after rank 1."""
    if present().first:
        time.sleep(0.7)
    done = time.monotonic()
    if not (present().first and rank_0_fails):
        leave_together()
    return done, time.monotonic()


def fitted(kind: str, folder: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The numbers, state, course and score that a training leaves, as this process has them."""
    given, seen = problem(kind), []
    fit = FitSettings(**{"epochs": 2, "batch_size": 50, "lr": given.rate.lr, "device": "cpu", **settings})
    trainee = given.begin(fit)
    course = given.course(fit, trainee)
    assert isinstance(course.batches, RowBatches)
    course = replace(course, batches=replace(course.batches, ranks=present()))
    recovery = Recovery(Path(folder) / "run.ckpt", IDENTITY, False)
    found = train(trainee, course, fit, given.rate, recovery, seen.append)
    return {
        "numbers": {name: part.detach().clone() for name, part in trainee.parameters().items()},
        "state": {name: part.clone() for name, part in trainee.state().items()},
        "course": found.history,
        "score": found.score,
        "shown": [(step.loss, step.score, step.validation) for step in seen],
    }
