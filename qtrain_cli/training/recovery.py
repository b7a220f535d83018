"""Where a run keeps its state until its output is finished, and how long it may take to write it.

    net.qtrain  ->  net.qtrain.ckpt, net.qtrain.1.ckpt, net.qtrain.2.ckpt, ...        one a generation

A checkpoint holds the optimiser's moments, which for a generator are whole matrices: 22 MB for 5,522 numbers.
It is written at the beginning, at the end, and in between at most every `SECONDS` and no oftener than keeps
all of them below `SHARE` of the run's time, by what the last one took. So a kill loses that interval at most.
"""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qtrain_cli.errors import BadInput, Interrupted, Refused, RunFailed
from qtrain_cli.files.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from qtrain_cli.quantum.machine import differing, way_back

SECONDS, SHARE = 10.0, 0.02
#: The member of an identity that says on what a run computes (`quantum.machine`).
MACHINE = "machine"


class Elsewhere(BadInput):
    """A checkpoint of this very run, made where the same sums have other last bits."""


class Diverged(RunFailed):
    """A loss or a gradient is not finite any more."""


@dataclass(frozen=True)
class Recovery:
    """Where checkpoints go, whose they are, and whether to go on from one."""

    path: Path
    identity: dict[str, Any]
    resume: bool

    @property
    def kept(self) -> bool:
        """Whether a later run may go on from it; a trial, which is nobody's, has no identity."""
        return bool(self.identity)

    def found(self) -> Checkpoint | None:
        """The checkpoint to go on from, if that is wanted and there is one.

        Raises:
            BadInput: it is another run's. Refused: it is damaged.
            Elsewhere: it was made on another machine; going on here would give what neither would.
        """
        if not (self.resume and self.path.exists()):
            return None
        checkpoint = load_checkpoint(self.path, self.identity, apart=MACHINE)
        there, here = (one.get(MACHINE, {}) for one in (checkpoint.identity, self.identity))
        if there != here:
            way, anew = way_back(there, here), "begin anew with --force"
            raise Elsewhere(
                f"the checkpoint '{self.path}' was made on another machine: {differing(there, here)}",
                f"go on with {way}, or {anew}" if way else f"go on there, or {anew}",
            )
        return checkpoint

    def stopped(self) -> Interrupted:
        """What a run ends with that was asked to stop, once it has saved."""
        return Interrupted(f"stopped; the state is in '{self.path}'", "run it again with --resume")

    def diverged(self, what: str, step: int, epoch: int) -> Diverged:
        """What a run ends with whose loss or gradient is not finite; step and epoch count from 1."""
        return Diverged(
            f"the {what} is not finite at step {step} (epoch {epoch});"
            f" the last good state is kept in '{self.path}'",
            "lower --lr, check --mean and --std, and begin again with --force",
        )


class Clock:
    """When the next checkpoint is due."""

    def __init__(self) -> None:
        self._saved, self._cost = time.monotonic(), 0.0

    def due(self) -> bool:
        """Whether the interval is over: `SECONDS`, or what makes the last one's cost a `SHARE` of it."""
        return time.monotonic() - self._saved > max(SECONDS, self._cost / SHARE)

    def save(self, path: Path, checkpoint: Checkpoint) -> None:
        """Writes the checkpoint, whole or not at all, and begins the next interval."""
        started = time.monotonic()
        save_checkpoint(path, checkpoint)
        self._saved = time.monotonic()
        self._cost = self._saved - started


def checkpoint_path(out: Path, generation: int = 0) -> Path:
    """Where a generation's state is kept meanwhile: ``net.qtrain`` -> ``net.qtrain.ckpt``.

    Never another tool's ``net.ckpt``, whatever the output is called.
    """
    number = f".{generation}" if generation else ""
    return out.with_name(f"{out.name.removesuffix('.qtrain')}.qtrain{number}.ckpt")


def checkpoints(out: Path) -> list[Path]:
    """Those of this output that are there, of any generation."""
    start = re.escape(checkpoint_path(out).name.removesuffix(".ckpt"))
    form = re.compile(start + r"([.][1-9][0-9]*)?[.]ckpt")
    return sorted(path for path in out.parent.glob("*.ckpt") if form.fullmatch(path.name))


def of_generation(identity: dict[str, Any], number: int) -> dict[str, Any]:
    """The identity of one generation's checkpoint."""
    return {**identity, "generation": number}


def drop_strangers(out: Path, identity: dict[str, Any], generations: int) -> None:
    """Removes the checkpoints beside `out` that this run of 1 + `generations` trainings cannot go on from:
    those of other runs, and damaged ones."""
    own = _own_checkpoints(out, identity, generations)
    for path in checkpoints(out):
        if path not in own:
            path.unlink()


def drop_own(out: Path, identity: dict[str, Any], generations: int) -> None:
    """Removes this run's own checkpoints, where it was killed between its output and their removal."""
    for path in _own_checkpoints(out, identity, generations):
        path.unlink()


def _own_checkpoints(out: Path, identity: dict[str, Any], generations: int) -> list[Path]:
    """Those that a run of 1 + `generations` trainings can go on from."""
    numbers, found = {checkpoint_path(out, number): number for number in range(generations + 1)}, []
    for path in checkpoints(out):
        with contextlib.suppress(BadInput, Refused, KeyError):
            load_checkpoint(path, of_generation(identity, numbers[path]))
            found.append(path)
    return found
