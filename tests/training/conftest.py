"""Tiny runs: real digits for classification, a smooth function for regression, seconds at most."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from trainees import (
    DIGITS,
    IDENTITY,
    TRAIN_ROWS,
    VALIDATION_ROWS,
    Fitted,
    Problem,
    our_problem,
    small_network,
)

from qtrain_cli.settings import FitSettings
from qtrain_cli.training.loop import Progress, train
from qtrain_cli.training.recovery import Clock, Recovery


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
    """``make_problem(module, **changes)``: ours on digits, or on what is `given`: inputs and targets."""

    def make(module: nn.Module, given: tuple[Tensor, Tensor] | None = None, **changes) -> Problem:
        return our_problem(module, given or rows, **changes)

    return make


@pytest.fixture
def every_step(monkeypatch) -> None:
    """A checkpoint after every step, whatever it costs."""
    monkeypatch.setattr(Clock, "due", lambda self: True)


@pytest.fixture
def run_fit(tmp_path) -> Callable[..., tuple[Fitted, list[Progress]]]:
    """``run_fit(problem, **settings)``: what is left, and every step as it was shown."""

    def run(problem: Problem, *, resume: bool = False, show=None, name: str = "run", **settings):
        seen: list[Progress] = []

        def both(progress: Progress) -> None:
            seen.append(progress)
            if show:
                show(progress)

        given = {"epochs": 2, "batch_size": 50, "lr": problem.rate.lr, "device": "cpu", **settings}
        fit = FitSettings(**given)
        trainee = problem.begin(fit)
        rate = replace(problem.rate, lr=fit.lr, whitened=problem.rate.whitened and not fit.gradient.rough)
        recovery = Recovery(tmp_path / f"{name}.ckpt", IDENTITY, resume)
        found = train(trainee, problem.course(fit, trainee), fit, rate, recovery, both)
        return Fitted(found, trainee), seen

    return run
