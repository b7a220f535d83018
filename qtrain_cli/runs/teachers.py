"""Teachers: any model that `compress` reads, or a student's own file (quantum to quantum).

A student's file brings the normalisation that it was trained with; a model is given the user's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from qtrain_cli.artifact.container import KEY, read_container
from qtrain_cli.artifact.student import is_student
from qtrain_cli.artifact.student_file import StudentFile, decode_student, float32_bytes
from qtrain_cli.data import Normalisation
from qtrain_cli.data.inputs import Inputs
from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.files.header import read_header
from qtrain_cli.models import formats, load_model
from qtrain_cli.models.call import file_state, predict
from qtrain_cli.settings import ModelSettings
from qtrain_cli.students.networks import build
from qtrain_cli.training.devices import moved_to


@dataclass(frozen=True)
class Teacher:
    """A module with its tensors, how its inputs are normalised, where it came from, and its size; `entry`,
    `said` and `output` are as in `LoadedModel`."""

    module: nn.Module
    state: Mapping[str, Tensor]
    prepare: Normalisation
    name: str
    trust: str
    sha256: str
    parameters: int
    model_bytes: int
    scores_of: Callable[[Tensor], Tensor] | None = None
    entry: str | None = None
    said: tuple[str, ...] = ()
    output: str | None = None

    def outputs(self, inputs: Inputs) -> Tensor:
        """Its scores for every row, (N, ...) on the CPU. Raises `BadInput` where it does not take them."""
        found = predict(self.module, self.state, inputs, self.prepare)
        return self.scores_of(found) if self.scores_of else found

    def asked(self, inputs: Inputs, prepare: Normalisation) -> Tensor:
        """Its own outputs for inputs that are prepared in some way."""
        return predict(self.module, self.state, inputs, prepare)


def load_teacher(settings: ModelSettings, prepare: Normalisation, device: torch.device) -> Teacher:
    """The teacher that `settings` names.

    Raises:
        BadInput, UsageError, Refused: as `models.load_model` or `artifact.student_file`; a compressed model's
            artifact is no teacher.
    """
    student = _student_file(settings)
    if student is None:
        loaded = load_model(settings)
        found = _teacher(loaded.module, prepare, device, loaded.name, loaded.trust, loaded.sha256)
        return replace(found, entry=loaded.entry, said=loaded.said, output=loaded.output)
    file, sha256 = student
    module = module_of(file)
    own = Normalisation(file.description.mean, file.description.std)
    return _teacher(module, own, device, settings.path.name, "student", sha256)


def module_of(file: StudentFile) -> nn.Module:
    """A student's module with the file's tensors, in evaluation mode."""
    module = build(file.description.student, seed=0)
    module.load_state_dict(file.state)
    return module.eval()


def _student_file(settings: ModelSettings) -> tuple[StudentFile, str] | None:
    path = settings.path
    if not path.is_file() or formats.detect_format(path) != formats.SAFETENSORS:
        return None
    if KEY not in read_header(path).metadata:
        return None
    container = read_container(path)
    if not is_student(container):
        raise BadInput(
            f"'{path.name}' is a compressed model's artifact, which is no teacher",
            "export its graph first: qtrain export ARTIFACT --classical -o teacher.pt2",
        )
    for option in ("arch", "weights", "output"):
        if getattr(settings, option) is not None:
            raise UsageError(
                f"--{option} has no use for '{path.name}', a student's own file", f"leave out --{option}"
            )
    return decode_student(container), container.sha256


def _teacher(
    module: nn.Module, prepare: Normalisation, device: torch.device, name: str, trust: str, sha256: str
) -> Teacher:
    module = module.to(device)
    return Teacher(
        module=module,
        state=moved_to(file_state(module), device),
        prepare=prepare,
        name=name,
        trust=trust,
        sha256=sha256,
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        model_bytes=float32_bytes(module.state_dict(keep_vars=True)),
    )
