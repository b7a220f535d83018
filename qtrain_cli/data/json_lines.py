"""JSON lines: an object a line, as in ``{"text": "a good film", "label": 1}``.

    folder/[data/]train.jsonl | train-*.jsonl | train/*.jsonl      test and validation likewise

(`split_files`), or one file with a key `split`. The endings ``.json`` and ``.ndjson`` are read too, and
there a whole list of objects. What the keys mean is said by the rules of Parquet (`arrow_columns`): a file is
read twice, once for the kinds of its values and once for the values.

    true, false      boolean          "text"      text
    3                int64            [3, 17]     a list of numbers, int64 or float64, or of texts
    0.5              float64          null        an empty cell

A column has the kind of most of its cells; a whole number is a float in a column of floats. Another cell is a
damaged row, and so is a line that is no object.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.arrow import BATCH_ROWS, Cut, Table, read_one, read_tables
from qtrain_cli.data.arrow_columns import Columns
from qtrain_cli.data.columns import NEEDED_SPLITS, SPLIT_COLUMN, splits_there
from qtrain_cli.data.damage import DamagedRow
from qtrain_cli.data.request import Request
from qtrain_cli.data.room import shown
from qtrain_cli.data.split_files import refuse_missing_shards, split_files
from qtrain_cli.errors import BadInput, first_line, missing_package
from qtrain_cli.files.reading import open_ordinary

ENDINGS = (".jsonl", ".ndjson", ".json")
#: Bytes of a line, objects of Python that one becomes for each of its bytes at most, and keys of all objects.
MOST_LINE, _EACH_BYTE, MOST_KEYS = 2**26, 16, 10_000
#: Kinds of cells, the narrower of two that go together first.
_WIDER = {("int", "float"): "float", ("ints", "floats"): "floats"}
#: A line's number, counted from 1, and its object.
Numbered = tuple[int, dict[str, Any]]


def matches(source: str) -> bool:
    """True for a file with one of the endings, and for a folder that holds any at the places above."""
    path = Path(source)
    if path.is_dir():
        return any(_files(path, split) for split in NEEDED_SPLITS)
    return path.suffix in ENDINGS and path.is_file()


def read(source: str, request: Request) -> Arrays:
    """The arrays. Raises `BadInput` that names file, line and column."""
    path = Path(source)
    if not path.is_dir():
        no_split = BadInput(
            f"no object has a key '{SPLIT_COLUMN}', so the file has no test rows",
            "add one, or give a folder with train.jsonl and test.jsonl",
        )
        return read_one(_table([path], request), request, no_split)
    splits = splits_there(
        lambda name: bool(_files(path, name)), request.splits, "{} split",
        "the folder needs train.jsonl and test.jsonl, or --split test=NAME",
    )  # fmt: skip
    tables = {}
    for role, name in splits.items():
        paths = _files(path, name)
        refuse_missing_shards(name, paths)
        tables[role] = _table(paths, request)
    return read_tables(tables, request, "the files differ in their keys, or in the kinds of their values")


def _files(folder: Path, split: str) -> list[Path]:
    return split_files(folder, split, ENDINGS, ENDINGS[:2])  # .json lies in folders of many kinds


def objects(path: Path, request: Request, damaged: Callable[[DamagedRow], None]) -> Iterator[Numbered]:
    """The objects of a file. Lines that are none go to `damaged`. Raises `BadInput` for what is too large."""
    with open_ordinary(path) as file:
        start = file.peek(64).lstrip()[:1]  # type: ignore[attr-defined]
        if start == b"[" and path.suffix == ".json":
            yield from _of_list(path, request)
            return
        number = 0
        while line := file.readline(MOST_LINE + 1):
            number += 1
            if len(line) * _EACH_BYTE > request.room.most or len(line) > MOST_LINE:
                raise BadInput(f"{path.name} line {number} has more than {len(line) - 1:,} bytes", "cut it")
            if line.strip():
                try:
                    yield number, _object(line, f"{path.name} line {number}")
                except DamagedRow as error:
                    damaged(error)


def _of_list(path: Path, request: Request) -> Iterator[Numbered]:
    request.room.take(path.stat().st_size * _EACH_BYTE, f"the objects of {path.name}")
    try:
        rows = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{path.name} is no JSON: {first_line(error)}", "write an object a line") from None
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict):
            raise BadInput(f"{path.name} holds a list of {type(row).__name__}", "write an object a line")
        yield number, row


def _object(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DamagedRow(f"{where} is no JSON: {first_line(error)}", "write an object a line") from None
    if not isinstance(found, dict):
        raise DamagedRow(f"{where} is a {type(found).__name__} and no object", "write an object a line")
    return found


# --- as Arrow ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Outline:
    """What the first reading found: the kind of each key's values, and how many rows there are."""

    kinds: dict[str, str]
    rows: int


def _table(paths: Sequence[Path], request: Request) -> Table:
    try:
        import pyarrow as pa
    except ImportError:
        raise missing_package("reading JSON lines", "pyarrow", "data") from None
    outline = _outline(paths, request)
    types = {
        "bool": pa.bool_(), "int": pa.int64(), "float": pa.float64(), "text": pa.string(),
        "ints": pa.list_(pa.int64()), "floats": pa.list_(pa.float64()), "texts": pa.list_(pa.string()),
        "other": pa.null(),
    }  # fmt: skip
    schema = pa.schema([(key, types[kind]) for key, kind in outline.kinds.items()])

    def cuts(columns: Columns) -> Iterable[Cut]:
        wanted = pa.schema([schema.field(name) for name in dict.fromkeys(columns.needed)])
        for path in paths:
            yield from _cuts(path, wanted, outline, request)

    return Table((schema,), lambda columns: outline.rows, cuts)


def _outline(paths: Sequence[Path], request: Request) -> _Outline:
    kinds: dict[str, Counter[str]] = {}
    rows = 0
    for path in paths:
        for _, row in objects(path, request, request.damage.found):
            rows += 1
            for key, value in row.items():
                kinds.setdefault(key, Counter())[_kind(value)] += 1
            if len(kinds) > MOST_KEYS:
                raise BadInput(
                    f"{path.name} has objects of more than {MOST_KEYS:,} keys", "write tables as such"
                )
    return _Outline({key: _most(found) for key, found in kinds.items()}, rows)


def _kind(value: Any) -> str:
    """What a value is, of the table above; an empty one is ``null``, what has no place there ``other``."""
    plain = {bool: "bool", float: "float", str: "text", type(None): "null"}.get(type(value))
    if plain or not isinstance(value, (int, list)):
        return plain or "other"
    numbers = value if isinstance(value, list) else [value]
    many = "s" if isinstance(value, list) else ""
    if numbers and all(type(one) is str for one in numbers):
        return "texts"
    if all(type(one) is int and -(2**63) <= one < 2**63 for one in numbers):
        return f"int{many}"
    return "floats" if many and all(type(one) in (int, float) for one in numbers) else "other"


def _most(found: Counter[str]) -> str:
    """The kind of a column."""
    told = Counter({kind: count for kind, count in found.items() if kind != "null"})
    for (narrow, wide), both in _WIDER.items():
        if told[narrow] and told[wide]:
            told[both] += told.pop(narrow)
    return told.most_common(1)[0][0] if told else "other"


def _cuts(path: Path, wanted: Any, outline: _Outline, request: Request) -> Iterator[Cut]:
    found = objects(path, request, lambda error: None)  # the first reading counted those that are none
    while rows := list(itertools.islice(found, BATCH_ROWS)):
        yield _cut(path, rows, wanted, outline)


def _fitting(value: Any, kind: str) -> tuple[Any, str]:
    """A cell as its column has it; one of another kind is empty, and what is wrong with it is said."""
    found = _kind(value)
    if found not in (kind, "null") and _WIDER.get((found, kind)) != kind:
        return None, f"is {shown(json.dumps(value))}; the others hold {_WORDS[kind]}"
    return (_widened(value) if found in ("int", "ints") and found != kind else value), ""


def _widened(value: Any) -> float | list[float]:
    """Whole numbers in a column of floats, the large ones rounded, as CSV has them."""
    return float(value) if isinstance(value, int) else list(map(float, value))


_WORDS = {
    "bool": "true or false", "int": "whole numbers", "float": "numbers", "text": "texts",
    "ints": "lists of whole numbers", "floats": "lists of numbers", "texts": "lists of texts",
    "other": "nothing that can be read",
}  # fmt: skip


def _cut(path: Path, rows: list[Numbered], wanted: Any, outline: _Outline) -> Cut:
    import pyarrow as pa

    columns, wrong = dict[str, list[Any]](), dict[tuple[int, str], str]()
    for name in wanted.names:
        fitted = [_fitting(row.get(name), outline.kinds[name]) for _, row in rows]
        columns[name] = [value for value, _ in fitted]
        wrong |= {(place, name): said for place, (_, said) in enumerate(fitted) if said}
    batch = pa.RecordBatch.from_pydict(columns, schema=wanted)
    return Cut(path.name, 0, batch, tuple(line for line, _ in rows), wrong)
