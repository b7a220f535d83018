"""Each rotation, and the matrices of whole groups, against the textbook's matrices."""

import functools
import math

import oracles
import pytest
import torch

from qtrain_cli.quantum import rotations
from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec
from qtrain_cli.quantum.operations import OPERATIONS

EXACT = {"rtol": 0, "atol": 1e-14}


def rotations_of(circuit, theta):
    """What `gate_matrices` makes of the circuit's own rotations."""
    kinds = ANSATZE[circuit.ansatz].rotations
    return rotations.gate_matrices(
        kinds, theta[..., : len(kinds)], rotations.state_dtype(circuit, theta.dtype)
    )


def test_every_gate_with_an_angle_has_its_generator():
    assert {row.name for row in OPERATIONS.values() if row.frequencies} == set(rotations.GENERATORS)


def test_a_phase_shift_turns_the_second_amplitude_only():
    angles = torch.randn(5, 1, dtype=torch.float64)
    (found,) = rotations.gate_matrices(["ControlledPhaseShift"], angles, torch.complex128)
    phases = torch.exp(1j * angles[:, 0])
    expected = torch.diag_embed(torch.stack((torch.ones_like(phases), phases), -1))
    torch.testing.assert_close(found, expected, **EXACT)


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_rotations_are_those_of_the_textbook(ansatz):
    circuit = CircuitSpec(ansatz, ANSATZE[ansatz].entanglers[0], qubits=2, layers=3, circuits=2)
    theta = torch.randn(circuit.angle_shape, dtype=torch.float64) * math.pi
    found = rotations_of(circuit, theta)
    for k, axis in enumerate(oracles.ROTATIONS[ansatz]):
        expected = torch.stack([oracles.rotation(axis, angle) for angle in theta[..., k].flatten()])
        torch.testing.assert_close(found[k].to(torch.complex128).reshape(-1, 2, 2), expected, **EXACT)


@pytest.mark.parametrize("precision", (torch.float32, torch.float64))
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_matrices_have_the_dtype_of_the_state(ansatz, precision):
    circuit = CircuitSpec(ansatz, ANSATZE[ansatz].entanglers[0], qubits=3, layers=1)
    built = rotations.group_matrices(rotations_of(circuit, torch.ones(circuit.angle_shape).to(precision)))
    assert [group.dtype for group in built] == [rotations.state_dtype(circuit, precision)]
    assert built[0].is_complex() == (ansatz != "real-amplitudes")


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_a_group_is_the_product_of_its_qubits_rotations(ansatz):
    circuit = CircuitSpec(ansatz, ANSATZE[ansatz].entanglers[0], qubits=6, layers=2, circuits=2)
    theta = torch.randn(circuit.angle_shape, dtype=torch.float64)
    found = rotations.group_matrices(rotations_of(circuit, theta))
    for layer, c in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        expected = torch.eye(2**6, dtype=torch.complex128)
        for wire, angles in enumerate(theta[c, layer]):
            for axis, angle in zip(oracles.ROTATIONS[ansatz], angles, strict=False):
                expected = oracles.on_wires({wire: oracles.rotation(axis, angle)}, 6) @ expected
        whole = functools.reduce(torch.kron, [group[layer, c] for group in found])
        torch.testing.assert_close(whole.to(torch.complex128), expected, **EXACT)


@pytest.mark.parametrize("qubits", range(1, 27))
def test_groups_are_as_equal_as_can_be(qubits):
    sizes = rotations.group_sizes(qubits)
    assert sum(sizes) == qubits
    assert max(sizes) <= rotations.GROUP_QUBITS and max(sizes) - min(sizes) <= 1
    assert len(sizes) == math.ceil(qubits / rotations.GROUP_QUBITS)
