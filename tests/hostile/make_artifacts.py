"""Makes artifacts that must be refused, from the committed honest one.

    python tests/hostile/make_artifacts.py FOLDER

A forger can compute the checksum, so every file here has a right one, unless it is the damage that counts.
`CASES` says for each file at which stage it has to be refused, and with which words:

    describe    by the metadata alone, before a tensor is read
    read        by the stored numbers
    verify      by the weights that come out
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

HONEST = Path(__file__).resolve().parents[1] / "files" / "artifact" / "golden" / "qtrain-1.bin"
GIGA = 2**30


@dataclass
class Parts:
    """An artifact taken apart: the metadata's value, the header's rows without offsets, tensors as bytes."""

    metadata: Any
    rows: dict[str, dict[str, Any]]
    payload: dict[str, bytes]


def apart(data: bytes) -> Parts:
    """The parts of an honest file."""
    length = int.from_bytes(data[:8], "little")
    rows, rest = json.loads(data[8 : 8 + length]), data[8 + length :]
    metadata = json.loads(rows.pop("__metadata__")["qtrain"])
    payload = {name: rest[slice(*row.pop("data_offsets"))] for name, row in rows.items()}
    return Parts(metadata, rows, payload)


def canonical(value: Any) -> str:
    """JSON as the format wants it; NaN and infinity are let through."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def together(parts: Parts, text: str | None = None) -> bytes:
    """A file of these parts with a right checksum; `text` stands in for the metadata's JSON."""
    header: dict[str, Any] = {"__metadata__": {"qtrain": canonical(parts.metadata) if text is None else text}}
    end = 0
    for name, row in parts.rows.items():
        first, end = end, end + len(parts.payload[name])
        header[name] = {**row, "data_offsets": [first, end]}
    return with_header(json.dumps(header).encode(), b"".join(parts.payload.values()))


def with_header(header: bytes, payload: bytes = b"") -> bytes:
    """A file with this header, and a right checksum if there is a place for one."""
    return sealed(len(header).to_bytes(8, "little") + header + payload)


def sealed(data: bytes) -> bytes:
    """The file with its check computed anew."""
    found = re.search(rb'\\"check\\":\\"([^"\\]{32})', data)
    if found is None:
        return data
    blank = data[: found.start(1)] + b"0" * 32 + data[found.end(1) :]
    check = hashlib.sha256(blank).hexdigest()[:32].encode()
    return data[: found.start(1)] + check + data[found.end(1) :]


def honest() -> Parts:
    """A fresh copy of the honest file's parts."""
    return apart(HONEST.read_bytes())


def edited(change: Callable[[Any], Any]) -> bytes:
    """The honest file with its metadata changed in place, or replaced by what `change` returns."""
    parts = honest()
    new = change(parts.metadata)
    parts.metadata = parts.metadata if new is None else new
    return together(parts)


def put(*path: Any) -> bytes:
    """The honest file with one value of the metadata set: the keys that lead to it, then the value."""
    *keys, last, value = path

    def change(metadata: Any) -> None:
        for key in keys:
            metadata = metadata[key]
        metadata[last] = value

    return edited(change)


def without(key: str) -> bytes:
    """The honest file without one key of the metadata."""
    return edited(lambda metadata: {name: value for name, value in metadata.items() if name != key})


def stored(name: str, payload: bytes, row: dict[str, Any] | None = None) -> bytes:
    """The honest file with other bytes (and dtype, shape) for one stored tensor."""
    parts = honest()
    parts.payload[name] = payload
    parts.rows[name] |= row or {}
    return together(parts)


def raw_angles(*values: float) -> bytes:
    """The honest file with float32 angles: the values, then zeros."""
    parts = honest()
    _, _, n, layers, b = parts.metadata["circuit"]
    count = n * layers * b
    parts.metadata["angles"][0] = 32
    del parts.rows["steps"], parts.payload["steps"]
    parts.rows["angles"] = {"dtype": "F32", "shape": [b, layers, n, 1]}
    parts.payload["angles"] = struct.pack(f"<{count}f", *values, *[0.0] * (count - len(values)))
    return together(parts)


def resized(name: str) -> bytes:
    """One stored tensor one element longer than the generator wants it, consistently so."""
    parts = honest()
    row, size = parts.rows[name], len(parts.payload[name])
    width = {"F32": 4, "U8": 1, "I64": 8}[row["dtype"]]
    parts.rows[name] = {**row, "shape": [size // width + 1]}
    parts.payload[name] += bytes(width)
    return together(parts)


def removed(name: str) -> bytes:
    """One stored tensor left out."""
    parts = honest()
    del parts.rows[name], parts.payload[name]
    return together(parts)


def added(name: str) -> bytes:
    """One stored tensor too many."""
    parts = honest()
    parts.rows[name], parts.payload[name] = {"dtype": "U8", "shape": [3]}, b"abc"
    return together(parts)


def doubled_row() -> bytes:
    """`mapping` twice in the JSON header: most readers see the second one only."""
    data = together(honest())
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].replace(b'"mapping": {', b'"mapping": {}, "mapping": {', 1)
    return with_header(header, data[8 + length :])


def text_changed(old: str, new: str) -> bytes:
    """The honest file with a piece of its metadata's text replaced."""
    parts = honest()
    text = canonical(parts.metadata)
    assert text.count(old) == 1
    return together(parts, text.replace(old, new))


def generated_only(weights: int, qubits: int, layers: int, circuits: int, mapping: tuple[str, int]) -> bytes:
    """A file of one huge generated tensor; its own payload is small."""
    parts = honest()
    bits = qubits + (circuits - 1).bit_length()
    numbers = {"linear": 2, "mlp": 2 + mapping[1] * (bits + 3), "quantum-train": 4 * bits + 197}[mapping[0]]
    parts.metadata |= {
        "circuit": ["real-amplitudes", "cnot-ring", qubits, layers, circuits],
        "mapping": list(mapping),
        "angles": [2, 7],
        "layout": [["w", [weights], 1]],
    }
    packed = -(-2 * qubits * layers * circuits // 8)
    parts.rows = {
        "mapping": {"dtype": "F32", "shape": [numbers]},
        "steps": {"dtype": "F32", "shape": [circuits]},
        "angles": {"dtype": "U8", "shape": [packed]},
    }
    parts.payload = {
        "mapping": bytes(4 * numbers),
        "steps": b"\0\0\x80?" * circuits,
        "angles": b"\xaa" * packed,
    }
    return together(parts)


def nested(opening: str, times: int) -> bytes:
    """The honest file with a deep nest in place of its record."""
    closing = {"[": "]", '{"a":': "}"}[opening]
    parts = honest()
    parts.metadata["record"] = "HERE"
    return together(
        parts, canonical(parts.metadata).replace('"HERE"', opening * times + "1" + closing * times)
    )


def many_lists() -> bytes:
    """A header of the largest size allowed whose JSON is all empty lists: much memory for a small file."""
    return with_header(b'{"a":[' + b"[]," * ((2**23 - 16) // 3) + b"0]}")


def _mapping(value: float) -> bytes:
    return struct.pack("<8f", *[value] * 8)


#: A refusal's words, the function that makes the file, and its arguments.
_Row = tuple[Any, ...]
_floats = struct.Struct("<3f").pack
_NAN, _INF = float("nan"), float("inf")

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
    "angles of more kinds": ("stored tensors angles do", put, "circuit", slice(0, 1), ["efficient-su2"]),
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
    "unknown mapping": ("unknown mapping 'tensor-train'", put, "mapping", 0, "tensor-train"),
    "numbers of another mapping": ("stored tensors mapping do", put, "mapping", 0, "quantum-train"),
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
        "its metadata is not JSON",
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
    "a long row": ("malformed", put, "layout", 0, ["w", [12], 4, 0.0, "F32", 1]),
    "no rows": ("no weight is left", put, "layout", []),
    "rows that are text": ("damaged or hostile", put, "layout", "layout"),
    # digest, input, record
    "digest that is none": ("its digest is 'xyz'", put, "digest", 0, "xyz"),
    "three probes": ("probes", put, "digest", 1, [1.0, 2.0, 3.0]),
    "NaN probe": ("probes", put, "digest", 1, 0, _NAN),
    "probe of 400 digits": ("OverflowError", put, "digest", 1, 0, 10**400),
    "NaN tolerance": ("the tolerance nan", put, "digest", 2, _NAN),
    "infinite tolerance": ("the tolerance inf", put, "digest", 2, _INF),
    "negative tolerance": ("the tolerance -1", put, "digest", 2, -1.0),
    "input of unknown dtype": ("an input has the dtype 'F8'", put, "input", 0, "F8"),
    "input beyond memory": ("an input has the shape", put, "input", ["F32", 2**20, 2**20]),
    "negative input": ("an input has the shape", put, "input", ["F32", -1, -1]),
    "record that is text": ("stored form", put, "record", "good"),
    "record of other figures": ("figure", put, "record", 1, 2, 1.5),
    "record with NaN": ("expected: a number", put, "record", 1, 2, _NAN),
    "run that is none": ("its run is", put, "run", "0" * 17),
    "check that is none": ("checksum", put, "check", "0" * 31),
    "check that is a list": ("checksum", put, "check", ["0" * 32]),
    # the metadata as a whole
    "no check": ("checksum", without, "check"),
    "no format": ("not what an honest writer writes", without, "format"),
    "unknown rules": ("has the rules 'wire0=lsb'", put, "rules", "wire0=lsb"),
    "an unknown key": ("not what an honest writer writes", put, "more", 1),
    "a key twice": ("not what an honest writer writes", text_changed, '"input":', '"input":1,"input":'),
    "a space": ("not what an honest writer writes", text_changed, '"input":', '"input": '),
    "1e0 for 1.0": ("not what an honest writer writes", text_changed, ',1.0,"F16"', ',1e0,"F16"'),
    "metadata that is a list": ("damaged or hostile", edited, lambda metadata: [metadata]),
    "metadata that is no JSON": ("its metadata is not JSON", text_changed, '"input":', '"input"'),
    "deep lists": ("its metadata is not JSON", nested, "[", 100_000),
    "deep objects": ("its metadata is not JSON", nested, '{"a":', 100_000),
    "less deep lists": ("damaged or hostile", nested, "[", 500),
    # the header
    "a tensor twice": ("the name 'mapping' stands twice", doubled_row),
    "an oversized header": ("truncated", lambda: (2**40).to_bytes(8, "little") + b"{}"),
    "a header above the limit": ("its header claims", lambda: with_header(b"{" + b" " * (2**23) + b"}")),
    "a dtype that is a list": ("has the unknown dtype", stored, "mapping", b"", {"dtype": []}),
    # stored tensors
    **{
        f"{name} too long": (f"its stored tensors {name} do not match", resized, name)
        for name in ("angles", "steps", "mapping")
    },
    **{
        f"{name} missing": (f"its stored tensors {name} do not match", removed, name)
        for name in ("angles", "steps", "mapping")
    },
    "kept tensor missing": ("malformed (KeyError: '3')", removed, "3"),
    "kept tensor of a dtype no model has": (
        "has the dtype 'F8_E5M2'",
        stored,
        "3",
        b"ab",
        {"dtype": "F8_E5M2"},
    ),
    "an unknown tensor": ("its stored tensors extra do not match", added, "extra"),
    "a kept tensor nobody asked for": ("its stored tensors 0 do not match", added, "0"),
    "mapping of float64": ("its stored tensors mapping", stored, "mapping", bytes(64), {"dtype": "F64"}),
    "angles of another shape": ("its stored tensors angles", stored, "angles", bytes(12), {"shape": [3, 4]}),
    "an empty kept tensor of huge sizes": (
        "has the shape [0, 1099511627776",
        stored,
        "3",
        b"",
        {"shape": [0, 2**40, 2**40]},
    ),
}

_READ: dict[str, _Row] = {
    "NaN angle": ("a number of its angles is not finite", raw_angles, _NAN),
    "infinite angle": ("a number of its angles is not finite", raw_angles, 1.0, -_INF),
    "NaN mapping": ("its mapping is not finite", stored, "mapping", _mapping(_NAN)),
    "infinite mapping": ("its mapping is not finite", stored, "mapping", _mapping(_INF)),
    "NaN step": ("a number of its steps is not finite", stored, "steps", _floats(0.1, _NAN, 0.1)),
    "infinite step": ("a number of its steps is not finite", stored, "steps", _floats(0.1, _INF, 0.1)),
    "zero step": ("its steps are not positive", stored, "steps", _floats(0.1, 0.0, 0.1)),
    "negative step": ("its steps are not positive", stored, "steps", _floats(0.1, -0.1, 0.1)),
    "a code outside the grid": ("lies outside the grid", stored, "angles", bytes(12)),
    "bits after the last code": ("do not end in zeros", stored, "angles", b"\xff" * 12),
}

_VERIFY: dict[str, _Row] = {
    "other angles": ("do not match the artifact", raw_angles, 0.5),
    "other mapping": ("do not match the artifact", stored, "mapping", _mapping(0.1)),
    "other steps": ("do not match the artifact", stored, "steps", _floats(0.1, 0.1, 0.1)),
    "other seed": ("do not match the artifact", put, "angles", 1, 5),
    "other entangler": ("do not match the artifact", put, "circuit", 1, "cnot-linear"),
    "a last layer without entangler": ("do not match the artifact", put, "circuit", slice(5, 5), [1]),
    "other digest": ("do not match the artifact", put, "digest", slice(0, 2), ["0" * 32, [0.0] * 4]),
    "weights beyond float16": ("'norm.weight' is not finite", put, "layout", 2, 3, 1e6),
}

_KEYS = ("angles", "circuit", "digest", "input", "layout", "mapping", "record", "rules", "run")
_DESCRIBE |= {f"no {key}": (f"KeyError: '{key}'", without, key) for key in _KEYS}


@dataclass(frozen=True)
class Case:
    """One hostile file: how it is made, where it has to be refused, and words of the refusal."""

    make: Callable[[], bytes]
    stage: str
    words: str


def _cases(stage: str, rows: dict[str, _Row]) -> dict[str, Case]:
    return {name: Case(partial(*call), stage, words) for name, (words, *call) in rows.items()}


CASES = _cases("describe", _DESCRIBE) | _cases("read", _READ) | _cases("verify", _VERIFY)


def main(folder: Path) -> None:
    """Writes every case into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, case in CASES.items():
        (folder / f"{name.replace(' ', '_')}.qtrain").write_bytes(case.make())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
