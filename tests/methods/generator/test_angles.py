"""The seeded start against an independent Philox; codes there and back; the finest step; rounding."""

import math

import format_weights
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qtrain_cli.files.codec import Row, best_spread, encode_rows
from qtrain_cli.files.message import message_bytes
from qtrain_cli.methods.generator.angles import (
    MAX_CODE,
    angle_codes,
    angles_fit,
    coded_angles,
    finest_step,
    movement,
    start_angles,
)
from qtrain_cli.quantum.circuit import CircuitSpec

CIRCUIT = CircuitSpec("efficient-su2", "cnot-ring", 3, 4, 2)


def test_the_oracle_gives_the_published_words():
    """The known answers of Random123's kat_vectors for philox4x64 with 10 rounds, counter and key 0."""
    assert format_weights.philox_block(0, 0) == [
        0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B,
    ]  # fmt: skip


@given(st.integers(0, 2**63 - 1))
@settings(max_examples=30, deadline=None)
def test_the_start_is_philox(seed):
    found = start_angles(CIRCUIT, seed)
    assert found.flatten().tolist() == format_weights.start_angles(seed, CIRCUIT.angles).tolist()
    assert found.shape == CIRCUIT.angle_shape and found.dtype == torch.float64


def test_the_start_never_changes():
    assert start_angles(CIRCUIT, 7).flatten()[:4].tolist() == [
        2.337806464519633, -1.2857572282128953, -0.5020410924128353, -0.5944380512352628,
    ]  # fmt: skip


def test_the_start_is_uniform_on_the_circle():
    found = start_angles(CircuitSpec("real-amplitudes", "cnot-ring", 20, 1000), 1)
    assert -math.pi <= found.min() < -3.14 and 3.14 < found.max() < math.pi
    assert abs(found.mean()) < 0.05 and abs(found.std() - math.pi / 3**0.5) < 0.05


@pytest.mark.parametrize("bits", range(2, 13))
@pytest.mark.parametrize("count", [1, 30, 3000, 33_000])
def test_the_finest_step_fits_and_one_a_little_finer_does_not(bits, count):
    moved = 0.1 * torch.randn(count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    step = finest_step(moved, bits)
    codes = angle_codes(moved, step)
    assert float(torch.tensor(step, dtype=torch.float32)) == step and angles_fit(
        codes.flatten().numpy(), bits
    )
    low, high = int(codes.min()), int(codes.max())
    row = Row(codes.numpy(), low, high, spread=best_spread(np.bincount(codes.numpy() - low), low))
    assert len(encode_rows([row])) <= message_bytes(count, bits)
    if count >= 3000 and bits < 11:
        assert not angles_fit(angle_codes(moved, 0.97 * step).numpy(), bits)


def test_heavy_tails_take_a_finer_step_than_a_fixed_grid_has():
    """What entropy coding is for: rare large movements do not make all steps coarse."""
    random = torch.Generator().manual_seed(2)
    moved = torch.randn(2000, generator=random, dtype=torch.float64) ** 3
    assert finest_step(moved, 5) < 0.25 * float(moved.abs().max()) / (2**4 - 1)


@given(
    moved=st.lists(st.floats(-math.pi, math.pi), min_size=8, max_size=8),
    step=st.floats(2**-20, 1, width=32),
)
@settings(max_examples=80, deadline=None)
def test_rounding_loses_at_most_half_a_step_inside_the_grid(moved, step):
    theta = torch.tensor(moved, dtype=torch.float64).view(2, 2, 2, 1)
    found = coded_angles(angle_codes(theta, step), step, torch.zeros_like(theta))
    edge = step * MAX_CODE
    assert bool(((found - theta.clamp(-edge, edge)).abs() <= step * 0.5 * (1 + 1e-12)).all())
    assert angle_codes(theta, step).shape == theta.shape


def test_angles_that_did_not_move_have_a_step():
    still = torch.zeros(1, 2, 2, 1)
    step = finest_step(still, 8)
    assert 0 < step < 1e-5 and angle_codes(still, step).tolist() == [[[[0], [0]], [[0], [0]]]]


def test_codes_are_rounded_half_to_even():
    moved = torch.tensor([0.25, -0.25, 0.75, -1.25]).view(1, 4, 1, 1)
    assert angle_codes(moved, 0.5).flatten().tolist() == [0, 0, 2, -2]
    assert angle_codes(torch.tensor([3.0, -3.0]), 1e-3).tolist() == [MAX_CODE, -MAX_CODE]


@given(st.floats(-10, 10), st.floats(-math.pi, math.pi))
def test_movement_is_the_shorter_way_around(theta, start):
    moved = movement(
        torch.tensor([theta], dtype=torch.float64), torch.tensor([start], dtype=torch.float64)
    ).item()
    assert -math.pi <= moved < math.pi
    turns = (theta - start - moved) / (2 * math.pi)
    assert abs(turns - round(turns)) < 1e-9
