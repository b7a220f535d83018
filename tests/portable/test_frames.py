"""Leading directions of a matrix: those of a singular value decomposition, by steps that have one result."""

import numpy as np
import pytest

from qtrain_cli.portable import kernel
from qtrain_cli.portable.frames import leading_frames


def matrix_of(values, seed=0, rows=12, columns=9):
    draw = np.random.default_rng(seed)
    left, right = (np.linalg.qr(draw.standard_normal((n, len(values))))[0] for n in (rows, columns))
    return (left * values) @ right.T, draw.standard_normal((columns, 3))


def test_they_are_the_leading_singular_directions():
    matrix, start = matrix_of([8.0, 5.0, 3.0, 0.2, 0.1])
    left, right = leading_frames(matrix, start)
    _, values, vectors = np.linalg.svd(matrix)
    np.testing.assert_allclose(right @ right.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(right.T @ right, vectors[:3].T @ vectors[:3], atol=1e-6)
    np.testing.assert_allclose(left, matrix @ right.T, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(left), np.linalg.norm(values[:3]), rtol=1e-6)


@pytest.mark.skipif(not kernel.is_built(), reason="the kernel is not built")
def test_the_kernel_and_numpy_give_the_same_bits(monkeypatch):
    matrix, start = matrix_of(np.linspace(3, 0.5, 9), rows=70, columns=50)
    compiled = leading_frames(matrix, start)
    monkeypatch.setattr(kernel, "is_built", lambda: False)
    for one, other in zip(compiled, leading_frames(matrix, start), strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("values", [[], [3.0], [3.0, 1e-3]])
def test_a_matrix_that_lacks_directions_has_zeros_there(values):
    matrix, start = matrix_of(values) if values else (np.zeros((12, 9)), np.ones((9, 3)))
    left, right = leading_frames(matrix, start)
    there = len(values)
    assert not left[:, there:].any() and not right[there:].any()
    np.testing.assert_allclose(right[:there] @ right[:there].T, np.eye(there), atol=1e-12)
    np.testing.assert_allclose(left @ right, matrix, atol=1e-12)


def test_directions_of_very_unlike_sizes_are_orthonormal():
    matrix, start = matrix_of([1e6, 1.0, 1e-2, 1e-3])
    _, right = leading_frames(matrix, start)
    np.testing.assert_allclose(right @ right.T, np.eye(3), atol=1e-14)
