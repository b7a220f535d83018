"""The table of estimators as plain data: shift rules and their counts."""

import math

import pytest

from qtrain_cli.quantum.circuit import ANSATZE, CircuitSpec
from qtrain_cli.quantum.estimators import ESTIMATORS, shift_rule, shift_rules
from qtrain_cli.quantum.gradients import _ESTIMATE
from qtrain_cli.quantum.operations import OPERATIONS

ROOT = math.sqrt(2)


def test_each_row_has_its_function_and_its_words():
    assert ESTIMATORS.keys() == _ESTIMATE.keys()
    assert all(name == row.name and row.summary for name, row in ESTIMATORS.items())
    assert [row.name for row in ESTIMATORS.values() if not row.measures] == ["adjoint"]


def test_one_frequency_has_the_two_term_rule():
    assert dict(shift_rule((1.0,))) == pytest.approx({math.pi / 2: 0.5, -math.pi / 2: -0.5})


def test_a_controlled_rotation_has_the_four_term_rule():
    """Coefficients (sqrt(2) +- 1) / (4 sqrt(2)) of arXiv 2104.05695, eq. 13."""
    plus, minus = (ROOT + 1) / (4 * ROOT), (ROOT - 1) / (4 * ROOT)
    expected = {
        math.pi / 2: plus, -math.pi / 2: -plus, 3 * math.pi / 2: -minus, -3 * math.pi / 2: minus,
    }  # fmt: skip
    found = dict(shift_rule((0.5, 1.0)))
    assert sorted(found) == pytest.approx(sorted(expected))
    for shift, factor in expected.items():
        assert found[min(found, key=lambda one: abs(one - shift))] == pytest.approx(factor)


@pytest.mark.parametrize("frequencies", [(1.0,), (0.5, 1.0), (0.5,), (2.0, 4.0), (1.0, 2.0, 3.0)])
def test_a_rule_is_exact_for_every_polynomial_of_its_frequencies(frequencies):
    def slope(wave, derivative):
        assert sum(c * wave(0.3 + x) for x, c in shift_rule(frequencies)) == pytest.approx(derivative)

    for f in frequencies:
        slope(lambda x, f=f: math.sin(f * x), f * math.cos(0.3 * f))
        slope(lambda x, f=f: math.cos(f * x), -f * math.sin(0.3 * f))
    slope(lambda x: 1.0, 0.0)


def test_unequal_spacing_is_refused():
    with pytest.raises(ValueError, match="no shift rule for the frequencies"):
        shift_rule((1.0, 3.0))


def test_every_gate_with_an_angle_has_a_rule():
    assert all(shift_rule(gate.frequencies) for gate in OPERATIONS.values() if gate.frequencies)


@pytest.mark.parametrize(
    ("ansatz", "a_qubit"),
    [("real-amplitudes", 2), ("efficient-su2", 4), ("strongly-entangling", 6), ("u3-cu3", 3 * 2 + 2 + 4 + 2)],
)
def test_counts_written_out(ansatz, a_qubit):
    circuit = CircuitSpec(ansatz, ANSATZE[ansatz].entanglers[0], qubits=3, layers=5, circuits=2)
    assert sum(map(len, shift_rules(circuit))) == a_qubit
    counts = {name: row.evaluations(circuit, 7) for name, row in ESTIMATORS.items()}
    assert counts == {
        "adjoint": 0,
        "parameter-shift": 2 * 5 * 3 * a_qubit,
        "spsa": 2 * 2 * 7,
        "finite-difference": 2 * circuit.angles,
    }
