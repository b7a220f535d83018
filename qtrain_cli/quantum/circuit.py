"""A circuit as plain data: which rotations, which entangler, how many qubits, layers and copies.

One layer is one rotation of every kind in the ansatz row on every qubit, then the entangler:

    |psi>  <-  E_l  *  prod_q [ R_last(theta[l, q, -1]) ... R_first(theta[l, q, 0]) ]  |psi>

repeated `layers` times from |0...0>. An entangler puts its gates on one pair of qubits after the other;
which pairs may depend on the layer. Gates of an entangler may have angles of their own (a controlled
rotation): those of the k-th pair stand at qubit index k, after the rotations of that qubit. With
`final_rotation` the last layer has no entangler, so that Qiskit's `reps` is `layers - 1`.

`circuits` independent copies (`b`) run as one batch, each with its own angles. The angles of a batch have the
shape ``(b, L, n, r)``: circuit, layer, qubit, kind. Wire 0 is the most significant bit of an outcome, as in
PennyLane. `operations` lists a circuit gate by gate.

Sources: RealAmplitudes, EfficientSU2 and the patterns linear, circular and full of Qiskit's circuit library;
StronglyEntanglingLayers of PennyLane (arXiv 1804.00633); the U3 + CU3 blocks of Quantum-Train (arXiv
2405.11304).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from qtrain_cli.errors import BadInput, suggestion

MAX_QUBITS = 26
MAX_ANGLES = 50_000_000
MAX_OUTCOMES = 2**28

#: (qubits, layer) -> the pairs that an entangler's gates act on, in order.
Pattern = Callable[[int, int], list[tuple[int, int]]]


def ring(qubits: int, layer: int) -> list[tuple[int, int]]:
    """Each qubit with the next, the last with the first: none for one qubit, one pair for two."""
    if qubits < 3:
        return [(0, 1)][: qubits - 1]
    return [(q, (q + 1) % qubits) for q in range(qubits)]


def closed_ring(qubits: int, layer: int) -> list[tuple[int, int]]:
    """As many pairs as qubits: the ring, and there and back for two qubits."""
    return [(q, (q + 1) % qubits) for q in range(qubits)] if qubits > 1 else []


def linear(qubits: int, layer: int) -> list[tuple[int, int]]:
    """Each qubit with the next."""
    return list(itertools.pairwise(range(qubits)))


def reverse_linear(qubits: int, layer: int) -> list[tuple[int, int]]:
    """Each qubit with the next, from the last pair to the first."""
    return linear(qubits, layer)[::-1]


def circular(qubits: int, layer: int) -> list[tuple[int, int]]:
    """The last qubit with the first, then each with the next (Qiskit's order; `ring` closes at the end)."""
    return ([(qubits - 1, 0)] if qubits > 2 else []) + linear(qubits, layer)


def full(qubits: int, layer: int) -> list[tuple[int, int]]:
    """Each qubit with every later one."""
    return list(itertools.combinations(range(qubits), 2))


def ranges(qubits: int, layer: int) -> list[tuple[int, int]]:
    """Each qubit with the one at distance r, ``r = layer mod (n - 1) + 1``, around the ring."""
    if qubits < 2:
        return []
    return [(q, (q + layer % (qubits - 1) + 1) % qubits) for q in range(qubits)]


@dataclass(frozen=True)
class Entangler:
    """One row of the table: the gates on each pair in the order they act, and the pattern of pairs."""

    name: str
    gates: tuple[str, ...]
    pattern: Pattern
    summary: str

    @property
    def parametrised(self) -> bool:
        """True when its gates have angles of their own."""
        return self.gates not in (("CNOT",), ("CZ",))

    def period(self, qubits: int) -> int:
        """After how many layers the pattern repeats."""
        return max(1, qubits - 1) if self.pattern is ranges else 1


ENTANGLERS: dict[str, Entangler] = {
    row.name: row
    for row in (
        Entangler("cnot-ring", ("CNOT",), ring, "CNOT from each qubit to the next, the last to the first"),
        Entangler("cz-ring", ("CZ",), ring, "CZ between neighbours, the last with the first"),
        Entangler("cnot-linear", ("CNOT",), linear, "CNOT from each qubit to the next"),
        Entangler(
            "cnot-reverse-linear", ("CNOT",), reverse_linear, "the same from the last pair to the first"
        ),
        Entangler("cnot-circular", ("CNOT",), circular, "CNOT from the last qubit to the first, then linear"),
        Entangler("cnot-full", ("CNOT",), full, "CNOT from each qubit to every later one"),
        Entangler("cz-linear", ("CZ",), linear, "CZ between neighbours"),
        Entangler("cz-full", ("CZ",), full, "CZ between every two qubits"),
        Entangler(
            "cnot-ranges", ("CNOT",), ranges, "CNOT to the qubit at a distance that grows with the layer"
        ),
        Entangler("cz-ranges", ("CZ",), ranges, "CZ with the qubit at a distance that grows with the layer"),
        Entangler(
            "cu3-ring",
            ("ControlledPhaseShift", "CRY", "ControlledPhaseShift"),
            closed_ring,
            "controlled U3 from each qubit to the next, the last to the first",
        ),
    )
}

_FIXED = tuple(row.name for row in ENTANGLERS.values() if not row.parametrised and row.pattern is not ranges)


@dataclass(frozen=True)
class Ansatz:
    """One row of the table: the rotations of a layer in the order they act on a qubit, and its entanglers.

    The first entangler is the default.
    """

    name: str
    rotations: tuple[str, ...]
    entanglers: tuple[str, ...]
    summary: str

    @property
    def real(self) -> bool:
        """True when amplitudes stay real (RY and a real entangler only)."""
        return self.rotations == ("RY",)


ANSATZE: dict[str, Ansatz] = {
    row.name: row
    for row in (
        Ansatz("real-amplitudes", ("RY",), _FIXED, "RY rotations, real arithmetic"),
        Ansatz("efficient-su2", ("RY", "RZ"), _FIXED, "RY and RZ rotations, complex arithmetic"),
        Ansatz(
            "su2-rz-ry", ("RZ", "RY"), _FIXED, "the same, RZ first: no angle stands idle before a read-out"
        ),
        Ansatz(
            "strongly-entangling",
            ("RZ", "RY", "RZ"),
            ("cnot-ranges", "cz-ranges"),
            "any rotation of a qubit, entangled at growing distances",
        ),
        Ansatz(
            "u3-cu3",
            ("RZ", "RY", "RZ"),
            ("cu3-ring",),
            "the blocks of the Quantum-Train paper: U3 on qubits, controlled U3 on neighbours",
        ),
    )
}


def qubits_for(weights: int, circuits: int) -> int:
    """``ceil(log2(ceil(m / b)))``, at least 1: the fewest qubits whose outcomes hold all weights."""
    return max(1, (-(-weights // circuits) - 1).bit_length())


@dataclass(frozen=True)
class CircuitSpec:
    """All that defines a batch of circuits, except their angles.

    Raises:
        BadInput: an unknown ansatz or entangler, two that do not go together, or a size outside its bounds.
    """

    ansatz: str
    entangler: str
    qubits: int
    layers: int
    circuits: int = 1
    final_rotation: bool = False

    def __post_init__(self) -> None:
        if self.ansatz not in ANSATZE:
            raise BadInput(f"unknown ansatz '{self.ansatz}'", suggestion(self.ansatz, ANSATZE))
        if self.entangler not in ENTANGLERS:
            raise BadInput(f"unknown entangler '{self.entangler}'", suggestion(self.entangler, ENTANGLERS))
        allowed = ANSATZE[self.ansatz].entanglers
        if self.entangler not in allowed:
            raise BadInput(
                f"the ansatz {self.ansatz} has no entangler {self.entangler}; allowed: {', '.join(allowed)}",
                "choose one of them, or another ansatz",
            )
        self._check_sizes()

    def _check_sizes(self) -> None:
        # A gate with angles on pairs that do not exist would leave angles that turn nothing.
        fewest = 2 if ENTANGLERS[self.entangler].parametrised else 1
        for name, value, low, high in (
            ("qubits", self.qubits, fewest, MAX_QUBITS),
            ("layers", self.layers, 1, MAX_ANGLES),
            ("circuits", self.circuits, 1, MAX_ANGLES),
        ):
            if not low <= value <= high:
                raise BadInput(
                    f"{name} is {value}; allowed: {low} to {high}", "choose another budget or size"
                )
        if self.final_rotation and ENTANGLERS[self.entangler].parametrised:
            raise BadInput(
                f"a final rotation layer would leave angles of the entangler {self.entangler} unused",
                "leave the final rotation out, or choose another entangler",
            )
        if self.angles > MAX_ANGLES:
            raise BadInput(
                f"the circuits have {self.angles} angles; allowed: at most {MAX_ANGLES}",
                "choose fewer layers or circuits, or a smaller budget",
            )
        if self.outcomes > MAX_OUTCOMES:
            raise BadInput(
                f"the circuits have {self.outcomes} outcomes; allowed: at most {MAX_OUTCOMES}",
                "choose fewer circuits, or narrow --targets",
            )

    @property
    def kinds(self) -> tuple[str, ...]:
        """The gate of each angle of a qubit, in the order they act: rotations, then the entangler's."""
        entangler = ENTANGLERS[self.entangler]
        return ANSATZE[self.ansatz].rotations + (entangler.gates if entangler.parametrised else ())

    @property
    def angle_shape(self) -> tuple[int, int, int, int]:
        """``(b, L, n, r)``."""
        return (self.circuits, self.layers, self.qubits, len(self.kinds))

    @property
    def angles(self) -> int:
        """How many angles all circuits have together."""
        b, layers, n, r = self.angle_shape
        return b * layers * n * r

    @property
    def outcomes(self) -> int:
        """``b * 2**n``: how many probabilities all circuits have together."""
        return self.circuits * 2**self.qubits

    def pairs(self, layer: int) -> list[tuple[int, int]]:
        """The pairs of the entangler in this layer, in the order they act; none in a final rotation layer."""
        if self.final_rotation and layer == self.layers - 1:
            return []
        return ENTANGLERS[self.entangler].pattern(self.qubits, layer)
