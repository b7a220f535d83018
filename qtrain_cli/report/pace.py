"""How far a run is, and how long it still takes: what the bar and the lines share.

    left = elapsed * (1 - share) / (share - share at the first step seen)

The first step is where the watch begins, so that a run that goes on does not count what was done before, nor
what loading took. Standard library only.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qtrain_cli.training.loop import Progress

#: After so many seconds a first estimate is worth something.
SETTLED = 3.0


@dataclass(frozen=True)
class PaceNow:
    """The share that is done, seconds since the first step, and seconds left, None where nobody knows."""

    share: float
    elapsed: float
    left: float | None

    @property
    def whole(self) -> float | None:
        """Seconds of the whole run, from its first step here."""
        return None if self.left is None else self.elapsed + self.left


class Pace:
    """Watches a run step by step."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.begun = clock, (-1.0, 0.0)

    def __call__(self, progress: Progress) -> PaceNow:
        """Where it stands after this step."""
        share = progress.step / progress.steps if progress.share is None else progress.share
        now = self.clock()
        if self.begun[0] < 0:
            self.begun = now, share
        elapsed, gained = now - self.begun[0], share - self.begun[1]
        return PaceNow(share, elapsed, elapsed * (1 - share) / gained if gained > 0 and elapsed > 0 else None)


def figures_said(progress: Progress) -> str:
    """The best validation figure so far and its epoch, if there is one."""
    if progress.best is None or not progress.best_epoch:
        return ""
    return f"best {progress.best:.4f} in epoch {progress.best_epoch}"


def stage_said(progress: Progress) -> str:
    """Which part of a longer run it is, and whether the numbers are rounded already."""
    return ", ".join(filter(None, (progress.stage, "rounding" if progress.rounds else "")))
