"""The stored numbers of an artifact, and the file as a whole: writing it and reading it.

    mapping   float16, or float32 beside raw angles
    angles    the step (float32) and the codes' message (`angles.pack`), or float32 angles

The library of safetensors writes the file. Its bytes are read here, by the header that was validated: a
second reader may understand a crafted header in another way than the one that checked it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from qtrain_cli.artifact.container import KEY, Container, read_container, sealed
from qtrain_cli.artifact.description import TENSOR, Description, metadata, payload_of, taken_apart
from qtrain_cli.errors import BadInput
from qtrain_cli.files.atomic import replacing
from qtrain_cli.methods.generator.angles import pack, unpack
from qtrain_cli.methods.generator.sizes import mapping_bytes
from qtrain_cli.methods.generator.spec import RAW_BITS, GeneratorSpec
from qtrain_cli.targets.entries import KEPT, LayoutSpec
from qtrain_cli.targets.layout import DTYPES, narrowed

_STEP = struct.Struct("<f")


@dataclass(frozen=True)
class Numbers:
    """Everything stored: angles, mapping and kept tensors, all on the CPU.

    `angles` is float32 (b, L, n, r) for 32 bits, else the int64 codes of that shape with their `step` in
    radians, a float32; `mapping` is float32 (k,); `kept` is by tensor name.
    """

    angles: Tensor
    step: float | None
    mapping: Tensor
    kept: dict[str, Tensor]


@dataclass(frozen=True)
class Artifact:
    """A whole artifact in memory."""

    description: Description
    numbers: Numbers


def as_stored(
    spec: GeneratorSpec, mapping: Tensor, kept: Mapping[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Mapping numbers and kept tensors as a file gives them back: rounded to the dtypes of the file."""
    entries = spec.layout.of_role(KEPT)
    rounded = {entry.name: narrowed(entry, kept[entry.name]).to(DTYPES[entry.dtype]) for entry in entries}
    return _clamped(mapping.detach().cpu(), _mapping_dtype(spec)).float(), rounded


def encode_artifact(artifact: Artifact) -> bytes:
    """The file's bytes. The same artifact gives the same bytes."""
    spec, numbers = artifact.description.spec, artifact.numbers
    kept = b"".join(_bytes(narrowed(entry, numbers.kept[entry.name])) for entry in spec.layout.of_role(KEPT))
    mapping = _bytes(numbers.mapping.to(_mapping_dtype(spec)))
    if numbers.step is None:
        angles = _bytes(numbers.angles.float())
    else:
        angles = _STEP.pack(numbers.step) + pack(numbers.angles)
    data = payload_of(artifact.description).joined(kept, mapping + angles)
    return sealed(save({TENSOR: torch.frombuffer(bytearray(data), dtype=torch.uint8)}, {KEY: metadata()}))


def write_artifact(path: Path, artifact: Artifact, force: bool = False) -> Container:
    """Writes the file under a temporary name, reads it back, renames it into place; returns what was read."""
    with replacing(path, force=force) as temporary:
        temporary.write_bytes(encode_artifact(artifact))
        written = read_container(temporary)
        decode_artifact(written)
    return written


def read_artifact(path: Path) -> Artifact:
    """The whole artifact. Raises as `describe`, and `Refused` for stored numbers that cannot be."""
    return decode_artifact(read_container(path))


def decode_artifact(container: Container) -> Artifact:
    """`read_artifact` for a file that was read before."""
    description, kept, numbers = taken_apart(container)
    spec = description.spec
    try:
        mapping = _tensor(numbers, _mapping_dtype(spec), (spec.mapping_numbers,)).float()
        angles, step = _angles(spec, numbers[mapping_bytes(spec) :])
        if not bool(mapping.isfinite().all()):
            raise BadInput("a number of its mapping is not finite")
        return Artifact(description, Numbers(angles, step, mapping, _kept(spec.layout, kept)))
    except BadInput as error:
        raise container.refused(error.message) from None


def _clamped(mapping: Tensor, dtype: torch.dtype) -> Tensor:
    """Mapping numbers in the dtype of the file; what it cannot hold becomes its largest number."""
    most = torch.finfo(dtype).max
    return mapping.clamp(-most, most).to(dtype)


def _mapping_dtype(spec: GeneratorSpec) -> torch.dtype:
    return torch.float32 if spec.angles.bits == RAW_BITS else torch.float16


def _angles(spec: GeneratorSpec, data: bytes) -> tuple[Tensor, float | None]:
    shape = spec.circuit.angle_shape
    if spec.angles.bits == RAW_BITS:
        angles = _tensor(data, torch.float32, shape)
        if not bool(angles.isfinite().all()):
            raise BadInput("a number of its angles is not finite")
        return angles, None
    (step,) = _STEP.unpack(data[: _STEP.size])
    if not 0 < step < math.inf:
        raise BadInput(f"its step is {step}; allowed: above 0, finite")
    return unpack(data[_STEP.size :], spec.circuit.angles, spec.angles.bits).view(shape), step


def _kept(layout: LayoutSpec, data: bytes) -> dict[str, Tensor]:
    """The kept tensors by name, in their own dtypes."""
    kept, place = {}, 0
    for entry in layout.of_role(KEPT):
        stored = _tensor(data[place:], DTYPES[entry.stored or entry.dtype], entry.shape)
        kept[entry.name] = stored.to(DTYPES[entry.dtype])
        place += entry.stored_bytes
    return kept


def _tensor(data: bytes, dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """The tensor at the beginning of these bytes, copied out of them."""
    count = math.prod(shape)
    if not count:
        return torch.empty(shape, dtype=dtype)
    return torch.frombuffer(bytearray(data[: count * dtype.itemsize]), dtype=dtype).view(shape)


def _bytes(tensor: Tensor) -> bytes:
    """A tensor's bytes, little-endian, row-major."""
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""
