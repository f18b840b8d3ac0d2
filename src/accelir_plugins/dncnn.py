"""DnCNN (Zhang et al., IEEE TIP 2017, section III): a plain stack of convolutions that predicts the noise.

Batch normalisation is left out: at inference it folds into the convolutions. There are 12 layers, where the paper's
network for colour has 20.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn

from accelir.network import TorchNetwork
from accelir.tasks import Denoise
from accelir_plugins._weights import load_weights


class DnCNN(nn.Module):
    """Colour DnCNN.

    Args:
        width: Channels of the hidden layers.
        depth: Number of 3x3 convolutions, the first and the last counted.
    """

    def __init__(self, width: int, depth: int = 12) -> None:
        super().__init__()
        channels = [3] + [width] * (depth - 1) + [3]
        self.layers = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=1) for inputs, outputs in itertools.pairwise(channels)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = x - 0.5
        for layer in self.layers[:-1]:
            features = torch.relu(layer(features))
        return x - self.layers[-1](features)


def load(name: str, width: int, sigma: float | tuple[float, float] = 25) -> TorchNetwork:
    """A trained colour DnCNN for one noise level, or for all in a range ("blind")."""
    return TorchNetwork(
        load_weights(DnCNN(width), name),
        Denoise(sigma),
        name,
        family="dncnn-blind" if isinstance(sigma, tuple) else f"dncnn-s{sigma:g}",
        width=width,
        receptive_field=25,
    )
