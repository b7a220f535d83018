"""Adam and its schedule: as PyTorch's own, through a checkpoint, and nothing strange out of one."""

import json
import random

import numpy as np
import pytest
import torch

from qtrain_cli.errors import BadInput, Refused
from qtrain_cli.training.descent import Rate, refusing_what_no_run_saves, seed_generators, start_descent
from qtrain_cli.training.whitened import WhitenedAdam

STEPS = 9


def tensors():
    return torch.linspace(-1, 1, 6).reshape(2, 3).requires_grad_(), torch.ones(4).requires_grad_()


def started(fused=None):
    return start_descent(tensors(), Rate(0.1, fused=fused), STEPS)


def descend(descent, steps):
    for _ in range(steps):
        descent.optimizer.zero_grad()
        sum(tensor.sin().square().sum() for tensor in descent.trained).backward()
        descent.step()


def kept(descent):
    return {"run": {str(place): tensor.detach() for place, tensor in enumerate(descent.trained)}}


def saved(descent, step, best=None):
    return descent.checkpoint(kept(descent), {"step": step, "best_score": best, "more": 1}, {"of": "a test"})


def test_its_steps_are_those_of_adam_with_one_cycle():
    descent, own = started(), tensors()
    optimizer = torch.optim.Adam(own, lr=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=STEPS + 1)
    rates = []
    for _ in range(STEPS):
        descend(descent, 1)
        rates.append(descent.optimizer.param_groups[0]["lr"])
        optimizer.zero_grad()
        sum(tensor.sin().square().sum() for tensor in own).backward()
        optimizer.step()
        schedule.step()
        assert rates[-1] == optimizer.param_groups[0]["lr"]
        assert all(map(torch.equal, descent.trained, own))
    assert max(rates) == pytest.approx(0.1, rel=0.05) and rates[-1] < rates[0] < max(rates)


@pytest.mark.parametrize("fused", [None, True])
@pytest.mark.parametrize("cut", [0, 1, 5, STEPS])
def test_what_a_checkpoint_brings_back_goes_on_to_the_same_bits(fused, cut):
    whole = started(fused)
    descend(whole, cut)
    checkpoint = saved(whole, cut)
    state = json.loads(json.dumps(checkpoint.state))
    held = {name: tensor.clone() for name, tensor in checkpoint.tensors.items()}
    descend(whole, STEPS - cut)
    again = started(fused)
    found = again.checked(type(checkpoint)(held, state, {}), kept(again))
    with torch.no_grad():
        for place, tensor in enumerate(again.trained):
            tensor.copy_(found["run"][str(place)])
    again.restore(found["adam"], state)
    descend(again, STEPS - cut)
    ends = (saved(whole, STEPS), saved(again, STEPS))
    assert ends[0].state == ends[1].state
    assert ends[0].tensors.keys() == ends[1].tensors.keys()
    assert all(torch.equal(tensor, ends[1].tensors[name]) for name, tensor in ends[0].tensors.items())


def test_a_checkpoint_names_its_tensors_by_kind():
    descent = started()
    first = saved(descent, 0)
    descend(descent, 1)
    later = saved(descent, 1, 0.5)
    moments = {f"adam.{place}.{name}" for place in (0, 1) for name in ("step", "exp_avg", "exp_avg_sq")}
    assert {name for name in first.tensors if not name.startswith("random.")} == {"run.0", "run.1"}
    assert later.tensors.keys() - first.tensors.keys() == moments
    assert set(later.state) == {"step", "best_score", "more", "group", "schedule"}
    assert later.state["best_score"] == 0.5 and later.identity == {"of": "a test"}


def put(part, name, value):
    return lambda checkpoint: getattr(checkpoint, part).__setitem__(name, value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (put("state", "step", True), "the step True"),
        (put("state", "step", -1), "the step -1"),
        (put("state", "step", STEPS + 1), f"the step {STEPS + 1}"),
        (put("state", "step", 2), "a schedule of another run"),
        (lambda checkpoint: checkpoint.state["schedule"].update(max_lrs=1), "a schedule of another run"),
        (lambda checkpoint: checkpoint.state["group"].update(lr=1e9), "a schedule of another run"),
        (lambda checkpoint: checkpoint.state["group"].update(betas=[0.9]), "that are no numbers"),
        (lambda checkpoint: checkpoint.state["group"].update(betas=[0.9, 1]), "that are no numbers"),
        (put("state", "best_score", "x"), "that are no numbers"),
        (put("tensors", "random", torch.ones(1)), "tensors of other names, shapes or dtypes"),
        (put("tensors", "worst.0", torch.ones(1)), "tensors of other names, shapes or dtypes"),
        (put("tensors", "run.0", torch.ones(3)), "tensors of other names, shapes or dtypes"),
        (put("tensors", "adam.0.exp_avg", torch.ones(2, 3).double()), "other names, shapes or dtypes"),
        (lambda checkpoint: checkpoint.tensors.pop("adam.1.step"), "other names, shapes or dtypes"),
    ],
)
def test_what_no_run_saves_is_found(change, said):
    descent = started()
    descend(descent, 3)
    checkpoint = saved(descent, 3)
    fresh = started()
    fresh.checked(checkpoint, kept(fresh))  # as it is, it passes
    change(checkpoint)
    with pytest.raises(ValueError, match=said):
        fresh.checked(checkpoint, kept(fresh))


def test_a_failure_inside_is_a_refusal_and_our_own_errors_pass():
    said = "holds what no run saves: KeyError: 'step'"
    with pytest.raises(Refused, match=said) as caught, refusing_what_no_run_saves():
        {}["step"]
    assert "--resume" in caught.value.advice
    with pytest.raises(BadInput, match="no CUDA"), refusing_what_no_run_saves():
        raise BadInput("no CUDA")


@pytest.mark.parametrize("whitened", [False, True])
def test_a_rate_says_what_descends(whitened):
    optimizer = start_descent(tensors(), Rate(0.1, whitened), STEPS).optimizer
    assert isinstance(optimizer, WhitenedAdam if whitened else torch.optim.Adam)


def test_every_generator_is_seeded():
    def drawn(seed):
        seed_generators(seed)
        return torch.rand(2).tolist(), random.random(), np.random.rand()

    assert drawn(3) == drawn(3)
    assert all(one != other for one, other in zip(drawn(3), drawn(4), strict=True))
