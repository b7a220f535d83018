"""Random matrices, written out and fast: what they are, and that training and reading have the same."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from artifacts import FAST_PLANS, RIVAL_PLANS

from qtrain_cli.errors import BadInput
from qtrain_cli.methods import projection
from qtrain_cli.methods.projection import check_projection, portable_products, projected, projection_plan

CPU = torch.device("cpu")
#: Rows and numbers: blocks that are full and not, one number, as many as a block.
SIZES = [(64, 5), (100, 7), (3, 1), (5, 8), (1000, 33)]


def fast(k, seed=2):
    return {"k": k, "seed": seed, "block": 1 << (k - 1).bit_length()}


def matrix(plan, rows):
    """(rows, k), column by column as training sees them."""
    products = projected(plan, rows, CPU)
    return torch.stack([products(one) for one in torch.eye(plan["k"])], 1).double()


@pytest.mark.parametrize("written", [True, False])
@pytest.mark.parametrize(("rows", "k"), SIZES)
def test_training_and_reading_multiply_by_the_same_matrix(rows, k, written, monkeypatch):
    """In one turn of all blocks and in one turn a block."""
    plan = {"k": k, "seed": 2} if written else fast(k)
    numbers = torch.randn(k, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = matrix(plan, rows) @ numbers
    found = portable_products(plan, rows, numbers.numpy())
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-5 * math.sqrt(k))
    monkeypatch.setattr(projection, "_TURNED", 1)
    assert np.array_equal(portable_products(plan, rows, numbers.numpy()), found)


def test_a_fast_matrix_is_as_random_as_one_that_is_written_out():
    """Mean 0, variance 1, full rank, and columns and rows that do not know each other: no entry of their
    products is further from 0 than chance takes it."""
    rows, k = 2048, 60
    found = matrix(fast(k), rows)
    assert abs(float(found.mean())) < 4 / math.sqrt(rows * k)
    assert float(found.var()) == pytest.approx(1, abs=0.05)
    assert int(torch.linalg.matrix_rank(found)) == k
    columns = found.T @ found / rows
    assert float((columns - columns.diag().diag()).abs().max()) < 5 / math.sqrt(rows)
    assert float(torch.linalg.cond(found)) < 2
    lines = found @ found.T / k
    assert float((lines - lines.diag().diag()).abs().max()) < 6 / math.sqrt(k)


def test_another_seed_is_another_matrix():
    assert not torch.allclose(matrix(fast(9), 40), matrix(fast(9, seed=3), 40))


@pytest.mark.parametrize("plan", [{"k": 6, "seed": 1}, fast(6)])
def test_it_is_differentiable(plan):
    numbers = torch.randn(6, requires_grad=True)
    weights = torch.randn(50)
    (weights @ projected(plan, 50, CPU)(numbers)).backward()
    torch.testing.assert_close(
        numbers.grad.double(), matrix(plan, 50).T @ weights.double(), rtol=1e-4, atol=1e-4
    )


def test_what_memory_does_not_hold_is_fast(monkeypatch):
    scene = SimpleNamespace(layout=SimpleNamespace(generated=100), seed=4, device=CPU)
    monkeypatch.setattr(projection, "MAX_MATRIX", 900)
    assert projection_plan(scene, 9) == {"k": 9, "seed": 4}
    assert projection_plan(scene, 10) == {"k": 10, "seed": 4, "block": 16}
    assert [projection_plan(scene, k)["block"] for k in (16, 17, 64)] == [16, 32, 64]


@pytest.mark.parametrize("name", FAST_PLANS)
def test_plans_that_nobody_writes_are_refused(name):
    check_projection(10**9, FAST_PLANS[name])
    check_projection(19, RIVAL_PLANS[name])
    with pytest.raises(BadInput, match="has more than 2,000,000,000 entries"):
        check_projection(10**9, RIVAL_PLANS[name])
    for block in (0, 4, 16):
        with pytest.raises(BadInput, match=f"has blocks of {block}; needed: 8"):
            check_projection(19, RIVAL_PLANS[name] | {"block": block})
