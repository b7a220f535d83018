"""The GPU's script: it skips in words, prints a row for each check, and its exit code is of what failed."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parent / "gpu"


@pytest.fixture(scope="module")
def check():
    found = importlib.util.spec_from_file_location("gpu_check", FOLDER / "check.py")
    module = importlib.util.module_from_spec(found)
    sys.modules["gpu_check"] = module
    found.loader.exec_module(module)
    return module


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU: run tests/gpu/check.sh itself")
def test_without_a_gpu_it_says_so():
    own = os.environ | {"PYTHON": sys.executable}
    done = subprocess.run([FOLDER / "check.sh"], capture_output=True, text=True, check=True, env=own)
    assert done.stdout == "skipped: torch sees no CUDA device here\n"


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
