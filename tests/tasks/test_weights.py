"""Weights of classes: given, balanced as scikit-learn balances, and what refuses them."""

import numpy as np
import pytest
import torch
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from qtrain_cli.errors import UsageError
from qtrain_cli.tasks import TASKS
from qtrain_cli.tasks.objective import Objective
from qtrain_cli.tasks.places import IGNORED
from qtrain_cli.tasks.weights import weights_of

LABELS = torch.tensor([0, 0, 0, 1, 2, 2])


def balanced(name, targets, classes):
    return weights_of(TASKS[name], ("balanced",), targets, classes)


def test_balanced_weights_are_those_of_scikit_learn():
    wanted = compute_class_weight("balanced", classes=np.arange(3), y=LABELS.numpy())
    assert balanced("classification", LABELS, 3) == pytest.approx(wanted)
    placed = torch.cat([LABELS.reshape(2, 3), torch.full((2, 2), IGNORED)], 1)
    assert balanced("tokens", placed.to(torch.int16), 3) == pytest.approx(wanted)


def test_a_class_that_train_has_not_weighs_nothing():
    assert balanced("classification", LABELS, 4)[3] == 0


def test_yes_weighs_as_much_as_no_for_each_label():
    targets = torch.tensor([[1.0, 0], [0, 0], [0, 1], [0, 1]])
    assert balanced("multilabel", targets, None) == (3, 1)
    outputs = torch.randn(4, 2)
    weights = torch.tensor([3.0, 1.0])
    wanted = nn.functional.binary_cross_entropy_with_logits(outputs, targets, pos_weight=weights)
    found = Objective("multilabel", 0.0, 1.0, weights=(3.0, 1.0)).loss(outputs, targets, outputs)
    assert float(found) == pytest.approx(float(wanted))


def test_one_score_of_yes_has_the_loss_of_two_classes():
    yes, labels = torch.randn(6, 1), torch.tensor([0, 1, 1, 0, 1, 1])
    pairs = torch.cat([torch.zeros(6, 1), yes], 1)
    wanted = nn.functional.cross_entropy(pairs, labels, torch.tensor([4.0, 0.5]))
    one = Objective("binary", 0.0, 1.0, weights=(4.0, 0.5))
    assert float(one.loss(yes, labels, yes)) == pytest.approx(float(wanted))
    assert float(one.hard_loss(yes, labels)) != pytest.approx(float(wanted))


def test_weights_hold_for_probabilities_too():
    scores = torch.randn(6, 3)
    plain, shares = (
        Objective(name, 0.0, 1.0, weights=(3.0, 1.0, 0.5))
        for name in ("classification", "class-probabilities")
    )
    wanted = float(plain.loss(scores, LABELS, scores))
    assert float(shares.loss(scores.softmax(1), LABELS, scores)) == pytest.approx(wanted, rel=1e-5)


def test_outputs_of_more_classes_than_the_data_have():
    outputs = torch.randn(6, 5)
    wanted = nn.functional.cross_entropy(outputs, LABELS, torch.tensor([1.0, 2, 3, 1, 1]))
    found = Objective("classification", 0.0, 1.0, weights=(1.0, 2.0, 3.0)).loss(outputs, LABELS, outputs)
    assert float(found) == pytest.approx(float(wanted))


@pytest.mark.parametrize(("name", "asked", "said"), [
    ("regression", ("balanced",), "--class-weights has no use for a regression"),
    ("features", (1.0,), "no use for a features"),
    ("classification", (1.0, 2.0), "has 2 numbers, and there are 3 classes"),
])  # fmt: skip
def test_refusals(name, asked, said):
    with pytest.raises(UsageError, match=said):
        weights_of(TASKS[name], asked, LABELS, 3)


def test_nothing_asked_for():
    assert weights_of(TASKS["regression"], (), LABELS, None) == ()
