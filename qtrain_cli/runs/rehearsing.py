"""Some steps of a training, timed and thrown away: what `--dry-run` says is measured on them.

The very trainee, batches and objective of the run take these steps, so that a step costs what it will cost;
only that the numbers are not rounded yet. No checkpoint, no history, no file is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from qtrain_cli.files.system import most_held
from qtrain_cli.results.rehearsal import Rehearsal, TimedPart
from qtrain_cli.runs.making import Work, training_of
from qtrain_cli.training.loop import Timed, rehearse

#: What one kind of training is watched for.
REHEARSED_SECONDS = 2.0


def rehearsed_work(work: Work, name: str, trainings: int = 1, artifact_bytes: int | None = None) -> TimedPart:
    """One training of a method, timed."""
    trainee, course, rate = training_of(work)
    return timed_part(
        name, rehearse(trainee, course, work.fit, rate, REHEARSED_SECONDS), trainings, artifact_bytes
    )


def timed_part(name: str, timed: Timed, trainings: int, artifact_bytes: int | None = None) -> TimedPart:
    """What was timed, under a name."""
    return TimedPart(name, trainings, timed.epochs, timed.steps, timed.step, timed.validation, artifact_bytes)


def rehearsal_of(
    command: str,
    device: str,
    parts: Sequence[TimedPart],
    writes: Sequence[Path | None],
    notes: Sequence[str] = (),
) -> Rehearsal:
    """All that was timed, with what this process took."""
    on_cuda = torch.device(device).type == "cuda"
    return Rehearsal(
        command,
        device,
        tuple(parts),
        most_held(),
        torch.cuda.max_memory_allocated() if on_cuda else None,
        tuple(str(path) for path in writes if path),
        tuple(notes),
    )
