"""FSRCNN (Dong et al., ECCV 2016, section 3): small features at low resolution, then one transposed convolution.

The paper restores the Y channel; this one restores RGB, so that the first and the last layer have three times the
weights. It starts as the bilinear interpolation, carried by three channels of every layer, and all else as the paper
has it (on 1500 steps at width 16: 23.9 dB, and 21.1 where everything is random).
"""

from __future__ import annotations

import torch
from torch import nn

from accelir.network import TorchNetwork
from accelir.tasks import SuperResolution
from accelir_plugins._layers import Deconvolution, SlopedReLU, bilinear_deconvolution
from accelir_plugins._weights import load_weights


class _Conv(nn.Sequential):
    """A convolution and the paper's activation, a ReLU whose slope below zero is learned for each channel."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)
        activation = SlopedReLU(outputs)
        nn.init.kaiming_normal_(convolution.weight, a=0.25)
        nn.init.zeros_(convolution.bias)  # type: ignore[arg-type]
        super().__init__(convolution, activation)
        with torch.no_grad():
            convolution.weight[:3] = 0
            for colour in range(3):
                convolution.weight[colour, colour, kernel // 2, kernel // 2] = 1
            activation.weight[:3] = 1


class FSRCNN(nn.Module):
    """FSRCNN(d, s, m) with d = ``width`` and s = 12 / 56 of it, as in the paper's FSRCNN(56, 12, 4).

    Args:
        width: Channels of the features, the paper's d.
        scale: Output side over input side, 2 to 4.
        mappings: Convolutions between shrinking and expanding, the paper's m.
    """

    def __init__(self, width: int, scale: int = 4, mappings: int = 4) -> None:
        super().__init__()
        shrunk = 4 * round(3 * width / 56)
        self.extract = _Conv(3, width, 5)
        self.shrink = _Conv(width, shrunk, 1)
        self.map = nn.Sequential(*(_Conv(shrunk, shrunk, 3) for _ in range(mappings)))
        self.expand = _Conv(shrunk, width, 1)
        # Of the nine positions that an input pixel writes to, three lie before its first output pixel: its middle is at
        # (scale - 1) / 2, and nine around that is as symmetrical as nine can be.
        self.upsample = Deconvolution(width, 3, 9, scale, 3)
        nn.init.normal_(self.upsample.weight, std=1e-3)
        bilinear_deconvolution(self.upsample, scale)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.expand(self.map(self.shrink(self.extract(x - 0.5))))
        restored: torch.Tensor = self.upsample(features, 0.5)
        return restored


def load(name: str, width: int) -> TorchNetwork:
    """A trained FSRCNN for super-resolution by 4."""
    return TorchNetwork(
        load_weights(FSRCNN(width), name),
        SuperResolution(4),
        name,
        family="fsrcnn-x4",
        width=width,
        receptive_field=15,
    )
