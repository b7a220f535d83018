"""The GPU's script: it skips in words, prints a row for each check, and its exit code is of what failed."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from qtrain_cli.cli.app import kinds_of
from qtrain_cli.cli.table import COMMANDS

FOLDER = Path(__file__).parent / "gpu"


@pytest.fixture(scope="module")
def check():
    found = importlib.util.spec_from_file_location("gpu_check", FOLDER / "check.py")
    module = importlib.util.module_from_spec(found)
    sys.modules["gpu_check"] = module
    found.loader.exec_module(module)
    return module


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: run tests/gpu/check.sh itself")
def test_without_a_gpu_it_says_so(warm):
    own = os.environ | {"PYTHON": shutil.which("python", path=warm)}
    done = subprocess.run([FOLDER / "check.sh"], capture_output=True, text=True, check=True, env=own)
    assert done.stdout == "skipped: torch sees no CUDA device here\n"


@pytest.mark.parametrize("python", ["/nonexistent/python", "/bin/false"])
def test_without_pytorch_nothing_can_be_said_and_it_fails(python):
    own = os.environ | {"PYTHON": python}
    done = subprocess.run([FOLDER / "check.sh"], capture_output=True, text=True, env=own)
    assert done.returncode == 1 and "has no PyTorch" in done.stderr and not done.stdout


def test_the_row_of_resnet20_says_options_that_there_are(check, tmp_path):
    words = check.resnet_words("cuda", tmp_path / "net.th", tmp_path / "rows", 20, tmp_path / "state")
    known = {f"--{name}" for name in kinds_of(COMMANDS[words[0]])}
    assert {word for word in words if word.startswith("--")} <= known and "-o" not in words
    with pytest.raises(SystemExit, match=r"--shared names where they are"):
        check.resnet("cuda", tmp_path, 20)


def test_what_a_comparison_found_is_a_figure_a_method(check):
    cells = [{"method": "ours", "end": "done", "test": 0.7, "note": ""}]
    assert check.told_cells({"cells": cells}) == "ours 70.00%"
    cells.append({"method": "subspace", "end": "failed", "test": None, "note": "too large"})
    with pytest.raises(SystemExit, match="subspace: too large"):
        check.told_cells({"cells": cells})


def test_a_fit_that_learns_too_little_fails(check, monkeypatch):
    said = {"test_accuracy": 0.2, "device": "cpu", "seconds": 1}
    monkeypatch.setattr(check, "qtrain", lambda *words: said)
    with pytest.raises(SystemExit, match=r"20\.00% on cpu; needed: 50% on cpu"):
        check.fit("cpu")


def test_the_rows_take_eight_minutes_at_most(check):
    assert sum(row.limit for row in check.checks("cuda", Path())) <= 480


@pytest.mark.parametrize(
    ("code", "limit", "failed", "said"),
    [
        ("print('a'); print('12 ms')", 60, False, "12 ms"),
        ("raise SystemExit('the gradient is off')", 60, True, "the gradient is off"),
        ("import time; time.sleep(30)", 0.5, True, "not done after 0 s"),
    ],
)
def test_a_row(check, code, limit, failed, said):
    found = check.run(check.Check("one", (sys.executable, "-c", code), limit))
    assert (found.failed, found.said) == (failed, said)


def test_the_table_and_its_exit_code(check, monkeypatch, capsys):
    rows = [check.Check("good", (sys.executable, "-c", "print(1)"), 60)]
    monkeypatch.setattr(check, "checks", lambda device, shared: iter(rows))
    monkeypatch.setattr(sys, "argv", ["check.py", "--device", "cpu"])
    assert check.main() == 0 and "all passed" in capsys.readouterr().out
    rows.append(check.Check("bad", (sys.executable, "-c", "raise SystemExit('no')"), 60))
    assert check.main() == 1
    assert "| bad | FAILED: no |" in capsys.readouterr().out


def test_an_engine_that_differs_fails(check, monkeypatch):
    assert "off float64" in check.engine("cpu", 4, "real-amplitudes")
    monkeypatch.setattr(check, "AGREES", 0.0)
    with pytest.raises(SystemExit, match="of its largest entry off"):
        check.engine("cpu", 4, "real-amplitudes")
