"""The storages of a pickle: where in the file their bytes lie, and whether the file has them.

    torch         each a record of the zip archive
    torch-legacy  one after the other behind the pickle, each with its length before it

A storage that says more than its record has would show what lies in memory behind it; it is refused.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from qtrain_cli.models.opened import ModelFile
from qtrain_cli.models.untrusted.pickled_calls import Storage, StorageKind
from qtrain_cli.models.untrusted.unpickling import Outside


class Storages:
    """The storages that a pickle refers to, each made once: with their numbers, or on the meta device."""

    def __init__(self, archive: Any, size: int, device: str) -> None:
        """`archive` is PyTorch's zip reader, None for the legacy format; `size` is the file's, in bytes."""
        self.archive, self._left, self._device = archive, size, device
        self._made: dict[str, tuple[torch.dtype, Tensor]] = {}

    def storage(self, saved: tuple[Any, ...]) -> Storage:
        """What a persistent id means. Raises `Outside` for one that names more than the file has."""
        if len(saved) < 5 or _text(saved[0]) != "storage" or any(part is not None for part in saved[5:]):
            raise Outside("it refers to something that is no storage of its own")
        kind, key, numel = saved[1], _text(saved[2]), saved[4]
        if not isinstance(kind, StorageKind) or type(numel) is not int or numel < 0:
            raise Outside(f"the storage '{key}' has no kind or no length")
        if key not in self._made:
            self._made[key] = kind.dtype, self._bytes(key, numel * kind.dtype.itemsize)
        dtype, raw = self._made[key]
        if dtype != kind.dtype or raw.numel() != numel * dtype.itemsize:
            raise Outside(f"it tells two things about the storage '{key}'")
        return Storage(raw.view(dtype))

    def fill(self, file: ModelFile, keys: Any) -> None:
        """The legacy format's numbers, in the order of `keys`, behind the pickles. Raises `ValueError`."""
        if not isinstance(keys, list) or set(map(_text, keys)) != self._made.keys():
            raise ValueError("the list of its storages does not name those that its tensors need")
        for key in map(_text, keys):
            dtype, raw = self._made[key]
            length = int.from_bytes(file.stream.read(8), "little")
            if length * dtype.itemsize != raw.numel():
                raise ValueError(
                    f"the storage '{key}' has {length} numbers in one place and others elsewhere"
                )
            if self._device == "meta":
                file.stream.seek(raw.numel(), 1)
            elif file.stream.readinto(raw.numpy()) != raw.numel():  # type: ignore[attr-defined]
                raise ValueError(f"the storage '{key}' breaks off")
        if file.stream.tell() > file.size:
            raise ValueError("its storages break off")

    def _bytes(self, key: str, count: int) -> Tensor:
        self._left -= count
        if self._left < 0:
            raise Outside(f"the storage '{key}' has {count} bytes, more than are left of the file")
        if self.archive is not None:
            self._require_record(key, count)
        if self.archive is None or self._device == "meta" or not count:
            return torch.empty(count, dtype=torch.uint8, device=self._device)
        found = self.archive.get_storage_from_record(f"data/{key}", count, torch.uint8)
        return torch.empty(0, dtype=torch.uint8).set_(found.untyped_storage())

    def _require_record(self, key: str, count: int) -> None:
        record = f"data/{key}"
        if not self.archive.has_record(record):
            raise ValueError(f"it has no record '{record[:80]}'")
        found = self.archive.get_record_size(record)
        if count > found:
            raise Outside(f"the storage '{key}' says {count} bytes, and its record has {found}")


def _text(value: Any) -> str:
    """A key as text: Python 2 wrote bytes, and PyTorch before 1.0 numbers."""
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
    return text[:200] if isinstance(value, (bytes, str, int)) else "?"
