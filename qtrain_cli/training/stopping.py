"""Ctrl-C and SIGTERM between two steps: the first asks the run to stop and save, the second ends it at once.

A signal that the caller has set to be ignored (as a shell does for what runs behind ``&``) stays ignored, and
in another thread than the main one, where Python takes no handlers, nothing is installed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that the first signal sets; the second one raises `KeyboardInterrupt`."""
    asked = threading.Event()

    def request(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, request) for number in _heeded()}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _heeded() -> list[signal.Signals]:
    if threading.current_thread() is not threading.main_thread():
        return []
    return [number for number in _SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
