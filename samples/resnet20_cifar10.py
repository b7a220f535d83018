"""ResNet-20 for CIFAR-10 (He et al. 2015, section 4.2) with option A shortcuts: 269,722 weights.

    (N, 3, 32, 32) -> conv 3x3, 16 -> three groups of three blocks, 16, 32 and 64 channels -> mean -> fc 10

Where a group halves the image and doubles the channels, its shortcut takes every second pixel and pads the
new channels with zeros, half of them before and half behind: no parameters. Inputs are normalised with the
mean 0.485, 0.456, 0.406 and the standard deviation 0.229, 0.224, 0.225.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import pad, relu


class Block(nn.Module):
    """Two 3x3 convolutions and the shortcut around them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.padding = stride, (outputs - inputs) // 2

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H / stride, W / stride)."""
        y = self.bn2(self.conv2(relu(self.bn1(self.conv1(x)))))
        shortcut = pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.padding, self.padding))
        return relu(y + shortcut)


class ResNet20(nn.Module):
    """Names as in the common checkpoints: `conv1`, `bn1`, `layer1.0.conv1` ... `layer3.2.bn2`, `linear`."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16, 1), Block(16, 16, 1), Block(16, 16, 1))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.linear = nn.Linear(64, classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, 3, 32, 32) images to (N, classes) scores."""
        x = relu(self.bn1(self.conv1(images)))
        x = self.layer3(self.layer2(self.layer1(x)))  # (N, 64, 8, 8)
        return self.linear(x.mean(dim=(2, 3)))
