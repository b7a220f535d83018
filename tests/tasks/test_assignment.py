"""The assignment is as good as scipy's, on tables of every size."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qtrain_cli.tasks.assignment import best_assignment


@settings(deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 30), st.sampled_from([2, 5, 10**6]))
def test_it_is_worth_what_scipys_is(seed, size, most):
    optimize = pytest.importorskip("scipy.optimize", reason="scipy is not installed")
    worth = np.random.default_rng(seed).integers(0, most, (size, size))
    found = best_assignment(worth)
    assert sorted(found) == list(range(size))
    rows, columns = optimize.linear_sum_assignment(worth, maximize=True)
    assert worth[np.arange(size), found].sum() == worth[rows, columns].sum()


def test_it_is_the_best_of_all():
    for seed in range(20):
        worth = np.random.default_rng(seed).integers(-9, 9, (5, 5))
        orders = itertools.permutations(range(5))
        best = max(sum(worth[row, order[row]] for row in range(5)) for order in orders)
        assert worth[np.arange(5), best_assignment(worth)].sum() == best


def test_a_large_table_takes_no_second():
    import time

    worth = np.random.default_rng(0).integers(0, 50, (150, 150))
    began = time.process_time()
    best_assignment(worth)
    assert time.process_time() - began < 5
