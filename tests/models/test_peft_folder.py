"""A PEFT adapter folder as a fine-tune of a base: merged as PEFT does, and refused where it is another."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from qtrain_cli.cli import main
from qtrain_cli.errors import BadInput, QtrainError, Refused
from qtrain_cli.models import describe_model, load_model
from qtrain_cli.models.formats import is_adapter_folder
from qtrain_cli.settings import ModelSettings

NET = """
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.head = nn.Linear(6, 8), nn.Linear(8, 2)
        self.conv = nn.Conv2d(2, 4, 3)
    def forward(self, x):
        return self.head(self.query(x).relu())
"""
PLAIN = {"peft_type": "LORA", "r": 2, "lora_alpha": 6, "bias": "none", "use_dora": False}


@pytest.fixture
def net(tmp_path, monkeypatch):
    """The base's tensors, in a folder with its class."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    scope: dict = {}
    exec(NET, scope)
    torch.manual_seed(0)
    module = scope["Net"]()
    torch.save(module.state_dict(), tmp_path / "base.pt")
    return module


def adapter(folder, config, tensors):
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config))
    named = {f"base_model.model.{name}": tensor.contiguous() for name, tensor in tensors.items()}
    safetensors.torch.save_file(named, folder / "adapter_model.safetensors")
    return ModelSettings(folder, arch="net.py:Net")


def factors(layer, rows, columns, rank=2):
    return {
        f"{layer}.lora_A.weight": torch.randn(rank, columns),
        f"{layer}.lora_B.weight": torch.randn(rows, rank),
    }


@pytest.mark.parametrize(
    ("more", "scale"),
    [
        ({}, 3.0),
        ({"use_rslora": True}, 6 / 2**0.5),
        ({"alpha_pattern": {"query": 1}}, 0.5),
        ({"alpha_pattern": {"ery": 1, "qu.ry": 2, "query": 1}}, 1.0),  # whole parts; a point is any letter
        ({"lora_alpha": 0.5}, 0.25),
    ],
)
def test_factors_are_merged_as_peft_merges_them(net, tmp_path, more, scale):
    own = {**factors("query", 8, 6), "head.weight": torch.ones(2, 8), "head.bias": torch.zeros(2)}
    settings = adapter(tmp_path / "ad", {**PLAIN, **more}, own)
    assert is_adapter_folder(settings.path) and not is_adapter_folder(tmp_path)
    loaded = load_model(settings, tmp_path / "base.pt")
    b, a = own["query.lora_B.weight"], own["query.lora_A.weight"]
    state = loaded.module.state_dict()
    assert torch.allclose(state["query.weight"], net.query.weight + scale * (b @ a), atol=1e-6)
    assert bool((state["head.weight"] == 1).all()) and torch.equal(state["query.bias"], net.query.bias)
    again = load_model(settings, tmp_path / "base.pt")
    assert loaded.name == "ad" and again.sha256 == loaded.sha256
    own["query.lora_A.weight"][0, 0] += 1
    other = adapter(tmp_path / "other", {**PLAIN, **more}, own)
    assert load_model(other, tmp_path / "base.pt").sha256 != loaded.sha256


def test_a_convolution_has_factors_too(net, tmp_path):
    own = {"conv.lora_A.weight": torch.randn(2, 2, 3, 3), "conv.lora_B.weight": torch.randn(4, 2, 1, 1)}
    found = load_model(adapter(tmp_path / "ad", PLAIN, own), tmp_path / "base.pt").module.conv.weight
    moved = nn.functional.conv2d(
        own["conv.lora_A.weight"].permute(1, 0, 2, 3), own["conv.lora_B.weight"]
    ).permute(1, 0, 2, 3)
    assert torch.allclose(found, net.conv.weight + 3 * moved, atol=1e-5)


@pytest.mark.parametrize(
    ("config", "change", "said"),
    [
        ({**PLAIN, "peft_type": "VERA"}, {}, "of the kind 'VERA'"),
        ({**PLAIN, "use_dora": True}, {}, "use_dora=True"),
        ({**PLAIN, "bias": "all"}, {}, "bias='all'"),
        ({**PLAIN, "lora_alpha": None}, {}, "the alpha None"),
        ({**PLAIN, "lora_alpha": True}, {}, "the alpha True"),
        (
            PLAIN,
            {"key.lora_A.weight": torch.zeros(2, 6), "key.lora_B.weight": torch.zeros(8, 2)},
            "changes 'key'",
        ),
        (PLAIN, {"query.lora_B.weight": torch.zeros(7, 2)}, "another shape"),
        (PLAIN, {"query.lora_A.weight": torch.zeros(2, 5)}, "another shape"),
        (PLAIN, {"score.weight": torch.zeros(2, 8)}, "no place for"),
        ({**PLAIN, "alpha_pattern": {r".*qu.ry": 1}}, {}, "a regular expression"),
        ({**PLAIN, "alpha_pattern": {"(a*)*b": 1}}, {}, "a regular expression"),
        (PLAIN, {"head.weight": torch.zeros(3, 8)}, "no place for"),
    ],
)  # fmt: skip
def test_what_is_no_such_adapter_is_refused(net, tmp_path, config, change, said):
    settings = adapter(tmp_path / "ad", config, {**factors("query", 8, 6), **change})
    with pytest.raises(BadInput, match=said):
        load_model(settings, tmp_path / "base.pt")


@pytest.mark.parametrize("broken", ["[]", "{", '{"peft_type": "LORA"}'])
def test_damaged_folders_are_refused(net, tmp_path, broken):
    settings = adapter(tmp_path / "ad", PLAIN, factors("query", 8, 6))
    (tmp_path / "ad/adapter_config.json").write_text(broken)
    with pytest.raises(QtrainError):
        load_model(settings, tmp_path / "base.pt")
    (tmp_path / "ad/adapter_config.json").write_text(json.dumps(PLAIN))
    (tmp_path / "ad/adapter_model.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(QtrainError):
        load_model(settings, tmp_path / "base.pt")
    (tmp_path / "ad/adapter_model.safetensors").unlink()
    with pytest.raises(BadInput, match="has no adapter_model"):
        load_model(settings, tmp_path / "base.pt")


class Runs:
    """What a pickle can have in a tensor's place."""

    def __reduce__(self):
        return open, ("run.txt", "w")


def test_an_older_adapter_is_pickled_and_read_as_tensors_alone(net, tmp_path):
    settings = adapter(tmp_path / "ad", PLAIN, factors("query", 8, 6))
    found = load_model(settings, tmp_path / "base.pt").module
    file = tmp_path / "ad/adapter_model.safetensors"
    tensors = safetensors.torch.load_file(file)
    file.unlink()
    torch.save(tensors, tmp_path / "ad/adapter_model.bin")
    again = load_model(settings, tmp_path / "base.pt").module
    assert torch.equal(again.query.weight, found.query.weight)
    assert not torch.equal(again.query.weight, net.query.weight)
    assert [row["shape"] for row in describe_model(tmp_path / "ad")["entries"][0]["tensors"]] == [
        [2, 6],
        [8, 2],
    ]
    torch.save({**tensors, "more": Runs()}, tmp_path / "ad/adapter_model.bin")
    for opened in (
        lambda: load_model(settings, tmp_path / "base.pt"),
        lambda: describe_model(tmp_path / "ad"),
    ):
        with pytest.raises(Refused):
            opened()
    assert not (tmp_path / "run.txt").exists()


def test_inspect_says_what_an_adapter_holds_and_of_which_base_it_is(net, tmp_path, capsys):
    config = {**PLAIN, "base_model_name_or_path": "somebody/base"}
    adapter(tmp_path / "ad", config, factors("query", 8, 6))
    found = describe_model(tmp_path / "ad")
    assert (found["format"], found["base"], found["needs_trust"]) == ("peft-adapter", "somebody/base", False)
    rows = [(row["name"], row["shape"]) for row in found["entries"][0]["tensors"]]
    before = "base_model.model.query"
    assert rows == [(f"{before}.lora_A.weight", [2, 6]), (f"{before}.lora_B.weight", [8, 2])]
    assert main(["inspect", "ad"]) == 0
    assert "somebody/base" in capsys.readouterr().out
    (tmp_path / "ad/adapter_config.json").write_text("{}")
    assert describe_model(tmp_path / "ad")["base"] == ""
    (tmp_path / "ad/adapter_model.safetensors").write_bytes(b"x" * 40)
    with pytest.raises(BadInput):
        describe_model(tmp_path / "ad")


def test_modules_that_are_saved_whole_may_have_the_names_of_any_version(net, tmp_path):
    own = {**factors("query", 8, 6), "head.modules_to_save.default.weight": torch.ones(2, 8)}
    found = load_model(adapter(tmp_path / "ad", PLAIN, own), tmp_path / "base.pt").module
    assert bool((found.head.weight == 1).all())


def test_a_folder_of_a_whole_model_is_that_model_s(net, tmp_path):
    (tmp_path / "ad").mkdir()
    (tmp_path / "ad/adapter_config.json").write_text("{}")
    for name, whole in (("config.json", False), ("pytorch_model.bin", True)):
        assert is_adapter_folder(tmp_path / "ad")
        (tmp_path / "ad" / name).write_text("{}")
        assert is_adapter_folder(tmp_path / "ad") != whole


def test_an_adapter_on_an_adapter_is_named(net, tmp_path):
    adapter(tmp_path / "first", PLAIN, factors("query", 8, 6))
    second = adapter(tmp_path / "second", PLAIN, factors("query", 8, 6))
    with pytest.raises(BadInput, match="the base 'first' of the adapter 'second' is an adapter itself"):
        load_model(second, tmp_path / "first")


@pytest.mark.parametrize("named", ["//host/share/base", r"\\host\share\base"])
def test_no_other_computer_is_asked_for_a_base(net, tmp_path, named, monkeypatch):
    settings = adapter(tmp_path / "ad", {**PLAIN, "base_model_name_or_path": named}, factors("query", 8, 6))
    asked = []
    exists = Path.exists
    monkeypatch.setattr(Path, "exists", lambda path: asked.append(path) or exists(path))
    with pytest.raises(BadInput, match="is no model here"):
        load_model(settings)
    assert not any("share" in str(path) for path in asked)


def test_trust_in_an_adapter_is_none_in_the_base_that_it_names(net, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    torch.save({"query.weight": Evil()}, tmp_path / "evil.pt")
    settings = adapter(
        tmp_path / "ad", {**PLAIN, "base_model_name_or_path": "evil.pt"}, factors("query", 8, 6)
    )
    with pytest.raises(QtrainError):
        load_model(replace(settings, trust_pickle=True))
    assert not (tmp_path / "ran").exists()
    for named in ("base.pt", str(tmp_path / "base.pt"), f"../{tmp_path.name}/base.pt"):
        config = json.dumps({**PLAIN, "base_model_name_or_path": named})
        (tmp_path / "ad/adapter_config.json").write_text(config)
        assert load_model(settings).sha256 == load_model(settings, tmp_path / "base.pt").sha256


def test_it_teaches_a_run_of_changes(net, tmp_path, capsys):
    torch.manual_seed(1)
    x = torch.randn(300, 6)
    own = {**factors("query", 8, 6), "head.weight": torch.randn(2, 8), "head.bias": torch.zeros(2)}
    settings = adapter(tmp_path / "ad", PLAIN, own)
    tuned = load_model(settings, tmp_path / "base.pt").module
    y = tuned(x).argmax(1)
    import numpy as np

    np.savez("data.npz", x_train=x[:200].numpy(), y_train=y[:200].numpy(), x_test=x[200:].numpy(),
             y_test=y[200:].numpy())  # fmt: skip
    args = [
        "compress", "ad", "--base", "base.pt", "--arch", "net.py:Net", "--data", "data.npz", "--layers", "4",
        "--epochs", "3", "-o", "x.qtrain", "--json",
    ]  # fmt: skip
    assert main(args) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["teacher_test_accuracy"] == 1.0 and record["model"] == "ad" and record["base"] == "base.pt"
    assert record["figure_note"] is None
