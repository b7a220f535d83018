"""The stored numbers of an artifact, and the file as a whole: writing it and reading it.

The library of safetensors writes the file. Tensors are read here, by the header that was validated: a second
reader may understand a crafted header in another way than the one that checked it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from qtrain_cli.angles import pack, unpack
from qtrain_cli.errors import BadInput
from qtrain_cli.files.artifact.container import KEY, Container, read_container, sealed
from qtrain_cli.files.artifact.description import Description, describe_container, metadata
from qtrain_cli.files.atomic import replacing
from qtrain_cli.files.header import TensorRecord
from qtrain_cli.layout import DTYPES
from qtrain_cli.spec import KEPT, GeneratorSpec


@dataclass(frozen=True)
class Numbers:
    """Everything stored: angles, mapping and kept tensors, all on the CPU.

    `angles` is float32 (b, L, n, r) for 32 bits, else the int64 codes of that shape with float32 `steps`
    (b,); `mapping` is float32 (k,); `kept` is by tensor name.
    """

    angles: Tensor
    steps: Tensor | None
    mapping: Tensor
    kept: dict[str, Tensor]


@dataclass(frozen=True)
class Artifact:
    """A whole artifact in memory."""

    description: Description
    numbers: Numbers


def encode_artifact(artifact: Artifact) -> bytes:
    """The file's bytes. The same artifact gives the same bytes."""
    payload = _payload(artifact.description.spec, artifact.numbers)
    return sealed(save(payload, metadata={KEY: metadata(artifact.description)}))


def write_artifact(path: Path, artifact: Artifact, force: bool = False) -> None:
    """Writes the file under a temporary name, reads it back, and renames it into place."""
    with replacing(path, force=force) as temporary:
        temporary.write_bytes(encode_artifact(artifact))
        read_artifact(temporary)


def read_artifact(path: Path) -> Artifact:
    """The whole artifact. Raises as `describe`, and `Refused` for stored numbers that cannot be."""
    return decode_artifact(read_container(path))


def decode_artifact(container: Container) -> Artifact:
    """`read_artifact` for a file that was read before."""
    description = describe_container(container)
    payload = memoryview(container.data)[container.header.payload_start :]
    tensors = {name: _tensor(payload, record) for name, record in container.header.tensors.items()}
    try:
        return Artifact(description, _numbers(description.spec, tensors))
    except BadInput as error:
        raise container.refused(error.message) from None


def _tensor(payload: memoryview, record: TensorRecord) -> Tensor:
    """One tensor of a payload, copied out of it."""
    dtype = DTYPES[record.dtype]
    if record.first == record.last:
        return torch.empty(record.shape, dtype=dtype)
    return torch.frombuffer(bytearray(payload[record.first : record.last]), dtype=dtype).view(record.shape)


def _payload(spec: GeneratorSpec, numbers: Numbers) -> dict[str, Tensor]:
    tensors = {"mapping": numbers.mapping.float().contiguous()}
    if numbers.steps is None:
        tensors["angles"] = numbers.angles.float().contiguous()
    else:
        packed = pack(numbers.angles, spec.angles.bits)
        tensors["angles"] = torch.frombuffer(bytearray(packed), dtype=torch.uint8)
        tensors["steps"] = numbers.steps.float().contiguous()
    for row, entry in enumerate(spec.layout.entries):
        if entry.role == KEPT:
            tensors[str(row)] = numbers.kept[entry.name].contiguous().clone()
    return tensors


def _numbers(spec: GeneratorSpec, tensors: dict[str, Tensor]) -> Numbers:
    for name in ("angles", "steps", "mapping"):
        if name in tensors and not bool(tensors[name].isfinite().all()):
            raise BadInput(f"a number of its {name} is not finite")
    angles, steps = tensors["angles"], tensors.get("steps")
    if steps is not None:
        if not bool((steps > 0).all()):
            raise BadInput("its steps are not positive")
        packed = angles.numpy().tobytes()
        angles = unpack(packed, spec.circuit.angles, spec.angles.bits).view(spec.circuit.angle_shape)
    rows = enumerate(spec.layout.entries)
    kept = {entry.name: tensors[str(row)] for row, entry in rows if entry.role == KEPT}
    return Numbers(angles, steps, tensors["mapping"], kept)
