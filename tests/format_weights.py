"""Numbers of a file to weights, written from FORMAT.md alone: NumPy and plain gates (`format_reader`)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

MASK = 2**64 - 1
ROTATIONS = {
    "real-amplitudes": ("RY",),
    "efficient-su2": ("RY", "RZ"),
    "su2-rz-ry": ("RZ", "RY"),
    "strongly-entangling": ("RZ", "RY", "RZ"),
    "u3-cu3": ("RZ", "RY", "RZ"),
}


def rival_shapes(method: str, plan: dict[str, int], rows: list) -> list[tuple[int, ...]]:
    """Of the groups, by the table of rivals."""
    m = sum(math.prod(row[1]) for row in rows)
    if method == "low-rank":
        return [shape for row in rows for shape in _factors(plan["share"], row[1])]
    return {
        "hashing": [(plan.get("k", 0),)], "subspace": [(plan.get("k", 0),)],
        "classical-curve": [(plan.get("k", 0),), (1,)],
        "fixed-random": [(2 + plan.get("hidden", 0) * (bits_for(m) + 3),)],
    }.get(method, [tuple(row[1]) for row in rows])  # fmt: skip


def bits_for(m: int) -> int:
    return max(1, math.ceil(math.log2(m)))


def _factors(share: int, shape: list[int]) -> list[tuple[int, ...]]:
    o = shape[0] if shape else 1
    i = math.prod(shape) // o
    r = max(1, share * o * i // (256 * (o + i)))
    return [(o, r), (r, i)] if share < 256 and r * (o + i) < o * i else [tuple(shape)]


def moved_weights(
    method: str, plan: dict[str, int], rows: list, numbers: list[np.ndarray], scale: np.ndarray
) -> np.ndarray:
    """All weights away from their centres, (m,), in float32: to the last bit where nothing is summed."""
    m, k, seed, root = len(scale), plan.get("k", 0), plan.get("seed", 0), np.float32(math.sqrt(3))
    if method == "hashing":
        words = itertools.islice(philox_words(seed, 0), m)
        start = drawn(seed, 2, k) + numbers[0]
        return scale * root * np.sign(drawn(seed, 1, m)) * start[[(word >> 11) % k for word in words]]
    if method in ("subspace", "classical-curve"):
        products = random_matrix(plan, m) @ numbers[0]
    if method == "subspace":
        return scale * root * (drawn(seed, 0, m) + products / math.sqrt(k))
    if method == "classical-curve":
        phase = math.pi / root * drawn(seed, 0, m) + products
        return scale * root * (1 + numbers[1]) * math.sqrt(2) * np.cos(phase)
    if method == "fixed-random":
        return scale * _fixed(plan["hidden"], seed, m, numbers[0])
    if method == "low-rank":
        left = iter(numbers)
        parts = [
            next(left) @ next(left) if len(_factors(plan["share"], row[1])) == 2 else next(left)
            for row in rows
        ]
        return np.concatenate([part.flatten() for part in parts])
    return np.concatenate([part.flatten() for part in numbers])


def random_matrix(plan: dict[str, int], m: int) -> np.ndarray:
    """(m, k), the rows of all blocks one after the other where it has blocks."""
    seed, k, n = plan["seed"], plan["k"], plan.get("block")
    if n is None:
        return drawn(seed, 1, m * k).reshape(m, k)
    order = np.argsort(list(itertools.islice(philox_words(seed, 4), n)), kind="stable")
    bits = [[bin(row & column).count("1") % 2 for column in range(n)] for row in range(n)]
    H = 1.0 - 2 * np.array(bits)
    inner = (H * np.sign(drawn(seed, 3, n)))[order]
    own = drawn(seed, 1, -(-m // n) * n).reshape(-1, n)
    return np.concatenate([H @ (g[:, None] * inner) for g in own])[:m, :k] / math.sqrt(n)


def _fixed(h: int, seed: int, m: int, moved: np.ndarray) -> np.ndarray:
    k = bits_for(m)
    z = (drawn(seed, 0, 12 * m).reshape(12, m).sum(0) / math.sqrt(12)) ** 2 - 1
    numbers = drawn(seed, 1, len(moved)) / math.sqrt(k)
    numbers[-h:] *= 0.1
    numbers[:2] = [math.sqrt(1.5), 0]
    return np.array([_mapped(["mlp", h], numbers + moved, z[j], j, k, 1, 0, 1) for j in range(m)])


def drawn(seed: int, stream: int, count: int) -> np.ndarray:
    """The numbers `a` of a stream."""
    words = itertools.islice(philox_words(seed, stream), -(-count // 4))
    halves = [word >> 16 * place & 0xFFFF for word in words for place in range(4)][:count]
    return (np.array(halves, np.float32) + np.float32(0.5 - 2**15)) * np.float32(math.sqrt(3) / 2**15)


def is_generated(row: list) -> bool:
    return len(row) > 2 and isinstance(row[1], list)


def philox_block(key: int, counter: int, stream: int = 0) -> list[int]:
    """Four words of Philox 4x64-10 (Salmon et al. 2011): key (key, stream), counter (counter, 0, 0, 0)."""
    words, keys = [counter, 0, 0, 0], [key, stream]
    for _ in range(10):
        high0, low0 = divmod(0xD2E7470EE14C6C93 * words[0], 2**64)
        high1, low1 = divmod(0xCA5A826395121157 * words[2], 2**64)
        words = [high1 ^ words[1] ^ keys[0], low1, high0 ^ words[3] ^ keys[1], low0]
        keys = [(keys[0] + 0x9E3779B97F4A7C15) & MASK, (keys[1] + 0xBB67AE8584CAA73B) & MASK]
    return words


def philox_words(key: int, stream: int = 0) -> Iterator[int]:
    """The stream of words: the first block has counter 1."""
    return itertools.chain.from_iterable(philox_block(key, counter, stream) for counter in itertools.count(1))


def start_angles(seed: int, count: int) -> np.ndarray:
    """The seeded start of so many angles, in radians."""
    words = itertools.islice(philox_words(seed), count)
    return np.array([math.pi * (2 * ((word >> 11) * 2.0**-53) - 1) for word in words])


def circuit_weights(facts: dict[str, Any], angles: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    ansatz, entangler, n, _, b, *final = facts["plan"]["circuit"]
    form = facts["plan"]["mapping"]
    assert final in ([], [1])
    generated = [row for row in facts["layout"] if is_generated(row)]
    counts = [math.prod(row[1]) for row in generated]
    p = np.concatenate([probabilities(ansatz, entangler, n, angles[c], final == [1]) for c in range(b)])
    if form[0] == "quantum-train":
        return _stacked(numbers, np.maximum(2**n * p[: sum(counts)], 1e-6), n + math.ceil(math.log2(b)))
    weights = []
    for tensor, (row, count) in enumerate(zip(generated, counts, strict=True)):
        _, _, fan_in, centre, _ = (*row, 0.0, "F32")[:5] if len(row) == 3 else row[:5]
        for _ in range(count):
            j = len(weights)
            u = _mapped(form, numbers, 2**n * p[j] - 1, j, n, b, tensor, len(generated))
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
        for q in range(n):
            for gate in _rotations(ansatz, layer[q]):
                parts = state.reshape(2**q, 2, -1)
                state = np.einsum("ab,xby->xay", gate, parts).reshape(-1)
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


def probes(weights: np.ndarray) -> list[float]:
    probes = []
    for k in (1, 2, 3, 4):
        words = list(itertools.islice(philox_words(k), -(-len(weights) // 64)))
        signs = [1 if words[j // 64] >> (j % 64) & 1 else -1 for j in range(len(weights))]
        probes.append(math.fsum(weights * signs))
    return probes
