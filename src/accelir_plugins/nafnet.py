"""NAFNet (Chen et al., ECCV 2022, section 3): a U-Net without activation functions; products of features stand in.

Blocks are those of the paper's deblurring network but for the lowest encoder stage: 4, where the paper has 28.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from accelir.network import TorchNetwork
from accelir.tasks import Deblur
from accelir_plugins._layers import as_typed, half_of, scaled
from accelir_plugins._weights import load_weights


class _LayerNorm(nn.Module):
    """Over channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, 1, 1))
        self.bias = nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # With channels last this moves nothing.
        weight, bias = self.weight.flatten(), self.bias.flatten()
        return functional.layer_norm(x.permute(0, 2, 3, 1), weight.shape, weight, bias, 1e-6).permute(0, 3, 1, 2)


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = _LayerNorm(width), _LayerNorm(width)
        self.conv1 = nn.Conv2d(width, 2 * width, 1)
        self.conv2 = nn.Conv2d(2 * width, 2 * width, 3, padding=1, groups=2 * width)
        self.attention = nn.Conv2d(width, width, 1)
        self.conv3 = nn.Conv2d(width, width, 1)
        self.conv4 = nn.Conv2d(width, 2 * width, 1)
        self.conv5 = nn.Conv2d(width, width, 1)
        self.beta = nn.Parameter(torch.zeros(width, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(width, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        normed = self.norm1(x)
        # The paper's SimpleGate: one half of the channels times the other.
        features = self._expanded(normed, 0) * self._expanded(normed, 1)
        # The paper's simplified channel attention: channels are weighted by their means over the image.
        features = features * self.attention(features.mean(dim=(2, 3), keepdim=True))
        x = x.to(self.beta.dtype) + scaled(self.conv3, features, self.beta)
        normed = self.norm2(x)
        features = half_of(self.conv4, normed, 0) * half_of(self.conv4, normed, 1)
        return x + scaled(self.conv5, features, self.gamma)

    def _expanded(self, x: torch.Tensor, which: int) -> torch.Tensor:
        return half_of(self.conv2, half_of(self.conv1, x, which), which)


def _stage(width: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*(_Block(width) for _ in range(blocks)))


class NAFNet(nn.Module):
    """NAFNet: 32 and 64 channels in the paper.

    Where the convolutions compute in bfloat16, the first of them and what goes from block to block stay in float32.

    Args:
        width: Channels of the body at full resolution; 2, 4, 8 and 16 times that below.
        encoder: Blocks of the encoder, from full resolution down.
        middle: Blocks at a sixteenth of the resolution.
        decoder: Blocks of the decoder, from the lowest resolution up.

    Attributes:
        coarsest: Name of the submodule at the lowest resolution: training against blur asks it for the kernel.
    """

    coarsest: ClassVar[str] = "middle"

    def __init__(
        self,
        width: int,
        encoder: tuple[int, int, int, int] = (1, 1, 1, 4),
        middle: int = 1,
        decoder: tuple[int, int, int, int] = (1, 1, 1, 1),
    ) -> None:
        super().__init__()
        widths = [width * 2**scale for scale in range(5)]
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.encoders = nn.ModuleList(_stage(w, blocks) for w, blocks in zip(widths[:4], encoder, strict=True))
        self.downs = nn.ModuleList(nn.Conv2d(w, 2 * w, 2, stride=2) for w in widths[:4])
        self.middle = _stage(widths[4], middle)
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(w, 2 * w, 1, bias=False), nn.PixelShuffle(2)) for w in widths[:0:-1]
        )
        self.decoders = nn.ModuleList(_stage(w, blocks) for w, blocks in zip(widths[3::-1], decoder, strict=True))
        self.tail = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        padded = functional.pad(x, (0, -width % 16, 0, -height % 16), mode="replicate")
        with as_typed(padded):
            features = self.head(padded)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            features = encoder(features)
            skips.append(features)
            features = down(features)
        features = self.middle(features)
        for up, skip, decoder in zip(self.ups, skips[::-1], self.decoders, strict=True):
            features = decoder(up(features) + skip)
        restored: torch.Tensor = self.tail(features) + padded
        return restored[..., :height, :width]


def load(name: str, width: int) -> TorchNetwork:
    """A trained NAFNet for camera shake."""
    return TorchNetwork(
        load_weights(NAFNet(width), name),
        Deblur(),
        name,
        family="nafnet-deblur",
        width=width,
        multiple=16,
    )
