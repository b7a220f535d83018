"""OpenQASM: Qiskit reads a program and finds the same probabilities; the check finds every other program."""

import math
import re

import pytest
import torch
from qiskit import qasm3
from qiskit.quantum_info import Statevector

from qtrain_cli.errors import RunFailed
from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec
from qtrain_cli.quantum.qasm import qasm_text, require_same_circuits
from qtrain_cli.quantum.statevector import probabilities

ROWS = [(a, e) for a in ANSATZE for e in ANSATZE[a].entanglers]


def angles_of(circuit):
    return torch.empty(circuit.angle_shape, dtype=torch.float64).uniform_(-math.pi, math.pi)


def distribution(text, register):
    """What Qiskit computes for one register of bits, by the numbers that it reads there: (2**n,)."""
    circuit = qasm3.loads(text)
    bits = next(one for one in circuit.cregs if one.name == register)
    measured = {}
    for one in circuit.data:
        if one.operation.name == "measure":
            measured[one.clbits[0]] = circuit.find_bit(one.qubits[0]).index
    circuit.remove_final_measurements()
    # Qiskit's first listed qubit is the least significant, as its bit 0 of a register is.
    p = Statevector(circuit).probabilities([measured[bit] for bit in bits])
    return torch.as_tensor(p)


@pytest.mark.parametrize(("ansatz", "entangler"), ROWS)
@pytest.mark.parametrize("qubits", [2, 4])
def test_qiskit_reads_the_same_circuit(ansatz, entangler, qubits):
    circuit = CircuitSpec(ansatz, entangler, qubits, layers=3)
    theta = angles_of(circuit)
    found = distribution(qasm_text(circuit, theta, [0]), "c0")
    torch.testing.assert_close(found, probabilities(circuit, theta)[0], rtol=0, atol=1e-12)


def test_each_circuit_has_registers_of_its_own():
    circuit = CircuitSpec("efficient-su2", "cnot-ring", qubits=3, layers=2, circuits=3, final_rotation=True)
    theta = angles_of(circuit)
    text, expected = qasm_text(circuit, theta, range(3)), probabilities(circuit, theta)
    for number in range(3):
        found = distribution(text, f"c{number}")
        torch.testing.assert_close(found, expected[number], rtol=0, atol=1e-12)
    alone = qasm_text(circuit, theta, [1])
    assert "q0" not in alone and set(alone.splitlines()) < set(text.splitlines())
    torch.testing.assert_close(distribution(alone, "c1"), expected[1], rtol=0, atol=1e-12)


def test_the_program_of_a_small_circuit_line_by_line():
    circuit = CircuitSpec("real-amplitudes", "cnot-ring", qubits=2, layers=1)
    theta = torch.tensor([0.1, -1e-07], dtype=torch.float64).view(circuit.angle_shape)
    assert qasm_text(circuit, theta, [0], ["Two qubits."]).splitlines() == [
        "OPENQASM 3.0;", "// Two qubits.", 'include "stdgates.inc";', "qubit[2] q0;", "bit[2] c0;",
        "// circuit 0", "ry(0.1) q0[0];", "ry(-1e-07) q0[1];", "cx q0[0], q0[1];",
        "c0[1] = measure q0[0];", "c0[0] = measure q0[1];",
    ]  # fmt: skip
    assert distribution(qasm_text(circuit, theta, [0]), "c0")[0] > 0.9


@pytest.mark.parametrize(("ansatz", "entangler"), ROWS)
def test_the_check_counts_the_gates(ansatz, entangler):
    circuit = CircuitSpec(ansatz, entangler, qubits=3, layers=2, circuits=2)
    theta = angles_of(circuit)
    text = qasm_text(circuit, theta, range(2), ["one", "two"])
    gates = [line for line in text.splitlines() if "] = " not in line and " q" in line and "[" in line[3:]]
    gates = [line for line in gates if not line.startswith(("qubit", "//"))]
    assert require_same_circuits(text, circuit, theta, range(2)) == len(gates)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("ry(0.5) q0[0];", "ry(0.5000000000000001) q0[0];", "does not hold the artifact's gates"),
        ("ry(0.5) q0[0];", "rz(0.5) q0[0];", "does not hold the artifact's gates"),
        ("ry(0.5) q0[0];", "ry(0.5) q0[1];", "does not hold the artifact's gates"),
        ("ry(0.5) q0[0];\n", "", "does not hold the artifact's gates"),
        ("cx q0[0], q0[1];", "cx q0[1], q0[0];", "does not hold the artifact's gates"),
        ("c0[1] = measure q0[0];", "c0[0] = measure q0[0];", "does not hold the artifact's gates"),
        ("cx q0[0], q0[1];", "cx q0[0], q0[1]; x q0[0];", "has the line 'cx q0[0], q0[1]; x q0[0];'"),
        ("ry(0.5)", "ry(--0.5)", "has the line 'ry(--0.5) q0[0];'"),
        ("ry(0.5)", "ry(nan)", "has the line 'ry(nan) q0[0];'"),
        ("qubit[2]", "qubit[3]", "does not declare the artifact's circuits"),
        ("OPENQASM 3.0;", "OPENQASM 2.0;", "does not declare the artifact's circuits"),
    ],
)
def test_another_program_is_found(old, new, said):
    circuit = CircuitSpec("real-amplitudes", "cnot-ring", qubits=2, layers=1)
    theta = torch.tensor([0.5, 0.25], dtype=torch.float64).view(circuit.angle_shape)
    text = qasm_text(circuit, theta, [0])
    assert old in text and require_same_circuits(text, circuit, theta, [0]) == 3
    with pytest.raises(RunFailed, match=re.escape(said)):
        require_same_circuits(text.replace(old, new), circuit, theta, [0])
