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

from collections.abc import Callable

import torch
from torch import Tensor

from qtrain_cli.methods.generator.angles import start_angles
from qtrain_cli.methods.generator.mapping import Positions, apply_mapping
from qtrain_cli.methods.generator.spec import GeneratorSpec
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.statevector import Underway, probabilities, run_first
from qtrain_cli.targets.entries import GENERATED
from qtrain_cli.targets.layout import split

#: (circuit, theta (b, L, n, r)) -> probabilities (b, 2**n): the engine, or what measures in its place.
Simulate = Callable[[CircuitSpec, Tensor], Tensor]


class Generator:
    """A generator's fixed side: its spec and, on one device and in one precision, scales and positions.

    Args:
        spec: circuit, mapping and layout.
        device: where `theta` will live.
        dtype: float32 to train, float64 to regenerate.
    """

    def __init__(
        self, spec: GeneratorSpec, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
    ) -> None:
        self.spec = spec
        entries = spec.layout.of_role(GENERATED)
        counts = torch.tensor([entry.count for entry in entries])
        scaled = spec.mapping.row.scaled
        scales = torch.tensor([entry.scale if scaled else 1 for entry in entries], dtype=torch.float64)
        centres = torch.tensor([entry.centre if scaled else 0 for entry in entries], dtype=torch.float64)
        self.scale = scales.repeat_interleave(counts).to(device, dtype)  # (m,)
        self.centre = centres.repeat_interleave(counts).to(device, dtype)  # (m,)
        self.positions = Positions.of(spec, torch.device(device), dtype)
        self._underway = dict[torch.dtype, Underway]()

    def standardised(self, theta: Tensor, run: Simulate = probabilities) -> Tensor:
        """z of the m outcomes in use: the trained angles in radians -> (m,)."""
        p = self._probabilities(theta) if run is probabilities else run(self.spec.circuit, self.whole(theta))
        return p.flatten()[: self.spec.layout.generated] * 2**self.spec.circuit.qubits - 1

    def whole(self, theta: Tensor) -> Tensor:
        """The angles of all layers, (b, L, n, r), from those of the trained ones."""
        return torch.cat((self._seeded(theta), theta), dim=1) if self.spec.angles.seeded else theta

    def _seeded(self, like: Tensor) -> Tensor:
        """The angles of the seeded layers, (b, seeded, n, r)."""
        coding = self.spec.angles
        return start_angles(self.spec.circuit, coding.start_seed)[:, : coding.seeded].to(like)

    def _probabilities(self, theta: Tensor) -> Tensor:
        """The engine's (b, 2**n); seeded layers are run once."""
        circuit = self.spec.circuit
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
        return split(self.spec.layout, self.weights(theta, numbers, run))
