"""A comparison as it lies in its state folder, ``comparison.json``: the document of `compare --json`, and its
strict reading.

A page shows it beside the artifact of the same model, so that what is read may come from anywhere: every
value that is used is checked for its kind, and there are no more of them than a comparison has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtrain_cli.errors import BadInput
from qtrain_cli.results.comparison import COMPARISON
from qtrain_cli.results.schema import (
    INTEGER,
    LIST,
    MAYBE,
    NUMBER,
    TEXT,
    check_digest,
    check_kind,
    task_of_fields,
)

COMPARISON_FILE = "comparison.json"
_MOST_ROWS, _MOST_METHODS = 10_000, 100
_WHOLE = {
    "model": TEXT, "task": TEXT, "test_count": INTEGER, "model_bytes": INTEGER, "epochs": INTEGER,
    "seeds": LIST, "budgets": LIST, "methods": LIST, "points": LIST, "verdict": LIST, "trivial": MAYBE,
}  # fmt: skip
_METHOD = {"name": TEXT, "summary": TEXT, "trained": TEXT, "tuned": TEXT}
_POINT = {
    "method": TEXT, "budget": INTEGER, "mean": NUMBER, "spread": MAYBE, "low": NUMBER, "high": NUMBER,
    "file_bytes": INTEGER, "numbers": INTEGER, "lr": NUMBER, "bits": INTEGER,
}  # fmt: skip


def checked_comparison(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The document, once all that is shown of it is what it should be. Raises `BadInput`."""
    if document.get("schema") != COMPARISON:
        raise BadInput("this is no comparison", "make it with: qtrain compare")
    _check_kinds(document, _WHOLE)
    for name in ("model_sha256", "data_sha256"):
        check_digest(name, str(document.get(name)))
    for name, kinds in (("methods", _METHOD), ("points", _POINT)):
        for row in _few(document, name):
            _check_kinds(row if isinstance(row, dict) else {}, kinds)
    if not all(type(row.get("control")) is bool for row in document["methods"]):
        raise BadInput("a method of the comparison is a control or not")
    for name, kind in (("budgets", INTEGER), ("seeds", INTEGER), ("verdict", TEXT)):
        for value in _few(document, name):
            check_kind(f"'{name}' of the comparison", kind, value)
    check_kind("the teacher's figure", MAYBE, teacher_figure(document))
    if not all(budget > 0 for budget in document["budgets"]):
        raise BadInput("a budget of the comparison is 0")
    _check_once("a budget", document["budgets"])
    _check_once("a method", [row["name"] for row in document["methods"]])
    _check_once("a point", [(point["method"], point["budget"]) for point in document["points"]])
    return document


def teacher_figure(document: Mapping[str, Any]) -> float | None:
    """The teacher's test figure; None where it has none."""
    figure: float | None = document.get(f"teacher_test_{task_of_fields(document).word}")
    return figure


def points_of(document: Mapping[str, Any], method: str) -> list[Mapping[str, Any]]:
    """A method's points by budget, the smallest first."""
    own = [point for point in document["points"] if point["method"] == method]
    return sorted(own, key=lambda point: point["budget"])


def _check_kinds(values: Mapping[str, Any], kinds: Mapping[str, str]) -> None:
    for name, kind in kinds.items():
        check_kind(f"'{name}' of the comparison", kind, values.get(name))


def _few(document: Mapping[str, Any], name: str) -> list[Any]:
    rows: list[Any] = document[name]
    most = _MOST_METHODS if name == "methods" else _MOST_ROWS
    if len(rows) > most:
        raise BadInput(f"the comparison has {len(rows)} {name}; allowed: {most}")
    return rows


def _check_once(what: str, rows: Sequence[Any]) -> None:
    """A page has each of them times others, so that repeated ones would fill the memory."""
    if len(set(rows)) < len(rows):
        raise BadInput(f"{what} of the comparison is there twice")
