"""CARN-M (Ahn et al., ECCV 2018, sections 3.2 and 3.3): cascading blocks of grouped convolutions that share weights.

Each block applies one efficient residual block three times over (recursion), and everything that came before is
concatenated and merged by 1x1 convolutions, inside the blocks and between them. The paper trains one network for three
scales; this one has the upsampling for its own scale only.
"""

from __future__ import annotations

import torch
from torch import nn

from accelir.network import TorchNetwork
from accelir.tasks import SuperResolution
from accelir_plugins._layers import Merge, Upsampling
from accelir_plugins._weights import load_weights

GROUPS = 4


class _EfficientResidual(nn.Module):
    """The paper's residual-E block: two grouped convolutions and a 1x1 convolution that mixes the groups."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, groups=GROUPS)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, groups=GROUPS)
        self.mix = nn.Conv2d(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        return torch.relu(x + self.mix(features))


class _Cascade(nn.Module):
    """Three stages; what went into the first and what came out of each are merged after each.

    Args:
        width: Channels.
        stages: Modules to apply in turn, three or one that is applied three times over.
    """

    def __init__(self, width: int, stages: nn.ModuleList) -> None:
        super().__init__()
        self.stages = stages
        self.merges = nn.ModuleList(Merge(width, parts) for parts in (2, 3, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features, cascade = x, [x]
        for number, merge in enumerate(self.merges):
            stage = self.stages[number % len(self.stages)]
            cascade.append(stage(features))
            features = torch.relu(merge(cascade))
        return features


class CARN(nn.Module):
    """CARN-M: 64 channels in the paper.

    Args:
        width: Channels of the body, a multiple of 4.
        scale: Output side over input side: 2 or 4 (one sub-pixel stage for each doubling).
    """

    def __init__(self, width: int, scale: int = 4) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, width, 3, padding=1)
        blocks = (_Cascade(width, nn.ModuleList([_EfficientResidual(width)])) for _ in range(3))
        self.body = _Cascade(width, nn.ModuleList(blocks))
        stages: list[nn.Module] = []
        for _ in range(scale.bit_length() - 1):
            stages += [nn.Conv2d(width, 4 * width, 3, padding=1, groups=GROUPS), nn.ReLU(), nn.PixelShuffle(2)]
        self.upsample = Upsampling(*stages)
        self.tail = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tail(self.upsample(self.body(self.head(x - 0.5)))) + 0.5


def load(name: str, width: int) -> TorchNetwork:
    """A trained CARN-M for super-resolution by 4."""
    return TorchNetwork(
        load_weights(CARN(width), name),
        SuperResolution(4),
        name,
        family="carn-x4",
        width=width,
        receptive_field=43,
    )
