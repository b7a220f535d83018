"""The Python use: an artifact in, ordinary tensors out.

    import qtrain_cli

    artifact = qtrain_cli.load("model.qtrain")      # refuses what is damaged or does not match its digest
    artifact.record["test_accuracy"]                # the record, as `qtrain report --json` prints it
    weights = artifact.state_dict()                 # {name: tensor}, for any load_state_dict
    artifact.put_into(model)                        # the same, into one's own module

    student = qtrain_cli.load_student("student.qtrain")      # a hybrid, a control or a quantum network
    scores = student(images)                        # inputs as the data have them: it normalises them itself

Nothing in an artifact is ever run, and no circuit is needed after `load`: the tensors are ordinary ones.
A student is an ordinary module, whose circuit is simulated at every call.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from qtrain_cli.artifact.container import read_container
from qtrain_cli.artifact.description import record_of
from qtrain_cli.artifact.numbers import decode_artifact
from qtrain_cli.artifact.student import require_student, student_record
from qtrain_cli.artifact.student_file import decode_student
from qtrain_cli.data import Normalisation
from qtrain_cli.errors import BadInput
from qtrain_cli.runs.regenerate import regenerate
from qtrain_cli.runs.teachers import module_of


@dataclass(frozen=True)
class LoadedArtifact:
    """A regenerated artifact: its `record`, and `exact`, whether the digest agrees to the last bit.

    A bare artifact has no record.
    """

    record: dict[str, Any] | None
    exact: bool
    _state: dict[str, Tensor]

    def state_dict(self) -> dict[str, Tensor]:
        """The model's tensors by name, on the CPU, in a new dictionary; tied names share one tensor."""
        return dict(self._state)

    def put_into(self, module: nn.Module) -> nn.Module:
        """Loads the tensors into a module of the same architecture, and returns it.

        Raises:
            BadInput: names or shapes differ; the message lists the difference.
        """
        try:
            module.load_state_dict(self._state)
        except RuntimeError as error:
            raise BadInput(f"the artifact does not fit the module: {error}") from None
        return module


def load(path: str | os.PathLike[str], module: nn.Module | None = None) -> LoadedArtifact:
    """Reads an artifact and regenerates its weights.

    Args:
        path: the file.
        module: any module of the model's architecture, for a file that leaves out what all of them have.

    Raises:
        UsageError: the file needs such a module.
        BadInput: no such file, or no artifact.
        Refused: it is damaged or hostile, or its weights do not match its digest.
    """
    container = read_container(Path(path))
    artifact = decode_artifact(container)
    found = regenerate(artifact, module)
    description = artifact.description
    record = record_of(description, container).to_json() if description.origin else None
    return LoadedArtifact(record, found.exact, found.state)


@dataclass(frozen=True)
class LoadedStudent:
    """A student: its `record`, and its `module` in evaluation mode, whose inputs are normalised ones."""

    record: dict[str, Any]
    module: nn.Module
    _prepare: Normalisation

    def __call__(self, inputs: Tensor) -> Tensor:
        """Scores (N, k) for inputs (N, ...) as the data have them; uint8 is divided by 255. No gradients."""
        with torch.no_grad():
            scores: Tensor = self.module(self._prepare(inputs))
        return scores


def load_student(path: str | os.PathLike[str]) -> LoadedStudent:
    """Reads a student that `qtrain train` or `qtrain distill` wrote.

    Raises:
        BadInput: no such file, or no student's.
        Refused: it is damaged or hostile.
    """
    container = read_container(Path(path))
    require_student(container)
    file = decode_student(container)
    description = file.description
    record = student_record(description, container).to_json()
    return LoadedStudent(record, module_of(file), Normalisation(description.mean, description.std))
