"""A circuit as a list of gates, one after the other: what simulators, devices and OpenQASM run.

    RY(a) = exp(-i a Y / 2)     RZ(a) = exp(-i a Z / 2)     CRY(a) = |0><0| x 1 + |1><1| x RY(a)
    ControlledPhaseShift(a) = diag(1, 1, 1, exp(i a))

The engine works on whole layers and never reads this list; that the two agree is tested for every ansatz and
entangler. A gate's name is PennyLane's. `frequencies` are the positive differences of the eigenvalues of its
generator H in exp(-i a H): a probability is a trigonometric polynomial of the angle with these frequencies,
which decides the parameter-shift rule (arXiv 2107.12390).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS, CircuitSpec


@dataclass(frozen=True)
class Gate:
    """One row of the table. `qasm` is its name in OpenQASM 3's standard gates; no frequencies: no angle."""

    name: str
    qasm: str
    wires: int
    frequencies: tuple[float, ...] = ()


OPERATIONS: dict[str, Gate] = {
    row.name: row
    for row in (
        Gate("RY", "ry", 1, (1.0,)),
        Gate("RZ", "rz", 1, (1.0,)),
        Gate("CNOT", "cx", 2),
        Gate("CZ", "cz", 2),
        Gate("CRY", "cry", 2, (0.5, 1.0)),
        Gate("ControlledPhaseShift", "cp", 2, (1.0,)),
    )
}


@dataclass(frozen=True)
class Operation:
    """One gate of a circuit: its wires, and where its angle stands in ``(L, n, r)``, None without one."""

    gate: Gate
    wires: tuple[int, ...]
    angle: tuple[int, int, int] | None = None


def operations(circuit: CircuitSpec) -> Iterator[Operation]:
    """The gates of one of the circuits, in the order they act."""
    for layer in range(circuit.layers):
        yield from _rotations(circuit, layer)
        yield from _entangler(circuit, layer)


def _rotations(circuit: CircuitSpec, layer: int) -> Iterator[Operation]:
    for qubit in range(circuit.qubits):
        for kind, name in enumerate(ANSATZE[circuit.ansatz].rotations):
            yield Operation(OPERATIONS[name], (qubit,), (layer, qubit, kind))


def _entangler(circuit: CircuitSpec, layer: int) -> Iterator[Operation]:
    first = len(ANSATZE[circuit.ansatz].rotations)
    for number, pair in enumerate(circuit.pairs(layer)):
        for kind, name in enumerate(ENTANGLERS[circuit.entangler].gates):
            gate = OPERATIONS[name]
            yield Operation(gate, pair, (layer, number, first + kind) if gate.frequencies else None)
