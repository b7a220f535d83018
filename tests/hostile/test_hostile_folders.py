"""Folders that strangers write to, and names that are commands: nothing is run, lost or overwritten."""

import errno
import os
import re
import shutil
from pathlib import Path

import pytest

from qtrain_cli.files.locks import held

EVIL = """
import sys
from pathlib import Path
from torch import nn
Path(__file__).with_name("ran").write_text("")
print("inside", file=sys.stderr)

def build():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
"""
QUICK = ("--layers", "4", "--epochs", "1", "--device", "cpu")
COMMAND = re.compile(r"^\s*::|##\w*\[", re.MULTILINE)


@pytest.fixture
def here(tmp_path, digits, artifact, monkeypatch):
    """A folder of the user's own in a shared one."""
    own = tmp_path / "own"
    own.mkdir()
    for path in (digits / "digits.npz", digits / "digits_cnn_module.pt"):
        shutil.copy(path, own)
    shutil.copy(artifact, own / "net.qtrain")
    monkeypatch.chdir(own)
    return own


def test_a_strangers_settings_in_a_shared_folder_run_and_write_nothing(cli, here):
    (here.parent / "evil.py").write_text(EVIL)
    (here / "mine.md").write_text("mine")
    (here.parent / "qtrain.toml").write_text(
        '[export]\narch = "evil.py:build"\n[plan]\narch = "evil.py:build"\n'
        '[report]\nmarkdown = "own/mine.md"\nforce = true\n'
    )
    here.parent.chmod(0o1777)
    for words in (
        ("export", "net.qtrain", "--classical", "-o", "a.safetensors"),
        ("plan", "digits_cnn_module.pt"),
        ("report", "net.qtrain"),
    ):
        ended = cli(*words)
        assert (ended.code, ended.out) == (4, "") and "can be written by everybody" in ended.err
    assert not (here.parent / "ran").exists() and (here / "mine.md").read_text() == "mine"
    (here / "qtrain.toml").write_text("")
    assert cli("report", "net.qtrain").code == 0, "one's own, empty, is nearer"


def test_ones_own_settings_replace_nothing_and_write_nothing_elsewhere(cli, here):
    (here.parent / "mine.md").write_text("mine")
    for line, message in (
        ("force = true", "replaced is said on the command line only"),
        ('markdown = "../mine.md"', "in the file's folder or below"),
    ):
        (here / "qtrain.toml").write_text(f"[report]\n{line}\n")
        ended = cli("report", "net.qtrain")
        assert ended.code == 2 and message in ended.err
    assert (here.parent / "mine.md").read_text() == "mine"


def test_code_is_run_only_where_it_is_needed_and_is_named_before(cli, here):
    (here / "evil.py").write_text(EVIL)
    (here / "qtrain.toml").write_text('[export]\narch = "evil.py:build"\n[plan]\narch = "evil.py:build"\n')
    assert cli("export", "net.qtrain", "--classical", "-o", "a.safetensors").code == 0
    assert cli("export", "net.qtrain", "--quantum", "-o", "a.qasm", "--force").code == 2  # --arch: no use
    assert not (here / "ran").exists()
    ended = cli("export", "net.qtrain", "--classical", "-o", "a.pt2")
    named = f"running '{here / 'evil.py'}' for --arch\ninside\n"
    assert named in ended.err and (here / "ran").exists()
    assert "running '" not in cli("export", "net.qtrain", "--classical", "-o", "b.pt2", "-q").err


def test_data_code_is_named_before_it_is_run(cli, here):
    text = "import sys\nprint('inside', file=sys.stderr)\ndef rows():\n    return 1\n"
    (here / "rows.py").write_text(text)
    ended = cli("compress", "digits_cnn_module.pt", "--data", "rows.py:rows", *QUICK)
    assert f"running '{here / 'rows.py'}' for --data\ninside\n" in ended.err and ended.code == 2


@pytest.mark.parametrize("option", ["--arch", "--data"])
def test_the_help_says_that_code_is_run_and_from_where(cli, option):
    text = " ".join(cli("compress", "--help").out.split())
    assert "which is run; from the current folder" in text[text.index(option) :][:150]


@pytest.mark.parametrize("words", [("--force",), ()])
def test_a_link_in_the_checkpoints_place_leads_to_no_loss(cli, here, words):
    (here / "mine").write_text("mine")
    (here / "new.qtrain.ckpt").symlink_to("mine")
    ended = cli(
        "compress", "digits_cnn_module.pt", "--data", "digits.npz", "-o", "new.qtrain", *QUICK, *words
    )
    assert ended.code == (0 if words else 2)
    assert (here / "mine").read_text() == "mine" and not (here / "mine").is_symlink()


@pytest.mark.parametrize("verb", ["compress", "train"])
def test_a_second_run_on_one_output_is_told_who_has_it(cli, here, verb):
    first = "digits_cnn_module.pt" if verb == "compress" else "qnn:qubits=2,layers=1"
    with held(here / "new.qtrain"):
        ended = cli(verb, first, "--data", "digits.npz", "-o", "new.qtrain", "--epochs", "1", "--force")
    who = f"another run is at work on 'new.qtrain': process {os.getpid()} on "
    assert ended.code == 1 and who in ended.err and "wait for it" in ended.err
    assert not list(here.glob("new.qtrain*"))


def test_a_second_comparison_of_the_same_cells_too(cli, here):
    words = ("compare", "digits_cnn_module.pt", "--data", "digits.npz", "--bytes", "300", "--methods",
             "quantisation", "--quick", "--epochs", "2", "--state", "cells")  # fmt: skip
    assert cli(*words).code == 0  # too small for it: nothing is trained
    (cells,) = (here / "cells").iterdir()
    with held(cells):
        ended = cli(*words)
    assert ended.code == 1 and "another run is at work on" in ended.err


def test_pipes_are_nothing_to_wait_for(cli, here):
    (here / "set").mkdir()
    for name in (
        "set/train.parquet",
        "set/test.parquet",
        "rows.npz",
        "rows.csv",
        "net.pt",
        "a.py",
        "qtrain.toml",
    ):
        os.mkfifo(here / name)
    model, to = "digits_cnn_module.pt", ("-o", "new.qtrain")
    for words in (
        ("compress", model, "--data", "set", *to),
        ("compress", model, "--data", "rows.npz", *to),
        ("compress", model, "--data", "rows.csv", *to),
        ("compress", model, "--data", "a.py:rows", *to),
        ("compress", model, "--data", "digits.npz", "--arch", "a.py:Net", *to),
        ("compress", "net.pt", "--data", "digits.npz", *to),
        ("report", "net.pt"),
        ("verify", "net.pt"),
        ("inspect", "net.pt"),
    ):
        ended = cli(*words)  # the first time for its settings
        assert ended.code == 2 and "qtrain.toml" in ended.err
        (here / "qtrain.toml").unlink()
        ended = cli(*words)
        assert ended.code == 2 and ended.err.startswith("qtrain: error: "), words
        os.mkfifo(here / "qtrain.toml")


def test_a_name_is_no_command_of_a_pipeline(cli, here):
    name = "::add-mask::##[add-mask]x.pt"
    (here / "digits_cnn_module.pt").rename(here / name)
    for words in (
        ("compress", name, "--data", "digits.npz", "-o", "new.qtrain", *QUICK),
        ("report", "new.qtrain", "--markdown", "new.md", "--junit", "new.xml"),
        ("report", "new.qtrain", "--json"),
        ("inspect", name),
        ("inspect", "::no.pt"),
        ("compress", "::no.pt", "--data", "digits.npz"),
    ):
        ended = cli(*words)
        assert not COMMAND.search(ended.out) and not COMMAND.search(ended.err), words
        assert "add-mask" in ended.out + ended.err or "no.pt" in ended.err
    for path in (here / "new.md", here / "new.xml"):
        assert not COMMAND.search(path.read_text())


@pytest.mark.parametrize(
    "words",
    [
        ("compress", "digits_cnn_module.pt", "--data", "digits.npz", "-o", "new.qtrain", *QUICK),
        ("compare", "digits_cnn_module.pt", "--data", "digits.npz", "--bytes", "300"),
        ("export", "net.qtrain", "--classical", "-o", "a.safetensors"),
        ("report", "net.qtrain", "--markdown", "a.md"),
    ],
    ids=lambda words: words[0],
)
def test_a_read_only_folder_is_a_line_before_anything_is_trained(cli, here, monkeypatch, words):
    open_path, make = os.open, Path.mkdir

    def refuse(path, flags=os.O_CREAT, *rest, **named):
        if flags & os.O_CREAT and str(path).startswith((str(here), "cells", "digits")):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return open_path(path, flags, *rest, **named)

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(
        Path, "mkdir", lambda path, *args, **named: refuse(path) if args or named else make(path)
    )
    ended = cli(*words)
    assert ended.code == 2 and "could not be written: Read-only file system" in ended.err
    assert "epoch" not in ended.err
