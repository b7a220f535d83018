"""Where in an unpickled tree the weights are.

A *state dictionary* is a mapping of names to tensors and nothing else. A checkpoint is a dictionary that
holds one or more of them, perhaps nested, among epochs, optimisers and scores. Candidates are named by the
dotted path that ``--weights`` takes; the file's top level is the path "". The path may go on into the names
of a state dictionary: ``--weights student`` takes those that begin with ``student.``, without it; and it may
be short: ``--weights ema`` takes state_dict_ema (`SHORT_NAMES`).

What an optimiser or a scheduler keeps is no candidate, though it may look like one.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from qtrain_cli.errors import BadInput, Refused, suggestion
from qtrain_cli.files.header import MAX_NAME_LETTERS

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
#: What is meant by a short name of ``--weights``: words in the paths of sets of weights, the likeliest first.
SHORT_NAMES = {
    "ema": ("ema", "averaged", "average", "shadow", "swa"),
    "swa": ("swa", "averaged", "average"),
    "averaged": ("averaged", "average", "swa", "ema"),
}
#: Words in keys of what holds tensors by name and no model's.
_NO_MODELS = ("optim", "sched", "scaler")


@dataclass(frozen=True)
class Entry:
    """One candidate: its dotted path and its value, a state dictionary or a module. `others` are the paths of
    those that were not taken."""

    path: str
    value: Any
    others: tuple[str, ...] = ()


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
    return _usual_entry(found, tree, name)


def _usual_entry(found: list[Entry], tree: Any, name: str) -> Entry:
    if not found:
        raise BadInput(
            f"'{name}' holds no state dictionary and no module, but {_summary(tree)}",
            "save model.state_dict() with torch.save, or give another file",
        )
    usual = [entry for entry in found if set(entry.path.split(".")) <= set(USUAL_KEYS)]
    if len(found) > 1 and not usual:
        raise BadInput(
            f"'{name}' holds several sets of weights: {', '.join(entry.path for entry in found)}",
            "pick one with --weights",
        )
    taken = found[0] if len(found) == 1 else min(usual, key=_rank)
    return replace(taken, others=tuple(entry.path for entry in found if entry is not taken))


def find_entries(tree: Any, is_module: Callable[[Any], bool]) -> list[Entry]:
    """Every state dictionary and module in `tree`, in its own order. Raises `Refused` as `tensors_of`."""
    return _search(tree, (), is_module)


def _search(value: Any, path: tuple[str, ...], is_module: Callable[[Any], bool]) -> list[Entry]:
    if is_module(value):
        return [_entry(path, value)]
    pairs = _pairs(value)
    if is_state_dict(pairs):
        return [_entry(path, dict(pairs))]
    if len(path) == _MAX_DEPTH:
        return []
    named = [(key, child) for key, child in pairs if isinstance(key, str) and not _is_no_model(key)]
    return [entry for key, child in named for entry in _search(child, (*path, key), is_module)]


def _entry(path: tuple[str, ...], value: Any) -> Entry:
    require_length(sum(map(len, path)))  # before they are joined, for each of many entries
    return Entry(".".join(path), value)


def _pairs(value: Any) -> list[tuple[Any, Any]]:
    """What a dictionary holds; a file may have hung attributes of its own on one, `items` among them."""
    if isinstance(value, OrderedDict):
        return list(OrderedDict.items(value))
    if isinstance(value, dict):
        return list(dict.items(value))
    return list(value.items()) if isinstance(value, Mapping) else []


def _is_no_model(key: str) -> bool:
    return any(word in key.lower() for word in _NO_MODELS)


def is_state_dict(pairs: list[tuple[Any, Any]]) -> bool:
    """Names with tensors, at least one; a layer's ``_extra_state`` may be anything."""
    entries = [(key, entry) for key, entry in pairs if not str(key).endswith("_extra_state")]
    return bool(entries) and all(isinstance(k, str) and isinstance(v, Tensor) for k, v in entries)


def tensors_of(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a state dictionary. Raises `Refused` for a name that no model's tensor has."""
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    require_length(max(map(len, tensors), default=0))
    return tensors


def require_length(letters: int) -> None:
    """Raises `Refused` for a name of so many letters that no model's tensor has it."""
    if letters > MAX_NAME_LETTERS:
        raise Refused(
            f"a tensor's name has {letters:,} letters; allowed: {MAX_NAME_LETTERS:,}",
            "do not use this file: it is damaged or hostile",
        )


def require_plain(tensors: Mapping[str, Tensor], name: str) -> None:
    """Raises `BadInput` for sparse and quantised tensors, which no artifact can hold."""
    for key, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized:
            kind, turn = ("quantised", "dequantize") if tensor.is_quantized else ("sparse", "to_dense")
            raise BadInput(
                f"tensor '{key}' of '{name}' is {kind}; allowed: dense tensors of plain numbers",
                f"save it and build it in --arch as tensor.{turn}()",
            )


def require_numbers(tensors: Mapping[str, Tensor], name: str) -> None:
    """Raises `Refused` for tensors of the meta device: shapes that were saved without their numbers."""
    for key, tensor in tensors.items():
        if tensor.is_meta:
            raise Refused(
                f"tensor '{key}' of '{name}' is on the meta device: the file has its shape and no numbers",
                "load the weights before saving: model.to_empty(device='cpu'), then load_state_dict",
            )


def _rank(entry: Entry) -> list[int]:
    """Sorts entries whose keys are all usual ones, the most telling first."""
    return [USUAL_KEYS.index(key) for key in entry.path.split(".")]


def _wanted_entry(found: list[Entry], wanted: str, name: str) -> Entry:
    for entry in found:
        if entry.path == wanted:
            return entry
    below = [part for entry in found for part in _below(entry, wanted)]
    if len(below) == 1:
        return below[0]
    if meant := by_short_name(found, wanted):
        return meant
    paths = [entry.path for entry in found if entry.path]
    if not paths:
        raise BadInput(f"--weights {wanted}: '{name}' holds no named sets of weights", "leave --weights out")
    raise BadInput(f"--weights {wanted}: '{name}' holds {', '.join(paths)}", suggestion(wanted, paths))


def by_short_name(found: list[Entry], wanted: str) -> Entry | None:
    """The set whose path, or whose names' beginning, has `wanted` among its words: ``ema`` is state_dict_ema,
    model_ema, ema.module. Of several the likeliest, with the others named."""
    words = SHORT_NAMES.get(wanted.lower(), (wanted.lower(),))
    sets = [place for entry in found for place in _places(entry)]
    ranks = {path: _rank_of_words(path, words) for path, _, _ in sets}
    fitting = sorted(
        (place for place in sets if ranks[place[0]] is not None),
        key=lambda place: (ranks[place[0]], place[0].count("."), len(place[0])),
    )
    if not fitting:
        return None
    path, entry, prefix = fitting[0]
    paths = {path for path, _, _ in fitting}  # a part of what fits goes by the name of the whole
    others = (other for other, _, _ in fitting[1:] if other.rpartition(".")[0] not in paths)
    return Entry(path, entry.value if prefix is None else under(entry.value, prefix), tuple(others))


def _rank_of_words(path: str, words: tuple[str, ...]) -> int | None:
    """The place of the first of these words that is one of the path's; None where none is."""
    there = re.split(r"[\W_]+", path.lower())
    return next((place for place, word in enumerate(words) if word in there), None)


def _places(entry: Entry) -> Iterator[tuple[str, Entry, str | None]]:
    """The path of the whole set, and of its part under each of its names' first words, with that prefix."""
    yield entry.path, entry, None
    if not isinstance(entry.value, dict):
        return
    parts = [name.split(".") for name in entry.value]
    prefixes = {".".join(one[:depth]) for depth in (1, 2) for one in parts if len(one) > depth}
    for prefix in sorted(prefixes):
        yield f"{entry.path}.{prefix}".lstrip("."), entry, prefix


def _below(entry: Entry, wanted: str) -> list[Entry]:
    """The tensors of a state dictionary under a prefix of their names, if `wanted` names one."""
    if not isinstance(entry.value, dict):
        return []
    inside = entry.path and wanted.startswith(f"{entry.path}.")
    prefix = wanted.removeprefix(f"{entry.path}.") if inside else wanted
    found = under(entry.value, prefix)
    return [Entry(f"{entry.path}.{prefix}".lstrip("."), found)] if found else []


def under(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """What stands under a prefix of the names, without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): value for name, value in state.items() if name.startswith(start)}


def _summary(tree: Any) -> str:
    if isinstance(tree, dict):
        keys = [str(key) for key, _ in _pairs(tree)]
        kind = "an optimiser's state" if {"state", "param_groups"} == set(keys) else "a dictionary"
        return f"{kind} with the keys {', '.join(keys[:20]) or '(none)'}"
    return f"a {type(tree).__name__}"
