"""Numbers of a file of `qtrain/5` to weights, step by step as FORMAT.md says: Python's own floats.

Each line of arithmetic here is one of the page's. For small files: a weight takes about a millisecond.
"""

from __future__ import annotations

import itertools
import math
import struct
from collections.abc import Iterator
from typing import Any

from format_weights import ROTATIONS, _pairs, bits_for, philox_words

P1, P2, P3 = 1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21
L1, L2 = 0.6931471803691238, 1.9082149292705877e-10
SINE = [(-1) ** k / math.factorial(2 * k + 1) for k in range(1, 9)]
COSINE = [(-1) ** k / math.factorial(2 * k) for k in range(2, 9)]
EXPONENTIAL = [1 / math.factorial(k) for k in range(2, 14)]
LOGARITHM = [2 / k for k in range(3, 24, 2)]
Vector = list[float]
Matrix = list[Vector]


def rint(x: float) -> float:
    return (x + 1.5 * 2.0**52) - 1.5 * 2.0**52


def horner(coefficients: Vector, z: float) -> float:
    found = coefficients[-1]
    for c in coefficients[-2::-1]:
        found = found * z + c
    return found


def sine_cosine(x: float) -> tuple[float, float]:
    if abs(x) > 2.0**20:
        x = math.fmod(x, 2 * math.pi)
    n = rint(x * (2 / math.pi))
    a, w = x - n * P1, n * P2
    b = a - w
    e = n * P3 - ((a - b) - w)
    r = b - e
    t = (b - r) - e
    z = r * r
    sine = r + ((r * z) * horner(SINE, z) + t)
    h = 0.5 * z
    q = 1 - h
    cosine = q + (((1 - q) - h) + ((z * z) * horner(COSINE, z) - r * t))
    if n % 2:
        sine, cosine = cosine, sine
    return (-sine if n % 4 in (2, 3) else sine), (-cosine if n % 4 in (1, 2) else cosine)


def exponential(x: float) -> tuple[float, int]:
    """p and k."""
    k = rint(x * (1 / math.log(2)))
    r = (x - k * L1) - k * L2
    return r + (r * r) * horner(EXPONENTIAL, r), int(k)


def tangent(x: float) -> float:
    p, k = exponential(2 * min(abs(x), 20.0))
    above = 2.0**k * p + (2.0**k - 1)
    return math.copysign(above / (above + 2), x)


def logarithm(x: float) -> float:
    m, e = math.frexp(x)
    if m < math.sqrt(0.5):
        m, e = 2 * m, e - 1
    s = (m - 1) / (m + 1)
    z = s * s
    return e * L1 + (2 * s + (s * (z * horner(LOGARITHM, z)) + e * L2))


def power(x: float, a: float) -> float:
    p, k = exponential(a * logarithm(x))
    return 2.0**k * (1 + p)


def dot(left: Vector, right: Vector) -> float:
    terms = [a * b for a, b in zip(left, right, strict=True)]
    found = terms[0]
    for term in terms[1:]:
        found = found + term
    return found


def product(left: Matrix, right: Matrix) -> Matrix:
    columns = [list(column) for column in zip(*right, strict=True)]
    return [[dot(row, column) for column in columns] for row in left]


def total(values: Vector) -> float:
    left = list(values)
    while len(left) > 1:
        h = 1 << (len(left) - 1).bit_length() - 1
        left = [left[i] + left[i + h] if i + h < len(left) else left[i] for i in range(h)]
    return left[0]


def frames(matrix: Matrix, right: Matrix) -> tuple[Matrix, Matrix]:
    """Left and right of `lora-xs`, from the rows that the stream gives."""
    turned = [list(column) for column in zip(*matrix, strict=True)]
    x = [list(column) for column in zip(*right, strict=True)]
    for _ in range(4):
        x = _orth(product(turned, _orth(product(matrix, x))))
    return product(matrix, x), [list(column) for column in zip(*x, strict=True)]


def _orth(matrix: Matrix) -> Matrix:
    done: Matrix = []
    for column in zip(*matrix, strict=True):
        x = list(column)
        before = math.sqrt(total([b * b for b in x]))
        for q in [*done, *done]:
            t = total([a * b for a, b in zip(q, x, strict=True)])
            x = [b - t * a for a, b in zip(q, x, strict=True)]
        length = math.sqrt(total([b * b for b in x]))
        done.append([b / length if length > 1e-10 * before else 0.0 for b in x])
    return [list(row) for row in zip(*done, strict=True)]


def single(x: float) -> float:
    return struct.unpack("<f", struct.pack("<f", x))[0]


def drawn(seed: int, stream: int, count: int) -> Vector:
    """``U[stream](count)``."""
    factor = single(math.sqrt(3) / 32768)
    words = itertools.islice(philox_words(seed, stream), -(-count // 4))
    halves = [word >> 16 * place & 0xFFFF for word in words for place in range(4)][:count]
    return [single((half - 32767.5) * factor) for half in halves]


def rows_of(values: Vector, width: int) -> Matrix:
    return [values[first : first + width] for first in range(0, len(values), width)]


# --- circuits ----------------------------------------------------------------------------------------------


def probabilities(circuit: list, theta: Vector) -> Vector:
    """Of all circuits: angles in the page's order."""
    ansatz, entangler, n, layers, b, *final = circuit
    kinds = ROTATIONS[ansatz]
    r = len(kinds) + 3 * entangler.startswith("cu3")
    found: Vector = []
    for own in rows_of(theta, layers * n * r):
        state = [[0.0, 0.0] for _ in range(2**n)]
        state[0][0] = 1.0
        for layer, angles in enumerate(rows_of(own, n * r)):
            for q in range(n):
                for kind, angle in zip(kinds, angles[q * r :], strict=False):
                    _rotated(state, kind, 1 << (n - 1 - q), 0, angle)
            if not (final and layer == layers - 1):
                _entangled(state, entangler, n, layer, [angles[q * r :][:r][-3:] for q in range(n)])
        found += [x * x + y * y if kinds != ("RY",) else x * x for x, y in state]
    assert len(found) == b * 2**n
    return found


def _rotated(state: Matrix, kind: str, bit: int, on: int, angle: float) -> None:
    s, c = sine_cosine(angle if kind == "phase" else angle / 2)
    for i in range(len(state)):
        if i & bit or i & on != on:
            continue
        (a, x), (b, y) = state[i], state[i | bit]
        if kind == "RY":
            state[i], state[i | bit] = [c * a - s * b, c * x - s * y], [s * a + c * b, s * x + c * y]
        else:
            state[i | bit] = [c * b - s * y, s * b + c * y]
            if kind == "RZ":
                state[i] = [c * a - -s * x, -s * a + c * x]


def _entangled(state: Matrix, entangler: str, n: int, layer: int, angles: Matrix) -> None:
    kind, _, pattern = entangler.partition("-")
    for k, (control, target) in enumerate(_pairs("closed ring" if kind == "cu3" else pattern, n, layer)):
        on, bit = 1 << (n - 1 - control), 1 << (n - 1 - target)
        if kind == "cu3":
            for name, angle in zip(("phase", "RY", "phase"), angles[k], strict=True):
                _rotated(state, name, bit, on, angle)
            continue
        for i in range(2**n):
            if i & on and not i & bit:
                if kind == "cnot":
                    state[i], state[i | bit] = state[i | bit], state[i]
                else:
                    state[i | bit] = [-value for value in state[i | bit]]


# --- mappings ----------------------------------------------------------------------------------------------


def circuit_weights(facts: dict[str, Any], theta: Vector, numbers: Vector) -> Vector:
    """All weights of a file of ours."""
    circuit, form = facts["plan"]["circuit"], facts["plan"]["mapping"]
    _, _, n, _, b, *_ = circuit
    parts = _generated(facts)
    m = sum(count for count, _, _ in parts)
    z = [2.0**n * p - 1 for p in probabilities(circuit, theta)[:m]]
    k = n + math.ceil(math.log2(b))
    if form[0] == "quantum-train":
        return _stacked(numbers, z, k)
    tensor_of = [number for number, (count, _, _) in enumerate(parts) for _ in range(count)]
    u = [_mapped(form, numbers, z[j], j, k, tensor_of[j], len(parts)) for j in range(m)]
    return placed(parts, u)


def _generated(facts: dict[str, Any]) -> list[tuple[int, float, float]]:
    """Count, scale and centre of each generated tensor."""
    rows = [row for row in facts["layout"] if len(row) > 2 and isinstance(row[1], list)]
    return [(math.prod(row[1]), 1 / math.sqrt(3 * row[2]), row[3] if len(row) > 3 else 0.0) for row in rows]


def placed(parts: list[tuple[int, float, float]], u: Vector) -> Vector:
    scales = [scale for count, scale, _ in parts for _ in range(count)]
    centres = [centre for count, _, centre in parts for _ in range(count)]
    return [value * scale + centre for value, scale, centre in zip(u, scales, centres, strict=True)]


def _mapped(form: list, numbers: Vector, z: float, j: int, k: int, t: int, tensors: int) -> float:
    kind, h = form
    bits = [j >> (k - 1 - place) & 1 for place in range(k)]
    if kind == "linear":
        return numbers[0] * z + numbers[1]
    if kind == "linear-per-tensor":
        return numbers[t] * z + numbers[tensors + t]
    if kind == "tensor-train":
        row, matrices = [rows_of(numbers, h)[bits[0]]], rows_of(numbers[2 * h : -2 * h], h * h)
        for place, bit in enumerate(bits[1:]):
            row = product(row, rows_of(matrices[2 * place + bit], h))
        return dot(row[0], numbers[-2 * h : -h]) * z + dot(row[0], numbers[-h:])
    g, c, *rest = numbers
    V = rows_of(rest[: k * h], h)
    s, d, a = rows_of(rest[k * h :], h)
    inner = list(d)
    for bit, row in zip(bits, V, strict=True):
        inner = [i + v if bit else i - v for i, v in zip(inner, row, strict=True)]
    u = g * z + c
    for i, slope, out in zip(inner, s, a, strict=True):
        u = u + out * tangent(i + slope * z)
    return u


def _stacked(numbers: Vector, z: Vector, k: int) -> Vector:
    matrices, inputs = [], k + 1
    for outputs in (4, 20, 4, 1):
        matrices.append(rows_of(numbers[: outputs * inputs], inputs))
        numbers, inputs = numbers[outputs * (inputs + 1) :], outputs
    W1, W2, W3, W4 = matrices
    (R,) = product(product(product(W4, W3), W2), W1)
    y = []
    for j, own in enumerate(z):
        value = 0.0
        for place in range(k):
            value = value + R[place] if j >> (k - 1 - place) & 1 else value - R[place]
        y.append(value + R[k] * power(0.8 * tangent(0.1 * max(own + 1, 1e-6) / 2), 0.3))
    mean = total(y) / len(y)
    return [value - mean for value in y]


# --- rivals ------------------------------------------------------------------------------------------------


def rival_weights(facts: dict[str, Any], shapes: list[tuple[int, ...]], numbers: list[Vector]) -> Vector:
    """All weights of a rival's file: the numbers of its groups, and their shapes."""
    method, plan, parts = facts["method"], facts["plan"], _generated(facts)
    centres = [centre for count, _, centre in parts for _ in range(count)]
    if method in _SEEDED:
        return placed(parts, list(_SEEDED[method](plan, len(centres), numbers)))
    values = numbers
    if method == "low-rank":
        values = list(_factored(shapes, numbers, [count for count, _, _ in parts]))
    flat = [value for part in values for value in part]
    return [value + centre for value, centre in zip(flat, centres, strict=True)]


def _factored(shapes: list[tuple[int, ...]], numbers: list[Vector], counts: list[int]) -> Iterator[Vector]:
    left = iter(zip(shapes, numbers, strict=True))
    for count in counts:
        shape, values = next(left)
        if math.prod(shape) == count:  # whole: factors are fewer numbers than the tensor
            yield values
        else:
            (_, width), others = next(left)
            yield [v for row in product(rows_of(values, shape[1]), rows_of(others, width)) for v in row]


def _hashed(plan: dict[str, int], m: int, numbers: list[Vector]) -> Iterator[float]:
    k, seed = plan["k"], plan["seed"]
    values = [start + v for start, v in zip(drawn(seed, 2, k), numbers[0], strict=True)]
    signs = [math.copysign(1.0, value) for value in drawn(seed, 1, m)]
    for word, sign in zip(itertools.islice(philox_words(seed, 0), m), signs, strict=True):
        yield values[(word >> 11) % k] * sign * math.sqrt(3)


def _products(plan: dict[str, int], m: int, numbers: Vector) -> Vector:
    k, seed, n = plan["k"], plan["seed"], plan.get("block", 0)
    if not n:
        return [dot(row, numbers) for row in rows_of(drawn(seed, 1, m * k), k)]
    signed = [
        math.copysign(1.0, sign) * d for sign, d in zip(drawn(seed, 3, n), numbers + [0.0] * n, strict=False)
    ]
    turned, words = _hadamard(signed), list(itertools.islice(philox_words(seed, 4), n))
    mixed = [turned[place] for place in sorted(range(n), key=words.__getitem__)]
    blocks = rows_of(drawn(seed, 1, -(-m // n) * n), n)
    rows = (_hadamard([g * x for g, x in zip(block, mixed, strict=True)]) for block in blocks)
    return [value / math.sqrt(n) for row in rows for value in row][:m]


def _hadamard(values: Vector) -> Vector:
    apart, found = 1, list(values)
    while apart < len(found):
        for i in range(len(found)):
            if not i & apart:
                found[i], found[i + apart] = found[i] + found[i + apart], found[i] - found[i + apart]
        apart *= 2
    return found


def _subspace(plan: dict[str, int], m: int, numbers: list[Vector]) -> Iterator[float]:
    k, seed = plan["k"], plan["seed"]
    for moved, start in zip(_products(plan, m, numbers[0]), drawn(seed, 0, m), strict=True):
        yield (moved / math.sqrt(k) + start) * math.sqrt(3)


def _curve(plan: dict[str, int], m: int, numbers: list[Vector]) -> Iterator[float]:
    theta, (gain,) = numbers
    for moved, phase in zip(_products(plan, m, theta), drawn(plan["seed"], 0, m), strict=True):
        angle = moved + (math.pi / math.sqrt(3)) * phase
        yield sine_cosine(angle)[1] * math.sqrt(2) * (math.sqrt(3) * (1 + gain))


def _fixed(plan: dict[str, int], m: int, numbers: list[Vector]) -> Iterator[float]:
    h, seed, k = plan["hidden"], plan["seed"], bits_for(m)
    start = [value / math.sqrt(k) for value in drawn(seed, 1, len(numbers[0]))]
    start[-h:] = [value * 0.1 for value in start[-h:]]
    start[:2] = [math.sqrt(3) / math.sqrt(2), 0.0]
    own = [a + b for a, b in zip(start, numbers[0], strict=True)]
    for j, column in enumerate(zip(*rows_of(drawn(seed, 0, 12 * m), m), strict=True)):
        g = dot(list(column), [1.0] * 12) / math.sqrt(12)
        yield _mapped(["mlp", h], own, g * g - 1, j, k, 0, 1)


_SEEDED = {"hashing": _hashed, "subspace": _subspace, "classical-curve": _curve, "fixed-random": _fixed}
