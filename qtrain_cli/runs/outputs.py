"""Before a run begins: that nobody else is at it, and that output and checkpoint stand in nobody's way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from qtrain_cli.errors import BadInput, Refused, UsageError
from qtrain_cli.files.atomic import check_output, clear_strays
from qtrain_cli.files.locks import held
from qtrain_cli.settings import DataSettings, ModelSettings
from qtrain_cli.training.ranks import present
from qtrain_cli.training.recovery import checkpoint_path, checkpoints

#: What to do about a file in the way.
REPLACE = "name another output, or replace it with --force"


@contextmanager
def alone_at(out: Path) -> Iterator[None]:
    """No other run has this output and its checkpoints; what killed ones left of them half-written is gone.

    Of several processes of a run one sees to it.

    Raises:
        UsageError, BadInput: as `check_output`. RunFailed: another run is at work on it.
    """
    if not present().first:
        yield
        return
    check_output(out, force=True)
    with held(out):
        for path in (out, checkpoint_path(out), *checkpoints(out)):
            clear_strays(path)
        yield


@contextmanager
def read_in_the_way(force: bool) -> Iterator[None]:
    """Reads an output that is there: what cannot be read is as good as not there, where it may be replaced.

    Raises:
        BadInput, Refused: as reading does, with what to do about it.
    """
    try:
        yield
    except (BadInput, Refused) as error:
        if not force:
            advice = f"{error.advice}; or {REPLACE}" if error.advice else REPLACE
            raise type(error)(error.message, advice) from error


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
    """The files that a run reads: model, data and tokenizer, and the code of ``file.py:Name``."""
    named = [data.source, *(text.rpartition(":")[0] for text in (data.source, (model and model.arch) or ""))]
    own = [model.path] if model else []
    return [*own, *([data.tokenizer] if data.tokenizer else []), *map(Path, filter(None, named))]
