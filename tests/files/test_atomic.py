"""Outputs are whole or absent, kept unless forced, and every refusal is one clear line."""

import errno
import os
import resource
import stat
from pathlib import Path

import pytest

from qtrain_cli.errors import BadInput, QtrainError, RunFailed, UsageError
from qtrain_cli.files.atomic import check_output, replacing, write_bytes_atomically


@pytest.fixture
def small_files_only():
    """The kernel refuses files above 1 MB, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_writes_and_leaves_nothing_else(tmp_path):
    write_bytes_atomically(tmp_path / "out.md", b"hello")
    assert (tmp_path / "out.md").read_bytes() == b"hello"
    assert names(tmp_path) == ["out.md"]


def test_an_existing_output_is_kept_unless_forced(tmp_path):
    out = tmp_path / "out.md"
    out.write_bytes(b"old")
    with pytest.raises(UsageError, match="exists") as caught:
        write_bytes_atomically(out, b"new")
    assert "--force" in caught.value.advice
    assert out.read_bytes() == b"old"
    write_bytes_atomically(out, b"new", force=True)
    assert out.read_bytes() == b"new"


def test_an_output_that_appears_meanwhile_is_kept(tmp_path):
    out = tmp_path / "out.md"
    with pytest.raises(UsageError, match="exists"), replacing(out) as temporary:
        temporary.write_bytes(b"mine")
        out.write_bytes(b"theirs")
    assert out.read_bytes() == b"theirs"
    assert names(tmp_path) == ["out.md"]


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError, RunFailed])
def test_a_failed_block_leaves_the_old_file_and_no_temporary_one(tmp_path, failure):
    out = tmp_path / "out.md"
    out.write_bytes(b"old")
    with pytest.raises(failure), replacing(out, force=True) as temporary:
        temporary.write_bytes(b"half")
        raise failure("stop")
    assert out.read_bytes() == b"old"
    assert names(tmp_path) == ["out.md"]


def test_the_temporary_file_lies_beside_and_has_the_same_ending(tmp_path):
    with replacing(tmp_path / "net.pt2") as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path, ".pt2")
        assert temporary.name.startswith(".")
        temporary.unlink()  # a writer may delete and create anew
        temporary.write_bytes(b"x")


@pytest.mark.parametrize(("mask", "expected"), [(0o022, 0o644), (0o077, 0o600)])
def test_permissions_follow_the_umask(tmp_path, mask, expected):
    before = os.umask(mask)
    try:
        write_bytes_atomically(tmp_path / "out", b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == expected


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "latest.md"
    link.symlink_to(tmp_path / "elsewhere" / "real.md")
    write_bytes_atomically(link, b"one")
    with pytest.raises(UsageError, match="exists"):
        write_bytes_atomically(link, b"two")
    assert link.is_symlink()
    assert (tmp_path / "elsewhere" / "real.md").read_bytes() == b"one"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (".", "is a folder"),
        ("absent/out.md", "the folder of the output .* does not exist"),
        ("file/out.md", "the folder of the output .* does not exist"),
        ("pipe", "not an ordinary file"),
    ],
)
def test_impossible_outputs(tmp_path, name, message):
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BadInput, match=message) as caught:
        check_output(tmp_path / name, force=True)
    assert caught.value.exit_code == 2
    assert "\n" not in caught.value.message


def test_a_full_disk(tmp_path, small_files_only):
    with pytest.raises(RunFailed, match="could not be written: File too large") as caught:
        write_bytes_atomically(tmp_path / "big", bytes(2_000_000))
    assert caught.value.exit_code == 1
    assert "space" in caught.value.advice
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("number", "kind", "advice"),
    [
        (errno.ENOSPC, RunFailed, "free some space"),
        (errno.EACCES, BadInput, "may write"),
        (errno.EROFS, BadInput, "may write"),
        (errno.EIO, RunFailed, "another output"),
    ],
)
def test_errors_of_the_system(tmp_path, monkeypatch, number, kind, advice):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(QtrainError, match=os.strerror(number)) as caught:
        write_bytes_atomically(tmp_path / "out", b"x")
    assert type(caught.value) is kind
    assert advice in caught.value.advice
