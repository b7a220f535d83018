"""Rows that a Python program hands over, in place of a file: arrays, a map-style data set, or batches.

    (x, y)                        tensors or arrays (N, ...), x also a dictionary or tuple of them (`named`)
    a data set of (x, y)          anything with a length and `[i]`
    a loader of batches           anything that can be gone through again and again, such as a `DataLoader`; a
                                  batch is (x, y), or a dictionary with `labels` (or `label`) in it

What is handed over is gone through once and kept, as far as it is needed whole: validation and test rows all
of it, training rows up to a number of bytes, for the first look at the model and the figures of the record.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from qtrain_cli.data.arrays import as_array
from qtrain_cli.errors import BadInput

#: See above.
Handed: TypeAlias = Any
TARGET_KEYS = ("labels", "label", "targets")
_ROWS = 256


def is_pair(rows: Handed) -> bool:
    """Whether these are whole arrays: (x, y), where y has a length of its own rows."""
    return isinstance(rows, (tuple, list)) and len(rows) == 2 and not isinstance(rows[1], (tuple, list))


def batches_of(rows: Handed) -> Iterable[Any]:
    """Something to go through again and again, whose items are batches."""
    if hasattr(rows, "__getitem__") and hasattr(rows, "__len__") and not isinstance(rows, DataLoader):
        return DataLoader(rows, batch_size=_ROWS)
    if isinstance(rows, Iterator) or not hasattr(rows, "__iter__"):
        raise BadInput(
            f"a {type(rows).__name__} cannot be gone through again and again",
            "hand over (x, y), a data set, or a DataLoader",
        )
    return rows


def split_batch(batch: Any) -> tuple[Any, Tensor]:
    """The inputs and the targets of a batch. Raises `BadInput`."""
    if isinstance(batch, Mapping):
        name = next((name for name in TARGET_KEYS if name in batch), None)
        if name is None:
            raise BadInput(
                f"a batch has {', '.join(map(str, batch))} and no targets",
                f"name them {' or '.join(TARGET_KEYS)}",
            )
        return {key: value for key, value in batch.items() if key != name}, torch.as_tensor(batch[name])
    if isinstance(batch, (tuple, list)) and len(batch) >= 2:
        *inputs, targets = batch
        return inputs[0] if len(inputs) == 1 else tuple(inputs), torch.as_tensor(targets)
    raise BadInput(f"a batch is a {type(batch).__name__}", "give (inputs, targets), or a dictionary")


def flat_inputs(inputs: Any) -> dict[str, Any]:
    """The parts of a batch's inputs by name; a single tensor has the name ``""``."""
    if isinstance(inputs, Mapping):
        return {str(name): part for name, part in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return {str(place): part for place, part in enumerate(inputs)}
    return {"": inputs}


def gathered(name: str, rows: Handed, most: float = math.inf) -> dict[str, np.ndarray]:
    """Inputs and targets as ``x_NAME`` (or ``x_NAME.part``) and ``y_NAME``, of at most `most` bytes or one
    batch.

    Raises:
        BadInput: what is no batch, or batches that differ in their shapes.
    """
    if is_pair(rows):
        x, y = rows
        return _named(name, flat_inputs(x), y)
    parts: list[dict[str, np.ndarray]] = []
    taken = 0
    for batch in batches_of(rows):
        inputs, targets = split_batch(batch)
        parts.append(_named(name, flat_inputs(inputs), targets))
        taken += sum(array.nbytes for array in parts[-1].values())
        if taken >= most:
            break
    if not parts:
        raise BadInput(
            f"{name} has no batches", "give a loader with rows; an iterator that was read once is empty"
        )
    return {key: _joined(key, [part[key] for part in parts]) for key in parts[0]}


def _named(name: str, inputs: dict[str, Any], targets: Any) -> dict[str, np.ndarray]:
    named = {f"x_{name}.{part}".rstrip("."): value for part, value in inputs.items()}
    return {key: as_array(key, value) for key, value in {**named, f"y_{name}": targets}.items()}


def _joined(name: str, arrays: list[np.ndarray]) -> np.ndarray:
    shapes = {array.shape[1:] for array in arrays}
    if len(shapes) > 1:
        one, other, *_ = sorted(map(str, shapes))
        raise BadInput(
            f"{name} has rows of the shapes {one} and {other}",
            "fill all rows up to one length, with the number that stands for padding",
        )
    return np.concatenate(arrays)
