"""The real image sets, where they lie beside the repository."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

pytest.importorskip("pyarrow")
pytest.importorskip("PIL")
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
MNIST_SECONDS = 30  # measured: 3 s on two cores; the rest is for a busy machine


def test_mnist_is_read_whole_and_fast(load):
    if not (SHARED / "mnist").is_dir():
        pytest.skip("../shared/data/mnist is not there")
    start = time.perf_counter()
    dataset = load(SHARED / "mnist")
    assert time.perf_counter() - start < MNIST_SECONDS
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (54_000, 6_000, 10_000)
    assert dataset.classes == 10
    assert dataset.train.inputs.shape == (54_000, 1, 28, 28)
    assert dataset.train.inputs.dtype == torch.uint8
    pixels = torch.cat([dataset.train.inputs, dataset.validation.inputs]).float() / 255
    assert pixels.mean().item() == pytest.approx(0.1307, abs=1e-4)  # the well-known mean of MNIST's train set
    assert torch.bincount(dataset.test.targets).tolist() == [
        980,
        1135,
        1032,
        1010,
        982,
        892,
        958,
        1028,
        974,
        1009,
    ]
