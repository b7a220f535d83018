"""Before a run begins: whether its output and the checkpoint beside it stand in the way of anything."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtrain_cli.errors import UsageError
from qtrain_cli.files.atomic import check_output
from qtrain_cli.settings import DataSettings, ModelSettings
from qtrain_cli.training.recovery import checkpoint_path


def check_run_files(out: Path, go_on: bool, inputs: Sequence[Path], left: Sequence[Path]) -> None:
    """Raises `UsageError` for an output or a checkpoint in the way.

    Args:
        out: the output.
        go_on: what is there may be gone on from, or replaced.
        inputs: files that must not be overwritten.
        left: states of earlier runs beside the output.
    """
    check_output(out, force=go_on, inputs=inputs)
    check_output(checkpoint_path(out), force=True, inputs=inputs)
    if left and not go_on:
        raise UsageError(
            f"'{left[0]}' holds the state of an interrupted run",
            "go on from it with --resume, or begin anew with --force",
        )


def input_files(model: ModelSettings | None, data: DataSettings) -> list[Path]:
    """The files that a run reads: model and data, and the code of ``file.py:Name``."""
    named = [data.source, *(text.rpartition(":")[0] for text in (data.source, (model and model.arch) or ""))]
    return [*([model.path] if model else []), *map(Path, filter(None, named))]
