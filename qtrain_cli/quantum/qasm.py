"""Trained circuits as OpenQASM 3 (arXiv 2104.14722), with the gates of its standard library and nothing else.

    OPENQASM 3.0;
    include "stdgates.inc";
    qubit[3] q0;                          one register for each circuit, q0, q1, ...; circuits do not touch
    bit[3] c0;
    ry(0.12345678901234567) q0[0];        wire w of circuit k is q<k>[w]
    cx q0[0], q0[1];
    c0[2] = measure q0[0];                wire w is bit n - 1 - w

Wire 0 is the most significant bit of an outcome and bit 0 of a register the least significant, so that c<k>
read as an unsigned number (and printed by Qiskit) is the number of the outcome. Angles are written as the
shortest decimal that reads back as the same float64. Gates stand in the order of `operations`.

`require_same_circuits` reads a program back by its own small grammar and compares every gate; that other
tools read the same circuit is a test. Left out: reading OpenQASM in general.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from torch import Tensor

from qtrain_cli.errors import RunFailed
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.operations import OPERATIONS, Operation, operations

_STATEMENT = re.compile(
    r"(?P<gate>[a-z]+)(?:\((?P<angle>-?\d+(?:\.\d+)?(?:e[-+]?\d+)?)\))?"
    r" (?P<wires>q\d+\[\d+\](?:, q\d+\[\d+\])*);"
    r"|(?P<bit>c\d+\[\d+\]) = measure (?P<read>q\d+\[\d+\]);"
)
_HEAD = ("OPENQASM 3.0;", 'include "stdgates.inc";')


def qasm_text(
    circuit: CircuitSpec, theta: Tensor, chosen: Iterable[int], comments: Iterable[str] = ()
) -> str:
    """The chosen circuits as one program.

    Args:
        circuit: the circuits as plain data.
        theta: angles in radians, float64 ``(b, L, n, r)``.
        chosen: numbers of circuits, from 0.
        comments: one line each, without line breaks.
    """
    lines = [_HEAD[0], *(f"// {comment}" for comment in comments), _HEAD[1]]
    chosen = tuple(chosen)
    for number in chosen:
        lines += [f"qubit[{circuit.qubits}] q{number};", f"bit[{circuit.qubits}] c{number};"]
    for number in chosen:
        lines += [f"// circuit {number}", *_statements(circuit, theta[number].tolist(), number)]
    return "\n".join(lines) + "\n"


def require_same_circuits(text: str, circuit: CircuitSpec, theta: Tensor, chosen: Iterable[int]) -> int:
    """The number of gates, once the program has these circuits gate by gate, angles to the last bit.

    Raises:
        RunFailed: it has not.
    """
    lines = [line for line in text.splitlines() if not line.startswith("//")]
    chosen = tuple(chosen)
    sizes = [
        f"{kind}[{circuit.qubits}] {name}{k};"
        for k in chosen
        for kind, name in (("qubit", "q"), ("bit", "c"))
    ]
    expected: Iterator[tuple[object, ...]] = (
        parts for k in chosen for parts in _expected(circuit, theta[k].tolist(), k)
    )
    head = len(_HEAD) + len(sizes)
    if lines[:head] != [*_HEAD, *sizes]:
        raise RunFailed("the written program does not declare the artifact's circuits", "write it again")
    found = [_parsed(line) for line in lines[head:]]
    if found != list(expected):
        raise RunFailed("the written program does not hold the artifact's gates", "write it again")
    return sum(parts[0] != "measure" for parts in found)


def _statements(circuit: CircuitSpec, angles: list[list[list[float]]], number: int) -> Iterator[str]:
    for one in operations(circuit):
        angle = "" if one.angle is None else f"({_angle(angles, one)!r})"
        wires = ", ".join(f"q{number}[{wire}]" for wire in one.wires)
        yield f"{one.gate.qasm}{angle} {wires};"
    for wire in range(circuit.qubits):
        yield f"c{number}[{circuit.qubits - 1 - wire}] = measure q{number}[{wire}];"


def _angle(angles: list[list[list[float]]], one: Operation) -> float:
    layer, qubit, kind = one.angle or (0, 0, 0)
    return angles[layer][qubit][kind]


def _expected(circuit: CircuitSpec, angles: list[list[list[float]]], k: int) -> Iterator[tuple[object, ...]]:
    """What `_parsed` must find, from PennyLane's names and the angles themselves."""
    for one in operations(circuit):
        value = None if one.angle is None else _angle(angles, one)
        yield (one.gate.name, value, tuple((k, wire) for wire in one.wires))
    for wire in range(circuit.qubits):
        yield ("measure", None, ((k, wire), (k, circuit.qubits - 1 - wire)))


def _parsed(line: str) -> tuple[object, ...]:
    """One statement as (gate, angle, wires); a measurement's wire comes with its bit."""
    match = _STATEMENT.fullmatch(line)
    if match is None:
        raise RunFailed(f"the written program has the line {line[:80]!r}", "write it again")
    if match["bit"]:
        return ("measure", None, (_place(match["read"]), _place(match["bit"])))
    name = {gate.qasm: gate.name for gate in OPERATIONS.values()}.get(match["gate"])
    angle = None if match["angle"] is None else float(match["angle"])
    return (name, angle, tuple(_place(wire) for wire in match["wires"].split(", ")))


def _place(text: str) -> tuple[int, int]:
    """``q3[12]`` -> (3, 12)."""
    number, index = text[1:-1].split("[")
    return int(number), int(index)
