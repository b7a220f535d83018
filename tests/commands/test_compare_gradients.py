"""`qtrain compare-gradients`: one training under every estimator, plateaus, and the picture."""

import importlib.util
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from pages import read_page

from qtrain_cli.commands import compare_gradients
from qtrain_cli.errors import UsageError
from qtrain_cli.quantum.circuit import CircuitSpec
from qtrain_cli.quantum.plateaus import gradient_variance
from qtrain_cli.quantum.statevector import expectations, probabilities
from qtrain_cli.runs import teach as teaching
from qtrain_cli.settings import CompareGradientsSettings, DataSettings, FitSettings
from qtrain_cli.settings.parsing import parse_names, parse_whole
from qtrain_cli.training import loop


@pytest.fixture
def call(cli, few_digits, tmp_path):
    """``call(*words)``: a comparison of a second."""
    words = (
        "compare-gradients", "qnn:qubits=2,layers=1", "--data", few_digits, "--epochs", 1,
        "--seeds", 1, "-o", tmp_path / "cells", "--qubits", "2,4", "--layers", "1,8", "-q",
    )  # fmt: skip
    return lambda *more: cli(*words, *more)


def test_every_estimator_runs_the_same_training(call, tmp_path):
    picture, page = tmp_path / "p.png", tmp_path / "p.html"
    document = json.loads(call("--json", "--plot", picture, "--html", page).out)
    rows = {(row["gradient"], row["shots"]): row for row in document["rows"]}
    assert list(rows) == [
        ("adjoint", 0), ("parameter-shift", 0), ("spsa", 0), ("finite-difference", 0),
        ("parameter-shift", 100), ("spsa", 100), ("finite-difference", 100),
    ]  # fmt: skip
    assert rows["adjoint", 0]["losses"] == pytest.approx(rows["parameter-shift", 0]["losses"], rel=1e-4)
    assert rows["parameter-shift", 0]["evaluations"] == 3 * 128 * (1 + 2 * (4 + 2))  # angles and cells
    assert rows["adjoint", 0]["evaluations"] == 3 * 128  # its gradient reads amplitudes: no circuit more
    assert rows["spsa", 0]["evaluations"] == 3 * 128 * 3
    assert all(row["loss_spreads"] == [None] for row in document["rows"])
    assert rows["spsa", 100]["total_shots"] == 100 * 3 * 128 * 3 and rows["spsa", 0]["total_shots"] == 0
    assert all(row["seconds"] > 0 for row in document["rows"])
    assert len(document["plateaus"]) == 4 and picture.read_bytes().startswith(b"\x89PNG")
    assert "7 ways to estimate a gradient" in read_page(page.read_bytes()).text
    for option, path in (("--plot", picture), ("--html", page)):
        refused = call(option, path)
        assert refused.code == 2 and "exists" in refused.err
    assert call("--plot", picture, "--force").code == 0
    again = json.loads(call("--json").out)
    assert again == document
    shown = call()
    assert "gradients of random circuits" in shown.out and "circuit runs" in shown.out


def test_losses_are_those_without_shots(cli, few_digits, tmp_path):
    """At a learning rate near 0 every estimator stays where it started, so that exact losses agree."""
    words = (
        "compare-gradients", "hybrid:qubits=2,reps=1", "--data", few_digits, "--epochs", 1,
        "--seeds", 2, "-o", tmp_path / "cells", "--shots", "0,2", "--gradients", "adjoint,spsa", "--lr",
        "1e-9", "--qubits", "2", "--layers", "1", "-q", "--json",
    )  # fmt: skip
    exact, _, drawn = json.loads(cli(*words).out)["rows"]
    assert drawn["shots"] == 2 and drawn["losses"] == pytest.approx(exact["losses"], abs=1e-6)
    assert drawn["loss_spreads"] == pytest.approx(exact["loss_spreads"], abs=1e-6) != [0]
    assert drawn["evaluations"] == 3 * 128 * 3  # the exact runs are a measurement, and not counted


def test_seconds_are_those_of_the_steps_and_seeds_take_turns(digits, tmp_path, monkeypatch):
    order, clocks = [], iter(range(10**6))

    def cell(settings, show, log):
        order.append((settings.circuit.gradient, settings.fit.seed))
        return run_cell(settings, show, log)

    run_cell = teaching.run_cell
    monkeypatch.setattr(teaching, "run_cell", cell)
    monkeypatch.setattr(loop.time, "perf_counter", lambda: float(next(clocks)))
    settings = CompareGradientsSettings(
        "qnn:qubits=2,layers=1", DataSettings(str(digits / "digits.npz")), FitSettings(epochs=1),
        tmp_path / "cells", ("adjoint", "spsa"), (5,), 2, qubits=(2,), layers=(1,),
    )  # fmt: skip
    table = compare_gradients.run(settings, lambda *_: None, lambda *_: None)
    assert order == [("adjoint", 0), ("spsa", 0), ("adjoint", 1), ("spsa", 1)]
    # A clock that goes on by 1 a look, two looks a step, ten steps: start-up and measurement take no look.
    assert [row.seconds for row in table.rows] == [(10.0, 10.0), (10.0, 10.0)]


def test_a_comparison_that_fails_leaves_no_empty_folder(cli, digits, tmp_path):
    for words in (
        ("compare-gradients", "qnn:qubits=2,layers=1"),
        ("compare-students", "--student", "qnn:qubits=2,layers=1"),
    ):
        ran = cli(*words, "--data", tmp_path / "absent.npz", "-o", tmp_path / "new")
        assert ran.code == 2 and not (tmp_path / "new").exists(), words
        (tmp_path / "there").mkdir(exist_ok=True)
        ran = cli(*words, "--data", tmp_path / "absent.npz", "-o", tmp_path / "there")
        assert ran.code == 2 and (tmp_path / "there").exists(), words
        ran = cli(*words, "--data", digits / "digits.npz", "-o", tmp_path / "no" / "new")
        assert ran.code == 2 and "does not exist" in ran.err, words
        ran = cli(*words, "--data", digits / "digits.npz", "-o", digits / "digits.npz")
        assert ran.code == 2 and "is not a folder" in ran.err, words


def test_an_old_folder_is_replaced_by_force_only(call, tmp_path):
    few = ("--gradients", "adjoint", "--shots", "0")
    first = json.loads(call(*few, "--json").out)
    refused = call(*few, "--lr", "0.5")
    assert refused.code == 2 and "is the result of another run" in refused.err and "--force" in refused.err
    file = tmp_path / "cells" / "adjoint-0-0.qtrain"
    (tmp_path / "cells" / "adjoint-0-0.qtrain.ckpt").write_bytes(b"a state of nobody's")
    forced = call(*few, "--lr", "0.5", "--force", "--json")
    assert forced.code == 0 and json.loads(forced.out)["rows"][0]["losses"] != first["rows"][0]["losses"]
    made = file.stat().st_mtime_ns
    assert call(*few, "--lr", "0.5", "--force").code == 0 and file.stat().st_mtime_ns == made
    assert not list((tmp_path / "cells").glob("*.ckpt"))


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
    assert again == sizes[0]


def test_the_variance_of_one_layer_is_that_of_its_formula():
    """<Z_0> of one real-amplitudes layer under a ring of CNOTs: Z_0 becomes Z_1 ... Z_n-1 or all of them, a
    product of cosines, whose derivatives have the variance 2**-k each for its k angles; the others have 0."""
    found = gradient_variance("real-amplitudes", "cnot-ring", 4, 1, seed=0).variance
    spec = CircuitSpec("real-amplitudes", "cnot-ring", 4, 1, 1)
    theta = torch.tensor([0.3, 0.5, 0.7, 1.1], dtype=torch.float64)
    z = expectations(probabilities(spec, theta.view(1, 1, 4, 1)))[0, 0]
    k = 3 if torch.isclose(z, theta[1:].cos().prod()) else 4
    assert found == pytest.approx(k / 4 * 2.0**-k, rel=0.3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--gradients", "adjoin"), "--gradients has 'adjoin'; did you mean 'adjoint'?"),
        (("--shots", "many"), "--shots 'many' is not a list of whole numbers"),
        (("--qubits", "40"), "--qubits is [40]; allowed: 1 to 14 each"),
        (("--plot", "x.gif"), "--plot 'x.gif' has no ending for pictures; allowed: .png"),
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
    few = CompareGradientsSettings(
        "qnn", DataSettings("x"), FitSettings(), Path("x"), ("adjoint", "spsa"), (10,)
    )
    assert few.estimators == (("adjoint", 0), ("spsa", 10))
    assert parse_whole("1, 2", "--x") == (1, 2) and parse_names("a, b,") == ("a", "b")
    with pytest.raises(UsageError, match=re.escape("there is no estimator to compare")):
        replace(few, gradients=())
