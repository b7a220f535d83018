"""The plain data that defines a generator: circuit, mapping, layout, angle coding. Standard library only.

Everything here can be written as JSON and checks itself, so that an artifact is validated, counted and
reported without torch and before anything is allocated. The formula it describes (`generator` runs it):

    z = 2**n * p - 1
    w[i] = centre[i] + scale[i] * mapping(z[i], bits(i))          i in 0..m-1
    scale = 1 / sqrt(3 * fan_in)                                  (targets.entries)

A row of the mappings may go without scale and centre: ``w[i] = mapping(z[i], bits(i))``. Weight `i` is
outcome ``i % 2**n`` of circuit ``i // 2**n``; surplus outcomes are dropped.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from qtrain_cli.errors import BadInput, suggestion
from qtrain_cli.quantum.circuit import CircuitSpec, qubits_for
from qtrain_cli.targets.entries import GENERATED, LayoutSpec

#: Elements of the largest matrix of a mapping that reads bits, weights x (position bits + hidden units).
MAX_BIT_ELEMENTS = 2**30
MAX_HIDDEN = 4096
#: Outputs of each linear layer of the mapping `quantum-train`.
STACK_WIDTHS = (4, 20, 4, 1)
RAW_BITS = 32
MIN_CODED_BITS, MAX_CODED_BITS = 2, 16


@dataclass(frozen=True)
class MappingSpec:
    """Which mapping turns `z` (and the position bits) into weights.

    `hidden` is the width of the MLP, the bond dimension of the tensor train, else 0.
    """

    kind: str
    hidden: int = 0

    def __post_init__(self) -> None:
        if self.kind not in MAPPINGS:
            raise BadInput(f"unknown mapping '{self.kind}'", suggestion(self.kind, MAPPINGS))
        least, most = (1, MAX_HIDDEN) if self.row.hidden else (0, 0)
        if not least <= self.hidden <= most:
            raise BadInput(
                f"a mapping {self.kind} has {self.hidden} hidden units; allowed: {least} to {most}",
                "choose another --mapping or budget",
            )

    @property
    def row(self) -> MappingRow:
        """The row of the table that `kind` names."""
        return MAPPINGS[self.kind]


@dataclass(frozen=True)
class MappingRow:
    """One row of the mapping table. `count(hidden, bits, tensors)` is how many numbers it trains.

    `hidden` is how many hidden units (or bonds) it has by default, 0 where it has none.

    `reads_bits`: the bits of a weight's number are inputs too. `scaled`: scale and centre apply to what it
    gives; else that is the weight itself. `local`: no weight depends on what is made of the others.
    """

    name: str
    count: Callable[[int, int, int], int]
    summary: str
    reads_bits: bool = False
    scaled: bool = True
    hidden: int = 0
    local: bool = True


def _mlp_count(hidden: int, bits: int, tensors: int) -> int:
    return 2 + hidden * (bits + 3)


def _train_count(hidden: int, bits: int, tensors: int) -> int:
    """Two row vectors for the first bit, two matrices for each other one, and the two ends."""
    return 2 * hidden + 2 * (bits - 1) * hidden**2 + 2 * hidden


def stack_shapes(bits: int) -> list[tuple[int, int]]:
    """(outputs, inputs) of each linear layer of the mapping `quantum-train`; each has a bias per output."""
    widths = (bits + 1, *STACK_WIDTHS)
    return [(after, before) for before, after in itertools.pairwise(widths)]


def _stack_count(hidden: int, bits: int, tensors: int) -> int:
    """``4 k + 197`` for k bits: 249 of 13."""
    return sum(after * (before + 1) for after, before in stack_shapes(bits))


LINEAR = "linear"
MAPPINGS: dict[str, MappingRow] = {
    row.name: row
    for row in (
        MappingRow(LINEAR, lambda hidden, bits, tensors: 2, "gain * z + bias"),
        MappingRow(
            "linear-per-tensor",
            lambda hidden, bits, tensors: 2 * tensors,
            "gain * z + bias, each tensor with its own gain and bias",
        ),
        MappingRow(
            "mlp",
            _mlp_count,
            "gain * z + bias + MLP(z, position bits) with tanh",
            reads_bits=True,
            hidden=4,
        ),
        MappingRow(
            "tensor-train",
            _train_count,
            "gain * z + bias, both a product of small matrices, one for each position bit",
            reads_bits=True,
            hidden=2,
        ),
        MappingRow(
            "quantum-train",
            _stack_count,
            "the Quantum-Train paper's: four linear layers on position bits and probability, no scale",
            reads_bits=True,
            scaled=False,
            local=False,
        ),
    )
}


@dataclass(frozen=True)
class AngleCoding:
    """How the angles are stored, and which are.

    `bits` 2..16: whole numbers of steps away from a start that `start_seed` gives, entropy-coded, so many
    bits an angle on the average at most. `bits` 32: the float32 angles themselves. The first `seeded`
    layers of each circuit stay at their start: they are not trained, and take no bytes.
    """

    bits: int
    start_seed: int
    seeded: int = 0

    def __post_init__(self) -> None:
        if self.bits != RAW_BITS and not MIN_CODED_BITS <= self.bits <= MAX_CODED_BITS:
            raise BadInput(
                f"angle bits is {self.bits}; allowed: {MIN_CODED_BITS} to {MAX_CODED_BITS}, or {RAW_BITS}",
                "choose other --angle-bits",
            )
        if not 0 <= self.start_seed < 2**63:
            raise BadInput(f"the seed is {self.start_seed}; allowed: 0 to 2**63-1", "choose another --seed")
        if self.seeded < 0:
            raise BadInput(
                f"the circuits have {self.seeded} seeded layers; allowed: 0 or more",
                "choose other --seeded-layers",
            )


@dataclass(frozen=True)
class GeneratorSpec:
    """All that regenerates the weights, except the stored numbers themselves.

    Raises:
        BadInput: more or fewer qubits than so many weights need, a circuit without a weight, or a mapping
            that no memory holds.
    """

    circuit: CircuitSpec
    mapping: MappingSpec
    layout: LayoutSpec
    angles: AngleCoding = field(default_factory=lambda: AngleCoding(RAW_BITS, 0))

    def __post_init__(self) -> None:
        m, b, n = self.layout.generated, self.circuit.circuits, self.circuit.qubits
        if m < 1:
            raise BadInput("no weight is left to generate", "widen --targets or narrow --ignore")
        if n != qubits_for(m, b) or (b - 1) * 2**n >= m:
            raise BadInput(
                f"{b} circuits of {n} qubits do not fit {m} weights, which need {qubits_for(m, b)}",
                "choose other --circuits",
            )
        if self.angles.seeded >= self.circuit.layers:
            raise BadInput(
                f"{self.angles.seeded} of {self.circuit.layers} layers are seeded: none is left to train",
                "choose fewer --seeded-layers, or more --layers",
            )
        wide = self.position_bits + self.mapping.hidden
        if self.mapping.row.reads_bits and m * wide > MAX_BIT_ELEMENTS:
            raise BadInput(
                f"the mapping {self.mapping.kind} is too large for {m} weights", "use the linear mapping"
            )

    @property
    def position_bits(self) -> int:
        """Bits of the weight's number: the circuit's own (if several), then the outcome's."""
        return (self.circuit.circuits - 1).bit_length() + self.circuit.qubits

    @property
    def mapping_numbers(self) -> int:
        """How many numbers the mapping trains."""
        tensors = len(self.layout.of_role(GENERATED))
        return self.mapping.row.count(self.mapping.hidden, self.position_bits, tensors)

    @property
    def trained_shape(self) -> tuple[int, int, int, int]:
        """``(b, L - seeded, n, r)``: of the angles that are trained and stored."""
        b, layers, n, r = self.circuit.angle_shape
        return (b, layers - self.angles.seeded, n, r)

    @property
    def trained_angles(self) -> int:
        """How many these are."""
        return math.prod(self.trained_shape)

    @property
    def trained_numbers(self) -> int:
        """Trained angles plus the mapping's numbers."""
        return self.trained_angles + self.mapping_numbers
