"""The grid is the finest that fits, rounding lets the gradient through, a limit is kept."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qtrain_cli.files.groups import group_bits
from qtrain_cli.methods.grids import STRETCH, bits_of, codes_of, fine_steps, fit_steps, numbers_of
from qtrain_cli.methods.method import plain_grid
from qtrain_cli.training.rounding import straight_through


def numbers(*counts, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {str(n): torch.randn(count, generator=generator) * 10**n for n, count in enumerate(counts)}


def bits_at(given, steps, limit=0):
    return group_bits([codes_of(part, steps[name], limit).numpy() for name, part in given.items()])


@given(st.integers(200, 2200), st.integers(0, 3))
@settings(max_examples=30, deadline=None)
def test_the_finest_grid_that_fits_is_found(bits, seed):
    given = numbers(300, 20, seed=seed)
    steps, taken = fit_steps(given, 0, bits)
    assert taken == bits_at(given, steps) == bits_of(given, steps, 0)
    if taken > bits:  # not even the coarsest fits
        assert steps["0"] > 3 * float(given["0"].std())
        return
    finer = {name: step * 0.97 for name, step in steps.items()}
    more = bits_at(given, finer)
    # Sizes are not quite monotonic: each code that is new to the alphabet costs some tens of bits.
    assert taken <= bits and (bits < more + 40 or taken > 0.94 * bits)


def test_steps_follow_each_groups_size_and_are_what_a_file_holds():
    steps, _ = fit_steps(numbers(1000, 1000), 0, 6000)
    assert steps["1"] == pytest.approx(10 * steps["0"], rel=0.1)
    assert all(np.float16(step) == step for step in steps.values())


def test_zeros_do_not_make_the_grid_finer():
    dense = torch.randn(100, generator=torch.Generator().manual_seed(0))
    sparse = torch.cat([dense, torch.zeros(900)])
    assert fine_steps({"a": sparse}, 0) == fine_steps({"a": dense}, 0)
    assert fine_steps({"a": torch.zeros(5)}, 0) == {"a": 1.0}


def test_a_limited_grid_loses_least_and_stretches_by_half_at_most():
    given = numbers(2000)
    base = fine_steps(given, 1)["0"]
    assert base == pytest.approx(1.22, abs=0.15)  # the best ternary grid of a normal distribution (Max 1960)
    fits, _ = fit_steps(given, 1, 10**6)
    tight, taken = fit_steps(given, 1, 10)
    assert fits["0"] == pytest.approx(base, rel=1e-3) and taken > 10
    assert tight["0"] == pytest.approx(STRETCH * base, rel=1e-3)
    assert set(codes_of(given["0"], fits["0"], 1).tolist()) == {-1, 0, 1}


@pytest.mark.parametrize("shape", [(500,), (20, 25)])
def test_codes_come_back_as_the_rounded_numbers(shape):
    given = {name: part.view(shape) if len(part) == 500 else part for name, part in numbers(500, 30).items()}
    steps, _ = fit_steps(given, 0, 2500)
    for name, part in given.items():
        codes = codes_of(part, steps[name], 0)
        back = numbers_of(codes, steps[name])
        assert codes.dtype == torch.int64 and codes.shape == back.shape == part.shape
        torch.testing.assert_close(back, (part / steps[name]).round() * steps[name], rtol=1e-5, atol=1e-6)
        assert float((back - part).abs().max()) <= steps[name] * 0.501


@pytest.mark.parametrize("most", [0, 3])
def test_the_gradient_passes_as_if_nothing_was_rounded(most):
    """Past the largest code too."""
    tensor, grid = torch.tensor([0.3, 5.0, -900.0], requires_grad=True), plain_grid(0.4, lambda plan: most)
    codes = grid.coded({}, "a", tensor, 1.0)
    assert codes.tolist() == [0, min(5, most or 5), -(most or 127)]
    found = straight_through(tensor, grid.decoded({}, "a", codes, 1.0))
    (found * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert found.tolist() == codes.tolist()
    assert tensor.grad.tolist() == [1, 2, 3]


def test_a_scored_state_has_the_steps_that_fit_it_now():
    grid, given = plain_grid(), numbers(300, 20)
    expected, _ = fit_steps(given, 0, 1500)
    assert grid.fit({}, given, 1500) == grid.settle({}, given, {"0": 9.0, "1": 9.0}, 1500) == expected
