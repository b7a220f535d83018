"""Circuits as other libraries ship them: oracles that nobody here wrote.

Qiskit's RealAmplitudes and EfficientSU2, whose qubit 0 is the least significant bit and whose angles go kind
by kind within a layer (all RY, then all RZ); PennyLane's StronglyEntanglingLayers with its default ranges.
"""

import math

import pennylane as qml
import pytest
import torch
from qiskit.circuit.library import efficient_su2, real_amplitudes
from qiskit.quantum_info import Statevector

from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.statevector import probabilities

QUBITS = pytest.mark.parametrize("qubits", range(2, 6))
LAYERS = pytest.mark.parametrize("layers", (1, 2, 5))


def drawn(circuit):
    """Angles uniform in (-pi, pi), (1, L, n, r)."""
    return torch.empty(circuit.angle_shape, dtype=torch.float64).uniform_(-math.pi, math.pi)


@QUBITS
@LAYERS
@pytest.mark.parametrize("entanglement", ("linear", "reverse_linear", "circular", "full"))
@pytest.mark.parametrize(
    ("ansatz", "library"), [("real-amplitudes", real_amplitudes), ("efficient-su2", efficient_su2)]
)
def test_qiskits_circuits(ansatz, library, entanglement, layers, qubits):
    entangler = "cnot-" + entanglement.replace("_", "-")
    circuit = CircuitSpec(ansatz, entangler, qubits, layers, final_rotation=True)
    theta = drawn(circuit)
    theirs = library(qubits, entanglement=entanglement, reps=layers - 1)
    bound = theirs.assign_parameters(theta[0].mT.flatten().tolist())  # (L, r, n)
    expected = torch.as_tensor(Statevector(bound.reverse_bits()).probabilities())
    torch.testing.assert_close(probabilities(circuit, theta)[0], expected, rtol=0, atol=1e-10)


@QUBITS
@LAYERS
def test_pennylanes_strongly_entangling_layers(layers, qubits):
    circuit = CircuitSpec("strongly-entangling", "cnot-ranges", qubits, layers)
    theta = drawn(circuit)

    @qml.qnode(qml.device("default.qubit", wires=qubits), interface="torch")
    def theirs(weights):
        qml.StronglyEntanglingLayers(weights, wires=range(qubits))
        return qml.probs(wires=range(qubits))

    torch.testing.assert_close(probabilities(circuit, theta)[0], theirs(theta[0]), rtol=0, atol=1e-10)
