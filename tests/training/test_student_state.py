"""A student's state through a checkpoint: parameters, running average, course; and what no run saves."""

import json
import random

import numpy as np
import pytest
import torch
from qtrain_cli.training.student_state import checkpoint_of, restore, start_student

from qtrain_cli.errors import Refused
from qtrain_cli.files.checkpoint import load_checkpoint, save_checkpoint
from qtrain_cli.settings import FitSettings

STEPS = 8


@pytest.fixture
def start():
    def make(average=True):
        parameters = {"student.weight": torch.ones(2, 3), "projection.weight": torch.ones(4)}
        parameters = {name: tensor.requires_grad_() for name, tensor in parameters.items()}
        return start_student(parameters, FitSettings(lr=0.1, device="cpu"), STEPS, average)

    return make


def advance(run, steps):
    """Steps that draw from every stream, move the average and the course, and find best states."""
    for _ in range(steps):
        noise = torch.rand(()) + random.random() + np.random.rand()
        run.descent.optimizer.zero_grad()
        sum((tensor * noise).sin().sum() for tensor in run.parameters.values()).backward()
        run.descent.step()
        run.step += 1
        run.evaluations += 10
        run.loss += float(noise)
        run.count_time(0.25)
        for name, tensor in run.student().items():
            if run.mean:
                run.mean[name].lerp_(tensor, 0.5)
        if run.step % 3 == 0:
            run.remember_best(float(noise))
            run.history.append([run.loss, float(noise)])


def everything(run):
    checkpoint = checkpoint_of(run, {})
    tensors = {name: tensor.numpy().tobytes() for name, tensor in checkpoint.tensors.items()}
    return tensors, json.dumps(checkpoint.state, sort_keys=True)  # as text: the run goes on with its lists


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("cut", [0, 2, 4, STEPS])
def test_a_restored_run_is_the_same_and_goes_on_the_same(start, tmp_path, cut, average):
    whole = start(average)
    advance(whole, cut)
    save_checkpoint(tmp_path / "a.ckpt", checkpoint_of(whole, {}))
    there = everything(whole)
    advance(whole, STEPS - cut)
    again = start(average)
    torch.rand(5), random.random(), np.random.rand()
    restore(again, load_checkpoint(tmp_path / "a.ckpt", {}))
    assert everything(again) == there
    advance(again, STEPS - cut)
    assert everything(again) == everything(whole)
    assert again.step == STEPS and again.seconds_of(4) == 1.0 and again.result().keys() == {"weight"}


def put(part, name, value):
    return lambda checkpoint: getattr(checkpoint, part).__setitem__(name, value)


@pytest.mark.parametrize(
    "change",
    [
        put("tensors", "run.student.weight", torch.ones(3)),
        put("tensors", "best.projection.weight", torch.ones(4)),
        lambda checkpoint: checkpoint.tensors.pop("mean.weight"),
        put("tensors", "random.torch", torch.ones(3)),
        lambda checkpoint: checkpoint.state.pop("history"),
        put("state", "step", 10**9),
        put("state", "history", [[1.0]]),
        put("state", "history", [[1.0, None]]),
        put("state", "loss", "0"),
        put("state", "seconds", None),
        put("state", "evaluations", 1.5),
        put("state", "timed", True),
    ],
)
def test_what_no_run_saves_is_refused(start, change):
    run = start()
    advance(run, 4)
    checkpoint = checkpoint_of(run, {})
    restore(start(), checkpoint)  # as it is, it passes
    change(checkpoint)
    with pytest.raises(Refused, match="the checkpoint holds what no run saves") as caught:
        restore(start(), checkpoint)
    assert caught.value.exit_code == 4
