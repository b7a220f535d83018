"""Ours as a method: a grid whose numbers are those the file regenerates, plans that are specs, a start of its
own."""

import pytest
import torch
from artifacts import spec_of
from torch import nn
from trainees import scene_of

from qtrain_cli.artifact.numbers import Coded, StoredNumbers
from qtrain_cli.methods.generator import method
from qtrain_cli.methods.generator import plan as plans
from qtrain_cli.methods.generator.angles import angle_codes, angles_fit, finest_step, movement, start_angles
from qtrain_cli.methods.generator.generator import Generator
from qtrain_cli.methods.generator.method import METHOD, ROUND_FROM
from qtrain_cli.methods.generator.plan import ANGLES, MAPPING, plan_of
from qtrain_cli.runs.regenerate import stored_angles
from qtrain_cli.training.rounding import straight_through

SPEC = spec_of(layers=40, bits=4, ansatz="efficient-su2")
PLAN, GRID = plan_of(SPEC), METHOD.grid
ANY = float("inf")


def angles_of(spec, size=0.1, seed=0):
    """Angles that moved by so much, float32 as in training."""
    random = torch.Generator().manual_seed(seed)
    start = start_angles(spec.circuit, spec.angles.start_seed)
    return (start + size * torch.randn(start.shape, generator=random, dtype=torch.float64)).float()


def moved(theta, spec=SPEC):
    return movement(theta, start_angles(spec.circuit, spec.angles.start_seed))


def step_for(theta, plan=PLAN):
    return GRID.fit(plan, {ANGLES: theta}, ANY)[ANGLES]


def settled(theta, step, plan=PLAN):
    return GRID.settle(plan, {ANGLES: theta}, {ANGLES: step} if step else {}, ANY)[ANGLES]


def rounded(theta, step, plan=PLAN):
    codes = GRID.coded(plan, ANGLES, theta, step)
    return straight_through(theta, GRID.decoded(plan, ANGLES, codes, step))


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_the_value_is_what_the_file_regenerates(bits):
    spec = spec_of(layers=40, bits=bits, ansatz="efficient-su2")
    theta, plan = angles_of(spec), plan_of(spec)
    step = step_for(theta, plan)
    codes = angle_codes(moved(theta, spec), step)
    stored = stored_angles(spec, StoredNumbers({MAPPING: torch.zeros(2), ANGLES: Coded(codes, step)}, {}))
    assert torch.equal(GRID.coded(plan, ANGLES, theta, step), codes)
    assert torch.equal(rounded(theta, step, plan), stored.float())
    assert torch.equal(rounded(theta.double(), step, plan), stored)
    assert bits == 16 or not torch.equal(stored.float(), theta)


def test_the_gradient_passes_as_if_nothing_had_been_rounded():
    theta = angles_of(SPEC).requires_grad_()
    factors = torch.arange(float(theta.numel())).view(theta.shape)
    (rounded(theta, step_for(theta)) * factors).sum().backward()
    assert torch.equal(theta.grad, factors)


def test_an_angle_that_went_around_the_circle_is_stored_as_the_same_angle():
    theta = angles_of(SPEC)
    turned = theta + 2 * torch.pi
    torch.testing.assert_close(rounded(turned, 0.5), rounded(theta, 0.5))


def test_a_step_leaves_room_and_is_kept_while_the_codes_fit():
    theta = angles_of(SPEC)
    step = step_for(theta)
    assert step >= finest_step(moved(theta), 4)
    assert settled(theta, step) == step
    assert settled(angles_of(SPEC, 0.1005), step) == step


def test_a_step_is_fitted_anew_when_the_codes_no_longer_fit():
    far, step = angles_of(SPEC, 0.3), step_for(angles_of(SPEC))
    assert not angles_fit(angle_codes(moved(far), step).flatten().numpy(), 4)
    refitted = settled(far, step)
    assert refitted == finest_step(moved(far), 4) > 2 * step
    assert angles_fit(angle_codes(moved(far), refitted).flatten().numpy(), 4)


def test_a_state_that_was_never_rounded_is_stored_with_the_finest_step():
    theta = angles_of(SPEC)
    assert settled(theta, None) == settled(theta, 0.0) == finest_step(moved(theta), 4)


@pytest.mark.parametrize(("epochs", "first"), [(1, 1), (2, 2), (3, 2), (10, 8), (100, 80)])
def test_it_begins_late_and_never_with_the_first_epoch(epochs, first):
    assert GRID.first(PLAN, epochs) == first
    assert ROUND_FROM == 0.8


@pytest.mark.parametrize("epochs", [1, 2, 10])
def test_angles_that_are_stored_as_they_are_are_never_rounded(epochs):
    spec = spec_of(bits=32)
    plan, theta = plan_of(spec), angles_of(spec)
    assert GRID.first(plan, epochs) == epochs
    assert GRID.fit(plan, {ANGLES: theta}, ANY) == GRID.settle(plan, {ANGLES: theta}, {}, ANY) == {}
    assert not any(form.coded for form in METHOD.forms(spec.layout, plan).values())


def test_a_plan_is_its_spec():
    for spec in (SPEC, spec_of(circuits=2, mapping="mlp"), spec_of(bits=32, final_rotation=True)):
        assert plans.spec_of(spec.layout, plan_of(spec)) == spec


def test_it_starts_with_the_files_angles_and_a_mapping_of_the_seed():
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 4))
    scene = scene_of(module, torch.zeros(2, 4))
    plan = method.plan(scene, 3)
    begin = METHOD.start(scene, plan)
    spec = plans.spec_of(scene.layout, plan)
    assert torch.equal(begin[ANGLES], start_angles(spec.circuit, spec.angles.start_seed).float())
    assert {name: tuple(part.shape) for name, part in begin.items()} == {
        name: form.shape for name, form in METHOD.forms(scene.layout, plan).items()
    }
    assert plan["circuit"][3] == 3 and METHOD.whitened


@pytest.mark.parametrize("exact", [False, True])
def test_it_decodes_as_its_generator_does(exact):
    dtype = torch.float64 if exact else torch.float32
    decode = (METHOD.exact if exact else METHOD.decode)(SPEC.layout, PLAN, torch.device("cpu"))
    theta, mapping = angles_of(SPEC).to(dtype), torch.tensor([1.5, 0.25], dtype=dtype)
    expected = Generator(SPEC, torch.device("cpu"), dtype).tensors(theta, mapping)
    found = decode({ANGLES: theta, MAPPING: mapping})
    assert found.keys() == expected.keys()
    assert all(torch.equal(part, expected[name]) for name, part in found.items())
