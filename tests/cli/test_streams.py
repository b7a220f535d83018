"""What a model's code prints is no data: with --json, stdout stays one document."""

import json
import os
import subprocess
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]
NET = """
import ctypes, os, sys
from torch import nn
{on_import}

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(8, 4)
        {on_making}

    def forward(self, x):
        {on_call}
        return self.a(x)
"""
NOTHING = {"on_import": "pass", "on_making": "pass", "on_call": "pass"}
SAYS = "print('hello from the model')"


@pytest.fixture
def plan(cli, tmp_path):
    """``plan(**code)``: `qtrain plan --json` of a model that runs this code at its stages."""
    torch.save({"a.weight": torch.ones(4, 8), "a.bias": torch.ones(4)}, tmp_path / "m.pt")

    def call(run=cli, **code):
        (tmp_path / "net.py").write_text(NET.format(**(NOTHING | code)))
        arch = f"{tmp_path / 'net.py'}:Net"
        words = ("--arch", arch, "--input-shape", "8", "--device", "cpu", "--layers", "1", "--json")
        return run("plan", tmp_path / "m.pt", *words)

    return call


@pytest.mark.parametrize("stage", NOTHING)
def test_prints_of_a_model_go_to_stderr(plan, stage):
    ended = plan(**{stage: SAYS})
    assert ended.code == 0 and json.loads(ended.out)["weights"] == 36
    assert "hello from the model" in ended.err


def test_compiled_code_and_children_print_on_stderr_too(plan, warm):
    code = "os.write(1, b'descriptor\\n'); os.system('echo child'); ctypes.CDLL(None).puts(b'buffered')"

    def run(*words):
        line, own = ["qtrain", *map(str, words)], os.environ | {"PATH": warm}
        return subprocess.run(line, capture_output=True, text=True, cwd=ROOT, env=own)

    ended = plan(run, on_import=code)
    assert ended.returncode == 0 and json.loads(ended.stdout)["weights"] == 36
    assert all(word in ended.stderr for word in ("descriptor", "child", "buffered"))


def test_a_failure_is_one_document_beside_prints(plan):
    ended = plan(on_making=f"{SAYS}; raise ValueError('no')")
    assert ended.code == 2 and list(json.loads(ended.out)) == ["error"]


def test_a_command_line_is_not_the_models(plan):
    ended = plan(on_import="import argparse; argparse.ArgumentParser().parse_args()")
    assert ended.code == 0
    ended = plan(on_import="import sys; sys.exit(0)")
    advice = json.loads(ended.out)["error"]["advice"]
    assert ended.code == 2 and advice == "put what the file runs under: if __name__ == '__main__'"


def test_streams_are_given_back(capfd, tmp_path):
    from qtrain_cli.cli.streams import prints_on_stderr

    with pytest.raises(ZeroDivisionError), prints_on_stderr():
        print("one")
        os.write(1, b"two\n")
        raise ZeroDivisionError
    print("three")
    out, err = capfd.readouterr()
    assert out == "three\n" and set(err.split()) == {"one", "two"}
