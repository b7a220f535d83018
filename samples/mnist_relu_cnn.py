"""A network for MNIST that is made to be compressed: three small convolutions, one circuit of 14 qubits.

16,180 weights without normalisation layers, whose statistics a file would have to hold. Inputs are pixels
scaled to [-1, 1]: ``--mean 0.5 --std 0.5``.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import max_pool2d, relu


class MnistReluCNN(nn.Module):
    """Parameters `conv1`, `conv2`, `conv3`, `fc`, each with weight and bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3)
        self.conv2 = nn.Conv2d(16, 32, 3)
        self.conv3 = nn.Conv2d(32, 30, 3)
        self.fc = nn.Linear(270, 10)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 1, 28, 28) images to (N, 10) scores."""
        x = max_pool2d(relu(self.conv1(images)), 2)  # (N, 16, 13, 13)
        x = max_pool2d(relu(self.conv2(x)), 2)  # (N, 32, 5, 5)
        return self.fc(relu(self.conv3(x)).flatten(1))  # (N, 30, 3, 3) -> (N, 10)
