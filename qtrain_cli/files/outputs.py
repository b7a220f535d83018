"""Outputs before they are written: a command refuses those that it could not write at its end, and names
others where something lies."""

from __future__ import annotations

import importlib.util
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from qtrain_cli.errors import missing_package
from qtrain_cli.files.atomic import check_output


def check_picture(path: Path | None, force: bool = False, inputs: Iterable[Path] = ()) -> None:
    """Refuses a picture (None: none is asked for) that could not be written or not be drawn.

    Raises:
        UsageError, BadInput: as `check_output`.
        BadInput: Matplotlib is not installed.
    """
    if path is None:
        return
    check_output(path, force, inputs)
    if importlib.util.find_spec("matplotlib") is None:
        raise missing_package("--plot", "matplotlib", "plot")


def free_name(weights: Path) -> Path:
    """Where regenerated weights can be written: this name, or one beside it where something lies there."""
    names = (weights.with_suffix(more + weights.suffix) for more in _beside())
    return next(name for name in names if not os.path.lexists(name))


def _beside() -> Iterator[str]:
    yield from ("", ".regenerated")
    yield from (f".regenerated-{number}" for number in itertools.count(2))
