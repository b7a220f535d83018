"""Several inputs by name: ``x_train.NAME`` and ``x_test.NAME`` in place of x_train and x_test.

    x_train.tokens, x_train.mask      the model's inputs by name, each (N, ...), in the order of the file
    x_train.0, x_train.1              by position

From Python x_train may be a dictionary of arrays, or a tuple of them (by position). Both splits have the same
names. What a part is, follows from its dtype as for a single input (`arrays`), but that integers and truth
values stay what they are: tokens, masks, lengths; and that (N,) is allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch

from qtrain_cli.data.inputs import Inputs, NamedInputs
from qtrain_cli.errors import BadInput

#: Inputs of one split as they are read: one array (N, ...), or several by name.
Columned: TypeAlias = np.ndarray | dict[str, np.ndarray]
MAX_PARTS = 64


def parts_of(name: str, present: Iterable[str]) -> list[str]:
    """NAME of each ``x_train.NAME`` that is there, in their order; places in the order of their numbers."""
    found = [other.removeprefix(f"{name}.") for other in present if other.startswith(f"{name}.")]
    return sorted(found, key=int) if found and all(map(str.isdecimal, found)) else found


def flattened(given: Mapping[str, Any]) -> dict[str, Any]:
    """What a function returned, with each dictionary or tuple of inputs as its parts."""
    flat: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, tuple):
            value = dict(enumerate(value))
        parts = isinstance(value, Mapping) and name.startswith("x_")
        flat |= {f"{name}.{part}": one for part, one in value.items()} if parts else {name: value}
    return flat


def refuse_other_parts(train: Columned, split: str, other: Columned) -> None:
    """Raises `BadInput` unless train and this split have the same named inputs, or one without a name."""
    names = [sorted(x) if isinstance(x, dict) else [] for x in (train, other)]
    if names[0] != names[1]:
        said = [", ".join(one) or "one without a name" for one in names]
        raise BadInput(f"train has the inputs {said[0]} and {split} {said[1]}", "give both splits the same")
    if len(names[0]) > MAX_PARTS:
        raise BadInput(
            f"there are {len(names[0])} named inputs; allowed: {MAX_PARTS}",
            "name those that the model reads: --columns input=...",
        )


def as_inputs(x: Columned) -> Inputs:
    """The arrays as tensors, which share their memory."""
    if isinstance(x, dict):
        return NamedInputs({name: torch.from_numpy(part) for name, part in x.items()})
    return torch.from_numpy(x)
