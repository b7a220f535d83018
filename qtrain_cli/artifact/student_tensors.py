"""The tensors of a student's file: written with the metadata, read back into a module's state dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from qtrain_cli.artifact.container import KEY, Container, read_container, sealed
from qtrain_cli.artifact.student_description import StudentDescription, describe_student, is_student, metadata
from qtrain_cli.errors import BadInput
from qtrain_cli.files.atomic import write_bytes_atomically


@dataclass(frozen=True)
class StudentFile:
    """A whole file: its description and its tensors by name, float32 on the CPU."""

    description: StudentDescription
    state: dict[str, Tensor]


def student_bytes(file: StudentFile) -> bytes:
    """The bytes of a file: the same student gives the same."""
    tensors = {name: tensor.detach().cpu().float().contiguous() for name, tensor in file.state.items()}
    return sealed(safetensors.torch.save(tensors, {KEY: metadata(file.description)}))


def write_student(path: Path, file: StudentFile, force: bool = False) -> None:
    """Writes a file, whole or not at all. Raises as `files.atomic.replacing`."""
    write_bytes_atomically(path, student_bytes(file), force)


def read_student(path: Path) -> StudentFile:
    """Reads a file.

    Raises:
        BadInput: it is missing, no student's file, or of another version.
        Refused: it is damaged or hostile.
    """
    container = read_container(path)
    require_student(container)
    return decode_student(container)


def require_student(container: Container) -> None:
    """Raises `BadInput` for a file of the other kind."""
    if not is_student(container):
        raise BadInput(
            f"'{container.path}' is a compressed model's artifact, not a student's",
            "give a file that `qtrain train` or `qtrain distill` wrote",
        )


def decode_student(container: Container) -> StudentFile:
    """`read_student` for a file that was read before."""
    description = describe_student(container)
    state = {}
    for name in description.student.shapes:
        record = container.header.tensors[name]
        first = container.header.payload_start + record.first
        numbers = np.frombuffer(container.data, "<f4", count=(record.last - record.first) // 4, offset=first)
        if not np.isfinite(numbers).all():
            raise container.refused(f"its tensor '{name}' holds a number that is not finite")
        state[name] = torch.from_numpy(numbers.astype(np.float32)).view(record.shape)
    return StudentFile(description, state)


def float32_bytes(state: Mapping[str, Tensor]) -> int:
    """Size of a state dictionary as one float32 safetensors file, tied tensors once."""
    own = {id(tensor): name for name, tensor in state.items()}
    tensors = {}
    for name in own.values():
        tensor = state[name].detach().cpu()
        tensors[name] = (tensor.float() if tensor.is_floating_point() else tensor).clone().contiguous()
    return len(safetensors.torch.save(tensors))
