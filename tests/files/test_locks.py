"""A lock of a whole run: the second is told who has it, and no dead one keeps anybody out."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from qtrain_cli.errors import BadInput, RunFailed
from qtrain_cli.files.atomic import hidden
from qtrain_cli.files.locks import held

ROOT = Path(__file__).resolve().parents[2]
HOLDER = """
import sys, time
from pathlib import Path
from qtrain_cli.files.locks import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def lock_of(path):
    return Path(f"{hidden(path)}.lock")


@pytest.fixture
def other(tmp_path):
    """Another process that holds `net.qtrain`."""
    words = [sys.executable, "-c", HOLDER, tmp_path / "net.qtrain"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_is_told_who_has_it(tmp_path, other):
    with pytest.raises(RunFailed) as caught, held(tmp_path / "net.qtrain"):
        pass
    start = (
        f"another run is at work on '{tmp_path / 'net.qtrain'}': process {other.pid} on {os.uname().nodename}"
    )
    assert caught.value.message.startswith(f"{start}, since 2") and caught.value.exit_code == 1
    with held(tmp_path / "other.qtrain"):
        pass


def test_a_killed_holder_keeps_nobody_out_and_nothing_is_left(tmp_path, other):
    other.send_signal(signal.SIGKILL)
    other.wait()
    assert lock_of(tmp_path / "net.qtrain").exists()
    with held(tmp_path / "net.qtrain"):
        assert json.loads(lock_of(tmp_path / "net.qtrain").read_text())["pid"] == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_it_ends_with_its_block_however_that_ends(tmp_path):
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), held(tmp_path / "a"):
            raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", "{", '{"pid": "x", "host": 1, "since": 2}', "[" * 900])
def test_a_holder_that_says_nonsense_holds_it_all_the_same(tmp_path, text):
    with held(tmp_path / "a"):
        lock_of(tmp_path / "a").write_text(text)
        with pytest.raises(RunFailed, match="it does not say which"), held(tmp_path / "a"):
            pass


def test_a_link_in_its_place_is_not_followed(tmp_path):
    (tmp_path / "mine").write_text("mine")
    lock_of(tmp_path / "a").symlink_to(tmp_path / "mine")
    with pytest.raises(RunFailed, match="could not be written"), held(tmp_path / "a"):
        pass
    assert (tmp_path / "mine").read_text() == "mine"


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises((RunFailed, BadInput), match="No such file"), held(tmp_path / "no" / "a"):
        pass
