"""Makes artifacts that must be refused, from the committed honest ones of all formats that are read.

    python tests/hostile/make_artifacts.py FOLDER

A forger can compute the checksum, so every file here has a right one, unless it is the damage that counts.
`CASES` says for each file at which stage it has to be refused, and with which words:

    describe    by the metadata alone, before a tensor is read
    read        by the stored numbers
    verify      by the weights that come out

Cases speak of parts and facts, and `VERSIONS` says where those stand in a file of each format.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1]))  # where it is run alone
from format_reader import dictionary as dictionary_of

GIGA = 2**30
#: Check and digest (8 bytes each), and the origin.
FIXED, ORIGIN = 16, 72
#: Of the honest file: 8 mapping numbers of two bytes before the angles.
MAPPING = 16
PLAN = ("angles", "circuit", "mapping")
_PACKAGE = Path(__file__).resolve().parents[2] / "qtrain_cli" / "artifact"
_GOLDEN = Path(__file__).resolve().parents[1] / "artifact" / "golden"


@dataclass(frozen=True)
class Version:
    """A format: its honest file and page, how many fixed bytes stand before the facts, the codes' head.

    `probes`: how many float32 a model has. `ends` packs lowest code, highest code and spread; `nested`: the
    plan's members are a value of their own.
    """

    metadata: str
    honest: Path
    page: Path
    before: int
    probes: int
    ends: Callable[[int, int, int], bytes]
    nested: bool


def _zigzags(low: int, high: int, spread: int) -> bytes:
    """Base-128 numbers, low digits first, and the spread."""
    data = bytearray()
    for value in (low, high):
        left = 2 * value if value >= 0 else -2 * value - 1
        while left >= 128:
            data.append(left & 127 | 128)
            left >>= 7
        data.append(left)
    return bytes([*data, spread])


VERSIONS = {
    3: Version(
        "3", _GOLDEN / "qtrain-3.bin", _PACKAGE / "former" / "FORMAT-3.md", 32, 4,
        lambda *ends: struct.pack("<hhB", *ends), False,
    ),
    4: Version(
        "4", _GOLDEN / "qtrain-4.bin", _PACKAGE / "former" / "FORMAT-4.md", 16, 4, _zigzags, True
    ),
    5: Version("5", _GOLDEN / "qtrain-5.bin", _PACKAGE / "FORMAT.md", 16, 0, _zigzags, True),
}  # fmt: skip
#: The format that files are made in.
_now = VERSIONS[5]


def of_format(number: int, make: Callable[[], Any]) -> Any:
    """What a function makes in this format."""
    global _now
    before, _now = _now, VERSIONS[number]
    try:
        return make()
    finally:
        _now = before


def dictionary() -> bytes:
    """The preset dictionary of the format, from its page."""
    return dictionary_of(_now.page)


def head() -> int:
    """Bytes of step, ends and spread of the honest file."""
    return 4 + len(_now.ends(-15, 15, 3))


@dataclass
class Parts:
    """An artifact taken apart: check, digest and probes, facts with the plan's members among them, origin,
    kept bytes, numbers."""

    fixed: bytes
    facts: Any
    origin: bytes
    kept: bytes
    numbers: bytes


def inflated(data: bytes, dictionary: bytes = b"") -> tuple[bytes, bytes]:
    """What a raw stream holds, and what follows it."""
    stream = zlib.decompressobj(wbits=-15, zdict=dictionary)
    return stream.decompress(data), stream.unused_data


def deflated(data: bytes, dictionary: bytes = b"") -> bytes:
    """A raw stream."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zlib.Z_DEFAULT_STRATEGY, dictionary)
    return stream.compress(data) + stream.flush()


def apart(data: bytes) -> Parts:
    """The parts of an honest file with a record and kept tensors."""
    rest = tensor_of(data)
    text, after = inflated(rest[_now.before :], dictionary())
    left = FIXED + 4 * _now.probes - _now.before
    fixed, after = rest[: _now.before] + after[:left], after[left:]
    kept, numbers = inflated(after[ORIGIN:])
    facts = json.loads(text)
    if _now.nested:
        facts |= facts.pop("plan")
    return Parts(fixed, facts, after[:ORIGIN], kept, numbers)


def text_of(facts: Any) -> str:
    """The facts' JSON, the plan's members where the format has them."""
    if _now.nested and isinstance(facts, dict):
        plan = {key: facts[key] for key in PLAN if key in facts}
        facts = {key: value for key, value in facts.items() if key not in PLAN} | {"plan": plan}
    return canonical(facts)


def joined(fixed: bytes, facts: bytes, *rest: bytes) -> bytes:
    """A file of these parts; the facts deflated, in their place among the fixed bytes."""
    return of_tensor(fixed[: _now.before] + facts + fixed[_now.before :] + b"".join(rest))


def canonical(value: Any) -> str:
    """JSON as the format wants it; NaN and infinity are let through."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def together(parts: Parts, text: str | None = None) -> bytes:
    """A file of these parts with a right checksum; `text` stands in for the facts' JSON."""
    facts = (text_of(parts.facts) if text is None else text).encode()
    kept = deflated(parts.kept) if parts.kept else b""
    return joined(parts.fixed, deflated(facts, dictionary()), parts.origin, kept, parts.numbers)


def of_tensor(
    data: bytes, row: dict[str, Any] | None = None, more: dict[str, Any] | None = None, text: str = "*"
) -> bytes:
    """A file with this tensor; `row` changes its row, `more` are rows before it, `text` other metadata."""
    text = _now.metadata if text == "*" else text
    own = {"q": {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)], **(row or {})}}
    return with_header(json.dumps({"__metadata__": {"qtrain": text}, **(more or {}), **own}).encode(), data)


def with_header(header: bytes, payload: bytes = b"") -> bytes:
    """A file with this header, and a right checksum if there is room for one."""
    return sealed(len(header).to_bytes(8, "little") + header + payload)


def sealed(data: bytes) -> bytes:
    """The file with its check computed anew: where the metadata has one there, else after the header."""
    start = 8 + int.from_bytes(data[:8], "little")
    found = re.search(rb'\\"check\\":\\"([^"\\]{16})', data[:start])
    first, last = found.span(1) if found else (start, start + 8)
    if last > len(data):  # no room
        return data
    blank = b"0" * 16 if found else bytes(8)
    check = hashlib.sha256(data[:first] + blank + data[last:]).digest()[:8]
    return data[:first] + (check.hex().encode() if found else check) + data[last:]


def honest() -> Parts:
    """A fresh copy of the honest file's parts."""
    return apart(_now.honest.read_bytes())


def edited(change: Callable[[Any], Any]) -> bytes:
    """The honest file with its facts changed in place, or replaced by what `change` returns."""
    parts = honest()
    new = change(parts.facts)
    parts.facts = parts.facts if new is None else new
    return together(parts)


def put(*path: Any) -> bytes:
    """The honest file with one value of the facts set: the keys that lead to it, then the value."""
    *keys, last, value = path

    def change(facts: Any) -> None:
        for key in keys:
            facts = facts[key]
        facts[last] = value

    return edited(change)


def without(key: str) -> bytes:
    """The honest file without one key of the facts."""
    return edited(lambda facts: {name: value for name, value in facts.items() if name != key})


def labelled(metadata: Any) -> bytes:
    """The honest file with other metadata: a value, or a text as it is."""
    text = metadata if isinstance(metadata, str) else canonical(metadata)
    return of_tensor(tensor_of(together(honest())), text=text)


def of_format_2(**more: Any) -> dict[str, Any]:
    """The metadata of a file of the format before this one."""
    return {"check": "0" * 16, "format": "qtrain/2", **more}


def wrong_check(place: int) -> bytes:
    """The honest file with one bit of its check changed."""
    data = bytearray(together(honest()))
    data[8 + int.from_bytes(data[:8], "little") + place] ^= 1
    return bytes(data)


def check_elsewhere() -> bytes:
    """The honest file with a second key of the metadata, which has a right check of the older kind."""
    tensor = tensor_of(together(honest()))
    row = {"dtype": "U8", "shape": [len(tensor)], "data_offsets": [0, len(tensor)]}
    keys = {"qtrain": _now.metadata, "more": canonical(of_format_2())}
    return with_header(json.dumps({"__metadata__": keys, "q": row}).encode(), tensor)


def fixed(place: int, data: bytes) -> bytes:
    """The honest file with other bytes among digest and probes."""
    parts = honest()
    parts.fixed = parts.fixed[:place] + data + parts.fixed[place + len(data) :]
    return together(parts)


def probes_cut() -> bytes:
    """The honest file up to its probes, the last of which lacks a byte; before the facts, nothing follows."""
    parts = honest()
    parts.fixed, parts.origin, parts.kept, parts.numbers = parts.fixed[:-1], b"", b"", b""
    return together(parts) if _now.before == FIXED else of_tensor(parts.fixed)


def origin(size: int) -> bytes:
    """The honest file cut after so many bytes of its origin."""
    parts = honest()
    parts.origin, parts.kept, parts.numbers = parts.origin[:size], b"", b""
    return together(parts)


def bare(origin: bytes = b"") -> bytes:
    """The honest file without its record, and with these bytes in place of its origin."""
    parts = honest()
    del parts.facts["record"]
    parts.origin = origin
    return together(parts)


def record_without_origin() -> bytes:
    """The honest file whose kept tensors stand where its origin should."""
    parts = honest()
    parts.origin = b""
    return together(parts)


def numbers(place: int, data: bytes, size: int | None = None) -> bytes:
    """The honest file with other bytes in place of `size` (else as many) of its numbers."""
    parts, size = honest(), len(data) if size is None else size
    parts.numbers = parts.numbers[:place] + data + parts.numbers[place + size :]
    return together(parts)


def cut_message() -> bytes:
    """The honest file without the message of its codes."""
    return numbers(MAPPING + head(), b"", 100)


def ends(low: int, high: int, spread: int = 0) -> bytes:
    """The honest file whose codes claim another range."""
    return numbers(MAPPING + 4, _now.ends(low, high, spread), head() - 4)


def raw_angles(*values: float) -> bytes:
    """The honest file with float32 angles: the values, then zeros."""
    parts = honest()
    _, _, n, layers, b = parts.facts["circuit"]
    count = n * layers * b
    parts.facts["angles"][0] = 32
    mapping = struct.pack("<8f", *struct.unpack("<8e", parts.numbers[:MAPPING]))
    parts.numbers = mapping + struct.pack(f"<{count}f", *values, *[0.0] * (count - len(values)))
    return together(parts)


def kept_bytes(change: Callable[[bytes], bytes]) -> bytes:
    """The honest file with other kept tensors."""
    parts = honest()
    parts.kept = change(parts.kept)
    return together(parts)


def streams(
    facts: Callable[[bytes], bytes] | None = None, kept: Callable[[bytes], bytes] | None = None
) -> bytes:
    """The honest file with other deflated streams; each is made from what it has to hold."""
    parts = honest()
    text = text_of(parts.facts).encode()
    return joined(
        parts.fixed,
        facts(text) if facts else deflated(text, dictionary()),
        parts.origin,
        kept(parts.kept) if kept else deflated(parts.kept),
        parts.numbers,
    )


def unended(data: bytes) -> bytes:
    """A stream whose last block never comes."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    return stream.compress(data) + stream.flush(zlib.Z_SYNC_FLUSH)


def endless(part: int) -> bytes:
    """The honest file up to its facts or its kept tensors, which do not end."""
    parts = honest()
    text = text_of(parts.facts).encode()
    if not part:
        return of_tensor(parts.fixed[: _now.before] + unended(text))
    return joined(parts.fixed, deflated(text, dictionary()), parts.origin, unended(parts.kept))


def zeros(size: int, before: bytes = b"") -> bytes:
    """A raw stream of these bytes and then zeros, each MiB of which is deflated to the same."""
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    start = stream.compress(before) + stream.flush(zlib.Z_FULL_FLUSH)
    mebibyte = stream.compress(bytes(2**20)) + stream.flush(zlib.Z_FULL_FLUSH)
    return start + mebibyte * (size // 2**20) + stream.flush()


def kept_bomb(size: int, sent: int) -> bytes:
    """A layout that keeps `size` bytes, from zeros of which `sent` are in the stream."""
    parts = honest()
    parts.facts["layout"].append(["bomb", "U8", [size]])
    facts = deflated(text_of(parts.facts).encode(), dictionary())
    return joined(parts.fixed, facts, parts.origin, zeros(sent, parts.kept), parts.numbers)


def two_tensors() -> bytes:
    """The honest tensor, and an empty one before it."""
    tensor = tensor_of(together(honest()))
    return of_tensor(tensor, more={"p": {"dtype": "U8", "shape": [0], "data_offsets": [0, 0]}})


def tensor_of(data: bytes) -> bytes:
    """The bytes of a file's tensor."""
    return data[8 + int.from_bytes(data[:8], "little") :]


def renamed(name: str, dtype: str, *shape: int) -> bytes:
    """The honest tensor under another name, dtype or shape."""
    tensor = tensor_of(together(honest()))
    tensor += bytes(-len(tensor) % 4)
    count = len(tensor) // {"U8": 1, "I8": 1, "F32": 4}[dtype]
    row = {"dtype": dtype, "shape": [*shape, count], "data_offsets": [0, len(tensor)]}
    return with_header(json.dumps({"__metadata__": {"qtrain": _now.metadata}, name: row}).encode(), tensor)


def without_tensor() -> bytes:
    """Metadata and nothing else."""
    return with_header(json.dumps({"__metadata__": {"qtrain": _now.metadata}}).encode())


def doubled_row() -> bytes:
    """`q` twice in the JSON header: most readers see the second one only."""
    data = together(honest())
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].replace(b'"q": {', b'"q": {}, "q": {', 1)
    return with_header(header, data[8 + length :])


def text_changed(old: str, new: str) -> bytes:
    """The honest file with a piece of its facts' text replaced."""
    parts = honest()
    text = text_of(parts.facts)
    assert text.count(old) == 1
    return together(parts, text.replace(old, new))


def generated_only(weights: int, qubits: int, layers: int, circuits: int, mapping: tuple[str, int]) -> bytes:
    """A file of one huge generated tensor; its own payload is small, and all its codes are 0."""
    parts = honest()
    bits = qubits + (circuits - 1).bit_length()
    count = {"linear": 2, "mlp": 2 + mapping[1] * (bits + 3), "quantum-train": 4 * bits + 197}[mapping[0]]
    parts.facts |= {
        "circuit": ["real-amplitudes", "cnot-ring", qubits, layers, circuits],
        "mapping": list(mapping),
        "angles": [2, 7],
        "layout": [["w", [weights], 1]],
    }
    parts.kept, parts.numbers = b"", bytes(2 * count) + _float(1.0) + _now.ends(0, 0, 0)
    return together(parts)


def generated_zeros(message: bytes) -> bytes:
    """A generator whose codes are all 0, which takes no message, with one."""
    data = generated_only(2, 1, 9, 1, ("linear", 0))
    return of_tensor(tensor_of(data) + message)


def edited_raw(change: Callable[[bytes], bytes]) -> bytes:
    """The honest file with float32 angles and other numbers."""
    parts = apart(raw_angles())
    parts.numbers = change(parts.numbers)
    return together(parts)


def other_digest() -> bytes:
    """Neither its digest nor its probes, if it has any, are those of its weights."""
    parts = honest()
    parts.fixed = bytes(len(parts.fixed))
    return together(parts)


def nested(opening: str, times: int) -> bytes:
    """The honest file with a deep nest in place of its record."""
    closing = {"[": "]", '{"a":': "}"}[opening]
    parts = honest()
    parts.facts["record"] = "HERE"
    return together(parts, text_of(parts.facts).replace('"HERE"', opening * times + "1" + closing * times))


def many_lists() -> bytes:
    """A header of the largest size allowed whose JSON is all empty lists: much memory for a small file."""
    return with_header(b'{"a":[' + b"[]," * ((2**23 - 16) // 3) + b"0]}")


#: A refusal's words, the function that makes the file, and its arguments.
_Row = tuple[Any, ...]
_NAN, _INF = float("nan"), float("inf")
_half, _float = struct.Struct("<e").pack, struct.Struct("<f").pack

_OTHER_RULES = {True: "wire0=msb float64 half-even", False: "wire0=msb portable float64"}


def _former(words: str) -> dict[int, str]:
    """What former formats alone have."""
    return {3: words, 4: words}


def _later(words: str) -> dict[int, str]:
    """What `qtrain/3` alone has not."""
    return {4: words, 5: words}


_DESCRIBE: dict[str, _Row] = {
    # circuits that cannot be, and circuits that nobody could run
    "60 qubits": ("qubits is 60; allowed: 1 to 26", put, "circuit", 2, 60),
    "0 qubits": ("qubits is 0", put, "circuit", 2, 0),
    "huge qubits": ("qubits is 1000", put, "circuit", 2, 10**4000),
    "negative layers": ("layers is -1", put, "circuit", 3, -1),
    "huge layers": ("have 9", put, "circuit", ["real-amplitudes", "cnot-ring", 3, 50_000_000, 6]),
    "more qubits than needed": ("3 circuits of 4 qubits do not fit", put, "circuit", 2, 4),
    "an empty circuit": ("4 circuits of 3 qubits do not fit", put, "circuit", 4, 4),
    "unknown ansatz": ("unknown ansatz 'hadamard'", put, "circuit", 0, "hadamard"),
    "ansatz of 1 MB": ("unknown ansatz 'aaa", put, "circuit", 0, "a" * 10**6),
    "unknown entangler": ("unknown entangler 'all'", put, "circuit", 1, "all"),
    "an entangler of another ansatz": ("has no entangler cz-ranges", put, "circuit", 1, "cz-ranges"),
    "an ansatz without its entangler": ("has no entangler cnot-ring", put, "circuit", 0, "u3-cu3"),
    "coupled single qubits": ("qubits is 1; allowed: 2", put, "circuit", ["u3-cu3", "cu3-ring", 1, 2, 3]),
    "couplings left out": ("leave angles", put, "circuit", ["u3-cu3", "cu3-ring", 3, 2, 3, 1]),
    "a sixth entry of 0": ("its circuit ends in [0]", put, "circuit", slice(5, 5), [0]),
    "a sixth entry of true": ("not a whole number", put, "circuit", slice(5, 5), [True]),
    "a seventh entry": ("its circuit ends in [1, 1]", put, "circuit", slice(5, 5), [1, 1]),
    "short circuit": ("malformed", put, "circuit", ["real-amplitudes", "cnot-ring", 3]),
    "a bomb of work": ("steps; allowed: 68719476736", generated_only, 2**26, 26, 2000, 1, ("linear", 0)),
    "a bomb of outcomes": ("have 536870912 outcomes", generated_only, 2**29, 26, 1, 8, ("linear", 0)),
    "a bomb of hidden units": (
        "the mapping mlp is too large",
        generated_only,
        2**20,
        20,
        1,
        1,
        ("mlp", 4096),
    ),
    "a bomb of bits": ("quantum-train is too large", generated_only, 2**26, 26, 1, 1, ("quantum-train", 0)),
    # mapping, angles
    "unknown mapping": ("unknown mapping 'tensor-trian'", put, "mapping", 0, "tensor-trian"),
    "numbers of another mapping": (
        {3: "its numbers take 37 bytes; needed: 443", 4: "its numbers take 35 bytes; needed: 441 to 459"},
        put,
        "mapping",
        0,
        "quantum-train",
    ),
    "hidden units of the stack": ("has 4 hidden units", put, "mapping", ["quantum-train", 4]),
    "hidden units of a linear mapping": ("has 1 hidden units", put, "mapping", 1, 1),
    "17 bits": ("angle bits is 17", put, "angles", 0, 17),
    "1 bit": ("angle bits is 1;", put, "angles", 0, 1),
    "negative seed": ("the seed is -1", put, "angles", 1, -1),
    "true for 1": ("not a whole number", put, "circuit", 4, True),
    # layout
    "a name twice": ("tensor 'conv.weight' stands twice", put, "layout", 1, 0, "conv.weight"),
    "a kept name twice": ("tensor 'norm.count' stands twice", put, "layout", 3, 0, "norm.count"),
    "tied to itself": ("is tied to 'again.weight'", put, "layout", 6, 1, "again.weight"),
    "tied in a cycle": (
        "is tied to 'y', which is not there",
        put,
        "layout",
        slice(7, 7),
        [["x", "y"], ["y", "x"]],
    ),
    "tied to nothing": ("is tied to 'nowhere'", put, "layout", 6, 1, "nowhere"),
    "a negative shape": ("has the shape [-3]", put, "layout", 1, 1, [-3]),
    "two negative sizes": ("has the shape [-3, -1]", put, "layout", 1, 1, [-3, -1]),
    "a huge shape": ("has the shape [65536, 65536, 2]", put, "layout", 1, 1, [65536, 65536, 2]),
    "more weights than outcomes": ("do not fit", put, "layout", 1, 1, [GIGA]),
    "a hundred dimensions": ("has 100 dimensions", put, "layout", 1, 1, [1] * 100),
    "a million huge sizes": ("has 100000 dimensions", put, "layout", 1, 1, [10**50] * 100_000),
    "a size of 4000 digits": ("has the shape", put, "layout", 1, 1, [10**4000]),
    "a size of 5000 digits": (
        "malformed (ValueError",
        text_changed,
        '["conv.bias",[3]',
        '["conv.bias",[' + "9" * 5000 + "]",
    ),
    "nothing generated": ("0 elements", put, "layout", 1, 1, [0]),
    "a size that is a float": ("has the shape [3.0]", put, "layout", 1, 1, [3.0]),
    "a shape that is a number": ("malformed", put, "layout", 1, 1, 3),
    "fan-in of zero": ("has the fan-in 0", put, "layout", 1, 2, 0),
    "fan-in of 400 digits": ("has the fan-in 1000", put, "layout", 1, 2, 10**400),
    "centre of 400 digits": ("OverflowError", put, "layout", 2, 3, 10**400),
    "centre NaN": ("has the centre nan", put, "layout", 2, 3, _NAN),
    "centre infinite": ("has the centre inf", put, "layout", 2, 3, _INF),
    "generated integers": ("cannot be generated: dtype I64", put, "layout", 2, 4, "I64"),
    "unknown dtype": ("has the dtype 'F8'", put, "layout", 2, 4, "F8"),
    "no name": ("printable characters", put, "layout", 0, 0, ""),
    "a name that writes on the terminal": ("printable characters", put, "layout", 0, 0, "\x1b[2Jw"),
    "a name of 1 MB": ("printable characters", put, "layout", 0, 0, "a" * 10**6),
    "a name that is a number": ("malformed", put, "layout", 0, 0, 7),
    "an empty row": ("malformed", put, "layout", 0, []),
    "a long row": ("has the constant row 1, which", put, "layout", 0, ["w", [12], 4, 0.0, "F32", 1]),
    "a pattern of a huge shape": (
        "its patterns become",
        put,
        "layout",
        4,
        ["norm.count", "I64", [2**26], "range"],
    ),
    "a mask of a huge shape": (
        "its patterns become",
        put,
        "layout",
        4,
        ["norm.count", "BOOL", [2**14, 2**14], "band", -(2**14), 0],
    ),
    "a pattern beyond all shapes": (
        "allowed: 0 to",
        put,
        "layout",
        4,
        ["norm.count", "U8", [10**12], "same"],
    ),
    "a pattern of nothing": ("stored as 'same'", put, "layout", 4, ["norm.count", "I64", [0], "same"]),
    "a form of no name": ("stored as 'other'", put, "layout", 4, ["norm.count", "I64", [], "other"]),
    "a band without an end": (
        "stored as 'band' 0",
        put,
        "layout",
        4,
        ["norm.count", "I64", [2, 2], "band", 0],
    ),
    "a band of a half": (
        "stored as 'band' 0 0.5",
        put,
        "layout",
        4,
        ["norm.count", "I64", [2, 2], "band", 0, 0.5],
    ),
    "a constant row that is not there": (
        "has the constant row 12",
        put,
        "layout",
        0,
        ["w", [4, 3], 4, 0.0, "F32", 12],
    ),
    "a constant row of another dtype": (
        "has the constant row 1",
        put,
        "layout",
        0,
        ["w", [4, 3], 4, 0.0, "F32", 1, "F16"],
    ),
    "no rows": ("no weight is left", put, "layout", []),
    "rows that are text": ("damaged or hostile", put, "layout", "layout"),
    "a kept tensor narrowed to integers": ("stored as 'I8'", put, "layout", 3, 3, "I8"),
    "a kept tensor widened": ("stored as 'F64'", put, "layout", 3, 3, "F64"),
    "a kept tensor stored as it is, said aloud": (
        "not what an honest",
        put,
        "layout",
        4,
        ["norm.count", "I64", [], ""],
    ),
    "kept integers narrowed": ("stored as 'F16'", put, "layout", 4, ["norm.count", "I64", [], "F16"]),
    "a kept tensor of no dtype": ("has the dtype 'F8'", put, "layout", 3, 1, "F8"),
    "a kept tensor of a huge shape": ("bytes of tensors are kept", put, "layout", 3, 2, [2**31]),
    "a kept tensor of a large shape": ("its kept tensors take", put, "layout", 3, 2, [2**28]),
    "an empty kept tensor of huge sizes": (
        "has the shape [0, 1099511627776",
        put,
        "layout",
        3,
        2,
        [0, 2**40],
    ),
    # probes, input, record, origin
    "NaN probe": (_former("probes"), fixed, 16, _float(_NAN)),
    "infinite probe": (_former("probes"), fixed, 28, _float(_INF)),
    "NaN tolerance": (_former("the tolerance nan"), put, "tolerance", _NAN),
    "infinite tolerance": (_former("the tolerance inf"), put, "tolerance", _INF),
    "negative tolerance": (_former("the tolerance -1"), put, "tolerance", -1.0),
    "tolerance of zero": (_former("the tolerance 0.0"), put, "tolerance", 0.0),
    "tolerance of 400 digits": (_former("OverflowError"), put, "tolerance", 10**400),
    "tolerance that is whole": ("not what an honest writer writes", put, "tolerance", 1),
    "tolerance that is text": ("not what an honest writer writes", put, "tolerance", "1e-06"),
    "a tolerance where there is none": ({5: "not what an honest writer writes"}, put, "tolerance", 1e-6),
    "rules of another format": ("it has the rules", lambda: put("rules", _OTHER_RULES[_now.metadata == "5"])),
    "no tolerance": (_former("KeyError: 'tolerance'"), without, "tolerance"),
    "input of unknown dtype": ("an input has the dtype 'F8'", put, "input", 0, "F8"),
    "input beyond memory": ("an input has the shape", put, "input", ["F32", 2**20, 2**20]),
    "negative input": ("an input has the shape", put, "input", ["F32", -1, -1]),
    "input of true": ("an input has the shape", put, "input", ["F32", True]),
    "input of no dtype": ("malformed", put, "input", []),
    "record that is text": ("stored form", put, "record", "good"),
    "record of other figures": ("figure", put, "record", 1, 2, 1.5),
    "record with NaN": ("expected: a number", put, "record", 1, 2, _NAN),
    "an origin that is not there": ("0 bytes stand where its origin should; needed: 72", origin, 0),
    "an origin cut short": ("71 bytes stand where its origin should; needed: 72", origin, 71),
    "an origin and nothing else": ("or does not end", origin, 72),
    "a record without its origin": ("bytes stand where its origin should; needed: 72", record_without_origin),
    "a bare file with an origin": ("damaged or hostile", lambda: bare(honest().origin)),
    "a bare file with 72 zeros": ("damaged or hostile", bare, bytes(72)),
    # the check
    "a wrong check": ("its bytes do not match its checksum", wrong_check, 0),
    "a check wrong at its end": ("its bytes do not match its checksum", wrong_check, 7),
    "a check elsewhere": ("other metadata than its own", check_elsewhere),
    # the metadata
    "metadata of 3.0": ("not what an honest writer writes", labelled, "3.0"),
    "metadata of true": ("not what an honest writer writes", labelled, "true"),
    "metadata of null": ("not what an honest writer writes", labelled, "null"),
    "metadata of a text": ("not what an honest writer writes", labelled, '"3"'),
    "metadata of a format's name": ("not what an honest writer writes", labelled, '"qtrain/2"'),
    "metadata with a space": ("not what an honest writer writes", labelled, " 3"),
    "metadata with a line": ("not what an honest writer writes", labelled, "3\n"),
    "metadata of exponents": ("not what an honest writer writes", labelled, "3e0"),
    "metadata that is a list": ("not what an honest writer writes", labelled, [3]),
    "metadata of the format alone": ("not what an honest writer writes", labelled, {"qtrain": 3}),
    "no format": ("not what an honest writer writes", labelled, {"check": "0" * 16}),
    "metadata of format 3 in older words": (
        "not what an honest writer writes",
        labelled,
        of_format_2(format="qtrain/3"),
    ),
    "metadata of format 4 in older words": (
        "not what an honest writer writes",
        labelled,
        of_format_2(format="qtrain/4"),
    ),
    "metadata of 4.0": ("not what an honest writer writes", labelled, "4.0"),
    "metadata of the other format": (
        "damaged or hostile",
        lambda: labelled({"3": "4", "4": "5", "5": "4"}[_now.metadata]),
    ),
    "metadata that is no JSON": ("metadata is not JSON", labelled, "3}"),
    "no metadata": ("metadata is not JSON", labelled, ""),
    "metadata of 5000 digits": ("metadata is not JSON", labelled, "3" * 5000),
    "metadata that is deep": ("metadata is not JSON", labelled, "[" * 10**5 + "]" * 10**5),
    # the facts as a whole
    "unknown rules": ("has the rules 'wire0=lsb'", put, "rules", "wire0=lsb"),
    "an unknown key": ("not what an honest writer writes", put, "more", 1),
    "a key twice": ("not what an honest writer writes", text_changed, '"input":', '"input":1,"input":'),
    "a space": ("not what an honest writer writes", text_changed, '"input":', '"input": '),
    "1e0 for 1.0": ("not what an honest writer writes", text_changed, ',1.0,"F16"', ',1e0,"F16"'),
    "facts that are a list": ("damaged or hostile", edited, lambda facts: [facts]),
    "facts that are no JSON": ("malformed (JSONDecodeError", text_changed, '"input":', '"input"'),
    "facts that are no text": ("its facts are not text", streams, lambda text: deflated(b"\xff" + text)),
    "deep lists": ("malformed (RecursionError", nested, "[", 100_000),
    "deep objects": ("malformed (RecursionError", nested, '{"a":', 100_000),
    "less deep lists": ("damaged or hostile", nested, "[", 500),
    # the deflated streams
    "a bomb in the facts": ("more than 8388608 bytes", streams, lambda text: zeros(2**28)),
    "facts that do not end": ("or does not end", endless, 0),
    "facts that are cut": ("or does not end", lambda: of_tensor(tensor_of(together(honest()))[:140])),
    "facts that cannot be inflated": ("cannot be inflated", streams, lambda text: b"\xff" * 400),
    "another dictionary": ("damaged or hostile", streams, lambda text: deflated(text, dictionary()[::-1])),
    "a bomb in the kept tensors": (
        "inflates to more than 12 bytes",
        streams,
        None,
        lambda kept: zeros(2**28),
    ),
    "a bomb that the layout asks for": ("its kept tensors take 2147483660 bytes", kept_bomb, 2**31, 2**28),
    "a stream that holds less than the layout asks for": (
        "its kept tensors take 12 bytes; needed: 13",
        put,
        "layout",
        slice(4, 4),
        [["k", "U8", [1]]],
    ),
    "kept tensors that do not end": ("or does not end", endless, 1),
    "kept tensors that cannot be inflated": ("cannot be inflated", streams, None, lambda kept: b"\xff" * 400),
    "kept tensors that are short": ("kept tensors take 11 bytes", kept_bytes, lambda kept: kept[:-1]),
    "kept tensors that are long": ("more than 12 bytes", kept_bytes, lambda kept: kept + b"a"),
    "kept tensors with a dictionary": (
        "damaged or hostile",
        streams,
        None,
        lambda kept: deflated(dictionary()[:40], dictionary()),
    ),
    # the header, the tensor
    "a tensor twice": ("the name 'q' stands twice", doubled_row),
    "two tensors": ("it holds the tensors 'p, q'; needed: one, 'q'", two_tensors),
    "no tensor": ("checksum", without_tensor),
    "a tensor of another name": ("it holds the tensors 'angles'", renamed, "angles", "U8"),
    "a tensor of another dtype": ("needed: one, 'q', of bytes", renamed, "q", "I8"),
    "a tensor of wide numbers": ("needed: one, 'q', of bytes", renamed, "q", "F32"),
    "a tensor of two dimensions": ("needed: one, 'q', of bytes", renamed, "q", "U8", 1),
    "a tensor that is too short": (
        {3: "its tensor has 31 bytes; needed: 32", **_later("its tensor has 15 bytes; needed: 16")},
        lambda: of_tensor(bytes(_now.before - 1)),
    ),
    "probes cut short": (
        {3: "its tensor has 31 bytes; needed: 32", 4: "15 bytes follow its facts; needed: 16"},
        probes_cut,
    ),
    "a tensor of a check": (
        {3: "its tensor has 8 bytes; needed: 32", **_later("its tensor has 8 bytes; needed: 16")},
        of_tensor,
        bytes(8),
    ),
    "a tensor without room for a check": ("checksum", of_tensor, bytes(7)),
    "an empty tensor": ("checksum", of_tensor, b""),
    "an oversized header": ("truncated", lambda: (2**40).to_bytes(8, "little") + b"{}"),
    "a header above the limit": ("its header claims", lambda: with_header(b"{" + b" " * (2**23) + b"}")),
    "a dtype that is a list": ("has the unknown dtype", of_tensor, b"", {"dtype": []}),
    # numbers
    "numbers that are missing": (
        {3: "its numbers take 0 bytes; needed: 25", **_later("its numbers take 0 bytes; needed: 23 to 41")},
        numbers,
        0,
        b"",
        10**6,
    ),
    "numbers that are cut": (
        {3: "its numbers take 24 bytes; needed: 25", **_later("its numbers take 22 bytes; needed: 23 to 41")},
        lambda: numbers(MAPPING + head() - 1, b"", 10**6),
    ),
    "bytes after the numbers": ("its numbers take 135 bytes; needed: 23 to 41", numbers, 36, bytes(100), 0),
    "float32 angles that are short": ("its numbers take", lambda: edited_raw(lambda numbers: numbers[:-1])),
    "float32 angles that are long": ("its numbers take", lambda: edited_raw(lambda numbers: numbers + b"a")),
    "a bomb of angles": (
        "4194305 angles are coded; allowed: 4194304",
        generated_only,
        2,
        1,
        2**22 + 1,
        1,
        ("linear", 0),
    ),
}

_READ: dict[str, _Row] = {
    "NaN angle": ("a number of its angles is not finite", raw_angles, _NAN),
    "infinite angle": ("a number of its angles is not finite", raw_angles, 1.0, -_INF),
    "NaN mapping": ("its mapping is not finite", numbers, 0, _half(_NAN)),
    "infinite mapping": ("its mapping is not finite", numbers, 14, b"\x00\x7c"),
    "NaN step": ("its step is nan", numbers, MAPPING, _float(_NAN)),
    "infinite step": ("its step is inf", numbers, MAPPING, _float(_INF)),
    "zero step": ("its step is 0.0", numbers, MAPPING, _float(0.0)),
    "negative step": ("its step is -", numbers, MAPPING, _float(-0.1)),
    "codes beyond the grid": ("its codes range from -2048 to 15", ends, -2048, 15),
    "codes far beyond the grid": ("its codes range from -32768 to 32767", ends, -32768, 32767),
    "codes above the grid": ("its codes range from 0 to 2048", ends, 0, 2048),
    "codes from high to low": ("its codes range from 15 to -15", ends, 15, -15),
    "a wider range of codes": ("its codes do not range from -40 to 40", ends, -40, 40),
    "codes all one": ("bytes that mean nothing", ends, 3, 3),
    "another spread": ("damaged or hostile", ends, -15, 15, 255),
    "a message with bytes that mean nothing": ("bytes that mean nothing", generated_zeros, b"\x01"),
    "a message that ends in zeros": ("bytes that mean nothing", generated_zeros, b"\0\0"),
    "no message": ("its codes do not range from -15 to ", cut_message),
}

_VERIFY: dict[str, _Row] = {
    "other angles": ("do not match the artifact", raw_angles, 0.5),
    "other mapping": ("do not match the artifact", numbers, 0, _half(0.1)),
    "other step": ("do not match the artifact", numbers, MAPPING, _float(0.1)),
    "other seed": ("do not match the artifact", put, "angles", 1, 5),
    "other entangler": ("do not match the artifact", put, "circuit", 1, "cnot-linear"),
    "a last layer without entangler": ("do not match the artifact", put, "circuit", slice(5, 5), [1]),
    "other digest": ("do not match the artifact", other_digest),
    "weights beyond float16": ("'norm.weight' is not finite", put, "layout", 2, 3, 1e6),
}

_KEYS = ("angles", "circuit", "input", "layout", "mapping", "rules")
_DESCRIBE |= {f"no {key}": (f"KeyError: '{key}'", without, key) for key in _KEYS}


@dataclass(frozen=True)
class Case:
    """One hostile file: how it is made, where it has to be refused, and words of the refusal."""

    made: Callable[[], bytes]
    stage: str
    words: str
    version: int

    def make(self) -> bytes:
        """The file, in its format."""
        data: bytes = of_format(self.version, self.made)
        return data


def _cases(stage: str, rows: dict[str, _Row]) -> dict[str, Case]:
    return {
        f"{name}, format {version}": Case(partial(*call), stage, _words(words, version), version)
        for name, (words, *call) in rows.items()
        for version in VERSIONS
        if isinstance(words, str) or version in words
    }


def _words(words: str | dict[int, str], version: int) -> str:
    return words if isinstance(words, str) else words[version]


CASES = _cases("describe", _DESCRIBE) | _cases("read", _READ) | _cases("verify", _VERIFY)


def main(folder: Path) -> None:
    """Writes every case into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, case in CASES.items():
        (folder / file_of(name)).write_bytes(case.make())


def file_of(name: str) -> str:
    """How a case's file is called in that folder."""
    return f"{name.replace(' ', '_')}.qtrain"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
