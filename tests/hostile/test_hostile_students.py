"""Students' files whose facts are of another kind than they should be: refused, and never a fault of ours."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from qtrain_cli.artifact.container import canonical, container_of, read_container
from qtrain_cli.artifact.numbers import file_of
from qtrain_cli.artifact.payload import join_payload, opened
from qtrain_cli.artifact.student import read_student_record, student_parts
from qtrain_cli.artifact.student_file import decode_student
from qtrain_cli.errors import BadInput, Refused

FORMATS = Path(__file__).parents[1] / "formats"
HONEST = FORMATS / "5-student-hybrid.qtrain"
#: In the place of any value.
WRONG = (None, True, -1, 2**70, 1e308, "", "x", [], [None], {}, {"a": None})


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value inside of another."""
    if path:
        yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """The same value with another one in one place."""
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = new
    return copy


def rewritten() -> tuple[Any, Callable[[Any], bytes]]:
    """The facts of an honest file, and the file of other facts with the same numbers and a right checksum."""
    container = read_container(HONEST)
    parts, numbers = opened(container, canonical), student_parts(container)[1]

    def file(facts: Any) -> bytes:
        return file_of(join_payload(parts.digest, canonical(facts), parts.probes, parts.origin, b"", numbers))

    return parts.facts, file


def test_the_file_of_the_same_facts_is_the_honest_one() -> None:
    facts, file = rewritten()
    assert file(facts) == HONEST.read_bytes()


@pytest.mark.parametrize(("field", "new"), [("align", "x"), ("align_loss", "x"), ("align_weight", 0.5)])
def test_an_alignment_in_part_is_refused(field: str, new: Any) -> None:
    facts, file = rewritten()
    with pytest.raises(Refused, match="an alignment has a layer, a loss and a weight"):
        decode_student(container_of(HONEST, file(changed(facts, ("plan", "lesson", field), new))))


@pytest.mark.parametrize("new", WRONG, ids=repr)
def test_no_fact_of_another_kind_is_a_fault(tmp_path: Path, new: Any) -> None:
    facts, file = rewritten()
    for path in places(facts):
        try:
            data = file(changed(facts, path, new))
        except ValueError:  # JSON has no such number
            continue
        if data == HONEST.read_bytes():
            continue
        try:
            decode_student(container_of(HONEST, data))
            (tmp_path / "student.qtrain").write_bytes(data)
            read_student_record(tmp_path / "student.qtrain").to_json()
        except (BadInput, Refused) as error:
            assert "\n" not in error.message and len(error.message) <= 500
