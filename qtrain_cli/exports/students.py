"""A student in formats that others read: its tensors as they are, or its circuit with the data as inputs.

The tensors of a hybrid or a qnn are no model by themselves, and the record says so: every inference runs the
circuit, simulated or on a device. A classical student's module has a graph like any other, so that `.pt2` and
`.onnx` work for it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from qtrain_cli.artifact.student_file import StudentFile
from qtrain_cli.errors import BadInput, RunFailed, UsageError
from qtrain_cli.exports import (
    EXPORTERS,
    CircuitExport,
    ExportRecord,
    export,
    require_circuit_ending,
    write_program,
)
from qtrain_cli.quantum.student_qasm import student_program
from qtrain_cli.results.versions import VERSION
from qtrain_cli.runs.teachers import module_of
from qtrain_cli.students.spec import ClassicalSpec, QnnSpec, inference_needs, student_text


def export_tensors(file: StudentFile, out: Path, force: bool) -> ExportRecord:
    """The tensors by name; with their graph for a classical student's `.pt2` and `.onnx`.

    Raises:
        UsageError: a graph of a circuit.
        BadInput, RunFailed: as `exports.export`.
    """
    student = file.description.student
    has_circuit = student.circuit_parameters > 0
    exporter = EXPORTERS.get(out.suffix.lower())
    if has_circuit and exporter is not None and exporter.graph:
        raise UsageError(
            f"a {student.spec.kind} student has no classical graph:"
            f" inference needs {inference_needs(student)}",
            "export .safetensors or .pt, or the circuit with --quantum",
        )
    module: nn.Module | None = None if has_circuit else module_of(file)
    example = torch.rand(2, *student.inputs, generator=torch.Generator().manual_seed(0))
    record = export(file.state, out, module=module, example=example, force=force)
    return replace(record, note=f"inference needs {inference_needs(student)}")


def export_circuit(file: StudentFile, out: Path, force: bool) -> CircuitExport:
    """The circuit as OpenQASM 3, its data angles as inputs.

    Raises:
        UsageError: another ending than `.qasm`. BadInput: a student without a circuit.
        RunFailed: what was written does not read back.
    """
    require_circuit_ending(out)
    student = file.description.student
    spec = student.spec
    if isinstance(spec, ClassicalSpec):
        raise BadInput("a classical student has no circuit", "export its tensors with --classical")
    theta, scale = file.state["circuit.theta"].tolist(), file.state.get("scale")
    scales = [] if scale is None else scale.tolist()
    text = student_program(spec.encoding, spec.circuit, theta, scales, _comments(file))

    def check(found: str) -> int:
        if found != text:
            raise RunFailed("the written program does not read back", "write it again")
        return sum(
            line[0].islower() and " q[" in line and "measure" not in line for line in found.splitlines()
        )

    return write_program(out, text, check, 1, student.qubits, force)


def _comments(file: StudentFile) -> list[str]:
    """What a reader has to know. Numbers and our own words only: names come from strangers' files."""
    student = file.description.student
    inputs = "x<k>: feature k of the front, -pi/2 to pi/2"
    if isinstance(student.spec, QnnSpec):
        inputs = f"x<k>: slot k, a cell of the input averaged over {student.cells}, in turn"
        if student.spec.encoding_name == "amplitude":
            inputs = "a<k>: angles of the tree that prepares the normalised cells, 2 atan2(right, left)"
    return [
        f"a student of qtrain {VERSION}: {student_text(student.spec)}",
        inputs,
        "q[0] is the most significant bit of an outcome: c read as an unsigned number is its number",
        "what is read: Pauli-Z of each qubit before the head, or outcomes by class, number mod classes",
    ]
