"""The table of tasks: what every row has to be, which targets are whose, and what a row says of figures."""

import ast
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from qtrain_cli.errors import BadInput
from qtrain_cli.results.gates import GATES
from qtrain_cli.tasks import FAMILIES, TASKS, task_of_targets
from qtrain_cli.tasks.counting import of_rows
from qtrain_cli.tasks.objective import Objective

PACKAGE = Path(__file__).resolve().parents[2] / "qtrain_cli"
CLASSES, NUMBERS = TASKS["classification"], TASKS["regression"]


def test_rows_go_by_their_names_and_no_two_share_a_word():
    assert [row.name for row in TASKS.values()] == list(TASKS)
    for of in ("word", "closeness"):
        told = [getattr(row, of) for row in TASKS.values() if row.told_by_word]
        assert len(set(told)) == len(told) and {getattr(row, of) for row in TASKS.values()} == set(told)


def test_stored_figures_tell_two_tasks_apart_by_their_number_and_no_third():
    told = [row.stores_interval for row in TASKS.values() if row.told_by_count]
    assert sorted(told) == [False, True]


def test_the_gate_of_every_row_is_one():
    assert {row.gate for row in TASKS.values()} <= GATES.keys() | {"min-metric"}


@pytest.mark.parametrize(
    ("targets", "name"),
    [(np.zeros(3, np.int64), "classification"), (np.zeros((3, 2), np.float32), "regression")],
)
def test_the_first_row_that_takes_targets_has_them(targets, name):
    assert task_of_targets(targets).name == name


def test_targets_of_nobody():
    with pytest.raises(
        BadInput, match=r"no task takes targets of the type complex64 and the shape \(3,\)"
    ) as said:
        task_of_targets(np.zeros(3, np.complex64))
    assert said.value.advice == f"there are: {', '.join(FAMILIES)}"


@pytest.mark.parametrize(
    ("row", "better", "worse", "share"), [(CLASSES, 0.9, 0.8, 0.5 * 0.9), (NUMBERS, 0.8, 0.9, 0.8 / 0.5)]
)
def test_which_figure_is_better_and_by_how_much(row, better, worse, share):
    assert row.gain(better, worse) == pytest.approx(0.1) and row.gain(worse, better) == pytest.approx(-0.1)
    assert row.better(better, worse) and not row.better(worse, better) and not row.better(better, better)
    assert row.reaches(better, worse) and row.reaches(better, better) and not row.reaches(worse, better)
    assert row.share_of(better, 0.5) == pytest.approx(share)
    assert row.worse_first((min(better, worse), max(better, worse))) == (worse, better)


def test_figures_have_bounds():
    assert CLASSES.within(-1, 2) == (0, 1) and NUMBERS.within(-1, 2) == (0, 2)
    assert CLASSES.bounded and not NUMBERS.bounded


def test_an_interval_follows_from_figure_and_count_or_from_the_rows():
    rows = of_rows(torch.tensor([0.0, 1.0, 1.0, 1.0]))
    of = {name: Objective(name, 0.0, 1.0) for name in TASKS}
    assert CLASSES.interval_of(rows) == pytest.approx((0.3006418, 0.9544127), abs=1e-6)
    assert of["classification"].stored_interval(rows) is None
    half = 1.959964 * math.sqrt(3 / 16) / 2
    assert of["regression"].stored_interval(rows) == pytest.approx((0.75 - half, 0.75 + half))


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 2, 3)])
def test_the_score_of_a_row_is_its_mean_squared_error_whatever_its_shape(shape):
    outputs, targets = torch.randn(shape), torch.randn(shape)
    found = NUMBERS.row_scores(NUMBERS.counts(outputs, targets))
    expected = [float((a - b).square().mean()) for a, b in zip(outputs, targets, strict=True)]
    assert found.tolist() == pytest.approx(expected) and found.dtype == torch.float64


@pytest.mark.parametrize(
    ("row", "figure", "bare", "change", "interval", "heading"),
    [
        (CLASSES, "50.00 %", "50.00", "1.00 points", "10.00 to 20.00 %", "test accuracy, %"),
        (NUMBERS, "0.5", "0.5", "0.01", "0.1 to 0.2", "test error"),
    ],
)
def test_figures_in_words(row, figure, bare, change, interval, heading):
    assert (row.show(0.5), row.bare(0.5), row.show_change(0.01)) == (figure, bare, change)
    assert row.show_interval(0.1, 0.2) == interval and row.show(None) == "not measured"
    assert row.heading(f"test {row.word}") == heading


# --- nobody outside asks which task it is ----------------------------------------------------------------


#: Names of tasks that are words for other things too: what a model is given, and a key of files.
ALSO = {"tokens", "features"}


def questions_about_tasks(text: str) -> list[str]:
    """Names of tasks, JSON names with their words, and asking for a direction: where a row should answer."""
    words = {row.name for row in TASKS.values()} - ALSO | {row.closeness for row in TASKS.values()}
    words |= {f"{of}{row.word}" for row in TASKS.values() for of in ("test_", "teacher_", "teacher_test_")}
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in words:
            found.append(node.value)
        if isinstance(node, ast.Attribute) and node.attr in ("higher_is_better", "told_by_count"):
            found.append(node.attr)
        if isinstance(node, ast.Name) and node.id in ("CLASSIFICATION", "REGRESSION"):
            found.append(node.id)
    return found


#: Which rows an old file's number of figures tells is asked where such files are read and written.
ALLOWED = {"measured.py": ["told_by_count"] * 2}


def test_outside_their_folder_tasks_are_not_told_apart():
    files = [path for path in PACKAGE.rglob("*.py") if path.parent.name != "tasks"]
    found = {path.name: asked for path in files if (asked := questions_about_tasks(path.read_text()))}
    assert found == ALLOWED


@pytest.mark.parametrize(
    "text",
    [
        "if data.task == 'regression': pass",
        "'test_error' in row",
        "1 if row.higher_is_better else 2",
        "REGRESSION",
    ],
)
def test_a_planted_question_is_found(text):
    assert len(questions_about_tasks(text)) == 1
