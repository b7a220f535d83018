"""The fields of ``qtrain.report/1`` in their order, each with its kind, and the checks of strict reading.

What is read may come from anywhere (an older version, another tool, a hostile artifact), so that every value
is checked for its kind before a record sees it: no ``true`` for 1, no NaN, no integer of a thousand digits.
"""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any

from qtrain_cli.errors import BadInput, suggestion
from qtrain_cli.tasks import TASKS, Task

SCHEMA = "qtrain.report/1"
MAX_WHOLE = 2**63

TEXT, INTEGER, NUMBER, MAYBE = "text", "whole number", "number", "number or null"
TABLE, LIST = "table of texts", "list"
MAYBE_TEXT, MAYBE_WHOLE = "text or null", "whole number or null"
NUMBERS = "table of numbers or null"

_SHA256 = re.compile(r"[0-9a-f]{64}")


def _is_number(value: Any) -> bool:
    return _is_whole(abs(value)) if type(value) is int else type(value) is float and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return type(value) is int and 0 <= value < MAX_WHOLE


_IS_KIND: dict[str, Callable[[Any], bool]] = {
    TEXT: lambda value: isinstance(value, str),
    INTEGER: _is_whole,
    NUMBER: _is_number,
    MAYBE: lambda value: value is None or _is_number(value),
    TABLE: lambda value: isinstance(value, dict) and all(isinstance(text, str) for text in value.values()),
    NUMBERS: lambda value: (
        isinstance(value, dict) and all(one is None or _is_number(one) for one in value.values())
    ),
    LIST: lambda value: isinstance(value, list),
    MAYBE_TEXT: lambda value: value is None or isinstance(value, str),
    MAYBE_WHOLE: lambda value: value is None or _is_whole(value),
}

Fields = tuple[tuple[str, str], ...]

#: The task's figures. The braces are filled with its words: ``test_accuracy`` or ``test_error``.
FIGURES: Fields = (
    ("train_{word}", MAYBE), ("validation_{word}", MAYBE), ("test_{word}", NUMBER), ("test_count", INTEGER),
    ("test_{word}_low", NUMBER), ("test_{word}_high", NUMBER),
    ("teacher_test_{word}", MAYBE), ("teacher_{closeness}", MAYBE),
)  # fmt: skip
_FIELDS: Fields = (
    ("schema", TEXT), ("model", TEXT),
    ("weights", INTEGER), ("kept_weights", INTEGER), ("qubits", INTEGER), ("layers", INTEGER),
    ("circuits", INTEGER),
    ("ansatz", TEXT), ("mapping", TEXT), ("angle_bits", INTEGER), ("trained_numbers", INTEGER),
    ("artifact_bytes", INTEGER), ("model_bytes", INTEGER), ("bytes_ratio", NUMBER),
    ("parameter_ratio", NUMBER),
    *FIGURES,
    ("train_loss", MAYBE), ("test_loss", MAYBE), ("generalization_gap", MAYBE),
    ("seconds", MAYBE), ("epochs", INTEGER), ("seed", INTEGER), ("device", TEXT), ("versions", TABLE),
    ("kept_tensors", TABLE),
    ("data_sha256", TEXT), ("model_sha256", TEXT), ("artifact_sha256", TEXT), ("trust", TEXT),
    ("figure_note", MAYBE_TEXT),
    ("weights_entry", MAYBE_TEXT), ("output", MAYBE_TEXT), ("skipped_rows", MAYBE_WHOLE), ("precision", TEXT),
    ("processes", INTEGER),
    ("target", MAYBE_TEXT), ("base", MAYBE_TEXT), ("base_sha256", MAYBE_TEXT),
    ("finetune_bytes", MAYBE_WHOLE), ("lora_numbers", MAYBE_WHOLE), ("seeded_layers", INTEGER),
)  # fmt: skip
#: What any task has by the same names, last; those of `_FOLLOW` follow from the others.
_GENERAL: Fields = (
    ("trivial", MAYBE), ("metrics", NUMBERS),
    ("task", TEXT), ("metric", TEXT), ("metric_value", NUMBER), ("metric_low", NUMBER),
    ("metric_high", NUMBER), ("teacher_metric_value", MAYBE),
)  # fmt: skip
_FOLLOW = {name for name, _ in _GENERAL} - {"trivial", "metrics"}
#: Fields that records of earlier versions lack, each with what their absence means.
ADDED: dict[str, Any] = {
    "kept_tensors": {},
    "figure_note": None,
    "weights_entry": None,
    "output": None,
    "skipped_rows": None,
    "precision": "float32",
    "processes": 1,
    "temperature_end": None,
    "target": None,
    "base": None,
    "base_sha256": None,
    "finetune_bytes": None,
    "lora_numbers": None,
    "seeded_layers": 0,
    "trivial": None,
    "metrics": {},
}


def record_fields(task: Task) -> dict[str, str]:
    """The JSON's field names in their order, each with its kind, for one task."""
    return named_fields(_FIELDS, task)


def named_fields(fields: Fields, task: Task) -> dict[str, str]:
    """Field names with a task's words, each with its kind, in their order; last those of any task."""
    return {task.named(name): kind for name, kind in (*fields, *_GENERAL)}


def task_of_fields(document: Mapping[str, Any]) -> Task:
    """The row that a document names, or whose figures most of its field names hold; the first row where none
    does."""
    name = document.get("task")
    if isinstance(name, str) and name in TASKS:
        return TASKS[name]
    told = (row for row in TASKS.values() if row.told_by_word)
    return max(told, key=lambda row: len(document.keys() & named_fields(FIGURES, row).keys()))


def checked_document(document: Any, kinds: Mapping[str, str], schema: str = SCHEMA) -> dict[str, Any]:
    """A document, once it has exactly these fields, each of its kind; what came later is filled in.

    Raises `BadInput`.
    """
    if not isinstance(document, dict):
        raise BadInput("the record is not a JSON object", "give the output of: qtrain report --json")
    if document.get("schema") != schema:
        found = reprlib.repr(document.get("schema"))
        raise BadInput(f"the record has the schema {found}; this version reads '{schema}'", "make it anew")
    document = {**{name: value for name, value in ADDED.items() if name in kinds}, **document}
    for name in kinds:
        if name not in document and name not in _FOLLOW:
            raise BadInput(f"the record lacks the field '{name}'", "make it anew with: qtrain report --json")
    for name, value in document.items():
        if name not in kinds:
            raise BadInput(f"the record has the unknown field {reprlib.repr(name)}", suggestion(name, kinds))
        check_kind(f"'{name}'", kinds[name], value)
    return document


def check_derived(derived: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse a record whose ratios, interval or gap do not follow from its own figures. Raises `BadInput`."""
    for name, expected in derived.items():
        found = given.get(name, expected)
        same = found == expected
        if isinstance(expected, float) and found is not None:
            # A writer may have printed more or fewer digits than the seven of this version.
            same = math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-9)
        if not same:
            raise BadInput(f"'{name}' is {found}, and the record's other figures give {expected}")


def check_kind(what: str, kind: str, value: Any) -> None:
    """Raises `BadInput` for a value of another kind."""
    if not _IS_KIND[kind](value):
        raise BadInput(f"{what} of the record is {reprlib.repr(value)}; expected: a {kind}")


def check_digest(name: str, value: str) -> None:
    """Raises `BadInput` for what is no SHA-256 in lower-case hexadecimal digits."""
    if not _SHA256.fullmatch(value):
        raise BadInput(f"{name} is {reprlib.repr(value)}; expected: 64 hexadecimal digits")


def check_whole(name: str, value: int, least: int) -> None:
    """Raises `BadInput` for a count below `least` or above 2**63 - 1."""
    if not least <= value < MAX_WHOLE:
        raise BadInput(f"{name} is {reprlib.repr(value)}; allowed: {least} to {MAX_WHOLE - 1}")
