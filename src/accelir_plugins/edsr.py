"""EDSR (Lim et al., CVPR Workshops 2017, section 3): residual blocks without normalisation, sub-pixel upsampling.

The paper's baseline has 16 blocks of 64 channels; here are 8.
"""

from __future__ import annotations

import torch
from torch import nn

from accelir.network import TorchNetwork
from accelir.tasks import SuperResolution
from accelir_plugins._layers import Upsampling
from accelir_plugins._weights import load_weights


class ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(torch.relu(self.conv1(x)))


class EDSR(nn.Module):
    """The baseline EDSR, of half its depth: head, ``blocks`` residual blocks with a long skip, sub-pixel convolution.

    Args:
        width: Channels of the body.
        scale: Output side over input side: 2 or 4 (one sub-pixel stage for each doubling).
        blocks: Residual blocks (16 in the paper's baseline).
    """

    def __init__(self, width: int, scale: int = 4, blocks: int = 8) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)))
        self.fuse = nn.Conv2d(width, width, 3, padding=1)
        stages: list[nn.Module] = []
        for _ in range(scale.bit_length() - 1):
            stages += [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2)]
        self.upsample = Upsampling(*stages)
        self.tail = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.head(x - 0.5)
        features = features + self.fuse(self.body(features))
        return self.tail(self.upsample(features)) + 0.5


def load(name: str, width: int, scale: int = 4) -> TorchNetwork:
    """A trained EDSR."""
    return TorchNetwork(
        load_weights(EDSR(width, scale), name),
        SuperResolution(scale),
        name,
        family=f"edsr-x{scale}",
        width=width,
        receptive_field=41,
    )
