"""Further figures against scikit-learn's and torchmetrics', whatever the parts; trivial answers by hand."""

import math

import numpy as np
import pytest
import torch
from sklearn import metrics as sklearn

from qtrain_cli.tasks import TASKS
from qtrain_cli.tasks.metrics import COSINE
from qtrain_cli.tasks.objective import Objective

RANDOM = torch.Generator().manual_seed(0)
NUMBERS = torch.randn(30, 3, generator=RANDOM) + 5
NEAR = NUMBERS + 0.5 * torch.randn(30, 3, generator=RANDOM)
SCORES = torch.randn(30, 4, generator=RANDOM)
LABELS = (torch.rand(30, 4, generator=RANDOM) > 0.6).float()


def measured(name, outputs, targets, at_once=7):
    objective = Objective(name, 0.0, 1.0, at_once)
    return objective.scored(lambda part: outputs[part], targets, further=True).metrics


def test_r2():
    wanted = sklearn.r2_score(NUMBERS, NEAR)
    assert measured("regression", NEAR, NUMBERS)["r2"] == pytest.approx(wanted, rel=1e-6)


def test_there_is_no_r2_of_constant_targets():
    assert measured("regression", NEAR, torch.ones(30, 3)) == {"r2": None}


def test_r2_of_large_numbers_with_a_small_spread():
    years = NUMBERS.double() + 1e6
    near = years + (NEAR - NUMBERS).double()
    wanted = sklearn.r2_score(years, near)
    assert measured("regression", near, years)["r2"] == pytest.approx(wanted, rel=1e-6)


def test_cosine():
    wanted = np.mean(
        [a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in zip(NUMBERS, NEAR, strict=True)]
    )
    found = [COSINE.part(NEAR[part], NUMBERS[part]) for part in (slice(0, 11), slice(11, 30))]
    assert COSINE.value(found, NUMBERS) == pytest.approx(wanted, rel=1e-6)


def test_sums_of_cosines_have_more_digits_than_a_record():
    near, wanted = NEAR.double(), 0.0
    for a, b in zip(NUMBERS.double().numpy(), near.numpy(), strict=True):
        wanted += a @ b / np.linalg.norm(a) / np.linalg.norm(b) / 30
    found = [COSINE.part(near[part], NUMBERS[part]) for part in (slice(0, 11), slice(11, 30))]
    assert COSINE.value(found, NUMBERS) == pytest.approx(wanted, rel=1e-12)


@pytest.mark.parametrize("average", ["micro", "macro"])
def test_f1_of_several_labels(average):
    wanted = sklearn.f1_score(LABELS, SCORES > 0, average=average)
    assert measured("multilabel", SCORES, LABELS)[f"f1_{average}"] == pytest.approx(wanted)
    shares = measured("multilabel-probabilities", SCORES.sigmoid(), LABELS)
    assert shares[f"f1_{average}"] == pytest.approx(wanted)


def test_f1_of_one_label():
    wanted = sklearn.f1_score(LABELS[:, 0], SCORES[:, 0] > 0)
    assert measured("binary", SCORES[:, :1], LABELS[:, 0]) == {"f1": pytest.approx(wanted)}


def test_mean_average_precision():
    pytest.importorskip("torchmetrics", reason="pip install 'qtrain[metrics]'")
    wanted = sklearn.average_precision_score(LABELS, SCORES)
    # Scores of 40 and more are one probability.
    for outputs in (SCORES, SCORES * 50):
        assert measured("multilabel", outputs, LABELS)["map"] == pytest.approx(wanted, rel=1e-5)


def test_without_its_package_a_metric_is_not_measured(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torchmetrics", None)
    monkeypatch.setitem(__import__("sys").modules, "torchmetrics.functional.classification", None)
    assert measured("multilabel", SCORES, LABELS)["map"] is None


# --- answers that look at nothing ------------------------------------------------------------------------


def trivial(name, train, test, shape):
    return Objective(name, 0.0, 1.0, at_once=3).trivial(train, test, shape)


@pytest.mark.parametrize("name", ["classification", "class-probabilities", "class-sigmoids"])
def test_the_commonest_class_of_train(name):
    train, test = torch.tensor([0, 2, 2, 1, 2]), torch.tensor([2, 2, 1, 0])
    assert trivial(name, train, test, (3,)) == 0.5


def test_the_mean_of_train():
    train, test = torch.tensor([[1.0, 4.0], [3.0, 4.0]]), torch.tensor([[2.0, 5.0], [4.0, 4.0]])
    assert trivial("regression", train, test, (2,)) == pytest.approx((0.5 + 2) / 2)
    assert trivial("regression", train[:, 0], test[:, 0], (1,)) == pytest.approx((0 + 4) / 2)


@pytest.mark.parametrize("name", ["binary", "binary-probabilities"])
def test_the_commoner_answer(name):
    assert trivial(name, torch.tensor([0, 1, 1]), torch.tensor([1, 1, 0, 1]), (1,)) == 0.75
    assert trivial(name, torch.tensor([0, 0, 1]), torch.tensor([1, 1, 0, 1]), ()) == 0.25


def test_the_commoner_answer_of_each_label():
    train = torch.tensor([[1.0, 0], [1, 0], [0, 1]])
    test = torch.tensor([[1.0, 0], [0, 0], [1, 1], [1, 1]])
    assert trivial("multilabel", train, test, (2,)) == pytest.approx((0.75 + 0.5) / 2)


def test_every_task_has_one_and_says_what_it_is():
    for row in TASKS.values():
        plain = TASKS[row.plain or row.name]
        assert plain.trivial and plain.trivial_said and row.trivial_said, row.name
        assert math.isfinite(row.perfect) or not row.higher_is_better
