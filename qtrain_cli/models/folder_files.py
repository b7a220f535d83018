"""The files of a Hugging Face folder, each opened once: what is read, checked, loaded and hashed is the same.

config.json and one of    model.safetensors | model.safetensors.index.json + shards
                          pytorch_model.bin | pytorch_model.bin.index.json + shards
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from qtrain_cli.errors import BadInput, first_few
from qtrain_cli.files.json_file import COPY_AGAIN, MOST_CONFIG, object_in
from qtrain_cli.models import formats
from qtrain_cli.models.entries import choose_entry, tensors_of
from qtrain_cli.models.opened import ModelFile, nothing_unexpected, open_model
from qtrain_cli.models.pickles import is_module, read_weights_only
from qtrain_cli.models.tensors import file_tensors, header_tensors
from qtrain_cli.models.untrusted.folder_checks import values_in

#: Of an index, which has a line a tensor.
_MAX_INDEX = 64 * 2**20
#: Values in them, those in values included: an index of the largest models has 100,000, a configuration of
#: 22,000 labels 44,000. The library makes an attribute of each.
_MOST_LINES, _MOST_VALUES = 1_000_000, 100_000
_MOST_NAMES = 5  # in a message
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)


@dataclass(frozen=True)
class ModelFolder:
    """An open folder: its configuration, and the files that hold its weights."""

    name: str
    config: dict[str, Any]
    files: tuple[ModelFile, ...]
    weights: tuple[ModelFile, ...]

    @property
    def size(self) -> int:
        """Bytes of the weights' files."""
        return sum(file.size for file in self.weights)

    def tensors(self, device: str) -> dict[str, Tensor]:
        """Those of all shards; on the device "meta" names and shapes only. Raises `BadInput`, `Refused`."""
        found: dict[str, Tensor] = {}
        for file in self.weights:
            found |= shard_tensors(file, device)
        return found

    def sha256(self) -> str:
        """SHA-256 over the names and digests of the configuration and the weights."""
        digests = {file.name: file.sha256() for file in self.files}
        lines = "".join(f"{name} {digests[name]}\n" for name in sorted(digests))
        return hashlib.sha256(lines.encode()).hexdigest()


@contextmanager
def open_folder(path: Path) -> Iterator[ModelFolder]:
    """The folder, open.

    Raises:
        BadInput: no configuration or weights, damaged ones, shards that are not there; or a file changed
            while it was read. Refused: its JSON does what no check foresaw.
    """
    with ExitStack() as held:
        with nothing_unexpected(path.name):
            config = held.enter_context(open_model(path / formats.CONFIG))
            document = _json_in(config, MOST_CONFIG, _MOST_VALUES)
            weights = tuple(held.enter_context(open_model(place)) for place in _weight_files(path))
        yield ModelFolder(path.name, document, (config, *weights), weights)


def _weight_files(folder: Path) -> list[Path]:
    """The file, or the shards that the index names. Raises `BadInput` where one is not in the folder."""
    place = next((folder / name for name in formats.WEIGHTS if (folder / name).is_file()), None)
    if place is None:
        raise BadInput(
            f"the folder '{folder.name}' has no weights; allowed: {', '.join(formats.WEIGHTS)}",
            "download the whole folder",
        )
    if place.suffix != ".json":
        return [place]
    with open_model(place) as index:
        named = _json_in(index, _MAX_INDEX, _MOST_LINES).get("weight_map")
    shards = sorted(set(map(str, named.values()))) if isinstance(named, dict) else []
    if not shards:
        raise BadInput(f"'{place.name}' names no shards", COPY_AGAIN)
    there = {path.name for path in folder.iterdir() if path.is_file()}
    absent = [shard for shard in shards if shard not in there]
    if absent:
        raise BadInput(
            f"'{place.name}' names shards that the folder lacks: {first_few(absent, _MOST_NAMES)}",
            "download the whole folder",
        )
    return [folder / shard for shard in shards]


def _json_in(file: ModelFile, most: int, values: int) -> dict[str, Any]:
    """What an object of at most so many bytes and values holds. Raises `BadInput`."""
    if file.size > most:
        raise BadInput(f"'{file.name}' has {file.size:,} bytes; allowed: {most:,}", COPY_AGAIN)
    text = file.start(most)
    marks = _STRING.sub(b"", text)  # commas in texts are none between values
    _require_few(file, sum(map(marks.count, (b",", b"[", b"{"))) // 4, values)  # before it is in memory
    document = object_in(file.name, text)
    _require_few(file, values_in(document), values)
    return document


def _require_few(file: ModelFile, found: int, most: int) -> None:
    if found > most:
        raise BadInput(
            f"'{file.name}' holds {found:,} values or more; allowed: {most:,}",
            COPY_AGAIN,
        )


def shard_tensors(file: ModelFile, device: str) -> dict[str, Tensor]:
    """Those of one file; on the device "meta" names and shapes only. Raises `BadInput`, `Refused`."""
    with nothing_unexpected(file.name):
        form = formats.file_format(file)
        if form == formats.SAFETENSORS:
            return file_tensors(file) if device == "cpu" else header_tensors(file)
        tree = read_weights_only(file, form, device)
    value = choose_entry(tree, None, is_module, file.name).value
    if not isinstance(value, dict):
        raise BadInput(f"'{file.name}' is no state dictionary", COPY_AGAIN)
    return tensors_of(value)
