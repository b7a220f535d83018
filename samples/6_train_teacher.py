"""Trains a network of images as a teacher: shifted (colour images mirrored, too), some minutes on two cores.

    python samples/6_train_teacher.py FILE.py:CLASS DATA OUT.pt [EPOCHS]

DATA in Parquet needs `pip install '.[data]'`. Prints the accuracy on the whole test split, which is used
once, at the end. Of the table in results/sizes.md are cifar10_cnn.py:Cifar10CNN (the paper's network, 20
epochs) and mnist_relu_cnn.py:MnistReluCNN (8 epochs). Compress one with

    qtrain compress OUT.pt --arch FILE.py:CLASS --data DATA --mean 0.5 --std 0.5
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from qtrain_cli.data import load_data
from qtrain_cli.settings import DataSettings

SEED, EPOCHS, BATCH, SHIFT = 0, 20, 128, 2


def network(name: str) -> nn.Module:
    """A new network of the class that FILE.py:CLASS names."""
    path, _, wanted = name.rpartition(":")
    spec = importlib.util.spec_from_file_location("network", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, wanted)()


def varied(images: Tensor) -> Tensor:
    """The batch shifted by up to two pixels, half of its colour images mirrored: (N, C, H, W)."""
    if images.shape[1] == 3:
        mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
        images = torch.where(mirrored, images.flip(3), images)
    down, right = torch.randint(0, 2 * SHIFT + 1, (2,)).tolist()
    height, width = images.shape[2:]
    return pad(images, (SHIFT,) * 4, value=-1.0)[:, :, down : down + height, right : right + width]


def train(name: str, images: Tensor, labels: Tensor, epochs: int) -> nn.Module:
    """A trained network in evaluation mode: Adam with a one-cycle learning rate, weights decayed a little."""
    torch.manual_seed(SEED)
    model = network(name)
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
    steps = epochs * (len(labels) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.003, total_steps=steps)
    for epoch in range(epochs):
        for rows in torch.randperm(len(labels))[: len(labels) // BATCH * BATCH].split(BATCH):
            optimizer.zero_grad()
            loss = cross_entropy(model(varied(images[rows])), labels[rows])
            loss.backward()
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: loss {loss.item():.3f}", flush=True)
    return model.eval()


def main(name: str, data: str, out: Path, epochs: int) -> None:
    """Train, measure on the test rows, write."""
    found = load_data(DataSettings(data, (0.5,), (0.5,), 0.02), SEED)
    model = train(name, found.normalisation(found.train.inputs), found.train.targets, epochs)
    with torch.no_grad():
        scores = torch.cat([model(found.normalisation(rows)) for rows in found.test.inputs.split(1000)])
    accuracy = (scores.argmax(1) == found.test.targets).double().mean().item()
    print(f"{accuracy:.2%} of {len(scores)} test images")
    torch.save(model.state_dict(), out)


if __name__ == "__main__":
    main(*sys.argv[1:3], Path(sys.argv[3]), int(sys.argv[4]) if len(sys.argv) > 4 else EPOCHS)
