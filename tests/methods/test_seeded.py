"""Seeded numbers: fixed for good, of variance 1, apart for each seed and stream."""

import pytest
import torch

from qtrain_cli.methods.seeded import uniform, whole


def test_the_first_numbers_never_change():
    assert uniform(0, 0, 3).tolist() == pytest.approx([1.1990043, -1.6117196, 0.7901478], abs=1e-6)
    assert whole(7, 1, 5, 10).tolist() == [9, 7, 4, 6, 2]


def test_they_have_mean_0_variance_1_and_are_apart():
    one, two, three = uniform(0, 0, 50_000), uniform(0, 1, 50_000), uniform(1, 0, 50_000)
    for values in (one, two, three):
        assert abs(float(values.mean())) < 0.02 and float(values.var()) == pytest.approx(1, abs=0.02)
    assert abs(float((one * two).mean())) < 0.02 and abs(float((one * three).mean())) < 0.02
    assert uniform(0, 0, 3, 5).flatten().tolist() == one[:15].tolist()


def test_whole_numbers_are_even_over_their_range():
    counts = torch.bincount(whole(0, 0, 70_000, 7))
    assert len(counts) == 7 and counts.min() > 9500 and counts.max() < 10_500
