"""How much of a training's time its steps waited for their batches, in this process."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

#: From here on it is worth a word.
MOST_WAITING = 0.1


class Waiting:
    """Seconds of waiting, and since when there are some to count."""

    def __init__(self) -> None:
        self.seconds, self._since = 0.0, time.perf_counter()

    @contextmanager
    def counted(self, warm: bool) -> Iterator[None]:
        """Counts what runs inside. The first step of a process is not `warm`: before it nothing counts."""
        started = time.perf_counter()
        yield
        ended = time.perf_counter()
        if warm:
            self.seconds += ended - started
        else:
            self.seconds, self._since = 0.0, ended

    @property
    def share(self) -> float:
        """Of the time since the first batch came."""
        return self.seconds / max(1e-9, time.perf_counter() - self._since)


def said_of_waiting(share: float, workers: int | None) -> str:
    """A line where steps waited for a good part of the time, with what to do; else nothing."""
    if share < MOST_WAITING:
        return ""
    more = max(2, 2 * (workers or 0))
    return (
        f"steps waited for their batches {share:.0%} of the time; --workers {more} draws more of them ahead"
    )
