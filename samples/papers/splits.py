"""Data of the claims about students, made once as `.npz` from what is there: all of MNIST, few rows of it,
one pair of digits, the shipped digits with few labels or with wrong ones.

Rows are drawn by NumPy's Philox stream, so that they are the same everywhere. Test rows are never touched.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rows import DIGITS

Arrays = dict[str, np.ndarray]
SEED = 2024


def mnist_file(out: Path, mnist: str) -> Path:
    """All of MNIST, uint8 (N, 1, 28, 28): read once, in place of decoding its pictures in every run."""
    if not out.exists():
        from qtrain_cli.data import load_data
        from qtrain_cli.settings import DataSettings

        data = load_data(DataSettings(mnist, validation=0), 0)
        named = {"train": data.train, "test": data.test}
        arrays = {f"x_{name}": part.inputs.numpy() for name, part in named.items()}
        save(out, arrays | {f"y_{name}": part.targets.numpy() for name, part in named.items()})
    return out


def save(out: Path, arrays: Arrays) -> Path:
    """Writes a file of arrays, once."""
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out, **arrays)
    return out


def digits() -> Arrays:
    """The shipped 8x8 digits."""
    return dict(np.load(DIGITS))


def few(arrays: Arrays, each: int) -> Arrays:
    """So many training rows of each class, and every test row."""
    order = np.random.Generator(np.random.Philox(key=SEED)).permutation(len(arrays["y_train"]))
    labels = arrays["y_train"][order]
    places = np.concatenate([order[labels == label][:each] for label in np.unique(labels)])
    return arrays | {name: arrays[name][np.sort(places)] for name in ("x_train", "y_train")}


def pair(arrays: Arrays, classes: tuple[int, int]) -> Arrays:
    """The rows of two classes, which become 0 and 1."""
    found: Arrays = {}
    for split in ("train", "test"):
        labels = arrays[f"y_{split}"]
        there = np.isin(labels, classes)
        found[f"x_{split}"] = arrays[f"x_{split}"][there]
        found[f"y_{split}"] = (labels[there] == classes[1]).astype(labels.dtype)
    return found


def noisy(arrays: Arrays, share: float) -> Arrays:
    """The same with another label, drawn from the other classes, for a share of the training rows."""
    random = np.random.Generator(np.random.Philox(key=SEED))
    labels = arrays["y_train"].copy()
    classes = labels.max() + 1
    wrong = random.random(len(labels)) < share
    labels[wrong] = (labels[wrong] + random.integers(1, classes, wrong.sum())) % classes
    return arrays | {"y_train": labels}
