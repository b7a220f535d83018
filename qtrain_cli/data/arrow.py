"""Arrow batches -> inputs and targets of one split; `arrow_columns` says what the columns are.

    image layout     decoded to uint8 (N, C, H, W)
    words            the same, with a label for the first token of each word (`words`)
    text layout      token numbers (N, L) by the model's tokenizer (`tokens`)
    tabular layout   float32 (N, features)
    lists            of numbers, all of one length T: (N, T), whole ones int64

The target is numbers, or texts that are labels (`labels`). A row with a cell that cannot be read names file,
row and column, and is left out where damaged rows may be (`damage`).

An image that is only a path is refused: following it would read files that the data set's author chose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.arrow_columns import Columns, find_columns, is_texts
from qtrain_cli.data.columns import SplitPart, Targets, arrays_of, divide
from qtrain_cli.data.damage import DamagedRow
from qtrain_cli.data.images import ImageStack
from qtrain_cli.data.labels import MAX_LABEL
from qtrain_cli.data.request import Request
from qtrain_cli.data.room import shown
from qtrain_cli.data.tokens import TokenStack
from qtrain_cli.data.words import WordRows
from qtrain_cli.errors import BadInput

#: Rows decoded at once: small enough that encoded photographs of a batch stay in the tens of megabytes.
BATCH_ROWS = 512
#: What a row takes besides its numbers: its target, and objects of Python for texts.
_ROW_BYTES = 16
_LISTS = "bring all lists to one length: cut them, and fill up with the number that stands for padding"


@dataclass(frozen=True)
class Cut:
    """A batch, and where its rows stand: `file` for messages, rows counted in it from `first` on, or the
    lines by number. `wrong` says what is wrong with cells that are empty here: (row, column) -> words."""

    file: str
    first: int
    batch: Any
    lines: tuple[int, ...] = ()
    wrong: Mapping[tuple[int, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A split as Arrow: the schemas of its files, how many rows are announced, its batches of some
    columns."""

    schemas: tuple[Any, ...]
    count: Callable[[Columns], int]
    cuts: Callable[[Columns], Iterable[Cut]]


@dataclass(frozen=True, eq=False)
class Rows:
    """What was read: inputs ``(N, ...)``, N targets and, if there is the column, split names."""

    x: np.ndarray
    y: Targets
    splits: list[str]


def read_tables(tables: Mapping[str, Table], request: Request, differing: str) -> Arrays:
    """The arrays of the splits by role. Raises `BadInput` for columns that differ, and as `read_rows`."""
    schemas = [schema for table in tables.values() for schema in table.schemas]
    first, *others = (find_columns(schema, request.roles, one_file=False) for schema in schemas)
    if any(other != first for other in others):
        raise BadInput(differing, "write all of them with the same columns")
    parts: dict[str, SplitPart] = {}
    for role, table in tables.items():
        rows = read_rows(first, table.count(first), table.cuts(first), request, role)
        parts[role] = (rows.x, rows.y)
    return first.told(arrays_of(parts))


def read_one(table: Table, request: Request, no_split: BadInput) -> Arrays:
    """The arrays of one file with a column that tells the splits. Raises `no_split` where there is none."""
    columns = find_columns(table.schemas[0], request.roles, one_file=True)
    if columns.split is None:
        raise no_split
    rows = read_rows(columns, table.count(columns), table.cuts(columns), request, "file")
    return columns.told(divide(rows.x, rows.y, rows.splits, request.splits, request.damage.count))


def read_rows(columns: Columns, count: int, cuts: Iterable[Cut], request: Request, split: str) -> Rows:
    """`count` rows out of Arrow batches, but for damaged ones that may be left out.

    Raises:
        BadInput: an empty cell, an image that cannot be decoded, lists of several lengths, fewer or more rows
            than `count`, or more than there is room for.
    """
    request.room.take(count * (_ROW_BYTES + 4 * len(columns.features)), f"{count:,} rows of {split}")
    before, seen = request.damage.count, 0
    inputs = _INPUTS[_kind_of(columns)](columns, count, request)
    targets: list[np.ndarray] = []
    texts: list[str] = []
    splits: list[str] = []
    for cut in cuts:
        seen += cut.batch.num_rows
        if seen > count:
            raise BadInput(f"{split} has more than the {count} rows announced", "write the file again")
        sieve = _Sieve(cut, request)
        if not columns.words:
            sieve.look(columns.target, _no_labels if is_texts(cut.batch[columns.target]) else _no_numbers)
        if columns.split:
            sieve.look(columns.split, _no_labels)
        inputs.add(sieve)
        target = cut.batch[columns.target]
        if columns.words:
            pass  # the labels are taken with the words
        elif is_texts(target):
            texts += sieve.kept(target).to_pylist()
        else:
            targets.append(np.asarray(sieve.kept(target)))
        splits += sieve.kept(cut.batch[columns.split]).to_pylist() if columns.split else []
    left_out = request.damage.count - before
    if seen != count or count <= left_out:
        raise BadInput(
            f"{split} has {seen} rows; announced: {count}; needed: at least 1 that can be read",
            "write the file again, with at least one whole row",
        )
    x = inputs.finish(left_out)
    if columns.words:
        return Rows(x, inputs.targets(x.shape[1]), splits)
    return Rows(x, texts or np.concatenate(targets), splits)


#: (column, its name) -> which cells are bad (n,), and what is wrong with the cell at a place and what helps.
_Look = Callable[[Any], tuple[np.ndarray, Callable[[int], tuple[str, str]]]]


class _Sieve:
    """The rows of a batch that are good so far."""

    def __init__(self, cut: Cut, request: Request) -> None:
        self.cut, self.request = cut, request
        self.good = np.ones(cut.batch.num_rows, bool)

    def look(self, name: str, look: _Look) -> None:
        """Drops the rows with a bad cell in a column, or raises `DamagedRow` at the first."""
        bad, tell = look(self.cut.batch[name])
        for place in np.flatnonzero(bad & self.good):
            what, advice = tell(int(place))
            what = self.cut.wrong.get((int(place), name), what)
            self.drop(int(place), DamagedRow(f"{self.place(int(place), name)} {what}", advice))

    def drop(self, place: int, error: DamagedRow) -> None:
        """Drops one row, or raises the error."""
        self.request.damage.found(error)
        self.good[place] = False

    def place(self, row: int, column: str) -> str:
        """How a cell is called: file, row from 0 or line from 1, column."""
        cut = self.cut
        number = f"line {cut.lines[row]}" if cut.lines else f"row {cut.first + row}"
        return f"{cut.file} {number}, column '{shown(column)}'"

    def kept(self, column: Any) -> Any:
        """The good rows of a column."""
        import pyarrow as pa

        return column if self.good.all() else column.filter(pa.array(self.good))


# --- inputs ------------------------------------------------------------------------------------------------


class _Images:
    def __init__(self, columns: Columns, count: int, request: Request) -> None:
        self.column, self.stack = columns.image or "", ImageStack(count, request.room, request.pictures)

    def add(self, sieve: _Sieve) -> None:
        for row, cell in enumerate(_encoded(sieve.cut.batch[self.column])):
            if not sieve.good[row]:
                continue
            name = sieve.place(row, self.column)
            try:
                if cell is None:
                    raise DamagedRow(f"{name} has no bytes", "store the images themselves, not their paths")
                self.stack.add(cell, name)
            except DamagedRow as error:
                sieve.drop(row, error)

    def finish(self, left_out: int) -> np.ndarray:
        return self.stack.finish(left_out)


class _TextRows:
    def __init__(self, columns: Columns, count: int, request: Request) -> None:
        self.columns, self.stack = columns.texts, TokenStack(request.texts, request.room, columns.texts[0])

    def add(self, sieve: _Sieve) -> None:
        for name in self.columns:
            sieve.look(name, _no_texts)
        columns = [sieve.kept(sieve.cut.batch[name]).to_pylist() for name in self.columns]
        self.stack.add(list(zip(*columns, strict=True)))

    def finish(self, left_out: int) -> np.ndarray:
        return self.stack.finish()


class _Numbers:
    def __init__(self, columns: Columns, count: int, request: Request) -> None:
        self.columns, self.filled = columns.features, 0
        self.table = np.empty((count, len(columns.features)), np.float32)

    def add(self, sieve: _Sieve) -> None:
        for name in self.columns:
            sieve.look(name, _no_numbers)
        end = self.filled + int(sieve.good.sum())
        for position, name in enumerate(self.columns):
            self.table[self.filled : end, position] = np.asarray(sieve.kept(sieve.cut.batch[name]))
        self.filled = end

    def finish(self, left_out: int) -> np.ndarray:
        return self.table[: self.filled]


class _Lists:
    """The table (N, T) of lists; the first good one says T and the type."""

    def __init__(self, columns: Columns, count: int, request: Request) -> None:
        self.column, self.count, self.room, self.filled = columns.features[0], count, request.room, 0
        self.table = np.empty((count, 0), np.float32)

    def add(self, sieve: _Sieve) -> None:
        import pyarrow as pa
        import pyarrow.compute

        sieve.look(self.column, self._other_length)
        kept = sieve.kept(sieve.cut.batch[self.column])
        values = np.asarray(pa.compute.list_flatten(kept))
        if not self.table.shape[1] and len(kept):
            width = len(values) // len(kept)
            self.room.take(8 * self.count * width, f"{self.count:,} lists of {width:,} numbers")
            self.table = np.empty((self.count, width), np.int64 if values.dtype.kind in "iu" else np.float32)
        self.table[self.filled : self.filled + len(kept)] = values.reshape(len(kept), -1)
        self.filled += len(kept)

    def _other_length(self, column: Any) -> tuple[np.ndarray, Callable[[int], tuple[str, str]]]:
        import pyarrow as pa
        import pyarrow.compute

        lengths = np.asarray(pa.compute.list_value_length(column).fill_null(-1))
        width = self.table.shape[1] or next((int(length) for length in lengths if length > 0), 0)
        bad = (lengths != width) | (lengths < 1)
        inner = pa.compute.list_flatten(column)
        wrong, tell_inner = _no_numbers(inner)
        parents = np.asarray(pa.compute.list_parent_indices(column))
        bad[parents[wrong]] = True

        def tell(row: int) -> tuple[str, str]:
            if lengths[row] < 1:
                return "is empty", _LISTS
            if lengths[row] != width:
                return f"has a list of {lengths[row]} numbers, and {width} before", _LISTS
            return tell_inner(int(np.flatnonzero(wrong & (parents == row))[0]))

        return bad, tell

    def finish(self, left_out: int) -> np.ndarray:
        return self.table[: self.filled]


def _words(columns: Columns, count: int, request: Request) -> WordRows:
    name, labels = columns.words or "", request.texts.labels
    labels.declared = columns.declared
    return WordRows((name, columns.target), TokenStack(request.texts, request.room, name), labels)


def _kind_of(columns: Columns) -> str:
    if columns.image or columns.words:
        return "image" if columns.image else "words"
    return "texts" if columns.texts else "listed" if columns.listed else "numbers"


_INPUTS: dict[str, Callable[[Columns, int, Request], Any]] = {
    "image": _Images,
    "words": _words,
    "texts": _TextRows,
    "listed": _Lists,
    "numbers": _Numbers,
}


def _encoded(column: Any) -> list[bytes | None]:
    """The encoded images of a column, struct with `bytes` or plain binary; None where there is none."""
    import pyarrow as pa
    import pyarrow.compute

    plain = not pa.types.is_struct(column.type)
    return (column if plain else pa.compute.struct_field(column, "bytes")).to_pylist()


# --- what is wrong with cells ------------------------------------------------------------------------------


def _no_numbers(column: Any) -> tuple[np.ndarray, Callable[[int], tuple[str, str]]]:
    """Cells that are empty or no finite float32."""
    bad = np.asarray(column.is_null())
    values = np.asarray(column)
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            bad = bad | ~np.isfinite(values.astype(np.float32))

    def tell(row: int) -> tuple[str, str]:
        cell = column[row].as_py()
        found = "empty" if cell is None else cell
        return f"is {found}; allowed: finite float32 numbers", "fill in or drop such rows"

    return bad, tell


def _no_texts(column: Any) -> tuple[np.ndarray, Callable[[int], tuple[str, str]]]:
    """Cells that are empty; an empty text is one."""
    return np.asarray(column.is_null()), lambda row: ("is empty", "fill in or drop such rows")


def _no_labels(column: Any) -> tuple[np.ndarray, Callable[[int], tuple[str, str]]]:
    """Cells that are empty. Raises `BadInput` for a column of no texts, or of texts too long for a label."""
    import pyarrow as pa
    import pyarrow.compute

    if not is_texts(column):
        raise BadInput(
            f"the column of labels or splits is of the type {shown(column.type)}; allowed: texts",
            "name another column: --columns label=NAME",
        )
    held = column.dictionary if pa.types.is_dictionary(column.type) else column
    longest = pa.compute.max(pa.compute.binary_length(held)).as_py() or 0
    if longest > MAX_LABEL:
        raise BadInput(
            f"the target column holds a text of {longest:,} bytes; allowed in a label: {MAX_LABEL}",
            "name the column of labels 'label', or say --columns label=NAME; drop or encode columns of text",
        )
    return _no_texts(column)
