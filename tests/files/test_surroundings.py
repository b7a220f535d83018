"""What lies in a folder, and what `--arch` could name there."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from qtrain_cli.files.classes import MOST_SOURCE_BYTES, network_classes
from qtrain_cli.files.surroundings import Sight, look_around


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(kind):
    return {path.name for path in look_around(Path()).of(kind)}


def test_files_are_told_by_name_and_header(here, digits, artifact):
    for name in ("digits.npz", "digits_cnn.pt", "digits_cnn.pt2", "digits_cnn.safetensors"):
        shutil.copy(digits / name, here)
    shutil.copy(artifact, here / "net.qtrain")
    shutil.copy(artifact, here / "renamed.safetensors")
    empty = ("net.qtrain.ckpt", "net.qtrain.jsonl", "other.ckpt", "qtrain.toml", "other.toml", "notes.txt")
    for name in (*empty, ".hidden.pt"):
        (here / name).touch()
    (here / "bert").mkdir()
    (here / "bert" / "config.json").touch()
    assert names(Sight.MODEL) == {"digits_cnn.pt", "digits_cnn.pt2", "digits_cnn.safetensors", "bert"}
    assert names(Sight.ARTIFACT) == {"net.qtrain", "renamed.safetensors"}
    assert (names(Sight.DATA), names(Sight.STATE), names(Sight.CONFIG)) == (
        {"digits.npz"},
        {"net.qtrain.ckpt"},
        {"qtrain.toml"},
    )


@pytest.mark.parametrize("split", ["train.csv", "train-00000-of-00001.parquet", "train.jsonl", "train/"])
def test_a_folder_with_a_train_split_is_data_from_within_and_without(here, split, monkeypatch):
    (here / "rows").mkdir()
    (here / "rows" / split).mkdir() if split.endswith("/") else (here / "rows" / split).touch()
    assert names(Sight.DATA) == {"rows"}
    monkeypatch.chdir("rows")
    assert look_around(Path()).first(Sight.DATA) == Path()


def test_the_newest_comes_first(here):
    for age, name in enumerate(("a.pt", "b.pt", "c.pt")):
        (here / name).touch()
        os.utime(here / name, (1000 - age, 1000 - age))
    assert [path.name for path in look_around(Path()).of(Sight.MODEL)] == ["a.pt", "b.pt", "c.pt"]


def test_what_cannot_be_read_is_passed_over(here):
    (here / "broken.safetensors").write_bytes(b"\xff" * 30)
    (here / "dangling.pt").symlink_to("absent")
    assert look_around(Path()).found == {} and look_around(Path("absent")).found == {}


def test_networks_are_found_by_text_alone(here):
    (here / "net.py").write_text(
        "raise SystemExit\nclass A(torch.nn.Module): ...\nclass B(A): ...\nclass C(Other): ...\n"
        "def made(width=3) -> nn.Sequential: ...\ndef needs(width) -> nn.Module: ...\n"
        "def _own() -> nn.Module: ...\n"
    )
    (here / "broken.py").write_text("class A(nn.Module:\n")
    assert list(network_classes(Path())) == ["net.py:A", "net.py:B", "net.py:made"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_a_device_and_a_huge_file_have_no_networks(here):
    os.mkfifo(here / "pipe.py")
    (here / "full.py").symlink_to("/dev/zero")
    (here / "huge.py").write_text("class A(nn.Module): ...\n" + "#" * MOST_SOURCE_BYTES)
    code = "import pathlib; from qtrain_cli.files.classes import *; print(*network_classes(pathlib.Path()))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=20, check=True)
    assert ended.stdout.strip() == b""
