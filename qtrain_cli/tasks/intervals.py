"""How far chance moves a figure: the only intervals, spreads and critical points of this project.

    share a of N rows       Wilson's score interval (Wilson 1927), which holds near 0 and 1 too
    mean of N rows          +- z s / sqrt(N)                        s: standard deviation of the rows' scores
    mean of k repetitions   +- t(k - 1) s / sqrt(k)                 s: standard deviation of a sample
    two means, k_a and k_b  +- t(f) sqrt(v_a + v_b)                 v = s**2 / k

with f = k_a + k_b - 2 where the spreads are taken as equal, else Welch's (1947), rounded down:

    f = (v_a + v_b)**2 / (v_a**2 / (k_a - 1) + v_b**2 / (k_b - 1))

z and t are the 97.5 % points of the normal and of Student's distribution: all intervals are two-sided, 95 %.
t is exact for whole degrees of freedom: with ``theta = atan(t / sqrt(f))`` the probability between -t and t
is a finite sum of powers of cos(theta) (Abramowitz and Stegun 26.7.3 for odd f, 26.7.4 for even), inverted by
Newton's method. Standard library only; SciPy is what the tests hold it against.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

Interval = tuple[float, float]

LEVEL = 0.95
#: The normal distribution's point for `LEVEL`, as `statistics.NormalDist().inv_cdf((1 + LEVEL) / 2)` has it.
Z95 = 1.9599639845400536
#: The sum is concave in theta and the normal's point lies below the root, so that Newton's steps climb to it
#: and never pass it; six of them reach the last bit at every number of degrees.
_NEWTON_STEPS = 8


@cache
def student_t95(freedom: int) -> float:
    """The 97.5 % point of Student's distribution with 1, 2, ... degrees of freedom."""
    theta = math.atan(Z95 / math.sqrt(freedom))
    slope = 2 / math.sqrt(math.pi) * math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
    for _ in range(_NEWTON_STEPS):
        theta += (LEVEL - _within(theta, freedom)) / (slope * math.cos(theta) ** (freedom - 1))
    return math.sqrt(freedom) * math.tan(theta)


def _within(theta: float, freedom: int) -> float:
    """The probability between -t and t, for ``t = sqrt(freedom) tan(theta)``."""
    odd, square = freedom % 2, math.cos(theta) ** 2
    term = math.cos(theta) if odd else 1.0
    terms = []
    for k in range(1, freedom // 2 + 1):
        terms.append(term)
        term *= square * (2 * k / (2 * k + 1) if odd else (2 * k - 1) / (2 * k))
    total = math.sin(theta) * math.fsum(terms)
    return 2 / math.pi * (theta + total) if odd else total


def mean_and_spread(figures: Sequence[float]) -> tuple[float, float | None]:
    """Mean and standard deviation of a sample; no spread of one figure, or of what is not finite."""
    mean = math.fsum(figures) / len(figures)
    if len(figures) < 2 or not math.isfinite(mean):
        return mean, None
    return mean, math.sqrt(_squares(figures, mean) / (len(figures) - 1))


def wilson_interval(share: float, count: int) -> Interval:
    """The interval of a share measured on `count` rows; it holds the share and stays in 0..1."""
    z2 = Z95**2 / count
    centre = (share + z2 / 2) / (1 + z2)
    half = Z95 / (1 + z2) * math.sqrt(share * (1 - share) / count + z2 / (4 * count))
    # min and max against rounding: at a share of 0 or 1 one end is the share itself.
    return max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))


def mean_interval(mean: float, deviation: float, count: int, most: float = math.inf) -> Interval:
    """The interval of the mean of `count` rows' scores with this standard deviation, within 0 and `most`."""
    half = Z95 * deviation / math.sqrt(count)
    return max(0.0, mean - half), min(most, mean + half)


def student_interval(figures: Sequence[float]) -> Interval | None:
    """The interval of the mean of repetitions; None of one alone, whose spread nobody knows, and of
    infinity."""
    mean, spread = mean_and_spread(figures)
    if spread is None:
        return None
    half = repetitions_half(spread, len(figures))
    return mean - half, mean + half


def joint_interval(mean: float, *intervals: Interval | None, most: float = math.inf) -> Interval:
    """The interval that independent sources of chance give together: half-widths add in squares on each
    side."""
    known = [interval for interval in intervals if interval]
    low = math.hypot(*(mean - interval[0] for interval in known))
    high = math.hypot(*(interval[1] - mean for interval in known))
    return max(0.0, mean - low), min(most, mean + high)


def rows_half(scores: Sequence[float]) -> float:
    """Half the interval of the mean of these rows' scores."""
    mean = math.fsum(scores) / len(scores)
    return Z95 * math.sqrt(_squares(scores, mean)) / len(scores)


def repetitions_half(spread: float | None, count: int) -> float:
    """Half the interval of the mean of `count` repetitions; 0 where there is no spread to weigh."""
    return student_t95(count - 1) * spread / math.sqrt(count) if spread else 0.0


def pooled_half(spreads: Sequence[tuple[float | None, int]]) -> float:
    """How far apart two means may be by chance, their spreads taken as equal: spread and count of each."""
    freedom = sum(count - 1 for _, count in spreads)
    both = math.fsum((spread or 0.0) ** 2 / count for spread, count in spreads)
    return student_t95(freedom) * math.sqrt(both) if both else 0.0


def welch_half(spreads: Sequence[tuple[float, int]]) -> float:
    """How far apart two means may be by chance, whatever their spreads: each with its count, at least 2."""
    variances = [(spread**2 / count, count - 1) for spread, count in spreads]
    both = math.fsum(variance for variance, _ in variances)
    if not both:
        return 0.0
    freedom = both**2 / math.fsum(variance**2 / less for variance, less in variances)
    return student_t95(max(1, math.floor(freedom + 1e-9))) * math.sqrt(both)


def _squares(figures: Sequence[float], mean: float) -> float:
    return math.fsum((figure - mean) ** 2 for figure in figures)
