"""Some consecutive layers of a batch of circuits as matrices: one for each group of neighbouring qubits.

What the engines in PyTorch and on a GPU share (`statevector`, `gpu`): gates in, angle gradients out.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS, CircuitSpec
from qtrain_cli.quantum.couplings import Couplings
from qtrain_cli.quantum.rotations import angle_gradient, gate_matrices, group_matrices, qubit_overlaps

BLOCK_LAYERS = 16


class LayerBlock:
    """The gates of some consecutive layers as matrices: angles (b, l, n, r)."""

    def __init__(self, circuit: CircuitSpec, angles: Tensor, dtype: torch.dtype) -> None:
        self.kinds = ANSATZE[circuit.ansatz].rotations
        own, shared = angles.split((len(self.kinds), angles.shape[-1] - len(self.kinds)), dim=-1)
        self.rotations = gate_matrices(self.kinds, own, dtype)
        self.groups = group_matrices(self.rotations)
        parametrised = ENTANGLERS[circuit.entangler].parametrised
        self.couplings = Couplings.of(circuit, shared, dtype) if parametrised else None

    def gradient(self, overlaps: list[Tensor]) -> Tensor:
        """Of all angles, (b, l, n, r), from M of each group (l, b, d, d) and what the couplings kept."""
        own = angle_gradient(self.kinds, self.rotations, qubit_overlaps(overlaps))
        return torch.cat((own, self.couplings.gradient()), -1) if self.couplings else own


def layer_blocks(layers: int, begin_at: int = 0) -> Iterator[tuple[int, int]]:
    """Ranges of at most `BLOCK_LAYERS` layers, so that matrices do not grow with depth."""
    for first in range(begin_at, layers, BLOCK_LAYERS):
        yield first, min(first + BLOCK_LAYERS, layers)
