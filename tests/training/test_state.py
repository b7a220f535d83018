"""A run's state through a checkpoint: every tensor, every moment, the schedule, the random streams."""

import random

import numpy as np
import pytest
import torch

from qtrain_cli.errors import Refused
from qtrain_cli.files.checkpoint import load_checkpoint, save_checkpoint
from qtrain_cli.methods.generator.spec import AngleCoding, GeneratorSpec, MappingSpec
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.settings import FitSettings, GradientSettings
from qtrain_cli.targets.layout import layout_of
from qtrain_cli.training import whitened
from qtrain_cli.training.state import checkpoint_of, restore, start_state
from qtrain_cli.training.whitened import WhitenedAdam

STEPS = 12


def started(seed=0, gradient=GradientSettings()):  # noqa: B008
    layout = layout_of(torch.nn.Linear(4, 4))
    circuit = CircuitSpec("real-amplitudes", "cnot-ring", 5, 2)
    spec = GeneratorSpec(circuit, MappingSpec("mlp", 2), layout, AngleCoding(32, 7))
    buffers = {"mean": torch.zeros(3), "count": torch.tensor(0)}
    return start_state(spec, buffers, FitSettings(seed=seed, device="cpu", gradient=gradient), STEPS)


@pytest.fixture
def start(monkeypatch):
    """Runs whose eigenbases turn within their few steps."""
    monkeypatch.setattr(whitened, "FIRST", 2)
    monkeypatch.setattr(whitened, "EVERY", 3)
    return started


@pytest.mark.parametrize(
    ("gradient", "plain"),
    [
        (GradientSettings(), False),
        (GradientSettings("parameter-shift"), False),
        (GradientSettings("finite-difference"), False),
        (GradientSettings("parameter-shift", shots=100), True),
        (GradientSettings("spsa"), True),
    ],
)
def test_rough_gradients_descend_by_plain_adam(gradient, plain):
    """What is noise in them would be taken for what makes the loss steep."""
    optimizer = started(gradient=gradient).descent.optimizer
    assert isinstance(optimizer, torch.optim.Adam if plain else WhitenedAdam)


def advance(run, steps):
    """Steps that draw from every stream, change the buffers and find best states."""
    for _ in range(steps):
        noise = torch.rand(()) + random.random() + np.random.rand()
        loss = (run.theta * noise).sin().sum() + run.numbers.square().sum() * noise
        run.descent.optimizer.zero_grad()
        loss.backward()
        run.descent.step()
        run.step += 1
        run.keep_buffers({"mean": run.buffers["mean"] + noise, "count": run.buffers["count"].add_(1)})
        if run.step >= 6:
            run.round_with(run.step / 64)
        if run.step % 3 == 0:
            run.remember_best(float(noise))


def everything(run):
    checkpoint = checkpoint_of(run, {})
    tensors = {name: tensor.numpy().tobytes() for name, tensor in checkpoint.tensors.items()}
    return tensors, checkpoint.state


@pytest.mark.parametrize("cut", [0, 1, 3, 7, STEPS])
def test_a_restored_run_is_the_same_and_goes_on_the_same(start, tmp_path, cut):
    whole = start()
    advance(whole, cut)
    save_checkpoint(tmp_path / "a.ckpt", checkpoint_of(whole, {}))
    there = everything(whole)
    advance(whole, STEPS - cut)
    end = everything(whole)
    again = start()
    torch.rand(5), random.random(), np.random.rand()
    restore(again, load_checkpoint(tmp_path / "a.ckpt", {}))
    assert everything(again) == there
    advance(again, STEPS - cut)
    assert everything(again) == end
    assert end != there or cut == STEPS


def put(part, name, value):
    """A change of one tensor or of one value of a checkpoint's state."""
    return lambda checkpoint: getattr(checkpoint, part).__setitem__(name, value)


@pytest.mark.parametrize(
    "change",
    [
        put("tensors", "foo", torch.ones(1)),
        put("tensors", "run.theta", torch.ones(1, 1, 1, 1)),
        put("tensors", "best.theta", torch.ones(3)),
        put("tensors", "adam.0.exp_avg", torch.ones(3)),
        put("tensors", "adam.9.step", torch.ones(())),
        put("tensors", "random.torch", torch.ones(3)),
        put("tensors", "random.python", torch.ones(3, dtype=torch.int64)),
        lambda checkpoint: checkpoint.tensors.pop("run.numbers"),
        lambda checkpoint: checkpoint.state.pop("step"),
        put("state", "step", "3"),
        put("state", "step", -(10**9)),
        put("state", "step", 10**9),
        put("state", "best_score", "x"),
        put("state", "group", {}),
        put("state", "group", {"lr": "x", "betas": [1.0]}),
        put("state", "schedule", []),
        put("state", "schedule", {"optimizer": 1}),
        lambda checkpoint: checkpoint.state["schedule"].update(total_steps=1),
    ],
)
def test_what_no_run_saves_is_refused(start, change):
    run = start()
    advance(run, 3)
    checkpoint = checkpoint_of(run, {})
    change(checkpoint)
    with pytest.raises(Refused, match="the checkpoint holds what no run saves") as caught:
        restore(start(), checkpoint)
    assert caught.value.exit_code == 4


def test_what_is_fitted_is_the_best_state_and_not_the_present_one(start):
    run = start()
    advance(run, 3)
    best = run.theta.detach().clone()
    advance(run, 2)
    fitted = run.fitted()
    assert torch.equal(fitted.theta, best) and not torch.equal(run.theta, best)
    assert fitted.buffers["count"] == 3 and run.buffers["count"] == 5


def test_with_the_first_step_of_rounding_what_was_best_no_longer_counts(start):
    run = start()
    run.remember_best(9.0)
    assert run.fitted().grid == 0
    run.round_with(0.25)
    assert run.best_score is None and run.fitted().grid == 0.25
    run.remember_best(1.0)
    run.round_with(0.5)  # another step: what is best was rounded too
    assert run.best_score == 1.0 and run.fitted().grid == 0.25
    assert float(run.grid) == 0.5


def test_without_a_best_state_it_is_the_present_one(start):
    run = start()
    advance(run, 2)
    fitted = run.fitted()
    assert torch.equal(fitted.theta, run.theta) and fitted.buffers["count"] == 2
    fitted.theta.zero_()
    assert run.theta.abs().sum() > 0


def test_every_stream_starts_from_the_seed(start):
    def drawn(seed):
        start(seed)
        return torch.rand(2).tolist(), random.random(), np.random.rand()

    assert drawn(3) == drawn(3)
    assert all(one != other for one, other in zip(drawn(3), drawn(4), strict=True))


def test_the_buffers_given_are_copied(start):
    run = start()
    run.buffers["mean"].add_(1)
    assert start().buffers["mean"].sum() == 0
