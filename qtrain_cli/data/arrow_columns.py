"""Which column of an Arrow schema is what, in the layouts of the Hugging Face hub.

The schema's metadata key `huggingface` names the feature types, ``{"info": {"features": {column: {"_type":
"Image" | "ClassLabel" | ...}}}}``; without it an image is a struct with the field `bytes`.

    image layout     one image column; the target is the one ClassLabel column, else the one called target,
                     label or y, else the only other; the rest is left out
    text layout      one or two columns of texts, which are a pair; the target likewise; the rest is left out
    tabular layout   every other column is a number; the target as above, else the last
    lists            the only other column holds lists of numbers
    words            lists of texts, and a target that is a list of labels (`words`); the rest is left out

`--columns` names inputs and target where that is not so, and then nothing else is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.columns import SPLIT_COLUMN, TARGET_NAMES, Roles, refuse_bad_names, target_column
from qtrain_cli.data.room import shown
from qtrain_cli.errors import BadInput

_CHOOSE = "name them: --columns label=NAME, image=NAME, text=NAME,text2=NAME, tokens=NAME or table=A+B"


@dataclass(frozen=True)
class Columns:
    """Which column is what. Inputs are `image`, `texts` (one or two) or `features` (the only one may hold
    lists: `listed`), or `words` with the labels' names `declared`; `split` is there only if one file has
    several."""

    image: str | None
    features: tuple[str, ...]
    target: str
    split: str | None
    listed: bool = False
    texts: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    words: str | None = None
    declared: tuple[str, ...] = ()

    @property
    def needed(self) -> list[str]:
        """The columns to read."""
        named = (self.image, self.words, *self.texts, *self.features, self.target, self.split)
        return [name for name in named if name]

    def told(self, arrays: Arrays) -> Arrays:
        """The same arrays, with the target's column said, and for texts what is read and what is not."""
        said = [f"target: column '{shown(self.target)}'"]
        if self.texts:
            said.insert(0, "text: column " + " and ".join(f"'{shown(name)}'" for name in self.texts))
        if self.words:
            said.insert(0, f"words: column '{shown(self.words)}', whose first token has the label")
        if (self.texts or self.words) and self.left_out:
            said.append("left out: " + ", ".join(map(shown, self.left_out)))
        return replace(arrays, said=(*arrays.said, *said))


def find_columns(schema: Any, roles: Roles, *, one_file: bool) -> Columns:
    """What the columns of an Arrow schema are; `one_file`: a column `split` tells the splits apart.

    Raises:
        BadInput: several images, texts or labels to choose from, none at all, a column of no numbers, or one
            that was named and is not there.
    """
    names = list(schema.names)
    refuse_bad_names(names, roles)
    split = roles.split or (SPLIT_COLUMN if one_file and SPLIT_COLUMN in names else None)
    others = [name for name in names if name != split]
    types = _feature_types(schema)
    images = _images(schema, types, others, roles)
    rest = [name for name in others if name not in (images or roles.inputs)]
    labels = [name for name in others if types.get(name) == "ClassLabel"]
    alone = bool(images or roles.inputs)
    target = roles.label or _target(rest, labels, alone=alone)
    words = _words(schema, list(roles.inputs) or [name for name in rest if name != target])
    if words and not images and _are_labels(schema.field(target).type):
        return _of_words(words, Columns(None, (), target, split), rest, schema)
    if not _is_text(schema.field(target).type):
        _refuse_non_numbers(schema, (target,))
    if images:
        _refuse_no_bytes(images[0], schema.field(images[0]).type)
        return Columns(images[0], (), target, split)
    inputs = list(roles.inputs) or [name for name in rest if name != target]
    if not inputs:
        raise BadInput(
            f"the only column is '{target}'; needed: an input and the target",
            "add the other columns to the file, or name another target: --columns label=NAME",
        )
    texts = [name for name in inputs if _is_text(schema.field(name).type)]
    if texts:
        return _of_texts(texts, inputs, roles, Columns(None, (), target, split))
    listed = len(inputs) == 1 and _is_list(schema.field(inputs[0]).type)
    _refuse_non_numbers(schema, () if listed else inputs)
    return Columns(None, tuple(inputs), target, split, listed)


def _of_texts(texts: list[str], inputs: list[str], roles: Roles, columns: Columns) -> Columns:
    """The same columns with one text or a pair of them as the inputs."""
    wrong = [name for name in roles.inputs if name not in texts]
    if wrong:
        raise BadInput(f"--columns names '{shown(wrong[0])}' beside texts, and it holds none", _CHOOSE)
    if len(texts) > 2 or roles.table:
        raise _ambiguous("text", texts)
    left_out = tuple(name for name in inputs if name not in texts)
    return replace(columns, texts=tuple(texts), left_out=left_out)


def _of_words(words: list[str], columns: Columns, rest: list[str], schema: Any) -> Columns:
    """The same columns with lists of words as the input. Raises `BadInput` for several of them."""
    if len(words) > 1:
        raise _ambiguous("words", words)
    left_out = tuple(name for name in rest if name not in (words[0], columns.target))
    return replace(
        columns, words=words[0], left_out=left_out, declared=_declared(_features(schema).get(columns.target))
    )


def _words(schema: Any, names: list[str]) -> list[str]:
    """Those of the columns that hold lists of texts."""
    return [name for name in names if _is_words(schema.field(name).type)]


def _is_words(kind: Any) -> bool:
    return _holds_list(kind) and _is_text(kind.value_type)


def _are_labels(kind: Any) -> bool:
    import pyarrow as pa

    return _holds_list(kind) and (_is_text(kind.value_type) or pa.types.is_integer(kind.value_type))


def _holds_list(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _declared(feature: Any) -> tuple[str, ...]:
    """The names of a list of class labels, by its feature; none where it has none."""
    inner = feature.get("feature", feature) if isinstance(feature, dict) else None
    inner = inner.get("feature", inner) if isinstance(inner, dict) else None
    names = inner.get("names") if isinstance(inner, dict) else None
    return tuple(map(str, names)) if isinstance(names, list) else ()


def _images(schema: Any, types: dict[str, str], others: list[str], roles: Roles) -> list[str]:
    """The one column of images, if there is one."""
    if roles.image:
        return [roles.image]
    if roles.inputs:
        return []
    found = [
        name for name in others if _is_image(schema.field(name).type, types.get(name)) and name != roles.label
    ]
    if len(found) > 1:
        raise _ambiguous("images", found)
    return found


def is_texts(column: Any) -> bool:
    """Whether an Arrow column holds texts, encoded as a dictionary or not."""
    return _is_text(column.type)


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
    found = _features(schema)
    return {name: one["_type"] for name, one in found.items() if isinstance(one, dict) and "_type" in one}


def _features(schema: Any) -> dict[str, Any]:
    """Column -> what the metadata say of it."""
    try:
        metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        return dict(metadata.get("info", {}).get("features", {}))
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise BadInput(
            f"the schema's metadata 'huggingface' are damaged: {error}",
            "write the file again without them: schema.remove_metadata()",
        ) from error


def _is_image(kind: Any, feature: str | None) -> bool:
    import pyarrow as pa

    return feature == "Image" or (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0)


def _refuse_no_bytes(name: str, kind: Any) -> None:
    import pyarrow as pa

    struct = pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0
    held = kind.field("bytes").type if struct else kind
    if not (pa.types.is_binary(held) or pa.types.is_large_binary(held)):
        raise BadInput(
            f"the image column '{name}' is of the type {kind}; allowed: binary, or a struct of it",
            "store the bytes of the pictures, as datasets.Image() does",
        )


def _target(rest: list[str], labels: list[str], *, alone: bool) -> str:
    """The target's column. `alone`: the inputs are known, so that of several others none is taken for it."""
    named = [name for name in TARGET_NAMES if name in (labels or rest)]
    if len(labels) == 1 or named:
        return (named or labels)[0]
    if labels:
        raise _ambiguous("labels", labels)
    if not rest:
        raise BadInput("there is no target column", "name the target column 'label'")
    if alone and len(rest) > 1:
        raise _ambiguous("targets", rest)
    return target_column(rest)


def _ambiguous(what: str, names: list[str]) -> BadInput:
    return BadInput(f"several columns could be the {what}: {', '.join(map(shown, names))}", _CHOOSE)


def _refuse_non_numbers(schema: Any, names: Iterable[str]) -> None:
    import pyarrow as pa

    for name in names:
        kind = schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            advice = "drop it or store numbers"
            if _is_list(kind):
                advice = (
                    "leave one column of lists, such as input_ids, and the label, or --columns tokens=NAME"
                )
            raise BadInput(
                f"the column '{shown(name)}' is of the type {shown(kind)};"
                " allowed: integers, floats and booleans",
                advice,
            )
