"""Sums against sums written out term by term, in Python's own float64."""

import numpy as np
import pytest
import torch

from qtrain_cli.portable.sums import hadamard, ordered_product, ordered_total

RANDOM = np.random.default_rng(3)
SHAPES = [(1, 1, 1), (3, 5, 2), (17, 40, 1), (9, 1, 65), (2, 0, 3), (0, 4, 2), (700, 60, 3)]


def of_each_term(left, right):
    out = np.zeros((len(left), right.shape[1]))
    for i, row in enumerate(left.tolist()):
        for c, column in enumerate(right.T.tolist()):
            terms = [a * b for a, b in zip(row, column, strict=True)]
            for number, term in enumerate(terms):
                out[i, c] = term if number == 0 else float(out[i, c]) + term
    return out


@pytest.mark.parametrize("level", ["0", "base", "best"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_product_is_summed_from_the_first_term_on(shape, level, monkeypatch, request):
    if level == "0":
        monkeypatch.setenv("QTRAIN_NATIVE", "0")
    else:
        request.getfixturevalue("compiled")(level)
    left, right = RANDOM.normal(size=shape[:2]), RANDOM.normal(size=shape[1:])
    found, expected = ordered_product(left, right), of_each_term(left, right)
    assert found.shape == expected.shape
    assert (found.view(np.int64) == expected.view(np.int64)).all()


def test_subnormal_numbers_count_even_where_another_library_flushed_them(compiled):
    """PyTorch can ask the processor for zeros in their place; the compiled steps ask for IEEE arithmetic."""
    compiled("best")
    left, right = np.full((9, 1), 2.0**-537), np.full((1, 1), 2.0**-537)
    flushed = torch.set_flush_denormal(True)
    try:
        found = ordered_product(left, right)
    finally:
        torch.set_flush_denormal(False)
    if not flushed:
        pytest.skip("this processor does not flush")
    assert (found == 2.0**-1074).all()


def test_strides_do_not_matter():
    left, right = RANDOM.normal(size=(6, 5)), RANDOM.normal(size=(6, 4))
    assert (ordered_product(left.T, right) == of_each_term(left.T.copy(), right)).all()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 64, 1000, 4097])
def test_a_total_is_summed_by_halves(count):
    values = RANDOM.normal(size=count)
    padded = values.tolist() + [0.0] * (2 ** max(0, (count - 1).bit_length()) - count) if count else []
    while len(padded) > 1:
        half = len(padded) // 2
        padded = [a + b for a, b in zip(padded[:half], padded[half:], strict=True)]
    assert ordered_total(values) == (padded[0] if padded else 0.0)


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("n", [1, 2, 4, 64])
def test_rows_are_turned_in_their_place_by_the_matrix_of_signs(rows, n):
    """An entry is -1 where row and column have an odd number of ones in common; whole numbers are exact."""
    signs = np.array([[(-1.0) ** (i & j).bit_count() for j in range(n)] for i in range(n)])
    values = RANDOM.integers(-1000, 1000, (rows, n)).astype(np.float64)
    expected = values @ signs
    assert hadamard(values) is values and np.array_equal(values, expected)


def test_pairs_are_added_from_the_nearest_on():
    """Eight numbers of which each addition loses something: in another order the bits are others."""
    values = RANDOM.normal(size=8) * 10.0 ** np.arange(-4, 4)
    a, b, c, d, e, f, g, h = values.tolist()
    found = hadamard(values[None].copy())[0]
    assert found[0] == ((a + b) + (c + d)) + ((e + f) + (g + h))
    assert found[7] == ((a - b) - (c - d)) - ((e - f) - (g - h))
