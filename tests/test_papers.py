"""The scripts of the three papers' claims: each command is one that the command line takes, each states its
time, finished runs are read and not run again, and the page has a row and a verdict for every claim."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from qtrain_cli.cli.app import kinds_of
from qtrain_cli.cli.table import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PAPERS = ROOT / "samples" / "papers"
SCRIPTS = sorted(PAPERS.glob("[0-9]*.py"), key=lambda path: int(path.name.partition("_")[0]))
PAGE = ROOT / "samples" / "results" / "papers.md"
VERDICTS = ("not reproduced", "reproduced, but the control does as well", "reproduced")


@pytest.fixture(autouse=True, scope="module")
def on_the_path(warm: str) -> Iterator[None]:
    """What scripts start is this checkout's, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", warm)
        yield


def run(script: Path, *words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = ["python", script, *words]
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_there_is_a_script_for_each_of_ten_claims():
    assert [int(path.name.partition("_")[0]) for path in SCRIPTS] == list(range(1, 11))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_states_its_time_and_lists_commands_that_exist(script, tmp_path):
    told = run(script, "--help", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert re.search(r"^Time: .*(minutes|hours)", told.stdout, re.MULTILINE)
    listed = run(script, "--list", cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert not list(tmp_path.iterdir())
    if script.name.startswith("3_"):  # a loop of its own: losses of others than ours are no command's
        assert not listed.stdout
        return
    commands = [shlex.split(line) for line in listed.stdout.splitlines()]
    assert commands
    for words in commands:
        assert words[0] == "qtrain"
        known = {f"--{name}" for name in kinds_of(COMMANDS[words[1]])} | {"--json", "--out"}
        assert {word for word in words if word.startswith("--")} <= known, words


def test_a_finished_run_is_read_and_its_row_shown(tmp_path):
    (script,) = (path for path in SCRIPTS if path.name.startswith("7_"))
    kept = tmp_path / "papers"
    kept.mkdir()
    for name, accuracy in (("hybrid", 0.75), ("control", 0.5)):
        for epochs, seconds in ((20, 1.0), (140, 2.2)):
            record = {"parameters": 790, "test_accuracy": accuracy, "history": [[0.125, 0.5]]}
            (kept / f"7-{name}-{epochs}-0.json").write_text(json.dumps(record))
            (kept / f"7-{name}-{epochs}-0.seconds").write_text(str(seconds))
    done = run(script, "--seeds", 1, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "| hybrid | 790 | 75.00 % | 0.125 | 1.00 |" in done.stdout.splitlines()
    assert "| control | 790 | 50.00 % | 0.125 | 1.00 |" in done.stdout.splitlines()


@pytest.mark.parametrize(
    ("script", "names", "row"),
    [
        (
            1,
            [f"1-{blocks}-0" for blocks in (1, 4, 7, 10, 13, 16)],
            "| 1,497 | 91.2 % | 75.00 % | 0.250 | 1 |",
        ),
        (
            2,
            [f"2-{weights}-0" for weights in (3730, 6690, 16180, 285226)],
            "| 6,690 | the paper's MNIST network | 13 | 171 | 75.00 % | 99.00 % |",
        ),
        (
            4,
            ["4-5600-0", "4-27951-0", "4-hashing-3770", "4-hashing-17450"],
            "| circuits | 1,497 | 3,769 | 1 | 75.00 % |",
        ),
        (
            4,
            ["4-5600-0", "4-27951-0", "4-hashing-3770", "4-hashing-17450"],
            "| hashing | 9,474 | 3,764 | 2 | 61.00 ± 1.41 % |",
        ),
    ],
)
def test_the_rows_of_records_that_are_kept(tmp_path, script, names, row):
    kept = tmp_path / "papers"
    kept.mkdir()
    for teacher in ("cifar10_cnn.pt", "mnist_relu_cnn.pt"):
        (kept / teacher).touch()
    record = {
        "trained_numbers": 1497,
        "test_accuracy": 0.75,
        "train_loss": 0.25,
        "teacher_test_accuracy": 0.99,
        "artifact_bytes": 3769,
        "cells": [{"file_bytes": 3764 - n, "numbers": 9474, "test": 0.6 + n / 50} for n in (0, 1)],
    }
    for name in names:
        (kept / f"{name}.json").write_text(json.dumps(record))
    done = run(SCRIPTS[script - 1], "--seeds", 1, cwd=tmp_path)
    assert done.returncode == 0 and row in done.stdout.splitlines(), done.stdout + done.stderr


def test_what_another_command_wrote_is_run_again(tmp_path):
    script, kept = SCRIPTS[0], tmp_path / "papers"
    kept.mkdir()
    (kept / "1-16-0.json").write_text("{}")
    (kept / "1-16-0.command").write_text("compress another.pt")
    done = run(script, "--seeds", 1, cwd=tmp_path)
    assert done.returncode and "1-16-0 ended with 2" in done.stderr  # the network is not there


def test_the_page_has_a_verdict_for_every_claim_and_names_its_script():
    text = PAGE.read_text()
    claims = re.split(r"^## (?=\d+\. )", text, flags=re.MULTILINE)[1:]
    assert [int(claim.partition(".")[0]) for claim in claims] == list(range(1, 11))
    for claim, script in zip(claims, SCRIPTS, strict=True):
        assert re.search(rf"^\*\*Verdict: ({'|'.join(VERDICTS)})\.\*\*", claim, re.MULTILINE), claim[:80]
        assert f"samples/papers/{script.name}" in claim


def test_the_readme_quotes_the_verdicts():
    page = dict(re.findall(r"^## (\d+)\. .*?^\*\*Verdict: (.*?)\.\*\*", PAGE.read_text(), re.M | re.S))
    quoted = dict(re.findall(r"^\| (\d+) \| .* \| ([a-z, ]+) \|$", (ROOT / "README.md").read_text(), re.M))
    assert quoted == page and len(page) == 10
