"""`qtrain compress` through measured circuits: it learns, says what it spent, resumes, refuses.

Three clouds of points and a trained Linear(2, 3): 9 weights, 4 qubits, 8 angles, a second a run.
"""

import json

import numpy as np
import pytest
import torch
from torch import nn

from qtrain_cli.commands import verify
from qtrain_cli.errors import BadInput
from qtrain_cli.settings import VerifySettings
from qtrain_cli.training import loop, recovery


@pytest.fixture(scope="module")
def clouds(tmp_path_factory):
    """A folder with `rows.npz` and the trained `linear.pt`."""
    folder = tmp_path_factory.mktemp("clouds")
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(300) % 3
    x = torch.tensor([[2.0, 0.0], [-1.0, 1.7], [-1.0, -1.7]])[y] + 0.6 * torch.randn(
        300, 2, generator=generator
    )
    np.savez(folder / "rows.npz", x_train=x[:200], y_train=y[:200], x_test=x[200:], y_test=y[200:])
    torch.manual_seed(0)
    module = nn.Linear(2, 3)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x[:200]), y[:200]).backward()
        optimizer.step()
    torch.save(module.state_dict(), folder / "linear.pt")
    return folder


@pytest.fixture
def words(clouds, tmp_path):
    """The command line, but for the gradient."""
    return (
        "compress", clouds / "linear.pt", "--arch", "torch.nn:Linear", "--arch-args",
        '{"in_features": 2, "out_features": 3}', "--data", clouds / "rows.npz", "--layers", "2", "--circuits",
        "1", "--batch-size", "60", "--lr", "0.2", "--seed", "3", "--device", "cpu",
        "-o", tmp_path / "a.qtrain",
    )  # fmt: skip


WAYS = {
    "spsa": ("--gradient", "spsa", "--shots", "2000", "--spsa-samples", "4", "--epochs", "20"),
    "parameter-shift": (
        "--gradient", "parameter-shift", "--pennylane-device", "default.qubit", "--epochs", "6",
    ),
    "finite-difference": ("--gradient", "finite-difference", "--shots", "2000", "--epochs", "10"),
}  # fmt: skip
#: 3 steps an epoch; of each the weights, and 8 samples, 16 shifts or 16 differences.
SPENT = {
    "spsa": "540 circuits, 1,080,000 shots",
    "parameter-shift": "306 circuits, exact probabilities",
    "finite-difference": "510 circuits, 1,020,000 shots",
}


@pytest.mark.parametrize("method", WAYS)
def test_it_learns_and_says_what_it_spent(cli, words, method, tmp_path):
    start = json.loads(cli(*words, "--epochs", "1", "--lr", "1e-12", "--json").out)
    ended = cli(*words, *WAYS[method], "--force", "--json")
    record = json.loads(ended.out)
    assert ended.code == 0, ended.err
    assert start["test_accuracy"] < 0.7 and record["test_accuracy"] > start["test_accuracy"] + 0.2
    assert record.keys() == start.keys(), "the record keeps its schema"
    assert verify.run(VerifySettings(tmp_path / "a.qtrain")).agreement == "exact"
    where = " on default.qubit" if method == "parameter-shift" else ""
    lines = ended.err.splitlines()
    assert f"gradient: {method}{where}, {SPENT[method]}" in lines
    assert f"spent on gradients: {SPENT[method]}" in lines


def test_by_default_nothing_is_said_of_gradients(cli, words):
    assert "gradient" not in cli(*words, "--epochs", "1").err


def test_spsa_with_shots_goes_on_to_the_same_bytes(cli, words, tmp_path, monkeypatch):
    given = ("--gradient", "spsa", "--shots", "100", "--epochs", "3")
    assert cli(*words, *given).code == 0
    whole = (tmp_path / "a.qtrain").read_bytes()
    (tmp_path / "a.qtrain").unlink()
    monkeypatch.setattr(recovery.Clock, "due", lambda clock: True)
    saves = []

    def save(path, checkpoint, real=recovery.save_checkpoint):
        saves.append(real(path, checkpoint))
        if len(saves) == 6:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recovery, "save_checkpoint", save)
        assert cli(*words, *given).code == 130
    ended = cli(*words, *given, "--resume")
    assert ended.code == 0 and "going on from" in ended.err
    assert (tmp_path / "a.qtrain").read_bytes() == whole
    other = cli(*words, *given, "--force", "--seed", "4")
    assert other.code == 0 and (tmp_path / "a.qtrain").read_bytes() != whole


def test_another_number_of_shots_is_another_run(cli, words, tmp_path, monkeypatch):
    monkeypatch.setattr(recovery.Clock, "due", lambda clock: True)
    monkeypatch.setattr(loop._Loop, "advance", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
    assert cli(*words, "--gradient", "spsa", "--shots", "5", "--epochs", "1").code == 130
    ended = cli(*words, "--gradient", "spsa", "--shots", "6", "--epochs", "1", "--resume")
    assert ended.code == 2 and "fit.gradient.shots is 5 there and 6 here" in ended.err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--shots", "10"), "--gradient adjoint needs amplitudes and cannot go with --shots"),
        (
            ("--pennylane-device", "default.qubit"),
            "--gradient adjoint needs amplitudes and cannot go with --pennylane-device",
        ),
        (("--gradient", "spsa", "--shots", "0"), "--shots is 0; allowed: 1 to 1000000000"),
        (("--gradient", "spsa", "--spsa-samples", "0"), "--spsa-samples is 0; allowed: 1 to 1000000"),
        (("--gradient", "shift"), "--gradient 'shift' does not exist"),
        (
            ("--gradient", "spsa", "--pennylane-device", "lightning.qbit"),
            "PennyLane has no device 'lightning.qbit'; did you mean 'lightning.qubit'?",
        ),
        (
            ("--gradient", "parameter-shift", "--epochs", "1000000"),
            "would run 51,000,000 circuits (17 in each of 3,000,000 steps); allowed: 10,000,000;",
        ),
        (
            ("--gradient", "spsa", "--epochs", "200000", "--pennylane-device", "default.qubit"),
            "would run 1,800,000 circuits (3 in each of 600,000 steps); allowed: 1,000,000;",
        ),
    ],
)
def test_what_is_refused_before_anything_is_trained(cli, words, tmp_path, given, said):
    ended = cli(*words, *given)
    assert ended.code == 2 and ended.out == ""
    assert said in ended.err.splitlines()[-1]
    assert not list(tmp_path.glob("a.*"))


@pytest.mark.filterwarnings("ignore:Operator")
def test_a_device_that_cannot_run_the_circuit_ends_in_one_line(cli, words):
    ended = cli(*words, "--gradient", "spsa", "--pennylane-device", "default.gaussian", "--epochs", "1")
    assert ended.code == BadInput.exit_code
    assert "the device 'default.gaussian' cannot run this circuit: DeviceError" in ended.err.splitlines()[-1]


def test_the_options_may_stand_in_a_file(cli, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qtrain.toml").write_text(
        '[compress]\ngradient = "spsa"\nshots = 50\nspsa-samples = 2\npennylane-device = "default.qubit"\n'
    )
    ended = cli(*words, "--epochs", "1")
    assert "gradient: spsa on default.qubit, 15 circuits, 750 shots" in ended.err.splitlines()
