"""Measures the test accuracy of a ResNet-20 checkpoint on CIFAR-10 in the Hugging Face Parquet layout.

python samples/5_evaluate_resnet20.py resnet20-12fca82f.th cifar10/      (needs qtrain[data])
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from qtrain_cli.data import load_data
from qtrain_cli.models import load_model
from qtrain_cli.settings import DataSettings, ModelSettings

ARCH = f"{Path(__file__).with_name('resnet20_cifar10.py')}:ResNet20"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@torch.no_grad()
def correct(model: nn.Module, inputs: Tensor, labels: Tensor) -> int:
    """How many of the normalised (N, 3, 32, 32) inputs are classified as labelled."""
    batches = zip(inputs.split(500), labels.split(500), strict=True)
    return sum(int((model(x).argmax(1) == y).sum()) for x, y in batches)


def main(checkpoint: Path, data: Path) -> None:
    """Print the accuracy on the whole test split."""
    model = load_model(ModelSettings(checkpoint, arch=ARCH)).module
    dataset = load_data(DataSettings(str(data), MEAN, STD), seed=0)
    hits = correct(model, dataset.normalisation(dataset.test.inputs), dataset.test.targets)
    print(f"ResNet-20 test accuracy: {hits / len(dataset.test):.2%} of {len(dataset.test):,} images")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
