"""Where in an unpickled tree the weights are.

A *state dictionary* is a mapping of names to tensors and nothing else. A checkpoint is a dictionary that
holds one or more of them, perhaps nested, among epochs, optimisers and scores. Candidates are named by the
dotted path that ``--weights`` takes; the file's top level is the path "".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from qtrain_cli.errors import BadInput, suggestion

#: Names under which the trained weights usually are, most telling first; the order decides between several.
USUAL_KEYS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "module",
    "params",
)
_MAX_DEPTH = 4


@dataclass(frozen=True)
class Entry:
    """One candidate: its dotted path and its value, a state dictionary or a module."""

    path: str
    value: Any


def choose_entry(tree: Any, wanted: str | None, is_module: Callable[[Any], bool], name: str) -> Entry:
    """The entry that `wanted` names, or the only one, or the one under the most usual key.

    Args:
        tree: what the file holds.
        wanted: ``--weights``, or None.
        is_module: tells whether a value stands for a whole module.
        name: the file's name, for messages.

    Raises:
        BadInput: no candidate, none of that name, or several and none of them under usual keys only.
    """
    found = find_entries(tree, is_module)
    if wanted is not None:
        return _wanted_entry(found, wanted, name)
    if not found:
        raise BadInput(f"'{name}' holds no state dictionary and no module, but {_summary(tree)}")
    usual = [entry for entry in found if set(entry.path.split(".")) <= set(USUAL_KEYS)]
    if len(found) > 1 and not usual:
        raise BadInput(
            f"'{name}' holds several sets of weights: {', '.join(entry.path for entry in found)}",
            "pick one with --weights",
        )
    return found[0] if len(found) == 1 else min(usual, key=_rank)


def find_entries(tree: Any, is_module: Callable[[Any], bool]) -> list[Entry]:
    """Every state dictionary and module in `tree`, in the tree's own order."""
    return _search(tree, (), is_module)


def _search(value: Any, path: tuple[str, ...], is_module: Callable[[Any], bool]) -> list[Entry]:
    if is_module(value) or is_state_dict(value):
        return [Entry(".".join(path), value)]
    if not isinstance(value, Mapping) or len(path) == _MAX_DEPTH:
        return []
    named = [(key, child) for key, child in value.items() if isinstance(key, str)]
    return [entry for key, child in named for entry in _search(child, (*path, key), is_module)]


def is_state_dict(value: Any) -> bool:
    """A non-empty mapping of names to tensors; a layer's ``_extra_state`` may be anything."""
    if not isinstance(value, Mapping):
        return False
    entries = [(key, entry) for key, entry in value.items() if not str(key).endswith("_extra_state")]
    return bool(entries) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in entries)


def tensors_of(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a state dictionary."""
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}


def _rank(entry: Entry) -> list[int]:
    """Sorts entries whose keys are all usual ones, the most telling first."""
    return [USUAL_KEYS.index(key) for key in entry.path.split(".")]


def _wanted_entry(found: list[Entry], wanted: str, name: str) -> Entry:
    for entry in found:
        if entry.path == wanted:
            return entry
    paths = [entry.path for entry in found if entry.path]
    if not paths:
        raise BadInput(f"--weights {wanted}: '{name}' holds no named sets of weights", "leave --weights out")
    raise BadInput(f"--weights {wanted}: '{name}' holds {', '.join(paths)}", suggestion(wanted, paths))


def _summary(tree: Any) -> str:
    if isinstance(tree, Mapping):
        return f"a dictionary with the keys {', '.join(map(str, list(tree)[:20])) or '(none)'}"
    return f"a {type(tree).__name__}"
