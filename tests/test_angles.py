"""The seeded start against an independent Philox; codes there and back; rounding within half a step."""

import math

import format_reader
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from qtrain_cli.angles import choose_steps, decode, encode, movement, pack, start_angles, unpack
from qtrain_cli.errors import BadInput
from qtrain_cli.quantum.circuit import CircuitSpec

CIRCUIT = CircuitSpec("efficient-su2", "cnot-ring", 3, 4, 2)
bit_counts = st.integers(2, 16)


@st.composite
def coded(draw):
    """A number of bits, and codes of the grid."""
    bits = draw(bit_counts)
    highest = 2 ** (bits - 1) - 1
    return bits, draw(st.lists(st.integers(-highest, highest), min_size=1, max_size=40))


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


@given(coded())
@settings(max_examples=200, deadline=None)
def test_codes_come_back(given_codes):
    bits, codes = given_codes
    packed = pack(torch.tensor(codes), bits)
    assert len(packed) == -(-len(codes) * bits // 8)
    found = unpack(packed, len(codes), bits)
    assert found.tolist() == codes and found.dtype == torch.int64


@given(coded())
@settings(max_examples=100, deadline=None)
def test_the_first_code_is_in_the_lowest_bits(given_codes):
    bits, codes = given_codes
    stream = sum((code + 2 ** (bits - 1)) << (j * bits) for j, code in enumerate(codes))
    assert pack(torch.tensor(codes), bits) == stream.to_bytes(-(-len(codes) * bits // 8), "little")


@pytest.mark.parametrize("bits", range(2, 17))
def test_codes_outside_the_grid_are_refused(bits):
    below = (0).to_bytes(2, "little")[: -(-bits // 8)]
    with pytest.raises(BadInput, match="a packed angle lies outside the grid"):
        unpack(below, 1, bits)


@pytest.mark.parametrize(("packed", "count"), [(b"", 1), (b"\x88\x88", 1), (b"\x88", 3)])
def test_a_wrong_number_of_bytes(packed, count):
    with pytest.raises(BadInput, match=f"{len(packed)} bytes of packed angles; needed: "):
        unpack(packed, count, 4)


def test_bits_after_the_last_code():
    assert unpack(b"\x09", 1, 4).tolist() == [1]
    with pytest.raises(BadInput, match="do not end in zeros"):
        unpack(b"\x19", 1, 4)


@given(
    bits=bit_counts,
    moved=st.lists(st.floats(-math.pi, math.pi), min_size=8, max_size=8),
    step=st.floats(2**-20, 1, width=32),
)
@settings(max_examples=200, deadline=None)
def test_rounding_loses_at_most_half_a_step_inside_the_grid(bits, moved, step):
    theta = torch.tensor(moved, dtype=torch.float64).view(2, 2, 2, 1)
    steps = torch.tensor([step, step / 2], dtype=torch.float32)
    found = decode(encode(theta, steps, bits), steps, torch.zeros_like(theta))
    wide = steps.double()[:, None, None, None]
    edge = wide * (2 ** (bits - 1) - 1)
    assert bool(((found - theta.clamp(-edge, edge)).abs() <= wide * 0.5 * (1 + 1e-12)).all())


@given(bits=bit_counts, seed=st.integers(0, 2**20), size=st.floats(1e-4, 1))
@settings(max_examples=60, deadline=None)
def test_the_chosen_step_is_as_good_as_the_widest(bits, seed, size):
    random = torch.Generator().manual_seed(seed)
    moved = torch.randn(2, 5, 3, 1, dtype=torch.float64, generator=random) * size
    highest = 2 ** (bits - 1) - 1
    widest = (moved.flatten(1).abs().amax(1) / highest).float()

    def loss(steps):
        return (
            (decode(encode(moved, steps, bits), steps, torch.zeros_like(moved)) - moved)
            .square()
            .flatten(1)
            .sum(1)
        )

    steps = choose_steps(moved, bits)
    assert steps.dtype == torch.float32 and steps.shape == (2,) and bool((steps > 0).all())
    assert bool((loss(steps) <= loss(widest) * (1 + 1e-9)).all())


def test_a_circuit_that_did_not_move_has_a_step():
    steps = choose_steps(torch.zeros(1, 2, 2, 1), 8)
    assert 0 < steps.item() < 1e-6
    assert encode(torch.zeros(1, 2, 2, 1), steps, 8).tolist() == [[[[0], [0]], [[0], [0]]]]


@pytest.mark.parametrize("bits", [2, 5, 16])
def test_codes_are_rounded_half_to_even(bits):
    moved = torch.tensor([0.25, -0.25, 0.75]).view(1, 3, 1, 1)
    expected = [0, 0, 1 if bits == 2 else 2]
    assert encode(moved, torch.tensor([0.5]), bits).flatten().tolist() == expected


@given(st.floats(-10, 10), st.floats(-math.pi, math.pi))
def test_movement_is_the_shorter_way_around(theta, start):
    moved = movement(
        torch.tensor([theta], dtype=torch.float64), torch.tensor([start], dtype=torch.float64)
    ).item()
    assert -math.pi <= moved < math.pi
    turns = (theta - start - moved) / (2 * math.pi)
    assert abs(turns - round(turns)) < 1e-9
