"""Regenerated weights into `.safetensors` while they are made, one tensor at a time.

    places of all tensors (`shards`) -> each tensor's bytes to its place -> read back -> names

Memory is what one tensor takes and what makes it (`runs.streaming`). Nothing has its final name before all is
written, the weights' digest is known to be the artifact's, and what the files hold was read again: bytes by
their own SHA-256, names, dtypes and shapes by the library of safetensors. Several files get their names one
after the other, the index last; then the files that only a former index named go. Names that are tied have a
copy each.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import safetensors
from torch import Tensor

from qtrain_cli.errors import RunFailed, UsageError
from qtrain_cli.exports import ExportRecord
from qtrain_cli.exports.comparison import WRITE_AGAIN
from qtrain_cli.exports.shards import INDEX_ENDING, Shard, bytes_of_entry, index_of, parts_named, shards_of
from qtrain_cli.files.atomic import check_output, replacing, write_failure
from qtrain_cli.files.hashing import file_sha256
from qtrain_cli.runs.streaming import Named, bytes_in
from qtrain_cli.targets.entries import KEPT, LayoutSpec

ENDING = ".safetensors"
#: Above so many bytes of tensors there are several files.
SHARD_BYTES = 5 * 10**9
#: Each is open twice until all are written, and some systems allow a process 256 files.
MOST_SHARDS = 100
_BLOCK = 2**20


@dataclass(frozen=True)
class Stream:
    """The tensors of a model: its layout, the kept ones, and the generated ones as they come, in order."""

    layout: LayoutSpec
    kept: Mapping[str, Tensor]
    tensors: Iterator[Named]

    @property
    def named(self) -> Iterator[Named]:
        """All that have bytes of their own: kept tensors, then generated ones."""
        yield from ((entry, self.kept[entry.name]) for entry in self.layout.of_role(KEPT))
        yield from self.tensors


def write_streamed(stream: Stream, path: Path, most: int, force: bool) -> ExportRecord:
    """Writes the tensors as they come.

    Args:
        stream: the model; what it raises ends the export, and leaves nothing.
        path: the file, or in whose place there are several and an index, where they take over `most` bytes.
        most: bytes of tensors of a file.
        force: replace existing files.

    Raises:
        UsageError: one of the files exists; the one file would stand beside several; there are too many.
        RunFailed: a file does not hold what was written.
    """
    shards = _required_few(shards_of(stream.layout, path, most))
    index = path.with_name(path.name + INDEX_ENDING)
    several = len(shards) > 1
    if several and path.exists():
        raise UsageError(f"the weights go into {len(shards)} files, and '{path}' exists", "remove it first")
    check_output(index, force)
    former = parts_named(index) - {shard.path for shard in shards}
    with ExitStack() as stack:
        # The index is the last to get its name.
        listed = stack.enter_context(replacing(index, force)) if several else None
        for shard in shards:
            check_output(shard.path, force)
        temporary = {shard: stack.enter_context(replacing(shard.path, force)) for shard in shards}
        _require_written(temporary, _written(stream, temporary))
        if listed:
            listed.write_bytes(index_of(shards))
        sha256 = file_sha256(listed or temporary[shards[0]])
    _remove(former if several else former | {index})
    size = sum(shard.bytes for shard in shards)
    how = "read back tensor by tensor, every tensor bit for bit"
    note = f"{len(shards)} files and their index" if several else ""
    return ExportRecord(
        index if several else path, size, sha256, "safetensors", len(stream.layout.entries), how, note
    )


def _required_few(shards: tuple[Shard, ...]) -> tuple[Shard, ...]:
    if len(shards) > MOST_SHARDS:
        found = f"the weights would go into {len(shards):,} files; allowed: {MOST_SHARDS}"
        raise UsageError(found, "give a larger --shard-size")
    return shards


def _remove(strangers: frozenset[Path]) -> None:
    """Removes what a loader would take for parts of the new model. Raises as `replacing`."""
    for path in sorted(strangers):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise write_failure(path, error) from error


def _written(stream: Stream, files: Mapping[Shard, Path]) -> dict[str, str]:
    """Fills the files; the SHA-256 of each tensor's bytes, by name."""
    hashes = dict[str, str]()
    names: dict[str, list[str]] = {}
    for entry in stream.layout.entries:
        names.setdefault(entry.source or entry.name, []).append(entry.name)
    with ExitStack() as stack:
        places: dict[str, tuple[BinaryIO, int]] = {}
        for shard, path in files.items():
            file = stack.enter_context(path.open("r+b"))
            file.truncate(shard.bytes)
            file.write(shard.header)
            places |= {name: (file, place) for name, place in shard.places.items()}
        for entry, tensor in stream.named:
            data = bytes_in(tensor)
            found = hashlib.sha256(data).hexdigest()
            for name in names[entry.name]:
                _write_at(*places[name], data)
                hashes[name] = found
            del tensor, data
    return hashes


def _write_at(file: BinaryIO, place: int, data: memoryview) -> None:
    file.seek(place)
    file.write(data)


def _require_written(files: Mapping[Shard, Path], hashes: Mapping[str, str]) -> None:
    """Raises `RunFailed` unless the files hold tensors of these bytes, and the library finds them so."""
    for shard, path in files.items():
        with path.open("rb") as file:
            for entry in shard.entries:
                file.seek(shard.places[entry.name])
                if _hashed(file, bytes_of_entry(entry)) != hashes[entry.name]:
                    raise RunFailed(
                        f"tensor '{entry.name}' of the file differs from the weights", WRITE_AGAIN
                    )
        with safetensors.safe_open(path, "pt") as found:
            forms = {name: _form(found.get_slice(name)) for name in found.keys()}  # noqa: SIM118
        if forms != {entry.name: (entry.dtype, entry.shape) for entry in shard.entries}:
            raise RunFailed(
                f"the library of safetensors finds other tensors in '{shard.path.name}'", WRITE_AGAIN
            )


def _form(tensor: Any) -> tuple[str, tuple[int, ...]]:
    return tensor.get_dtype(), tuple(tensor.get_shape())


def _hashed(file: BinaryIO, count: int) -> str:
    """SHA-256 of the next bytes of a file."""
    found = hashlib.sha256()
    while count:
        block = file.read(min(_BLOCK, count))
        if not block:
            break
        found.update(block)
        count -= len(block)
    return found.hexdigest()
