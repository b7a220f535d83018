"""Where the tensors of a layout lie in `.safetensors` files, before there are any: as its library has it.

    8 bytes N    N bytes JSON, filled up with spaces    tensors by dtype, the widest first, then by name

Above a size the tensors go, in the model's order, into several files and an index, as `transformers` reads
them. A tensor that is larger has a file of its own.

    NAME-00001-of-00002.safetensors    NAME.safetensors.index.json: {"metadata": {"total_size"}, "weight_map"}
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from qtrain_cli.errors import BadInput
from qtrain_cli.files.json_file import read_object
from qtrain_cli.targets.entries import DTYPE_BYTES, LayoutSpec, TensorEntry

#: The library's order of dtypes within a file.
_ORDER = ("I64", "F64", "F32", "I32", "BF16", "F16", "I16", "I8", "U8", "BOOL")
_ALIGNED = 8
INDEX_ENDING = ".index.json"
#: Bytes of an index that is read.
MOST_INDEX = 64 * 2**20


@dataclass(frozen=True)
class Shard:
    """One file: where it will be, and its tensors in the order of the file."""

    path: Path
    entries: tuple[TensorEntry, ...]

    @cached_property
    def header(self) -> bytes:
        """Everything before the first tensor."""
        table: dict[str, object] = {"__metadata__": {"format": "pt"}}
        for entry, (first, last) in zip(self.entries, self._ranges, strict=True):
            shape = list(entry.shape)
            table[entry.name] = {"dtype": entry.dtype, "shape": shape, "data_offsets": [first, last]}
        text = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % _ALIGNED)
        return len(text).to_bytes(8, "little") + text

    @cached_property
    def places(self) -> dict[str, int]:
        """The first byte of each tensor in the file, by name."""
        firsts = (first for first, _ in self._ranges)
        return {
            entry.name: len(self.header) + first for entry, first in zip(self.entries, firsts, strict=True)
        }

    @property
    def bytes(self) -> int:
        """Of the whole file."""
        return len(self.header) + sum(map(bytes_of_entry, self.entries))

    @property
    def _ranges(self) -> Iterator[tuple[int, int]]:
        first = 0
        for entry in self.entries:
            yield first, first + bytes_of_entry(entry)
            first += bytes_of_entry(entry)


def bytes_of_entry(entry: TensorEntry) -> int:
    """What one tensor takes in a file, whether it is generated, kept or tied."""
    return entry.count * DTYPE_BYTES[entry.dtype]


def shards_of(layout: LayoutSpec, path: Path, most: int) -> tuple[Shard, ...]:
    """The file, or files of at most so many bytes of tensors; one tensor may be larger."""
    groups: list[list[TensorEntry]] = [[]]
    room = most
    for entry in layout.entries:
        if groups[-1] and bytes_of_entry(entry) > room:
            groups.append([])
            room = most
        groups[-1].append(entry)
        room -= bytes_of_entry(entry)
    if len(groups) == 1:
        return (Shard(path, _ordered(groups[0])),)
    names = (f"{path.stem}-{number:05}-of-{len(groups):05}{path.suffix}" for number in range(1, 10**6))
    return tuple(
        Shard(path.with_name(name), _ordered(group)) for name, group in zip(names, groups, strict=False)
    )


def index_of(shards: tuple[Shard, ...]) -> bytes:
    """The index beside several files."""
    named = {entry.name: shard.path.name for shard in shards for entry in shard.entries}
    total = sum(bytes_of_entry(entry) for shard in shards for entry in shard.entries)
    document = {"metadata": {"total_size": total}, "weight_map": dict(sorted(named.items()))}
    return json.dumps(document, indent=2).encode() + b"\n"


def parts_named(index: Path) -> frozenset[Path]:
    """The files beside an index of any origin that it names as those of its model, by their form of names.

    None of an index that is not there or cannot be read, and none that are not ordinary files.
    """
    try:
        named = read_object(index, MOST_INDEX).get("weight_map")
    except (BadInput, OSError):
        return frozenset()
    model = Path(index.name.removesuffix(INDEX_ENDING))
    form = re.compile(rf"{re.escape(model.stem)}-[0-9]{{5}}-of-[0-9]{{5}}{re.escape(model.suffix)}")
    names = named.values() if isinstance(named, dict) else ()
    parts = {index.with_name(name) for name in names if isinstance(name, str) and form.fullmatch(name)}
    return frozenset(part for part in parts if part.is_file())


def _ordered(entries: list[TensorEntry]) -> tuple[TensorEntry, ...]:
    return tuple(sorted(entries, key=lambda entry: (_ORDER.index(entry.dtype), entry.name.encode())))
