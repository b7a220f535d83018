"""A circuit with data in it as OpenQASM 3: trained angles as numbers, what differs by sample as inputs.

    OPENQASM 3.0;
    include "stdgates.inc";
    input float[64] x0;                            features, or cells, of one sample
    qubit[2] q;
    bit[2] c;
    h q[0];
    rz(2 * x0) q[0];                               a data rotation exp(-i f(x) P): twice the half angle
    rz(2 * (pi - x0) * (pi - x1)) q[1];
    ry(0.9 * x0) q[0];                             a cell times its slot's trained scale
    ry(0.5) q[0];                                  the ansatz
    c[1] = measure q[0];                           wire w is bit n - 1 - w

Amplitude encoding prepares its state by a tree of controlled RY, whose angles are the inputs a0, a1, ...
(`feature_maps.preparation_gates` says how they follow from the amplitudes; `preparation_angles` computes
them).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.feature_maps import (
    AMPLITUDE,
    DataGate,
    EncodingSpec,
    Term,
    data_gates,
    preparation_gates,
)
from qtrain_cli.quantum.operations import operations

Angles = Sequence[Sequence[Sequence[Sequence[float]]]]


def student_program(
    encoding: EncodingSpec,
    circuit: CircuitSpec,
    theta: Angles,
    scale: Sequence[float] = (),
    comments: Iterable[str] = (),
) -> str:
    """One sample's circuit, encodings and ansatz in turn, one block after the other.

    Args:
        theta: angles in radians as nested lists, (B, L, n, r).
        scale: what each input is multiplied by, (B n,); none: inputs are features as they are.
        comments: one line each, without line breaks.
    """
    n = circuit.qubits
    lines = ["OPENQASM 3.0;", *(f"// {comment}" for comment in comments), 'include "stdgates.inc";']
    lines += [f"input float[64] {name};" for name in inputs_of(encoding, circuit)]
    lines += [f"qubit[{n}] q;", f"bit[{n}] c;"]
    for block, angles in enumerate(theta):
        if encoding.name == AMPLITUDE:
            lines += list(_preparation(n))
        else:
            names = _scaled(range(block * n, (block + 1) * n), scale)
            lines += [_data_line(gate, names) for gate in data_gates(encoding)]
        lines += list(_ansatz(circuit, angles))
    lines += [f"c[{n - 1 - wire}] = measure q[{wire}];" for wire in range(n)]
    return "\n".join(lines) + "\n"


def inputs_of(encoding: EncodingSpec, circuit: CircuitSpec) -> list[str]:
    """The names of the inputs, in order."""
    if encoding.name == AMPLITUDE:
        return [f"a{number}" for number in range(2**circuit.qubits - 1)]
    return [f"x{number}" for number in range(circuit.qubits * circuit.circuits)]


def preparation_angles(amplitudes: Sequence[float]) -> list[float]:
    """The inputs a0, a1, ... that prepare real amplitudes (2**n of them, of norm 1), in radians."""
    qubits = len(amplitudes).bit_length() - 1
    found = []
    for _, wire, value in preparation_gates(qubits):
        half = 2 ** (qubits - wire - 1)
        left = amplitudes[2 * half * value : 2 * half * value + half]
        right = amplitudes[2 * half * value + half : 2 * half * (value + 1)]
        if half == 1:
            found.append(2 * math.atan2(right[0], left[0]))
        else:
            found.append(2 * math.atan2(math.hypot(*right), math.hypot(*left)))
    return found


def _preparation(qubits: int) -> Iterator[str]:
    for number, wire, value in preparation_gates(qubits):
        bits = [(value >> (wire - 1 - k)) & 1 for k in range(wire)]
        controls = "".join("ctrl @ " if bit else "negctrl @ " for bit in bits)
        wires = ", ".join(f"q[{k}]" for k in range(wire + 1))
        yield f"{controls}ry(a{number}) {wires};"


def _scaled(inputs: Iterable[int], scale: Sequence[float]) -> list[str]:
    """The features of a block as expressions of its inputs."""
    return [f"{scale[number]!r} * x{number}" if scale else f"x{number}" for number in inputs]


def _data_line(gate: DataGate, features: Sequence[str]) -> str:
    angle = ""
    if gate.term is not None:
        angle = f"({_expression(gate.term, features)})"
    elif gate.angle is not None:
        angle = f"({gate.angle!r})"
    return f"{gate.gate.qasm}{angle} {_wires(gate.wires)};"


def _expression(term: Term, features: Sequence[str]) -> str:
    names = [features[wire] for wire in term.wires]
    factor = 2 * term.scale
    product = names[0] if len(names) == 1 else " * ".join(f"(pi - {name})" for name in names)
    return product if factor == 1 else f"{factor:g} * {product}"


def _ansatz(circuit: CircuitSpec, angles: Sequence[Sequence[Sequence[float]]]) -> Iterator[str]:
    for one in operations(circuit):
        if one.angle is None:
            yield f"{one.gate.qasm} {_wires(one.wires)};"
        else:
            layer, qubit, kind = one.angle
            yield f"{one.gate.qasm}({angles[layer][qubit][kind]!r}) {_wires(one.wires)};"


def _wires(wires: Iterable[int]) -> str:
    return ", ".join(f"q[{wire}]" for wire in wires)
