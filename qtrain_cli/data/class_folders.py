"""A folder of class folders of images: ``train/CLASS/*.png`` and ``test/CLASS/*.png``.

Classes are numbered in the sorted order of their names as text ("10" before "2"), sub-folders included, as
torchvision's `ImageFolder` does it, so that the labels fit models that were trained that way. The classes
are those of train; test may lack some. Names that start with a dot and what Windows leaves in folders are
system files and are passed over; anything else that is no image is an error.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qtrain_cli.data.arrays import Arrays
from qtrain_cli.data.columns import SPLITS
from qtrain_cli.data.images import ImageStack
from qtrain_cli.data.room import Room
from qtrain_cli.errors import BadInput, suggestion

_SYSTEM_FILES = ("Thumbs.db", "desktop.ini", "__MACOSX")
_OTHER_NAMES = ("val", "valid", "validation", "eval")


def matches(source: str) -> bool:
    """True for a folder that holds a folder train or test."""
    return any((Path(source) / split).is_dir() for split in SPLITS)


def read(source: str, room: Room) -> Arrays:
    """The four arrays. Raises `BadInput` for a missing split, an unknown class, or a bad image."""
    folder = Path(source)
    for split in SPLITS:
        if not (folder / split).is_dir():
            other = next((name for name in _OTHER_NAMES if (folder / name).is_dir()), None)
            advice = (
                f"rename {other} to {split}" if other else "the folder needs train/CLASS/ and test/CLASS/"
            )
            raise BadInput(f"there is no folder {split}", advice)
    classes = _classes(folder / "train")
    for name in _classes(folder / "test"):
        if name not in classes:
            raise BadInput(f"test has the class '{name}', which train has not", suggestion(name, classes))
    train, test = (_read_split(folder / split, classes, room) for split in SPLITS)
    return Arrays(*train, *test, tuple(classes))


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not _is_systems(path))


def _is_systems(path: Path) -> bool:
    return path.name.startswith(".") or path.name in _SYSTEM_FILES


def _classes(folder: Path) -> list[str]:
    entries = _visible(folder)
    loose = [path.name for path in entries if not path.is_dir()]
    if loose or not entries:
        found = f"the file {loose[0]}" if loose else "nothing"
        raise BadInput(f"{folder.name} holds {found}; allowed: one folder for each class")
    return [path.name for path in entries]


def _read_split(folder: Path, classes: list[str], room: Room) -> tuple[np.ndarray, np.ndarray]:
    files = [(path, label) for label, name in enumerate(classes) for path in _files(folder / name)]
    stack = ImageStack(len(files), room)
    for path, _ in files:
        name = str(path.relative_to(folder.parent))
        if path.stat().st_size > room.most:
            room.take(path.stat().st_size, name)
        stack.add(path.read_bytes(), name)
    return stack.finish(), np.array([label for _, label in files], np.int64)


def _files(folder: Path) -> list[Path]:
    """Every image below a class folder; none if test lacks the class."""
    if not folder.is_dir():
        return []
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _is_systems(path)]
    if not files:
        raise BadInput(f"the class folder {folder.parent.name}/{folder.name} is empty", "remove it")
    return files
