"""A reader of artifacts written from FORMAT.md alone: NumPy, the standard library and dense matrices.

It shares no code with the project, so that what it finds in a file proves the page complete and right. It
checks no bounds: for honest and small files of ours, and for the parts of any other.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

MASK = 2**64 - 1
FORMAT = Path(__file__).parents[1] / "qtrain_cli" / "artifact" / "FORMAT.md"
#: Bytes of an element.
WIDTHS = {
    "F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1
}  # fmt: skip
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
    """What a file holds: check, digest, facts, origin, codes, float64 weights, and what follows from them."""

    check: str
    digest: str
    stored_probes: list[float]
    facts: dict[str, Any]
    origin: dict[str, str]
    codes: list[int]
    angles: np.ndarray
    weights: np.ndarray
    state: dict[str, bytes]
    sha256: str
    probes: list[float]


def read(data: bytes) -> Read:
    """Everything that FORMAT.md says about a file."""
    header_bytes = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_bytes])
    metadata = header.pop("__metadata__")
    assert metadata == {"qtrain": "4"} and list(header) == ["q"] and header["q"]["dtype"] == "U8"
    payload = data[8 + header_bytes :]
    text, rest = _inflated(payload[16:], dictionary())
    facts = json.loads(text)
    stored_probes, rest = np.frombuffer(rest[:16], "<f4").tolist(), rest[16:]
    origin, rest = _origin(rest) if "record" in facts else ({}, rest)
    kept, rest = _kept(facts["layout"], rest)
    angles, codes, mapping = _numbers(facts, rest)
    weights = _weights(facts, angles, mapping)
    generated = dict(_rounded(facts["layout"], weights))
    state = generated | kept
    state |= {row[0]: state[row[1]] for row in facts["layout"] if len(row) == 2}
    sha256 = hashlib.sha256(b"".join(generated.values())).hexdigest()[:16]
    return Read(
        check=payload[:8].hex(),
        digest=payload[8:16].hex(),
        stored_probes=stored_probes,
        facts=facts,
        origin=origin,
        codes=codes,
        angles=angles,
        weights=weights,
        state=state,
        sha256=sha256,
        probes=probes(weights),
    )


def dictionary(page: Path = FORMAT) -> bytes:
    """The preset dictionary, from the page itself: the indented lines under its heading, joined."""
    text = page.read_text().split("### Preset dictionary\n")[1].split("\n#")[0]
    return "".join(line[4:] for line in text.splitlines() if line.startswith("    ")).encode()


def check_of(data: bytes) -> str:
    """The check that a file must have: its own bytes count as zeros."""
    start = 8 + int.from_bytes(data[:8], "little")
    return hashlib.sha256(data[:start] + bytes(8) + data[start + 8 :]).hexdigest()[:16]


def _origin(rest: bytes) -> tuple[dict[str, str], bytes]:
    """The digests of run, data and model, and what follows them."""
    ends = {"run": (0, 8), "data": (8, 40), "model": (40, 72)}
    return {name: rest[first:last].hex() for name, (first, last) in ends.items()}, rest[72:]


def _inflated(data: bytes, preset: bytes = b"") -> tuple[bytes, bytes]:
    stream = zlib.decompressobj(wbits=-15, zdict=preset)
    found = stream.decompress(data)
    assert stream.eof
    return found, stream.unused_data


def _kept(layout: list, rest: bytes) -> tuple[dict[str, bytes], bytes]:
    """The kept tensors' bytes in the model's own dtypes, and what follows them."""
    rows = [row for row in layout if len(row) > 2 and isinstance(row[1], str)]
    sizes = [math.prod(row[2]) * WIDTHS[row[-1] if len(row) > 3 else row[1]] for row in rows]
    raw, rest = _inflated(rest) if sum(sizes) else (b"", rest)
    assert len(raw) == sum(sizes)
    kept, place = {}, 0
    for (name, dtype, _, *stored), size in zip(rows, sizes, strict=True):
        part, place = raw[place : place + size], place + size
        kept[name] = np.frombuffer(part, "<f2").astype(NUMPY_DTYPES[dtype]).tobytes() if stored else part
    return kept, rest


def _numbers(facts: dict[str, Any], rest: bytes) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Angles, their codes, and the mapping's numbers: the two groups of ours."""
    ansatz, _, n, layers, b = facts["plan"]["circuit"][:5]
    shape = (b, layers, n, ANGLES[ansatz])
    count, (bits, seed) = math.prod(shape), facts["plan"]["angles"]
    numbers, dtype = _mapping_count(facts), "<f4" if bits == 32 else "<f2"
    size = numbers * np.dtype(dtype).itemsize
    mapping, rest = np.frombuffer(rest[:size], dtype).astype(float), rest[size:]
    if bits == 32:
        return np.frombuffer(rest, "<f4").astype(float).reshape(shape), [], mapping
    ((codes, step),) = coded_groups(rest, [count], "<f")
    return (start_angles(seed, count) + step * np.array(codes, float)).reshape(shape), codes, mapping


def coded_groups(data: bytes, sizes: list[int], step: str) -> list[tuple[list[int], float]]:
    """Codes and step of each group, by the table of the page: `step` is how a step is packed."""
    shared, place = len(sizes) == 1 or data[0] == 1, int(len(sizes) > 1)
    steps, models = [], []
    for _ in sizes:
        steps.append(struct.unpack_from(step, data, place)[0])
        place += struct.calcsize(step)
        if not models or not shared:
            low, place = _zigzag(data, place)
            high, place = _zigzag(data, place)
            models.append((low, high, data[place]))
            place += 1
    tables = [_first_counts(*model) for model in models]
    rows = [(size, models[g * (not shared)][0], tables[g * (not shared)]) for g, size in enumerate(sizes)]
    return list(zip(arithmetic_decoded(data[place:], rows), steps, strict=True))


def _zigzag(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[place] & 127) << shift
        shift, place = shift + 7, place + 1
        if data[place - 1] < 128:
            return (value // 2 if value % 2 == 0 else -(value + 1) // 2), place


def _first_counts(low: int, high: int, spread: int) -> list[int]:
    q2 = spread * spread
    return [max(1, 32 * q2 * q2 // (q2 + s * s) ** 2) if spread else 1 for s in range(low, high + 1)]


def _mapping_count(facts: dict[str, Any]) -> int:
    kind, h = facts["plan"]["mapping"]
    k = facts["plan"]["circuit"][2] + math.ceil(math.log2(facts["plan"]["circuit"][4]))
    tensors = sum(_is_generated(row) for row in facts["layout"])
    return {
        "linear": 2, "linear-per-tensor": 2 * tensors, "mlp": 2 + h * (k + 3), "quantum-train": 4 * k + 197,
        "tensor-train": 4 * h + 2 * (k - 1) * h * h,
    }[kind]  # fmt: skip


def arithmetic_decoded(message: bytes, rows: list[tuple[int, int, list[int]]]) -> list[list[int]]:
    """Whole numbers by the page's range decoder: of each row how many, the lowest, and its counts."""
    digits = iter(message)
    width, value, found = 2**32 - 1, 0, []
    for _ in range(4):
        value = 256 * value + next(digits, 0)
    for size, low, counts in rows:
        found.append([])
        for _ in range(size):
            part = width // sum(counts)
            below = 0
            for symbol, share in enumerate(counts):
                if value < (below + share) * part or symbol == len(counts) - 1:
                    break
                below += share
            value, width = value - below * part, share * part
            while width < 2**24:
                value, width = 256 * value + next(digits, 0), 256 * width
            found[-1].append(low + symbol)
            counts[symbol] += 2
            if sum(counts) >= 2**16:
                counts[:] = [(share + 1) // 2 for share in counts]
    return found


def _is_generated(row: list) -> bool:
    return len(row) > 2 and isinstance(row[1], list)


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


def _weights(facts: dict[str, Any], angles: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    ansatz, entangler, n, _, b, *final = facts["plan"]["circuit"]
    assert final in ([], [1])
    generated = [row for row in facts["layout"] if _is_generated(row)]
    counts = [math.prod(row[1]) for row in generated]
    p = np.concatenate([probabilities(ansatz, entangler, n, angles[c], final == [1]) for c in range(b)])
    if facts["plan"]["mapping"][0] == "quantum-train":
        return _stacked(numbers, np.maximum(2**n * p[: sum(counts)], 1e-6), n + math.ceil(math.log2(b)))
    weights = []
    for tensor, (row, count) in enumerate(zip(generated, counts, strict=True)):
        _, _, fan_in, centre, _ = (*row, 0.0, "F32")[:5] if len(row) == 3 else row
        for _ in range(count):
            j = len(weights)
            u = _mapped(facts["plan"]["mapping"], numbers, 2**n * p[j] - 1, j, n, b, tensor, len(generated))
            weights.append(centre + u / math.sqrt(3 * fan_in))
    return np.array(weights)


def _mapped(
    mapping: list, numbers: np.ndarray, z: float, j: int, n: int, b: int, t: int, tensors: int
) -> float:
    kind, h = mapping
    if kind == "linear-per-tensor":
        return numbers[t] * z + numbers[tensors + t]
    k = n + math.ceil(math.log2(b))
    if kind == "tensor-train":
        matrices, (v, w) = numbers[2 * h : -2 * h].reshape(k - 1, 2, h, h), numbers[-2 * h :].reshape(2, h)
        r = numbers[: 2 * h].reshape(2, h)[j >> (k - 1)]
        for place in range(1, k):
            r = r @ matrices[place - 1, j >> (k - 1 - place) & 1]
        return r @ (v * z + w)
    g, c, *rest = numbers
    if kind == "linear":
        return g * z + c
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
        if _is_generated(row):
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
