"""`qtrain init`: the file it writes is read by the commands, and says what is true."""

import json
import shutil
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from qtrain_cli.files.outputs import free_name
from qtrain_cli.report.config_text import _value
from qtrain_cli.runs.first_look import channel_statistics


@pytest.fixture
def folder(tmp_path, digits, monkeypatch):
    for name in ("digits.npz", "digits_cnn_module.pt", "digits_cnn.pt"):
        shutil.copy(digits / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_sample_comes_with_the_package_and_is_the_same(digits, tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    assert cli("init", "--sample").code == 0
    for name in ("digits.npz", "digits_cnn_module.pt"):
        assert (tmp_path / name).read_bytes() == (digits / name).read_bytes()


def test_what_is_there_stays(digits, tmp_path, monkeypatch, cli):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits.npz").write_bytes(b"mine")
    assert cli("init", "--sample").code == 2
    assert (tmp_path / "digits.npz").read_bytes() == b"mine"


def test_after_it_the_commands_need_no_more_words(folder, cli):
    ended = cli("init", "digits_cnn_module.pt", "--data", "digits.npz")
    assert ended.code == 0, ended.err
    assert "\nNext\n" in ended.out
    ended = cli("compress", "--epochs", "1", "--device", "cpu")
    assert ended.code == 0 and "wrote 'digits_cnn_module.qtrain'" in ended.err
    for words in (("report",), ("verify",), ("export", "--classical"), ("plan",)):
        assert cli(*words).code == 0, words
    assert {"digits_cnn_module.qtrain", "digits_cnn_module.safetensors"} <= {
        path.name for path in folder.iterdir()
    }


def test_the_budgets_are_those_of_plan_and_hold(folder, cli):
    found = json.loads(cli("init", "digits_cnn_module.pt", "--data", "digits.npz", "--json", "-q").out)
    assert found["rows"] == {"train": 1293, "validation": 144, "test": 360} and found["classes"] == 10
    plan = json.loads(cli("plan", "digits_cnn_module.pt", "--ratio", "10", "--device", "cpu", "--json").out)
    assert found["params"] == plan["trained_numbers"]
    row = next(one for one in found["budgets"] if one["params"] == found["params"])
    # `plan` knows no data, and takes the longest record there may be.
    assert 0 < plan["artifact_bytes"] - row["artifact_bytes"] < 200
    cli("compress", "--epochs", "1", "--device", "cpu", "-q")
    assert (folder / "digits_cnn_module.qtrain").stat().st_size <= row["artifact_bytes"]


def test_a_model_that_was_fed_standardised_rows_is_found_out(folder, cli):
    """The sample fed as it was not trained: without what it was standardised by, it is worth nothing."""
    module = torch.load("digits_cnn_module.pt", weights_only=False)
    data = np.load("digits.npz")
    moved = {name: data[name] if name[0] == "y" else data[name] / 255 * 9 + 40 for name in data.files}
    np.savez("moved.npz", **{name: value.astype("float32") if name[0] == "x" else value
                             for name, value in moved.items()})  # fmt: skip
    mean, std = channel_statistics(torch.from_numpy(data["x_train"]))
    plain = torch.nn.Sequential(_Standardised(mean[0], std[0]), module)
    torch.save(plain[1], "net.pt")
    found = json.loads(cli("init", "net.pt", "--data", "moved.npz", "--json", "-q").out)
    chosen, other = found["feedings"]
    assert len(chosen["mean"]) == 1 and chosen["figure"] > 0.9 > other["figure"]
    table = tomllib.loads((folder / "qtrain.toml").read_text())["compress"]
    assert table["mean"] == chosen["mean"] and table["std"] == chosen["std"]


class _Standardised(torch.nn.Module):
    def __init__(self, mean, std):
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x):
        return x * self.std + self.mean


def test_what_was_said_is_written_with_paths_beside_the_file(folder, cli, digits):
    (folder / "sub").mkdir()
    shutil.copy(digits.parent / "digits_cnn.py", folder / "net.py")
    name = "digits_cnn"
    ended = cli(
        "init", "digits_cnn.pt", "--arch", f"net.py:{name}", "--data", "digits.npz", "--validation", "0.2",
        "--ignore", "conv1*", "-o", "sub/qtrain.toml",
    )  # fmt: skip
    assert ended.code == 0 and "\nNext, in 'sub'\n" in ended.out, ended.err
    table = tomllib.loads((folder / "sub" / "qtrain.toml").read_text())
    assert table["compress"]["arch"] == f"../net.py:{name}" == table["verify"]["arch"]
    assert table["compress"]["data"] == "../digits.npz" and table["compress"]["validation"] == 0.2
    assert table["compress"]["ignore"] == ["conv1*"] == table["plan"]["ignore"]


def test_the_export_never_is_the_model_itself_or_what_lies_there(folder):
    assert free_name(Path("net.safetensors")) == Path("net.safetensors")
    Path("net.safetensors").touch()
    assert free_name(Path("net.safetensors")) == Path("net.regenerated.safetensors")
    Path("net.regenerated.safetensors").touch()
    assert free_name(Path("net.safetensors")) == Path("net.regenerated-2.safetensors")


def test_a_tensors_file_is_not_the_output_of_its_export(folder, cli, digits):
    save_file(torch.load("digits_cnn.pt"), "net.safetensors")
    shutil.copy(digits.parent / "digits_cnn.py", folder / "net.py")
    ended = cli("init", "net.safetensors", "--arch", "net.py:digits_cnn", "--data", "digits.npz")
    assert ended.code == 0, ended.err
    table = tomllib.loads((folder / "qtrain.toml").read_text())
    assert table["export"]["out"] == "net.regenerated.safetensors"


@pytest.mark.parametrize("said", ["a\u3000b", "x" * 5000, 'q"\\\n\x1b', "\U000e0001\u200b", "\u00fc \u6587"])
def test_a_value_is_read_back_as_it_was_said(said):
    text = _value("weights", said, Path())
    assert tomllib.loads(f"v = {text}")["v"] == said and text.isprintable()


def test_consent_is_not_written_down(folder, cli):
    class_file = folder / "own.py"
    class_file.write_text(
        "import torch\nclass Net(torch.nn.Module):\n"
        "    def __init__(self, inner):\n        super().__init__()\n        self.inner = inner\n"
        "    def forward(self, x):\n        return self.inner(x)\n"
    )
    scope: dict = {"__name__": "own"}
    exec(class_file.read_text(), scope)
    import sys
    import types

    module = types.ModuleType("own")
    module.Net = scope["Net"]
    sys.modules["own"] = module
    try:
        torch.save(scope["Net"](torch.load("digits_cnn_module.pt", weights_only=False)), "own.pt")
        ended = cli("init", "own.pt", "--data", "digits.npz", "--trust-pickle")
    finally:
        del sys.modules["own"]
    assert ended.code == 0, ended.err
    text = (folder / "qtrain.toml").read_text()
    assert "trust-pickle" not in tomllib.loads(text)["compress"] and "--trust-pickle" in text
    assert "qtrain compress --trust-pickle" in ended.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            (),
            "give MODEL and --data DATA, or try it first with what the package brings: qtrain init --sample",
        ),
        (("digits_cnn_module.pt",), "init needs data; give --data DATA"),
        (("digits_cnn.pt", "--data", "digits.npz"), "--arch"),
    ],
)
def test_what_is_missing_is_named_with_its_option(folder, cli, words, said):
    ended = cli("init", *words)
    assert ended.code == 2 and said in ended.err


def test_an_own_file_is_kept(folder, cli):
    Path("qtrain.toml").write_text("# mine\n")
    ended = cli("init", "digits_cnn_module.pt", "--data", "digits.npz")
    assert ended.code == 2 and "--force" in ended.err
    assert Path("qtrain.toml").read_text() == "# mine\n"


@pytest.mark.parametrize("shape", [(50, 3, 4, 4), (50, 5), (50, 1, 6, 6), (50, 40)])
def test_statistics_are_those_of_numpy_in_whatever_parts(shape, monkeypatch):
    monkeypatch.setattr("qtrain_cli.runs.first_look._ROWS_AT_ONCE", 7)
    x = np.random.default_rng(0).normal(3, 2, shape).astype("float32")
    mean, std = channel_statistics(torch.from_numpy(x))
    axes = tuple(axis for axis in range(x.ndim) if axis != 1) if shape[1] <= 12 else None
    assert mean == pytest.approx(np.atleast_1d(x.mean(axes)), rel=1e-3)
    assert std == pytest.approx(np.atleast_1d(x.std(axes)), rel=1e-3)


def test_of_bytes_they_are_those_that_a_model_sees_and_tokens_have_none():
    x = torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8)
    mean, _ = channel_statistics(x)
    assert mean[0] == pytest.approx(float((x.float() / 255).mean()), rel=1e-3)
    assert channel_statistics(torch.zeros(20, 8, dtype=torch.int64)) is None
    assert channel_statistics(torch.ones(20, 2)) is None
