"""Targets that are a class for each place of a row, and those that follow from the inputs.

    integers (N, L) or (N, H, W)    int16 or int32, `IGNORED` where they are the label that does not count;
                                    0 and 1 alone in (N, k) are several labels a row, unless a task says else
    none, and a language task       the token after each, `IGNORED` at a row's end and in padding
    class numbers of texts, and a language task       the same: the labels are left aside
    the inputs themselves           the same: the model's library shifts them, here they are
    none, and features              nothing: the model's outputs will be the targets

Whatever is not said here is checked by `arrays`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from qtrain_cli.data.arrays import Arrays, Columned, refuse_rows
from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.settings.task import TaskSettings
from qtrain_cli.tasks import TASKS
from qtrain_cli.tasks.language import LANGUAGE
from qtrain_cli.tasks.places import IGNORED

#: A vocabulary has no more tokens.
MOST_PLACED = 2**24
_MASKS = ("attention_mask", "mask")
_NEXT = "targets are the tokens after each"
_ALIKE = "all splits need the same kind of rows"


def placed(raw: Arrays, asked: TaskSettings) -> Arrays:
    """The same rows with such targets, checked, and the family of the task where that is certain.

    Raises:
        BadInput: targets that are missing, or a class that is none.
        UsageError: `--ignore-index` with targets that have no places.
    """
    wanted = TASKS.get(asked.family)
    follows = _from_inputs(raw, asked) if wanted in (None, LANGUAGE) else None
    if follows is not None:
        return replace(follows, family=LANGUAGE.name)
    raw = replace(raw, family=asked.family)
    if not raw.has_targets:
        if wanted is None or not wanted.own_outputs:
            raise BadInput(
                "y_train and y_test are missing"
                + (f", and --task {asked.family} needs them" if wanted else ""),
                "name the arrays x_train, y_train, x_test, y_test; without targets there are --task language"
                " (the token after each) and --task features (the model's own outputs)",
            )
        return raw
    if _has_places(raw.y_train, wanted is not None and wanted.places):
        return _with(raw, raw.named("y"), asked.ignore_index)
    if asked.ignore_index != TaskSettings.ignore_index:
        raise UsageError(
            f"--ignore-index {asked.ignore_index} is of a label for each token or pixel; the targets have the"
            f" shape {raw.y_train.shape}",
            "leave it out, or drop such rows",
        )
    return raw


def _has_places(y: np.ndarray, wanted: bool) -> bool:
    if y.dtype.kind not in "iu" or y.ndim < 2 or (y.ndim == 2 and y.shape[1] == 1 and not wanted):
        return False
    return y.ndim > 2 or wanted or not bool(((y == 0) | (y == 1)).all())


def _with(raw: Arrays, targets: Mapping[str, np.ndarray], ignored: int) -> Arrays:
    """The same rows with these targets by name, in as few bytes as hold them all."""
    _refuse_other_places(targets)
    for name, y in targets.items():
        _check(name, y, ignored)
    most = max(int(y[y != ignored].max()) for y in targets.values())
    small = np.int16 if most < 2**15 else np.int32
    made: dict[str, Any] = {
        name: np.where(y != ignored, y.astype(small), small(IGNORED)) for name, y in targets.items()
    }
    return replace(raw, placed=True, **made)


def _refuse_other_places(found: Mapping[str, np.ndarray]) -> None:
    """Raises where a split's rows are not whole numbers of the first one's shape."""
    first, *_ = found
    wanted = found[first].shape[1:]
    for name, places in found.items():
        if places.dtype.kind not in "iu" or places.shape[1:] != wanted:
            raise BadInput(
                f"{name} is an array of {places.dtype} with the shape {places.shape}; {first} has whole"
                f" numbers for each of the places {wanted} of a row",
                _ALIKE,
            )


def _check(name: str, y: np.ndarray, ignored: int) -> None:
    counts = y != ignored
    bad = counts & ((y < 0) | (y >= MOST_PLACED))
    if bad.any():
        row, *place = (int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))
        raise BadInput(
            f"{name} holds {y[(row, *place)]} at row {row}, place {place}; allowed: classes from 0 on, and"
            f" {ignored} where a place does not count",
            "name the label that does not count: --ignore-index",
        )
    if not counts.any():
        raise BadInput(f"no place of {name} counts: all are {ignored}", "check --ignore-index")


# --- language --------------------------------------------------------------------------------------------


def _from_inputs(raw: Arrays, asked: TaskSettings) -> Arrays | None:
    """The next tokens, where there are no targets or they are the tokens themselves; None where there are
    others."""
    tokens, wanted = _tokens(raw.x_train), bool(asked.family)
    if tokens is None:
        if wanted and not raw.has_targets:
            raise BadInput(
                "a language task without targets learns the token after each, and the inputs are none",
                "give tokens (N, L) as whole numbers, or targets (N, L)",
            )
        return None
    same = raw.has_targets and raw.y_train.shape == tokens.shape and _are_inputs(raw, asked.ignore_index)
    unused = raw.has_targets and raw.y_train.ndim == 1 and raw.padding is not None
    if not same and not (wanted and (unused or not raw.has_targets)):
        return None
    if tokens.shape[1] < 2:
        raise BadInput("a row of one token has none after it", "give rows of at least two tokens")
    inputs, labels = raw.named("x"), raw.named("y") if same else {}
    every = {name: found for name, x in inputs.items() if (found := _tokens(x)) is not None}
    if missing := [name for name in inputs if name not in every]:
        raise BadInput(f"{missing[0]} holds no tokens, as x_train does", _ALIKE)
    _refuse_other_places(every | labels)
    for name, y in labels.items():
        refuse_rows(name[2:], f"x{name[1:]}", every[f"x{name[1:]}"], y)
    targets = {
        f"y{name[1:]}": _next(raw, inputs[name], found, labels.get(f"y{name[1:]}"), asked.ignore_index)
        for name, found in every.items()
    }
    told = (_NEXT, "the texts' labels are not used") if unused else (_NEXT,)
    return replace(_with(raw, targets, IGNORED), names=() if unused else raw.names, said=(*raw.said, *told))


def _tokens(x: Columned) -> np.ndarray | None:
    """The first input of whole numbers (N, L), if there is one."""
    parts = x.values() if isinstance(x, dict) else [x]
    return next((part for part in parts if part.ndim == 2 and part.dtype.kind in "iu"), None)


def _are_inputs(raw: Arrays, ignored: int) -> bool:
    tokens, y = _tokens(raw.x_train), raw.y_train
    assert tokens is not None
    if y.dtype.kind not in "iu":
        return False
    counts = y != ignored
    return bool(counts.any()) and np.array_equal(tokens[counts], y[counts])


def _next(
    raw: Arrays, x: Columned, tokens: np.ndarray, labels: np.ndarray | None, ignored: int
) -> np.ndarray:
    """What is right at each place of a split: the token, or label, after it."""
    y = np.full(tokens.shape, IGNORED, np.int64)
    y[:, :-1] = (tokens if labels is None else labels)[:, 1:]
    y[y == ignored] = IGNORED
    y[:, :-1][_filled(tokens, x, raw.padding)[:, 1:]] = IGNORED
    return y


def _filled(tokens: np.ndarray, x: Columned, padding: int | None) -> np.ndarray:
    """Which tokens are there to fill a row up: where a mask says so, or all to its end are padding."""
    mask = next((x[name] for name in _MASKS if name in x), None) if isinstance(x, dict) else None
    if mask is not None and mask.shape == tokens.shape:
        return mask == 0
    if padding is None:
        return np.zeros(tokens.shape, bool)
    return np.logical_and.accumulate((tokens == padding)[:, ::-1], axis=1)[:, ::-1]
