"""`qtrain compare-gradients`: one training under every estimator, plateaus, and the picture."""

import importlib.util
import json
import re

import pytest
import torch

from qtrain_cli.errors import UsageError
from qtrain_cli.settings import DataSettings, FitSettings
from qtrain_cli.students.settings import CompareGradientsSettings, TeachSettings, estimators_of, parse_whole
from qtrain_cli.training.plateaus import gradient_variance


@pytest.fixture
def call(cli, digits, tmp_path):
    """``call(*words)``: a comparison of a second."""
    words = (
        "compare-gradients", "qnn:qubits=2,layers=1", "--data", digits / "digits.npz", "--epochs", 1,
        "--seeds", 1, "-o", tmp_path / "cells", "--qubits", "2,4", "--layers", "1,8", "-q",
    )  # fmt: skip
    return lambda *more: cli(*words, *more)


def test_every_estimator_runs_the_same_training(call, tmp_path):
    picture = tmp_path / "p.png"
    document = json.loads(call("--json", "--plot", picture).out)
    rows = {(row["gradient"], row["shots"]): row for row in document["rows"]}
    assert list(rows) == [
        ("adjoint", 0), ("parameter-shift", 0), ("spsa", 0), ("finite-difference", 0),
        ("parameter-shift", 100), ("spsa", 100), ("finite-difference", 100),
    ]  # fmt: skip
    assert rows["adjoint", 0]["losses"] == pytest.approx(rows["parameter-shift", 0]["losses"], rel=1e-4)
    assert rows["parameter-shift", 0]["evaluations"] == 10 * 128 * (1 + 2 * (4 + 2))  # angles and cells
    assert rows["spsa", 0]["evaluations"] == 10 * 128 * 3
    assert rows["spsa", 100]["total_shots"] == 100 * 10 * 128 * 3 and rows["spsa", 0]["total_shots"] == 0
    assert all(row["seconds"] > 0 for row in document["rows"])
    assert len(document["plateaus"]) == 4 and picture.read_bytes().startswith(b"\x89PNG")
    refused = call("--plot", picture)
    assert refused.code == 2 and "exists" in refused.err
    assert call("--plot", picture, "--force").code == 0
    again = json.loads(call("--json").out)
    assert again == document
    shown = call()
    assert "gradients of random circuits" in shown.out and "circuit runs" in shown.out


def test_a_missing_matplotlib_is_noticed_before_training(call, monkeypatch, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "matplotlib" else find(name, *a)
    )
    ran = call("--plot", tmp_path / "p.png")
    assert ran.code == 2 and "matplotlib" in ran.err and not (tmp_path / "cells").exists()


def test_gradients_of_deep_circuits_vanish_with_the_qubits():
    sizes = [gradient_variance("su2-rz-ry", "cnot-ring", qubits, 40, seed=0) for qubits in (2, 5, 8)]
    assert sizes[0].variance > 4 * sizes[1].variance > 16 * sizes[2].variance
    again = gradient_variance("su2-rz-ry", "cnot-ring", 2, 40, seed=0)
    assert again == sizes[0] and torch.tensor(again.mean_variance) > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--gradients", "adjoin"), "--gradients has 'adjoin'; did you mean 'adjoint'?"),
        (("--shots", "many"), "--shots 'many' is not a list of whole numbers"),
        (("--qubits", "40"), "--qubits is [40]; allowed: 1 to 14 each"),
        (("--plot", "x.gif"), "--plot 'x.gif' has another ending"),
        (("--seeds", "0"), "--seeds is 0; allowed: 1 to 100"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, words, said):
    ran = call(*words)
    assert ran.code == 2 and said in ran.err


def test_a_classical_student_has_no_gradients_to_compare(cli, digits, tmp_path):
    ran = cli(
        "compare-gradients", "classical:like=hybrid", "--data", digits / "digits.npz", "-o", tmp_path / "c"
    )
    assert ran.code == 2 and "a classical student has no circuit" in ran.err


def test_lists_become_pairs():
    assert estimators_of("adjoint,spsa", (10,)) == (("adjoint", 0), ("spsa", 10))
    assert parse_whole("1, 2", "--x") == (1, 2)
    with pytest.raises(UsageError, match=re.escape("there is no estimator to compare")):
        base = TeachSettings("qnn", DataSettings("x"), FitSettings(), __import__("pathlib").Path("x"))
        CompareGradientsSettings(base, (), 1, base.out)
