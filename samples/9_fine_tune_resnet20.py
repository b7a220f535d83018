"""Fine-tunes every weight of a ResNet-20 checkpoint to CIFAR-10 in the Parquet layout.

    python samples/9_fine_tune_resnet20.py resnet20-12fca82f.th cifar10/ tuned.pt [EPOCHS] [SEED]

The images of that layout are JPEG copies, which the checkpoint answers worse than the originals. Running
statistics stay those of the checkpoint, as in `qtrain compress --base`. Prints the accuracy on the whole test
split, which is used once, at the end, and writes the state dictionary. Needs qtrain[data]; an epoch takes
some minutes of one core.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy

from qtrain_cli.data import load_data
from qtrain_cli.models import load_model
from qtrain_cli.settings import DataSettings, ModelSettings

ARCH = f"{Path(__file__).with_name('resnet20_cifar10.py')}:ResNet20"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
BATCH, RATE = 128, 1e-3


def main(checkpoint: Path, data: Path, out: Path, epochs: int = 2, seed: int = 0) -> None:
    """Train, measure, write."""
    torch.manual_seed(seed)
    model = load_model(ModelSettings(checkpoint, arch=ARCH)).module.eval()
    rows = load_data(DataSettings(str(data), MEAN, STD), seed=seed)
    optimizer = torch.optim.Adam(model.parameters())
    steps = epochs * (len(rows.train) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=RATE, total_steps=steps)
    for _ in range(epochs):
        for chosen in torch.randperm(len(rows.train))[: steps // epochs * BATCH].split(BATCH):
            optimizer.zero_grad()
            scores = model(rows.normalisation(rows.train.inputs[chosen]))
            cross_entropy(scores, rows.train.targets[chosen]).backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        parts = torch.arange(len(rows.test)).split(500)
        hits = sum(
            int((model(rows.normalisation(rows.test.inputs[p])).argmax(1) == rows.test.targets[p]).sum())
            for p in parts
        )
    print(f"ResNet-20 test accuracy: {hits / len(rows.test):.2%} of {len(rows.test):,} images")
    torch.save(model.state_dict(), out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), *map(int, sys.argv[4:6]))
