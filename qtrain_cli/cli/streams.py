"""Stdout is for data: what a model's code prints while a command runs goes to stderr, whoever prints it."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_OUT, _ERR = 1, 2


@contextmanager
def nobody_hears() -> Iterator[None]:
    """As long as the block lasts nothing is printed: another process says the same."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(number) for number in (_OUT, _ERR)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (_OUT, _ERR):
            os.dup2(nowhere, number)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for number, old in zip((_OUT, _ERR), kept, strict=True):
            os.dup2(old, number)
            os.close(old)
        os.close(nowhere)


@contextmanager
def prints_on_stderr() -> Iterator[None]:
    """As long as the block lasts, stdout is stderr: Python's stream, and the descriptor below it, which
    compiled code and child processes write to."""
    sys.stdout.flush()
    with _descriptor_on_stderr(), contextlib.redirect_stdout(sys.stderr):
        yield


@contextmanager
def _descriptor_on_stderr() -> Iterator[None]:
    kept = os.dup(_OUT)
    os.dup2(_ERR, _OUT)
    try:
        yield
    finally:
        with contextlib.suppress(AttributeError, OSError, TypeError):
            ctypes.CDLL(None).fflush(None)  # what C's own buffers hold belongs to stderr too
        os.dup2(kept, _OUT)
        os.close(kept)
