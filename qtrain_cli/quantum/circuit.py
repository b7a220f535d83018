"""A circuit as plain data: which rotations, which entangler, how many qubits, layers and copies.

One layer is one rotation of every kind in the ansatz row on every qubit, then the entangler:

    |psi>  <-  E  *  prod_q [ R_last(theta[l, q, -1]) ... R_first(theta[l, q, 0]) ]  |psi>

repeated `layers` times from |0...0>. `circuits` independent copies (`b`) run as one batch, each with its own
angles. The angles of a batch have the shape ``(b, L, n, r)``: circuit, layer, qubit, rotation kind.
Wire 0 is the most significant bit of an outcome, as in PennyLane.

Left out here: final rotation layers, other entanglement patterns, two-qubit rotations.
"""

from __future__ import annotations

from dataclasses import dataclass

from qtrain_cli.errors import BadInput, suggestion

MAX_QUBITS = 26
MAX_ANGLES = 50_000_000
MAX_OUTCOMES = 2**28


@dataclass(frozen=True)
class Ansatz:
    """One row of the table: the rotations of a layer, in the order they act on a qubit."""

    name: str
    rotations: tuple[str, ...]
    summary: str

    @property
    def real(self) -> bool:
        """True when amplitudes stay real (RY and a real entangler only)."""
        return self.rotations == ("RY",)


ANSATZE: dict[str, Ansatz] = {
    row.name: row
    for row in (
        Ansatz("real-amplitudes", ("RY",), "RY rotations, real arithmetic"),
        Ansatz("efficient-su2", ("RY", "RZ"), "RY and RZ rotations, complex arithmetic"),
    )
}

ENTANGLERS: dict[str, str] = {
    "cnot-ring": "CNOT from each qubit to the next, the last to the first",
    "cz-ring": "CZ between neighbours, the last with the first",
}


def ring_pairs(qubits: int) -> list[tuple[int, int]]:
    """The qubit pairs of a ring, in the order they act: none for one qubit, one for two."""
    if qubits < 3:
        return [(0, 1)][: qubits - 1]
    return [(q, (q + 1) % qubits) for q in range(qubits)]


def qubits_for(weights: int, circuits: int) -> int:
    """``ceil(log2(ceil(m / b)))``, at least 1: the fewest qubits whose outcomes hold all weights."""
    return max(1, (-(-weights // circuits) - 1).bit_length())


@dataclass(frozen=True)
class CircuitSpec:
    """All that defines a batch of circuits, except their angles.

    Raises:
        BadInput: an unknown ansatz or entangler, or a size outside its bounds.
    """

    ansatz: str
    entangler: str
    qubits: int
    layers: int
    circuits: int = 1

    def __post_init__(self) -> None:
        if self.ansatz not in ANSATZE:
            raise BadInput(f"unknown ansatz '{self.ansatz}'", suggestion(self.ansatz, ANSATZE))
        if self.entangler not in ENTANGLERS:
            raise BadInput(f"unknown entangler '{self.entangler}'", suggestion(self.entangler, ENTANGLERS))
        for name, value, high in (
            ("qubits", self.qubits, MAX_QUBITS),
            ("layers", self.layers, MAX_ANGLES),
            ("circuits", self.circuits, MAX_ANGLES),
        ):
            if not 1 <= value <= high:
                raise BadInput(f"{name} is {value}; allowed: 1 to {high}", "choose another budget or size")
        if self.angles > MAX_ANGLES:
            raise BadInput(f"the circuits have {self.angles} angles; allowed: at most {MAX_ANGLES}")
        if self.outcomes > MAX_OUTCOMES:
            raise BadInput(f"the circuits have {self.outcomes} outcomes; allowed: at most {MAX_OUTCOMES}")

    @property
    def angle_shape(self) -> tuple[int, int, int, int]:
        """``(b, L, n, r)``."""
        return (self.circuits, self.layers, self.qubits, len(ANSATZE[self.ansatz].rotations))

    @property
    def angles(self) -> int:
        """How many angles all circuits have together."""
        b, layers, n, r = self.angle_shape
        return b * layers * n * r

    @property
    def outcomes(self) -> int:
        """``b * 2**n``: how many probabilities all circuits have together."""
        return self.circuits * 2**self.qubits
