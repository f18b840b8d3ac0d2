"""What several of the networks share: merging of features, and bilinear interpolation as the first weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

__all__ = ["Merge", "bilinear_deconvolution", "bilinear_subpixel"]


class Merge(nn.Conv2d):
    """A 1x1 convolution of several features of the same width.

    Args:
        width: Channels of each of them and of the output.
        parts: How many there are; `accelir.training.recipe.grow` must know.
    """

    def __init__(self, width: int, parts: int) -> None:
        super().__init__(parts * width, width, 1)
        self.parts = parts

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:  # type: ignore[override]
        return super().forward(torch.cat(list(features), dim=1))


@torch.no_grad()
def bilinear_subpixel(layer: nn.Conv2d, scale: int) -> None:
    """Make a 3x3 convolution before `torch.nn.PixelShuffle` upsample its first three inputs, and read no other."""
    offsets = (torch.arange(scale) + 0.5) / scale - 0.5
    taps = torch.stack([(-offsets).clamp(min=0), 1 - offsets.abs(), offsets.clamp(min=0)], dim=1)
    layer.weight.zero_()
    for colour in range(3):
        layer.weight[colour * scale**2 : (colour + 1) * scale**2, colour] = torch.einsum(
            "py,qx->pqyx", taps, taps
        ).reshape(scale**2, 3, 3)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


@torch.no_grad()
def bilinear_deconvolution(layer: nn.ConvTranspose2d, scale: int) -> None:
    """Make a transposed convolution upsample its first three inputs to its three outputs; the others keep theirs."""
    positions = torch.arange(layer.kernel_size[0]) - int(layer.padding[0])
    taps = (1 - (positions - (scale - 1) / 2).abs() / scale).clamp(min=0)
    layer.weight[:3] = 0
    for colour in range(3):
        layer.weight[colour, colour] = torch.outer(taps, taps)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
