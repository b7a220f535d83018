"""Two texts a row through a BERT of `transformers`: the outputs are those of its own tokenizer's tensors."""

from __future__ import annotations

import json

import pytest
import torch

from qtrain_cli.data import load_data
from qtrain_cli.models import load_model
from qtrain_cli.models.call import file_state, predict
from qtrain_cli.settings import DataSettings, ModelSettings

transformers = pytest.importorskip("transformers", reason="the package transformers is not installed")

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "man", "sleeps", "runs", "is", "awake", "tired"]
ROWS = [("a man sleeps", "a man is tired"), ("a man runs", "awake"), ("a", "a man is awake"), ("man", "runs")]


@pytest.fixture
def folder(tmp_path):
    """A small BERT with random weights, beside its tokenizer."""
    (tmp_path / "bert").mkdir()
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    made = transformers.BertTokenizerFast(vocab={word: n for n, word in enumerate(WORDS)})
    made.save_pretrained(tmp_path / "bert")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=12, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, num_labels=2, initializer_range=0.5,
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).eval().save_pretrained(tmp_path / "bert")
    for split in ("train", "test"):
        rows = [{"premise": a, "hypothesis": b, "label": n % 2} for n, (a, b) in enumerate(ROWS)]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "bert"


def test_a_pair_has_the_types_and_the_mask_of_its_own_tokenizer(folder):
    model = ModelSettings(folder)
    data = load_data(DataSettings(str(folder.parent)), 0, model).for_lookups(True).trimmed(True)
    module = load_model(model).module
    own = transformers.AutoTokenizer.from_pretrained(str(folder))
    tensors = own([a for a, _ in ROWS], [b for _, b in ROWS], padding=True, return_tensors="pt")
    given = data.normalisation(data.test.inputs)
    assert {name: part.tolist() for name, part in given.parts.items()} == {
        name: tensors[name].tolist() for name in ("input_ids", "attention_mask", "token_type_ids")
    }
    with torch.no_grad():
        expected = module(**tensors).logits
    found = predict(module, file_state(module), data.test.inputs, data.normalisation)
    assert torch.allclose(found, expected, atol=1e-5)
    tensors["token_type_ids"].zero_()
    with torch.no_grad():
        assert not torch.allclose(module(**tensors).logits, expected, atol=1e-2)


def test_a_pair_is_compressed_in_one_command(folder, cli, monkeypatch):
    monkeypatch.chdir(folder.parent)
    done = cli(
        "compress", folder, "--data", folder.parent, "--layers", "2", "--epochs", "1", "--teacher-any",
        "-o", "a.qtrain", "--targets", "bert.encoder*weight",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "text: column 'premise' and 'hypothesis'" in " ".join(done.err.split())
    assert cli("verify", "a.qtrain").code == 0
    assert cli("export", "a.qtrain", "--classical", "-o", "a.safetensors").code == 0
