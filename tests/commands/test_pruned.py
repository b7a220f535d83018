"""A network that was pruned by `torch.nn.utils.prune` and saved with its masks: weight_orig, weight_mask."""

import json

import numpy as np
import pytest
import torch

from qtrain_cli.cli import main

ARCH = """
from torch import nn
from torch.nn.utils import prune

def build():
    net = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3))
    for layer in (net[0], net[2]):
        prune.l1_unstructured(layer, "weight", 0.5)
    return net
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with architecture, weights and data."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(ARCH)
    found = {}
    exec(ARCH, found)
    torch.manual_seed(0)
    net, random = found["build"](), np.random.default_rng(0)
    y = random.integers(0, 3, 400)
    x = (random.normal(size=(3, 8)) * 3)[y].astype(np.float32) + random.normal(size=(400, 8)).astype("f4")
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(100):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(torch.tensor(x)), torch.tensor(y)).backward()
        optimizer.step()
    torch.save(net.eval().state_dict(), "net.pt")
    np.savez("d.npz", x_train=x[:300], y_train=y[:300], x_test=x[300:], y_test=y[300:])
    return found["build"]


def test_masks_take_a_bit_a_number_and_the_figures_are_the_users(here, capsys):
    line = ["net.pt", "--arch", "net.py:build", "--data", "d.npz", "--device", "cpu"]
    assert main(["compress", *line, "--bytes", "600", "--epochs", "10", "-o", "a.qtrain", "--json"]) == 0
    said = capsys.readouterr()
    record = json.loads(said.out)
    assert record["artifact_bytes"] <= 600 and "'0.weight_mask', '2.weight_mask'" in said.err
    assert record["kept_tensors"] == {"0.weight_mask": "a bit each", "2.weight_mask": "a bit each"}
    assert main(["verify", "a.qtrain"]) == 0
    assert main(["export", "a.qtrain", "--classical", "-o", "new.pt"]) == 0
    net, data, state = here(), np.load("d.npz"), torch.load("new.pt")
    before = torch.load("net.pt")
    for name in ("0.weight_mask", "2.weight_mask"):
        assert torch.equal(state[name], before[name])
    net.load_state_dict(state)
    right = net.eval()(torch.tensor(data["x_test"])).argmax(1).numpy() == data["y_test"]
    assert record["test_accuracy"] == right.mean()
