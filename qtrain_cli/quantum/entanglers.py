"""Entanglers without angles as tables over all outcomes: a permutation (CNOT) or signs (CZ).

Both are real and act alike on every state of a batch, so a layer's entangler is one pass over memory:

    CNOT    out[k, y] = in[k, source[y]]                 inverse: out[k, x] = in[k, target[x]]
    CZ      out[k, y] = signs[y] * in[k, y]              its own inverse

States are rows, (k, 2**n). Tables are cached: a training run asks for the same ones at every step.

Left out here: entanglers with angles (`couplings`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from qtrain_cli.quantum.circuit import ENTANGLERS, CircuitSpec

Pairs = list[tuple[int, int]]


@dataclass(frozen=True)
class Permutation:
    """Moves amplitude x to target[x]; `source` is the inverse. Both (2**n,) int64."""

    source: Tensor
    target: Tensor

    def forward(self, states: Tensor, out: Tensor) -> None:
        """Writes E states to `out`."""
        torch.gather(states, 1, self.source.expand_as(states), out=out)

    def inverse(self, states: Tensor, out: Tensor) -> None:
        """Writes E**-1 states to `out`."""
        torch.gather(states, 1, self.target.expand_as(states), out=out)


@dataclass(frozen=True)
class Signs:
    """Multiplies amplitude x by signs[x], (2**n,) of the states' dtype: a mixed product is slower."""

    signs: Tensor

    def forward(self, states: Tensor, out: Tensor) -> None:
        """Writes E states to `out`."""
        torch.mul(states, self.signs, out=out)

    inverse = forward


def _cnots(index: Tensor, pairs: Pairs, qubits: int, dtype: torch.dtype) -> Permutation:
    target = index
    for control, flipped in pairs:
        target = target ^ (_bit(target, control, qubits) << (qubits - 1 - flipped))
    return Permutation(source=torch.argsort(target), target=target)


def _czs(index: Tensor, pairs: Pairs, qubits: int, dtype: torch.dtype) -> Signs:
    odd = torch.zeros_like(index)
    for one, other in pairs:
        odd ^= _bit(index, one, qubits) & _bit(index, other, qubits)
    return Signs((1 - 2 * odd).to(dtype))


def _bit(index: Tensor, qubit: int, qubits: int) -> Tensor:
    """The bit of `qubit` in each outcome; wire 0 is the most significant."""
    return (index >> (qubits - 1 - qubit)) & 1


_BUILDERS: dict[tuple[str, ...], Callable[[Tensor, Pairs, int, torch.dtype], Permutation | Signs]] = {
    ("CNOT",): _cnots,
    ("CZ",): _czs,
}


def entangler(
    circuit: CircuitSpec, layer: int, dtype: torch.dtype, device: torch.device
) -> Permutation | Signs | None:
    """One layer's entangler for states of `dtype` on `device`; None in a final rotation layer."""
    if circuit.final_rotation and layer == circuit.layers - 1:
        return None
    row = ENTANGLERS[circuit.entangler]
    return _tables(row.name, circuit.qubits, layer % row.period(circuit.qubits), dtype, device)


@functools.lru_cache(maxsize=32)
def _tables(
    name: str, qubits: int, layer: int, dtype: torch.dtype, device: torch.device
) -> Permutation | Signs:
    row = ENTANGLERS[name]
    index = torch.arange(2**qubits, device=device)
    return _BUILDERS[row.gates](index, row.pattern(qubits, layer), qubits, dtype)
