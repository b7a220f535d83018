"""Trains the paper's CIFAR-10 network as a teacher: mirrored and shifted images, some minutes on two cores.

    python samples/6_train_cifar10.py DATA OUT.pt [EPOCHS]          (needs `pip install '.[data]'`)

DATA is CIFAR-10 as a folder of Parquet files. Prints the accuracy on the whole test split, which is used
once, at the end. Compress the result with

    qtrain compress OUT.pt --arch samples/cifar10_cnn.py:Cifar10CNN --data DATA --mean 0.5 --std 0.5
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from cifar10_cnn import Cifar10CNN
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from qtrain_cli.files.data import load_data
from qtrain_cli.settings import DataSettings

SEED, EPOCHS, BATCH, SHIFT = 0, 20, 128, 2


def varied(images: Tensor) -> Tensor:
    """Half of the images mirrored, and the batch shifted by up to two pixels: (N, 3, 32, 32)."""
    mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
    images = torch.where(mirrored, images.flip(3), images)
    down, right = torch.randint(0, 2 * SHIFT + 1, (2,)).tolist()
    return pad(images, (SHIFT,) * 4)[:, :, down : down + 32, right : right + 32]


def train(images: Tensor, labels: Tensor, epochs: int) -> nn.Module:
    """A trained network in evaluation mode: Adam with a one-cycle learning rate, weights decayed a little."""
    torch.manual_seed(SEED)
    model = Cifar10CNN()
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


def main(data: str, out: Path, epochs: int) -> None:
    """Train, measure on the test rows, write."""
    found = load_data(DataSettings(data, (0.5,), (0.5,), 0.02), SEED)
    model = train(found.normalisation(found.train.inputs), found.train.targets, epochs)
    with torch.no_grad():
        scores = torch.cat([model(found.normalisation(rows)) for rows in found.test.inputs.split(1000)])
    accuracy = (scores.argmax(1) == found.test.targets).double().mean().item()
    print(f"{accuracy:.2%} of {len(scores)} test images")
    torch.save(model.state_dict(), out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else EPOCHS)
