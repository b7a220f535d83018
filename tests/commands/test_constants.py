"""What a model's class keeps constant, from `compress` to `export`: one small text network has all of it."""

import json

import numpy as np
import pytest
import torch

import qtrain_cli
from qtrain_cli.cli import main
from qtrain_cli.errors import BadInput, UsageError

ARCH = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=6, rate=0.1):
        super().__init__()
        self.words = nn.Embedding(13, width, padding_idx=0)
        self.mix = nn.Linear(width, width)
        self.frozen = nn.Parameter(torch.cos(torch.arange(60.0)).view(10, 6), requires_grad=False)
        self.norm = nn.BatchNorm1d(width)
        self.out = nn.Linear(width, 3)
        self.register_buffer("sines", torch.sin(rate * torch.arange(90.0)).view(15, 6))
        self.register_buffer("drawn", torch.rand(40))
        self.register_buffer("mask", torch.full((200, 200), float("-inf")).triu(1))

    def forward(self, x):
        n = x.shape[1]
        h = self.words(x) + 0.01 * (self.sines[:n] + self.frozen[:n])
        h = torch.softmax(self.mask[:n, :n], 1) @ h
        return self.out(torch.relu(self.norm(1e6 * self.mix(h).mean(1))))
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with architecture, data, weights and `net.qtrain`; what compress said."""
    here = tmp_path_factory.mktemp("constants")
    (here / "net.py").write_text(ARCH)
    build = {}
    exec(ARCH, build)
    torch.random.default_generator.manual_seed(0)  # as `--arch` is built: what is drawn is the same
    net, random = build["Net"](), np.random.default_rng(0)
    y = random.integers(0, 3, 240)
    x = 1 + y[:, None] * 4 + random.integers(0, 4, (240, 8))
    x[:, 5:] = 0
    rows, labels = torch.tensor(x), torch.tensor(y)
    optimizer = torch.optim.Adam([part for part in net.parameters() if part.requires_grad], 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(rows), labels).backward()
        optimizer.step()
    torch.save(net.state_dict(), here / "net.pt")
    np.savez(here / "data.npz", x_train=x[:180], y_train=y[:180], x_test=x[180:], y_test=y[180:])
    return here, build["Net"], net.eval()


@pytest.fixture
def run(made, monkeypatch, capsys):
    monkeypatch.chdir(made[0])

    def command(*words):
        code = main([*words])
        return code, *capsys.readouterr()

    if not (made[0] / "net.qtrain").exists():
        options = ("--layers", "6", "--epochs", "12", "--batch-size", "20", "--device", "cpu", "--json")
        code, out, err = command("compress", "net.pt", "--arch", "net.py:Net", "--data", "data.npz", *options)
        assert code == 0, err
        (made[0] / "record.json").write_text(out)
        (made[0] / "said.txt").write_text(err)
    return command


def test_the_record_and_stderr_say_how_each_is_kept(made, run):
    record, said = json.loads((made[0] / "record.json").read_text()), (made[0] / "said.txt").read_text()
    assert record["kept_tensors"] == {
        "words.weight[0]": "row of zeros",
        "frozen": "of the architecture",
        "norm.running_mean": "F32, beyond F16",
        "norm.running_var": "F32, beyond F16",
        "sines": "of the architecture",
        "mask": "pattern 'band'",
    }
    assert "kept (row of zeros): 'words.weight[0]'" in said
    assert "need --arch for 'frozen', 'sines'" in said
    assert record["kept_weights"] == 6 + 6 + 1 + 40 and record["artifact_bytes"] < 1100
    assert "Tensors kept otherwise" in run("report", "net.qtrain")[1]


def test_the_plan_counts_the_same_bytes(made, run):
    options = ("--arch", "net.py:Net", "--layers", "6", "--device", "cpu", "--json")
    out = run("plan", "net.pt", *options)[1]
    plan, record = json.loads(out), json.loads((made[0] / "record.json").read_text())
    assert plan["kept_tensors"] == record["kept_tensors"]
    assert record["artifact_bytes"] <= plan["artifact_bytes"] <= record["artifact_bytes"] + 250


@pytest.mark.parametrize(
    "words", [("verify", "net.qtrain"), ("export", "net.qtrain", "--classical", "-o", "a.pt")]
)
def test_without_the_architecture_one_line_says_what_needs_it(made, run, words):
    code, out, err = run(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "what the model's architecture gives: 'frozen', 'sines'" in err and "--arch" in err
    assert not (made[0] / "a.pt").exists()
    with pytest.raises(UsageError, match="what the model's architecture gives"):
        qtrain_cli.load(made[0] / "net.qtrain")


def test_with_it_everything_is_as_it_was_and_gives_the_recorded_figure(made, run):
    here, build, net = made
    assert run("verify", "net.qtrain", "--arch", "net.py:Net")[0] == 0
    assert run("export", "net.qtrain", "--classical", "--arch", "net.py:Net", "-o", "net.safetensors")[0] == 0
    state = qtrain_cli.load(here / "net.qtrain", build()).state_dict()
    for name in ("frozen", "sines", "mask"):
        assert torch.equal(state[name], net.state_dict()[name])
    assert state["words.weight"][0].abs().max() == 0 and state["words.weight"][1:].abs().min() > 0
    assert state["norm.running_var"].max() > 65504
    fresh, data = build(), np.load(here / "data.npz")
    fresh.load_state_dict(state)
    with torch.no_grad():
        rows = torch.tensor(data["x_test"])
        found, longer = (fresh.eval()(part).argmax(1) for part in (rows, torch.cat([rows, rows[:, 7:]], 1)))
    right = float((found == torch.tensor(data["y_test"])).double().mean())
    assert right == pytest.approx(json.loads((here / "record.json").read_text())["test_accuracy"])
    assert right > 0.6 and float((found == longer).double().mean()) > 0.9


def test_another_architecture_is_refused(made, run):
    code, _, err = run("verify", "net.qtrain", "--arch", "net.py:Net", "--arch-args", '{"rate": 0.2}')
    assert code == 2 and "the architecture's tensor 'sines' is not the one of the compressed model" in err
    with pytest.raises(BadInput, match="'frozen' is not the one"):
        qtrain_cli.load(made[0] / "net.qtrain", torch.nn.Linear(1, 1))


def test_samples_of_it_need_no_more(made, run):
    words = ("sample", "net.qtrain", "--arch", "net.py:Net", "--data", "data.npz", "--shots", "1e5,exact")
    code, out, err = run(*words, "--repeat", "1", "--json")
    exact = json.loads(out)["exact_test_accuracy"]
    assert (code, exact) == (0, json.loads((made[0] / "record.json").read_text())["test_accuracy"]), err


def test_circuits_need_no_architecture(made, run):
    assert run("export", "net.qtrain", "--quantum", "-o", "net.qasm")[0] == 0


def test_rivals_have_the_same_tensors(made, run):
    code, out, err = run(
        "compare", "net.pt", "--arch", "net.py:Net", "--data", "data.npz", "--bytes", "700", "--quick",
        "--methods", "quantisation,hashing", "--epochs", "2", "--device", "cpu", "--json",
    )  # fmt: skip
    assert code == 0, err
    cells = json.loads(out)["cells"]
    assert cells and all(cell["end"] == "done" and cell["file_bytes"] <= 700 for cell in cells)
