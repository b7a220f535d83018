"""A small convolutional network for the 8x8 handwritten digits of scikit-learn: 3,730 weights.

    (N, 1, 8, 8) -> conv 3x3 -> BatchNorm, ReLU, max-pool -> conv 3x3 -> ReLU, max-pool -> fc -> (N, 10)

Inputs are the grey values 0..1. Built of PyTorch's own layers by a function, so that the whole module can be
pickled without this file: ``--arch samples/digits_cnn.py:digits_cnn`` names it for a state dictionary.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn


def digits_cnn(width: int = 12) -> nn.Sequential:
    """The network with `width` channels in its first convolution and twice as many in its second."""
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(1, width, 3, padding=1)),
        ("norm1", nn.BatchNorm2d(width)),
        ("relu1", nn.ReLU()),
        ("pool1", nn.MaxPool2d(2)),  # (N, width, 4, 4)
        ("conv2", nn.Conv2d(width, 2 * width, 3, padding=1)),
        ("relu2", nn.ReLU()),
        ("pool2", nn.MaxPool2d(2)),  # (N, 2 width, 2, 2)
        ("flatten", nn.Flatten()),
        ("fc", nn.Linear(2 * width * 4, 10)),
    ]
    return nn.Sequential(OrderedDict(layers))
