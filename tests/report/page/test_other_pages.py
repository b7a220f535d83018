"""Pages of comparisons, students and samples, and what an artifact's page says of its rows."""

from dataclasses import replace

import pytest
from comparisons import cell, comparison
from pages import examination, gradients, html_of, read_page

from qtrain_cli.errors import BadInput
from qtrain_cli.report.page.comparison import comparison_page
from qtrain_cli.report.page.gradients import gradients_page
from qtrain_cli.report.page.parts import Matrix
from qtrain_cli.report.page.render import page_html
from qtrain_cli.report.page.sampling import sampling_page
from qtrain_cli.report.page.students import students_page
from qtrain_cli.results import SampleCell, SampleRecord
from qtrain_cli.results.comparison_file import checked_comparison
from qtrain_cli.results.verdict import verdict


@pytest.fixture
def compared():
    cells = [
        cell(name, seed, rows, budget)
        for name, rows in (
            ("ours", [1, 1, 0, 1]),
            ("pruning", [1, 0, 0, 1]),
            ("classical-curve", [1, 1, 1, 1]),
        )
        for seed in (0, 1)
        for budget in (1000, 2000)
    ]
    found = comparison(cells, budgets=(1000, 2000))
    return replace(found, model_sha256="a" * 64, data_sha256="b" * 64)


def test_a_comparison_says_who_is_first_at_each_budget_and_where_ours_is(compared):
    found = read_page(page_html(comparison_page(compared)))
    assert "net.pt: 3 methods at equal bytes" in found.text
    assert "At 1,000 bytes 100.00 % classical-curve; ours 75.00 %" in found.text
    assert "a line a method" in " ".join(one.get("aria-label", "") for one in found.of("svg"))
    for sentence in verdict(compared):
        assert sentence in found.text
    lines = [one["class"] for one in found.of("polyline")]
    assert lines == ["course ours", "course s2", "course s3 control"]


def test_it_is_shown_beside_the_artifact_too(compared, make_record):
    document = checked_comparison(compared.to_json(verdict(compared)))
    found = read_page(html_of(make_record(), comparison=document))
    assert "Beside other methods" in found.text and verdict(compared)[0] in found.text
    assert "run `qtrain compare`" not in found.text


@pytest.mark.parametrize(
    "change",
    [
        {"schema": "other"}, {"budgets": [0]}, {"budgets": ["x"]}, {"methods": [{}]}, {"points": [1]},
        {"verdict": [1]}, {"model_sha256": "a"}, {"teacher_test_accuracy": "x"}, {"points": {}},
        {"budgets": list(range(1, 10_002))}, {"budgets": [1000, 1000]},
    ],
)  # fmt: skip
def test_a_comparison_that_nobody_wrote_is_refused(compared, change):
    document = compared.to_json([])
    checked_comparison(document)
    with pytest.raises(BadInput):
        checked_comparison(document | change)


@pytest.mark.parametrize("name", ["methods", "points"])
def test_a_comparison_that_repeats_itself_or_has_too_many_methods_is_refused(compared, name):
    document = compared.to_json([])
    with pytest.raises(BadInput, match="is there twice"):
        checked_comparison(document | {name: [*document[name], document[name][0]]})
    many = [document["methods"][0] | {"name": f"m{number}"} for number in range(101)]
    with pytest.raises(BadInput, match="101 methods; allowed: 100"):
        checked_comparison(document | {"methods": many})


def test_classes_and_confusions(make_record):
    found = read_page(html_of(make_record(), examined=examination()))
    assert "true cat dog owl" in found.text and "Most often taken for another class" in found.text
    assert "cat for dog (1), owl for cat (1)" in found.text
    assert "cat 10 90.00 90.00 90.00" in found.text and "owl 8 87.50 100.00 93.33" in found.text
    assert "Looked at again on 30 test rows of 'digits.npz'; test accuracy here 90.00 %" in found.text
    shades = [one["class"] for one in found.of("td") if "shade" in one.get("class", "")]
    assert shades == [
        "right shade9", "wrong shade9", "wrong shade0", "wrong shade0", "right shade9", "wrong shade0",
        "wrong shade9", "wrong shade0", "right shade8",
    ]  # fmt: skip


def test_a_rare_mistake_is_paler_than_a_common_one():
    found = Matrix("", "", "", ("a", "b"), ((90, 10), (1, 99)))
    assert found.shades == ((9, 9), (1, 9))


def test_other_data_than_the_records_are_said(make_record):
    found = read_page(html_of(make_record(), examined=examination(same_data=False)))
    assert "other data than the record's" in found.text


def test_predictions_stand_against_what_is_true(make_record):
    pairs = tuple((number / 10, number / 9) for number in range(10))
    found = read_page(
        html_of(make_record("regression"), examined=examination(classes=(), confusions=(), pairs=pairs))
    )
    assert [one["class"] for one in found.of("circle")].count("point own thin") == 10


def test_the_loss_stands_by_its_place(make_record):
    found = read_page(
        html_of(
            make_record("language"),
            examined=examination(classes=(), confusions=(), places=((2, 3.0), (3, 2.0), (7, 1.5))),
        )
    )
    assert "mean loss at each of 3 places of a row" in [one.get("aria-label") for one in found.of("svg")]
    assert [text[:8] for text in found.texts if text.startswith("loss, ")] == [
        "loss, 2:",
        "loss, 3:",
        "loss, 7:",
    ]


def sample(task="classification"):
    def cell_of(noise, shots, mean):
        return SampleCell(noise, shots, (mean, mean - 0.02), ((0.7, 0.9), (0.7, 0.9)), 0.4, 0.3, 0.0)

    cells = (cell_of("none", 1000, 0.8), cell_of("none", 10_000, 0.9), cell_of("none", None, 0.95),
             cell_of("readout:0.1", 1000, 0.6))  # fmt: skip
    return SampleRecord(
        "net.qtrain", "a" * 64, "net.pt", task, 640, 1, 10, 16, "linear", "qtrain", 100, 2, 0, 360, "b" * 64,
        True, 0.95, 0.99, 0.95, (0.92, 0.97), 1.0, cells,
    )  # fmt: skip


def test_samples_by_shots_and_noise():
    found = read_page(page_html(sampling_page(sample())))
    assert "net.qtrain from measured circuits: 89.00 % at 10,000 shots" in found.text
    assert [one["class"] for one in found.of("polyline")] == ["course ours", "course s1"]
    assert "exact" in found.text and "readout:0.1" in found.text


def student_row(name, kind, mean, **changes):
    return {
        "student": name, "name": name, "kind": kind, "method": "labels", "parameters": 100,
        "circuit_parameters": 12, "seeds": 2, "test_accuracy": mean, "spread": 0.01, "low": mean - 0.02,
        "high": mean + 0.02, "teacher_accuracy": 0.99, "epochs_to_95": None, "epochs_spread": None,
        "seeds_to_95": 0, "epochs_before": 0, "figures": [mean, mean], **changes,
    }  # fmt: skip


def test_students_and_their_controls():
    document = {
        "rows": [student_row("hybrid", "hybrid", 0.9), student_row("classical", "classical", 0.92)],
        "verdicts": ["so"],
    }
    courses = {"hybrid, labels": [0.1, None, 0.9], "classical, labels": [0.2, 0.5, 0.92]}
    found = read_page(page_html(students_page(document, courses)))
    assert "2 ways to teach a student: 92.00 % by the best" in found.text and "so" in found.text
    kinds = [one["class"] for one in found.of("circle") if one["r"] == "5"]
    assert kinds == ["point own", "point other"]
    assert len(found.of("polyline")) == 2


def test_a_teacher_is_shown_that_only_some_rows_have_and_the_last_epoch_always():
    rows = [
        student_row("s", "hybrid", 0.9, teacher_accuracy=None, method="labels"),
        student_row("s", "hybrid", 0.9, method="distill"),
    ]
    courses = {"s, labels": [number / 1000 for number in range(1, 101)], "s, distill": [None]}
    found = read_page(page_html(students_page({"rows": rows, "verdicts": []}, courses)))
    assert "Teacher 99.00 %" in found.text
    titles = [text for text in found.texts if text.startswith("s, labels, ")]
    assert titles[-1].startswith("s, labels, 100:") and len(titles) <= 61


def test_estimators_by_epochs_runs_and_seconds_with_the_plateaus():
    found = read_page(page_html(gradients_page(gradients())))
    assert "2 ways to estimate a gradient: 90.00 % by the best" in found.text
    assert "Fewest circuit runs 100 adjoint, exact" in found.text and "noise of 100 shots" in found.text
    lines = [one["class"] for one in found.of("polyline")]
    both = ["course ours", "course s2 control"]
    # The seconds of the second are not known.
    assert lines == [*both, *both, "course ours", "course s1", "course s2"]
    assert "adjoint, exact, 50: 2" in found.texts and "spsa, 100 shots, 300: 1.5" in found.texts
    assert len([one for one in found.of("line") if "whisker" in one.get("class", "")]) == 10


def test_of_one_seed_without_random_circuits_there_are_no_bars_and_no_plateaus():
    (row, _) = gradients()["rows"]
    alone = row | {"seeds": 1, "spread": None, "loss_spreads": [None, None]}
    found = read_page(page_html(gradients_page(gradients(rows=[alone], plateaus=[]))))
    assert "1 seed each" in found.text and "Barren" not in found.text
    assert not [one for one in found.of("line") if "whisker" in one.get("class", "")]
