"""Adapter folders as PEFT reads them: of linear layers, of GPT-2's, and of convolutions."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

NET = """
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.look = nn.Conv2d(1, 6, 3, padding=1)
        self.square, self.wide = Conv1D(6, 6), Conv1D(9, 6)
        self.plain = nn.Linear(9, 9)
        self.head = nn.Linear(9, 2)

    def forward(self, x):
        x = torch.relu(self.look(x)).mean((2, 3))
        return self.head(torch.tanh(self.plain(torch.tanh(self.wide(torch.tanh(self.square(x)))))))
"""


@pytest.fixture
def net(tmp_path, monkeypatch):
    """The network of NET, its weights as base.pt, rows of two classes, and this folder as the current one."""
    pytest.importorskip("transformers", reason="the extra hf is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    scope = {}
    exec(NET, scope)
    torch.manual_seed(0)
    model = scope["Net"]()
    torch.save(model.state_dict(), "base.pt")
    drawn = np.random.default_rng(0)
    rows = {f"x_{split}": drawn.normal(size=(200, 1, 5, 5)).astype("f4") for split in ("train", "test")}
    np.savez(
        "rows.npz",
        **rows,
        **{f"y_{name[2:]}": (x.mean((1, 2, 3)) > 0).astype(int) for name, x in rows.items()},
    )
    return model


@pytest.mark.parametrize("target", ["lora:rank=2", "lora-xs:rank=2"])
def test_peft_merges_what_is_exported(net, cli, target):
    peft = pytest.importorskip("peft", reason="the package peft is not installed")
    base = ("--base", "base.pt", "--arch", "net.py:Net")
    words = ("--data", "rows.npz", "--target", target, "--targets", "look,square,wide,plain")
    done = cli("compress", *base, *words, "--layers", 4, "--epochs", 3, "-o", "x.qtrain")
    assert done.code == 0, done.err
    for out in ("adapter", "whole.safetensors"):
        assert cli("export", "x.qtrain", *base, "--classical", "-o", out).code == 0
    whole, before = load_file("whole.safetensors"), {k: v.clone() for k, v in net.state_dict().items()}
    merged = peft.PeftModel.from_pretrained(net, "adapter").merge_and_unload().state_dict()
    assert merged.keys() == whole.keys()
    for name, tensor in whole.items():
        assert torch.allclose(merged[name], tensor, atol=1e-6), name
    moved = {name.split(".")[0] for name in before if not torch.equal(before[name], whole[name])}
    assert moved == {"look", "square", "wide", "plain"}


def test_of_tensors_alone_it_says_what_it_takes_them_for(net, cli):
    base = ("--base", "base.pt", "--arch", "net.py:Net")
    words = (
        "--data",
        "rows.npz",
        "--target",
        "lora:rank=2",
        "--targets",
        "plain",
        "--layers",
        2,
        "--epochs",
        1,
    )
    assert cli("compress", *base, *words, "-o", "x.qtrain").code == 0
    done = cli("export", "x.qtrain", "--base", "base.pt", "--classical", "-o", "adapter")
    assert done.code == 0 and "for nn.Linear" in done.out
