"""A run's state through a checkpoint: every tensor, every moment, the schedule, the course, the streams."""

import json
import random

import numpy as np
import pytest
import torch
from trainees import CPU, KINDS, Toy, problem_of, toy_problem

from qtrain_cli.data import Normalisation
from qtrain_cli.errors import Refused
from qtrain_cli.files.checkpoint import load_checkpoint, save_checkpoint
from qtrain_cli.settings import FitSettings
from qtrain_cli.training import whitened
from qtrain_cli.training.batches import RowBatches
from qtrain_cli.training.descent import Rate, seed_generators, start_descent
from qtrain_cli.training.state import RunState, checkpoint_of, restore, trained

STEPS = 12
#: Trainees whose state is restored: one of each kind, and a toy with plain and with whitened descent.
RUNS = [*KINDS, "toy", "whitened toy"]


@pytest.fixture
def start(teacher, rows, monkeypatch):
    """``start(kind)``: a fresh run, whose eigenbases turn within their few steps."""
    monkeypatch.setattr(whitened, "FIRST", 2)
    monkeypatch.setattr(whitened, "EVERY", 3)

    def make(kind="whitened toy"):
        toy = kind.endswith("toy")
        problem = toy_problem(rows) if toy else problem_of(kind, teacher, rows)
        seed_generators(0)
        trainee = problem.begin(FitSettings())
        rate = Rate(0.1, kind == "whitened toy") if toy else problem.rate
        run = RunState(trainee, start_descent(tuple(trainee.parameters().values()), rate, STEPS))
        batches = RowBatches(problem.train, Normalisation(), 50, 0, CPU)
        return run, batches

    return make


def advance(begun, steps):
    """Steps that draw from every stream, move the trainee's state and the course, and find best states."""
    run, batches = begun
    for _ in range(steps):
        if run.step % 4 == 0 and run.trainee.begin(run.step // 4, 3):
            run.forget_best()
        noise = float(torch.rand(()) + random.random() + np.random.rand())
        batch = batches.at(run.step)
        outputs = run.trainee.outputs(batch)
        run.descent.optimizer.zero_grad()
        ((outputs.scores * noise).square().mean() + (outputs.penalty or 0)).backward()
        run.descent.step()
        run.step += 1
        run.loss += noise
        run.count_time(0.25)
        if run.step % 3 == 0:
            run.remember_best(noise)
            run.end_epoch(3, noise)


def everything(begun):
    checkpoint = checkpoint_of(begun[0], {})
    tensors = {name: tensor.numpy().tobytes() for name, tensor in checkpoint.tensors.items()}
    return tensors, json.dumps(checkpoint.state, sort_keys=True)  # as text: the run goes on with its lists


@pytest.mark.parametrize(
    ("kind", "cut"),
    [(kind, cut) for kind in RUNS for cut in (0, 1, 3, 7, STEPS) if kind not in KINDS or cut % 3]
    + [("ours", 0), ("rival", 3), ("student", STEPS)],
)
def test_a_restored_run_is_the_same_and_goes_on_the_same(start, tmp_path, kind, cut):
    whole = start(kind)
    advance(whole, cut)
    save_checkpoint(tmp_path / "a.ckpt", checkpoint_of(whole[0], {}))
    there = everything(whole)
    advance(whole, STEPS - cut)
    end = everything(whole)
    again = start(kind)
    torch.rand(5), random.random(), np.random.rand()
    restore(again[0], load_checkpoint(tmp_path / "a.ckpt", {}))
    assert everything(again) == there
    advance(again, STEPS - cut)
    assert everything(again) == end
    assert end != there or cut == STEPS
    assert again[0].step == STEPS and trained(again[0]).seconds == 0.25 * STEPS


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_names_parameters_and_state_of_the_run_and_of_the_best(start, kind):
    run = start(kind)
    advance(run, 3)
    names = {name for name in checkpoint_of(run[0], {}).tensors if name.partition(".")[0] in ("run", "best")}
    trainee = run[0].trainee
    own = {f"parameter.{name}" for name in trainee.parameters()} | {
        f"state.{name}" for name in trainee.state()
    }
    assert names == {f"{part}.{name}" for part in ("run", "best") for name in own}
    state = checkpoint_of(run[0], {}).state
    assert set(state) == {
        "step", "best_score", "history", "loss", "timed", "seconds", "best_epoch", "group",
        "schedule",
    }  # fmt: skip


def put(part, name, value):
    """A change of one tensor or of one value of a checkpoint's state."""
    return lambda checkpoint: getattr(checkpoint, part).__setitem__(name, value)


def drop(part, name):
    return lambda checkpoint: getattr(checkpoint, part).pop(name)


@pytest.mark.parametrize(
    "change",
    [
        put("tensors", "foo", torch.ones(1)),
        put("tensors", "run.parameter.theta", torch.ones(1, 1, 1, 1)),
        put("tensors", "run.parameter.shift", torch.ones(10).double()),
        put("tensors", "best.parameter.theta", torch.ones(3)),
        put("tensors", "best.state.count", torch.ones(())),
        put("tensors", "adam.0.exp_avg", torch.ones(3)),
        put("tensors", "adam.9.step", torch.ones(())),
        put("tensors", "random.torch", torch.ones(3)),
        put("tensors", "random.python", torch.ones(3, dtype=torch.int64)),
        drop("tensors", "run.parameter.theta"),
        drop("tensors", "run.state.mean"),
        drop("tensors", "best.parameter.shift"),
        drop("state", "step"),
        drop("state", "history"),
        put("state", "step", "3"),
        put("state", "step", -(10**9)),
        put("state", "step", 10**9),
        put("state", "best_score", "x"),
        put("state", "best_score", None),
        put("state", "best_epoch", 9),
        put("state", "best_epoch", "1"),
        put("state", "best_epoch", True),
        put("state", "history", {}),
        put("state", "group", {}),
        put("state", "group", {"lr": "x", "betas": [1.0]}),
        lambda checkpoint: checkpoint.state["group"].update(betas=[0.9, 1.5]),
        put("state", "schedule", []),
        put("state", "schedule", {"optimizer": 1}),
        lambda checkpoint: checkpoint.state["schedule"].update(total_steps=1),
        put("state", "history", [[1.0]]),
        put("state", "history", [[1.0, None]]),
        put("state", "history", 3),
        put("state", "loss", "0"),
        put("state", "seconds", None),
        put("state", "timed", 1.5),
        put("state", "timed", True),
    ],
)
@pytest.mark.parametrize("kind", ["toy", "whitened toy"])
def test_what_no_run_saves_is_refused(start, kind, change):
    run = start(kind)
    advance(run, 4)
    checkpoint = checkpoint_of(run[0], {})
    restore(start(kind)[0], checkpoint)  # as it is, it passes
    saved = dict(checkpoint.tensors)
    change(checkpoint)
    streams = any(
        part is not saved.get(name) for name, part in checkpoint.tensors.items() if "random" in name
    )
    fresh = start(kind)
    before = {name: part.clone() for name, part in fresh[0].current().items()}
    with pytest.raises(Refused, match="the checkpoint holds what no run saves") as caught:
        restore(fresh[0], checkpoint)
    assert caught.value.exit_code == 4
    now = fresh[0].current()
    assert streams or all(torch.equal(now[name], part) for name, part in before.items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_of_another_kind_is_refused(start, kind):
    run = start(kind)
    advance(run, 4)
    checkpoint = checkpoint_of(run[0], {})
    for other in KINDS:
        if other != kind:
            with pytest.raises(Refused, match="the checkpoint holds what no run saves"):
                restore(start(other)[0], checkpoint)


@pytest.mark.parametrize("kind", RUNS)
def test_what_is_found_is_the_best_state_and_not_the_present_one(start, kind):
    begun = start(kind)
    advance(begun, 3)
    run = begun[0]
    best = {name: part.clone() for name, part in run.current().items()}
    advance(begun, 2) if kind != "rival" else advance(begun, 1)
    found = trained(run)
    stored = {f"parameter.{name}": part for name, part in found.parameters.items()}
    stored |= {f"state.{name}": part for name, part in found.state.items()}
    if run.best:  # a method that has come onto its grid begins anew
        assert stored.keys() == best.keys()
        assert all(torch.equal(part, best[name]) for name, part in stored.items())
        assert any(not torch.equal(part, run.current()[name]) for name, part in stored.items())
    else:
        assert run.best_score is None


def test_what_was_best_can_be_forgotten(start):
    run = start()[0]
    run.remember_best(9.0)
    run.forget_best()
    assert run.best_score is None and run.best == {} and trained(run).score is None
    run.remember_best(1.0)
    assert trained(run).score == 1.0


def test_the_best_epoch_is_known_after_a_restart_though_later_ones_were_as_good(start):
    begun, again = start(), start()[0]
    advance(begun, 3)
    run = begun[0]
    run.end_epoch(3, run.best_score)
    checkpoint = checkpoint_of(run, {})
    restore(again, checkpoint)
    assert run.best_epoch == again.best_epoch == 1
    del checkpoint.state["best_epoch"]  # as before version 0.7.0
    restore(again, checkpoint)
    assert again.best_epoch == 0
    run.forget_best()
    assert run.best_epoch == 0


def test_a_checkpoint_without_a_best_state_goes_on_without_one(start):
    begun = start()
    advance(begun, 2)
    checkpoint = checkpoint_of(begun[0], {})
    again = start()[0]
    restore(again, checkpoint)
    assert again.best_score is None and again.best == {}


def test_without_a_best_state_it_is_the_present_one(start):
    begun = start()
    advance(begun, 2)
    run = begun[0]
    found = trained(run)
    assert torch.equal(found.parameters["theta"], run.trainee.theta) and found.state["count"] == 2
    found.parameters["theta"].zero_()
    found.state["count"].zero_()
    assert run.trainee.theta.abs().sum() > 0 and run.trainee.count == 2


def test_times_and_epochs_add_up():
    toy = Toy()
    run = RunState(toy, start_descent(tuple(toy.parameters().values()), Rate(0.1), STEPS))
    assert trained(run).seconds is None and trained(run).history == ()
    run.count_time(None)
    for seconds in (1.0, 3.0):
        run.count_time(seconds)
    run.step, run.loss = 3, 6.0
    run.end_epoch(3, 0.5)
    # Two timed steps of two seconds on the average, and one that was not.
    assert trained(run).seconds == 6.0 and trained(run).history == ((2.0, 0.5),) and run.loss == 0
