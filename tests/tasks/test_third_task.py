"""A third task is a row and a line: everything else, from data to report, works without a word about it."""

import json

import numpy as np
import pytest
import torch
from comparisons import cell, comparison

from qtrain_cli.data import Dataset, Normalisation, TestSplit, TrainSplit, ValidationSplit, load_data
from qtrain_cli.errors import BadInput, UsageError
from qtrain_cli.report.comparison import comparison_markdown
from qtrain_cli.report.comparison_figure import comparison_figure
from qtrain_cli.report.records import record_markdown
from qtrain_cli.report.students import gradients_terminal
from qtrain_cli.report.terminal import show
from qtrain_cli.results import Measured, Record, SampleRecord
from qtrain_cli.results.gates import check_gates
from qtrain_cli.results.schema import task_of_fields
from qtrain_cli.settings import DataSettings, GateSettings
from qtrain_cli.tasks import TASKS, task_of_targets
from qtrain_cli.tasks.counting import of_rows
from qtrain_cli.tasks.objective import Objective, check_outputs
from qtrain_cli.tasks.task import Scale, Task
from qtrain_cli.training.measure import measure, measure_test


def likeness(outputs, targets):
    """How far outputs (N, k) point where targets do, 0 to 1."""
    return ((1 + torch.cosine_similarity(outputs, targets, dim=1)) / 2).clamp(0, 1).double()


def check(outputs, targets, classes):
    if outputs.shape != targets.shape:
        raise BadInput("a direction has as many numbers as its target")


DIRECTION = Task(
    name="direction",
    word="likeness",
    closeness="parallelism",
    closeness_label="Parallel to the teacher",
    higher_is_better=True,
    most=1.0,
    scale=Scale(1.0, ".3f", "", ""),
    gate="min-accuracy",
    takes=lambda y: y.ndim == 2 and np.allclose(np.linalg.norm(y, axis=1), 1, atol=1e-4),
    check=check,
    hard_loss=lambda outputs, targets: 1 - likeness(outputs, targets).float().mean(),
    soft_loss=lambda outputs, teacher, temperature, targets: 1 - likeness(outputs, teacher).float().mean(),
    counts=lambda outputs, targets: of_rows(likeness(outputs, targets)),
    closeness_counts=lambda outputs, teacher, targets: of_rows(likeness(outputs, teacher)),
)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    """The line in the table: before the rows that would take its targets too."""
    rows = {DIRECTION.name: DIRECTION, **TASKS}
    for name in list(TASKS):
        monkeypatch.delitem(TASKS, name)
    for name, row in rows.items():
        monkeypatch.setitem(TASKS, name, row)


@pytest.fixture
def rows(digits, tmp_path):
    """The shipped digits; their targets are the directions of the shipped network's outputs."""
    images = np.load(digits / "digits.npz")
    network = torch.load(digits / "digits_cnn_module.pt", weights_only=False).eval()
    given = {}
    for split in ("train", "test"):
        x = images[f"x_{split}"]
        with torch.no_grad():
            outputs = network(torch.from_numpy(x).float() / 255)
        given |= {f"x_{split}": x, f"y_{split}": torch.nn.functional.normalize(outputs).numpy()}
    np.savez(tmp_path / "directions.npz", **given)
    return tmp_path / "directions.npz"


def record_of(make_record, **changes):
    """A record of the third task: `make_record`'s, with scores measured on three rows."""
    figures = measure(SAME, SAME.state_dict(), SAME.state_dict(), dataset(), Objective("direction", 0.5, 4.0))
    return make_record(scores=figures.scores, **changes)


def dataset():
    inputs = torch.eye(3)
    targets = torch.nn.functional.normalize(torch.tensor([[1.0, 0, 0], [0, 1, 1], [1, 1, 1]]))
    splits = TrainSplit(inputs, targets), ValidationSplit(inputs, targets), TestSplit(inputs, targets)
    return Dataset(*splits, "direction", None, "0" * 64, Normalisation())


#: A network that gives back what it is given.
SAME = torch.nn.Linear(3, 3, bias=False)
SAME.weight.data = torch.eye(3)
SCORES = [1.0, (1 + 0.5**0.5) / 2, (1 + 3**-0.5) / 2]


def test_loss_score_and_check():
    objective, data = Objective("direction", 0.25, 4.0), dataset()
    outputs, targets = data.test.inputs, data.test.targets
    assert objective.word == "likeness"
    assert objective.score(outputs, targets) == pytest.approx(np.mean(SCORES))
    assert objective.closeness(outputs, outputs, targets) == 1
    hard = 1 - np.mean(SCORES)
    assert float(objective.hard_loss(outputs, targets)) == pytest.approx(hard, rel=1e-5)
    assert float(objective.loss(outputs, targets, outputs)) == pytest.approx(0.75 * hard, rel=1e-5)
    assert objective.improves(0.9, 0.8) and not objective.improves(0.7, 0.8)
    check_outputs("direction", outputs, targets, None)
    with pytest.raises(BadInput, match="as many numbers as its target"):
        check_outputs("direction", outputs[:, :2], targets, None)


def test_measured_figures_with_an_interval_within_their_bounds(make_record):
    scores = record_of(make_record).scores
    assert (scores.task, scores.count, scores.teacher) == ("direction", 3, scores.test)
    low, high = scores.interval
    half = 1.959964 * np.std(SCORES) / 3**0.5
    assert (low, high) == pytest.approx((np.mean(SCORES) - half, min(1.0, np.mean(SCORES) + half)), rel=1e-6)
    figure, interval = measure_test(SAME, SAME.state_dict(), dataset(), Objective("direction", 0.0, 1.0))
    assert (figure, interval) == (pytest.approx(scores.test), pytest.approx(scores.interval, rel=1e-6))


def test_a_record_there_and_back(make_record):
    record = record_of(make_record)
    document = json.loads(json.dumps(record.to_json()))
    assert {"test_likeness", "test_likeness_high", "teacher_parallelism"} <= document.keys()
    assert task_of_fields(document) is DIRECTION
    assert Record.from_json(document) == record


@pytest.mark.parametrize("task", ["direction", "classification", "regression"])
def test_stored_figures_there_and_back_and_old_ones_as_ever(make_record, task):
    record = record_of(make_record) if task == "direction" else make_record(task)
    stored = json.loads(json.dumps(record.measured.to_stored()))
    name = ["direction"] if task == "direction" else []
    assert stored[1][6:] == [*(record.scores.stored_interval or ()), *name]
    digests = record.measured.data_sha256, record.measured.model_sha256
    assert Measured.from_stored(stored, *digests) == record.measured


@pytest.mark.parametrize(("figures", "said"), [
    ([0.9] * 3 + [10, None, None, "motion"], "unknown task 'motion'"),
    ([0.9] * 3 + [10, None, None, "direction"], "the stored record has 6 figures; expected: 8"),
    (["direction"], "the stored record has 0 figures; expected: 8"),
])  # fmt: skip
def test_stored_figures_under_a_wrong_name(make_record, figures, said):
    measured = make_record().measured
    stored = measured.to_stored()
    stored[1] = figures
    with pytest.raises(BadInput, match=said):
        Measured.from_stored(stored, measured.data_sha256, measured.model_sha256)


def test_gates(make_record):
    record = record_of(make_record)
    (passed, drop) = check_gates(record, GateSettings(min_accuracy=0.5, max_drop=0.1))
    assert passed.passed and passed.message.startswith("test likeness is 0.88") and drop.passed
    with pytest.raises(UsageError, match="--max-error does not fit a direction artifact"):
        check_gates(record, GateSettings(max_error=0.5))


def test_reports(make_record, capsys):
    record = record_of(make_record)
    text = record_markdown(record)
    assert "| Test likeness | 0.881 on 3 rows |" in text and "| Parallel to the teacher | 1.000 |" in text
    row = {"gradient": "spsa", "shots": 0, "seeds": 2, "test_likeness": 0.5, "spread": 0.1, "epochs": 1}
    row |= {"final_loss": None, "evaluations": 1, "total_shots": 0, "seconds": None}
    show(gradients_terminal({"student": "s", "rows": [row], "plateaus": []}))
    shown = capsys.readouterr().out
    assert "test likeness" in shown and "0.500 ± 0.100" in shown


FIGURES = {"ours": [0.9, 0.7], "narrow": [0.5, 0.6]}


def test_comparisons_and_samples():
    ours, narrow = ([cell(name, seed, row) for seed in (0, 1)] for name, row in FIGURES.items())
    found = comparison([*ours, *narrow], "direction")
    assert [point.method for point in found.points(1000)] == ["ours", "narrow"]
    assert found.points(1000)[0].high <= 1 and found.to_json([])["teacher_test_likeness"] == 0.99
    assert "test likeness at equal bytes (teacher 0.990)" in comparison_markdown(found)
    assert b">test likeness<" in comparison_figure(found, "svg")
    record = SampleRecord(*"abc", "direction", *[1] * 4, "linear", "s", *[1] * 4, "d", True, None, None, 0.9,
                          (0.8, 1.0), 1.0, ())  # fmt: skip
    assert record.to_json()["exact_test_likeness"] == 0.9 and record.most == 1.0


def test_data_say_that_they_are_its(rows):
    assert load_data(DataSettings(str(rows)), 0).task == "direction"
    assert task_of_targets(np.zeros(3, np.int64)).name == "classification"
    assert task_of_targets(np.full((3, 2), 5, np.float32)).name == "regression"


def test_a_network_is_compressed_for_it_and_reported(cli, digits, rows, tmp_path):
    out = tmp_path / "net.qtrain"
    ended = cli(
        "compress", digits / "digits_cnn_module.pt", "--data", rows, "-o", out, "--bytes", 1500,
        "--epochs", 4, "--device", "cpu", "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    made = json.loads(ended.out)
    assert 1300 < out.stat().st_size == made["artifact_bytes"] <= 1500
    assert 0.5 < made["test_likeness"] < 1 == made["teacher_test_likeness"]
    assert made["test_likeness_low"] < made["test_likeness"] < made["test_likeness_high"]
    ended = cli("report", out, "--json", "--min-accuracy", "0.1")
    assert ended.code == 0 and json.loads(ended.out)["test_likeness"] == made["test_likeness"]
    assert "Test likeness" in cli("report", out).out
    assert cli("report", out, "--max-error", "1").code == 2
