"""From texts to an artifact in one command: whether rows end with their batch, order, rerun and resume."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from qtrain_cli.data import Normalisation
from qtrain_cli.models.call import predict

tokenizers = pytest.importorskip("tokenizers", reason="the package tokenizers is not installed")

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, kind="masked"):
        super().__init__()
        self.kind = kind
        self.table, self.hidden, self.out = nn.Embedding(12, 8), nn.Linear(8, 16), nn.Linear(16, 2)
        self.register_buffer("places", torch.ones(9, 1), persistent=False)

    def forward(self, tokens):
        mask = (tokens != 0).float()[..., None] if self.kind == "masked" else torch.ones(*tokens.shape, 1)
        rows = self.table(tokens)
        if self.kind == "fixed":
            rows = rows * self.places
        return self.out(torch.relu(self.hidden((rows * mask).sum(1) / mask.sum(1))))
"""
POSITIVE, NEGATIVE = ("good", "fine", "great"), ("bad", "poor", "weak")


def sentences(count: int, seed: int) -> list[tuple[str, int]]:
    generator = torch.Generator().manual_seed(seed)
    found = []
    for row in range(count):
        length = int(torch.randint(1, 8, (1,), generator=generator))
        words = torch.randint(0, 3, (length,), generator=generator).tolist()
        found.append((" ".join(["a", *((NEGATIVE, POSITIVE)[row % 2][word] for word in words)]), row % 2))
    return found


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """``make(kind)``: a folder with data, tokenizer, `net.py` and its trained weights."""
    monkeypatch.chdir(tmp_path)
    words = ["[PAD]", "[UNK]", "[SEP]", "a", *POSITIVE, *NEGATIVE]
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: n for n, word in enumerate(words)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A [SEP]", pair="$A [SEP] $B [SEP]", special_tokens=[("[SEP]", 2)]
    )
    (tmp_path / "tok").mkdir()
    made.save("tok/tokenizer.json")
    (tmp_path / "data").mkdir()
    for split, count, seed in (("train", 200, 0), ("test", 60, 1)):
        rows = [{"text": text, "label": label} for text, label in sentences(count, seed)]
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"data/{split}.jsonl").write_text(lines)
    (tmp_path / "net.py").write_text(NET)

    def make(kind="masked"):
        space: dict = {}
        exec(NET, space)
        torch.manual_seed(0)
        module = space["Net"](kind)
        rows = [made.encode(text).ids for text, _ in sentences(200, 0)]
        inputs = torch.tensor([row + [0] * (9 - len(row)) for row in rows])
        targets = torch.tensor([label for _, label in sentences(200, 0)])
        adam = torch.optim.Adam(module.parameters(), 0.02)
        for _ in range(60):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(module(inputs), targets).backward()
            adam.step()
        torch.save(module.state_dict(), f"{kind}.pt")
        return module

    return make


def compress(cli, kind, out, *more):
    words = ["--arch", "net.py:Net", "--arch-args", json.dumps({"kind": kind}), "--data", "data"]
    words += ["--tokenizer", "tok", "--layers", "4", "--epochs", "2", "--batch-size", "16", "-o", out]
    return cli("compress", f"{kind}.pt", *words, *more)


def test_from_texts_to_an_artifact_in_one_command(cli, scene):
    scene()
    done = compress(cli, "masked", "a.qtrain", "--json")
    record = json.loads(done.out)
    assert record["teacher_test_accuracy"] == 1.0 and record["test_count"] == 60
    assert "texts by the tokenizer of 'tok': 10 words, padding 0" in done.err
    assert "filled up" not in done.err
    compress(cli, "masked", "b.qtrain")
    assert Path("a.qtrain").read_bytes() == Path("b.qtrain").read_bytes()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("unmasked", "outputs depend on how far rows are filled up (it has no mask for the number 0)"),
        ("fixed", "the model takes rows of one length only: all are filled up to the longest"),
    ],
)
def test_a_model_that_minds_the_padding_gets_rows_of_one_length(cli, scene, kind, said):
    scene(kind)
    done = compress(cli, kind, "a.qtrain")
    assert done.code == 0 and said in " ".join(done.err.split())


def test_outputs_come_back_in_the_order_of_the_rows(scene):
    module = scene().eval()
    lengths = torch.randint(1, 10, (2500,), generator=torch.Generator().manual_seed(2))
    rows = torch.randint(3, 10, (2500, 9), generator=torch.Generator().manual_seed(3))
    rows = torch.where(torch.arange(9) < lengths[:, None], rows, 0)
    state = module.state_dict()
    whole = predict(module, state, rows, Normalisation(tokens=True))
    cut = predict(module, state, rows.short(), Normalisation(tokens=True, padding=0))
    assert torch.allclose(whole, cut, atol=1e-6)
