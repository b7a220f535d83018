"""The convolutional network of the Quantum-Train paper's MNIST table (arXiv 2405.11304): 6,690 weights.

    (N, 1, 28, 28) -> conv 5x5, max-pool -> conv 5x5, max-pool -> fc 20 -> fc 10 -> (N, 10)

There is no other non-linearity than the max-pools; that is how the paper has it. Inputs are pixels scaled
to [-1, 1]: ``--mean 0.5 --std 0.5``.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import max_pool2d


class MnistCNN(nn.Module):
    """Parameters `conv1`, `conv2`, `fc1`, `fc2`, each with weight and bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 5)
        self.conv2 = nn.Conv2d(8, 12, 5)
        self.fc1 = nn.Linear(192, 20)
        self.fc2 = nn.Linear(20, 10)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, 28, 28) images to (N, 10) scores."""
        x = max_pool2d(self.conv1(images), 2)  # (N, 8, 12, 12)
        x = max_pool2d(self.conv2(x), 2)  # (N, 12, 4, 4)
        return self.fc2(self.fc1(x.flatten(1)))
