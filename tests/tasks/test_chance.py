"""Outputs that are worth nothing on their rows, and labels in another order."""

import pytest
import torch

from qtrain_cli.tasks import TASKS
from qtrain_cli.tasks.chance import MOST_ORDERED, at_chance, misnamed, renamed

CLASSES, NUMBERS = TASKS["classification"], TASKS["regression"]
RANDOM = torch.Generator().manual_seed(0)
Y = torch.randint(0, 4, (400,), generator=RANDOM)
RARE = (torch.arange(400) % 33 == 0).long()  # 3 % of the rows


def scores(named):
    return torch.eye(4)[named]


def partly(y, share):
    """`y` with all but a share of the rows named at random."""
    wrong = torch.rand(len(y), generator=RANDOM) > share
    return torch.where(wrong, torch.randint(0, int(y.max()) + 1, y.shape, generator=RANDOM), y)


@pytest.mark.parametrize(("named", "blind"), [
    (torch.randint(0, 4, (400,), generator=RANDOM), 0.25),
    (torch.zeros(400, dtype=torch.int64), 0.25),
    ((Y + 1) % 4, 0.25),
    (partly(Y, 0.1), 0.25),
])  # fmt: skip
def test_classes_at_chance(named, blind):
    assert at_chance(CLASSES, scores(named), Y) == pytest.approx(blind, abs=0.03)


@pytest.mark.parametrize("share", [0.3, 1.0])
def test_classes_that_are_worth_something(share):
    assert at_chance(CLASSES, scores(partly(Y, share)), Y) is None


def test_a_rare_class_that_is_found_is_worth_something_and_one_never_named_is_not():
    half = RARE.clone()
    half[RARE.nonzero()[:6, 0]] = 0
    assert at_chance(CLASSES, scores(half), RARE) is None
    assert at_chance(CLASSES, scores(torch.zeros_like(RARE)), RARE) == pytest.approx(0.97, abs=0.01)


@pytest.mark.parametrize(("noise", "good"), [(0.1, True), (0.5, True), (1.0, False), (30.0, False)])
def test_numbers_against_the_mean_of_the_targets(noise, good):
    y = torch.randn(300, generator=RANDOM)
    found = at_chance(NUMBERS, y + noise * torch.randn(300, generator=RANDOM), y)
    assert found is None if good else found == pytest.approx(float(y.var(correction=0)), rel=1e-4)


def test_targets_that_are_all_one_number_say_nothing():
    assert at_chance(NUMBERS, torch.ones(5), torch.ones(5)) is None


@pytest.mark.parametrize(("named", "order"), [
    ((Y + 1) % 4, (3, 0, 1, 2)),
    (torch.tensor([2, 0, 1, 3])[partly(Y, 0.9)], (1, 2, 0, 3)),
    (torch.randint(0, 4, (400,), generator=RANDOM), None),
])  # fmt: skip
def test_labels_under_other_names(named, order):
    assert renamed(CLASSES, scores(named), Y, 4) == order
    assert renamed(NUMBERS, scores(named), Y, 4) is None


def test_labels_of_which_another_order_is_no_better_keep_their_own():
    named = torch.tensor([1] * 100 + [0] * 100 + [2, 2, 3, 3])
    right = torch.tensor([0] * 100 + [1] * 100 + [3] * 4)
    assert renamed(CLASSES, scores(named), right, 4) == (1, 0, 2, 3)


SWAPPED = torch.tensor([0, 1, 3, 2])
MANY = torch.randint(0, 200, (1000,), generator=RANDOM)


def test_two_labels_of_four_that_are_exchanged():
    order, share = misnamed(CLASSES, scores(SWAPPED[partly(Y, 0.9)]), Y, 4)
    assert order == (0, 1, 3, 2) and share == pytest.approx(0.92, abs=0.04)


@pytest.mark.parametrize(
    ("outputs", "y"),
    [
        (scores(partly(Y, 0.5)), Y),
        (scores(Y), Y),
        (scores(torch.where(Y == 3, 2, Y)), Y),  # one is never named
        (scores(torch.where(torch.arange(400) < 8, SWAPPED[Y], Y)), Y),
        (torch.eye(200)[partly(MANY, 0.6)], MANY),  # five rows a class, of which an order fits some by chance
        (torch.eye(200)[MANY.flip(0)], MANY),  # and many of the rows that it was found on
        (scores(Y[:1]), Y[:1]),
    ],
)
def test_mistakes_are_no_other_order(outputs, y):
    assert misnamed(CLASSES, outputs, y, outputs.shape[1]) is None
    assert misnamed(NUMBERS, outputs, y, 4) is None


def test_an_order_of_very_many_labels_is_not_looked_for():
    outputs = torch.eye(MOST_ORDERED + 1)
    assert misnamed(CLASSES, outputs, torch.arange(MOST_ORDERED + 1).roll(1), MOST_ORDERED + 1) is None
    few = torch.eye(40).repeat_interleave(20, 0)
    order, share = misnamed(CLASSES, few, torch.arange(40).roll(1).repeat_interleave(20), 40)
    assert share == 1.0 and sorted(order) == list(range(40))
