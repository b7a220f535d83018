"""What the tests of every data format share: one small data set and one way to load."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from qtrain_cli.data import Dataset, load_data
from qtrain_cli.settings import DataSettings


@pytest.fixture
def pixels() -> dict[str, np.ndarray]:
    """Ten train and four test images, 3x2 grey, three classes."""
    rng = np.random.default_rng(0)
    return {
        "x_train": rng.integers(0, 256, (10, 3, 2), dtype=np.uint8),
        "y_train": np.arange(10) % 3,
        "x_test": rng.integers(0, 256, (4, 3, 2), dtype=np.uint8),
        "y_test": np.array([2, 1, 0, 2]),
    }


@pytest.fixture
def load() -> Callable[..., Dataset]:
    """`load_data` of a source, other settings and the seed by keyword."""

    def load_source(source: str | Path, *, seed: int = 0, **settings: object) -> Dataset:
        return load_data(DataSettings(str(source), **settings), seed)  # type: ignore[arg-type]

    return load_source


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """Pixels ``(H, W)`` or ``(H, W, C)`` as an encoded image, by default PNG."""
    image = pytest.importorskip("PIL.Image")

    def encode_pixels(array: np.ndarray, form: str = "PNG", mode: str | None = None) -> bytes:
        stream = io.BytesIO()
        picture = image.fromarray(array)
        (picture.convert(mode) if mode else picture).save(stream, form)
        return stream.getvalue()

    return encode_pixels
