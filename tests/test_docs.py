"""The README is executed: its commands run word for word in order, its Python too, and its output is real."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qtrain_cli.cli.app import kinds_of
from qtrain_cli.cli.table import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = [(match[1], match[2]) for match in FENCE.finditer(README)]
TOUR = [(kind, text) for kind, text in BLOCKS if kind in ("sh", "python") and ".venv" not in text]
SET_UP = [text.strip() for kind, text in BLOCKS if kind == "sh" and ".venv" in text]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each block of the tour prints, run in order in one folder that holds the samples."""
    folder = tmp_path_factory.mktemp("tour")
    shutil.copytree(ROOT / "samples", folder / "samples")
    shim = folder / "bin" / "qtrain"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m qtrain_cli "$@"\n')
    shim.chmod(0o755)
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{shim.parent}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    printed = []
    for kind, text in TOUR:
        command = ["sh", "-e", "-c", text] if kind == "sh" else [sys.executable, "-c", text]
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{text}\n{done.stderr}"
        printed.append(done.stdout)
    return printed


def test_the_tour_runs_word_for_word(outputs: list[str]) -> None:
    assert len(outputs) == len(TOUR) >= 6
    assert "torch.Size([1, 10]) 11" in "".join(outputs)


@pytest.mark.parametrize(("number", "command"), enumerate(("qtrain compress", "qtrain sample")))
def test_the_shown_output_has_the_lines_of_the_real_one(
    outputs: list[str], number: int, command: str
) -> None:
    shown = [text for kind, text in BLOCKS if kind == "text"][number]
    real = next(text for (_, block), text in zip(TOUR, outputs, strict=True) if command in block)
    assert _labels(shown) == _labels(real)


def _labels(table: str) -> list[str]:
    """The left-hand side of each line, without the figures."""
    return [re.split(r" {2,}", line.strip())[0] for line in table.splitlines()[1:] if line.strip()]


def test_ci_runs_the_two_set_up_commands_word_for_word() -> None:
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    assert len(SET_UP) == 2
    assert all(command in script for command in SET_UP)


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    table = set(re.findall(r"^\| `qtrain ([\w-]+)", README, re.MULTILINE))
    assert table == set(COMMANDS)


def test_every_option_in_the_readme_exists() -> None:
    known = {f"--{name}" for command in COMMANDS.values() for name in kinds_of(command)} | {
        "--json",
        "--check",
    }
    known |= set(re.findall(r'"(--[a-z-]+)"', (ROOT / "tests/benchmarks/conftest.py").read_text()))
    assert set(re.findall(r"(?<![\w-])--[a-z][\w-]+", README)) <= known


def test_every_linked_file_exists() -> None:
    links = re.findall(r"\]\((?!http)([^)]+)\)", README)
    assert links and all((ROOT / link).exists() for link in links)
