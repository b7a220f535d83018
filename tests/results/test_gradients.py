"""Rows of the estimators' comparison: means and spreads by epoch, and losses that are missing."""

from types import SimpleNamespace

import pytest

from qtrain_cli.results import GradientRow


def row_of(*courses):
    """A row of seeds with these losses, epoch by epoch."""
    records = [
        SimpleNamespace(lesson=SimpleNamespace(history=tuple((loss, 0.5) for loss in course)))
        for course in courses
    ]
    return GradientRow("spsa", 0, tuple(records), (1.0,) * len(courses))


def test_losses_are_means_over_the_seeds_with_their_spread():
    row = row_of((2.0, 1.0), (4.0, 1.0))
    assert row.losses == [3.0, 1.0] and row.loss_spreads == pytest.approx([2**0.5, 0.0])


def test_an_epoch_without_a_loss_in_one_seed_has_none():
    row = row_of((2.0, None, 1.0), (4.0, 3.0, 1.0))
    assert row.losses == [3.0, None, 1.0]
    assert row.loss_spreads[1] is None and row.loss_spreads[0] is not None


def test_one_seed_has_no_spread():
    assert row_of((2.0,)).loss_spreads == [None]


def test_seconds_are_the_mean_of_those_known():
    row = row_of((1.0,), (1.0,), (1.0,))
    assert GradientRow("spsa", 0, row.records, (1.0, None, 3.0)).mean_seconds == 2.0
    assert GradientRow("spsa", 0, row.records, (None,) * 3).mean_seconds is None
