"""The arrays every reader returns, and the one place that checks them.

    x  uint8 pixels (N, C, H, W)   kept as they are; (N, H, W) gains C = 1; later divided by 255
       integers in both splits     int64: tokens for a model that looks them up, else made float32 later
       any other number (N, ...)   float32, finite
    y  integers (N,) or (N, 1)     int64 class numbers (N,), 0 .. classes - 1
       floats (N,) or (N, k)       float32, finite

Which task such targets are for is said by the table of tasks (`tasks.task_of_targets`). `classes` is the
largest label of train plus one. All splits have to agree in everything but N.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from qtrain_cli.errors import BadInput

ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")
#: Of validation rows of the data's own.
VALIDATION_NAMES = ("x_validation", "y_validation")
EVERY_NAME = (*ARRAY_NAMES, *VALIDATION_NAMES)

#: A larger class number is far more often a quantity, which has to be written as a float.
MAX_CLASSES = 100_000
MIN_TRAIN_ROWS = 2
#: Looked at together, so that what is looked at takes no memory of its own.
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Arrays:
    """Inputs and targets of train and test, one row a sample; of validation, where the data have their own.

    `names` are the labels that class numbers stand for, where the data have other ones; `said` is what a
    reader found that a user should know. `padding` is the number that fills token rows of texts up. `mean`
    and `std` are those that the data's pictures are normalised with, if a model's folder says so. `owned`:
    nobody else holds the arrays, so that rows may change places.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    names: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    x_validation: np.ndarray | None = None
    y_validation: np.ndarray | None = None
    padding: int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    owned: bool = True

    @property
    def present(self) -> tuple[str, ...]:
        """The names of the arrays that are there, in the order of `EVERY_NAME`."""
        return tuple(name for name in EVERY_NAME if getattr(self, name) is not None)

    @property
    def targets(self) -> list[np.ndarray]:
        """Those of every split that is there, train first."""
        return [getattr(self, name) for name in self.present if name.startswith("y")]

    def with_targets(self, change: Callable[[np.ndarray], np.ndarray]) -> Arrays:
        """The same rows with other targets."""
        names = [name for name in self.present if name.startswith("y")]
        changed: dict[str, Any] = {name: change(getattr(self, name)) for name in names}
        return replace(self, **changed)


def arrays_by_name(names: Iterable[str], read: Callable[[str], Any]) -> Arrays:
    """The arrays out of a container that holds `names`, validation's only if it has both.

    Raises:
        BadInput: one of the others is missing.
    """
    present = list(names)
    missing = [name for name in ARRAY_NAMES if name not in present]
    if missing:
        found = ", ".join(present) or "nothing"
        needed = ", ".join(ARRAY_NAMES)
        raise BadInput(f"{', '.join(missing)} missing; found {found}", f"name the arrays {needed}")
    own = VALIDATION_NAMES if all(name in present for name in VALIDATION_NAMES) else ()
    arrays: dict[str, Any] = {name: as_array(name, read(name)) for name in (*ARRAY_NAMES, *own)}
    return Arrays(**arrays)


def as_array(name: str, value: Any) -> np.ndarray:
    """A tensor, an array or nested lists as a NumPy array. Raises `BadInput` for ragged lists and such."""
    try:
        if not isinstance(value, torch.Tensor):
            return np.asarray(value)
        tensor = value.detach().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    except (ValueError, TypeError, RuntimeError) as error:
        raise BadInput(f"{name} is no array of numbers: {error}") from error


def class_count(arrays: Arrays) -> int | None:
    """How many classes checked targets number; None where they are no class numbers."""
    y = arrays.y_train
    return int(y.max()) + 1 if y.dtype.kind == "i" else None


def digest(arrays: Arrays) -> str:
    """SHA-256 of name, dtype, shape and little-endian content of all checked arrays that are there."""
    content = hashlib.sha256()
    for name in arrays.present:
        array = getattr(arrays, name)
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        content.update(f"{name} {little.dtype.str} {little.shape}\n".encode())
        content.update(little.reshape(-1).data)
    return content.hexdigest()


def checked(raw: Arrays) -> Arrays:
    """`raw` in the form of the module's table: contiguous, writeable, finite, of matching shapes.

    Raises:
        BadInput: a dtype, shape or value outside the table, or two arrays that disagree.
    """
    found: dict[str, Any] = dict(_each_checked(raw))
    arrays = replace(raw, **found)
    for split, least in (("train", MIN_TRAIN_ROWS), ("test", 1), ("validation", 1)):
        x, y = (getattr(arrays, f"{letter}_{split}") for letter in "xy")
        if x is None:
            continue
        _refuse_rows(split, x, y, least)
        _refuse_difference("x", split, arrays.x_train, x)
        _refuse_difference("y", split, arrays.y_train, y)
        if class_count(arrays) is not None:
            _refuse_unknown_labels(split, arrays.y_train, y)
    return arrays


def _each_checked(raw: Arrays) -> Iterator[tuple[str, np.ndarray]]:
    inputs = [name for name in raw.present if name.startswith("x")]
    whole = all(getattr(raw, name).dtype.kind in "iu" for name in inputs)
    for name in raw.present:
        array = getattr(raw, name)
        if name in inputs and raw.padding is not None:
            yield name, array  # tokens that were made here, in as few bytes as hold them
        else:
            yield name, _inputs(name, array, whole) if name in inputs else _targets(name, array)


def _inputs(name: str, x: np.ndarray, whole: bool) -> np.ndarray:
    _refuse_non_numbers(name, x)
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise BadInput(
            f"{name} has the shape {x.shape}; allowed: (N, features) or (N, channels, height, width)",
            "one feature is x.reshape(-1, 1)",
        )
    if x.dtype == np.uint8 and x.ndim > 2:  # a table of small numbers is no picture
        return _pixels(name, x)
    if whole and x.dtype != np.uint64:
        return np.require(x, np.int64, ("C", "W"))
    return _finite_float32(name, x)


def _pixels(name: str, x: np.ndarray) -> np.ndarray:
    if x.ndim == 3:
        x = x[:, None]  # (N, H, W) -> (N, 1, H, W)
    if x.ndim == 4 and x.shape[1] > 4 and x.shape[3] in (1, 3, 4):
        raise BadInput(
            f"{name} has the shape {x.shape}, channels last; allowed: (N, channels, height, width)",
            "store x.transpose(0, 3, 1, 2)",
        )
    return np.require(x, requirements=("C", "W"))


def _targets(name: str, y: np.ndarray) -> np.ndarray:
    _refuse_non_numbers(name, y)
    if y.dtype.kind == "f":
        if y.ndim not in (1, 2) or 0 in y.shape[1:]:
            raise BadInput(
                f"{name} has the shape {y.shape}; allowed for float targets: (N,) or (N, k)",
                "for an output of several dimensions store y.reshape(len(y), -1)",
            )
        return _finite_float32(name, y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2 and y.size and ((y == 0) | (y == 1)).all():
        return _finite_float32(name, y)  # one or several labels of a row, by columns
    if y.ndim != 1:
        raise BadInput(
            f"{name} has the shape {y.shape}; allowed for integer targets: (N,)",
            "a class for each place of a row (segmentation, tags, language models) is no task that qtrain"
            " trains; floats mean regression",
        )
    return _class_numbers(name, y)


def _class_numbers(name: str, y: np.ndarray) -> np.ndarray:
    bad = (y < 0) | (y >= MAX_CLASSES)
    if bad.any():
        row = int(bad.argmax())
        raise BadInput(
            f"{name} holds {y[row]} at row {row}; allowed: class numbers 0 to {MAX_CLASSES - 1}",
            "drop rows without a label; for regression store the targets as floats",
        )
    return np.require(y, np.int64, ("C", "W"))


def _refuse_non_numbers(name: str, array: np.ndarray) -> None:
    if array.dtype.kind not in "biuf":
        raise BadInput(
            f"{name} has the dtype {array.dtype}; allowed: integers, floats and booleans",
            "store real numbers; classes as 0, 1, 2, ...",
        )


def _finite_float32(name: str, array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # too large for float32 becomes inf, which is refused below
        numbers = np.require(array, np.float32, ("C", "W"))
    for start in range(0, len(numbers), _ROWS_AT_ONCE):
        bad = ~np.isfinite(numbers[start : start + _ROWS_AT_ONCE])
        if bad.any():
            within, *rest = (int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))
            row = start + within
            place = f"row {row}, entry {rest}" if rest else f"row {row}"
            raise BadInput(
                f"{name} holds {array[(row, *rest)]} at {place}; allowed: finite float32 numbers",
                "fill in or drop such rows",
            )
    return numbers


def _refuse_rows(split: str, x: np.ndarray, y: np.ndarray, least: int) -> None:
    if len(x) != len(y):
        raise BadInput(f"x_{split} has {len(x)} rows and y_{split} {len(y)}", "each input needs one target")
    if len(x) < least:
        raise BadInput(f"{split} has {len(x)} rows; needed: at least {least}")


def _refuse_difference(letter: str, split: str, train: np.ndarray, other: np.ndarray) -> None:
    for what, ours, theirs in (
        ("type", train.dtype, other.dtype),
        ("shape", train.shape[1:], other.shape[1:]),
    ):
        if ours != theirs:
            raise BadInput(
                f"a row of {letter}_train has the {what} {ours} and one of {letter}_{split} {theirs}",
                "all splits need the same kind of rows",
            )


def _refuse_unknown_labels(split: str, train: np.ndarray, other: np.ndarray) -> None:
    top = int(train.max())
    unknown = other > top
    if unknown.any():
        row = int(unknown.argmax())
        raise BadInput(
            f"y_{split} holds the class {other[row]} at row {row}; y_train knows 0 to {top}",
            "train needs at least one row of the last class",
        )
