"""Each rotation, and the matrices of whole groups, against the textbook's matrices."""

import functools
import math

import oracles
import pytest
import torch

from qtrain_cli.quantum import rotations
from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec

EXACT = {"rtol": 0, "atol": 1e-14}


def test_every_rotation_of_the_ansaetze_has_its_generator():
    assert {name for row in ANSATZE.values() for name in row.rotations} == set(rotations.GENERATORS)


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_rotations_are_those_of_the_textbook(ansatz):
    circuit = CircuitSpec(ansatz, "cz-ring", qubits=2, layers=3, circuits=2)
    theta = torch.randn(circuit.angle_shape, dtype=torch.float64) * math.pi
    found = rotations.rotation_matrices(circuit, theta)
    for k, axis in enumerate(oracles.ROTATIONS[ansatz]):
        expected = torch.stack([oracles.rotation(axis, angle) for angle in theta[..., k].flatten()])
        torch.testing.assert_close(found[k].to(torch.complex128).reshape(-1, 2, 2), expected, **EXACT)


@pytest.mark.parametrize("precision", (torch.float32, torch.float64))
@pytest.mark.parametrize("ansatz", ANSATZE)
def test_matrices_have_the_dtype_of_the_state(ansatz, precision):
    circuit = CircuitSpec(ansatz, "cz-ring", qubits=3, layers=1)
    built = rotations.group_matrices(
        rotations.rotation_matrices(circuit, torch.ones(1, 1, 3, 2).to(precision))
    )
    assert [group.dtype for group in built] == [rotations.state_dtype(circuit, precision)]
    assert built[0].is_complex() == (ansatz == "efficient-su2")


@pytest.mark.parametrize("ansatz", ANSATZE)
def test_a_group_is_the_product_of_its_qubits_rotations(ansatz):
    circuit = CircuitSpec(ansatz, "cz-ring", qubits=6, layers=2, circuits=2)
    theta = torch.randn(circuit.angle_shape, dtype=torch.float64)
    found = rotations.group_matrices(rotations.rotation_matrices(circuit, theta))
    for layer, c in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        expected = torch.eye(2**6, dtype=torch.complex128)
        for wire, angles in enumerate(theta[c, layer]):
            for axis, angle in zip(oracles.ROTATIONS[ansatz], angles, strict=True):
                expected = oracles.on_wires({wire: oracles.rotation(axis, angle)}, 6) @ expected
        whole = functools.reduce(torch.kron, [group[layer, c] for group in found])
        torch.testing.assert_close(whole.to(torch.complex128), expected, **EXACT)


@pytest.mark.parametrize("qubits", range(1, 27))
def test_groups_are_as_equal_as_can_be(qubits):
    sizes = rotations.group_sizes(qubits)
    assert sum(sizes) == qubits
    assert max(sizes) <= rotations.GROUP_QUBITS and max(sizes) - min(sizes) <= 1
    assert len(sizes) == math.ceil(qubits / rotations.GROUP_QUBITS)
