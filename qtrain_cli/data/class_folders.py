"""A folder of class folders of images: ``train/CLASS/*.png``, ``test/CLASS/*.png``, and ``val/`` likewise.

Classes are numbered in the sorted order of their names as text ("10" before "2"), sub-folders included, as
torchvision's `ImageFolder` does it, so that the labels fit models that were trained that way. The classes
are those of train; the others may lack some. Names that start with a dot and what Windows leaves in folders
are system files and are passed over; anything else that is no image is an error.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.columns import SPLIT_NAMES, SplitPart, arrays_of, splits_there
from qtrain_cli.data.image_files import read_files
from qtrain_cli.data.request import Request
from qtrain_cli.errors import BadInput, suggestion

_SYSTEM_FILES = ("Thumbs.db", "desktop.ini", "__MACOSX")


def matches(source: str) -> bool:
    """True for a folder that holds a folder of a split's usual name."""
    return any((Path(source) / name).is_dir() for usual in SPLIT_NAMES.values() for name in usual)


def read(source: str, request: Request) -> Arrays:
    """The arrays. Raises `BadInput` for a missing split, an unknown class, or a bad image."""
    folder = Path(source)
    splits = splits_there(
        lambda name: (folder / name).is_dir(), request.splits, "folder {}",
        "the folder needs train/CLASS/ and test/CLASS/",
    )  # fmt: skip
    folders = {role: folder / name for role, name in splits.items()}
    classes = _classes(folders["train"])
    for path in folders.values():
        for name in _classes(path):
            if name not in classes:
                what = f"{path.name} has the class '{name}', which train has not"
                raise BadInput(what, suggestion(name, classes))
    parts = {role: _read_split(path, classes, request) for role, path in folders.items()}
    return replace(arrays_of(parts), names=tuple(classes))


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not _is_systems(path))


def _is_systems(path: Path) -> bool:
    return path.name.startswith(".") or path.name in _SYSTEM_FILES


def _classes(folder: Path) -> list[str]:
    entries = _visible(folder)
    loose = [path.name for path in entries if not path.is_dir()]
    if loose or not entries:
        found = f"the file {loose[0]}" if loose else "nothing"
        raise BadInput(
            f"{folder.name} holds {found}; allowed: one folder for each class",
            "or a table metadata.csv of file_name and label in each split's folder",
        )
    return [path.name for path in entries]


def _read_split(folder: Path, classes: list[str], request: Request) -> SplitPart:
    files = [(path, label) for label, name in enumerate(classes) for path in _files(folder / name)]
    named = [(path, str(path.relative_to(folder.parent))) for path, _ in files]
    x, kept = read_files(named, request)
    return x, np.array([files[place][1] for place in kept], np.int64)


def _files(folder: Path) -> list[Path]:
    """Every image below a class folder; none if the split lacks the class."""
    if not folder.is_dir():
        return []
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_systems(path)]
    if not files:
        raise BadInput(f"the class folder {folder.parent.name}/{folder.name} is empty", "remove it")
    return files
