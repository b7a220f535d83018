"""Figures of whole splits, by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from qtrain_cli.data import Dataset, Normalisation, TestSplit, TrainSplit, ValidationSplit
from qtrain_cli.tasks.intervals import mean_interval
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.training.measure import measure


class Same(nn.Module):
    """Its inputs plus trained numbers."""

    def __init__(self, numbers=1):
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(numbers))

    def forward(self, x):
        return x + self.shift


def dataset(task, splits):
    (a, b), (c, d), (e, f) = splits
    classes = 3 if task == "classification" else None
    parts = TrainSplit(a, b), ValidationSplit(c, d), TestSplit(e, f)
    return Dataset(*parts, task, classes, "0" * 64, Normalisation())


def test_accuracies_of_the_three_splits():
    outputs = torch.eye(3) * 5
    rights = [torch.tensor(labels) for labels in ([0, 1, 2], [0, 1, 0], [0, 0, 0])]
    data = dataset("classification", [(outputs, labels) for labels in rights])
    state, teacher = {"shift": torch.zeros(3)}, {"shift": torch.tensor([1.0, 7.0, 0.0])}
    figures = measure(Same(3), state, teacher, data, Objective("classification", 0.9, 4.0))
    scores = figures.scores
    assert (scores.train, scores.validation, scores.test) == pytest.approx((1, 2 / 3, 1 / 3))
    assert (scores.count, scores.teacher, scores.closeness) == pytest.approx((3, 0, 1 / 3))
    assert scores.stored_interval is None
    cross_entropy = nn.functional.cross_entropy
    assert figures.train_loss == pytest.approx(float(cross_entropy(outputs, rights[0])))
    assert figures.test_loss == pytest.approx(float(cross_entropy(outputs, rights[2])))


def test_outputs_without_a_column_have_figures_and_an_interval():
    inputs = torch.tensor([0.0, 1.0, 3.0])
    data = dataset("regression", [(inputs, torch.zeros(3))] * 3)
    state = {"shift": torch.zeros(1)}
    scores = measure(Same(), state, state, data, Objective("regression", 0.9, 4.0)).scores
    assert scores.test == pytest.approx(10 / 3)
    assert scores.stored_interval[1] == pytest.approx(10 / 3 + 1.959964 * np.std([0, 1, 9]) / 3**0.5)


@pytest.mark.parametrize("column", [False, True])
def test_errors_of_the_three_splits_and_the_interval_of_the_last(column):
    inputs = torch.tensor([[0.0], [1.0], [3.0]])
    targets = [torch.tensor(values) for values in ([0.0, 1.0, 3.0], [1.0, 2.0, 4.0], [0.0, 0.0, 0.0])]
    shaped = [values.view(3, 1) if column else values for values in targets]
    data = dataset("regression", [(inputs, values) for values in shaped])
    state, teacher = {"shift": torch.zeros(1)}, {"shift": torch.tensor([2.0])}
    figures = measure(Same(), state, teacher, data, Objective("regression", 0.9, 4.0))
    scores = figures.scores
    assert (scores.train, scores.validation, scores.test) == pytest.approx((0, 1, 10 / 3))
    assert (scores.teacher, scores.closeness) == pytest.approx(((4 + 9 + 25) / 3, 4))
    squares = torch.tensor([0.0, 1.0, 9.0]).double()
    assert scores.stored_interval == pytest.approx(
        mean_interval(10 / 3, float(squares.std(correction=0)), 3), rel=1e-6
    )
    assert (figures.train_loss, figures.test_loss) == pytest.approx((0, 10 / 3))
