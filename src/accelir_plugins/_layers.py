"""What several of the networks share: layers that a CPU is fast at, merging, bilinear interpolation to start from."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

__all__ = ["Deconvolution", "Merge", "SlopedReLU", "bilinear_deconvolution", "bilinear_subpixel"]


class Deconvolution(nn.ConvTranspose2d):
    """A transposed convolution that makes ``stride`` pixels of one, computed as a convolution before a pixel shuffle.

    The same sums, two to three times faster on a CPU. Each phase of the output reads its own taps of the kernel, and
    the weights of the convolution are zero elsewhere.

    Args:
        inputs: Channels.
        outputs: Channels.
        kernel: Side of the kernel.
        stride: Output side over input side.
        padding: Output pixels that an input pixel writes to before its own first one.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> None:
        extra = max(0, stride - kernel + 2 * padding)
        super().__init__(inputs, outputs, kernel, stride=stride, padding=padding, output_padding=extra)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        # Where work is counted, multiplications by zeros are none.
        if isinstance(x, FakeTensor):
            height, width = (side * self.stride[0] for side in x.shape[2:])
            return super().forward(x)[..., :height, :width]
        stride, kernel, padding = self.stride[0], self.kernel_size[0], int(self.padding[0])
        reach = max((stride - 1 + padding) // stride, (kernel - 1 - padding) // stride)
        side = 2 * reach + 1
        weight = self.weight.new_zeros(self.out_channels, stride, stride, self.in_channels, side, side)
        taps = [
            (phase, offset + reach, phase + padding - stride * offset)
            for phase, offset in itertools.product(range(stride), range(-reach, reach + 1))
            if 0 <= phase + padding - stride * offset < kernel
        ]
        phases, places, positions = (torch.tensor(column, device=x.device) for column in zip(*taps, strict=True))
        spread = self.weight[:, :, positions[:, None], positions].permute(2, 3, 1, 0)
        weight[:, phases[:, None], phases, :, places[:, None], places] = spread
        bias = None if self.bias is None else self.bias.repeat_interleave(stride**2)
        phased = nn.functional.conv2d(x, weight.reshape(-1, self.in_channels, side, side), bias, padding=reach)
        return nn.functional.pixel_shuffle(phased, stride)


class SlopedReLU(nn.PReLU):
    """`torch.nn.PReLU` in the type of its slopes: in bfloat16 with channels last, torch takes ten times as long."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return nn.functional.prelu(x.to(self.weight.dtype), self.weight).to(x.dtype)


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
