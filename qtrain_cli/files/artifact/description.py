"""The metadata of an artifact: everything but its stored numbers. Standard library only.

A report needs nothing else, so it needs no torch. `describe` checks the file's checksum, the header, and
every size against the generator's spec before anything is allocated.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtrain_cli import accounting
from qtrain_cli.errors import BadInput, QtrainError, Refused
from qtrain_cli.files.header import Header, read_header
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.results import Design, Measured, Record
from qtrain_cli.spec import (
    DTYPE_BYTES,
    GENERATED,
    KEPT,
    RAW_BITS,
    TIED,
    AngleCoding,
    GeneratorSpec,
    LayoutSpec,
    MappingSpec,
    TensorEntry,
)  # fmt: skip

FORMAT = "qtrain/1"
RULES = "wire0=msb float64 half-even"
KEY = "qtrain"
CHECK_DIGITS = 32
RUN_DIGITS = 16
CHECK_MARK = b'\\"check\\":\\"'
BLANK = "0" * CHECK_DIGITS


@dataclass(frozen=True)
class Digest:
    """What the regenerated weights must be: exactly (`sha256`), or within `tolerance` on another machine.

    `sha256` is the first 32 hexadecimal digits over the generated tensors' bytes in layout order; `probes`
    are signed sums of the float64 weights, which may be off by `tolerance` times the weights' norm.
    """

    sha256: str
    probes: tuple[float, ...]
    tolerance: float


@dataclass(frozen=True)
class Example:
    """Shape and dtype of one input, without the batch axis; exports with a graph need it."""

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Description:
    """All of an artifact except its stored numbers; `run` identifies the run that wrote it."""

    spec: GeneratorSpec
    digest: Digest
    example: Example
    measured: Measured
    run: str


def describe(path: Path) -> Description:
    """Everything but the stored numbers, validated; standard library only.

    Raises:
        BadInput: the file is missing, or a well-formed safetensors file that is no artifact.
        Refused: it is damaged or hostile.
    """
    header = read_header(path)
    if KEY not in header.metadata:
        raise BadInput(f"'{path}' is no qtrain artifact", "`qtrain inspect` says what a file holds")
    _verify_checksum(path)
    try:
        description = _from_json(json.loads(header.metadata[KEY]), header)
        _check_sizes(description.spec, header)
    except (QtrainError, ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        raise _refused(path, str(error)) from None
    return description


def read_record(path: Path) -> Record:
    """The artifact's record, with the sizes and the hash of the file as it lies there; no torch."""
    return record_of(describe(path), path.stat().st_size, file_sha256(path))


def record_of(description: Description, artifact_bytes: int, artifact_sha256: str) -> Record:
    """A record: what was measured, joined with what follows from the spec and the file."""
    return Record(design_of(description.spec), description.measured, artifact_bytes, artifact_sha256)


def design_of(spec: GeneratorSpec) -> Design:
    """What a spec builds, as the record names it."""
    return Design(
        weights=spec.layout.generated,
        kept_weights=spec.layout.kept,
        qubits=spec.circuit.qubits,
        layers=spec.circuit.layers,
        circuits=spec.circuit.circuits,
        ansatz=spec.circuit.ansatz,
        mapping=spec.mapping.kind,
        angle_bits=spec.angles.bits,
        trained_numbers=spec.trained_numbers,
        model_bytes=accounting.model_bytes(spec.layout),
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checksum(data: bytes) -> str:
    """The check of a file whose check is blank."""
    return hashlib.sha256(data).hexdigest()[:CHECK_DIGITS]


def _verify_checksum(path: Path) -> None:
    """Compares the file, with its check blanked out, with that check. Raises `Refused`."""
    data = path.read_bytes()
    head, mark, rest = data.partition(CHECK_MARK)
    found = rest[:CHECK_DIGITS]
    if not mark or checksum(head + mark + BLANK.encode() + rest[CHECK_DIGITS:]) != found.decode("latin-1"):
        raise _refused(path, "its bytes do not match its checksum")


def canonical(value: Any) -> str:
    """JSON that is the same text for the same value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def metadata(description: Description) -> str:
    """The metadata's canonical JSON, with a blank check."""
    digest = description.digest
    return canonical(
        {
            "format": FORMAT,
            "rules": RULES,
            "digest": [digest.sha256, list(digest.probes), digest.tolerance],
            "input": [description.example.dtype, *description.example.shape],
            "record": description.measured.to_stored(),
            "run": description.run,
            "check": BLANK,
            **spec_to_json(description.spec),
        }
    )


def spec_to_json(spec: GeneratorSpec) -> dict[str, Any]:
    """A generator's spec as the plain data that an artifact holds."""
    circuit = spec.circuit
    return {
        "circuit": [circuit.ansatz, circuit.entangler, circuit.qubits, circuit.layers, circuit.circuits],
        "mapping": [spec.mapping.kind, spec.mapping.hidden],
        "angles": [spec.angles.bits, spec.angles.start_seed],
        "layout": [_row(entry) for entry in spec.layout.entries],
    }


def _row(entry: TensorEntry) -> list[Any]:
    """[name] kept, [name, source] tied, [name, shape, fan-in] or [..., centre, dtype] generated."""
    if entry.role == KEPT:
        return [entry.name]
    if entry.role == TIED:
        return [entry.name, entry.source]
    row = [entry.name, list(entry.shape), entry.fan_in]
    return row if (entry.centre, entry.dtype) == (0.0, "F32") else [*row, entry.centre, entry.dtype]


def _from_json(value: Any, header: Header) -> Description:
    if value["format"] != FORMAT or value["rules"] != RULES:
        raise BadInput(f"it has the format {value['format']!r}; this version reads '{FORMAT}'")
    sha256, probes, tolerance = value["digest"]
    dtype, *shape = value["input"]
    if dtype not in DTYPE_BYTES or not all(type(size) is int and 0 < size < 2**31 for size in shape):
        raise BadInput(f"its input {value['input']} is none")
    if not all(math.isfinite(number) for number in (*probes, tolerance)):
        raise BadInput("its digest is not finite")
    return Description(
        spec=_spec(value, header),
        digest=Digest(str(sha256), tuple(map(float, probes)), float(tolerance)),
        example=Example(dtype, tuple(shape)),
        measured=Measured.from_stored(value["record"]),
        run=str(value["run"]),
    )


def _spec(value: Any, header: Header) -> GeneratorSpec:
    ansatz, entangler, *sizes = value["circuit"]
    bits, seed = value["angles"]
    kind, hidden = value["mapping"]
    if not all(type(size) is int for size in (*sizes, bits, seed, hidden)):
        raise BadInput("a size in its generator is not a whole number")
    return GeneratorSpec(
        CircuitSpec(ansatz, entangler, *sizes),
        MappingSpec(kind, hidden),
        _layout(value["layout"], header),
        AngleCoding(bits, seed),
    )


def _layout(rows: list[Any], header: Header) -> LayoutSpec:
    own = {row[0]: _entry(number, row, header) for number, row in enumerate(rows) if len(row) != 2}
    entries = []
    for row in rows:
        source = own.get(row[1]) if len(row) == 2 else None
        if len(row) != 2:
            entries.append(own[row[0]])
        elif source is None:
            raise BadInput(f"tensor '{row[0]}' is tied to '{row[1]}', which is not there")
        else:
            entries.append(TensorEntry(row[0], source.shape, source.dtype, TIED, source=row[1]))
    return LayoutSpec(tuple(entries))


def _entry(number: int, row: list[Any], header: Header) -> TensorEntry:
    name, *rest = row
    if not rest:
        stored = header.tensors[str(number)]
        return TensorEntry(name, stored.shape, stored.dtype, KEPT)
    shape, fan_in, centre, dtype = (*rest, 0.0, "F32") if len(rest) == 2 else rest
    if not all(type(size) is int for size in (*shape, fan_in)) or not math.isfinite(centre):
        raise BadInput(f"tensor '{name}' has no shape or fan-in")
    return TensorEntry(name, tuple(shape), dtype, GENERATED, fan_in, float(centre))


def _check_sizes(spec: GeneratorSpec, header: Header) -> None:
    """The stored tensors must be exactly those that the spec asks for. Raises `BadInput`."""
    expected: dict[str, tuple[str, tuple[int, ...]]] = {"mapping": ("F32", (spec.mapping_numbers,))}
    if spec.angles.bits == RAW_BITS:
        expected["angles"] = ("F32", spec.circuit.angle_shape)
    else:
        packed = accounting.packed_bytes(spec.circuit.angles, spec.angles.bits)
        expected |= {"angles": ("U8", (packed,)), "steps": ("F32", (spec.circuit.circuits,))}
    for number, entry in enumerate(spec.layout.entries):
        if entry.role == KEPT:
            expected[str(number)] = (entry.dtype, entry.shape)
    found = {name: (tensor.dtype, tensor.shape) for name, tensor in header.tensors.items()}
    if found != expected:
        names = sorted(name for name in found.keys() | expected if found.get(name) != expected.get(name))
        raise BadInput(f"its stored tensors {', '.join(names)} do not match its generator")


def _refused(path: Path, what: str) -> Refused:
    return Refused(f"'{path}' is damaged or hostile: {what}", "get the file again from its source")
