"""A student's file as a whole: its tensors written with what describes them, and read back.

They are the state dictionary of its module (`students.networks`), float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from qtrain_cli.artifact.container import Container, read_container
from qtrain_cli.artifact.numbers import bytes_of, file_of, tensor_from
from qtrain_cli.artifact.student import (
    StudentDescription,
    require_student,
    student_parts,
    student_tensor,
)
from qtrain_cli.files.atomic import write_bytes_atomically


@dataclass(frozen=True)
class StudentFile:
    """A whole file: its description and its tensors by name, float32 on the CPU."""

    description: StudentDescription
    state: dict[str, Tensor]


def student_bytes(file: StudentFile) -> bytes:
    """The bytes of a file: the same student gives the same."""
    names = file.description.student.shapes
    numbers = b"".join(bytes_of(file.state[name].float()) for name in names)
    return file_of(student_tensor(file.description, numbers))


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


def decode_student(container: Container) -> StudentFile:
    """`read_student` for a file that was read before."""
    description, numbers = student_parts(container)
    state, place = {}, 0
    for name, shape in description.student.shapes.items():
        tensor = tensor_from(numbers, place, torch.float32, shape)
        if not bool(tensor.isfinite().all()):
            raise container.refused(f"its tensor '{name}' holds a number that is not finite")
        state[name] = tensor
        place += 4 * tensor.numel()
    return StudentFile(description, state)


def float32_bytes(state: Mapping[str, Tensor]) -> int:
    """Size of a state dictionary as one float32 safetensors file, tied tensors once."""
    own = {id(tensor): name for name, tensor in state.items()}
    tensors = {}
    for name in own.values():
        tensor = state[name].detach().cpu()
        tensors[name] = (tensor.float() if tensor.is_floating_point() else tensor).clone().contiguous()
    return len(safetensors.torch.save(tensors))
