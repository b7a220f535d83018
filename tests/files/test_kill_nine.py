"""Chosen moments of `kill_nine`: killed there, a command goes on to the same bytes, and no file is left.

Moments drawn by chance, by hand: ``python tests/kill_nine.py WORK``.
"""

import os
import signal

import pytest
from kill_nine import JOBS, changes_in, snapshot

from qtrain_cli.cli import main

#: How temporary files of net.qtrain and of its checkpoint begin.
OUT, STATE = ".qtrain-5ca01813-", ".qtrain-f23c13f0-"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The files of commands that nobody disturbs."""
    found = {}
    for job in ("compress", "bare"):
        folder = tmp_path_factory.mktemp(job)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            assert main(list(JOBS[job][0])) == 0
        found[job] = snapshot(folder)
    return found


def killed_before(folder, words, event, start, times):
    """Runs a command line in a process that is killed before it does this for so many times to a file whose
    name begins so; the names of what it leaves."""
    child = os.fork()
    if not child:
        seen = []

        def count(what, name):
            seen.extend([name] * (what == event and name.startswith(start)))
            if len(seen) == times:
                os.kill(os.getpid(), signal.SIGKILL)

        signal.alarm(60)
        changes_in(folder, count)
        main(words)
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, "it came to its end"
    return snapshot(folder).keys()


@pytest.mark.parametrize(
    ("job", "event", "start", "times", "left"),
    [
        ("compress", "os.remove", "net.qtrain.ckpt", 1, {"net.qtrain", "net.qtrain.ckpt"}),
        ("bare", "os.rename", OUT, 1, {OUT, "net.qtrain.ckpt"}),
        ("bare", "os.rename", STATE, 4, {STATE, "net.qtrain", "net.qtrain.ckpt"}),  # the receipt
    ],
)
def test_killed_it_goes_on_to_the_same_bytes(tmp_path, monkeypatch, whole, job, event, start, times, left):
    monkeypatch.chdir(tmp_path)
    words, more = JOBS[job]
    found = killed_before(tmp_path, list(words), event, start, times)
    stays = {".qtrain-5ca01813.", "net.qtrain.jsonl"}
    assert {name[: len(OUT)] if name[0] == "." else name for name in found} == left | stays
    assert main([*words, *more]) == 0
    assert snapshot(tmp_path) == whole[job]
