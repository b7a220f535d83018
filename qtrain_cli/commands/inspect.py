"""`qtrain inspect`: what a model file, checkpoint or artifact holds. Never runs code from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtrain_cli.artifact.container import KEY, read_container
from qtrain_cli.artifact.description import Description, describe_container
from qtrain_cli.artifact.example import Example, NamedExamples
from qtrain_cli.artifact.student import StudentDescription, describe_student, is_student
from qtrain_cli.errors import BadInput
from qtrain_cli.files.checkpoint import METADATA_KEY
from qtrain_cli.files.header import read_header
from qtrain_cli.methods.table import OURS
from qtrain_cli.models import describe_model, formats
from qtrain_cli.students.spec import inference_needs, student_text


def run(path: Path) -> dict[str, Any]:
    """A description of one file, as plain data. Raises `BadInput` or `Refused` for what cannot be read."""
    if not path.exists():
        raise BadInput(f"there is no file '{path}'", "give a model file, a checkpoint or an artifact")
    if formats.detect_format(path) != "safetensors":
        return describe_model(path)
    metadata = read_header(path).metadata
    if KEY in metadata:
        container = read_container(path)
        if is_student(container):
            return _student(path, describe_student(container))
        return _artifact(path, describe_container(container))
    if METADATA_KEY in metadata:
        return _checkpoint(path)
    return describe_model(path)


def _artifact(path: Path, description: Description) -> dict[str, Any]:
    return {
        "file": path.name,
        "format": "qtrain artifact",
        "bytes": path.stat().st_size,
        "method": description.method,
        **_generator(description),
        "digest": vars(description.digest),
        "input": _input(description.example),
        "record": description.origin is not None,
        "run": description.origin.run if description.origin else None,
        "tensors": [
            {"name": entry.name, "shape": list(entry.shape), "dtype": entry.dtype, "role": entry.role}
            for entry in description.layout.entries
        ],
    }


def _input(example: Example | NamedExamples) -> dict[str, Any]:
    """Dtype and shape, or those of each name."""
    if isinstance(example, NamedExamples):
        return {name: vars(part) for name, part in example.parts}
    return vars(example)


def _generator(description: Description) -> dict[str, Any]:
    """The parts of ours; a rival has its plan."""
    if description.method != OURS:
        return {"plan": description.plan}
    spec = description.spec
    return {"circuit": vars(spec.circuit), "mapping": vars(spec.mapping), "angles": vars(spec.angles)}


def _student(path: Path, description: StudentDescription) -> dict[str, Any]:
    student = description.student
    return {
        "file": path.name,
        "format": "qtrain student",
        "bytes": path.stat().st_size,
        "student": student_text(student.spec),
        "input": {"shape": list(student.inputs), "mean": description.mean, "std": description.std},
        "outputs": student.outputs,
        "parameters": student.parameters,
        "circuit_parameters": student.circuit_parameters,
        "qubits": student.qubits,
        "inference": inference_needs(student),
        "run": description.run,
        "tensors": [
            {"name": name, "shape": list(shape), "dtype": "F32"} for name, shape in student.shapes.items()
        ],
    }


def _checkpoint(path: Path) -> dict[str, Any]:
    header = read_header(path)
    return {
        "file": path.name,
        "format": "qtrain checkpoint",
        "bytes": path.stat().st_size,
        "advice": "run the same command again with --resume",
        "tensors": [
            {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype}
            for name, tensor in sorted(header.tensors.items())
        ],
    }
