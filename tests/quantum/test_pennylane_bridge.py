"""The PennyLane twin: against dense matrices, and its refusals. test_statevector holds the engine to it."""

import sys

import oracles
import pytest
import torch

from qtrain_cli.errors import BadInput
from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec
from qtrain_cli.quantum.pennylane_bridge import qnode


@pytest.mark.parametrize(("ansatz", "entangler"), [(a, e) for a in ANSATZE for e in ANSATZE[a].entanglers])
@pytest.mark.parametrize("qubits", (2, 4))
def test_it_runs_the_circuit_of_the_dense_matrices(ansatz, entangler, qubits):
    circuit = CircuitSpec(ansatz, entangler, qubits, layers=3)
    theta = torch.randn(circuit.angle_shape[1:], dtype=torch.float64)
    expected = oracles.dense_probabilities(ansatz, entangler, theta)
    torch.testing.assert_close(qnode(circuit)(theta), expected, rtol=0, atol=1e-12)


def test_gradients_pass_through_pytorch():
    circuit = CircuitSpec("efficient-su2", "cnot-ring", qubits=2, layers=2)
    theta = torch.randn(circuit.angle_shape[1:], dtype=torch.float64, requires_grad=True)
    qnode(circuit, diff_method="parameter-shift")(theta)[0].backward()
    assert theta.grad.abs().max() > 1e-3


def test_an_unknown_device_is_refused_with_the_nearest_name():
    circuit = CircuitSpec("real-amplitudes", "cz-ring", qubits=2, layers=1)
    with pytest.raises(BadInput) as caught:
        qnode(circuit, device="default.qubits")
    assert caught.value.message == "PennyLane has no device 'default.qubits'"
    assert caught.value.advice == "did you mean 'default.qubit'?"


def test_without_pennylane_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pennylane", None)
    with pytest.raises(BadInput) as caught:
        qnode(CircuitSpec("real-amplitudes", "cz-ring", qubits=2, layers=1))
    assert "needs the package pennylane, which is not installed" in caught.value.message
    assert caught.value.advice == "pip install 'qtrain[quantum]'"
