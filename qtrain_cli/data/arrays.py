"""The four arrays every reader returns, and the one place that checks them.

    x  uint8 pixels (N, C, H, W)   kept as they are; (N, H, W) gains C = 1; later divided by 255
       integers in both splits     int64: tokens for a model that looks them up, else made float32 later
       any other number (N, ...)   float32, finite
    x  several inputs, by name     each of the above, or (N,); integers and truth values stay (`named`)
    y  integers (N,) or (N, 1)     int64 class numbers (N,), 0 .. classes - 1
       floats (N,) or (N, k)       float32, finite

Which task such targets are for is said by the table of tasks (`tasks.task_of_targets`). `classes` is the
largest label of train plus one. Train and test have to agree in everything but N.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from qtrain_cli.data.named import Columned, parts_of, refuse_other_parts
from qtrain_cli.errors import BadInput
from qtrain_cli.files.spilled import let_go, plain_array

ARRAY_NAMES = ("x_train", "y_train", "x_test", "y_test")
#: Of validation rows of the data's own.
VALIDATION_NAMES = ("x_validation", "y_validation")
EVERY_NAME = (*ARRAY_NAMES, *VALIDATION_NAMES)

#: A larger class number is far more often a quantity, which has to be written as a float.
MAX_CLASSES = 100_000
MIN_TRAIN_ROWS = 2
_OF_TARGETS = ("y_train", "y_test")
#: Numbers that are hashed together.
_AT_ONCE = 2**24
#: Looked at together, so that what is looked at takes no memory of its own.
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Arrays:
    """Inputs and targets of train and test, one row a sample; of validation, where the data have their own.

    `names` are the labels that class numbers stand for, where the data have other ones; `said` is what a
    reader found that a user should know. `padding` is the number that fills token rows of texts up, and
    `separator` ends the first text of a pair, where the model is told which of both a token is of. `mean` and
    `std` are those that the data's pictures are normalised with, if a model's folder says so. `owned`: nobody
    else holds the arrays, so that rows may change places. `placed`: targets are classes of places, and
    checked; `family` is what they are certainly for (`places`).
    """

    x_train: Columned
    y_train: np.ndarray
    x_test: Columned
    y_test: np.ndarray
    names: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    x_validation: Columned | None = None
    y_validation: np.ndarray | None = None
    padding: int | None = None
    separator: int | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    owned: bool = True
    placed: bool = False
    family: str = ""

    @property
    def has_targets(self) -> bool:
        """Whether there are any: without them they are (N, 0)."""
        return any(y.shape[1:] != (0,) for y in self.targets)

    @property
    def present(self) -> tuple[str, ...]:
        """The names of the arrays that are there, in the order of `EVERY_NAME`."""
        return tuple(name for name in EVERY_NAME if getattr(self, name) is not None)

    @property
    def targets(self) -> list[np.ndarray]:
        """Those of every split that is there, train first."""
        return list(self.named("y").values())

    def named(self, letter: str) -> dict[str, Any]:
        """The inputs (x) or targets (y) of every split that is there by name, train first."""
        return {name: getattr(self, name) for name in self.present if name.startswith(letter)}

    def with_targets(self, change: Callable[[np.ndarray], np.ndarray]) -> Arrays:
        """The same rows with other targets."""
        changed: dict[str, Any] = {name: change(y) for name, y in self.named("y").items()}
        return replace(self, **changed)


def arrays_by_name(names: Iterable[str], read: Callable[[str], Any]) -> Arrays:
    """The arrays out of a container that holds `names`, validation's only if it has both, or inputs where
    there are no targets at all.

    Raises:
        BadInput: one of the others is missing.
    """
    present = list(names)
    parts = {name: parts_of(name, present) for name in EVERY_NAME if name not in present and name[0] == "x"}
    there = [name for name in EVERY_NAME if name in present or parts.get(name)]
    missing = [name for name in ARRAY_NAMES if name not in there]
    if missing and missing != list(_OF_TARGETS):
        found = ", ".join(present) or "nothing"
        needed = ", ".join(ARRAY_NAMES)
        several = "; several inputs are x_train.NAME and x_test.NAME"
        raise BadInput(f"{', '.join(missing)} missing; found {found}", f"name the arrays {needed}{several}")

    def whole(name: str) -> Any:
        if name not in there:  # some tasks need no targets
            return np.zeros((len(_first(whole("x" + name[1:]))), 0), np.float32)
        if not parts.get(name):
            return as_array(name, read(name))
        return {part: as_array(f"{name}.{part}", read(f"{name}.{part}")) for part in parts[name]}

    own = "x_validation" in there and (bool(missing) or "y_validation" in there)
    return Arrays(**{name: whole(name) for name in (EVERY_NAME if own else ARRAY_NAMES)})


def _first(x: Columned) -> np.ndarray:
    return next(iter(x.values())) if isinstance(x, dict) else x


def as_array(name: str, value: Any) -> np.ndarray:
    """A tensor, an array or nested lists as a NumPy array. Raises `BadInput` for ragged lists and such."""
    try:
        if not isinstance(value, torch.Tensor):
            return np.asarray(value)
        tensor = value.detach().cpu()
        return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    except (ValueError, TypeError, RuntimeError) as error:
        raise BadInput(
            f"{name} is no array of numbers: {error}", "give a tensor, an array, or lists of one length"
        ) from error


def class_count(arrays: Arrays) -> int | None:
    """How many classes checked targets number; None where they are no class numbers."""
    y = arrays.y_train
    if arrays.placed:
        return max(int(one.max()) for one in arrays.targets) + 1
    return int(y.max()) + 1 if y.dtype.kind == "i" else None


def digest(arrays: Arrays) -> str:
    """SHA-256 of name, dtype, shape and little-endian content of all checked arrays, part by part."""
    content = hashlib.sha256()
    for name, array in _each_array(arrays):
        little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
        content.update(f"{name} {little.dtype.str} {little.shape}\n".encode())
        for part in np.split(little.reshape(-1), range(_AT_ONCE, little.size, _AT_ONCE)):
            content.update(part.data)
            let_go()
    return content.hexdigest()


def _each_array(arrays: Arrays) -> Iterator[tuple[str, np.ndarray]]:
    """All that are there by name; several inputs as their parts, ``x_train.NAME``."""
    for name in arrays.present:
        found = getattr(arrays, name)
        if isinstance(found, dict):
            yield from ((f"{name}.{part}", array) for part, array in found.items())
        else:
            yield name, found


def checked(raw: Arrays) -> Arrays:
    """`raw` in the form of the module's table: contiguous, writeable, finite, of matching shapes.

    Raises:
        BadInput: a dtype, shape or value outside the table, or two arrays that disagree.
    """
    names = list(raw.named("x"))
    made: dict[str, Any] = dict(zip(names, _every_input(raw), strict=True))
    if raw.has_targets and not raw.placed:
        made |= {name: _targets(name, y) for name, y in raw.named("y").items()}
    arrays = replace(raw, **made)
    for name, x in _each_array(arrays):
        split = name.partition(".")[0].removeprefix("x_")
        if name.startswith("x_"):
            y, least = getattr(arrays, f"y_{split}"), MIN_TRAIN_ROWS if split == "train" else 1
            refuse_rows(split, name, x, y, least)
    for split in [name.removeprefix("x_") for name in names[1:]]:
        y = getattr(arrays, f"y_{split}")
        _refuse_difference("y", split, arrays.y_train, y)
        if class_count(arrays) is not None and not arrays.placed:
            _refuse_unknown_labels(split, arrays.y_train, y)
    return arrays


def _every_input(raw: Arrays) -> list[Columned]:
    """Checked inputs of all splits, train first, which have to be of one kind."""
    names, given = list(raw.named("x")), list(raw.named("x").values())
    for name, other in zip(names[1:], given[1:], strict=True):
        refuse_other_parts(given[0], name.removeprefix("x_"), other)
    if raw.padding is not None:
        return given  # tokens that were made here, in as few bytes as hold them
    if not isinstance(given[0], dict):
        return _alike(names, given, _inputs)
    made = {}
    for part in given[0]:
        places = [f"{name}.{part}" for name in names]
        made[part] = _alike(places, [one[part] for one in given], _part)
    return [{part: every[place] for part, every in made.items()} for place in range(len(names))]


def _alike(
    names: list[str], given: list[np.ndarray], check: Callable[[str, np.ndarray, bool], np.ndarray]
) -> list[Any]:
    """One input of all splits, or one part of it: whole where it is in all of them, and of one shape."""
    whole = all(x.dtype.kind in "iu" for x in given)
    made = [check(name, x, whole) for name, x in zip(names, given, strict=True)]
    for name, other in zip(names[1:], made[1:], strict=True):
        split, _, part = name.removeprefix("x_").partition(".")
        _refuse_difference("x", split, made[0], other, f".{part}" if part else "")
    return made


def _part(name: str, x: np.ndarray, whole: bool) -> np.ndarray:
    """One of several inputs: truth values stay, and (N,) is a number for each row."""
    if x.dtype == np.bool_ and x.ndim:
        return plain_array(x)
    if x.ndim != 1:
        return _inputs(name, x, whole)
    _refuse_non_numbers(name, x)
    return plain_array(x, np.int64) if whole and x.dtype != np.uint64 else _finite_float32(name, x)


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
        return plain_array(x, np.int64)
    return _finite_float32(name, x)


def _pixels(name: str, x: np.ndarray) -> np.ndarray:
    if x.ndim == 3:
        x = x[:, None]  # (N, H, W) -> (N, 1, H, W)
    if x.ndim == 4 and x.shape[1] > 4 and x.shape[3] in (1, 3, 4):
        raise BadInput(
            f"{name} has the shape {x.shape}, channels last; allowed: (N, channels, height, width)",
            "store x.transpose(0, 3, 1, 2)",
        )
    return plain_array(x)


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
            f"{name} has the shape {y.shape}; allowed for integer targets: (N,), (N, L) and (N, H, W)",
            "floats mean regression",
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
        numbers = plain_array(array, np.float32)
    for start in range(0, len(numbers), _ROWS_AT_ONCE):
        bad = ~np.isfinite(numbers[start : start + _ROWS_AT_ONCE])
        let_go()
        if bad.any():
            within, *rest = (int(i) for i in np.unravel_index(int(bad.argmax()), bad.shape))
            row = start + within
            place = f"row {row}, entry {rest}" if rest else f"row {row}"
            raise BadInput(
                f"{name} holds {array[(row, *rest)]} at {place}; allowed: finite float32 numbers",
                "fill in or drop such rows",
            )
    return numbers


def refuse_rows(split: str, name: str, x: np.ndarray, y: np.ndarray, least: int = 1) -> None:
    """Raises where a split has another number of inputs than of targets, or too few."""
    if len(x) != len(y):
        raise BadInput(f"{name} has {len(x)} rows and y_{split} {len(y)}", "each input needs one target")
    if len(x) < least:
        raise BadInput(
            f"{split} has {len(x)} rows; needed: at least {least}",
            f"give more rows of {split}, or another --validation",
        )


def _refuse_difference(letter: str, split: str, train: np.ndarray, other: np.ndarray, part: str = "") -> None:
    for what, ours, theirs in (
        ("type", train.dtype, other.dtype),
        ("shape", train.shape[1:], other.shape[1:]),
    ):
        if ours != theirs:
            raise BadInput(
                f"a row of {letter}_train{part} has the {what} {ours} and one of {letter}_{split}{part}"
                f" {theirs}",
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
