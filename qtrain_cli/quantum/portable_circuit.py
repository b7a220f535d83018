"""All 2**n probabilities of a batch of circuits, the same bits on every machine: for what is regenerated.

    theta (b, L, n, r)  ->  p (b, 2**n)          float64, NumPy; no gradient (`statevector` has that)

Gate after gate, each an operation on pairs of amplitudes in float64, rounded step by step (`portable`). Of a
layer: the rotations of qubit 0 in the order of the ansatz, those of qubit 1, ..., then the entangler. With c
and s the cosine and sine of half an angle (of a whole one for a phase shift):

    RY       a, b  <-  c a - s b, s a + c b                    a, b: where the qubit is 0 and 1
    RZ       a, b  <-  (c - i s) a, (c + i s) b
             with (c + i s) (x + i y) = (c x - s y) + i (s x + c y)
    CNOT     amplitudes change places                          CZ: some change their sign
    p        x x + y y

No amplitude but the other one of its pair has a part in a step, so that blocks, vectors and threads change no
bit. Most of the work is in the compiled steps (`portable/native/circuit.h`), where those were built; what
stands here in NumPy is the same, step for step.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from qtrain_cli.errors import BadInput
from qtrain_cli.portable import kernel
from qtrain_cli.portable.functions import sine_cosine
from qtrain_cli.portable.kernel import Floats
from qtrain_cli.quantum.circuit import ANSATZE, ENTANGLERS, CircuitSpec

_LETTERS = {"RY": "Y", "RZ": "Z"}
_WHOLE_ANGLE = "ControlledPhaseShift"
Tables = tuple[NDArray[np.generic] | None, ...]


def portable_probabilities(circuit: CircuitSpec, theta: Floats) -> Floats:
    """Measurement probabilities of every circuit from |0...0>.

    Args:
        circuit: the circuits as plain data.
        theta: angles in radians, float64 ``(b, L, n, r)``.

    Returns:
        ``(b, 2**n)``, float64. Wire 0 is the most significant bit of an outcome.

    Raises:
        BadInput: angles of another shape or dtype.
    """
    (p,) = probabilities_in_parts(circuit, theta, circuit.circuits)
    return p


def probabilities_in_parts(
    circuit: CircuitSpec, theta: Floats, together: int, threads: int = 1
) -> Iterator[Floats]:
    """The same for so many circuits at a time, ``(together, 2**n)`` each, the last ones perhaps fewer.

    As many parts as there are `threads` are in the making, each with a state and its spare; the next one
    begins when the last one is asked for.
    """
    if theta.shape != circuit.angle_shape or theta.dtype != np.float64:
        raise BadInput(
            f"the angles are {theta.dtype} of shape {list(theta.shape)};"
            f" needed: float64 of shape {list(circuit.angle_shape)}"
        )
    parts = (theta[first : first + together] for first in range(0, circuit.circuits, together))
    if threads == 1:
        return (_probabilities_of(circuit, part) for part in parts)
    return _made_ahead(partial(_probabilities_of, circuit), parts, threads)


def _probabilities_of(circuit: CircuitSpec, theta: Floats) -> Floats:
    """Of some of the circuits, angles (c, L, n, r) -> (c, 2**n)."""
    factors = np.array([1.0 if kind == _WHOLE_ANGLE else 0.5 for kind in circuit.kinds])
    walk, angles = _compiled if kernel.is_built() else _walked, theta * factors
    if len(angles) == 1:  # as it was made: a copy would be another state
        return walk(circuit, *sine_cosine(angles[0]))[None]
    p = np.empty((len(angles), 2**circuit.qubits))
    for row, own in zip(p, angles, strict=True):
        row[:] = walk(circuit, *sine_cosine(own))
    return p


def _made_ahead(make: Callable[[Floats], Floats], parts: Iterator[Floats], threads: int) -> Iterator[Floats]:
    """What is made of each part, in order. The compiled steps give up Python's lock."""
    with ThreadPoolExecutor(threads) as pool:
        coming = deque(pool.submit(make, part) for part in islice(parts, threads))
        while coming:
            yield coming.popleft().result()
            coming.extend(pool.submit(make, part) for part in islice(parts, 1))


def _compiled(circuit: CircuitSpec, sine: Floats, cosine: Floats) -> Floats:
    """One circuit by the compiled steps, (2**n,)."""
    row = ENTANGLERS[circuit.entangler]
    letters = "".join(_LETTERS[kind] for kind in ANSATZE[circuit.ansatz].rotations)
    period = row.period(circuit.qubits)
    shape = (
        circuit.qubits, circuit.layers, period, circuit.qubits // 2, letters, row.parametrised,
        circuit.final_rotation,
    )  # fmt: skip
    tables = _stacked(circuit.entangler, circuit.qubits)
    return kernel.walk(shape, (sine, cosine), tables, ANSATZE[circuit.ansatz].real)


# --- entanglers as tables over the high and the low half of an outcome's bits -----------------------------


@dataclass(frozen=True)
class _Moved:
    """CNOTs: amplitude x comes from place ``high[x's high bits] ^ low[x's low bits]``."""

    high: NDArray[np.int32]
    low: NDArray[np.int32]

    def apply(self, amplitudes: Floats) -> Floats:
        found = np.empty((self.high.size, self.low.size))
        for row, place in zip(found, self.high, strict=True):
            np.take(amplitudes, place ^ self.low, out=row)
        return found.reshape(-1)


@dataclass(frozen=True)
class _Signed:
    """CZs: the sign of x is the parity ``high ^ low ^ parity(low bits & mask of the high ones)``."""

    high: NDArray[np.uint8]
    low: NDArray[np.uint8]
    mask: NDArray[np.int32]
    parity: NDArray[np.uint8]

    def apply(self, amplitudes: Floats) -> Floats:
        rows = amplitudes.reshape(self.high.size, self.low.size)
        places = np.arange(self.low.size, dtype=np.int32)
        for row, high, mask in zip(rows, self.high, self.mask, strict=True):
            row *= 1.0 - 2.0 * (high ^ self.low ^ self.parity[places & mask])
        return amplitudes


def _halves(qubits: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """All outcomes whose low half is 0, and all whose high half is 0."""
    low = qubits // 2
    return np.arange(2 ** (qubits - low), dtype=np.int32) << low, np.arange(2**low, dtype=np.int32)


def _bit(outcome: NDArray[np.int32], qubit: int, qubits: int) -> NDArray[np.int32]:
    return (outcome >> (qubits - 1 - qubit)) & 1


def _moved(pairs: list[tuple[int, int]], qubits: int) -> _Moved:
    def source(outcome: NDArray[np.int32]) -> NDArray[np.int32]:
        for control, flipped in reversed(pairs):
            outcome = outcome ^ (_bit(outcome, control, qubits) << (qubits - 1 - flipped))
        return outcome

    high, low = _halves(qubits)
    return _Moved(source(high), source(low))


def _signed(pairs: list[tuple[int, int]], qubits: int) -> _Signed:
    high, low = _halves(qubits)
    mask = np.zeros_like(high)
    for one, other in ((min(pair), max(pair)) for pair in pairs):
        if one < qubits - qubits // 2 <= other:
            mask ^= _bit(high, one, qubits) << (qubits - 1 - other)
    return _Signed(_odd(high, pairs, qubits), _odd(low, pairs, qubits), mask, _parity(low))


def _odd(outcome: NDArray[np.int32], pairs: list[tuple[int, int]], qubits: int) -> NDArray[np.uint8]:
    """Whether the number of pairs that are both 1 is odd."""
    odd = np.zeros_like(outcome)
    for one, other in pairs:
        odd ^= _bit(outcome, one, qubits) & _bit(outcome, other, qubits)
    return odd.astype(np.uint8)


def _parity(number: NDArray[np.int32]) -> NDArray[np.uint8]:
    for shift in (16, 8, 4, 2, 1):
        number = number ^ (number >> shift)
    return (number & 1).astype(np.uint8)


_BUILD: dict[tuple[str, ...], Callable[[list[tuple[int, int]], int], _Moved | _Signed]] = {
    ("CNOT",): _moved,
    ("CZ",): _signed,
}


@functools.lru_cache(maxsize=32)
def _table(name: str, qubits: int, layer: int) -> _Moved | _Signed:
    """The entangler of one layer, by its place in the period."""
    row = ENTANGLERS[name]
    return _BUILD[row.gates](row.pattern(qubits, layer), qubits)


@functools.lru_cache(maxsize=8)
def _stacked(name: str, qubits: int) -> Tables:
    """All tables of an entangler as the compiled steps take them (`kernel.walk`)."""
    row = ENTANGLERS[name]
    if row.parametrised:
        return (np.array(row.pattern(qubits, 0), np.int32), *[None] * 6)
    layers = [_table(name, qubits, layer) for layer in range(row.period(qubits))]
    moved = [table for table in layers if isinstance(table, _Moved)]
    signed = [table for table in layers if isinstance(table, _Signed)]
    if moved:
        return None, np.stack([t.high for t in moved]), np.stack([t.low for t in moved]), *[None] * 4
    high, low, mask = (np.stack([getattr(t, part) for t in signed]) for part in ("high", "low", "mask"))
    return None, None, None, high, low, mask, signed[0].parity


# --- the same steps in NumPy -------------------------------------------------------------------------------


def _walked(circuit: CircuitSpec, sine: Floats, cosine: Floats) -> Floats:
    """One circuit, (2**n,): sines and cosines (L, n, r)."""
    parts = [np.zeros(2**circuit.qubits) for _ in range(1 if ANSATZE[circuit.ansatz].real else 2)]
    parts[0][0] = 1.0
    for layer in range(circuit.layers):
        turns = np.stack((sine[layer], cosine[layer]), axis=-1)  # (n, r, 2)
        _rotate(circuit, turns, parts)
        pairs = circuit.pairs(layer)
        if pairs and ENTANGLERS[circuit.entangler].parametrised:
            for number, pair in enumerate(pairs):
                _couple(circuit.qubits, pair, turns[number, -3:], parts)
        elif pairs:
            period = ENTANGLERS[circuit.entangler].period(circuit.qubits)
            table = _table(circuit.entangler, circuit.qubits, layer % period)
            parts = [table.apply(part) for part in parts]
    squares = [part * part for part in parts]
    return squares[0] + squares[1] if len(squares) > 1 else squares[0]


def _rotate(circuit: CircuitSpec, turns: Floats, parts: list[Floats]) -> None:
    """All rotations of a layer. Low qubits stand in front for the while, so that neighbours stay together."""
    low = circuit.qubits // 2
    high = circuit.qubits - low
    _rotate_front(circuit, turns[:high], parts)
    turned = [part.reshape(2**high, 2**low).T.copy().reshape(-1) for part in parts]
    _rotate_front(circuit, turns[high:], turned)
    for part, other in zip(parts, turned, strict=True):
        part[:] = other.reshape(2**low, 2**high).T.reshape(-1)


def _rotate_front(circuit: CircuitSpec, turns: Floats, parts: list[Floats]) -> None:
    """The rotations of the qubits that the outcome's first bits belong to."""
    for qubit, own in enumerate(turns):
        pairs = [part.reshape(2**qubit, 2, -1) for part in parts]
        for kind, (s, c) in zip(ANSATZE[circuit.ansatz].rotations, own, strict=False):
            if kind == "RY":
                for pair in pairs:
                    _mix(pair[:, 0], pair[:, 1], s, c)
            else:
                re, im = pairs
                _mix(re[:, 0], im[:, 0], -s, c)
                _mix(re[:, 1], im[:, 1], s, c)


def _couple(qubits: int, pair: tuple[int, int], turns: Floats, parts: list[Floats]) -> None:
    """Phase shift, RY and phase shift on the second qubit of a pair where the first is 1: turns (3, 2)."""
    control, target = pair
    first, second = sorted(pair)
    shape = (2**first, 2, 2 ** (second - first - 1), 2, 2 ** (qubits - second - 1))
    rows = []
    for part in parts:
        axes = part.reshape(shape)
        on = axes[:, 1] if control < target else axes[:, :, :, 1]
        rows.append((on[:, :, 0], on[:, :, 1]) if control < target else (on[:, 0], on[:, 1]))
    (re_0, re_1), (im_0, im_1) = rows
    (s0, c0), (s1, c1), (s2, c2) = turns
    _mix(re_1, im_1, s0, c0)
    _mix(re_0, re_1, s1, c1)
    _mix(im_0, im_1, s1, c1)
    _mix(re_1, im_1, s2, c2)


def _mix(a: Floats, b: Floats, s: float, c: float) -> None:
    """``a, b <- c a - s b, s a + c b``, in place."""
    first = c * a - s * b
    second = s * a + c * b
    a[...], b[...] = first, second
