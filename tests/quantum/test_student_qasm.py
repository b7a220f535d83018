"""A student's exported program, its data angles bound, run by Qiskit: the probabilities are the student's."""

import pytest
import torch
from qiskit import qasm3
from qiskit.quantum_info import Statevector

from qtrain_cli.quantum.encodings import amplitudes
from qtrain_cli.quantum.student_qasm import inputs_of, preparation_angles, student_program
from qtrain_cli.students.circuit import exact_probabilities
from qtrain_cli.students.networks import build
from qtrain_cli.students.spec import Student, parse_student


@pytest.mark.parametrize(
    "text",
    [
        "hybrid:qubits=3,reps=2",
        "hybrid:qubits=3,reps=1,feature-map=zz,map-reps=2,entanglement=linear",
        "hybrid:qubits=3,reps=1,feature-map=pauli,paulis=Z+XY,ansatz=real-amplitudes",
        "qnn:qubits=3,layers=2",
        "qnn:qubits=3,layers=2,encoding=zz",
        "qnn:qubits=3,layers=2,encoding=amplitude",
    ],
)
def test_qiskit_finds_the_students_probabilities(text):
    module = build(Student(parse_student(text), (1, 8, 8), 4), seed=0).double()
    layout, theta = module.circuit.layout, module.circuit.theta.detach()
    once = layout.encoding.name == "amplitude"
    features = torch.randn(1, layout.encoding.features * (1 if once else layout.blocks)).double()
    # A qnn multiplies its cells by scales of either sign.
    scale = torch.randn(features.shape[1]).double() if text.startswith("qnn") and not once else None
    scaled = features if scale is None else features * scale
    ours = exact_probabilities(layout, theta, layout.half_angles(scaled), 0.0)[0]
    scales = [] if scale is None else scale.tolist()
    circuit = qasm3.loads(student_program(layout.encoding, layout.circuit, theta.tolist(), scales))
    values = (
        preparation_angles(amplitudes(layout.encoding, features)[0].tolist())
        if once
        else features[0].tolist()
    )
    bound = dict(zip(inputs_of(layout.encoding, layout.circuit), values, strict=True))
    circuit.remove_final_measurements()
    circuit = circuit.assign_parameters({one: bound[one.name] for one in circuit.parameters})
    # Qiskit's first listed qubit is the least significant; ours, wire 0, is the most significant.
    p = Statevector(circuit).probabilities(list(reversed(range(circuit.num_qubits))))
    torch.testing.assert_close(torch.as_tensor(p), ours, rtol=0, atol=1e-10)
