"""Ctrl-C and SIGTERM between two steps: the first asks the run to stop and save, the second ends it at once.

Among several processes a signal reaches each of them, by whoever has started them, who ends for good what has
not ended in time: there every signal asks, and so does the end of that one.

A signal that the caller has set to be ignored (as a shell does for what runs behind ``&``) stays ignored, and
in another thread than the main one, where Python takes no handlers, nothing is installed.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_requests(patient: bool = False) -> Iterator[threading.Event]:
    """An event that the first signal sets; the second one raises `KeyboardInterrupt`, unless `patient`."""
    asked = threading.Event()

    def request(number: int, frame: FrameType | None) -> None:
        if asked.is_set() and not patient:
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, request) for number in _heeded()}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Parent:
    """Who has started this process, by number; 0 for nobody whose end counts."""

    def __init__(self, number: int) -> None:
        self._number = number

    @property
    def gone(self) -> bool:
        """Whether that one has ended, however it did."""
        return self._number not in (0, os.getppid())


def _heeded() -> list[signal.Signals]:
    if threading.current_thread() is not threading.main_thread():
        return []
    return [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
