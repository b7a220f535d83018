"""What a shell is told, by the very call that its script makes; and that it loads no torch."""

import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from qtrain_cli.cli.completion import PROPOSALS
from qtrain_cli.cli.table import COMMANDS
from qtrain_cli.quantum.circuit import ANSATZE

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def here(tmp_path, digits, artifact, monkeypatch):
    for name in ("digits.npz", "digits_cnn_module.pt", "digits_cnn.safetensors"):
        shutil.copy(digits / name, tmp_path)
    shutil.copy(artifact, tmp_path / "net.qtrain")
    shutil.copy(digits.parent / "digits_cnn.py", tmp_path / "own.py")
    (tmp_path / "runs").mkdir()
    shutil.copy(artifact, tmp_path / "runs" / "old.qtrain")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def proposed(warm):
    """``proposed(line)``, forked from a process that has imported what this may not load."""
    return partial(proposals, shutil.which("python", path=warm), PATH=warm)


def proposals(python, line, **more):
    """What bash is given for a line whose last word is being typed."""
    words = line.split(" ")
    environment = {
        **os.environ, "_QTRAIN_COMPLETE": "complete_bash", "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1), "PYTHONPATH": str(ROOT), **more,
    }  # fmt: skip
    done = subprocess.run(
        [python, "-m", "qtrain_cli"], env=environment, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("qtrain com", ["compress", "compare", "compare-students", "compare-gradients"]),
        ("qtrain report ", ["net.qtrain", "runs/"]),
        ("qtrain verify runs/", ["runs/old.qtrain"]),
        ("qtrain compress digits_cnn.safetensors --arch ", ["own.py:digits_cnn"]),
        ("qtrain compress digits_cnn_module.pt --targets conv1", ["conv1.weight", "conv1.bias", "conv1.*"]),
        ("qtrain compress digits_cnn.safetensors --ignore fc", ["fc.bias", "fc.weight", "fc.*"]),
        ("qtrain compress digits_cnn_module.pt --ansatz ", list(ANSATZE)),
        ("qtrain compare net.pt --methods direct,qu", ["direct,quantisation"]),
        ("qtrain compress digits_cnn_module.pt --data digits.", ["digits.npz"]),
        ("qtrain help by", ["bytes"]),
        ("qtrain compress absent.pt --targets ", []),
    ],
)
def test_the_shell_proposes_what_is_there(here, proposed, line, names):
    assert sorted(proposed(line)) == sorted(names)


def test_completion_answers_where_qtrain_toml_is_broken(here, proposed):
    (here / "qtrain.toml").write_text("[broken")
    assert proposed("qtrain report n") == ["net.qtrain"]


def test_completion_of_tensors_loads_no_torch(here):
    (here / "torch.py").write_text("raise SystemExit('torch was loaded')\n")
    line = "qtrain compress digits_cnn_module.pt --targets fc"
    names = proposals(sys.executable, line, PYTHONPATH=f"{here}{os.pathsep}{ROOT}")
    assert "fc.weight" in names


def test_every_word_for_proposals_has_a_row_and_every_row_an_option():
    options = [option for row in COMMANDS.values() for option in row.options.values()]
    assert {option.completes for option in options} - {""} == set(PROPOSALS)


def test_hostile_folders_are_no_failure(here, proposed):
    (here / "broken.pt").write_bytes(b"PK\x03\x04" + b"\xff" * 50)
    (here / "bad.py").write_text("class (")
    began = time.monotonic()
    assert proposed("qtrain compress broken.pt --targets ") == []
    assert proposed("qtrain plan broken.pt --arch ") == ["own.py:digits_cnn"]
    assert time.monotonic() - began < 60
