"""Entanglers against the dense matrices of their gates, forwards and backwards."""

import oracles
import pytest
import torch

from qtrain_cli.quantum import entanglers
from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS, CircuitSpec

FIXED = [row.name for row in ENTANGLERS.values() if not row.parametrised]


def circuit_of(entangler, qubits, layers=1):
    """A circuit of that entangler and of an ansatz that has it."""
    ansatz = next(row.name for row in ANSATZE.values() if entangler in row.entanglers)
    return CircuitSpec(ansatz, entangler, qubits, layers)


def test_every_row_of_the_table_is_built():
    assert set(entanglers._BUILDERS) == {ENTANGLERS[name].gates for name in FIXED}


@pytest.mark.parametrize("dtype", (torch.float64, torch.complex128))
@pytest.mark.parametrize(
    ("entangler", "layer"),
    [(name, layer) for name in FIXED for layer in (0, 1, 5) if layer == 0 or ENTANGLERS[name].period(6) > 1],
)
@pytest.mark.parametrize("qubits", range(1, 7))
def test_tables_are_the_product_of_the_gates(entangler, qubits, layer, dtype):
    states = torch.randn(3, 2**qubits, dtype=dtype)
    table = entanglers.entangler(circuit_of(entangler, qubits, 6), layer, dtype, torch.device("cpu"))
    found, back = torch.empty_like(states), torch.empty_like(states)
    table.forward(states, out=found)
    table.inverse(found, out=back)
    expected = states.to(torch.complex128) @ oracles.entangling(entangler, qubits, layer).T
    assert torch.equal(found.to(torch.complex128), expected)
    assert torch.equal(back, states)


def test_tables_are_made_once():
    device = torch.device("cpu")
    circuit = circuit_of("cnot-ring", 5, 2)
    first, second = (entanglers.entangler(circuit, layer, torch.float32, device) for layer in (0, 1))
    assert first is second


def test_a_final_rotation_layer_has_none():
    circuit = CircuitSpec("real-amplitudes", "cz-ring", qubits=3, layers=2, final_rotation=True)
    tables = [entanglers.entangler(circuit, layer, torch.float32, torch.device("cpu")) for layer in range(2)]
    assert tables[0] is not None and tables[1] is None
