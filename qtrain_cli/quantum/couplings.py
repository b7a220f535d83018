"""Entanglers whose gates have angles: controlled gates on one pair of qubits after the other.

The gates of a pair share control and target, so they are one 2 x 2 matrix U on the target's amplitudes where
the control is 1, and half of the state is not touched:

    t[a]  <-  sum_b U[a, b] t[b]                  t[a]: amplitudes with control 1 and target a
    m[a, b] = sum conj(phi[a]) chi[b]             over that half, just before the pair is undone

`m` gives the gradient of all of the pair's angles (`rotations.angle_gradient`). Pairs overlap and do not
commute, so they go one by one, each in place.

Left out here: gates without angles (`entanglers`).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from qtrain_cli.quantum.circuit import ENTANGLERS, CircuitSpec
from qtrain_cli.quantum.rotations import angle_gradient, gate_matrices, product


@dataclass(frozen=True)
class Couplings:
    """The controlled gates of a block of layers: pairs, matrices of each gate, products, and room for m.

    All pairs of all layers: (b, l, n, 2, 2), the k-th pair at qubit index k.
    """

    circuit: CircuitSpec
    pairs: list[tuple[int, int]]
    matrices: list[Tensor]
    products: Tensor
    overlaps: Tensor

    @staticmethod
    def of(circuit: CircuitSpec, angles: Tensor, dtype: torch.dtype) -> Couplings:
        """The couplings of a block: angles (b, l, n, r) of the entangler's gates."""
        matrices = gate_matrices(ENTANGLERS[circuit.entangler].gates, angles, dtype)
        products = product(matrices)
        # The pattern of every parametrised row is the same in all layers.
        return Couplings(circuit, circuit.pairs(0), matrices, products, torch.zeros_like(products))

    def forward(self, states: Tensor, layer: int) -> None:
        """Applies a layer's couplings to states (b, s, 2**n), in place."""
        for k, pair in enumerate(self.pairs):
            self._turn(states, pair, self.products[:, layer, k])

    def inverse(self, kets: Tensor, bras: Tensor, layer: int) -> None:
        """Undoes them on kets and (conjugated) bras, both (b, s, 2**n), in place, and keeps the overlaps."""
        for k, pair in reversed(list(enumerate(self.pairs))):
            chi, phi = self._targets(kets, pair), self._targets(bras, pair)
            self.overlaps[:, layer, k] = torch.einsum("bsxaymz,bsxaynz->bmn", phi, chi)
            matrix = self.products[:, layer, k]
            self._turn(kets, pair, matrix.mH)
            self._turn(bras, pair, matrix.mT)

    def gradient(self) -> Tensor:
        """Of the angles, (b, l, n, r), once `inverse` has run for every layer."""
        return angle_gradient(ENTANGLERS[self.circuit.entangler].gates, self.matrices, self.overlaps)

    def _turn(self, states: Tensor, pair: tuple[int, int], matrix: Tensor) -> None:
        """Multiplies the target's amplitudes by (b, 2, 2) where the control is 1."""
        targets = self._targets(states, pair)
        targets.copy_(torch.einsum("bmn,bsxaynz->bsxaymz", matrix, targets))

    def _targets(self, states: Tensor, pair: tuple[int, int]) -> Tensor:
        """A view of the half where the control is 1: (b, s, 2**n) -> (b, s, x, 1, y, 2, z), target: 2."""
        n, (control, target) = self.circuit.qubits, pair
        low, high = sorted(pair)
        split = states.unflatten(-1, (2**low, 2, 2 ** (high - low - 1), 2, 2 ** (n - high - 1)))
        if control < target:
            return split[:, :, :, 1:, :, :, :]
        return split[:, :, :, :, :, 1:, :].transpose(3, 5)
