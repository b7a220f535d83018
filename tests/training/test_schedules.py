"""Schedules of the learning rate: as PyTorch's own, through a checkpoint, and nothing strange out of one."""

import copy
import json
import math

import pytest
import torch

from qtrain_cli.settings.fit import CONSTANT, ONE_CYCLE, PLATEAU, SCHEDULES
from qtrain_cli.training.descent import Rate, start_descent
from qtrain_cli.training.schedules import HALVED, PATIENCE

STEPS, PEAK = 30, 0.1
#: Mean losses of epochs that do not fall for long.
LOSSES = [3.0, 2.0, *[2.0] * 8, 1.0, *[1.5] * 7]


def started(schedule, **more):
    theta = torch.linspace(-1, 1, 6).requires_grad_()
    return start_descent((theta,), Rate(PEAK, schedule=schedule, **more), STEPS)


def gone(descent, losses):
    """Two steps an epoch; the rates after each of them."""
    rates = []
    for loss in losses:
        for _ in range(2):
            descent.optimizer.zero_grad()
            descent.trained[0].sin().square().sum().backward()
            descent.step()
        descent.schedule.end_epoch(loss)
        rates.append(descent.optimizer.param_groups[0]["lr"])
    return rates


def test_a_plateau_halves_the_rate_as_pytorch_does():
    own = torch.optim.SGD([torch.zeros(1)], PEAK)
    reference = torch.optim.lr_scheduler.ReduceLROnPlateau(own, factor=HALVED, patience=PATIENCE)
    expected = []
    for loss in LOSSES[:15]:
        reference.step(loss)
        expected.append(own.param_groups[0]["lr"])
    assert gone(started(PLATEAU), LOSSES[:15]) == expected
    assert expected[-1] == PEAK / 2


def test_a_constant_rate_stays():
    assert set(gone(started(CONSTANT), LOSSES[:15])) == {PEAK}


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("cut", [0, 1, 9, 12])
def test_what_was_saved_goes_on_the_same_way(schedule, cut):
    whole = started(schedule)
    gone(whole, LOSSES[:cut])
    state = json.loads(json.dumps(whole.schedule.state()))
    rate, moments = whole.optimizer.param_groups[0]["lr"], copy.deepcopy(whole.optimizer.state_dict())
    place = whole.trained[0].detach().clone()
    again = started(schedule)
    again.schedule.check(2 * cut, state, rate)
    again.trained[0].detach().copy_(place)
    again.optimizer.load_state_dict(moments)  # with the betas, which one cycle moves too
    again.schedule.restore(state)
    rates = gone(whole, LOSSES[cut:14])
    assert gone(again, LOSSES[cut:14]) == rates
    assert torch.equal(again.trained[0], whole.trained[0])


@pytest.mark.parametrize(
    ("schedule", "state", "lr"),
    [
        (PLATEAU, {}, PEAK),
        (PLATEAU, {"best": 1.0, "num_bad_epochs": 6, "last_epoch": 8}, PEAK),
        (PLATEAU, {"best": 1.0, "num_bad_epochs": 3, "last_epoch": 2}, PEAK),
        (PLATEAU, {"best": 1.0, "num_bad_epochs": 1, "last_epoch": 99}, PEAK),
        (PLATEAU, {"best": "x", "num_bad_epochs": 1, "last_epoch": 2}, PEAK),
        (PLATEAU, {"best": 1.0, "num_bad_epochs": True, "last_epoch": 2}, PEAK),
        (PLATEAU, {"best": 1.0, "num_bad_epochs": 1, "last_epoch": 2}, PEAK / 3),
        (PLATEAU, {"best": 1.0, "num_bad_epochs": 1, "last_epoch": 2}, 2 * PEAK),
        (PLATEAU, {"best": 1.0, "num_bad_epochs": 1, "last_epoch": 2}, 0.0),
        (PLATEAU, [], PEAK),
        (CONSTANT, {"a": 1}, PEAK),
        (CONSTANT, {}, PEAK / 2),
        (ONE_CYCLE, {}, PEAK),
    ],
)
def test_what_no_run_saves_is_found(schedule, state, lr):
    with pytest.raises(ValueError, match="a schedule of another run"):
        started(schedule).schedule.check(10, state, lr)


def test_a_first_plateau_has_seen_no_loss():
    state = started(PLATEAU).schedule.state()
    assert state == {"best": math.inf, "num_bad_epochs": 0, "last_epoch": 0}


@pytest.mark.parametrize("whitened", [False, True])
def test_decay_adds_a_share_of_each_number_to_its_gradient(whitened):
    plain, decayed = started(CONSTANT, whitened=whitened), started(CONSTANT, whitened=whitened, decay=0.5)
    gradient = torch.tensor([0.3, -0.2, 0.1, 0.0, 0.4, -0.5])
    for descent, share in ((plain, 0.5), (decayed, 0.0)):
        theta = descent.trained[0]
        theta.grad = gradient + share * theta.detach()
        descent.step()
    torch.testing.assert_close(plain.trained[0], decayed.trained[0])
