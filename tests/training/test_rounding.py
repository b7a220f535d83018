"""Rounding in the loop: the value is what the file regenerates, the gradient is the identity, codes fit."""

import pytest
import torch
from artifacts import spec_of

from qtrain_cli.artifact.numbers import StoredNumbers
from qtrain_cli.methods.generator.angles import angle_codes, angles_fit, finest_step, start_angles
from qtrain_cli.runs.regenerate import stored_angles
from qtrain_cli.training.rounding import ROUND_FROM, Rounding

SPEC = spec_of(layers=40, bits=4, ansatz="efficient-su2")


def angles_of(spec, size=0.1, seed=0):
    """Angles that moved by so much, float32 as in training."""
    random = torch.Generator().manual_seed(seed)
    start = start_angles(spec.circuit, spec.angles.start_seed)
    return (start + size * torch.randn(start.shape, generator=random, dtype=torch.float64)).float()


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_the_value_is_what_the_file_regenerates(bits):
    spec = spec_of(layers=40, bits=bits, ansatz="efficient-su2")
    theta, rounding = angles_of(spec), Rounding(spec, 10)
    step = rounding.step_for(theta)
    codes = angle_codes(rounding.moved(theta), step)
    stored = stored_angles(spec, StoredNumbers(codes, step, torch.zeros(2), {}))
    assert torch.equal(rounding.rounded(theta, step), stored.float())
    assert torch.equal(rounding.rounded(theta.double(), step), stored)
    assert bits == 16 or not torch.equal(stored.float(), theta)


def test_the_gradient_passes_as_if_nothing_had_been_rounded():
    theta, rounding = angles_of(SPEC).requires_grad_(), Rounding(SPEC, 10)
    factors = torch.arange(float(theta.numel())).view(theta.shape)
    (rounding.rounded(theta, rounding.step_for(theta)) * factors).sum().backward()
    assert torch.equal(theta.grad, factors)


def test_an_angle_that_went_around_the_circle_is_stored_as_the_same_angle():
    rounding, theta = Rounding(SPEC, 10), angles_of(SPEC)
    turned = theta + 2 * torch.pi
    torch.testing.assert_close(rounding.rounded(turned, 0.5), rounding.rounded(theta, 0.5))


def test_a_step_leaves_room_and_is_kept_while_the_codes_fit():
    rounding, theta = Rounding(SPEC, 10), angles_of(SPEC)
    step = rounding.step_for(theta)
    assert step >= finest_step(rounding.moved(theta), 4)
    assert rounding.refitted(theta, step) == step
    assert rounding.refitted(angles_of(SPEC, 0.1005), step) == step


def test_a_step_is_fitted_anew_when_the_codes_no_longer_fit():
    rounding, moved = Rounding(SPEC, 10), angles_of(SPEC, 0.3)
    step = rounding.step_for(angles_of(SPEC))
    assert not angles_fit(angle_codes(rounding.moved(moved), step).flatten().numpy(), 4)
    refitted = rounding.refitted(moved, step)
    assert refitted == finest_step(rounding.moved(moved), 4) > 2 * step
    assert angles_fit(angle_codes(rounding.moved(moved), refitted).flatten().numpy(), 4)


@pytest.mark.parametrize(("epochs", "first"), [(1, 1), (2, 2), (3, 2), (10, 8), (100, 80)])
def test_it_begins_late_and_never_with_the_first_epoch(epochs, first):
    assert Rounding(SPEC, epochs).first == first
    assert ROUND_FROM == 0.8


@pytest.mark.parametrize("epochs", [1, 2, 10])
def test_angles_that_are_stored_as_they_are_are_never_rounded(epochs):
    assert Rounding(spec_of(bits=32), epochs).first == epochs
