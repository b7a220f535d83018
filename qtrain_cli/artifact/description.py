"""Everything in an artifact but its stored numbers: metadata, digests, facts. Standard library only.

A report needs nothing else, so it needs no torch. Every size is checked against the generator's spec before
anything is allocated. What was read has to be what this version would write, character for character: so
nothing that the checks below do not know (a second key of the same name, ``true`` for 1) can hide in it.
"""

from __future__ import annotations

import json
import math
import reprlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtrain_cli.artifact.container import RUN_DIGITS, Container, canonical, check_hexadecimal, read_container
from qtrain_cli.artifact.payload import (
    DIGEST_BYTES,
    PROBES,
    Payload,
    inflated,
    most_inflated,
    origin_of,
    parted,
)
from qtrain_cli.errors import BadInput, QtrainError
from qtrain_cli.methods.generator.sizes import ANGLES_HEAD_BYTES, angle_bytes, check_work, mapping_bytes
from qtrain_cli.methods.generator.spec import RAW_BITS, AngleCoding, GeneratorSpec, MappingSpec
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.results import Design, Measured, Record
from qtrain_cli.targets.entries import DTYPE_BYTES, GENERATED, KEPT, TIED, LayoutSpec, TensorEntry
from qtrain_cli.targets.size import model_bytes as model_bytes_of

#: The whole of the metadata, as JSON; what is said of a file is `qtrain/3`.
FORMAT = 3
#: The one tensor of the file.
TENSOR = "q"
#: How the formats of the other kind of file begin (`files.students`).
STUDENTS = "qtrain.student/"
RULES = "wire0=msb float64 half-even"
DIGEST_DIGITS = 2 * DIGEST_BYTES
MAX_EXAMPLE_DIMENSIONS = 8
MAX_EXAMPLE_ELEMENTS = 2**28


@dataclass(frozen=True)
class Digest:
    """What the regenerated weights must be: exactly (`sha256`), or within `tolerance` on another machine.

    `sha256` is the first 16 hexadecimal digits over the generated tensors' bytes in layout order; `probes`
    are signed sums of the float64 weights as float32, which may be off by `tolerance` times the weights'
    norm.
    Raises `BadInput` for what is no digest.
    """

    sha256: str
    probes: tuple[float, ...]
    tolerance: float

    def __post_init__(self) -> None:
        check_hexadecimal("digest", self.sha256, DIGEST_DIGITS)
        if len(self.probes) != PROBES or not all(map(math.isfinite, self.probes)):
            raise BadInput(f"its digest has the probes {reprlib.repr(self.probes)}; needed: {PROBES} numbers")
        if not 0 < self.tolerance < math.inf:
            raise BadInput(f"its digest has the tolerance {self.tolerance}; allowed: above 0")


@dataclass(frozen=True)
class Example:
    """Shape and dtype of one input, without the batch axis; exports with a graph need it.

    Raises `BadInput` for an input that cannot be.
    """

    dtype: str
    shape: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.dtype not in DTYPE_BYTES:
            raise BadInput(f"an input has the dtype {reprlib.repr(self.dtype)}")
        whole = all(type(size) is int and size >= 1 for size in self.shape)
        if (
            not whole
            or len(self.shape) > MAX_EXAMPLE_DIMENSIONS
            or math.prod(self.shape) > MAX_EXAMPLE_ELEMENTS
        ):
            raise BadInput(
                f"an input has the shape {reprlib.repr(list(self.shape))}; allowed: up to"
                f" {MAX_EXAMPLE_DIMENSIONS} dimensions and {MAX_EXAMPLE_ELEMENTS} elements"
            )


@dataclass(frozen=True)
class Origin:
    """Where an artifact comes from: what was measured, and `run`, which identifies the run that wrote it."""

    measured: Measured
    run: str

    def __post_init__(self) -> None:
        check_hexadecimal("run", self.run, RUN_DIGITS)


@dataclass(frozen=True)
class Description:
    """All of an artifact except its stored numbers; a bare one has no origin."""

    spec: GeneratorSpec
    digest: Digest
    example: Example
    origin: Origin | None


def describe(path: Path) -> Description:
    """Everything but the stored numbers, validated; standard library only.

    Raises:
        BadInput: the file is missing, a well-formed safetensors file that is no artifact, or an artifact of
            another format.
        Refused: it is damaged or hostile.
    """
    return describe_container(read_container(path))


def describe_container(container: Container) -> Description:
    """`describe` for a file that was read before."""
    return taken_apart(container)[0]


def taken_apart(container: Container) -> tuple[Description, bytes, bytes]:
    """The description, and the bytes of kept tensors and numbers, of the sizes that its spec asks for."""
    _check_format(container)
    try:
        description, text, rest = _described(container)
        check_work(description.spec)
        kept, numbers = _stored_parts(description.spec, rest)
        if facts(description) != text:
            raise BadInput("its facts are not what an honest writer writes")
    except QtrainError as error:
        raise container.refused(error.message) from None
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # Values of every wrong type end here; no list of checks could name them all.
        raise container.refused(f"its facts are malformed ({type(error).__name__}: {error})") from None
    return description, kept, numbers


def _check_format(container: Container) -> None:
    """Another version's file is no attack, and may keep other rules from here on."""
    if container.text == metadata():
        return
    try:
        value = json.loads(container.text)
    except (ValueError, RecursionError) as error:
        raise container.refused(f"its metadata is not JSON ({error})") from None
    found = _other_format(value)
    if found is None:
        raise container.refused("its metadata is not what an honest writer writes")
    if found.startswith(STUDENTS):
        raise BadInput(
            f"'{container.path}' is a student, which has no generated weights",
            "`qtrain report`, `verify`, `inspect` and `export` take it",
        )
    raise BadInput(
        f"'{container.path}' has the format {reprlib.repr(found)}; this version reads 'qtrain/{FORMAT}'",
        "use the version of qtrain that wrote it",
    )


def _other_format(value: Any) -> str | None:
    """The format that metadata name; None for none, and for this one in other words than its own."""
    found = value.get("format") if isinstance(value, dict) else None
    if type(value) is int:
        found = f"qtrain/{value}"
    return found if isinstance(found, str) and found != f"qtrain/{FORMAT}" else None


def _described(container: Container) -> tuple[Description, str, bytes]:
    """The description, the facts that it was read from, and what follows it in the tensor."""
    digest, probes, text, rest = parted(_tensor_bytes(container))
    value = json.loads(text)
    if value["rules"] != RULES:
        raise BadInput(f"it has the rules {reprlib.repr(value['rules'])}; this version knows '{RULES}'")
    origin = None
    if "record" in value:
        (run, data, model), rest = origin_of(rest)
        origin = Origin(Measured.from_stored(value["record"], data, model), run)
    dtype, *shape = value["input"]
    description = Description(
        spec=_spec(value),
        digest=Digest(digest, probes, float(value["tolerance"])),
        example=Example(dtype, tuple(shape)),
        origin=origin,
    )
    return description, text, rest


def _tensor_bytes(container: Container) -> bytes:
    """The bytes of the one tensor. Raises `BadInput` for other tensors than it, or more metadata."""
    if len(container.header.metadata) != 1:
        raise BadInput("its header has other metadata than its own")
    tensors = container.header.tensors
    size = len(container.data) - container.header.payload_start
    if {name: (row.dtype, row.shape) for name, row in tensors.items()} != {TENSOR: ("U8", (size,))}:
        shown = reprlib.repr(", ".join(tensors))
        raise BadInput(f"it holds the tensors {shown}; needed: one, '{TENSOR}', of bytes")
    return container.data[container.header.payload_start :]


def bytes_before_numbers(container: Container) -> int:
    """Bytes of a checked file that are no stored number: names, shapes, digests, record."""
    return len(container.data) - len(_described(container)[2])


def _stored_parts(spec: GeneratorSpec, rest: bytes) -> tuple[bytes, bytes]:
    """Kept tensors and numbers, of the sizes that the spec asks for. Raises `BadInput`."""
    entries, kept = spec.layout.of_role(KEPT), b""
    size = sum(entry.stored_bytes for entry in entries)
    if size > most_inflated(len(rest)):
        most = most_inflated(len(rest))
        raise BadInput(f"its kept tensors take {size} bytes; {len(rest)} bytes may give {most}")
    if size:
        kept, rest = inflated(rest, size)
    if len(kept) != size:
        raise BadInput(f"its kept tensors take {len(kept)} bytes; needed: {size}")
    mapping, angles = mapping_bytes(spec), angle_bytes(spec)
    least = angles if spec.angles.bits == RAW_BITS else ANGLES_HEAD_BYTES
    if not mapping + least <= len(rest) <= mapping + angles:
        raise BadInput(f"its numbers take {len(rest)} bytes; needed: {mapping + least} to {mapping + angles}")
    return kept, rest


def read_record(path: Path) -> Record:
    """The artifact's record, with the size and the hash of the very bytes that were read; no torch."""
    container = read_container(path)
    return record_of(describe_container(container), container)


def record_of(description: Description, container: Container) -> Record:
    """A record: what was measured, joined with what follows from the spec and the file. Raises `BadInput`."""
    if description.origin is None:
        raise BadInput(
            f"'{container.path}' holds no record: it was written with --bare",
            "`qtrain inspect` says what it holds; `compress --bare --json` prints the record",
        )
    design = design_of(description.spec)
    return Record(design, description.origin.measured, len(container.data), container.sha256)


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
        model_bytes=model_bytes_of(spec.layout),
    )


def metadata() -> str:
    """The metadata's canonical JSON."""
    return canonical(FORMAT)


def facts(description: Description) -> str:
    """The facts' canonical JSON."""
    origin = description.origin
    record = {"record": origin.measured.to_stored()} if origin else {}
    return canonical(
        {
            "rules": RULES,
            "tolerance": description.digest.tolerance,
            "input": [description.example.dtype, *description.example.shape],
            **record,
            **spec_to_json(description.spec),
        }
    )


def payload_of(description: Description) -> Payload:
    """The parts of a file's tensor that a description is made of."""
    digest, origin = description.digest, description.origin
    digests = (origin.run, origin.measured.data_sha256, origin.measured.model_sha256) if origin else ()
    return Payload(digest.sha256, digest.probes, facts(description), digests)


def spec_to_json(spec: GeneratorSpec) -> dict[str, Any]:
    """A generator's spec as the plain data that an artifact holds."""
    circuit = spec.circuit
    sizes = [circuit.qubits, circuit.layers, circuit.circuits]
    return {
        "circuit": [circuit.ansatz, circuit.entangler, *sizes, *([1] if circuit.final_rotation else [])],
        "mapping": [spec.mapping.kind, spec.mapping.hidden],
        "angles": [spec.angles.bits, spec.angles.start_seed],
        "layout": [_row(entry) for entry in spec.layout.entries],
    }


def _row(entry: TensorEntry) -> list[Any]:
    """[name, dtype, shape] or [..., stored] kept, [name, source] tied, [name, shape, fan-in] or [..., centre,
    dtype] generated."""
    if entry.role == KEPT:
        return [entry.name, entry.dtype, list(entry.shape), *([entry.stored] if entry.stored else [])]
    if entry.role == TIED:
        return [entry.name, entry.source]
    row = [entry.name, list(entry.shape), entry.fan_in]
    return row if (entry.centre, entry.dtype) == (0.0, "F32") else [*row, entry.centre, entry.dtype]


def _spec(value: Any) -> GeneratorSpec:
    ansatz, entangler, qubits, layers, circuits, *final = value["circuit"]
    bits, seed = value["angles"]
    kind, hidden = value["mapping"]
    if not all(type(size) is int for size in (qubits, layers, circuits, *final, bits, seed, hidden)):
        raise BadInput("a size in its generator is not a whole number")
    if final not in ([], [1]):
        raise BadInput(f"its circuit ends in {reprlib.repr(final)}; allowed: nothing, or 1")
    return GeneratorSpec(
        CircuitSpec(ansatz, entangler, qubits, layers, circuits, final_rotation=bool(final)),
        MappingSpec(kind, hidden),
        _layout(value["layout"]),
        AngleCoding(bits, seed),
    )


def _layout(rows: list[Any]) -> LayoutSpec:
    own = {row[0]: _entry(row) for row in rows if len(row) != 2}
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


def _entry(row: list[Any]) -> TensorEntry:
    name, *rest = row
    if isinstance(rest[0], str):
        dtype, shape, stored = (*rest, "") if len(rest) == 2 else rest
        return TensorEntry(name, tuple(shape), dtype, KEPT, stored=stored)
    shape, fan_in, centre, dtype = (*rest, 0.0, "F32") if len(rest) == 2 else rest
    return TensorEntry(name, tuple(shape), dtype, GENERATED, fan_in, float(centre))
