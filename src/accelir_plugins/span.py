"""SPAN (Wan et al., CVPR Workshops 2024, section 3): attention without parameters, and convolutions that fold.

In training every 3x3 convolution of the body is three in a row beside a 1x1 (`Unfolded`); `SPAN.fused` makes each of
them one convolution that computes the same. Weights ship in the fused form.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import nn
from torch.nn import functional

from accelir.network import TorchNetwork
from accelir.tasks import SuperResolution
from accelir_plugins._layers import Merge, Upsampling, bilinear_subpixel
from accelir_plugins._weights import load_weights

BLOCKS = 6
RANGE = 255
"""The body works on values of this range, as published: the attention gates by how large features are."""


class Unfolded(nn.Module):
    """A 3x3 convolution as it is trained: 1x1 to twice the channels, 3x3, 1x1 back, and a 1x1 beside them."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.expand = nn.Conv2d(inputs, 2 * inputs, 1)
        self.conv = nn.Conv2d(2 * inputs, 2 * outputs, 3)
        self.project = nn.Conv2d(2 * outputs, outputs, 1)
        self.skip = nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Padded before the first 1x1, whose bias then holds outside of the image too: only so do the three fold.
        return self.project(self.conv(self.expand(functional.pad(x, (1, 1, 1, 1))))) + self.skip(x)

    @torch.no_grad()
    def folded(self) -> nn.Conv2d:
        """The one convolution that computes the same."""
        expand, conv, project, skip = (
            (layer.weight.double(), layer.bias.double())  # type: ignore[union-attr]
            for layer in (self.expand, self.conv, self.project, self.skip)
        )
        kernel = torch.einsum("om,mnyx,ni->oiyx", project[0][..., 0, 0], conv[0], expand[0][..., 0, 0])
        kernel[:, :, 1, 1] += skip[0][..., 0, 0]
        inner = conv[0].sum(dim=(2, 3)) @ expand[1] + conv[1]
        bias = project[0][..., 0, 0] @ inner + project[1] + skip[1]
        outputs, inputs = kernel.shape[:2]
        result = nn.Conv2d(inputs, outputs, 3, padding=1)
        result.weight.copy_(kernel)
        result.bias.copy_(bias)  # type: ignore[union-attr]
        return result.to(self.skip.weight.device)

    @torch.no_grad()
    def unfold(self, folded: nn.Conv2d) -> None:
        """Compute the same as ``folded``; channels that only training has keep what they write and are not read yet."""
        outputs, inputs = folded.weight.shape[:2]
        for layer, weight in (
            (self.expand, torch.eye(inputs)[:, :, None, None]),
            (self.conv, folded.weight),
            (self.project, torch.eye(outputs)[:, :, None, None]),
        ):
            layer.weight[: weight.shape[0]] = 0
            layer.weight[: weight.shape[0], : weight.shape[1]] = weight
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        nn.init.zeros_(self.skip.weight)
        self.skip.bias.copy_(folded.bias)  # type: ignore[union-attr, arg-type]


class _Block(nn.Module):
    """The paper's SPAB: what the three convolutions made gates itself and its input, by an odd function of itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (Unfolded(width, width) for _ in range(3))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The output, and what the first convolution made."""
        first = functional.silu(self.conv1(x))
        features = self.conv3(functional.silu(self.conv2(first)))
        return (features + x) * (torch.sigmoid(features) - 0.5), first


class SPAN(nn.Module):
    """SPAN in its training form: 48 channels in the paper, 52 in its larger version.

    Args:
        width: Channels of the body.
        scale: Output side over input side.
    """

    def __init__(self, width: int, scale: int = 4) -> None:
        super().__init__()
        self.head = Unfolded(3, width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(BLOCKS))
        self.fuse = Unfolded(width, width)
        self.merge = Merge(width, 4)
        self.upsample = Upsampling(nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        self._start_bilinear(scale)

    @torch.no_grad()
    def _start_bilinear(self, scale: int) -> None:
        """Carry the image past the blocks in the first three channels, and upsample nothing else yet.

        Measured on 200 steps at width 12: 19.6 dB, and 17.8 from a random start.
        """
        for layer in (self.head.project, self.head.skip, self.merge):
            layer.weight[:3] = 0
            nn.init.zeros_(layer.bias[:3])  # type: ignore[index]
        for colour in range(3):
            self.head.skip.weight[colour, colour] = 1
            self.merge.weight[colour, colour] = 1
        bilinear_subpixel(cast("nn.Conv2d", self.upsample[0]), scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        head = features = self.head((x - 0.5) * RANGE)
        outputs, firsts = [], []
        for block in self.blocks:
            features, first = block(features)
            outputs.append(features)
            firsts.append(first)
        merged = self.merge([head, self.fuse(outputs[-1]), outputs[0], firsts[-1]])
        restored: torch.Tensor = self.upsample(merged, 1 / RANGE, 0.5)
        return restored

    def fused(self) -> SPAN:
        """The same function with one convolution for each `Unfolded`: a copy, to run and to ship."""
        result = copy.deepcopy(self)
        for name, layer in self.named_modules():
            if isinstance(layer, Unfolded):
                result.set_submodule(name, layer.folded())
        return result

    def unfuse(self, fused: SPAN) -> None:
        """Take over what a fused network of the same width computes, to train on from there."""
        for name, layer in self.named_modules():
            if isinstance(layer, Unfolded):
                layer.unfold(cast("nn.Conv2d", fused.get_submodule(name)))
        self.merge.load_state_dict(fused.merge.state_dict())
        self.upsample.load_state_dict(fused.upsample.state_dict())


def load(name: str, width: int) -> TorchNetwork:
    """A trained SPAN for super-resolution by 4."""
    return TorchNetwork(
        load_weights(SPAN(width).fused(), name),
        SuperResolution(4),
        name,
        family="span-x4",
        width=width,
        receptive_field=43,
    )
