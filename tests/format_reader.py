"""A reader of artifacts written from FORMAT.md alone: NumPy, the standard library and dense matrices.

It shares no code with the project, so that what it finds in a file proves the page complete and right. It
checks no bounds: for honest and small files only.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

MASK = 2**64 - 1
NUMPY_DTYPES = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "I64": "<i8",
    "I32": "<i4",
    "I16": "<i2",
    "I8": "i1",
    "U8": "u1",
}
ROTATIONS = {
    "real-amplitudes": ("RY",),
    "efficient-su2": ("RY", "RZ"),
    "su2-rz-ry": ("RZ", "RY"),
    "strongly-entangling": ("RZ", "RY", "RZ"),
    "u3-cu3": ("RZ", "RY", "RZ"),
}
#: Angles of each qubit: of the rotations, then of the entangler's gates.
ANGLES = {
    "real-amplitudes": 1, "efficient-su2": 2, "su2-rz-ry": 2, "strongly-entangling": 3, "u3-cu3": 6
}  # fmt: skip


@dataclass
class Read:
    """What a file holds: metadata, stored tensors by name, float64 weights, and what follows from them."""

    metadata: dict[str, Any]
    tensors: dict[str, np.ndarray]
    angles: np.ndarray
    weights: np.ndarray
    state: dict[str, bytes]
    sha256: str
    probes: list[float]


def read(data: bytes) -> Read:
    """Everything that FORMAT.md says about a file."""
    header_bytes = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_bytes])
    metadata = json.loads(header.pop("__metadata__")["qtrain"])
    payload = data[8 + header_bytes :]
    raw = {name: payload[slice(*row["data_offsets"])] for name, row in header.items()}
    tensors = {
        name: np.frombuffer(raw[name], NUMPY_DTYPES[row["dtype"]]).reshape(row["shape"])
        for name, row in header.items() if row["dtype"] in NUMPY_DTYPES
    }  # fmt: skip
    angles = _angles(metadata, tensors)
    weights = _weights(metadata, angles, tensors["mapping"].astype(float))
    generated = dict(_rounded(metadata["layout"], weights))
    state: dict[str, bytes] = {}
    for number, (name, *rest) in enumerate(metadata["layout"]):
        if len(rest) != 1:
            state[name] = generated[name] if rest else raw[str(number)]
    state |= {row[0]: state[row[1]] for row in metadata["layout"] if len(row) == 2}
    sha256 = hashlib.sha256(b"".join(generated.values())).hexdigest()[:32]
    return Read(metadata, tensors, angles, weights, state, sha256, probes(weights))


def check_of(data: bytes) -> str:
    """The check that a file must have: its own digits count as zeros."""
    check = read(data).metadata["check"]
    return hashlib.sha256(data.replace(check.encode(), b"0" * 32, 1)).hexdigest()[:32]


def philox_block(key: int, counter: int) -> list[int]:
    """Four words of Philox 4x64-10 (Salmon et al. 2011): key (key, 0), counter (counter, 0, 0, 0)."""
    words, keys = [counter, 0, 0, 0], [key, 0]
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * words[0], 2**64)
        high1, low1 = divmod(0xCA5A826395121157 * words[2], 2**64)
        words = [high1 ^ words[1] ^ keys[0], low1, high0 ^ words[3] ^ keys[1], low0]
        keys = [(keys[0] + 0x9E3779B97F4A7C15) & MASK, (keys[1] + 0xBB67AE8584CAA73B) & MASK]
    return words


def philox_words(key: int) -> Iterator[int]:
    """The stream of words: the first block has counter 1."""
    return itertools.chain.from_iterable(philox_block(key, counter) for counter in itertools.count(1))


def start_angles(seed: int, count: int) -> np.ndarray:
    """The seeded start of so many angles, in radians."""
    words = itertools.islice(philox_words(seed), count)
    return np.array([math.pi * (2 * ((word >> 11) * 2.0**-53) - 1) for word in words])


def _angles(metadata: dict[str, Any], tensors: dict[str, np.ndarray]) -> np.ndarray:
    ansatz, _, n, layers, b = metadata["circuit"][:5]
    shape = (b, layers, n, ANGLES[ansatz])
    bits, seed = metadata["angles"]
    if bits == 32:
        return tensors["angles"].astype(float).reshape(shape)
    stream = int.from_bytes(tensors["angles"].tobytes(), "little")  # bit i of the stream is bit i of this
    count = math.prod(shape)
    codes = [((stream >> (j * bits)) & (2**bits - 1)) - 2 ** (bits - 1) for j in range(count)]
    assert stream >> (count * bits) == 0
    steps = tensors["steps"].astype(float).reshape(b, 1, 1, 1)
    return start_angles(seed, count).reshape(shape) + steps * np.array(codes, float).reshape(shape)


def _weights(metadata: dict[str, Any], angles: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    ansatz, entangler, n, _, b, *final = metadata["circuit"]
    assert final in ([], [1])
    generated = [row for row in metadata["layout"] if len(row) > 2]
    counts = [math.prod(row[1]) for row in generated]
    p = np.concatenate([probabilities(ansatz, entangler, n, angles[c], final == [1]) for c in range(b)])
    if metadata["mapping"][0] == "quantum-train":
        return _stacked(numbers, np.maximum(2**n * p[: sum(counts)], 1e-6), n + math.ceil(math.log2(b)))
    weights = []
    for tensor, (row, count) in enumerate(zip(generated, counts, strict=True)):
        _, _, fan_in, centre, _ = (*row, 0.0, "F32")[:5] if len(row) == 3 else row
        for _ in range(count):
            j = len(weights)
            u = _mapped(metadata["mapping"], numbers, 2**n * p[j] - 1, j, n, b, tensor, len(generated))
            weights.append(centre + u / math.sqrt(3 * fan_in))
    return np.array(weights)


def _mapped(
    mapping: list, numbers: np.ndarray, z: float, j: int, n: int, b: int, t: int, tensors: int
) -> float:
    kind, h = mapping
    if kind == "linear-per-tensor":
        return numbers[t] * z + numbers[tensors + t]
    g, c, *rest = numbers
    if kind == "linear":
        return g * z + c
    k = n + math.ceil(math.log2(b))
    x = [1 if j >> (k - 1 - place) & 1 else -1 for place in range(k)]
    V = np.array(rest[: k * h]).reshape(k, h)
    s, d, a = np.array(rest[k * h :]).reshape(3, h)
    return g * z + c + a @ np.tanh(V.T @ x + s * z + d)


def _stacked(numbers: np.ndarray, p: np.ndarray, k: int) -> np.ndarray:
    """The mapping `quantum-train`: its four layers one after the other, biases and all."""
    q = (0.8 * np.tanh(0.1 * p / 2)) ** 0.3
    rows = [[1 if j >> (k - 1 - place) & 1 else -1 for place in range(k)] for j in range(len(p))]
    y = np.column_stack((np.array(rows, float), q))
    rest = numbers
    for outputs in (4, 20, 4, 1):
        size = outputs * y.shape[1]
        matrix, biases, rest = rest[:size], rest[size : size + outputs], rest[size + outputs :]
        y = y @ matrix.reshape(outputs, -1).T + biases
    assert rest.size == 0
    return y[:, 0] - y.mean()


def probabilities(
    ansatz: str, entangler: str, n: int, angles: np.ndarray, final_rotation: bool = False
) -> np.ndarray:
    """Of one circuit's outcomes: angles (L, n, r) -> (2^n,)."""
    state = np.zeros(2**n, complex)
    state[0] = 1
    for number, layer in enumerate(angles):  # (n, r)
        qubits = [np.linalg.multi_dot([np.eye(2), *_rotations(ansatz, q)[::-1]]) for q in layer]
        whole = qubits[0]
        for qubit in qubits[1:]:
            whole = np.kron(whole, qubit)
        state = whole @ state
        if not (final_rotation and number == len(angles) - 1):
            state = _entangled(entangler, n, number, layer[:, len(ROTATIONS[ansatz]) :], state)
    return np.abs(state) ** 2


def _rotations(ansatz: str, angles: np.ndarray) -> list[np.ndarray]:
    names = ROTATIONS[ansatz]
    return [_ry(t) if name == "RY" else _rz(t) for name, t in zip(names, angles[: len(names)], strict=True)]


def _ry(t: float) -> np.ndarray:
    c, s = math.cos(t / 2), math.sin(t / 2)
    return np.array([[c, -s], [s, c]])


def _rz(t: float) -> np.ndarray:
    return np.diag([np.exp(-0.5j * t), np.exp(0.5j * t)])


def _pairs(pattern: str, n: int, layer: int) -> list[tuple[int, int]]:
    """The table of patterns."""
    linear = [(q, q + 1) for q in range(n - 1)]
    if n == 1:
        return []
    if pattern == "ranges":
        return [(q, (q + 1 + layer % (n - 1)) % n) for q in range(n)]
    return {
        "ring": linear + ([(n - 1, 0)] if n > 2 else []),
        "closed ring": [*linear, (n - 1, 0)],
        "linear": linear,
        "reverse-linear": linear[::-1],
        "circular": ([(n - 1, 0)] if n > 2 else []) + linear,
        "full": [(q, later) for q in range(n) for later in range(q + 1, n)],
    }[pattern]


def _entangled(entangler: str, n: int, layer: int, angles: np.ndarray, state: np.ndarray) -> np.ndarray:
    """The state after one layer's entangler: angles (n, 3) for cu3-ring, else (n, 0)."""
    kind, _, pattern = entangler.partition("-")
    for k, pair in enumerate(_pairs("closed ring" if kind == "cu3" else pattern, n, layer)):
        if kind == "cu3":
            first, turn, last = angles[k]
            gate = np.diag([1, np.exp(1j * last)]) @ _ry(turn) @ np.diag([1, np.exp(1j * first)])
        else:
            gate = np.array([[0, 1], [1, 0]]) if kind == "cnot" else np.diag([1, -1])
        state = _controlled(gate, *pair, n, state)
    return state


def _controlled(gate: np.ndarray, control: int, target: int, n: int, state: np.ndarray) -> np.ndarray:
    """The gate (2, 2) on the target where the control is 1."""
    after = state.astype(complex)
    for i in range(2**n):
        bit = i >> (n - 1 - target) & 1
        if i >> (n - 1 - control) & 1:
            other = i ^ (1 << (n - 1 - target))
            after[i] = gate[bit, bit] * state[i] + gate[bit, 1 - bit] * state[other]
    return after


def _rounded(layout: list, weights: np.ndarray) -> Iterator[tuple[str, bytes]]:
    first = 0
    for row in layout:
        if len(row) > 2:
            last = first + math.prod(row[1])
            yield row[0], _bytes(weights[first:last], row[4] if len(row) > 3 else "F32")
            first = last


def _bytes(values: np.ndarray, dtype: str) -> bytes:
    if dtype == "F64":
        return values.astype("<f8").tobytes()
    single = values.astype("<f4")
    if dtype == "BF16":  # the upper half of a float32, rounded half to even
        word = single.view("<u4")
        return ((word + 0x7FFF + (word >> 16 & 1)) >> 16).astype("<u2").tobytes()
    return single.astype(NUMPY_DTYPES[dtype]).tobytes()


def probes(weights: np.ndarray) -> list[float]:
    probes = []
    for k in (1, 2, 3, 4):
        words = list(itertools.islice(philox_words(k), -(-len(weights) // 64)))
        signs = [1 if words[j // 64] >> (j % 64) & 1 else -1 for j in range(len(weights))]
        probes.append(math.fsum(weights * signs))
    return probes
