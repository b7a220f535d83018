"""Which `qtrain.toml` is found, and whose are taken."""

import os
from pathlib import Path

import pytest

from qtrain_cli.errors import BadInput, Refused, UsageError
from qtrain_cli.files import config_file
from qtrain_cli.files.config_file import MAX_BYTES, find_config, read_config


@pytest.fixture
def below(tmp_path):
    """A folder two below one that has a `qtrain.toml`."""
    (tmp_path / "qtrain.toml").write_text("[compress]\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    return tmp_path / "a" / "b"


def given_away(path, monkeypatch):
    """Makes a file or folder somebody else's."""
    if os.geteuid() == 0:
        os.chown(path, 4711, -1)
    else:
        own = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: own + 1)


def test_the_search_ends_with_the_repository(tmp_path, below):
    assert find_config(below) == tmp_path / "qtrain.toml"
    (tmp_path / ".git").mkdir()
    assert find_config(below) == tmp_path / "qtrain.toml"
    (below.parent / ".git").write_text("gitdir: elsewhere")
    assert find_config(below) is None


def test_the_search_ends_with_the_home_folder(tmp_path, below, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_config(below) == tmp_path / "qtrain.toml"
    monkeypatch.setenv("HOME", str(below.parent))
    assert find_config(below) is None


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a second file system")
def test_the_search_ends_with_the_file_system():
    assert list(config_file._folders(Path("/proc/self")))[-1] == Path("/proc")


def test_ones_own_is_taken(tmp_path, below):
    assert read_config(tmp_path / "qtrain.toml") == b"[compress]\n"


@pytest.mark.parametrize(
    ("of", "what"), [("qtrain.toml", "it belongs to"), (".", r"its folder \('.*'\) belongs to")]
)
def test_a_strangers_is_refused(tmp_path, below, monkeypatch, of, what):
    given_away(tmp_path / of, monkeypatch)
    with pytest.raises(
        Refused, match=f"is not taken, since {what if os.geteuid() == 0 else '.*belongs'} "
    ) as caught:
        read_config(tmp_path / "qtrain.toml")
    assert "of your own" in caught.value.advice


@pytest.mark.parametrize(("of", "mode"), [("qtrain.toml", 0o666), (".", 0o777), (".", 0o1777)])
def test_one_that_everybody_could_write_is_refused(tmp_path, below, of, mode):
    (tmp_path / of).chmod(mode)
    with pytest.raises(Refused, match="can be written by everybody"):
        read_config(tmp_path / "qtrain.toml")


@pytest.mark.parametrize(("private", "code"), [(True, 0), (False, 4)])
@pytest.mark.parametrize("of", ["qtrain.toml", "."])
def test_a_group_may_write_it_where_it_is_the_user_alone(tmp_path, below, monkeypatch, private, code, of):
    monkeypatch.setattr(config_file, "_is_private", lambda group, user: private)
    (tmp_path / of).chmod(0o775)
    try:
        read_config(tmp_path / "qtrain.toml")
        found = 0
    except Refused as error:
        found = error.exit_code
        assert "can be written by the group" in error.message
    assert found == code


def test_a_link_is_as_good_as_what_it_leads_to(tmp_path, below):
    link = below / "qtrain.toml"
    link.symlink_to(tmp_path / "qtrain.toml")
    assert read_config(link) == b"[compress]\n"
    tmp_path.chmod(0o1777)
    with pytest.raises(Refused, match=r"the folder that it is linked to .* can be written by everybody"):
        read_config(link)


def test_what_is_no_ordinary_file_is_nothing_to_wait_for(tmp_path):
    os.mkfifo(tmp_path / "qtrain.toml")
    with pytest.raises(BadInput, match="not an ordinary file"):
        read_config(tmp_path / "qtrain.toml")


def test_one_without_end_is_refused_unread(tmp_path):
    with (tmp_path / "qtrain.toml").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UsageError, match=f"has more than {MAX_BYTES} bytes"):
        read_config(tmp_path / "qtrain.toml")
