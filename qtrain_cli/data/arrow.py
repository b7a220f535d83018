"""Arrow batches in the Hugging Face image or tabular layout -> inputs and targets of one split.

The schema's metadata key `huggingface` names the feature types, ``{"info": {"features": {column: {"_type":
"Image" | "ClassLabel" | ...}}}}``; without it an image is a struct with the field `bytes`.

    image layout     one image column, decoded to uint8 (N, C, H, W); the target is the one ClassLabel
                     column, else the one called target, label or y, else the only other; the rest is left out
    tabular layout   every other column is a number: float32 (N, features); the target as above, else the last
    lists            the only other column holds lists of numbers of one length T: (N, T), whole ones int64

The target is numbers, or texts that are labels (`labels`).

An image that is only a path is refused: following it would read files that the data set's author chose.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.columns import SPLIT_COLUMN, TARGET_NAMES, Targets, refuse_bad_names, target_column
from qtrain_cli.data.images import ImageStack
from qtrain_cli.data.labels import MAX_LABEL
from qtrain_cli.data.room import Room, shown
from qtrain_cli.errors import BadInput

#: Rows decoded at once: small enough that encoded photographs of a batch stay in the tens of megabytes.
BATCH_ROWS = 512
#: What a row takes besides its numbers: its target, and objects of Python for texts.
_ROW_BYTES = 16


@dataclass(frozen=True)
class Columns:
    """Which column is what. Inputs are `image` or `features` (the only one may hold lists: `listed`); `split`
    is there only if one file has both."""

    image: str | None
    features: tuple[str, ...]
    target: str
    split: str | None
    listed: bool = False

    @property
    def needed(self) -> list[str]:
        """The columns to read."""
        return [name for name in (self.image, *self.features, self.target, self.split) if name]

    def told(self, arrays: Arrays) -> Arrays:
        """The same arrays, with the target's column said."""
        return replace(arrays, said=(f"target: column '{shown(self.target)}'",))


@dataclass(frozen=True)
class Named:
    """A split's name in errors, and the room that its rows may take."""

    split: str
    room: Room


@dataclass(frozen=True, eq=False)
class Rows:
    """What was read: inputs ``(N, ...)``, N targets and, if there is the column, split names."""

    x: np.ndarray
    y: Targets
    splits: list[str]


def find_columns(schema: Any, *, one_file: bool) -> Columns:
    """What the columns of an Arrow schema are; `one_file`: a column `split` tells train from test.

    Raises:
        BadInput: several images or labels to choose from, none at all, or a column of no numbers.
    """
    names = list(schema.names)
    refuse_bad_names(names)
    split = SPLIT_COLUMN if one_file and SPLIT_COLUMN in names else None
    others = [name for name in names if name != split]
    types = _feature_types(schema)
    images = [name for name in others if _is_image(schema.field(name).type, types.get(name))]
    labels = [name for name in others if types.get(name) == "ClassLabel"]
    if len(images) > 1:
        raise _ambiguous("images", images)
    for name in images:
        _refuse_no_bytes(name, schema.field(name).type)
    rest = [name for name in others if name not in images]
    target = _target(rest, labels, image_layout=bool(images))
    features = () if images else tuple(name for name in rest if name != target)
    listed = len(features) == 1 and _is_list(schema.field(features[0]).type)
    _refuse_non_numbers(schema, () if listed else features)
    if not _is_text(schema.field(target).type):
        _refuse_non_numbers(schema, (target,))
    if not images and not features:
        raise BadInput(f"the only column is '{target}'; needed: an input and the target")
    return Columns(images[0] if images else None, features, target, split, listed)


def read_rows(columns: Columns, count: int, batches: Iterable[Any], named: Named) -> Rows:
    """`count` rows out of Arrow batches (or tables).

    Raises:
        BadInput: an empty cell, an image that cannot be decoded, lists of several lengths, fewer or more rows
        than
            `count`, or more than there is room for.
    """
    split = named.split
    named.room.take(count * (_ROW_BYTES + 4 * len(columns.features)), f"{count:,} rows of {split}")
    images = ImageStack(count, named.room)
    table = np.empty((count, 0 if columns.listed else len(columns.features)), np.float32)  # (N, 0) for images
    targets: list[np.ndarray] = []
    texts: list[str] = []
    splits: list[str] = []
    row = 0
    for batch in batches:
        end = row + batch.num_rows
        if end > count:
            raise BadInput(f"{split} has more than the {count} rows announced")
        if columns.image:
            _add_images(images, batch.column(columns.image), row, split)
        elif columns.listed:
            table = _add_lists(table, batch.column(columns.features[0]), (row, count), named)
        else:
            for position, name in enumerate(columns.features):
                table[row:end, position] = _numbers(batch, name, row, split)
        if _is_text(batch.column(columns.target).type):
            texts += _texts(batch, columns.target, row, split)
        else:
            targets.append(_numbers(batch, columns.target, row, split))
        splits += _texts(batch, columns.split, row, split) if columns.split else []
        row = end
    if row != count or not count:
        raise BadInput(f"{split} has {row} rows; announced: {count}; needed: at least 1")
    return Rows(images.finish() if columns.image else table, texts or np.concatenate(targets), splits)


def _add_lists(table: np.ndarray, column: Any, place: tuple[int, int], named: Named) -> np.ndarray:
    """The table of lists (N, T) with those of a batch; the first one says T and the type."""
    import pyarrow as pa
    import pyarrow.compute

    (first, count), split = place, named.split
    lengths = np.asarray(pa.compute.list_value_length(column).fill_null(-1))
    width = table.shape[1] if first else (int(lengths[0]) if len(lengths) else 0)
    if (lengths != width).any() or width < 1:
        row = int((lengths != width).argmax())
        found = (
            "is empty" if lengths[row] < 1 else f"has a list of {lengths[row]} numbers, and {width} before"
        )
        raise BadInput(
            f"{split} row {first + row} {found}",
            "bring all lists to one length: cut them, and fill up with the number that stands for padding",
        )
    values = _numbers({"": pa.compute.list_flatten(column)}, "", first * width, split)
    if not first:
        named.room.take(8 * count * width, f"{count:,} lists of {width:,} numbers")
        table = np.empty((count, width), np.int64 if values.dtype.kind in "iu" else np.float32)
    table[first : first + len(lengths)] = values.reshape(-1, width)
    return table


def _texts(batch: Any, name: str, first_row: int, split: str) -> list[str]:
    """The cells of a column. Raises `BadInput` for an empty one, and for texts that are too long for a
    label."""
    import pyarrow as pa
    import pyarrow.compute

    column = batch[name]
    held = column.dictionary if pa.types.is_dictionary(column.type) else column
    if not _is_text(column.type):
        raise BadInput(f"the column '{shown(name)}' is of the type {shown(column.type)}; allowed: texts")
    longest = pa.compute.max(pa.compute.binary_length(held)).as_py() or 0
    if longest > MAX_LABEL:
        raise BadInput(
            f"{split}, column '{shown(name)}' holds a text of {longest:,} bytes;"
            f" allowed in a label: {MAX_LABEL}",
            "name the column of labels 'label'; drop or encode columns of text",
        )
    found: list[str | None] = column.to_pylist()
    if None in found:
        row = first_row + found.index(None)
        raise BadInput(f"{split} row {row}, column '{shown(name)}' is empty", "fill in or drop such rows")
    return [text for text in found if text is not None]


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    held = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(held) or pa.types.is_large_string(held))


def _is_list(kind: Any) -> bool:
    import pyarrow as pa

    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(lists and (pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type)))


def _feature_types(schema: Any) -> dict[str, str]:
    """Column -> feature type, as far as the metadata tell."""
    try:
        metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = metadata.get("info", {}).get("features", {})
        return {name: feature["_type"] for name, feature in features.items() if "_type" in feature}
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise BadInput(f"the schema's metadata 'huggingface' are damaged: {error}") from error


def _is_image(kind: Any, feature: str | None) -> bool:
    import pyarrow as pa

    return feature == "Image" or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _refuse_no_bytes(name: str, kind: Any) -> None:
    import pyarrow as pa

    struct = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    held = kind.field("bytes").type if struct else kind
    if not (pa.types.is_binary(held) or pa.types.is_large_binary(held)):
        raise BadInput(f"the image column '{name}' is of the type {kind}; allowed: binary, or a struct of it")


def _target(rest: list[str], labels: list[str], *, image_layout: bool) -> str:
    named = [name for name in TARGET_NAMES if name in (labels or rest)]
    if len(labels) == 1 or named:
        return (named or labels)[0]
    if labels:
        raise _ambiguous("labels", labels)
    if not rest:
        raise BadInput("there is no target column", "name the target column 'label'")
    if image_layout and len(rest) > 1:
        raise _ambiguous("targets", rest)
    return target_column(rest)


def _ambiguous(what: str, names: list[str]) -> BadInput:
    return BadInput(
        f"several columns could be the {what}: {', '.join(names)}",
        "leave one, or name the target 'label'; file.py:function can choose freely",
    )


def _refuse_non_numbers(schema: Any, names: Iterable[str]) -> None:
    import pyarrow as pa

    for name in names:
        kind = schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            advice = "drop it or store numbers"
            if _is_list(kind):
                advice = "leave one column of lists, such as input_ids, and the label"
            raise BadInput(
                f"the column '{shown(name)}' is of the type {shown(kind)};"
                " allowed: integers, floats and booleans",
                advice,
            )


def _add_images(stack: ImageStack, column: Any, first_row: int, split: str) -> None:
    for row, cell in enumerate(_encoded(column), start=first_row):
        name = f"the image of {split} row {row}"
        if cell is None:
            raise BadInput(f"{name} has no bytes", "store the images themselves, not their paths")
        stack.add(cell, name)


def _encoded(column: Any) -> list[bytes | None]:
    """The encoded images of a column, struct with `bytes` or plain binary; None where there is none."""
    import pyarrow as pa
    import pyarrow.compute

    plain = not pa.types.is_struct(column.type)
    return (column if plain else pa.compute.struct_field(column, "bytes")).to_pylist()


def _numbers(batch: Any, name: str, first_row: int, split: str) -> np.ndarray:
    """One column of a batch as an array. Raises `BadInput` at the first cell that is empty or not finite."""
    column = batch[name]
    bad = np.asarray(column.is_null())
    values = np.asarray(column)
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            bad = bad | ~np.isfinite(values.astype(np.float32))
    if bad.any():
        row = int(bad.argmax())
        cell = column[row].as_py()
        raise BadInput(
            f"{split} row {first_row + row}, column '{name}' is {'empty' if cell is None else cell};"
            " allowed: finite float32 numbers",
            "fill in or drop such rows",
        )
    return values
