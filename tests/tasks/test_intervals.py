"""Intervals against SciPy, published values and simulation; and that no other file has any of its own."""

import ast
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from qtrain_cli.tasks.intervals import (
    LEVEL,
    Z95,
    joint_interval,
    mean_and_spread,
    mean_interval,
    pooled_half,
    repetitions_half,
    rows_half,
    student_interval,
    student_t95,
    welch_half,
    wilson_interval,
)

PACKAGE = Path(__file__).resolve().parents[2] / "qtrain_cli"


# --- critical points -------------------------------------------------------------------------------------


def test_critical_points_are_scipys():
    assert pytest.approx(stats.norm.ppf(0.975), abs=1e-14) == Z95
    assert statistics.NormalDist().inv_cdf((1 + LEVEL) / 2) == Z95
    for freedom in range(1, 201):
        assert student_t95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-9), freedom


@pytest.mark.parametrize("freedom", [999, 1000, 10_000, 10_001])
def test_many_degrees_are_exact_too(freedom):
    assert student_t95(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=1e-9)


def test_points_fall_towards_the_normals():
    points = [student_t95(freedom) for freedom in range(1, 500)]
    assert points == sorted(points, reverse=True) and points[-1] > Z95


# --- intervals -------------------------------------------------------------------------------------------


# The published example of Newcombe (1998), table I: 81 of 263 has the score interval 0.2553 to 0.3662.
@pytest.mark.parametrize(
    ("hits", "count", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_against_published_values(hits, count, low, high):
    assert wilson_interval(hits / count, count) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("share", "count"), [(0.0, 7), (1.0, 10)])
def test_wilson_holds_the_share_against_rounding(share, count):
    low, high = wilson_interval(share, count)  # unclamped, one end misses the share by 1e-17
    assert low <= share <= high


def test_mean_interval():
    assert mean_interval(2.0, 5.0, 100) == pytest.approx((2 - 0.979982, 2 + 0.979982), abs=1e-6)
    assert mean_interval(0.1, 5.0, 100)[0] == 0.0
    assert mean_interval(0.9, 5.0, 100, most=1.0)[1] == 1.0


def test_the_interval_of_repetitions_covers_the_mean_as_often_as_it_says():
    """95 % of 4,000 samples of four; 1.96 in place of Student's 3.18 would reach 85 %."""
    samples = np.random.default_rng(0).normal(size=(4000, 4))
    held = [low <= 0 <= high for low, high in (student_interval(list(row)) or (1, 1) for row in samples)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize("figures", [[0.5], [0.5, math.inf], [0.5, math.nan]])
def test_what_has_no_spread_has_no_interval_of_repetitions(figures):
    assert student_interval(figures) is None and mean_and_spread(figures)[1] is None


def test_half_widths_add_in_squares_on_each_side():
    assert joint_interval(0.5, (0.2, 0.6), (0.1, 0.8)) == pytest.approx((0.0, 0.5 + math.hypot(0.1, 0.3)))
    assert joint_interval(0.5, (0.4, 0.7), None) == pytest.approx((0.4, 0.7))
    assert joint_interval(0.9, (0.8, 1.0), (0.8, 1.0), most=1.0) == pytest.approx((0.9 - 0.1 * 2**0.5, 1.0))


# --- spreads and differences -----------------------------------------------------------------------------


def test_mean_spread_and_halves_are_those_of_the_standard_library():
    figures = list(np.random.default_rng(1).normal(size=7))
    mean, spread = mean_and_spread(figures)
    assert (mean, spread) == pytest.approx((statistics.fmean(figures), statistics.stdev(figures)))
    assert rows_half(figures) == pytest.approx(Z95 * statistics.pstdev(figures) / math.sqrt(7))
    assert repetitions_half(spread, 7) == pytest.approx(stats.t.ppf(0.975, 6) * stats.sem(figures))


def test_where_there_is_no_spread_chance_moves_nothing():
    assert repetitions_half(None, 1) == repetitions_half(0.0, 3) == 0.0
    assert pooled_half([(None, 1), (None, 1)]) == welch_half([(0.0, 2), (0.0, 2)]) == 0.0


def test_two_means_are_told_apart_where_scipy_tells_them_apart():
    """SciPy's p of a difference as large as the half-width is 5 %; less where Welch's degrees are rounded."""
    alike, apart = [(2.0, 4), (2.0, 4)], [(1.0, 3), (10.0, 4)]
    for half, pooled in ((welch_half(alike), False), (pooled_half(alike), True)):
        found = stats.ttest_ind_from_stats(half, *alike[0], 0.0, *alike[1], equal_var=pooled)
        assert found.pvalue == pytest.approx(0.05, abs=1e-12)
    rounded = stats.ttest_ind_from_stats(welch_half(apart), *apart[0], 0.0, *apart[1], equal_var=False)
    assert 0.045 < rounded.pvalue < 0.05


# --- one source ------------------------------------------------------------------------------------------


def intervals_of_its_own(text: str) -> list[str]:
    """Critical points written down, spreads and distributions asked for elsewhere."""
    known = [Z95, *map(student_t95, range(1, 200))]
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            digits = len(ast.unparse(node).partition(".")[2])
            if digits >= 2 and any(round(point, digits) == node.value for point in known):
                found.append(ast.unparse(node))
        name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
        if name in ("NormalDist", "stdev", "pstdev"):
            found.append(name)
    return found


def test_no_other_file_has_an_interval_of_its_own():
    files = [path for path in PACKAGE.rglob("*.py") if path.name != "intervals.py"]
    assert {str(path): found for path in files if (found := intervals_of_its_own(path.read_text()))} == {}


@pytest.mark.parametrize(
    "text",
    ["z = 1.96", "z = 1.959964", "t = (12.706, 1)", "t = 2.074", "statistics.stdev(x)", "NormalDist()"],
)
def test_a_planted_one_is_found(text):
    assert len(intervals_of_its_own(text)) == 1
