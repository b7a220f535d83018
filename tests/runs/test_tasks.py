"""Each task from the command line: told or asked for, compressed, reported, compared, and refused."""

import json

import numpy as np
import pytest
import torch
from torch import nn

RANDOM = np.random.default_rng(0)
NETS = """
from torch import nn

class Text(nn.Module):
    def __init__(self, outputs=12):
        super().__init__()
        self.table, self.layer = nn.Embedding(12, 8), nn.GRU(8, 8, batch_first=True)
        self.head = nn.Linear(8, outputs)
    def forward(self, x):
        return self.head(self.layer(self.table(x))[0])

class Picture(nn.Module):
    def __init__(self, outputs=3):
        super().__init__()
        self.down, self.up = nn.Conv2d(1, 4, 2, stride=2), nn.ConvTranspose2d(4, 4, 2, stride=2)
        self.head = nn.Conv2d(5, outputs, 1)
    def forward(self, x):
        return self.head(__import__("torch").cat([x, self.up(self.down(x).relu())], 1))
"""
BRIEF = ("--device", "cpu", "--epochs", 1, "--ratio", 3, "-o", "out.qtrain", "--force", "--teacher-any")


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """``scene(name, outputs, x, y)``: a network of `NETS` and its data in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "nets.py").write_text(NETS)

    def make(name, outputs, x, y=None, data="d.npz"):
        torch.manual_seed(0)
        names = {}
        exec(NETS, names)
        torch.save(names[name](outputs).state_dict(), "m.pt")
        both = {"x": x} if y is None else {"x": x, "y": y}
        cut = len(x) * 3 // 4
        parts = {f"{letter}_train": rows[:cut] for letter, rows in both.items()}
        np.savez(data, **parts, **{f"{letter}_test": rows[cut:] for letter, rows in both.items()})
        arch = ("--arch", f"nets.py:{name}", "--arch-args", json.dumps({"outputs": outputs}))
        return ("m.pt", *arch, "--data", data)

    return make


def tokens(rows=80):
    found = (RANDOM.integers(0, 11, (rows, 1)) + np.arange(8)) % 11 + 1
    found[:, 6:] = 0
    return found


def tags():
    return np.where(tokens() == 0, -100, RANDOM.integers(0, 3, (80, 8)))


def test_language(cli, scene):
    words = scene("Text", 12, tokens())
    ended = cli("compress", *words, *BRIEF, "--task", "language", "--ignore-index", 0, "--json")
    assert ended.code == 0, ended.err
    record = json.loads(ended.out)
    assert (record["task"], record["metric"]) == ("language", "perplexity")
    assert record["test_perplexity"] == record["metric_value"]
    assert record["test_perplexity"] == pytest.approx(np.exp(record["test_loss"]), rel=1e-5)
    assert record["test_perplexity_low"] < record["test_perplexity"] < record["test_perplexity_high"]
    assert record["trivial"] == pytest.approx(11, rel=0.1) and 0 <= record["metrics"]["accuracy"] <= 1
    assert "targets are the tokens after each" in ended.err
    told = json.loads(cli("report", "out.qtrain", "--json").out)
    assert told == {**record, "seconds": None}
    assert cli("report", "out.qtrain", "--min-metric", "perplexity=50").code == 0
    assert cli("report", "out.qtrain", "--min-metric", "perplexity=1.01,accuracy=0").code == 3
    assert "use --min-metric perplexity=0.9" in cli("report", "out.qtrain", "--min-accuracy", "0.9").err


def test_language_of_a_library_that_shifts_inside_is_the_same(cli, scene):
    x = tokens()
    one = cli("compress", *scene("Text", 12, x), *BRIEF, "--task", "language", "--ignore-index", 0, "--json")
    labels = np.where(x == 0, -100, x)
    other = cli("compress", *scene("Text", 12, x, labels), *BRIEF, "--json")
    assert other.code == 0, other.err
    ours, theirs = json.loads(one.out), json.loads(other.out)
    assert ours["test_perplexity"] == theirs["test_perplexity"] and theirs["task"] == "language"


def test_tokens_and_entities(cli, scene):
    words = scene("Text", 3, tokens(), tags())
    ended = cli("compress", *words, *BRIEF, "--json")
    assert ended.code == 0, ended.err
    record = json.loads(ended.out)
    assert (record["task"], record["metric"]) == ("tokens", "accuracy")
    assert record["test_accuracy_low"] < record["test_accuracy"] < record["test_accuracy_high"]
    ended = cli("compress", *words, *BRIEF, "--classes", "O,B-X,I-X", "--class-weights", "balanced", "--json")
    assert ended.code == 0, ended.err
    record = json.loads(ended.out)
    assert (record["task"], record["metric"]) == ("entities", "f1")
    assert set(record["metrics"]) == {"precision", "recall", "token_accuracy"}


def test_what_may_be_either_has_to_be_said(cli, scene):
    words = scene("Text", 12, tokens(), tags())
    ended = cli("compress", *words, *BRIEF)
    assert ended.code == 2 and "may be labels of tokens, or tokens; give --task tokens or --task" in ended.err
    assert cli("compress", *words, *BRIEF, "--task", "language").code == 0


@pytest.mark.parametrize(("outputs", "classes", "task"), [
    (3, 3, "segmentation"), (1, 2, "segmentation-binary"),
])  # fmt: skip
def test_segmentation(cli, scene, outputs, classes, task):
    x = RANDOM.integers(0, 255, (40, 8, 8)).astype(np.uint8)
    y = (x // 86 if classes == 3 else x // 128).astype(np.uint8)
    y[:, 0] = 255
    words = scene("Picture", outputs, x, y)
    ended = cli("compress", *words, *BRIEF, "--ignore-index", 255, "--json")
    assert ended.code == 0, ended.err
    record = json.loads(ended.out)
    assert record["task"].startswith(task) and record["metric"] == "miou"
    assert 0 < record["test_miou"] < 1 and 0 < record["metrics"]["pixel_accuracy"] < 1
    assert json.loads(cli("report", "out.qtrain", "--json").out) == {**record, "seconds": None}
    ended = cli("compress", *words, *BRIEF)
    assert ended.code == 2 and "--ignore-index names a label that does not count" in ended.err


@pytest.mark.parametrize("labelled", [True, False])
def test_features(cli, scene, labelled):
    x = RANDOM.normal(size=(60, 1, 4, 4)).astype(np.float32)
    words = scene("Picture", 3, x, RANDOM.integers(0, 3, 60) if labelled else None)
    ended = cli("compress", *words, *BRIEF, "--task", "features", "--json")
    assert ended.code == 0, ended.err
    record = json.loads(ended.out)
    assert (record["task"], record["metric"]) == ("features", "error")
    assert record["teacher_test_error"] == 0 and record["trivial"] > 0
    assert list(record["metrics"]) == ["cosine", "r2", *(["accuracy"] if labelled else [])]
    assert json.loads(cli("report", "out.qtrain", "--json").out) == {**record, "seconds": None}


def test_a_comparison_by_a_figure_that_is_no_mean(cli, scene):
    words = scene("Text", 12, tokens())
    ended = cli(
        "compare", *words, "--task", "language", "--ignore-index", 0, "--bytes", 600, "--quick", "--seeds", 2,
        "--methods", "ours,pruning,small-dense", "--epochs", 2, "--device", "cpu", "--teacher-any", "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["task"] == "language" and found["trivial"] == pytest.approx(11, rel=0.1)
    ours = [cell for cell in found["cells"] if cell["method"] == "ours"]
    (point,) = [point for point in found["points"] if point["method"] == "ours"]
    assert point["mean"] == pytest.approx(np.mean([cell["test"] for cell in ours]), rel=1e-6)
    assert point["low"] < point["mean"] < point["high"]
    assert {cell["end"] for cell in found["cells"] if cell["method"] == "small-dense"} == {"unsuited"}


@pytest.mark.parametrize("words", [("train",), ("distill", "m.pt", "--student")])
def test_students_refuse_places(cli, scene, words):
    scene("Text", 3, tokens(), tags())
    ended = cli(*words, "hybrid:qubits=2,reps=1", "--data", "d.npz", "-o", "s.qtrain")
    assert ended.code == 2 and "a tokens has many places; compress such a model" in ended.err


@pytest.mark.parametrize(("words", "said"), [
    (("--task", "pictures"), "--task is 'pictures'"),
    (("--task", "segmentation"), r"--task segmentation takes a class for each pixel"),
    (("--task", "regression"), "a model of numbers has as many outputs as a row has targets"),
    (("--class-weights", "1,2"), "--class-weights has 2 numbers, and there are 3 classes; give 3, or"),
    (("--class-weights", "1,-2,1"), "--class-weights has a number below 0"),
    (("--class-weights", "heavy"), "--class-weights 'heavy' is not a list of numbers"),
    (("--ignore-index", "1"), "--ignore-index 1 is of a label for each token or pixel"),
])  # fmt: skip
def test_refusals(cli, scene, words, said):
    x = RANDOM.normal(size=(40, 1, 2, 2)).astype(np.float32)
    scene("Picture", 3, x, RANDOM.integers(0, 3, 40))
    torch.save(nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), "flat.pt")
    ended = cli("compress", "flat.pt", "--data", "d.npz", *BRIEF, *words)
    assert ended.code == 2 and said in ended.err, ended.err
