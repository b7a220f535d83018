"""A circuit as it is drawn on paper: a wire a qubit, a layer gate by gate, then how often there is one.

Rotations are boxes, a control is a dot, CNOT's target a cross in a circle, CZ a dot on either wire. Gates
that share no wire stand below each other. What is drawn follows from the same tables that the engine runs
(`quantum.circuit`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS, CircuitSpec
from qtrain_cli.report.page.parts import DrawingOf
from qtrain_cli.report.page.svg import box, dot, drawing, element, label, line

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_COLUMN, _WIRE, _LEFT, _TOP = 26.0, 26.0, 46.0, 26.0
#: Columns that are drawn; the rest of a layer is dots.
_MOST_COLUMNS = 40
_SHORT = {"ControlledPhaseShift": "P", "CRY": "RY", "CRZ": "RZ", "CRX": "RX"}


@dataclass(frozen=True)
class _Gate:
    """What acts on one wire, or on a pair: control first."""

    name: str
    wires: tuple[int, ...]


@dataclass
class _Sheet:
    """Where the next gate on each wire may stand, and what was drawn."""

    qubits: int
    free: list[int] = field(default_factory=list)
    parts: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free = [0] * self.qubits

    def column(self, wires: tuple[int, ...]) -> int:
        """The first column that all wires between these have free, which is taken."""
        span = range(min(wires), max(wires) + 1)
        found = max(self.free[wire] for wire in span)
        for wire in span:
            self.free[wire] = found + 1
        return found

    def align(self) -> int:
        """What comes next stands right of all there is."""
        self.free = [max(self.free)] * self.qubits
        return self.free[0]


def circuit_drawn(spec: CircuitSpec) -> DrawingOf:
    """The first layer, or two where they differ, and then ``x L``; what is not drawn is said."""
    sheet, drawn = _Sheet(spec.qubits), min(spec.layers, _different_layers(spec))
    notes = []
    for layer in range(drawn):
        gates = list(_gates(spec, layer))
        done = _draw_layer(sheet, gates, _MOST_COLUMNS * (layer + 1))
        if done < len(gates):
            notes.append(f"{done} of {len(gates)} gates of layer {layer + 1} are drawn.")
        sheet.align()
    if spec.final_rotation and drawn < spec.layers:
        notes.append("The last layer has no entangler.")
    return _framed(spec, sheet, drawn, " ".join(notes))


def _draw_layer(sheet: _Sheet, gates: Sequence[_Gate], most: int) -> int:
    """Its gates as far as there are columns, then dots; how many were drawn."""
    for done, gate in enumerate(gates):
        if max(sheet.free) >= most:
            x = _LEFT + _COLUMN * (sheet.align() + 0.5)
            sheet.column((0, sheet.qubits - 1))
            sheet.parts += [
                label(x, _height(wire) - 3, "…", "name", "middle") for wire in range(sheet.qubits)
            ]
            return done
        _draw(sheet, gate)
    return len(gates)


def _different_layers(spec: CircuitSpec) -> int:
    """How many are drawn: two where the pattern moves from layer to layer."""
    return min(2, ENTANGLERS[spec.entangler].period(spec.qubits))


def _gates(spec: CircuitSpec, layer: int) -> Iterator[_Gate]:
    """One layer in the order in which it acts."""
    for name in ANSATZE[spec.ansatz].rotations:
        yield from (_Gate(name, (wire,)) for wire in range(spec.qubits))
    if spec.final_rotation and layer == spec.layers - 1:
        return
    entangler = ENTANGLERS[spec.entangler]
    for pair in entangler.pattern(spec.qubits, layer):
        yield from (_Gate(name, pair) for name in entangler.gates)


def _draw(sheet: _Sheet, gate: _Gate) -> None:
    name = _SHORT.get(gate.name, gate.name)
    x = _LEFT + _COLUMN * (sheet.column(gate.wires) + 0.7)
    *controls, target = (_height(wire) for wire in gate.wires)
    for y in controls:
        sheet.parts += [line(x, y, x, target, "link"), dot(x, y, 3.2, "holds")]
    if gate.name == "CNOT":
        sheet.parts += [dot(x, target, 6.5, "target"), line(x - 6.5, target, x + 6.5, target, "link"),
                        line(x, target - 6.5, x, target + 6.5, "link")]  # fmt: skip
    elif gate.name == "CZ":
        sheet.parts.append(dot(x, target, 3.2, "holds"))
    else:
        sheet.parts += [box(x - 10.5, target - 9, 21, 18, "gate", 3),
                        label(x, target + 3.5, name, "gate-name", "middle")]  # fmt: skip


def _framed(spec: CircuitSpec, sheet: _Sheet, drawn: int, note: str) -> DrawingOf:
    """Wires below the gates, and a bracket that says how often the drawn layers act."""
    end = _LEFT + _COLUMN * (max(sheet.free) + 0.4)
    width, height = end + 62, _TOP + _WIRE * spec.qubits + 22
    wires = [line(_LEFT, _height(wire), end + 14, _height(wire), "wire") for wire in range(spec.qubits)]
    names = [
        label(_LEFT - 6, _height(wire) + 3.5, f"q{wire} |0⟩", "tick", "end") for wire in range(spec.qubits)
    ]
    ends = [element("path", d=f"M{end + 14} {_height(wire) - 8}v16l12 -8z", kind="gate")
            for wire in range(spec.qubits)]  # fmt: skip
    repeats = [box(_LEFT + 3, _TOP - 6, end - _LEFT - 2, _WIRE * spec.qubits + 8, "layers", 6),
               label(end, height - 4, _times(spec, drawn), "name", "end")]  # fmt: skip
    said = (
        f"one of {spec.circuits:,} circuits of {spec.qubits} qubits and {spec.layers:,} layers:"
        f" {ANSATZE[spec.ansatz].summary}; {ENTANGLERS[spec.entangler].summary}"
    )
    parts = [*repeats, *wires, *sheet.parts, *names, *ends]
    return DrawingOf(drawing(parts, f"{said}. {note}".strip(" ."), height, width), note, scrolls=True)


def _times(spec: CircuitSpec, drawn: int) -> str:
    if drawn == spec.layers:
        return "all layers"
    return f"× {spec.layers:,} layers" if drawn == 1 else f"the first {drawn} of {spec.layers:,} layers"


def _height(wire: int) -> float:
    return _TOP + _WIRE * (wire + 0.5)
