"""The model is measured before it is trained by: at chance it stops, and its outputs say the loss."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from qtrain_cli.data import load_data
from qtrain_cli.errors import BadInput
from qtrain_cli.runs import examination
from qtrain_cli.runs.examination import examine
from qtrain_cli.settings import DataSettings, TaskSettings
from qtrain_cli.tasks import TASKS
from qtrain_cli.tasks.chance import at_chance

RNG = np.random.default_rng(0)
CENTRES = RNG.normal(size=(3, 4)) * 3


def rows(count):
    y = RNG.integers(0, 3, count)
    return (CENTRES[y] + 0.3 * RNG.normal(size=(count, 4))).astype(np.float32), y


def classifier():
    """Scores that are right: minus half the squared distance to each centre, up to what is the same for
    all."""
    layer = nn.Linear(4, 3)
    layer.weight.data = torch.tensor(CENTRES, dtype=torch.float32)
    layer.bias.data = -torch.tensor((CENTRES**2).sum(1) / 2, dtype=torch.float32)
    return layer


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A model and data in the current folder; data are changed by name."""
    monkeypatch.chdir(tmp_path)

    def write(*tail, first=None, **labels):
        torch.save(nn.Sequential(first or classifier(), *tail).eval(), "m.pt")
        (x, y), (x_test, y_test) = rows(120), rows(40)
        turn = labels.get("turn", lambda y: y)
        np.savez("d.npz", x_train=x, y_train=turn(y), x_test=x_test, y_test=turn(y_test))

    return write


BRIEF = ("--data", "d.npz", "--params", "12", "--epochs", "1", "--device", "cpu", "-o", "out.qtrain")


@pytest.mark.parametrize(("tail", "turn", "task", "said"), [
    ((), lambda y: y, None, "outputs are scores of classes; cross-entropy"),
    ((nn.LogSoftmax(1),), lambda y: y, None, "outputs are log-probabilities; cross-entropy"),
    ((nn.Softmax(1),), lambda y: y, "class-probabilities", "outputs are probabilities already (a softmax"),
    ((nn.Sigmoid(),), lambda y: y, "class-sigmoids", "outputs are a probability for each class"),
    ((), lambda y: y + 1, None, "labels 1 to 3 are the classes 0 to 2"),
    ((), lambda y: y.astype(np.float32), None, "whole targets are class numbers"),
    ((), lambda y: np.eye(3, dtype=np.float32)[y], None, "one-hot targets are class numbers"),
    ((), lambda y: np.eye(3, dtype=np.int64)[y], None, "one-hot targets are class numbers"),
])  # fmt: skip
def test_the_loss_is_said_and_recorded(cli, scene, tail, turn, task, said):
    scene(*tail, turn=turn)
    ended = cli("compress", "m.pt", *BRIEF, "--json")
    assert ended.code == 0, ended.err
    assert "the model itself: accuracy 100.00 % (the commonest class " in ended.err
    assert f" %) on 120 rows of train and validation; {said}" in ended.err
    record = json.loads(ended.out)
    assert record["teacher_test_accuracy"] == 1.0 and record["task"] == (task or "classification")
    told = json.loads(cli("report", "out.qtrain", "--json").out)
    assert told == {**record, "seconds": None}
    assert ("Loss" in cli("report", "out.qtrain").out) == bool(task)


def yes_or_no():
    layer = nn.Linear(4, 1)
    layer.weight.data = torch.tensor(CENTRES[1] - CENTRES[0], dtype=torch.float32)[None]
    layer.bias.data = torch.tensor([((CENTRES[0] ** 2).sum() - (CENTRES[1] ** 2).sum()) / 2]).float()
    return layer


@pytest.mark.parametrize(("tail", "dtype", "task"), [
    ((), np.float32, "binary"), ((nn.Flatten(0),), np.int64, "binary"),
    ((nn.Sigmoid(),), np.float32, "binary-probabilities"),
])  # fmt: skip
def test_one_output_of_yes_or_no(cli, tmp_path, monkeypatch, tail, dtype, task):
    monkeypatch.chdir(tmp_path)
    torch.save(nn.Sequential(yes_or_no(), *tail).eval(), "m.pt")
    y = RNG.integers(0, 2, 120)
    x = (CENTRES[y] + 0.3 * RNG.normal(size=(120, 4))).astype(np.float32)
    np.savez(
        "d.npz", x_train=x[:90], y_train=y[:90].astype(dtype), x_test=x[90:], y_test=y[90:].astype(dtype)
    )
    ended = cli("compress", "m.pt", *BRIEF[:3], "5", *BRIEF[4:], "--json")
    assert ended.code == 0, ended.err
    record = json.loads(ended.out)
    assert (record["task"], record["teacher_test_accuracy"]) == (task, 1.0)
    student = (
        "--student",
        "qnn:qubits=2,layers=1",
        "--epochs",
        "1",
        "--device",
        "cpu",
        "-o",
        "s.qtrain",
        "--json",
    )
    ended = cli("distill", "m.pt", "--data", "d.npz", *student)
    assert ended.code == 0, ended.err
    # A student gives scores, whatever its teacher gives.
    assert json.loads(ended.out)["task"] == "binary"
    assert json.loads(cli("report", "s.qtrain", "--json").out)["task"] == "binary"
    ended = cli("train", *student[1:2], "--data", "d.npz", *student[2:], "--force")
    if dtype == np.float32:
        assert json.loads(ended.out)["task"] == "binary"


def test_a_student_of_probabilities_learns_scores_from_them(cli, scene):
    scene(nn.Softmax(1))
    ended = cli(
        "distill", "m.pt", "--data", "d.npz", "--student", "qnn:qubits=2,layers=1", "--epochs", "1",
        "--device", "cpu", "-o", "s.qtrain", "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    record = json.loads(ended.out)
    assert record["task"] == "classification" and record["teacher_test_accuracy"] == 1.0


def test_every_method_of_a_comparison_goes_by_the_same_loss(cli, scene):
    scene(nn.Softmax(1))
    ended = cli(
        "compare", "m.pt", "--data", "d.npz", "--bytes", "900", "--methods", "quantisation,small-dense",
        "--quick", "--epochs", "8", "--device", "cpu", "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["task"] == "class-probabilities"
    assert {cell["method"]: cell["end"] for cell in found["cells"]} == {
        "quantisation": "done", "small-dense": "done",
    }  # fmt: skip


#: Nothing that goes in is good for it.
CONSTANT = nn.Linear(4, 3)
CONSTANT.weight.data.zero_()
CHANCE = [
    ({"turn": lambda y: (y + 1) % 3}, (), "it is good with them renamed: --classes 1,2,0"),
    ({"first": CONSTANT}, (), "check --mean and --std"),
    ({}, ("--mean", "300", "--std", "1"), "without --mean and --std it has 100.00 %"),
]


@pytest.mark.parametrize("verb", ["compress", "compare", "distill"])
def test_at_chance_it_stops_with_the_reason_and_goes_on_if_asked(cli, scene, verb):
    more = {
        "compress": ("--params", "12"),
        "compare": ("--bytes", "600", "--methods", "quantisation", "--quick"),
        "distill": ("--student", "qnn:qubits=2,layers=1"),
    }[verb]
    scene(turn=lambda y: (y + 1) % 3)
    line = (verb, "m.pt", "--data", "d.npz", "--epochs", "2", "--device", "cpu", *more)
    ended = cli(*line)
    assert ended.code == 2
    assert "accuracy on these data is 0.00 % (120 rows)" in ended.err
    assert "it is no better than chance; " in ended.err and "--teacher-any goes on" in ended.err
    assert cli(*line, "--classes", "1,2,0").code == 0
    ended = cli(*line, "--teacher-any", *([] if verb == "compare" else ["--force"]))
    assert ended.code == 0 and "it is no better than chance" in ended.err


@pytest.mark.parametrize(("changes", "options", "reason"), CHANCE)
def test_reasons_that_were_tried(cli, scene, changes, options, reason):
    scene(**changes)
    ended = cli("compress", "m.pt", *BRIEF, *options)
    assert ended.code == 2 and reason in ended.err, ended.err


@pytest.mark.parametrize("verb", ["compress", "distill"])
def test_an_order_that_is_partly_wrong_is_said_and_no_error(cli, tmp_path, monkeypatch, verb):
    monkeypatch.chdir(tmp_path)
    layer = nn.Linear(6, 6)
    layer.weight.data = torch.eye(6)
    torch.save(nn.Sequential(layer).eval(), "m.pt")
    y = RNG.integers(0, 6, 160)
    x, y = (3 * np.eye(6)[y]).astype(np.float32), np.array([1, 0, 2, 3, 4, 5])[y]
    np.savez("d.npz", x_train=x[:120], y_train=y[:120], x_test=x[120:], y_test=y[120:])
    more = {"compress": ("--params", "12"), "distill": ("--student", "qnn:qubits=2,layers=1")}[verb]
    line = (verb, "m.pt", "--data", "d.npz", "--epochs", "1", "--device", "cpu", *more)
    ended = cli(*line)
    said = "some labels may be in another order than its outputs: with 2 of them renamed it has 100.00 %"
    assert ended.code == 0 and f"{said}: --classes 1,0,2,3,4,5\n" in ended.err, ended.err
    ended = cli(*line, "--classes", "1,0,2,3,4,5", "--force")
    assert ended.code == 0 and "accuracy 100.00 %" in ended.err and "another order" not in ended.err


def test_a_way_of_feeding_it_that_is_hardly_better_is_not_proposed(cli, scene, monkeypatch):
    """Standardised, it has every third row right and more: above chance, and no way to go."""
    scene(first=CONSTANT)
    right = torch.eye(3)[torch.arange(3)]

    def found(ask, sample):
        half = torch.where(torch.arange(len(sample.targets)) % 3 == 0, sample.targets, 0)
        assert at_chance(TASKS["classification"], right[half], sample.targets) is None
        return original(lambda inputs, prepare: right[half], sample)

    original = examination._better_fed
    monkeypatch.setattr(examination, "_better_fed", found)
    ended = cli("compress", "m.pt", *BRIEF)
    assert ended.code == 2 and "check --mean and --std" in ended.err


def test_a_table_that_is_not_for_the_inputs_does_not_look_them_up(cli, scene, tmp_path):
    scene()
    (tmp_path / "net.py").write_text(
        "import torch\n"
        "class Net(torch.nn.Linear):\n"
        "    def __init__(self):\n"
        "        super().__init__(4, 3)\n"
        "        self.places = torch.nn.Embedding(4, 4)\n"
        "    def forward(self, x):\n"
        "        return super().forward(x + 0 * self.places(torch.arange(4)).sum())\n"
    )
    state = {**classifier().state_dict(), "places.weight": torch.ones(4, 4)}
    torch.save(state, "net.pt")
    x, y = rows(60)
    x = x.round().astype(np.int64)
    x -= x.min()
    state["bias"] -= state["weight"] @ torch.full((4,), float(-x.min()))
    np.savez("d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    ended = cli("compress", "net.pt", "--arch", "net.py:Net", *BRIEF, "--teacher-any")
    assert ended.code == 0, ended.err


def test_rows_come_from_all_over_the_splits(digits):
    data = load_data(DataSettings(str(digits / "digits.npz")), 0)
    seen = []

    def ask(inputs, prepare):
        seen.append(len(inputs))
        return torch.eye(10)[torch.zeros(len(inputs), dtype=torch.int64)]

    said = []
    examine(ask, data, False, True, said.append)
    assert seen == [2, 1000] and said[0].startswith("the model itself: accuracy ")
    assert said[1].startswith("it is no better than chance (")


def test_a_teacher_of_features_is_asked_once_for_each_row(tmp_path, monkeypatch):
    x = RNG.normal(size=(40, 4)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x_train=x, x_test=x[:10])
    data = load_data(DataSettings(str(tmp_path / "d.npz"), asked=TaskSettings("features")), 0)
    seen = []

    def ask(inputs, prepare):
        seen.append(len(inputs))
        return prepare(inputs)[:, :3]

    examined = examine(ask, data, False, False, lambda line: None)
    looked = [2, len(data.train) + len(data.validation)]
    assert seen == looked
    taught = examined.of(data)
    assert seen == [*looked, len(data.train), len(data.validation), 10]
    assert torch.equal(taught.test.targets, data.test.inputs[:, :3])
    monkeypatch.setattr(examination, "MOST_OUTPUTS", 149)
    with pytest.raises(BadInput, match="50 rows of 3 outputs are too many to be targets") as caught:
        examined.of(data)
    assert caught.value.advice == "allowed: 149 numbers; give fewer rows"


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1.0, 1e6])
def test_outputs_of_any_size_are_seen_to_depend_on_the_padding(scale):
    trimming, scores = (
        SimpleNamespace(lengths=lambda inputs: torch.tensor([1, 2])),
        torch.tensor([[1.0, 2.0]]),
    )
    data = SimpleNamespace(
        trimmed=lambda trims: SimpleNamespace(normalisation=trimming), normalisation=None, padding=0,
        train=SimpleNamespace(inputs=torch.zeros(2, 3)),
    )  # fmt: skip
    for factor, same in ((1.0, True), (1 + 1e-7, True), (1.01, scale == 0)):
        ask = lambda few, how, factor=factor: scores * scale * (factor if how is trimming else 1)  # noqa: E731
        assert examination._takes_any_length(ask, data, lambda line: None) == same
