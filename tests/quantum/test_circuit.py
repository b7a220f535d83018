"""Circuits as plain data: sizes, rings, and every refusal with its message."""

import oracles
import pytest

from qtrain_cli.errors import BadInput
from qtrain_cli.quantum.circuit import (
    ANSATZE,
    ENTANGLERS,
    MAX_ANGLES,
    MAX_OUTCOMES,
    MAX_QUBITS,
    CircuitSpec,
    qubits_for,
)


@pytest.mark.parametrize(
    ("weights", "circuits", "qubits"),
    [
        (1, 1, 1),
        (2, 1, 1),
        (3, 1, 2),
        (6690, 1, 13),
        (8192, 1, 13),
        (8193, 1, 14),
        (61_750, 16, 12),
        (5, 5, 1),
    ],
)
def test_qubits_are_the_fewest_whose_outcomes_hold_all_weights(weights, circuits, qubits):
    assert qubits_for(weights, circuits) == qubits
    assert circuits * 2**qubits >= weights
    assert qubits == 1 or circuits * 2 ** (qubits - 1) < weights


@pytest.mark.parametrize("entangler", ENTANGLERS)
@pytest.mark.parametrize("qubits", range(1, 8))
def test_patterns_are_those_written_out(entangler, qubits):
    pattern = ENTANGLERS[entangler].pattern
    for layer in range(2 * qubits):
        assert pattern(qubits, layer) == oracles.pairs(entangler, qubits, layer)


@pytest.mark.parametrize("entangler", ENTANGLERS)
def test_patterns_repeat_after_their_period(entangler):
    row = ENTANGLERS[entangler]
    for qubits in range(1, 8):
        period = row.period(qubits)
        assert all(row.pattern(qubits, k) == row.pattern(qubits, k + period) for k in range(2 * qubits))


def test_gates_with_angles_stand_behind_the_rotations():
    circuit = CircuitSpec("u3-cu3", "cu3-ring", qubits=4, layers=3)
    assert circuit.kinds == ("RZ", "RY", "RZ", "ControlledPhaseShift", "CRY", "ControlledPhaseShift")
    assert circuit.angle_shape == (1, 3, 4, 6)


def test_a_final_rotation_layer_has_no_pairs():
    circuit = CircuitSpec("real-amplitudes", "cnot-linear", qubits=3, layers=2, final_rotation=True)
    assert [circuit.pairs(layer) for layer in range(2)] == [[(0, 1), (1, 2)], []]


def test_angles_and_outcomes_are_counted_for_all_circuits():
    circuit = CircuitSpec("efficient-su2", "cz-ring", qubits=4, layers=3, circuits=5)
    assert circuit.angle_shape == (5, 3, 4, 2)
    assert circuit.angles == 5 * 3 * 4 * 2
    assert circuit.outcomes == 5 * 16


def test_only_ry_is_real():
    assert [row.name for row in ANSATZE.values() if row.real] == ["real-amplitudes"]


def test_rows_stand_under_their_own_names():
    assert all(name == row.name and row.summary for name, row in (ANSATZE | ENTANGLERS).items())


CU3 = {"ansatz": "u3-cu3", "entangler": "cu3-ring"}


@pytest.mark.parametrize(
    ("changes", "message", "advice"),
    [
        ({"ansatz": "real-amplitude"}, "unknown ansatz 'real-amplitude'", "did you mean 'real-amplitudes'?"),
        ({"entangler": "star"}, "unknown entangler 'star'", "allowed: " + ", ".join(ENTANGLERS)),
        ({"qubits": 0}, f"qubits is 0; allowed: 1 to {MAX_QUBITS}", "choose another budget or size"),
        ({"qubits": 60}, f"qubits is 60; allowed: 1 to {MAX_QUBITS}", "choose another budget or size"),
        ({"layers": 0}, f"layers is 0; allowed: 1 to {MAX_ANGLES}", "choose another budget or size"),
        ({"circuits": -1}, f"circuits is -1; allowed: 1 to {MAX_ANGLES}", "choose another budget or size"),
        (
            {"layers": MAX_ANGLES},
            f"have {4 * MAX_ANGLES} angles; allowed: at most {MAX_ANGLES}",
            "choose fewer layers or circuits, or a smaller budget",
        ),
        (
            {"ansatz": "u3-cu3"},
            "the ansatz u3-cu3 has no entangler cnot-ring; allowed: cu3-ring",
            "choose one of them, or another ansatz",
        ),
        ({**CU3, "qubits": 1}, f"qubits is 1; allowed: 2 to {MAX_QUBITS}", "choose another budget or size"),
        (
            {**CU3, "final_rotation": True},
            "would leave angles of the entangler cu3-ring unused",
            "leave the final rotation out, or choose another entangler",
        ),
        (
            {"qubits": 20, "circuits": 512},
            f"have {2**29} outcomes; allowed: at most {MAX_OUTCOMES}",
            "choose fewer circuits, or narrow --targets",
        ),
    ],
)
def test_what_cannot_be_is_refused(changes, message, advice):
    good = {"ansatz": "real-amplitudes", "entangler": "cnot-ring", "qubits": 4, "layers": 2, "circuits": 1}
    with pytest.raises(BadInput) as caught:
        CircuitSpec(**{**good, **changes})
    assert message in caught.value.message
    assert caught.value.advice == advice


def test_the_largest_sizes_are_allowed():
    assert CircuitSpec("real-amplitudes", "cnot-ring", MAX_QUBITS, 1, 4).outcomes == MAX_OUTCOMES
