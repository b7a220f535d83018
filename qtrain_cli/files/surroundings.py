"""What lies in a folder, for a user who has not said anything yet: by names and headers, nothing is loaded.

    *.qtrain                        artifacts                  *.qtrain.ckpt      runs that were interrupted
    *.pt, *.safetensors, ...        models, folders with a config.json too
    *.npz, train*.csv, train/, ...  data                       qtrain.toml

Of a .safetensors file the header tells whether it holds a model, data (``x_train``) or something of ours. At
most `MOST_SEEN_FILES` names are looked at, the newest files come first, and what cannot be read is passed
over. Standard library only.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from qtrain_cli.errors import QtrainError
from qtrain_cli.files.config_file import FILE_NAME
from qtrain_cli.files.header import read_header

#: A folder may have millions.
MOST_SEEN_FILES = 2000
ARTIFACT_ENDING, STATE_ENDING = ".qtrain", ".ckpt"
MODEL_ENDINGS = (".pt", ".pth", ".th", ".bin", ".pt2")
_TRAIN_ENDINGS = (".csv", ".jsonl", ".parquet")
_CONFIG = "config.json"


class Sight(StrEnum):
    """What a path can be."""

    ARTIFACT, STATE, MODEL, DATA, CONFIG = "artifact", "state", "model", "data", "config"
    NOTHING = ""


@dataclass(frozen=True)
class Surroundings:
    """Paths by what they are, the newest first; `data` are as ``--data`` takes them."""

    found: Mapping[Sight, tuple[Path, ...]] = field(default_factory=dict)

    def of(self, kind: Sight) -> tuple[Path, ...]:
        """All of one kind."""
        return self.found.get(kind, ())

    def first(self, kind: Sight) -> Path | None:
        """The newest of a kind, if there is one."""
        return next(iter(self.of(kind)), None)


def look_around(folder: Path) -> Surroundings:
    """What lies in a folder itself; a folder that cannot be read holds nothing."""
    try:
        with os.scandir(folder) as entries:
            seen = [folder / entry.name for entry in itertools.islice(entries, MOST_SEEN_FILES)]
    except OSError:
        return Surroundings()
    found: dict[Sight, tuple[Path, ...]] = {}
    for path in sorted(seen, key=_newest_first):
        kind = _kind(path)
        if kind:
            found[kind] = (*found.get(kind, ()), path)
    if _is_split_folder(folder):
        found[Sight.DATA] = (folder, *found.get(Sight.DATA, ()))
    return Surroundings(found)


def _newest_first(path: Path) -> tuple[float, str]:
    try:
        return -path.stat().st_mtime, path.name
    except OSError:
        return 0.0, path.name


def _kind(path: Path) -> Sight:
    """What a path is; empty for what is of no use here."""
    if path.name.startswith("."):
        return Sight.NOTHING
    try:
        if path.is_dir():
            return _folder(path)
        if path.is_file() and path.suffix in _KINDS:
            return _KINDS[path.suffix](path)
    except OSError:
        pass  # what cannot be looked at is of no use either
    return Sight.NOTHING


def _folder(path: Path) -> Sight:
    if (path / _CONFIG).is_file():
        return Sight.MODEL
    return Sight.DATA if _is_split_folder(path) else Sight.NOTHING


def _is_split_folder(folder: Path) -> bool:
    """Whether it has training rows: ``train.csv``, ``train-0000.parquet``, a folder ``train``."""
    if (folder / "train").is_dir():
        return True
    return any(next(folder.glob(f"train*{ending}"), None) for ending in _TRAIN_ENDINGS)


def _state(path: Path) -> Sight:
    return Sight.STATE if path.stem.endswith(ARTIFACT_ENDING) else Sight.NOTHING


def _table(path: Path) -> Sight:
    """One file of rows; those that are a split go by their folder, and a run's history is none."""
    of_a_split = path.stem.split("-")[0] in ("train", "test", "validation", "metadata")
    return Sight.NOTHING if of_a_split or path.stem.endswith(ARTIFACT_ENDING) else Sight.DATA


def _tensors(path: Path) -> Sight:
    try:
        header = read_header(path)
    except QtrainError:
        return Sight.NOTHING
    if any(name.startswith("qtrain") for name in header.metadata):
        return Sight.ARTIFACT
    return Sight.DATA if any(name.startswith("x_train") for name in header.tensors) else Sight.MODEL


_KINDS: dict[str, Callable[[Path], Sight]] = {
    ARTIFACT_ENDING: lambda path: Sight.ARTIFACT,
    STATE_ENDING: _state,
    **dict.fromkeys(MODEL_ENDINGS, lambda path: Sight.MODEL),
    ".safetensors": _tensors,
    ".npz": lambda path: Sight.DATA,
    **dict.fromkeys(_TRAIN_ENDINGS, _table),
    ".toml": lambda path: Sight.CONFIG if path.name == FILE_NAME else Sight.NOTHING,
}
