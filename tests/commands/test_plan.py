"""`qtrain plan`: the figures are those that `compress` would have, and the probe says what it measured."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from artifacts import spec_of
from torch import nn

from qtrain_cli.artifact.size import Known, bytes_bound
from qtrain_cli.cli import main
from qtrain_cli.commands import plan
from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.methods.generator.angles import start_angles
from qtrain_cli.methods.generator.plan import ANGLES, plan_of
from qtrain_cli.methods.generator.planning import plan_generator
from qtrain_cli.methods.generator.sizes import angle_bytes, mapping_bytes
from qtrain_cli.quantum.statevector import probabilities
from qtrain_cli.runs import probing
from qtrain_cli.settings import BudgetSettings, FitSettings, ModelSettings, PlanSettings
from qtrain_cli.settings.parsing import parse_shapes
from qtrain_cli.targets.layout import layout_of
from qtrain_cli.targets.size import model_bytes


def network():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))


@pytest.fixture(autouse=True)
def short_probe(monkeypatch):
    monkeypatch.setattr(probing, "PROBE_SECONDS", 0.0)


@pytest.fixture
def model(tmp_path):
    torch.save(network(), tmp_path / "net.pt")
    return tmp_path / "net.pt"


def planned(model: Path, input_shape=(), fit=None, **budget):
    settings = PlanSettings(ModelSettings(model), BudgetSettings(**budget), fit or FitSettings(), input_shape)
    return plan.run(settings)


def test_the_figures_are_those_of_the_planner(model):
    found, layout = planned(model, params=100, angle_bits=6), layout_of(network())
    spec = plan_generator(layout, BudgetSettings(params=100, angle_bits=6), 0, lambda spec: 0)
    assert (
        (found.weights, found.kept_weights) == (36 + 4 + 8 + 1440 + 10, 9) == (layout.generated, layout.kept)
    )
    assert (found.qubits, found.layers, found.circuits) == (11, 8, 1)
    assert found.trained_numbers == spec.trained_numbers == 90
    assert (found.ansatz, found.entangler, found.mapping, found.angle_bits) == (
        "real-amplitudes",
        "cnot-ring",
        "linear",
        6,
    )
    bits = 8 * (mapping_bytes(spec) + angle_bytes(spec))
    known = Known("net.pt", precision="float32")
    bound = bytes_bound("ours", plan_of(spec), layout, known, bits)
    assert found.artifact_bytes == bound
    assert found.model_bytes == model_bytes(layout)
    assert found.bytes_ratio == found.model_bytes / found.artifact_bytes
    assert found.parameter_ratio == (1498 + 9) / (90 + 9)
    assert (found.model, found.trust, found.device) == (
        "net.pt",
        "stock-layers",
        "cpu" if not torch.cuda.is_available() else "cuda",
    )


@pytest.mark.parametrize("size", [1500, 1600, 2000])
def test_a_budget_of_bytes_holds(model, size):
    found = planned(model, bytes=size)
    assert size - 2 * found.qubits <= found.artifact_bytes <= size


def test_targets_and_ignore(model):
    found = planned(model, params=100, targets=("4",), ignore=("*.bias",))
    assert (found.weights, found.kept_weights) == (1440, 67)


def test_the_probe_says_what_it_measured(model):
    assert planned(model, params=100).probe == "generator alone"
    found = planned(model, (1, 8, 8), FitSettings(batch_size=4), params=100)
    assert found.probe == "training step, batch 4" and 0 < found.seconds_per_step < 10


def test_the_circuits_are_a_part_of_a_step(model):
    found = planned(model, (1, 8, 8), FitSettings(batch_size=4), params=400)
    assert 0 < found.circuit_seconds < 3 * found.seconds_per_step
    assert found.start_variance == pytest.approx(2, rel=0.1)


def test_circuits_that_do_not_spread_are_said(model):
    said = []
    settings = PlanSettings(ModelSettings(model), BudgetSettings(layers=1), FitSettings())
    found = plan.run(settings, said.append)
    assert found.start_variance > 10
    assert any("1 layers of 11 qubits do not spread their outcomes" in line for line in said)
    assert any("add --seeded-layers 10" in line for line in said)


FORETOLD = """
import json, sys
from benchmarks.peak import highest
from qtrain_cli.cli import main
assert main(sys.argv[1:]) == 0
print(highest())
"""


def test_memory_is_what_a_run_takes(tmp_path):
    """Of 2.4 million weights, whose copies are a good part of it."""
    torch.manual_seed(0)
    first, middle, last = nn.Linear(64, 1500), nn.Linear(1500, 1500), nn.Linear(1500, 4)
    wide = nn.Sequential(first, nn.ReLU(), middle, nn.ReLU(), last)
    torch.save(wide, tmp_path / "wide.pt")
    x = torch.randn(208, 64).numpy()
    y = x[:, :4].argmax(1)
    np.savez(tmp_path / "rows.npz", x_train=x[:144], y_train=y[:144], x_test=x[144:], y_test=y[144:])
    common = [str(tmp_path / "wide.pt"), "--params", "150", "--circuits", "2", "--batch-size", "64"]
    run = [
        *common,
        "--data",
        str(tmp_path / "rows.npz"),
        "--epochs",
        "1",
        "--teacher-any",
        "--bare",
        "--json",
    ]
    root = Path(__file__).resolve().parents[2]
    own, found = os.environ | {"PYTHONPATH": f"{root}:{root / 'tests'}"}, []
    for words in (
        ["plan", *common, "--input-shape", "64", "--json"],
        ["compress", *run, "-o", str(tmp_path / "a.qtrain")],
    ):
        command = [sys.executable, "-c", FORETOLD, *words]
        done = subprocess.run(command, env=own, capture_output=True, text=True, check=True)
        document, _, highest = done.stdout.strip().rpartition("\n")
        found.append(json.loads(document).get("memory_bytes", int(highest)))
    assert found[0] == pytest.approx(found[1], rel=0.2)


def test_inputs_that_the_model_does_not_take(model):
    with pytest.raises(BadInput, match=r"the model does not take 2 inputs of shape \[3, 8, 8\]"):
        planned(model, (3, 8, 8), params=100)


@pytest.mark.parametrize(
    ("budget", "kind", "message"),
    [
        ({"params": 5}, BadInput, "a budget of 5 numbers does not buy one layer"),
        ({"bytes": 100}, BadInput, "--bytes 100 is too small for this model; one layer takes"),
        ({"ansatz": "ry"}, UsageError, "--ansatz 'ry' does not exist"),
        ({"targets": ("5",)}, UsageError, "--targets '5' matches no parameter"),
        ({"ignore": ("*",)}, BadInput, "no weight is left to generate"),
    ],
)
def test_budgets_that_cannot_be(model, budget, kind, message):
    with pytest.raises(kind) as refused:
        planned(model, **budget)
    assert message in refused.value.message


def test_the_command_line(model, capsys):
    assert main(["plan", str(model), "--params", "100", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert list(found) == list(plan.PlanRecord.__dataclass_fields__) and found["trained_numbers"] == 90
    assert main(["plan", str(model), "--params", "100"]) == 0
    assert "generator alone" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--params", "1" * 400], "--params is 1111"),
        (["--bytes", "9" * 400], "is not a size"),
        (["--bytes", "999999999999 GiB"], "--bytes is 10737418239"),
        (["--ratio", "0.1"], "--ratio is 0.1; allowed: 1 or more"),
        (["--ratio", "nan"], "--ratio is nan"),
        (["--params", "0"], "--params is 0"),
        (["--params", "10", "--ratio", "10"], "--params and --ratio are given; give one budget"),
        (["--params", "10", "--layers", "1"], "--params and --layers both fix the size"),
        (["--layers", "99999999"], "layers is 99999999"),
    ],
)
def test_one_line_and_exit_code_2(model, arguments, words, capsys):
    assert main(["plan", str(model), *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and words in said.err


# --- what a model reads -------------------------------------------------------------------------------------

READERS = """
import torch
from torch import nn

class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(30, 8), nn.Linear(8, 2)

    def forward(self, tokens, mask=None, picture=None):
        found = self.table(tokens)
        found = found if mask is None else found * mask.unsqueeze(-1)
        return self.out(found.mean(1) + (0 if picture is None else picture.mean()))
"""


def reading(tmp_path, shape):
    (tmp_path / "words.py").write_text(READERS)
    names: dict = {}
    exec(READERS, names)
    torch.save(names["Words"]().state_dict(), tmp_path / "words.pt")
    model = ModelSettings(tmp_path / "words.pt", arch=f"{tmp_path / 'words.py'}:Words")
    return plan.run(PlanSettings(model, BudgetSettings(layers=2), FitSettings(batch_size=4), shape))


@pytest.mark.parametrize("shape", ["6", "tokens=6", "tokens=6 mask=6", "tokens=6;mask=6;picture=1,4,4"])
def test_a_model_that_reads_tokens_is_given_tokens(tmp_path, shape):
    assert reading(tmp_path, parse_shapes(shape)).probe == "training step, batch 4 of tokens that were drawn"


def test_a_shape_that_no_filling_makes_readable_says_why(tmp_path):
    with pytest.raises(BadInput, match=r"does not take 2 inputs of words \[6\]"):
        reading(tmp_path, {"words": (6,), "mask": (5,)})


@pytest.mark.parametrize("text", ["tokens=", "a=3 a=4", "=3", "a=3,b", "a=3 b"])
def test_named_shapes_that_are_none(text):
    if text == "tokens=":
        assert parse_shapes(text) == {"tokens": ()}  # a number for each row
    else:
        with pytest.raises(UsageError):
            parse_shapes(text)


def test_the_circuits_that_are_timed_are_those_that_a_step_runs():
    spec, ran = spec_of(), []

    class Part:
        def at(self, step):
            return lambda circuit, theta: ran.append(step) or probabilities(circuit, theta)

    theta = start_angles(spec.circuit, spec.angles.start_seed).float()
    trainee = SimpleNamespace(numbers={ANGLES: theta}, circuits=Part())
    probing._circuits_of(trainee, SimpleNamespace(layout=spec.layout, plan=plan_of(spec)))()
    assert ran == [0]
