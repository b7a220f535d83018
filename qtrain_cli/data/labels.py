"""Labels as class numbers: which label is which output of the model.

    texts          sorted, as torchvision's `ImageFolder` sorts folders: "bird" is 0, "cat" is 1
    -1 and 1       0 and 1
    0, 1, 2, ...   themselves

`--classes` says the order where it is another one: its first name is output 0. Labels are named as the data
write them, numbers too. A column is of texts where no cell of it is a number; a text among numbers is a
mistake.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from qtrain_cli.data.arrays import MAX_CLASSES, Arrays
from qtrain_cli.data.room import shown
from qtrain_cli.errors import BadInput, UsageError, suggestion

#: Longer texts are no labels, nor are more different ones than this or, in many rows, half of them.
MAX_LABEL, ALWAYS_LABELS = 200, 20
MOST_LISTED = 10


def numbered(train: Sequence[str], *others: Sequence[str]) -> tuple[list[np.ndarray], tuple[str, ...]]:
    """Class numbers of train (N,) and of other splits, int64, and the labels in their order.

    Raises:
        BadInput: an empty label or one that is no label, or a label of another split that train has not.
    """
    names = sorted(set(train))
    if names and (not names[0] or max(map(len, names)) > MAX_LABEL):
        raise BadInput("a label is empty, or longer than a label is", "fill in or drop such rows")
    if len(names) > max(ALWAYS_LABELS, len(train) / 2):
        raise BadInput(
            f"the target column holds {len(names):,} different texts in {len(train):,} rows, such as"
            f" '{shown(names[0])}': no labels",
            "name the column of labels 'label', or say --columns label=NAME; drop or encode columns of text",
        )
    places = {name: place for place, name in enumerate(names)}
    for split, texts in zip(("test", "validation"), others, strict=False):
        for name in texts:
            if name not in places:
                raise BadInput(
                    f"{split} has the label '{shown(name)}', which train has not", suggestion(name, names)
                )
    every = (train, *others)
    return [np.fromiter((places[name] for name in texts), np.int64, len(texts)) for texts in every], tuple(
        names
    )


def relabelled(raw: Arrays, order: tuple[str, ...]) -> Arrays:
    """`raw` with labels -1 and 1 as classes, and all labels in this order, if one is given.

    Raises:
        UsageError: a label that is not in the order, twice in it, or targets that are no labels.
    """
    raw = _without_signs(raw)
    if not order:
        return raw
    if raw.y_train.dtype.kind in "iu" and raw.y_train.ndim > 1:
        return _reordered(raw, order) if raw.names else replace(raw, names=order)
    if raw.y_train.dtype.kind not in "biu" or raw.y_train.ndim != 1:
        raise UsageError("--classes names labels, and the targets are numbers", "leave out --classes")
    if len(set(order)) < len(order):
        raise UsageError(
            "--classes names a label twice", "give each once, in the order of the model's outputs"
        )
    used = np.unique(np.concatenate(raw.targets))
    if not 0 <= used[0] <= used[-1] < MAX_CLASSES:
        return raw  # refused by the next check, as without an order
    given = raw.names or tuple(map(str, range(int(used[-1]) + 1)))
    places = np.zeros(len(given), np.int64)
    for label in used:
        name = given[label]
        if name not in order:
            raise UsageError(f"--classes lacks the label '{shown(name)}'", suggestion(name, order))
        places[label] = order.index(name)
    return replace(raw.with_targets(lambda y: places[y]), names=order)


def _reordered(raw: Arrays, order: tuple[str, ...]) -> Arrays:
    """Labels of places that have names, in this order. Raises `UsageError` for one that it lacks."""
    lacking = next((name for name in raw.names if name not in order), None)
    if lacking is not None:
        raise UsageError(f"--classes lacks the label '{shown(lacking)}'", suggestion(lacking, order))
    places = np.array([order.index(name) for name in raw.names])
    return replace(
        raw.with_targets(lambda y: np.where(y < 0, y, places[np.clip(y, 0, len(places) - 1)])), names=order
    )


def _without_signs(raw: Arrays) -> Arrays:
    y = raw.y_train
    if y.dtype.kind != "i" or y.ndim != 1 or raw.names or set(np.unique(y)) != {-1, 1}:
        return raw
    if not all(set(np.unique(labels)) <= {-1, 1} for labels in raw.targets):
        return raw
    return replace(raw.with_targets(lambda labels: (labels == 1).astype(np.int64)), names=("-1", "1"))


def labels_in_words(names: Iterable[str]) -> str:
    """``labels: bird = 0, cat = 1``."""
    listed = [f"{shown(name)} = {place}" for place, name in enumerate(names)]
    more = f", ... {len(listed)} in all" if len(listed) > MOST_LISTED else ""
    return "labels: " + ", ".join(listed[:MOST_LISTED]) + more
