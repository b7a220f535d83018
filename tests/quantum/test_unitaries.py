"""Whole matrices of small circuits: against dense matrices, and their gradient against the engine's."""

import oracles
import pytest
import torch

from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS, CircuitSpec
from qtrain_cli.quantum.statevector import evolve
from qtrain_cli.quantum.unitaries import has_matrix, matrices

ROWS = [(a, e) for a in ANSATZE for e in ANSATZE[a].entanglers if not ENTANGLERS[e].parametrised]


@pytest.mark.parametrize(("ansatz", "entangler"), ROWS)
@pytest.mark.parametrize("final", (False, True))
def test_they_are_the_dense_matrices(ansatz, entangler, final):
    circuit = CircuitSpec(ansatz, entangler, 3, 3, 2, final_rotation=final)
    theta = torch.randn(circuit.angle_shape, dtype=torch.float64)
    expected = torch.stack([oracles.unitary(ansatz, entangler, one, final).mT for one in theta])
    torch.testing.assert_close(matrices(circuit, theta), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("ansatz", "entangler"), ROWS)
@pytest.mark.parametrize("qubits", (1, 2, 5))
def test_gradients_are_the_engines(ansatz, entangler, qubits):
    circuit = CircuitSpec(ansatz, entangler, qubits, 4, 2)
    theta = torch.randn(circuit.angle_shape, dtype=torch.float64, requires_grad=True)
    identity = torch.eye(2**qubits, dtype=torch.complex128).expand(2, -1, -1)
    cotangent = torch.randn(2, 2**qubits, 2**qubits, dtype=torch.complex128)
    found, expected = (
        torch.autograd.grad(run, theta, cotangent)[0]
        for run in (matrices(circuit, theta), evolve(circuit, theta, identity))
    )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_larger_circuits_and_entanglers_with_angles_are_left_to_the_engine():
    assert has_matrix(CircuitSpec("su2-rz-ry", "cnot-ring", 6, 2))
    assert not has_matrix(CircuitSpec("su2-rz-ry", "cnot-ring", 7, 2))
    assert not has_matrix(CircuitSpec("u3-cu3", "cu3-ring", 3, 2))
