"""Figures of a split from what each of its rows adds to a few sums.

    counts (N, k), float64      --sum over rows-->  sums (k,)  --figure-->  accuracy, perplexity, F1, ...
    mean of rows' scores        counts = (score, 1)                figure = sum of scores / N
    ratio of two counts         counts = (right, all)              figure = right / all

so that outputs can be dropped once their counts are known, and a figure that is no mean of rows needs no
other treatment. How far chance moves such a figure is found by drawing the rows anew:

    percentile bootstrap        N rows with replacement, RESAMPLES times; the 2.5 % and 97.5 % points
                                (Efron and Tibshirani 1993, chapter 13)
    a row's own score           N f(S) - (N - 1) f(S - c)          the jackknife's pseudo-value; its mean over
                                rows is near f(S), and it is the score itself where f is a mean

The rows drawn are words of Philox, whose stream is fixed: the same counts have the same interval everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from qtrain_cli.tasks.intervals import LEVEL, Interval

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

#: Sums (..., k) -> figures (...).
Figure = Callable[["Tensor"], "Tensor"]

RESAMPLES = 2000
_SEED = 20_240_531
#: Numbers of a block of weights (resamples, rows): 64 MB.
_BLOCK = 2**23


def of_rows(scores: Tensor) -> Tensor:
    """Counts (N, 2) whose figure is the mean of rows' scores (N,)."""
    import torch

    return torch.stack([scores.double(), torch.ones_like(scores, dtype=torch.float64)], 1)


def mean_of(sums: Tensor) -> Tensor:
    """The figure of counts that begin with an amount and how many it is of; 0 of none."""
    return over(sums[..., 0], sums[..., 1])


def over(amount: Tensor, whole: Tensor) -> Tensor:
    """``amount / whole``, 0 where the whole is 0."""
    return amount / whole.where(whole != 0, 1.0) * (whole != 0)


def summed(counts: Tensor) -> Tensor:
    """The sums (k,) of counts (N, k)."""
    import torch

    return torch.stack([column(counts, place).sum() for place in range(counts.shape[1])])


def column(counts: Tensor, place: int) -> Tensor:
    """One of the counts of every row (N,), contiguous: a sum over a stride adds up in another order."""
    return counts[:, place].contiguous()


def figure_of(counts: Tensor, figure: Figure) -> float:
    """The figure of all rows of counts (N, k)."""
    return float(figure(summed(counts)))


def pseudo_values(counts: Tensor, figure: Figure) -> Tensor:
    """Each row's own score (N,), float64: see above."""
    rows, sums = len(counts), summed(counts)
    return rows * figure(sums) - (rows - 1) * figure(sums - counts)


def bootstrap_interval(counts: Tensor, figure: Figure, resamples: int = RESAMPLES) -> Interval:
    """The 95 % interval of the figure of counts (N, k); it holds the figure."""
    import numpy as np
    import torch

    found = torch.cat([figure(part @ counts) for part in _weights(len(counts), resamples)]).numpy()
    low, high = np.nanquantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    middle = figure_of(counts, figure)
    return min(float(low), middle), max(float(high), middle)


def _weights(rows: int, resamples: int) -> Iterator[Tensor]:
    """How often each resample has each row, in blocks (b, rows)."""
    import numpy as np
    import torch

    random, size = np.random.Philox(key=_SEED), max(1, _BLOCK // rows)
    for first in range(0, resamples, size):
        count = min(size, resamples - first)
        yield torch.from_numpy(np.stack([_drawn(random, rows) for _ in range(count)]))


def _drawn(random: np.random.Philox, rows: int) -> np.ndarray:
    import numpy as np

    places = (random.random_raw(rows) % np.uint64(rows)).astype(np.int64)
    return np.bincount(places, minlength=rows).astype(np.float64)
