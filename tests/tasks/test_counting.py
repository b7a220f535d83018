"""Counts against means, the bootstrap against SciPy's, pseudo-values against leaving rows out."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from qtrain_cli.tasks import TASKS
from qtrain_cli.tasks.counting import (
    bootstrap_interval,
    figure_of,
    mean_of,
    of_rows,
    over,
    pseudo_values,
    summed,
)
from qtrain_cli.tasks.objective import Objective

RANDOM = np.random.default_rng(0)
#: Amounts and lengths of 80 rows, and a figure that is no mean of rows.
COUNTS = torch.tensor(np.stack([RANDOM.gamma(2, 3, 80), RANDOM.integers(1, 30, 80)], 1))


def perplexity(sums):
    return (sums[..., 0] / sums[..., 1]).exp()


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_a_mean_of_rows_is_that_of_torch_to_the_last_bit(scores):
    rows = torch.tensor(scores, dtype=torch.float64)
    assert figure_of(of_rows(rows), mean_of) == float(rows.mean())


def test_a_ratio_of_nothing_is_zero():
    assert over(torch.tensor([3.0, 0.0]), torch.tensor([4.0, 0.0])).tolist() == [0.75, 0.0]


@pytest.mark.parametrize("figure", [mean_of, perplexity])
def test_the_bootstrap_is_that_of_scipy(figure):
    def statistic(places):
        return figure(COUNTS[torch.tensor(places.astype(int))].sum(-2)).numpy()

    wanted = stats.bootstrap(
        (np.arange(80),), lambda places, axis: statistic(places), n_resamples=20_000,
        method="percentile", rng=np.random.default_rng(1),
    ).confidence_interval  # fmt: skip
    found = bootstrap_interval(COUNTS, figure, 20_000)
    # Two draws of 20,000: an end's own error is near a hundredth of the interval.
    assert found == pytest.approx(tuple(wanted), abs=0.03 * (wanted.high - wanted.low))


def test_the_same_counts_have_the_same_interval_whatever_was_drawn_before():
    first = bootstrap_interval(COUNTS, perplexity)
    torch.rand(3), np.random.random(3)
    assert bootstrap_interval(COUNTS, perplexity) == first
    assert first[0] < figure_of(COUNTS, perplexity) < first[1]


def test_an_interval_holds_its_figure_where_all_rows_are_alike():
    same = COUNTS[:1].repeat(30, 1)
    figure = figure_of(same, perplexity)
    assert bootstrap_interval(same, perplexity) == pytest.approx((figure, figure))


def test_pseudo_values_are_what_a_row_changes():
    rows, whole = len(COUNTS), figure_of(COUNTS, perplexity)
    without = [figure_of(torch.cat([COUNTS[:k], COUNTS[k + 1 :]]), perplexity) for k in range(rows)]
    wanted = [rows * whole - (rows - 1) * one for one in without]
    assert pseudo_values(COUNTS, perplexity).tolist() == pytest.approx(wanted)


def test_pseudo_values_of_a_mean_are_the_scores():
    scores = torch.rand(50).double()
    assert pseudo_values(of_rows(scores), mean_of).tolist() == pytest.approx(scores.tolist())


@pytest.mark.parametrize("name", TASKS)
def test_a_split_in_parts_is_worth_the_same(name):
    """Outputs are asked for by parts and dropped; figure, loss and closeness are those of the whole."""
    generator = torch.Generator().manual_seed(1)
    outputs, targets = _rows(name, generator)
    teacher = outputs.flip(0)
    whole, parts = (
        Objective(name, 0.5, 2.0, at_once, labels=("O", "B-A", "I-A", "B-B")) for at_once in (20, 7)
    )
    asked = []

    def outputs_of(part):
        asked.append(len(outputs[part]))
        return outputs[part]

    found = parts.scored(outputs_of, targets, lambda part: teacher[part])
    assert asked == [7, 7, 6]
    wanted = whole.scored(lambda part: outputs[part], targets, lambda part: teacher[part])
    row = TASKS[name]
    assert found.counts.tolist() == wanted.counts.tolist()
    assert wanted.loss == pytest.approx(float(row.hard_loss(outputs, targets)))
    for one in ("loss", "closeness", "teacher"):
        assert getattr(found, one) == pytest.approx(getattr(wanted, one), rel=1e-6), one
    assert whole.row.figure_of(found.counts) == whole.score(outputs, targets)
    assert summed(found.counts).shape == (found.counts.shape[1],)


def _rows(name, generator):
    """Outputs and targets of 20 rows that the task takes."""
    row = TASKS[name]
    if row.places:
        shape = (4, 3, 5) if row.family == "segmentation" else (5, 4)
        targets = torch.randint(
            0, 2, (20, *(shape[1:] if len(shape) == 3 else shape[:1])), generator=generator
        )
        targets[torch.rand(targets.shape, generator=generator) < 0.3] = -100
        outputs = torch.randn(20, *((1,) if "segmentation-binary" in name else shape[:1]), *shape[1:],
                              generator=generator)  # fmt: skip
        return outputs.sigmoid() if name.endswith("probabilities") else outputs, targets
    if "binary" in name:
        outputs, targets = torch.randn(20, 1, generator=generator), torch.arange(20) % 2
    elif "multilabel" in name:
        outputs = torch.randn(20, 3, generator=generator)
        targets = (torch.rand(20, 3, generator=generator) > 0.5).float()
    elif row.family in ("regression", "features"):
        outputs, targets = (torch.randn(20, 2, generator=generator) for _ in range(2))
    else:
        outputs, targets = torch.randn(20, 4, generator=generator), torch.arange(20) % 4
    if name == "class-probabilities":
        return outputs.softmax(1), targets
    return outputs.sigmoid() if name.endswith(("sigmoids", "-probabilities")) else outputs, targets
