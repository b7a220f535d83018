"""The course of a training, a line an epoch: what `--log FILE.jsonl` writes, and its reading. No torch.

    {"run": "0f3a...", "stage": "", "epoch": 1, "epochs": 60, "loss": 2.1, "validation": 0.31,
     "metric": "accuracy", "lr": 0.0009, "rounding": false, "best": true, "seconds": 1.9}

`run` is what the artifact remembers of its run, so that the history of another one is not taken for its own;
`stage` names a generation, or is empty; `loss` and `validation` are null where they are not finite; `seconds`
count from the beginning of the process that wrote the line.

It lies beside the artifact, never in it, and may come from a stranger as that does. A last line that was not
finished, because its writer was killed, is left out.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qtrain_cli.errors import BadInput, QtrainError
from qtrain_cli.files.reading import open_ordinary
from qtrain_cli.results.schema import INTEGER, MAYBE, NUMBER, TEXT, check_kind
from qtrain_cli.settings.parsing import LOG_ENDING

#: Epochs and bytes of one history.
MOST_EPOCHS, MOST_HISTORY_BYTES = 100_000, 2**26
_KINDS = {
    "run": TEXT, "stage": TEXT, "epoch": INTEGER, "epochs": INTEGER, "loss": MAYBE, "validation": MAYBE,
    "metric": TEXT, "lr": NUMBER, "seconds": NUMBER,
}  # fmt: skip
_FLAGS = ("rounding", "best")


@dataclass(frozen=True)
class EpochLine:
    """One epoch of a training, as above. Raises `BadInput` for a value of another kind."""

    run: str
    stage: str
    epoch: int
    epochs: int
    loss: float | None
    validation: float | None
    metric: str
    lr: float
    rounding: bool
    best: bool
    seconds: float

    def __post_init__(self) -> None:
        for name, kind in _KINDS.items():
            check_kind(f"'{name}' of a history", kind, getattr(self, name))
        if not all(type(getattr(self, name)) is bool for name in _FLAGS):
            raise BadInput("a history's 'rounding' and 'best' are true or false")

    def as_line(self) -> str:
        """One line of JSON, its end included."""
        return json.dumps(asdict(self), allow_nan=False) + "\n"


def history_beside(out: Path) -> Path:
    """``net.qtrain`` -> ``net.qtrain.jsonl``."""
    return out.with_name(f"{out.name.removesuffix('.qtrain')}.qtrain{LOG_ENDING}")


def finite(value: float | None) -> float | None:
    """What JSON has a number for."""
    return value if value is not None and math.isfinite(value) else None


def read_history(path: Path) -> tuple[EpochLine, ...]:
    """The epochs of a file.

    Raises:
        BadInput: it is not there, is too large, or has a line that is none, but for an unfinished last one.
    """
    with open_ordinary(path) as file:
        data = file.read(MOST_HISTORY_BYTES + 1)
    if len(data) > MOST_HISTORY_BYTES:
        raise BadInput(f"the history '{path}' is larger than {MOST_HISTORY_BYTES:,} bytes", "name another")
    lines = data.split(b"\n")[:MOST_EPOCHS]
    return tuple(_epoch(path, number, line) for number, line in enumerate(lines[:-1], 1))


def history_of(path: Path, run: str) -> tuple[EpochLine, ...]:
    """Those of one run; none where there is no such file, or what is there is no history."""
    try:
        return tuple(line for line in read_history(path) if line.run == run)
    except QtrainError:
        return ()


def last_stage(lines: Iterable[EpochLine]) -> tuple[EpochLine, ...]:
    """The epochs of the last training of a run that has several; none where they do not rise: no run's do."""
    found = tuple(lines)
    last = tuple(line for line in found if line.stage == found[-1].stage)
    rise = all(line.epoch < after.epoch for line, after in itertools.pairwise(last))
    return last if rise else ()


def _epoch(path: Path, number: int, line: bytes) -> EpochLine:
    try:
        document: Any = json.loads(line)
        if not isinstance(document, dict):
            raise BadInput("it is no JSON object")
        return EpochLine(**document)
    except (ValueError, TypeError, RecursionError, BadInput):
        raise BadInput(f"line {number} of '{path}' is no epoch of a training", "name another file") from None
