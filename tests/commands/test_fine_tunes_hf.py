"""A Hugging Face folder as a base: its tokenizer, its pooling, the names of its layers, PEFT's own reader."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import qtrain_cli
from qtrain_cli.cli import main
from qtrain_cli.errors import BadInput
from qtrain_cli.models import load_model
from qtrain_cli.settings import ModelSettings
from qtrain_cli.settings.fit import CHANGE_STEPS

transformers = pytest.importorskip("transformers", reason="needs the extra hf")
tokenizers = pytest.importorskip("tokenizers", reason="needs the extra hf")

WORDS = ["[PAD]", "[UNK]", "good", "fine", "great", "bad", "poor", "weak", "film", "the", "a"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny `BertModel`, as sentence-transformers lay it out, beside texts of two kinds."""
    folder = tmp_path_factory.mktemp("hf")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=16, pad_token_id=0,
    )  # fmt: skip
    transformers.BertModel(config).save_pretrained(folder / "base")
    vocabulary = {word: place for place, word in enumerate(WORDS)}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]", model_max_length=16
    )
    fast.save_pretrained(folder / "base")
    (folder / "base/1_Pooling").mkdir()
    pooling = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
    (folder / "base/1_Pooling/config.json").write_text(json.dumps(pooling))
    draw = torch.Generator().manual_seed(1)
    (folder / "data").mkdir()
    for split, count in (("train", 240), ("test", 60)):
        with (folder / "data" / f"{split}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "label"])
            for row in range(count):
                kinds = ("good", "fine", "great") if row % 2 else ("bad", "poor", "weak")
                word = kinds[int(torch.randint(3, (1,), generator=draw))]
                writer.writerow([f"{word} the film", "good" if row % 2 else "bad"])
    return folder


@pytest.fixture
def shell(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def call(*args):
        code = main([str(arg) for arg in args])
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in args and out else out, err

    return call


def test_a_folder_of_features_learns_texts_and_peft_loads_what_it_learned(shell, folder):
    code, record, err = shell(
        "compress", "--base", "base", "--data", "data", "--target", "lora:rank=2,scale=1", "--layers", "6",
        "--epochs", "20", "--lr", "0.05", "-o", "x.qtrain", "--json",
    )  # fmt: skip
    assert code == 0, err
    assert "a head for 2 classes" in err and "first" in err  # as its 1_Pooling says
    assert record["test_accuracy"] > 0.9 > record["trivial"] and record["base"] == "base"
    assert shell("verify", "x.qtrain", "--base", "base")[0] == 0
    assert shell("export", "x.qtrain", "--base", "base", "--classical", "-o", "adapter")[0] == 0
    model = transformers.BertModel.from_pretrained(folder / "base").eval()
    artifact = qtrain_cli.load(folder / "x.qtrain", base=model)
    state = artifact.state_dict()
    layers = {name for name in state if "query" in name or "value" in name}
    assert all(not torch.equal(state[name], model.state_dict()[name]) for name in layers if "weight" in name)
    peft = pytest.importorskip("peft", reason="the package peft is not installed")
    merged = peft.PeftModel.from_pretrained(model, folder / "adapter").merge_and_unload().state_dict()
    assert all(torch.allclose(merged[name], state[name], atol=1e-6) for name in merged)


def test_it_is_put_on_a_loaded_base_and_asked_with_its_mask(shell, folder):
    code, _, err = shell(
        "compress", "--base", "base", "--data", "data", "--target", "delta", "--targets", "biases",
        "--layers", "6", "--epochs", "1", "-o", "y.qtrain", "--json",
    )  # fmt: skip
    assert code == 0, err
    model = transformers.BertModel.from_pretrained(folder / "base").eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    artifact = qtrain_cli.load(folder / "y.qtrain", base=model)
    ids = torch.tensor([[WORDS.index(word) for word in ("good", "the", "film")], [5, 9, 8]])
    padded = torch.cat([ids, torch.zeros(2, 2, dtype=torch.long)], 1)
    artifact.apply_to(model)
    scores = model(input_ids=ids, attention_mask=torch.ones_like(ids))
    again = model(input_ids=padded, attention_mask=(padded != 0).long())
    assert scores.shape == (2, 2) and torch.allclose(scores, again, atol=1e-4)
    artifact.remove_from(model)
    assert all(torch.equal(tensor, model.state_dict()[name]) for name, tensor in before.items())


def test_a_folder_and_its_file_with_positions_that_the_class_no_longer_stores_are_one_base(
    shell, folder, tmp_path
):
    words = ("--data", "data", "--target", "delta", "--targets", "biases", "--layers", "2", "--epochs", "1")
    out = tmp_path / "p.qtrain"
    assert shell("compress", "--base", "base", *words, "-o", out)[0] == 0
    tensors = load_file(folder / "base/model.safetensors")
    assert not any(tensor.dtype == torch.int64 for tensor in tensors.values())
    tensors["embeddings.position_ids"] = torch.arange(16)[None]
    save_file(tensors, tmp_path / "older.safetensors")
    assert shell("verify", out, "--base", tmp_path / "older.safetensors")[0] == 0
    assert shell("verify", out, "--bases", tmp_path / "older.safetensors")[0] == 0
    tensors["embeddings.position_ids"] += 1
    save_file(tensors, tmp_path / "other.safetensors")
    assert shell("verify", out, "--base", tmp_path / "other.safetensors")[0] == 4


@pytest.fixture
def tuned(folder):
    """`tuned`: a classifier of its own class, whose encoder lies under a prefix and is near the base's."""
    if not (folder / "tuned").exists():
        model = transformers.BertForSequenceClassification.from_pretrained(folder / "base", num_labels=2)
        texts = [row["text"].split() for row in csv.DictReader((folder / "data/train.csv").open())]
        rows = torch.tensor([[WORDS.index(word) for word in text] for text in texts])
        kinds = torch.arange(len(rows)) % 2
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(20):
            optimizer.zero_grad()
            model(input_ids=rows, labels=kinds).loss.backward()
            optimizer.step()
        model.save_pretrained(folder / "tuned")
        transformers.AutoTokenizer.from_pretrained(folder / "base").save_pretrained(folder / "tuned")
    return folder


@pytest.mark.parametrize("out", ["tuned.safetensors", "tuned.pt", "tuned.pt2"])
def test_a_taught_classifier_of_its_own_class_is_written_merged(shell, tuned, out, tmp_path):
    words = ("--base", "base", "--data", "data", "--target", "lora:rank=2", "--layers", "4", "--epochs", "2")
    if not (tuned / "t.qtrain").exists():
        code, _, err = shell("compress", "tuned", *words, "-o", "t.qtrain", "--json")
        assert code == 0, err
    path = tmp_path / out
    code, _, err = shell("export", "t.qtrain", "--base", "base", "--classical", "-o", path)
    if out.endswith(".pt2"):
        assert code == 2 and "--model names the fine-tune" in err
        more = ("--model", "tuned")
        assert shell("export", "t.qtrain", "--base", "base", "--classical", "-o", path, *more)[0] == 0
        return
    assert code == 0, err
    artifact = qtrain_cli.load(tuned / "t.qtrain", base=tuned / "base")
    state = artifact.state_dict()
    written = load_file(path) if out.endswith(".safetensors") else torch.load(path, weights_only=True)
    assert all(torch.equal(written[name], state[name]) for name in state)
    model = transformers.BertForSequenceClassification.from_pretrained(tuned / "tuned")
    model.load_state_dict(state)
    sample = ("sample", "t.qtrain", "--base", "base", "--data", "data", "--shots", "exact", "--json")
    assert shell(*sample)[0] == 2
    code, found, err = shell(*sample, "--model", "tuned")
    assert code == 0, err
    assert found["exact_test_accuracy"] == artifact.record["test_accuracy"] > 0.4


@pytest.fixture
def adapted(folder):
    """`ad`: PEFT's LoRA of a classifier of `base`, a model that has none; and its merged state dictionary."""
    peft = pytest.importorskip("peft", reason="the package peft is not installed")
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification.from_pretrained(folder / "base", num_labels=2)
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, lora_alpha=8, target_modules=["query", "value"])
    model = peft.get_peft_model(model, config)
    for name, part in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(part, std=0.1)
    if not (folder / "ad").exists():
        model.save_pretrained(folder / "ad")
    return model.merge_and_unload().state_dict()


def test_peft_s_adapter_of_a_classifier_stands_on_a_base_without_one(shell, adapted, folder, tmp_path):
    for base in (Path("base"), None):  # as the adapter's own configuration names it
        found = load_model(ModelSettings(Path("ad")), base)
        state = found.module.state_dict()
        assert type(found.module) is transformers.BertForSequenceClassification and found.name == "ad"
        assert adapted.keys() == state.keys()
        assert all(torch.allclose(adapted[name], state[name], atol=1e-6) for name in adapted)
    words = ("--data", "data", "--target", "lora:rank=2", "--layers", "4", "--epochs", "2", "--teacher-any")
    out = tmp_path / "t.qtrain"
    code, record, err = shell("compress", "ad", "--base", "base", *words, "-o", out, "--json")
    assert code == 0, err
    assert (record["model"], record["base"]) == ("ad", "base") and "first" not in err
    assert shell("verify", out, "--base", "base")[0] == 0
    export = ("export", out, "--base", "base", "--classical", "-o", tmp_path / "t.pt2")
    assert shell(*export)[0] == 2
    code, _, err = shell(*export, "--model", "ad")
    assert code == 0, err


def test_an_adapter_is_a_base_and_a_model_of_its_own(shell, adapted, tmp_path):
    words = ("--data", "data", "--layers", "2", "--epochs", "1", "--teacher-any")
    out = tmp_path / "on.qtrain"
    biases = ("--target", "delta", "--targets", "biases")
    code, record, err = shell("compress", "--base", "ad", *biases, *words, "-o", out, "--json")
    assert code == 0 and record["base"] == "ad", err
    assert shell("verify", out, "--base", "ad")[0] == 0
    assert shell("verify", out, "--base", "base")[0] == 4
    code, found, err = shell("compress", "ad", *words, "-o", tmp_path / "whole.qtrain", "--json")
    assert code == 0 and found["model"] == "ad" and found["base"] is None, err


def test_every_command_takes_the_base_that_is_said(shell, adapted, folder, tmp_path):
    """And not the one that the configuration names, which is not here."""
    shutil.copytree(folder / "ad", tmp_path / "hub")
    config = tmp_path / "hub/adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": "some/base"}))
    hub, data = tmp_path / "hub", ("--data", "data")
    assert shell("plan", hub, "--base", "base", "--params", "50")[0] == 0
    words = ("--target", "lora:rank=2", "--layers", "4", "--epochs", "1", "--teacher-any")
    out = tmp_path / "t.qtrain"
    code, _, err = shell("compress", hub, "--base", "base", *data, *words, "-o", out)
    assert code == 0, err
    own = ("--base", "base", "--model", hub, *data)
    for command in (
        ("export", out, *own, "--classical", "-o", tmp_path / "t.pt2"),
        ("report", out, *own, "--html", tmp_path / "t.html"),
        ("sample", out, *own, "--shots", "exact"),
    ):
        code, _, err = shell(*command)
        assert code == 0, (command, err)
    assert shell("plan", hub, "--params", "50")[0] == 2


def test_an_adapter_brings_as_many_labels_as_its_head_has(adapted, folder, tmp_path):
    """More than anything else that comes along has rows, with names as another version has them."""
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification.from_pretrained(folder / "base", num_labels=40)
    more = ["classifier", "token_type_embeddings"]
    config = peft.LoraConfig(task_type="SEQ_CLS", r=2, target_modules=["query"], modules_to_save=more)
    model = peft.get_peft_model(model, config)
    model.save_pretrained(tmp_path / "ad")
    tensors = load_file(tmp_path / "ad/adapter_model.safetensors")
    before, after = ".classifier.", ".classifier.modules_to_save.default."
    renamed = {name.replace(before, after): tensor for name, tensor in tensors.items()}
    save_file(renamed, tmp_path / "ad/adapter_model.safetensors")
    found = load_model(ModelSettings(tmp_path / "ad"), folder / "base").module
    merged = model.merge_and_unload().state_dict()
    assert found.classifier.weight.shape == (40, 32)
    assert all(torch.allclose(found.state_dict()[name], merged[name], atol=1e-6) for name in merged)


def test_an_adapter_of_a_tied_tensor_is_refused_and_a_pattern_counts_as_in_peft(folder, tmp_path):
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=30, n_positions=8, n_embd=16, n_layer=2, n_head=2)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt")

    def saved(name, **more):
        model = transformers.GPT2LMHeadModel.from_pretrained(tmp_path / "gpt")
        model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["c_attn", "c_proj"], **more))
        for key, part in model.named_parameters():
            if "lora_B" in key:
                nn.init.normal_(part, std=0.1)
        model.save_pretrained(tmp_path / name)
        return model.merge_and_unload().state_dict()

    saved("tied", modules_to_save=["wte"])
    with pytest.raises(BadInput, match=r"'transformer\.wte\.weight', which is tied to 'lm_head\.weight'"):
        load_model(ModelSettings(tmp_path / "tied"), tmp_path / "gpt")
    merged = saved("pattern", alpha_pattern={"h.0.attn.c_proj": 32, "c_attn": 1})
    found = load_model(ModelSettings(tmp_path / "pattern"), tmp_path / "gpt").module.state_dict()
    assert all(torch.allclose(found[name], merged[name], atol=1e-6) for name in merged)


def test_an_adapter_whose_base_is_not_here(shell, adapted, folder, tmp_path):
    for named in ("sentence-transformers/none", "", None, 3, ".", "x" * 5000, "a\0b"):
        shutil.copytree(folder / "ad", tmp_path / "away", dirs_exist_ok=True)
        config = tmp_path / "away/adapter_config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), "base_model_name_or_path": named}))
        code, _, err = shell("compress", tmp_path / "away", "--data", "data", "-o", tmp_path / "x.qtrain")
        assert code == 2 and ("is no model here" in err or named == "."), (named, err)
        assert len(err.splitlines()) == 1, err


def test_changes_to_a_base_take_the_epochs_of_changes(shell, folder):
    words = ("--data", "data", "--target", "delta", "--targets", "biases", "--layers", "2")
    code, found, err = shell("compress", "--base", "base", *words, "-o", "z.qtrain", "--dry-run", "--json")
    assert code == 0, err
    (part,) = found["parts"]
    assert part["epochs"] == -(-CHANGE_STEPS // (part["steps"] // part["epochs"]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_base_in_half_precision_learns_with_a_head_of_ours(shell, folder, dtype, tmp_path):
    base = tmp_path / "half"
    transformers.BertModel.from_pretrained(folder / "base", dtype=dtype).save_pretrained(base)
    transformers.AutoTokenizer.from_pretrained(folder / "base").save_pretrained(base)
    words = ("--data", "data", "--target", "delta", "--targets", "biases", "--layers", "6", "--epochs", "5")
    out = tmp_path / "half.qtrain"
    code, record, err = shell("compress", "--base", base, *words, "-o", out, "--json")
    assert code == 0 and record["test_accuracy"] > 0.6, err
    assert shell("verify", out, "--base", base)[0] == 0
    assert shell("verify", out, "--base", "base")[0] == 4
