"""How data enter a circuit, as plain data: rows of one table, stages of commuting rotations, lists of gates.

Every encoding but `amplitude` is a product of Pauli rotations of the features x, in Qiskit's convention:

    exp(-i s f(x) P)        f(x) = x_j for one qubit,  prod_j (pi - x_j) for several        (arXiv 1804.11326)

`P` is a string of Pauli letters on some wires; s = 1/2 makes RY(x) of `angle`, s = 1 the maps `z`, `zz` and
`pauli` (Qiskit's alpha is 2 s). A map's repetition is a Hadamard on every qubit, then each string of `paulis`
on each block of qubits: all ascending ones (`full`) or neighbours (`linear`). As in Qiskit, a string's first
letter stands on the block's last qubit. Rotations that are diagonal in one product basis share a `Stage`, so
that a simulator multiplies once by a diagonal.

Amplitude encoding has no fixed gates: a binary tree of controlled RY prepares real amplitudes, whose angles
follow from the data (`preparation_gates`, arXiv quant-ph/0407010 without its Gray codes).

Sources: ZFeatureMap, ZZFeatureMap and PauliFeatureMap of Qiskit's circuit library. Standard library only.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from qtrain_cli.errors import BadInput, suggestion
from qtrain_cli.quantum.operations import OPERATIONS, Gate

ENTANGLEMENTS = ("full", "linear")
MAX_REPS = 20
MAX_TERMS = 5000
AMPLITUDE = "amplitude"

HADAMARD = Gate("Hadamard", "h", 1)
RX = Gate("RX", "rx", 1, (1.0,))
_TURNS = {"X": RX, "Y": OPERATIONS["RY"], "Z": OPERATIONS["RZ"]}


@dataclass(frozen=True)
class Encoding:
    """One row of the table: its Pauli strings (none: `amplitude`), s, and whether Hadamards come first."""

    name: str
    paulis: tuple[str, ...]
    scale: float
    hadamards: bool
    summary: str


ENCODINGS: dict[str, Encoding] = {
    row.name: row
    for row in (
        Encoding("angle", ("Y",), 0.5, False, "RY(x) on each qubit"),
        Encoding(AMPLITUDE, (), 0.0, False, "the input, normalised, as amplitudes"),
        Encoding("z", ("Z",), 1.0, True, "Qiskit's ZFeatureMap"),
        Encoding("zz", ("Z", "ZZ"), 1.0, True, "Qiskit's ZZFeatureMap"),
        Encoding("pauli", ("Z", "XX"), 1.0, True, "Qiskit's PauliFeatureMap of the strings in paulis"),
    )
}


@dataclass(frozen=True)
class EncodingSpec:
    """One encoding of n features on n qubits (2**n of them for `amplitude`).

    `paulis` are the strings of the row `pauli`; () takes the row's own.

    Raises:
        BadInput: an unknown name, entanglement or letter, a string longer than the register, or a size
        outside
            its bounds.
    """

    name: str
    qubits: int
    reps: int = 1
    entanglement: str = "full"
    paulis: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in ENCODINGS:
            raise BadInput(f"unknown encoding '{self.name}'", suggestion(self.name, ENCODINGS))
        if self.entanglement not in ENTANGLEMENTS:
            raise BadInput(
                f"unknown entanglement '{self.entanglement}'", suggestion(self.entanglement, ENTANGLEMENTS)
            )
        if not 1 <= self.reps <= MAX_REPS:
            raise BadInput(
                f"the encoding has {self.reps} repetitions; allowed: 1 to {MAX_REPS}",
                "choose other reps= of --student",
            )
        if self.paulis and self.name != "pauli":
            raise BadInput(f"the encoding {self.name} has its own Pauli strings", "use the encoding pauli")
        for text in self.paulis:
            self._check_string(text)

    def _check_string(self, text: str) -> None:
        if not text or not set(text) <= set("XYZ"):
            raise BadInput(f"'{text}' is no Pauli string; allowed: the letters X, Y, Z", "write e.g. Z+XX")
        if len(text) > self.qubits:
            raise BadInput(
                f"the Pauli string {text} needs {len(text)} qubits; there are {self.qubits}",
                "choose more qubits= or a shorter string",
            )

    @property
    def row(self) -> Encoding:
        """The encoding's row of the table."""
        return ENCODINGS[self.name]

    @property
    def features(self) -> int:
        """How many numbers of a sample it takes."""
        return 2**self.qubits if self.name == AMPLITUDE else self.qubits

    @property
    def strings(self) -> tuple[str, ...]:
        """The Pauli strings of one repetition; those longer than the register have no block."""
        return self.paulis or self.row.paulis


@dataclass(frozen=True)
class Term:
    """The rotation ``exp(-i scale f(x) P)``: letter k of `paulis` on wire k of `wires`, features alike."""

    scale: float
    paulis: str
    wires: tuple[int, ...]


@dataclass(frozen=True)
class Stage:
    """Rotations diagonal in one product basis, a letter a qubit; after Hadamards on all qubits or not."""

    hadamards: bool
    bases: str
    terms: tuple[Term, ...]


def stages(spec: EncodingSpec) -> tuple[Stage, ...]:
    """An encoding's stages in the order they act; none for `amplitude`. Raises `BadInput` if too many."""
    found: list[Stage] = []
    for _ in range(spec.reps):
        hadamards = spec.row.hadamards
        for bases, terms in _groups(spec):
            found.append(Stage(hadamards, bases, terms))
            hadamards = False
    return tuple(found)


def _groups(spec: EncodingSpec) -> Iterator[tuple[str, tuple[Term, ...]]]:
    """The terms of one repetition in runs that share a basis on every wire they touch."""
    bases: dict[int, str] = {}
    run: list[Term] = []
    for term in _terms(spec):
        letters = dict(zip(term.wires, term.paulis, strict=True))
        if any(bases.get(wire, letter) != letter for wire, letter in letters.items()):
            yield _spelled(bases, spec.qubits), tuple(run)
            bases, run = {}, []
        bases |= letters
        run.append(term)
    if run:
        yield _spelled(bases, spec.qubits), tuple(run)


def _spelled(bases: dict[int, str], qubits: int) -> str:
    return "".join(bases.get(wire, "Z") for wire in range(qubits))


def _terms(spec: EncodingSpec) -> list[Term]:
    found = []
    for text in spec.strings:
        for block in _blocks(spec.qubits, len(text), spec.entanglement):
            found.append(Term(spec.row.scale, text[::-1], block))
    if len(found) * spec.reps > MAX_TERMS:
        raise BadInput(
            f"the encoding has {len(found) * spec.reps} rotations; allowed: {MAX_TERMS}",
            "use linear entanglement or shorter Pauli strings",
        )
    return found


def _blocks(qubits: int, size: int, entanglement: str) -> list[tuple[int, ...]]:
    if entanglement == "full":
        return list(itertools.combinations(range(qubits), size))
    return [tuple(range(first, first + size)) for first in range(qubits - size + 1)]


@dataclass(frozen=True)
class DataGate:
    """One gate; `term` is set where its angle is ``2 scale f(x)``, `angle` where it is fixed."""

    gate: Gate
    wires: tuple[int, ...]
    term: Term | None = None
    angle: float | None = None


def data_gates(spec: EncodingSpec) -> Iterator[DataGate]:
    """The gates of an encoding in the order they act, as Qiskit has them (its P is our RZ, up to a phase)."""
    for stage in stages(spec):
        if stage.hadamards:
            yield from (DataGate(HADAMARD, (wire,)) for wire in range(spec.qubits))
        for term in stage.terms:
            yield from _rotation(term)


def _rotation(term: Term) -> Iterator[DataGate]:
    """A Pauli rotation: one gate for one letter; else into the Z basis, a CNOT ladder, RZ, and back."""
    if len(term.wires) == 1:
        yield DataGate(_TURNS[term.paulis], term.wires, term)
        return
    quarter = 1.5707963267948966
    ladder = [DataGate(OPERATIONS["CNOT"], pair) for pair in itertools.pairwise(term.wires)]
    yield from _basis_change(term, quarter)
    yield from ladder
    yield DataGate(OPERATIONS["RZ"], term.wires[-1:], term)
    yield from reversed(ladder)
    yield from _basis_change(term, -quarter)


def _basis_change(term: Term, quarter: float) -> Iterator[DataGate]:
    for wire, letter in zip(term.wires, term.paulis, strict=True):
        if letter == "X":
            yield DataGate(HADAMARD, (wire,))
        elif letter == "Y":
            yield DataGate(RX, (wire,), angle=quarter)


def preparation_gates(qubits: int) -> Iterator[tuple[int, int, int]]:
    """The tree that prepares real amplitudes: (number of the angle, wire, value of the wires before it).

    Angle number ``2**wire - 1 + value`` turns `wire` by RY where the wires before it read `value`. It is
    ``2 atan2(norm of the right half, norm of the left half)`` of the amplitudes under `value`; on the last
    wire the halves are single amplitudes and keep their signs.
    """
    for wire in range(qubits):
        for value in range(2**wire):
            yield 2**wire - 1 + value, wire, value
