"""The convolutional network of the Quantum-Train paper's CIFAR-10 table (arXiv 2405.11304): 285,226 weights.

    (N, 3, 32, 32) -> conv 5x5, max-pool -> conv 5x5, max-pool -> fc 128 -> fc 64 -> fc 10 -> (N, 10)

There is no other non-linearity than the max-pools; that is how the paper has it. Inputs are pixels scaled
to [-1, 1]: ``--mean 0.5 --std 0.5``.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import max_pool2d


class Cifar10CNN(nn.Module):
    """Parameters `conv1`, `conv2`, `fc1`, `fc2`, `fc3`, each with weight and bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 5, padding=2)
        self.conv2 = nn.Conv2d(16, 32, 5, padding=2)
        self.fc1 = nn.Linear(2048, 128)
        self.fc2 = nn.Linear(128, 64)
        self.fc3 = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, 32, 32) images to (N, 10) scores."""
        x = max_pool2d(self.conv1(images), 2)  # (N, 16, 16, 16)
        x = max_pool2d(self.conv2(x), 2)  # (N, 32, 8, 8)
        return self.fc3(self.fc2(self.fc1(x.flatten(1))))
