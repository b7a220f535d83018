"""The seeded start against an independent Philox; codes there and back; the finest step; rounding."""

import math
import struct

import format_reader
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qtrain_cli.errors import BadInput
from qtrain_cli.files.message import message_bytes
from qtrain_cli.methods.generator.angles import (
    MAX_CODE,
    angle_codes,
    angles_fit,
    coded_angles,
    finest_step,
    movement,
    pack_angles,
    start_angles,
    unpack_angles,
)
from qtrain_cli.quantum.circuit import CircuitSpec

CIRCUIT = CircuitSpec("efficient-su2", "cnot-ring", 3, 4, 2)
codes_of = st.lists(st.integers(-MAX_CODE, MAX_CODE), min_size=1, max_size=40)


def test_the_oracle_gives_the_published_words():
    """The known answers of Random123's kat_vectors for philox4x64 with 10 rounds, counter and key 0."""
    assert format_reader.philox_block(0, 0) == [
        0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B,
    ]  # fmt: skip


@given(st.integers(0, 2**63 - 1))
@settings(max_examples=30, deadline=None)
def test_the_start_is_philox(seed):
    found = start_angles(CIRCUIT, seed)
    assert found.flatten().tolist() == format_reader.start_angles(seed, CIRCUIT.angles).tolist()
    assert found.shape == CIRCUIT.angle_shape and found.dtype == torch.float64


def test_the_start_never_changes():
    assert start_angles(CIRCUIT, 7).flatten()[:4].tolist() == [
        2.337806464519633, -1.2857572282128953, -0.5020410924128353, -0.5944380512352628,
    ]  # fmt: skip


def test_the_start_is_uniform_on_the_circle():
    found = start_angles(CircuitSpec("real-amplitudes", "cnot-ring", 20, 1000), 1)
    assert -math.pi <= found.min() < -3.14 and 3.14 < found.max() < math.pi
    assert abs(found.mean()) < 0.05 and abs(found.std() - math.pi / 3**0.5) < 0.05


@given(codes_of)
@settings(max_examples=200, deadline=None)
def test_codes_come_back(codes):
    found = unpack_angles(pack_angles(torch.tensor(codes)), len(codes), 16)
    assert found.tolist() == codes and found.dtype == torch.int64


@given(codes_of)
@settings(max_examples=60, deadline=None)
def test_a_decoder_made_from_the_page_finds_the_same_codes(codes):
    data = pack_angles(torch.tensor(codes))
    (low, high, spread), message = struct.unpack("<hhB", data[:5]), data[5:]
    assert (low, high) == (min(codes), max(codes))
    assert format_reader.arithmetic_decoded(message, len(codes), low, high, spread) == codes


@pytest.mark.parametrize("bits", range(2, 13))
@pytest.mark.parametrize("count", [1, 30, 3000, 33_000])
def test_the_finest_step_fits_and_one_a_little_finer_does_not(bits, count):
    moved = 0.1 * torch.randn(count, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    step = finest_step(moved, bits)
    codes = angle_codes(moved, step)
    assert float(torch.tensor(step, dtype=torch.float32)) == step and angles_fit(
        codes.flatten().numpy(), bits
    )
    assert len(pack_angles(codes)) - 5 <= message_bytes(count, bits)
    assert torch.equal(unpack_angles(pack_angles(codes), count, bits), codes)
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
@settings(max_examples=200, deadline=None)
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
    assert pack_angles(angle_codes(still, step)) == bytes(5)


def test_codes_are_rounded_half_to_even():
    moved = torch.tensor([0.25, -0.25, 0.75, -1.25]).view(1, 4, 1, 1)
    assert angle_codes(moved, 0.5).flatten().tolist() == [0, 0, 2, -2]
    assert angle_codes(torch.tensor([3.0, -3.0]), 1e-3).tolist() == [MAX_CODE, -MAX_CODE]


GOOD = pack_angles(torch.tensor([0, 1, -1, 2, 0, 0]))


@pytest.mark.parametrize(
    ("packed", "count", "message"),
    [
        (b"", 6, "0 bytes of coded angles for 6 angles of 4 bits"),
        (GOOD[:4], 6, "4 bytes of coded angles"),
        (GOOD + bytes(9), 6, "bytes of coded angles for 6"),
        (GOOD + b"\x01", 6, "end in bytes that mean nothing"),
        (GOOD + b"\0", 6, "end in bytes that mean nothing"),
        (b"\x00\xf8" + GOOD[2:], 6, "its codes range from -2048 to 2; allowed: -2047 to 2047"),
        (GOOD[:2] + b"\x00\x08" + GOOD[4:], 6, "its codes range from -1 to 2048"),
        (GOOD[:2] + b"\xfe\xff" + GOOD[4:], 6, "its codes range from -1 to -2"),
        (GOOD[:2] + b"\x64\x00" + GOOD[4:], 6, "its codes do not range from -1 to 100"),
    ],
)
def test_bytes_that_no_writer_wrote(packed, count, message):
    with pytest.raises(BadInput, match=message):
        unpack_angles(packed, count, 4)


@given(st.floats(-10, 10), st.floats(-math.pi, math.pi))
def test_movement_is_the_shorter_way_around(theta, start):
    moved = movement(
        torch.tensor([theta], dtype=torch.float64), torch.tensor([start], dtype=torch.float64)
    ).item()
    assert -math.pi <= moved < math.pi
    turns = (theta - start - moved) / (2 * math.pi)
    assert abs(turns - round(turns)) < 1e-9
