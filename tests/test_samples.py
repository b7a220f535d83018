"""Every numbered sample runs, in order, as its first lines say, and the CI sample does what it promises."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "samples"
SHARED = ROOT.parent / "shared"


@pytest.fixture(autouse=True, scope="module")
def on_the_path(warm: str) -> Iterator[None]:
    """`qtrain` is this checkout's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", warm)
        yield


def run(*words: object, cwd: Path) -> str:
    """The standard output of a command that must end well."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the second sample has been run, in fewer epochs: the others use what it leaves."""
    folder = tmp_path_factory.mktemp("samples")
    output = run("sh", SAMPLES / "2_compress_digits.sh", folder, "--epochs", 30, cwd=folder)
    (folder / "output").write_text(output)
    return folder


def test_every_numbered_sample_is_tested_here() -> None:
    numbered = {path.name for path in SAMPLES.iterdir() if re.match(r"\d_", path.name)}
    text = Path(__file__).read_text()
    assert numbered and all(f'"{name}"' in text for name in numbered)


def test_the_training_script_gives_the_shipped_data_and_a_model_as_good(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="scikit-learn is not installed")
    output = run("python", SAMPLES / "1_train_digits.py", tmp_path / "made", cwd=tmp_path)
    assert float(re.search(r"accuracy ([\d.]+)%", output)[1]) >= 98
    made, shipped = (np.load(where / "digits.npz") for where in (tmp_path / "made", SAMPLES / "digits"))
    assert all(np.array_equal(made[name], shipped[name]) for name in shipped.files)
    assert {path.name for path in (tmp_path / "made").iterdir()} == {
        path.name for path in (SAMPLES / "digits").iterdir()
    }


def test_the_compressed_sample_loses_little(folder: Path) -> None:
    output = (folder / "output").read_text()
    accuracy = float(re.search(r"Test accuracy +([\d.]+) %", output)[1])
    teacher = float(re.search(r"Teacher's test accuracy +([\d.]+) %", output)[1])
    assert teacher - accuracy < 4
    assert (folder / "digits.qtrain").stat().st_size < 3000


def test_exported_weights_reach_the_recorded_accuracy_without_this_project(folder: Path) -> None:
    script = SAMPLES / "3_load_without_qtrain.py"
    assert not re.search(r"^(import|from) qtrain", script.read_text(), re.MULTILINE)
    plain = run(sys.executable, script, folder / "digits.safetensors", cwd=folder)
    ours = run("python", SAMPLES / "4_use_in_python.py", folder / "digits.qtrain", cwd=folder)
    assert re.search(r"accuracy ([\d.]+)", plain)[1] == re.search(r"accuracy ([\d.]+)", ours)[1]
    assert "3,730 weights in Sequential" in ours


def first_rows(data: Path, folder: Path, counts: dict[str, int]) -> None:
    """So many rows of each split in a folder of the same layout."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="the extra data is not installed")
    for split, count in counts.items():
        (path,) = data.rglob(f"{split}*.parquet")
        target = folder / path.relative_to(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(parquet.read_table(path).slice(0, count), target)


def test_resnet20_accuracy_is_measured_on_all_test_rows(tmp_path: Path) -> None:
    """Which are 2,000 here; of all 10,000 the checkpoint has 81.03 %, and takes five times as long."""
    checkpoint, data = SHARED / "models" / "resnet20-12fca82f.th", SHARED / "data" / "cifar10"
    if not (checkpoint.is_file() and data.is_dir()):
        pytest.skip("the shared ResNet-20 checkpoint and CIFAR-10 are not there")
    first_rows(data, tmp_path / "cifar10", {"train": 100, "test": 2000})
    output = run("python", SAMPLES / "5_evaluate_resnet20.py", checkpoint, "cifar10", cwd=tmp_path)
    assert float(re.search(r"([\d.]+)% of 2,000", output)[1]) == pytest.approx(82.00, abs=0.2)


def test_the_cifar10_script_trains_a_teacher_of_the_papers_network(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0)
    labels = np.arange(256) % 2
    images = (drawn.integers(0, 100, (256, 3, 32, 32)) + 120 * labels[:, None, None, None]).astype(np.uint8)
    np.savez(tmp_path / "two.npz", x_train=images, y_train=labels, x_test=images[:50], y_test=labels[:50])
    output = run(
        "python",
        SAMPLES / "6_train_teacher.py",
        f"{SAMPLES}/cifar10_cnn.py:Cifar10CNN",
        "two.npz",
        "teacher.pt",
        8,
        cwd=tmp_path,
    )
    assert float(re.search(r"([\d.]+)% of 50 test images", output)[1]) > 90
    weights = torch.load(tmp_path / "teacher.pt", weights_only=True)
    assert sum(tensor.numel() for tensor in weights.values()) == 285_226


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of texts in two classes, and `base`, a network that has seen them once."""
    pytest.importorskip("transformers", reason="the extra hf is not installed")
    folder = tmp_path_factory.mktemp("texts")
    for split, count in (("train", 192), ("test", 40)):
        lines = ["good day to all,yes" if row % 2 else "bad night for all,no" for row in range(count)]
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *lines]))
    taught(folder, folder / "base", "classes", 1)
    return folder


def taught(texts: Path, *words: object) -> str:
    """What the script prints that trains a network of texts."""
    return run("python", SAMPLES / "7_train_text_teacher.py", texts, *words, cwd=texts)


@pytest.mark.parametrize(
    ("kind", "epochs", "said"),
    [("classes", 10, r"100.00% of 40"), ("language", 30, r"perplexity [1-3]\.\d+ of 40")],
)
def test_a_teacher_of_texts_learns_and_is_a_folder_with_its_tokenizer(
    texts: Path, tmp_path: Path, kind: str, epochs: int, said: str
) -> None:
    assert re.search(said + " test texts", taught(texts, tmp_path / "made", kind, epochs))
    made = {path.name for path in (tmp_path / "made").iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= made


@pytest.mark.parametrize(
    ("kind", "least", "more"),
    [("whole", 0.9, ()), ("lora", 0.7, ()), ("probe", 0.7, (0, 0.01, "bf16"))],
)
def test_what_is_not_compressed_learns_from_the_same_base(
    texts: Path, kind: str, least: float, more: tuple[object, ...]
) -> None:
    if kind == "lora":
        pytest.importorskip("peft", reason="the package peft is not installed")
    script = SAMPLES / "8_fine_tune_whole.py"
    found = json.loads(run("python", script, texts / "base", texts, kind, 8, *more, cwd=texts))
    assert found["kind"] == kind and found["test_accuracy"] >= least
    assert found["precision"] == ("bf16" if more else "float32")
    assert (found["numbers"] == 2 * 64) == (kind == "probe")


def test_every_weight_of_a_resnet20_is_fine_tuned(tmp_path: Path) -> None:
    scope: dict[str, Any] = {}
    exec((SAMPLES / "resnet20_cifar10.py").read_text(), scope)
    torch.manual_seed(0)
    torch.save(scope["ResNet20"]().state_dict(), tmp_path / "base.pt")
    drawn = np.random.default_rng(0)
    labels = np.arange(256) % 2
    images = (drawn.integers(0, 100, (256, 3, 32, 32)) + 120 * labels[:, None, None, None]).astype(np.uint8)
    test = {"x_test": images[:50], "y_test": labels[:50]}
    np.savez(tmp_path / "two.npz", x_train=images, y_train=labels, **test)
    script = SAMPLES / "9_fine_tune_resnet20.py"
    output = run("python", script, "base.pt", "two.npz", "tuned.pt", 2, cwd=tmp_path)
    assert float(re.search(r"([\d.]+)% of 50 images", output)[1]) > 90
    tuned, base = (torch.load(tmp_path / name, weights_only=True) for name in ("tuned.pt", "base.pt"))
    assert tuned.keys() == base.keys() and not torch.equal(tuned["conv1.weight"], base["conv1.weight"])
    assert torch.equal(tuned["bn1.running_mean"], base["bn1.running_mean"])
