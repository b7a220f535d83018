"""What a student's circuit is made of, and how it is run: plain data, and the tables of both.

`Layout` says which encoding meets which ansatz and what is read. `Execution` says how gradients are found,
with how many shots and under how much depolarising noise; `estimates` says what that takes.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.encodings import angles
from qtrain_cli.quantum.feature_maps import AMPLITUDE, EncodingSpec


@dataclass(frozen=True)
class Layout:
    """An encoding, an ansatz of B circuits (one a block), and what is read: `classes` or Pauli-Z."""

    encoding: EncodingSpec
    circuit: CircuitSpec
    classes: int | None = None

    @property
    def blocks(self) -> int:
        """How often data enter."""
        return self.circuit.circuits

    def observables(self) -> Tensor:
        """The diagonals that are read, (k, 2**n)."""
        outcomes = torch.arange(2**self.circuit.qubits)
        if self.classes is not None:
            return (outcomes % self.classes == torch.arange(self.classes)[:, None]).float()
        shifts = torch.arange(self.circuit.qubits - 1, -1, -1)[:, None]
        return (1 - 2 * ((outcomes >> shifts) & 1)).float()

    def half_angles(self, features: Tensor) -> Tensor:
        """Of every data rotation of every block: (N, B n) -> (N, B T). Amplitudes pass as they are."""
        if self.encoding.name == AMPLITUDE:
            return features
        parts = features.split(self.circuit.qubits, 1)
        return torch.cat([angles(self.encoding, part) for part in parts], 1)


@dataclass(frozen=True)
class Execution:
    """How a circuit runs: one of `quantum.estimators.ESTIMATORS`, shots (0: exact), depolarising noise."""

    gradient: str = "adjoint"
    shots: int = 0
    noise: float = 0.0
