"""Whole command lines that must end with an exit code of the contract and, with ``--json``, one document."""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from qtrain_cli.cli import main

ROOT = Path(__file__).resolve().parents[2]
COMMAND = f'exec "{sys.executable}" -m qtrain_cli '
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def failed(capsys, monkeypatch, tmp_path):
    """``failed(words...)``: the exit code and the message of a command line that fails."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str]:
        code = main([*map(str, words), "--json"])
        return code, json.loads(capsys.readouterr().out)["error"]["message"]

    return run


def shell(line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", COMMAND + line], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120
    )


def test_a_plan_and_a_budget_in_bytes(digits, capsys):
    model = str(digits / "digits_cnn_module.pt")
    assert main(["plan", model, "--bytes", "2KB", "--json"]) == 0
    assert 0 < json.loads(capsys.readouterr().out)["artifact_bytes"] <= 2000


@pytest.mark.parametrize(
    "more",
    [("--batch-size", 10**18, "--input-shape", "1,8,8"), ("--batch-size", 10**30, "--input-shape", "1,8,8"),
     ("--input-shape", "999999999,999999999,999999999")],
)  # fmt: skip
def test_a_probe_that_no_memory_holds(failed, digits, more):
    code, message = failed("plan", digits / "digits_cnn_module.pt", "--layers", 1, *more)
    assert code == 2 and "numbers; allowed" in message


@pytest.mark.parametrize("epochs", ["1000000000", "9" * 400])
def test_epochs_without_end(failed, digits, epochs):
    code, message = failed("compress", "m.pt", "--data", digits / "digits.npz", "--epochs", epochs)
    assert code == 2 and "allowed: 1 to 999999999" in message


def test_a_temperature_that_has_no_square(failed, digits):
    code, message = failed("compress", "m.pt", "--data", digits / "digits.npz", "--temperature", "1e300")
    assert code == 2 and "--temperature is 1e+300" in message


@pytest.mark.parametrize("model", ["", ".", "/", "a" * 300])
def test_a_model_that_cannot_be_a_file(failed, digits, model):
    code, message = failed("compress", model, "--data", digits / "digits.npz")
    assert code == 2 and ("is a folder" in message or "File name too long" in message)


def test_a_pipe_is_not_waited_for(failed, tmp_path):
    os.mkfifo(tmp_path / "model.pt")
    code, message = failed("plan", tmp_path / "model.pt")
    assert code == 2 and "is not an ordinary file" in message


def test_a_folder_that_is_gone(failed, tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    code, message = failed("report", "x.qtrain")
    assert code == 2 and "the current folder does not exist" in message


def test_a_file_name_that_is_not_unicode(digits, tmp_path, capsys):
    model = tmp_path / os.fsdecode(b"m\xff\n.pt")
    shutil.copy(digits / "digits_cnn_module.pt", model)
    assert main(["plan", str(model), "--layers", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "m\\udcff\\n.pt"


def test_an_empty_tensor_of_endless_sizes(failed, tmp_path):
    row = {"dtype": "F32", "shape": [0, 2**61, 2**61], "data_offsets": [0, 0]}
    header = json.dumps({"a": row}).encode()
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    code, message = failed("inspect", tmp_path / "m.safetensors")
    assert code == 2 and "a tensor that cannot be" in message


@pytest.mark.parametrize(
    ("line", "code"), [("env >&-", 0), ("report nope 2>&-", 2), ("report nope 2>/dev/full", 2)]
)
def test_streams_that_are_closed_or_full(tmp_path, line, code):
    done = shell(line, tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert "Traceback" not in done.stderr


def test_without_stderr_stdout_is_one_document_still(tmp_path, digits):
    line = f"compress '{digits}/digits_cnn_module.pt' --data '{digits}/digits.npz' --layers 1 --epochs 1"
    done = shell(f"{line} --json -o a.qtrain 2>&-", tmp_path)
    assert done.returncode == 0
    assert json.loads(done.stdout)["layers"] == 1
    assert {path.name for path in tmp_path.iterdir()} == {"a.qtrain", "a.qtrain.jsonl"}


def test_what_an_interruption_broke_is_an_interruption(tmp_path):
    (tmp_path / "data.py").write_text(
        "import os, signal\nfrom qtrain_cli.cli import perform\n"
        "def rows():\n    try:\n        os.kill(os.getpid(), signal.SIGTERM)\n    except BaseException:\n"
        "        del perform.write_outputs\n    return [[0.0]] * 4, [0] * 4, [[0.0]], [0]\n"
    )
    torch.save(torch.nn.Linear(1, 2), tmp_path / "m.pt")
    done = shell("compress m.pt --data data.py:rows --layers 1 --epochs 1 --teacher-any --json", tmp_path)
    assert done.returncode == 130
    assert json.loads(done.stdout)["error"]["kind"] == "interrupted"


def test_an_interruption_outside_the_training_has_its_document_too(tmp_path):
    (tmp_path / "data.py").write_text(
        "import time\ndef rows():\n    open('here', 'w').close()\n    time.sleep(60)\n"
    )
    line = f"compress '{ROOT}/samples/digits/digits_cnn_module.pt' --data data.py:rows --layers 1 --json"
    process = subprocess.Popen(
        ["sh", "-c", COMMAND + line], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    while not (tmp_path / "here").exists():
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(output)["error"]["kind"] == "interrupted"
