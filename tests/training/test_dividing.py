"""Which circuits a process runs, and what is said of it; that it makes no difference is in `test_ranks`."""

import pytest
from torch import nn

from qtrain_cli.methods.generator.spec import AngleCoding, GeneratorSpec, MappingSpec
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.targets.layout import layout_of
from qtrain_cli.training.dividing import divided_circuits, divides, exchanged, said_of_circuits, saved
from qtrain_cli.training.ranks import ALONE, Ranks

TWO = Ranks(0, 2, 0, 2)
APART = Ranks(0, 2, 0, 1)


def circuits(count, qubits=14, layers=12, seeded=0):
    """A generator of so many circuits, for as many weights as they have outcomes."""
    circuit = CircuitSpec("real-amplitudes", "cnot-ring", qubits, layers, count)
    layout = layout_of(nn.Linear(count, 2**qubits, bias=False))
    return GeneratorSpec(circuit, MappingSpec("linear"), layout, AngleCoding(32, 0, seeded))


@pytest.mark.parametrize(
    ("spec", "ranks", "said"),
    [
        (circuits(8), TWO, "each of 2 processes runs 4 of 8 circuits: the others take about"),
        (circuits(1), TWO, "each of 2 processes runs all circuits: there are 1"),
        (circuits(8), APART, "each of 2 processes runs all circuits: they are on several machines"),
        (circuits(2, qubits=5), TWO, "each of 2 processes runs all 2 circuits: the others take about"),
        (circuits(8, layers=1), TWO, "each of 2 processes runs all 8 circuits: the others take about"),
    ],
)
def test_circuits_are_divided_where_the_exchange_costs_less(spec, ranks, said):
    found = said_of_circuits(spec, ranks)
    assert found.startswith(said)
    assert divides(spec, ranks) == ("runs 4 of 8" in found) == (divided_circuits(spec, ranks) is not None)


def test_one_process_divides_nothing():
    assert not divides(circuits(8), ALONE)


def test_what_is_saved_is_the_work_of_others_and_grows_with_the_layers_that_a_step_runs():
    assert saved(circuits(8), TWO) == pytest.approx(2 * saved(circuits(8, layers=6), TWO))
    assert saved(circuits(8, seeded=6), TWO) == pytest.approx(saved(circuits(8, layers=6), TWO))
    assert saved(circuits(9), TWO) == saved(circuits(8), TWO)  # five of nine are still one's own
    assert exchanged(circuits(8), Ranks(0, 4, 0, 4)) > exchanged(circuits(8), TWO)
