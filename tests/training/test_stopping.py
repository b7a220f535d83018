"""Signals between steps: the first asks, the second ends, an ignored one stays ignored."""

import os
import signal

import pytest

from qtrain_cli.training.stopping import Parent, stop_requests


def send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_ends(number):
    before = signal.getsignal(number)
    with stop_requests() as asked:
        assert not asked.is_set()
        send(number)
        assert asked.is_set()
        with pytest.raises(KeyboardInterrupt):
            send(number)
    assert signal.getsignal(number) == before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stop_requests() as asked:
            send(signal.SIGINT)
            assert not asked.is_set()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_who_has_started_this_one_is_known_by_number():
    assert not Parent(os.getppid()).gone and not Parent(0).gone
    assert Parent(os.getppid() + 1).gone  # as it was before the loop began
