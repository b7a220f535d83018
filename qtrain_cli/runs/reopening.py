"""A finished file and its model again, for whatever looks at them once more: `sample`, and pages.

file -> (base) -> generated tensors, digest checked -> module -> tensors of its architecture -> all, put in
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor, nn

from qtrain_cli.artifact.numbers import Artifact
from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.models import LoadedModel, build_architecture, load_model
from qtrain_cli.models.call import file_state
from qtrain_cli.models.outputs import picks
from qtrain_cli.runs.grounds import NamesBase, opened_base
from qtrain_cli.runs.making import Log
from qtrain_cli.runs.regenerate import generated_checked, with_given
from qtrain_cli.settings import ModelSettings
from qtrain_cli.targets.ground import Ground, whole_state


class NamesModel(NamesBase, Protocol):
    """What settings have that may name a model, its class, or a base."""

    @property
    def model(self) -> ModelSettings | None: ...
    @property
    def output(self) -> str | None: ...


@dataclass(frozen=True)
class Reopened:
    """The file, its module with all tensors of the file in it, and these tensors.

    `teacher` are the tensors that the model's own file has, where one was given, and `loaded` that file.
    """

    artifact: Artifact
    module: nn.Module
    state: dict[str, Tensor]
    ground: Ground | None
    teacher: Mapping[str, Tensor] | None
    loaded: LoadedModel | None


def reopened(artifact: Artifact, named: NamesModel, recorded: str | None, log: Log) -> Reopened:
    """The module of a file.

    Args:
        artifact: the whole file.
        named: whose model, class or base it is.
        recorded: which of the model's outputs the record names.
        log: called with what was chosen of the model's file.

    Raises:
        UsageError, BadInput: nothing gives a module, or it does not fit the file.
        Refused: the file is damaged, or the model's would run code.
    """
    opened = opened_base(artifact.description, named)
    ground = opened.ground if opened else None
    made, _ = generated_checked(artifact, ground)  # and checked, before code of a model runs
    loaded = _loaded(named, recorded, log)
    module = _module(named, opened.module if opened else None, loaded, recorded)
    teacher = {name: part.clone() for name, part in file_state(loaded.module).items()} if loaded else None
    artifact = with_given(artifact, module)
    state = whole_state(artifact.description.layout, artifact.numbers.kept, made, ground)
    _put_in(module, state)
    return Reopened(artifact, module, state, ground, teacher, loaded)


def _loaded(named: NamesModel, recorded: str | None, log: Log) -> LoadedModel | None:
    if named.model is None:
        return None
    loaded = load_model(replace(named.model, output=named.output or recorded), named.base)
    for line in loaded.said:
        log(line)
    return loaded


def _module(
    named: NamesModel, of_base: nn.Module | None, loaded: LoadedModel | None, recorded: str | None
) -> nn.Module:
    """The base's module, the model's, or one of the class. Raises `UsageError` where there is none."""
    if of_base is not None:
        return of_base
    if loaded is not None:
        return loaded.module
    if named.arch is None:
        raise UsageError(
            "the base's file holds weights alone, and no module to evaluate",
            "name the model's class with --arch, or its file with --model",
        )
    return picks(build_architecture(named.arch, named.arch_args), named.output or recorded)


def _put_in(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Gives the module the artifact's tensors. Raises `BadInput` for other names and shapes than its own."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise BadInput(
            f"the artifact does not fit the model: {error}", "give the model that was compressed"
        ) from None
