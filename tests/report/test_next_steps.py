"""`qtrain` alone at a terminal: what lies there, and commands that work as they stand."""

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest


@pytest.fixture
def alone(tmp_path, monkeypatch, cli):
    """``alone()``: the commands that `qtrain` proposes in a folder, and all that it says."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def call():
        with monkeypatch.context() as patch:
            patch.setattr(sys.stdout, "isatty", lambda: True)
            ended = cli()
        assert ended.code == 0, ended.err
        text = re.sub(r"\x1b\[[0-9;]*m", "", ended.out)
        return [line.strip() for line in text.splitlines() if line.startswith("  qtrain ")], text

    return call


def run(cli, line, *more):
    program, *words = shlex.split(line)
    assert program == "qtrain"
    ended = cli(*words, *more)
    assert ended.code == 0, ended.err


def test_in_an_empty_folder_the_sample_is_offered_and_the_page_exists(alone, cli):
    steps, text = alone()
    assert "neither a model, nor data, nor an artifact" in text
    assert steps == ["qtrain init --sample", "qtrain help start"]
    for step in steps:
        run(cli, step)


def test_a_model_and_its_data_lead_to_an_artifact_a_report_and_a_card(alone, cli, digits):
    shutil.copy(digits / "digits.npz", "my digits.npz")
    shutil.copy(digits / "digits_cnn.pt", ".")
    shutil.copy(digits / "digits_cnn_module.pt", "-net.pt")
    steps, text = alone()
    assert steps[0] == "qtrain init ./-net.pt --data 'my digits.npz'" and "needs" not in text
    run(cli, steps[0], "-q")
    steps, _ = alone()
    assert steps == ["qtrain compress"]
    run(cli, steps[0], "--epochs", "1", "--device", "cpu", "-q")
    steps, _ = alone()
    assert [step.split()[1] for step in steps] == ["report", "export", "card", "compress"]
    for step in steps[:3]:
        run(cli, step)
    run(cli, steps[3], "--epochs", "1", "--device", "cpu", "-q")


def test_tensors_alone_get_the_class_that_lies_there(alone, digits):
    shutil.copy(digits / "digits_cnn.pt", ".")
    assert "qtrain plan digits_cnn.pt --arch FILE.py:CLASS" in alone()[0]
    shutil.copy(digits.parent / "digits_cnn.py", "net.py")
    assert "qtrain plan digits_cnn.pt --arch net.py:digits_cnn" in alone()[0]


def test_a_readme_that_is_there_is_not_proposed(alone, artifact):
    shutil.copy(artifact, "net.qtrain")
    assert "qtrain card net.qtrain -o README.md" in alone()[0]
    Path("README.md").touch()
    assert "qtrain card net.qtrain -o MODEL_CARD.md" in alone()[0]


def test_an_interrupted_run_comes_first(alone):
    Path("net.qtrain.ckpt").touch()
    steps, text = alone()
    assert steps[0] == "qtrain compress ... --resume" and "'net.qtrain.ckpt'" in text


def test_a_hostile_name_is_quoted_and_moves_no_cursor(alone):
    Path("a;\x1b[2Jb.pt").touch()
    steps, text = alone()
    assert "\x1b" not in text and "'a;\\x1b[2Jb.pt'" in steps[0]


def test_whoever_reads_a_pipe_gets_the_help(cli):
    assert cli() == cli("--help")
