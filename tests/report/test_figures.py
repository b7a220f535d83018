"""What stands beside a test figure: further metrics, who answers without looking, and a warning."""

from dataclasses import replace

import pytest

from qtrain_cli.report.figures import figures_beside


def test_nothing_was_measured_beside(make_record):
    assert figures_beside(make_record().scores) == []


@pytest.mark.parametrize("value", [0.75, None])
def test_metrics_by_their_labels(make_record, value):
    scores = replace(make_record("regression").scores, metrics={"r2": value})
    assert figures_beside(scores) == [("Test R2", "0.75" if value else "not measured")]


@pytest.mark.parametrize(("trivial", "warned"), [(0.02, False), (0.0123, True), (0.01, True)])
def test_a_figure_that_is_no_better_than_without_looking_is_warned_of(make_record, trivial, warned):
    scores = replace(make_record("regression").scores, trivial=trivial)
    said = "the mean of the training targets"
    assert figures_beside(scores) == [
        ("Without looking", f"{trivial:g}, by {said}"),
        *([("Warning", f"no better than {said}")] if warned else []),
    ]
