"""Outputs are whole or absent, kept unless forced, and every refusal is one clear line."""

import errno
import os
import resource
import stat
from pathlib import Path

import pytest

from qtrain_cli.errors import BadInput, QtrainError, RunFailed, UsageError
from qtrain_cli.files.atomic import add_to, check_output, hidden, replacing, write_bytes_atomically


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


def test_the_disk_has_the_whole_file_before_it_gets_its_name(tmp_path, monkeypatch):
    seen = []

    def flushed(number):
        seen.append((os.pread(number, 9, 0), names(tmp_path) == ["out.md"]))

    monkeypatch.setattr(os, "fsync", flushed)
    write_bytes_atomically(tmp_path / "out.md", b"hello")
    assert seen == [(b"hello", False)]


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


@pytest.mark.parametrize("dangling", [False, True])
def test_a_symbolic_link_is_replaced_and_what_it_leads_to_stays(tmp_path, dangling):
    target, link = tmp_path / "elsewhere.md", tmp_path / "latest.md"
    link.symlink_to(target)
    if not dangling:
        target.write_bytes(b"theirs")
    with pytest.raises(UsageError, match="exists"):
        write_bytes_atomically(link, b"one")
    write_bytes_atomically(link, b"two", force=True)
    assert not link.is_symlink() and link.read_bytes() == b"two"
    assert target.exists() != dangling and (dangling or target.read_bytes() == b"theirs")


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o4755])
def test_what_replaces_a_file_has_its_mode_but_no_special_bits(tmp_path, mode):
    out = tmp_path / "out"
    out.write_bytes(b"old")
    out.chmod(mode)
    with replacing(out, force=True) as temporary:
        assert stat.S_IMODE(temporary.stat().st_mode) == 0o600, "nobody reads it meanwhile"
        temporary.write_bytes(b"new")
    assert (out.read_bytes(), stat.S_IMODE(out.stat().st_mode)) == (b"new", mode & 0o777)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_replaces_a_file_has_its_owner_and_group(tmp_path):
    out = tmp_path / "out"
    out.write_bytes(b"old")
    out.chmod(0o600)
    os.chown(out, 4711, 4712)
    write_bytes_atomically(out, b"new", force=True)
    found = out.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (4711, 4712, 0o600)


def test_where_the_group_cannot_be_kept_ours_may_not_read_what_the_other_might(tmp_path, monkeypatch):
    def refuse(path, user, group):
        raise PermissionError(errno.EPERM, "no")

    out = tmp_path / "out"
    out.write_bytes(b"old")
    out.chmod(0o664)
    monkeypatch.setattr(os, "chown", refuse)
    write_bytes_atomically(out, b"new", force=True)
    assert stat.S_IMODE(out.stat().st_mode) == 0o604


def test_what_a_killed_writer_left_goes_with_the_next_write_of_that_file_alone(tmp_path):
    out, other = tmp_path / "net.ckpt", tmp_path / "other.ckpt"
    left = [Path(f"{hidden(path)}-0123abcd.ckpt") for path in (out, other)]
    for path in left:
        path.write_bytes(b"half")
    with replacing(out) as live:
        assert names(tmp_path) == sorted([live.name, left[1].name])
        write_bytes_atomically(out, b"in between")
        assert live.exists(), "its writer is alive"
        live.write_bytes(b"whole")
        out.unlink()
    assert names(tmp_path) == sorted(["net.ckpt", left[1].name]) and out.read_bytes() == b"whole"


def test_a_pipe_that_nobody_reads_is_nothing_to_wait_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RunFailed, match="could not be written"):
        add_to(tmp_path / "pipe", "x")


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
