"""What to do next in a folder, for someone who typed `qtrain` alone: commands that work there, where
nothing stands for what only the user knows (``...``, ``DATA``, ``FILE.py:CLASS``, ``BASE``).

An interrupted run comes first, then what is finished, then a model that waits. Every name is
quoted as a shell needs it.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from qtrain_cli.artifact.container import read_container
from qtrain_cli.artifact.description import describe_container
from qtrain_cli.artifact.student import is_student
from qtrain_cli.errors import QtrainError, first_few
from qtrain_cli.files.classes import network_classes
from qtrain_cli.files.outline import outline_of
from qtrain_cli.files.outputs import free_name
from qtrain_cli.files.surroundings import Sight, Surroundings
from qtrain_cli.report.terminal import sheet, stacked, styled

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Names that are shown, and models whose files are looked into.
_NAMES_SHOWN, _MODELS_READ = 3, 8
#: Bytes of an artifact that is read.
_MOST_READ = 2**24
_KINDS = {
    Sight.ARTIFACT: "artifact",
    Sight.STATE: "interrupted run",
    Sight.MODEL: "model",
    Sight.DATA: "data",
    Sight.CONFIG: "options",
}


def next_steps_terminal(around: Surroundings) -> RenderableType:
    """What lies here, then commands, each below what it does."""
    here = [
        (name, first_few([_name(path) for path in around.of(kind)], _NAMES_SHOWN))
        for kind, name in _KINDS.items()
        if around.of(kind)
    ]
    lines = [
        line for step in _steps(around) for line in (styled(f"  # {step[1]}"), styled(f"  {step[0]}", "cyan"))
    ]
    more = styled(
        "qtrain --help lists all commands, qtrain help all pages, and qtrain COMMAND --help its options."
    )
    nothing = [("nothing", "neither a model, nor data, nor an artifact")]
    return stacked(sheet({"Here": here or nothing}), styled("Next", "bold"), *lines, more)


def _name(path: Path) -> str:
    return "this folder" if path == Path() else path.name


def _steps(around: Surroundings) -> Iterator[tuple[str, str]]:
    """Commands, each with what it does."""
    yield from _going_on(around)
    models, artifact = around.of(Sight.MODEL), around.first(Sight.ARTIFACT)
    if artifact:
        yield from _finished(artifact)
    if around.first(Sight.CONFIG) and artifact:
        yield "qtrain compress --force", "compress again, as qtrain.toml says, in the place of what is there"
    elif around.first(Sight.CONFIG):
        yield "qtrain compress", "compress the model, as qtrain.toml says"
    elif models:
        yield from _with_model(_chosen(models), around.first(Sight.DATA))
    if not (models or artifact):
        yield "qtrain init --sample", "begin with a small model and data that the package brings"
        yield "qtrain help start", "or read how your own model is compressed"


def _with_model(model: Path, data: Path | None) -> Iterator[tuple[str, str]]:
    said = _said(model) + _arch(model)
    if data:
        yield (
            f"qtrain init {said} --data {_said(data)}",
            "look at both, and write down what compress will need",
        )
        yield f"qtrain compress {said} --data {_said(data)}", "compress the model to a tenth of its numbers"
    else:
        yield f"qtrain inspect {_said(model)}", "see what the model's file holds"
        yield f"qtrain plan {said}", "see what a budget buys"
        yield f"qtrain compress {said} --data DATA", "compress it; `qtrain help data` says what DATA may be"


def _chosen(models: Sequence[Path]) -> Path:
    """The newest, of the first few one that needs no class."""
    return next((model for model in models[:_MODELS_READ] if not _lacks_module(model)), models[0])


def _lacks_module(model: Path) -> bool:
    """Whether its file has tensors alone; then a class has to be named."""
    return not (model.is_dir() or model.suffix == ".pt2" or outline_of(model).has_module)


def _arch(model: Path) -> str:
    if not _lacks_module(model):
        return ""
    return f" --arch {shlex.quote(next(network_classes(Path()), 'FILE.py:CLASS'))}"


def _going_on(around: Surroundings) -> Iterator[tuple[str, str]]:
    state = around.first(Sight.STATE)
    if state:
        yield "qtrain compress ... --resume", f"the command again that left '{state.name}', to go on with it"


def _finished(artifact: Path) -> Iterator[tuple[str, str]]:
    name, weights = _said(artifact), _said(free_name(artifact.with_suffix(".safetensors")))
    base = _base(artifact)
    yield f"qtrain report {name}", "see what was measured"
    yield f"qtrain export {name} --classical{base} -o {weights}", "write ordinary weights"
    card = "MODEL_CARD.md" if os.path.lexists("README.md") else "README.md"
    yield f"qtrain card {name} -o {card}", "describe it on a model card"


def _base(artifact: Path) -> str:
    """What `export` needs beside a file that is a change to a base: the base, where it lies in this folder
    under its name. Nothing for what cannot be read, or is too large for such a change."""
    try:
        container = read_container(artifact) if artifact.stat().st_size <= _MOST_READ else None
        change = None if container is None or is_student(container) else describe_container(container).change
    except (QtrainError, OSError):
        return ""
    if change is None:
        return ""
    beside = artifact.with_name(change.base.name)
    return f" --base {_said(beside) if os.path.lexists(beside) else 'BASE'}"


def _said(path: Path) -> str:
    """A path as it is typed; one that begins with a dash would be taken for an option."""
    text = os.fspath(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)
