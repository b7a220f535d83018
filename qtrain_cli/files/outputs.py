"""Outputs that a command refuses before it begins, because it could not write them at its end."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
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
