"""Trains the shipped sample and writes it in every form people keep weights in. About ten seconds.

    python samples/1_train_digits.py [FOLDER]            (needs scikit-learn)

Data: scikit-learn's 1,797 handwritten digits (UCI, 8x8 pixels of 0..16), 1,437 to train and 360 to test,
split at random with a fixed seed. `digits.npz` holds the pixels as uint8, scaled to 0..255, so that the usual
division by 255 gives back 0..1: `x_train, y_train, x_test, y_test`, images as (rows, 1, 8, 8).

The same machine and PyTorch give the same weights on each run.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from digits_cnn import digits_cnn
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

SHIPPED = Path(__file__).parent / "digits"
SEED, EPOCHS, BATCH = 0, 30, 64
TEST_ROWS = 360


def load_digits() -> dict[str, np.ndarray]:
    """The four arrays of `digits.npz`: images (rows, 1, 8, 8) uint8 and labels (rows,) int64."""
    from sklearn.datasets import load_digits as sklearn_digits

    source = sklearn_digits()
    images = np.round(source.images * 255 / 16).astype(np.uint8)[:, None]
    labels = source.target.astype(np.int64)
    order = np.random.default_rng(SEED).permutation(len(labels))
    test, train = order[:TEST_ROWS], order[TEST_ROWS:]
    return {
        "x_train": images[train],
        "y_train": labels[train],
        "x_test": images[test],
        "y_test": labels[test],
    }


def as_inputs(images: np.ndarray) -> Tensor:
    """(rows, 1, 8, 8) uint8 to float32 in 0..1."""
    return torch.from_numpy(images).float() / 255


def train(inputs: Tensor, labels: Tensor) -> nn.Sequential:
    """A trained network in evaluation mode: Adam with a one-cycle learning rate."""
    torch.manual_seed(SEED)
    model = digits_cnn()
    optimizer = torch.optim.Adam(model.parameters())
    steps = EPOCHS * -(-len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.01, total_steps=steps)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(labels)).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(model(inputs[rows]), labels[rows]).backward()
            optimizer.step()
            schedule.step()
    return model.eval()


def save(model: nn.Sequential, out: Path) -> None:
    """State dictionary, whole module, safetensors, and an exported graph for any batch size."""
    torch.save(model.state_dict(), out / "digits_cnn.pt")
    torch.save(model, out / "digits_cnn_module.pt")
    save_file(model.state_dict(), out / "digits_cnn.safetensors")
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(model, (torch.zeros(2, 1, 8, 8),), dynamic_shapes=({0: batch},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # the paths of this machine
    torch.export.save(program, out / "digits_cnn.pt2")


def main(out: Path) -> None:
    """Train, measure on the test rows, write."""
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)  # the network is too small to share out
    out.mkdir(exist_ok=True)
    data = load_digits()
    np.savez_compressed(out / "digits.npz", **data)
    model = train(as_inputs(data["x_train"]), torch.from_numpy(data["y_train"]))
    with torch.no_grad():
        answers = model(as_inputs(data["x_test"])).argmax(1).numpy()
    weights = sum(parameter.numel() for parameter in model.parameters())
    print(f"{weights:,} weights, test accuracy {np.mean(answers == data['y_test']):.2%} of {TEST_ROWS}")
    save(model, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED)
