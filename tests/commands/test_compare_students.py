"""`qtrain compare-students`: cells as files, rows and verdicts, and a second call that runs nothing."""

import json
import random
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy
import pytest

from qtrain_cli.commands import compare_gradients, compare_students
from qtrain_cli.errors import Interrupted, Refused, UsageError
from qtrain_cli.results import Scores, StudentRow, verdicts
from qtrain_cli.runs import teach as teaching
from qtrain_cli.settings import (
    QNN_LR,
    SHARPENED,
    AlignSettings,
    CompareStudentsSettings,
    DataSettings,
    FitSettings,
    ModelSettings,
)
from qtrain_cli.tasks.intervals import mean_and_spread, welch_half
from qtrain_cli.training.ranks import Ranks

HYBRID = "hybrid:qubits=2,reps=1,params=300"


def quiet(_):
    """Shows and logs nothing."""


def settings_of(digits, tmp_path, methods=("labels", "distill"), students=(HYBRID,), data=None, **changes):
    return CompareStudentsSettings(
        students=students,
        data=DataSettings(str(data or digits / "digits.npz")),
        fit=FitSettings(epochs=1, device="cpu"),
        folder=tmp_path / "cells",
        methods=methods,
        seeds=2,
        teacher=ModelSettings(digits / "digits_cnn_module.pt"),
        **changes,
    )


def test_every_student_and_control_by_every_method(digits, few_digits, tmp_path):
    methods = ("labels", "distill", "align", "distill+align")
    settings = settings_of(digits, tmp_path, methods, data=few_digits, align=AlignSettings("fc"))
    table = compare_students.run(settings, quiet, quiet)
    assert [(row.kind, row.method) for row in table.rows] == [
        (kind, method) for kind in ("hybrid", "classical") for method in methods
    ]
    assert len(list((tmp_path / "cells").glob("*.qtrain"))) == 16
    assert sum("the circuit against its classical control" in line for line in table.verdicts) == 4
    said = []
    again = compare_students.run(settings, quiet, said.append)
    assert again.to_json() == table.to_json()
    assert sum("finished already" in line for line in said) == 16


def test_an_interrupted_comparison_is_run_again_as_it_was(digits, tmp_path, monkeypatch):
    def stopped(*arguments):
        raise Interrupted("stopped; the state is in 'x'", "run it again with --resume")

    monkeypatch.setattr(teaching, "teach", stopped)
    with pytest.raises(Interrupted, match="stopped; the state is in 'x'") as caught:
        compare_students.run(settings_of(digits, tmp_path), quiet, quiet)
    assert caught.value.advice == "run the same command again: what is finished is kept"


def test_self_distillation_counts_epochs_beside_plain_training(cli, few_digits, tmp_path):
    ran = cli(
        "compare-students", "--student", "qnn:qubits=2,layers=2", "--data", few_digits,
        "--epochs", 2, "--seeds", 2, "-o", tmp_path / "cells", "--json", "-q",
    )  # fmt: skip
    document = json.loads(ran.out)
    assert [row["method"] for row in document["rows"]] == ["labels", "born-again", "running-average"]
    assert document["rows"][0]["epochs_to_95"] is not None
    shown = cli(
        "compare-students", "--student", "qnn:qubits=2,layers=2", "--data", few_digits,
        "--epochs", 2, "--seeds", 2, "-o", tmp_path / "cells", "-q",
    )  # fmt: skip
    assert shown.code == 0 and "running-average" in shown.out and "±" in shown.out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": ("labels", "distil")}, "--methods has 'distil'"),
        ({"methods": ("align",)}, "the method align needs a layer"),
        ({"students": ()}, "there is no student to compare"),
    ],
)
def test_what_cannot_be_compared_is_refused(digits, tmp_path, changes, said):
    with pytest.raises(UsageError, match=re.escape(said)):
        settings_of(digits, tmp_path, **changes)


def test_a_method_without_its_teacher_is_refused(digits, tmp_path):
    with pytest.raises(UsageError, match="the method distill needs a teacher"):
        CompareStudentsSettings((HYBRID,), DataSettings("x"), FitSettings(), tmp_path, ("distill",), 1)


@pytest.fixture(scope="module")
def row(digits, few_digits, tmp_path_factory):
    """``row(student, method, figures)``: a row of made-up records."""
    settings = settings_of(digits, tmp_path_factory.mktemp("row"), ("labels",), data=few_digits)
    record = compare_students.run(settings, quiet, quiet).rows[0].records[0]

    def make(student, method, figures, history=((1.0, 0.5), (0.5, 0.9)), **changes):
        records = []
        for figure in figures:
            scores = Scores("classification", 0.9, 0.9, figure, 1000, 0.99, 0.9)
            measured = replace(record.measured, scores=scores)
            records.append(
                replace(record, measured=measured, lesson=replace(record.lesson, history=history, **changes))
            )
        return StudentRow(student, method, tuple(records), tuple(records))

    return make


def test_a_gain_beyond_the_spread_is_called_one_and_one_within_is_not(row):
    plain = row("s", "labels", (0.90, 0.91, 0.92))
    assert verdicts([plain, row("s", "distill", (0.95, 0.96, 0.97))])[0].endswith(
        "gains 5.00 points, more than chance (2.27 points)"
    )
    assert "lies within chance" in verdicts([plain, row("s", "distill", (0.90, 0.92, 0.93))])[0]
    assert "loses 5.00 points" in verdicts([plain, row("s", "distill", (0.85, 0.86, 0.87))])[0]


def test_one_seed_is_judged_by_the_intervals_of_the_rows(row):
    plain = row("s", "labels", (0.90,))
    assert "lies within chance" in verdicts([plain, row("s", "distill", (0.91,))])[0]
    assert "gains 6.00 points" in verdicts([plain, row("s", "distill", (0.96,))])[0]


def test_a_circuit_is_held_against_its_control(row):
    rows = [row("s", "labels", (0.90, 0.91)), row("classical:like=s", "labels", (0.97, 0.98))]
    assert verdicts(rows) == [
        "the circuit against its classical control, labels:"
        " loses 7.00 points, more than chance (3.04 points)",
        "each verdict is for its own comparison at 95 %; nothing is corrected for their number",
    ]
    assert verdicts(rows[:1]) == []


def test_equal_methods_of_two_seeds_differ_by_chance_as_often_as_is_said():
    generator, count, seen = random.Random(0), 4000, 0
    for _ in range(count):
        figures = [[generator.gauss(0, 1) for _ in range(2)] for _ in range(2)]
        spreads = [(mean_and_spread(pair)[1], 2) for pair in figures]
        gain = abs(sum(figures[0]) - sum(figures[1])) / 2
        seen += gain > welch_half(spreads)
    assert seen / count < 0.05


def test_epochs_of_all_generations_are_said_beside_those_of_the_last(row):
    history = ((1.0, 0.5), (0.5, 0.9))
    again = row("s", "born-again", (0.90, 0.92), history, generation=2)
    lines = verdicts([row("s", "labels", (0.90, 0.91), history), again])
    assert "2.0 epochs (6.0 with all generations) to 95 % of what labels reach, labels 2.0;" in lines[1]
    assert again.to_json()["epochs_before"] == 4


def test_epochs_are_judged_by_their_spread(row):
    slow, quick = ((1.0, 0.5),) * 3 + ((0.5, 0.9),), ((1.0, 0.5), (0.5, 0.9))
    plain = row("s", "labels", (0.90, 0.91), slow)
    faster = row("s", "running-average", (0.90, 0.91), quick)
    assert verdicts([plain, replace(faster, plain=plain.records)])[1].endswith(
        "labels 4.0; the difference of 2.0 is more than chance (0.0)"
    )
    mixed = replace(faster, records=(plain.records[0], faster.records[1]), plain=plain.records)
    assert verdicts([plain, mixed])[1].endswith("labels 4.0; the difference of 1.0 is within chance (12.7)")


def test_seeds_that_never_reach_the_mark_are_counted(row):
    plain = row("s", "labels", (0.90, 0.91))
    never = row("s", "born-again", (0.5, 0.6), ((1.0, 0.2), (0.5, 0.3)))
    some = replace(never, records=(plain.records[0], never.records[1]), plain=plain.records)
    assert verdicts([plain, some])[1].endswith(
        "1 of 2 seeds reached 95 % of what labels reach, labels in 2.0 epochs"
    )
    assert (some.to_json()["epochs_to_95"], some.to_json()["seeds_to_95"]) == (None, 1)


def test_a_gain_that_sharpened_labels_have_too_is_not_the_teachers(row):
    plain, sharp = row("qnn", "labels", [0.80, 0.81, 0.82]), row("qnn", SHARPENED, [0.90, 0.91, 0.92])
    for figures, whose in (
        ([0.90, 0.91, 0.93], True),
        ([0.97, 0.97, 0.98], False),
        ([0.8, 0.81, 0.82], False),
    ):
        found = verdicts([plain, sharp, row("qnn", "distill", figures)])
        lines = [line for line in found if f"distill against {SHARPENED}" in line]
        assert len(lines) == 1
        assert ("the gain over labels is not shown to be the teacher's" in lines[0]) == whose
    assert not any(f"{SHARPENED} against {SHARPENED}" in line for line in found)


def test_sharpened_labels_learn_otherwise_than_labels_and_need_a_task_with_scores(cli, digits, tmp_path):
    words = ["compare-students", "--student", "qnn:qubits=2,layers=1", "--epochs", 2, "--seeds", 1, "-q"]
    own = ["--data", digits / "digits.npz", "--methods", f"labels,{SHARPENED}", "--temperature", 0.5]
    document = json.loads(cli(*words, *own, "-o", tmp_path / "cells", "--json").out)
    plain, sharp = document["rows"]
    assert plain["figures"] != sharp["figures"]
    (file,) = (tmp_path / "cells").glob(f"*-{SHARPENED}-*.qtrain")
    record = json.loads(cli("report", file, "--json").out)
    assert (record["method"], record["distill"], record["temperature"]) == (SHARPENED, 0.5, 0.5)
    numpy.savez(
        tmp_path / "n.npz", **{f"x_{s}": numpy.ones((40, 4), "f4") for s in ("train", "test")},
        **{f"y_{s}": numpy.linspace(0, 1, 40, dtype="f4") for s in ("train", "test")},
    )  # fmt: skip
    refused = cli(*words, "--data", tmp_path / "n.npz", "--methods", SHARPENED, "-o", tmp_path / "other")
    assert refused.code == 2 and "labels of a regression cannot be sharpened" in refused.err


def test_a_temperature_that_moves_changes_what_it_divides_and_the_record_says_so(
    cli, digits, few_digits, tmp_path
):
    words = ["compare-students", digits / "digits_cnn_module.pt", "--student", "qnn:qubits=2,layers=1", "-q"]
    words += ["--data", few_digits, "--epochs", 1, "--seeds", 1, "--temperature", 4]
    methods, records = ("labels", SHARPENED, "distill", "align"), {}
    words += ["--methods", ",".join(methods), "--align", "fc"]
    for end, more in ((None, []), (0.5, ["--temperature-end", 0.5])):
        done = cli(*words, *more, "-o", tmp_path / f"to-{end}")
        assert done.code == 0, done.err
        for method in methods:
            (file,) = (tmp_path / f"to-{end}").glob(f"*-qnn-{method}-*.qtrain")
            records[method, end] = json.loads(cli("report", file, "--json").out)
    for method, end in (("labels", None), ("align", None), (SHARPENED, 0.5), ("distill", 0.5)):
        stays, moves = records[method, None], records[method, 0.5]
        assert stays["temperature_end"] is None and moves["temperature_end"] == end
        assert (stays["history"] != moves["history"]) == (end is not None)


def test_circuit_runs_to_the_mark_count_those_of_generations_before(row):
    history = ((1.0, 0.5), (0.5, 0.9), (0.4, 0.9), (0.3, 0.9))
    made = row("qnn", "labels", [0.8], history, evaluations=400)
    assert made.to_json()["epochs_to_95"] == 2 and made.to_json()["evaluations_to_95"] == 200
    again = row("qnn", "born-again", [0.8], history, evaluations=800, generation=1)
    assert again.to_json()["evaluations_to_95"] == 600


def test_students_of_one_kind_are_told_apart_and_stand_beside_their_teacher(
    cli, digits, few_digits, tmp_path
):
    small, smaller = "qnn:qubits=2,layers=2", "qnn:qubits=2,layers=1"
    words = (
        "compare-students", digits / "digits_cnn_module.pt", "--student", small, "--student", smaller,
        "--data", few_digits, "--epochs", 1, "--seeds", 2, "-o", tmp_path / "cells", "-q",
    )  # fmt: skip
    document = json.loads(cli(*words, "--json").out)
    assert [row["name"] for row in document["rows"]] == [small] * 3 + [smaller] * 3
    assert [row["method"] for row in document["rows"]] == ["labels", SHARPENED, "distill"] * 2
    for name in (small, smaller):
        for base in ("labels", SHARPENED):
            assert (
                sum(f"distill against {base}, {name} student" in line for line in document["verdicts"]) == 1
            )
    assert document["rows"][1]["teacher_accuracy"] is None
    taught = document["rows"][2]["teacher_accuracy"]
    shown = cli(*words).out
    assert "teacher" in shown and f"{100 * taught:.2f}" in shown


def test_a_qnn_has_a_rate_of_its_own(cli, digits, tmp_path, monkeypatch):
    seen = []

    def stopped(cell, *_):
        seen.append((cell.student.partition(":")[0], cell.fit.lr))
        raise UsageError("enough")

    monkeypatch.setattr(teaching, "teach", stopped)
    common = ("--data", digits / "digits.npz", "-o", tmp_path / "cells", "-q")
    for student in ("qnn:qubits=2", HYBRID):
        cli("compare-students", "--student", student, *common)
        cli("compare-students", "--student", student, "--lr", 0.03, *common)
        cli("train", student, *common)
        cli("distill", digits / "digits_cnn_module.pt", "--student", student, *common)
    expected = [QNN_LR, 0.03, QNN_LR, QNN_LR, FitSettings.lr, 0.03, FitSettings.lr, FitSettings.lr]
    assert [lr for _, lr in seen] == expected and [kind for kind, _ in seen] == ["qnn"] * 4 + ["hybrid"] * 4


def test_generations_count_beside_a_teacher(cli, digits, tmp_path):
    ran = cli(
        "compare-students", digits / "digits_cnn_module.pt", "--student", "qnn:qubits=2,layers=1", "--data",
        digits / "digits.npz", "--methods", "born-again,running-average", "--generations", 2, "--decay", 0.5,
        "--epochs", 1, "--seeds", 1, "-o", tmp_path / "cells", "--json", "-q",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    assert [row["epochs_before"] for row in json.loads(ran.out)["rows"]] == [2, 0]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--methods", "running-average", "--generations", 1), "--generations belongs to born-again"),
        (("--methods", "born-again", "--decay", 0.9), "--decay belongs to running-average"),
        (("--align-loss", "mse"), "--align-loss does nothing without a layer"),
        (("--align-weight", 0.3), "--align-weight does nothing without a layer"),
    ],
)
def test_options_that_would_do_nothing_are_refused(cli, digits, tmp_path, words, said):
    common = ("--student", "qnn", "--data", digits / "digits.npz", "-o", tmp_path / "out", "-q")
    own = ("--self" if word == "--methods" else word for word in words)
    for ran in (cli("compare-students", *common, *words), cli("distill", *common, *own)):
        assert ran.code == 2 and said in ran.err


@pytest.mark.parametrize("command", [compare_students, compare_gradients])
def test_of_several_processes_one_makes_the_folder_and_clears_it_away(command, tmp_path, monkeypatch):
    folder = tmp_path / "cells"
    settings = SimpleNamespace(student="", folder=folder, dry_run=False, html=None, plot=None, force=False)

    def rows(settings, show, log):
        raise Refused(f"folder: {folder.exists()}")

    monkeypatch.setattr(command, "_rows", rows)
    monkeypatch.setattr(compare_gradients, "parse_student", str)
    for rank, there in ((0, True), (1, False)):
        monkeypatch.setattr("qtrain_cli.training.ranks.present", lambda rank=rank: Ranks(rank, 2))
        with pytest.raises(Refused, match=f"folder: {there}"):
            command.run(settings, print, print)
        assert not folder.exists()
