"""The idea of this project in one file: circuit -> probabilities -> mapping -> named weights.

    p = |<i| U(theta) |0...0>|**2        i in 0..2**n-1, for each of b circuits      (quantum/statevector)
    z = 2**n p - 1                       mean exactly 0, variance near 1 (complex) or 2 (real)
    w = centre + scale * mapping(z)      the first m of the b * 2**n outcomes        (mapping)
                                         (`quantum-train`: w = mapping(z))
    w -> {name: tensor}                                                              (layout)

Quantum-Train (arXiv 2405.11304) with one circuit, its distributed form (arXiv 2409.06992) with several.
Only `theta` and the mapping's few numbers are trained and stored; the angles of the first layers may be
seeded and stay so, which scrambles the outcomes for nothing. Inference needs the named tensors only.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from qtrain_cli.methods.generator.angles import start_angles
from qtrain_cli.methods.generator.linear import linear_tensors
from qtrain_cli.methods.generator.mapping import Positions, apply_mapping
from qtrain_cli.methods.generator.spec import LINEAR, GeneratorSpec
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.statevector import Underway, probabilities, run_first
from qtrain_cli.targets.entries import GENERATED, TensorEntry
from qtrain_cli.targets.layout import split

#: (circuit, theta (b, L, n, r)) -> probabilities (b, 2**n): the engine, or what measures in its place.
Simulate = Callable[[CircuitSpec, Tensor], Tensor]


class Generator:
    """A generator's fixed side: its spec and, on one device and in one precision, scales and positions, made
    when they are asked for.

    Args:
        spec: circuit, mapping and layout.
        device: where `theta` will live.
        dtype: float32 to train, float64 to regenerate.
    """

    def __init__(
        self, spec: GeneratorSpec, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        self.spec, self.device, self.dtype = spec, torch.device(device), dtype
        self._underway = dict[torch.dtype, Underway]()

    @functools.cached_property
    def scale(self) -> Tensor:
        """Of each weight, (m,)."""
        return self._of_weights([entry.scale if self._scaled else 1.0 for entry in self._entries])

    @functools.cached_property
    def centre(self) -> Tensor:
        """Of each weight, (m,)."""
        return self._of_weights([entry.centre if self._scaled else 0.0 for entry in self._entries])

    @functools.cached_property
    def positions(self) -> Positions:
        """What the mapping may know of each weight."""
        return Positions.of(self.spec, self.device, self.dtype)

    @property
    def _scaled(self) -> bool:
        return self.spec.mapping.row.scaled

    @property
    def _entries(self) -> tuple[TensorEntry, ...]:
        return self.spec.layout.of_role(GENERATED)

    def _of_weights(self, numbers: list[float]) -> Tensor:
        """A number of each tensor for each of its weights, (m,)."""
        counts = torch.tensor([entry.count for entry in self._entries])
        wide = torch.tensor(numbers, dtype=torch.float64).repeat_interleave(counts)
        return wide.to(self.device, self.dtype)

    def standardised(self, theta: Tensor, run: Simulate = probabilities) -> Tensor:
        """z of the m outcomes in use: the trained angles in radians -> (m,)."""
        return self._in_use(self.all_probabilities(theta, run))

    def _in_use(self, p: Tensor) -> Tensor:
        """z (m,) of the probabilities of all outcomes, (b, 2**n)."""
        return p.flatten()[: self.spec.layout.generated] * 2**self.spec.circuit.qubits - 1

    def whole(self, theta: Tensor) -> Tensor:
        """The angles of all layers, (b, L, n, r), from those of the trained ones."""
        return torch.cat((self._seeded(theta), theta), dim=1) if self.spec.angles.seeded else theta

    def _seeded(self, like: Tensor) -> Tensor:
        """The angles of the seeded layers, (b, seeded, n, r)."""
        coding = self.spec.angles
        return start_angles(self.spec.circuit, coding.start_seed)[:, : coding.seeded].to(like)

    def all_probabilities(self, theta: Tensor, run: Simulate = probabilities) -> Tensor:
        """All outcomes' (b, 2**n); of the engine seeded layers are run once."""
        circuit = self.spec.circuit
        if run is not probabilities:
            return run(circuit, self.whole(theta))
        if not self.spec.angles.seeded:
            return probabilities(circuit, theta)
        if theta.dtype not in self._underway:
            self._underway[theta.dtype] = run_first(circuit, self._seeded(theta))
        return probabilities(circuit, theta, self._underway[theta.dtype])

    def weights(self, theta: Tensor, numbers: Tensor, run: Simulate = probabilities) -> Tensor:
        """All generated weights as one vector (m,); differentiable in angles and mapping numbers."""
        return self.weights_of(self.standardised(theta, run), numbers)

    def weights_of(self, z: Tensor, numbers: Tensor) -> Tensor:
        """The same from z of the m outcomes in use, wherever they were measured: (m,) -> (m,)."""
        mapped = apply_mapping(self.spec, numbers, z, self.positions)
        return torch.addcmul(self.centre, self.scale, mapped)

    def tensors(self, theta: Tensor, numbers: Tensor, run: Simulate = probabilities) -> dict[str, Tensor]:
        """The generated tensors by name, in their own shapes and dtypes."""
        return self.tensors_of(self.all_probabilities(theta, run), numbers)

    def tensors_of(self, p: Tensor, numbers: Tensor) -> dict[str, Tensor]:
        """The same from the probabilities of all outcomes, (b, 2**n), which the way back may write over."""
        if self.spec.mapping.kind == LINEAR:
            return linear_tensors(self.spec.layout, p, numbers)
        return split(self.spec.layout, self.weights_of(self._in_use(p), numbers))
