"""A reader of files written from FORMAT.md alone: NumPy and the standard library.

It shares no code with the project, so that what it finds in a file proves the page complete and right. It
checks no bounds: for honest and small files only. A student's network is not run. What differs in files of
`qtrain/4` and `qtrain/3` stands in functions of their own, from their own pages.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import format_steps
import numpy as np
from format_weights import (
    circuit_weights,
    is_generated,
    moved_weights,
    philox_words,
    probes,
    rival_shapes,
    start_angles,
)

ARTIFACT = Path(__file__).parents[1] / "qtrain_cli" / "artifact"
FORMAT = ARTIFACT / "FORMAT.md"
FORMAT_4, FORMAT_3 = (ARTIFACT / "former" / f"FORMAT-{number}.md" for number in (4, 3))
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
#: Angles of each qubit: of the rotations, then of the entangler's gates.
ANGLES = {
    "real-amplitudes": 1, "efficient-su2": 2, "su2-rz-ry": 2, "strongly-entangling": 3, "u3-cu3": 6
}  # fmt: skip


@dataclass
class Read:
    """What a file holds: check, digest, facts, origin, codes, float64 weights, and what follows from them.

    `facts` are as in `qtrain/5`, of former formats with their tolerance; `codes` are of all coded groups in
    order; `angles` is empty for a rival. A student has `state` alone.
    """

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


@dataclass
class Parts:
    """The parts of a file's tensor."""

    check: bytes
    digest: bytes
    facts: dict[str, Any]
    probes: list[float]
    origin: dict[str, str]
    rest: bytes
    base: str = ""


def read(data: bytes, base: dict[str, np.ndarray] | None = None) -> Read:
    """Everything that its page says about a file; one of changes needs the base's tensors."""
    header_bytes = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + header_bytes])
    metadata = header.pop("__metadata__")
    assert list(header) == ["q"] and header["q"]["dtype"] == "U8" and list(metadata) == ["qtrain"]
    payload = data[8 + header_bytes :]
    form = metadata["qtrain"]
    parts = {"5": _parts, "4": _parts_4, "3": _parts_3}[form](payload)
    if parts.facts.get("method") == "student":
        return _student(parts)
    layout = parts.facts["layout"] = _written_out(parts.facts["layout"])
    kept, rest = _kept(layout, parts.rest)
    angles, codes, weights = np.zeros(0), [], np.zeros(0)
    if "method" in parts.facts:
        codes, weights = _rival(parts.facts, rest, form)
    else:
        angles, codes, mapping = _numbers(parts.facts, rest, form)
        if form == "5":
            weights = _portable(parts.facts, angles, mapping)
            if "target" in parts.facts:
                seed = parts.facts["plan"]["angles"][1]
                start = [math.pi * (2 * ((word >> 11) * 2.0**-53) - 1) for word, _ in
                         zip(philox_words(seed, 0), angles.flatten(), strict=False)]  # fmt: skip
                weights = weights - _portable(parts.facts, np.array(start), mapping)
        else:
            weights = circuit_weights(parts.facts, angles, mapping)
    if "target" in parts.facts:
        assert base is not None and parts.base == base_digest(base)
        generated = _changed(parts.facts, weights, base)
        layout = []
    else:
        generated = dict(_rounded(layout, weights))
    for name, shape, _, _, dtype, place, *_ in (row for row in layout if len(row) > 5 and is_generated(row)):
        size = shape[1] * WIDTHS[dtype]
        whole, first = generated[name], place * size
        generated[name] = whole[:first] + kept.pop(name, bytes(size)) + whole[first + size :]
    state = generated | kept
    state |= {row[0]: state[row[1]] for row in layout if len(row) == 2}
    sha256 = hashlib.sha256(b"".join(generated.values())).hexdigest()[:16]
    return Read(
        parts.check.hex(), parts.digest.hex(), parts.probes, parts.facts, parts.origin, codes, angles,
        weights, state, sha256, probes(weights),
    )  # fmt: skip


def base_digest(base: dict[str, np.ndarray]) -> str:
    """Of a base's tensors, float32 all of them here."""
    found = hashlib.sha256()
    for name in sorted(base, key=str.encode):
        sizes = [base[name].ndim, *base[name].shape]
        found.update(name.encode() + b"\0F32\0" + b"".join(size.to_bytes(8, "little") for size in sizes))
        found.update(base[name].astype("<f4").tobytes())
    return found.hexdigest()


def _written_out(rows: list) -> list:
    """Each repeat of the layout as rows."""
    found = []
    for row in rows:
        if isinstance(row[0], int):
            count, first, block = row
            numbers = range(first, first + count)
            found += [[one[0].replace("\n", str(i)), *one[1:]] for i in numbers for one in block]
        else:
            found.append(row)
    return found


def _portable(facts: dict[str, Any], angles: np.ndarray, mapping: np.ndarray) -> np.ndarray:
    return np.array(format_steps.circuit_weights(facts, angles.flatten().tolist(), mapping.tolist()))


def _changed(facts: dict[str, Any], weights: np.ndarray, base: dict[str, np.ndarray]) -> dict[str, bytes]:
    """The tensors that differ from a base of float32."""
    kind, _, _, rank, s, seed, *_ = facts["target"]
    found, first, factors, begun = {}, 0, 0, 0
    for name, shape, *_ in facts["layout"]:
        d = weights[first : first + math.prod(shape)].reshape(shape)
        first += d.size
        *path, last = name.split(".")
        if path[-1:] == ["lora_B"]:
            name = ".".join([*path[:-1], last])
            columns = base[name].size // len(base[name])
            drawn = format_steps.drawn(seed, 16 + factors, rank * columns)
            a = [[x / math.sqrt(columns) for x in row] for row in format_steps.rows_of(drawn, columns)]
            b = d.tolist()
            if kind == "lora-xs":
                left, a = format_steps.frames(base[name].astype(float).reshape(-1, columns).tolist(), a)
                b = format_steps.product(left, b)
            moved = np.array(format_steps.product(b, a)).reshape(base[name].shape)
            whole, factors = base[name].astype(float) + s * moved, factors + 1
        elif name in base and list(base[name].shape) == shape:
            whole = base[name].astype(float) + s * d
        elif len(facts["target"]) == 10 and len(shape) > 1:
            drawn = np.array(format_steps.drawn(seed, 2**20 + begun, d.size)) / math.sqrt(d.size // shape[0])
            whole, begun = drawn.astype("<f4").astype(float).reshape(shape) + d, begun + 1
        else:
            whole = d
        found[name] = whole.astype("<f4").tobytes()
    return found


def _parts_4(payload: bytes) -> Parts:
    """By FORMAT-4.md: a model has probes too, and another dictionary."""
    return _parts(payload, FORMAT_4, 4)


def _parts(payload: bytes, page: Path = FORMAT, probes: int = 0) -> Parts:
    text, rest = _inflated(payload[16:], dictionary(page))
    facts = json.loads(text)
    count = min(16, facts["plan"]["outputs"]) if facts.get("method") == "student" else probes
    stored, rest = np.frombuffer(rest[: 4 * count], "<f4").tolist(), rest[4 * count :]
    base, rest = (rest[:32].hex(), rest[32:]) if "target" in facts else ("", rest)
    origin, rest = _origin(rest) if "record" in facts else ({}, rest)
    return Parts(payload[:8], payload[8:16], facts, stored, origin, rest, base)


def _parts_3(payload: bytes) -> Parts:
    """By FORMAT-3.md: probes before the facts, the plan's members among the facts, another dictionary."""
    text, rest = _inflated(payload[32:], dictionary(FORMAT_3))
    facts = json.loads(text)
    facts["plan"] = {key: facts.pop(key) for key in ("angles", "circuit", "mapping")}
    origin, rest = _origin(rest) if "record" in facts else ({}, rest)
    return Parts(
        payload[:8], payload[8:16], facts, np.frombuffer(payload[16:32], "<f4").tolist(), origin, rest
    )


def _student(parts: Parts) -> Read:
    """Its numbers as one tensor: which tensors they are is the student's own matter."""
    numbers = np.frombuffer(parts.rest, "<f4").astype(float)
    sha256 = hashlib.sha256(parts.rest).hexdigest()[:16]
    return Read(
        parts.check.hex(), parts.digest.hex(), parts.probes, parts.facts, parts.origin, [], np.zeros(0),
        numbers, {"": parts.rest}, sha256, [],
    )  # fmt: skip


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
    """The kept tensors' bytes in the model's own dtypes, and what follows them; 12 bytes of a given one.

    A generated tensor's kept row goes by its name too.
    """
    rows = [row for row in layout if len(row) == 7 or (len(row) > 2 and isinstance(row[1], str))]
    sizes = [_size(row) for row in rows]
    raw, rest = _inflated(rest) if sum(sizes) else (b"", rest)
    assert len(raw) == sum(sizes)
    kept, place = {}, 0
    for row, size in zip(rows, sizes, strict=True):
        part, place = raw[place : place + size], place + size
        kept[row[0]] = part if len(row) in (3, 7) else _made(part, *row[1:])
    return kept, rest


def _size(row: list) -> int:
    if len(row) == 7:
        return row[1][1] * WIDTHS[row[6]]
    width, count = WIDTHS[row[1]], math.prod(row[2])
    form = row[3] if len(row) > 3 else ""
    bits = -(-count // 8)
    return {
        "F16": 2 * count,
        "bits": bits,
        "same": width,
        "range": 2 * width,
        "band": 2 * width,
        "given": 12,
    }.get(form, width * count)


def _made(part: bytes, dtype: str, shape: list[int], form: str, *ends: int) -> bytes:
    """The tensor's bytes, by the page's table of forms."""
    if form == "given":
        return part
    if form == "F16":
        return np.frombuffer(part, "<f2").astype(NUMPY_DTYPES[dtype]).tobytes()
    if form == "bits":
        ones = [part[i // 8] >> i % 8 & 1 for i in range(math.prod(shape))]
        return np.array(ones).astype({"BOOL": "u1", **NUMPY_DTYPES}[dtype]).tobytes()
    if form == "range":
        a, d = np.frombuffer(part, NUMPY_DTYPES[dtype]).astype("<f8" if dtype[0] == "F" else "<i8")
        line = (a + np.arange(shape[-1]) * d).astype(NUMPY_DTYPES[dtype])
        return np.broadcast_to(line, shape).tobytes()
    if form == "same":
        return part * math.prod(shape)
    x, y = part[: len(part) // 2], part[len(part) // 2 :]
    (rows, columns), (low, high) = shape[-2:], ends
    one = b"".join(x if low <= j - i <= high else y for i in range(rows) for j in range(columns))
    return one * math.prod(shape[:-2])


def _numbers(facts: dict[str, Any], rest: bytes, form: str) -> tuple[np.ndarray, list[int], np.ndarray]:
    """Angles, their codes, and the mapping's numbers."""
    ansatz, _, n, layers, b = facts["plan"]["circuit"][:5]
    shape = (b, layers, n, ANGLES[ansatz])
    bits, seed, seeded = [*facts["plan"]["angles"], 0][:3]
    own = (b, layers - seeded, n, ANGLES[ansatz])
    count, start = math.prod(own), start_angles(seed, math.prod(shape)).reshape(shape)
    numbers, dtype = _mapping_count(facts), "<f4" if bits == 32 else "<f2"
    size = numbers * np.dtype(dtype).itemsize
    mapping, rest = np.frombuffer(rest[:size], dtype).astype(float), rest[size:]
    if bits == 32:
        raw = np.frombuffer(rest, "<f4").astype(float).reshape(own)
        return np.concatenate((start[:, :seeded], raw), axis=1), [], mapping
    if form == "3":
        step, low, high, spread = struct.unpack("<fhhB", rest[:9])
        ((_, codes),) = arithmetic_decoded(rest[9:], [(count, step, (low, high, spread))], True)
    else:
        ((step, codes),) = _coded([count], "<f", rest)
    moved = start[:, seeded:] + step * np.array(codes, float).reshape(own)
    return np.concatenate((start[:, :seeded], moved), axis=1), codes, mapping


def _coded(counts: list[int], kind: str, data: bytes) -> list[tuple[float, list[int]]]:
    """Step and codes of each group."""
    digits, shared = iter(data), True
    if len(counts) > 1:
        shared = [False, True][next(digits)]
    rows: list[tuple[int, float, tuple[int, int, int]]] = []
    for count in counts:
        (step,) = struct.unpack(kind, bytes(next(digits) for _ in range(struct.calcsize(kind))))
        model = rows[0][2] if shared and rows else (_zigzag(digits), _zigzag(digits), next(digits))
        rows.append((count, step, model))
    return arithmetic_decoded(bytes(digits), rows, shared)


def _zigzag(digits: Iterator[int]) -> int:
    value = place = 0
    while True:
        digit = next(digits)
        value += digit % 128 << place
        place += 7
        if digit < 128:
            return value // 2 if value % 2 == 0 else -(value + 1) // 2


def _mapping_count(facts: dict[str, Any]) -> int:
    plan = facts["plan"]
    kind, h = plan["mapping"]
    k = plan["circuit"][2] + math.ceil(math.log2(plan["circuit"][4]))
    tensors = sum(is_generated(row) for row in facts["layout"])
    return {
        "linear": 2, "linear-per-tensor": 2 * tensors, "mlp": 2 + h * (k + 3), "quantum-train": 4 * k + 197,
        "tensor-train": 4 * h + 2 * (k - 1) * h * h,
    }[kind]  # fmt: skip


def arithmetic_decoded(
    message: bytes, rows: list[tuple[int, float, tuple[int, int, int]]], shared: bool
) -> list[tuple[float, list[int]]]:
    """Step and codes of each group, by the page's range decoder; shared: all by the counts of the first."""
    every = [_counts(*model) for _, _, model in rows]
    digits = iter(message)
    width, value, found = 2**32 - 1, 0, []
    for _ in range(4):
        value = 256 * value + next(digits, 0)
    for number, (count, step, (low, _, _)) in enumerate(rows):
        counts, codes = every[0 if shared else number], []
        for _ in range(count):
            part, below = width // sum(counts), 0
            for symbol, share in enumerate(counts):
                if value < (below + share) * part or symbol == len(counts) - 1:
                    break
                below += share
            value, width = value - below * part, share * part
            while width < 2**24:
                value, width = 256 * value + next(digits, 0), 256 * width
            codes.append(low + symbol)
            counts[symbol] += 2
            if sum(counts) >= 2**16:
                counts[:] = [(share + 1) // 2 for share in counts]
        found.append((step, codes))
    return found


def _counts(low: int, high: int, spread: int) -> list[int]:
    """What each symbol counts at first."""
    q2 = spread * spread
    return [max(1, 32 * q2 * q2 // (q2 + s * s) ** 2) if spread else 1 for s in range(low, high + 1)]


def _rival(facts: dict[str, Any], rest: bytes, form: str) -> tuple[list[int], np.ndarray]:
    """The codes of all groups, and the weights: of former formats in float32."""
    plan, rows = facts["plan"], [row for row in facts["layout"] if is_generated(row)]
    shapes = rival_shapes(facts["method"], plan, rows)
    groups = _coded([math.prod(shape) for shape in shapes], "<e", rest)
    every = [code for _, codes in groups for code in codes]
    if form == "5":
        exact = [[step * code for code in codes] for step, codes in groups]
        return every, np.array(format_steps.rival_weights(facts, shapes, exact))
    pairs = zip(groups, shapes, strict=True)
    numbers = [
        np.array(codes, np.float32).reshape(shape) * np.float32(step) for (step, codes), shape in pairs
    ]
    sizes = [math.prod(row[1]) for row in rows]
    centre = np.repeat(np.array([row[3] if len(row) > 3 else 0 for row in rows], np.float32), sizes)
    scale = np.repeat(np.array([1 / math.sqrt(3 * row[2]) for row in rows], np.float32), sizes)
    moved = moved_weights(facts["method"], plan, rows, numbers, scale)
    return every, (centre + moved).astype(float)


def _rounded(layout: list, weights: np.ndarray) -> Iterator[tuple[str, bytes]]:
    first = 0
    for row in layout:
        if is_generated(row):
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
