"""Locks and memory on this system, and that nothing of POSIX is loaded where there is none."""

import os
import subprocess
import sys
import types
from pathlib import Path

import pytest

from qtrain_cli.files import system

ROOT = Path(__file__).resolve().parents[2]
#: What Windows has not; the package has to be imported and to write files without it.
WITHOUT_POSIX = """
import os, subprocess, sys
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in ("O_NONBLOCK", "O_NOFOLLOW", "geteuid", "fchmod", "pread", "pwrite", "uname", "chown",
             "set_blocking"):
    if hasattr(os, name):
        delattr(os, name)
locked = set()
class msvcrt:
    LK_NBLCK = 2
    def locking(number, kind, count):
        here = (os.fstat(number).st_ino, os.lseek(number, 0, 1))
        if here in locked:
            raise OSError(36, "deadlock avoided")
        locked.add(here)
sys.modules["msvcrt"] = msvcrt
"""


def without_posix(code: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX + code], cwd=cwd, env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_lock_is_held_until_it_is_closed(tmp_path):
    first, second = (os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT) for _ in range(2))
    system.try_to_lock(first)
    with pytest.raises(BlockingIOError):
        system.try_to_lock(second)
    os.close(first)
    system.try_to_lock(second)
    os.close(second)


def test_without_flock_a_far_byte_is_locked_and_the_place_kept(tmp_path, monkeypatch):
    seen = []

    def locking(number, kind, count):
        seen.append((os.lseek(number, 0, os.SEEK_CUR), kind, count))
        if len(seen) > 1:
            raise OSError(36, "deadlock avoided")

    monkeypatch.setattr(system, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", types.SimpleNamespace(LK_NBLCK=2, locking=locking))
    number = os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT)
    system.try_to_lock(number)
    assert seen == [(2**30, 2, 1)] and os.lseek(number, 0, os.SEEK_CUR) == 0
    with pytest.raises(BlockingIOError):
        system.try_to_lock(number)
    os.close(number)


def test_a_held_file_is_rewritten_whole(tmp_path):
    number = os.open(tmp_path / "a", os.O_RDWR | os.O_CREAT)
    system.write_whole(number, b"a long text")
    system.write_whole(number, b"short")
    assert system.read_beginning(number, 100) == b"short"
    os.close(number)


def test_files_are_written_and_locked_without_posix(tmp_path):
    (tmp_path / "qtrain.toml").write_text("")
    done = without_posix(
        "from pathlib import Path\n"
        "from qtrain_cli.errors import RunFailed\n"
        "from qtrain_cli.files.atomic import add_to, write_bytes_atomically\n"
        "from qtrain_cli.files.config_file import read_config\n"
        "from qtrain_cli.files.locks import held\n"
        "from qtrain_cli.files.system import most_held\n"
        "write_bytes_atomically(Path('a.bin'), b'one')\n"
        "write_bytes_atomically(Path('a.bin'), b'two\\r\\n', True)\n"
        "add_to(Path('b.md'), 'text')\n"
        "with held(Path('a.bin')):\n"
        "    try:\n"
        "        with held(Path('a.bin')): raise SystemExit('held twice')\n"
        "    except RunFailed as error: print(error.message)\n"
        "print(Path('a.bin').read_bytes(), read_config(Path('qtrain.toml')), most_held())\n",
        tmp_path,
    )
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert "another run is at work on 'a.bin': process" in first
    assert last == r"b'two\r\n' b'' 0"


@pytest.mark.parametrize("words", [("--help",), ("report", "net.qtrain", "--json"), ("help", "bytes")])
def test_commands_without_torch_run_without_posix(tmp_path, artifact, words):
    (tmp_path / "net.qtrain").write_bytes(artifact.read_bytes())
    done = without_posix(f"from qtrain_cli.cli import main\nsys.exit(main({list(words)!r}))\n", tmp_path)
    assert done.returncode == 0 and done.stdout, done.stderr


def test_the_peak_is_counted_in_bytes():
    assert 10**7 < system.most_held() < 10**12
