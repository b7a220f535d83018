"""Entanglers against the dense matrices of their gates, forwards and backwards."""

import oracles
import pytest
import torch

from qtrain_cli.quantum import entanglers
from qtrain_cli.quantum.circuit import ENTANGLERS


def test_every_row_of_the_table_is_built():
    assert list(entanglers._BUILDERS) == list(ENTANGLERS)


@pytest.mark.parametrize("dtype", (torch.float64, torch.complex128))
@pytest.mark.parametrize("entangler", ENTANGLERS)
@pytest.mark.parametrize("qubits", range(1, 7))
def test_tables_are_the_product_of_the_gates(entangler, qubits, dtype):
    states = torch.randn(3, 2**qubits, dtype=dtype)
    table = entanglers.entangler(entangler, qubits, dtype, torch.device("cpu"))
    found, back = torch.empty_like(states), torch.empty_like(states)
    table.forward(states, out=found)
    table.inverse(found, out=back)
    expected = states.to(torch.complex128) @ oracles.ring(entangler, qubits).T
    assert torch.equal(found.to(torch.complex128), expected)
    assert torch.equal(back, states)


def test_tables_are_made_once():
    device = torch.device("cpu")
    first, second = (entanglers.entangler("cnot-ring", 5, torch.float32, device) for _ in range(2))
    assert first is second
