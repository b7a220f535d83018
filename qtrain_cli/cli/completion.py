"""What a shell proposes: names of tables, artifacts, networks in Python files, tensors of the model that was
typed. Fast, so without torch: files are looked at by name and header (`files`), and nothing of them is run.

    qtrain compress net.pt --targets <TAB>      the tensors of net.pt, and a glob for each layer
    qtrain compare net.pt --methods direct,<TAB>      the last name of a list
"""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import typer

from qtrain_cli.cli.table import COMMANDS, choices_of
from qtrain_cli.settings.option import Option

#: More are no help.
MOST_PROPOSALS = 500
Proposals = Callable[[typer.Context, str], list[str]]


def proposals_for(option: Option) -> Proposals | None:
    """What typer calls for an option; None where the shell's own files are the best there is."""
    names = choices_of(option)
    if option.completes:
        return PROPOSALS[option.completes]
    if not names:
        return None

    def among(ctx: typer.Context, incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{name}" for name in _beginning(names, last)]

    return among


def _beginning(names: Iterable[str], typed: str) -> list[str]:
    found = (name for name in names if name.startswith(typed))
    return list(itertools.islice(found, MOST_PROPOSALS))


def _artifacts(ctx: typer.Context, incomplete: str) -> list[str]:
    return [path for path in _paths(ctx, incomplete) if path.endswith((".qtrain", os.sep))]


def _paths(ctx: typer.Context, incomplete: str) -> list[str]:
    """Files and folders, the latter with a slash; hidden ones when a dot was typed."""
    folder, last = os.path.split(incomplete)
    try:
        with os.scandir(folder or ".") as entries:
            names = [entry.name + (os.sep if entry.is_dir() else "") for entry in entries]
    except OSError:
        return []
    shown = (name for name in sorted(names) if last.startswith(".") or not name.startswith("."))
    return [os.path.join(folder, name) for name in _beginning(shown, last)]


def _architectures(ctx: typer.Context, incomplete: str) -> list[str]:
    from qtrain_cli.files.classes import network_classes

    folder = Path(os.path.dirname(incomplete.partition(":")[0]))
    return _beginning(network_classes(folder), incomplete)


def _tensors(ctx: typer.Context, incomplete: str) -> list[str]:
    """The model's tensors by name, then a glob for each layer that has several."""
    from qtrain_cli.files.outline import outline_of

    # An option that still waits for its value ends the parsing before arguments have their names.
    model = ctx.params.get("model") or next(iter(ctx.args), None)
    names = outline_of(Path(model)).names if model else ()
    layers = Counter(name.rpartition(".")[0] for name in names)
    globs = (f"{layer}.*" for layer, count in layers.items() if layer and count > 1)
    return _beginning((*names, *globs), incomplete)


def _topics(ctx: typer.Context, incomplete: str) -> list[str]:
    from qtrain_cli.commands.help import topic_files

    return _beginning((*topic_files(), *COMMANDS), incomplete)


#: By the word that an option has for them (`Option.completes`).
PROPOSALS: dict[str, Proposals] = {
    "artifacts": _artifacts,
    "paths": _paths,
    "architectures": _architectures,
    "tensors": _tensors,
    "topics": _topics,
}
