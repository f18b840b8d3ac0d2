"""MIMO-UNet (Cho et al., ICCV 2021, section 3): one U-Net that reads and writes three scales at once.

What differs from the authors' code: images are halved by averaging, where theirs take the nearest pixel; there are 2
residual blocks in a stage, where theirs have 8. The losses of the three scales are weighted by 1, 1/2 and 1/4, where
theirs count alike, and their loss on frequencies is missing. Sizes that are no multiples of 4 are padded by repeating
the edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from accelir.network import TorchNetwork
from accelir.tasks import Deblur
from accelir_plugins._layers import is_traced, joined
from accelir_plugins._weights import load_weights


class _Conv(nn.Sequential):
    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, relu: bool = True) -> None:
        super().__init__(nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2), *([nn.ReLU()] if relu else []))


class _ResidualBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(torch.relu(self.conv1(x)))


class _ShallowConvolution(nn.Module):
    """The paper's SCM: features of a downsampled input, as wide as the encoder is at that scale."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _Conv(3, width // 4, 3),
            _Conv(width // 4, width // 2, 1),
            _Conv(width // 2, width // 2, 3),
            _Conv(width // 2, width - 3, 1),
        )
        self.fuse = nn.Conv2d(width, width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return joined(self.fuse, [x, self.features(x)])


class _FeatureAttention(nn.Module):
    """The paper's FAM: the encoder's features, stressed where the downsampled input agrees."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.merge = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, features: torch.Tensor, shallow: torch.Tensor) -> torch.Tensor:
        return features + self.merge(features * shallow)


class _AsymmetricFusion(nn.Sequential):
    """The paper's AFF: all three scales, resized to one, merged.

    Args:
        width: Channels of the body.
        scale: To which they are resized, 0 for full resolution and 1 for half of it.
    """

    def __init__(self, width: int, scale: int) -> None:
        outputs = width * 2**scale
        super().__init__(_Conv(7 * width, outputs, 1), nn.Conv2d(outputs, outputs, 3, padding=1))
        self.scale = scale

    def forward(self, scales: Sequence[torch.Tensor]) -> torch.Tensor:
        if is_traced(scales[0]):
            resized = [_resize(features, 2.0 ** (at - self.scale)) for at, features in enumerate(scales)]
            whole: torch.Tensor = super().forward(torch.cat(resized, dim=1))  # type: ignore[no-untyped-call]
            return whole
        first, last = self
        assert isinstance(first, _Conv)
        merge, activation = first
        assert isinstance(merge, nn.Conv2d)
        weights = torch.split(merge.weight, [features.shape[1] for features in scales], dim=1)
        # The same sums: a 1x1 convolution of what the nearest pixels enlarge is what they make of one that is less.
        parts = [
            functional.conv2d(features, weight, None if at else merge.bias, stride=2 ** max(self.scale - at, 0))
            for at, (features, weight) in enumerate(zip(scales, weights, strict=True))
        ]
        total = parts[-1]
        for part in parts[-2::-1]:
            total = part + (total if total.shape == part.shape else _resize(total, 2))
        fused: torch.Tensor = last(activation(total))
        return fused


def _resize(x: torch.Tensor, factor: float) -> torch.Tensor:
    return functional.interpolate(x, scale_factor=factor, mode="nearest")


def _halve(image: torch.Tensor) -> torch.Tensor:
    return functional.avg_pool2d(image, 2)


class MIMOUNet(nn.Module):
    """MIMO-UNet with the same number of residual blocks at every scale.

    Args:
        width: Channels of the body at full resolution; 2 and 4 times that at the lower two scales.
        blocks: Residual blocks in each of the three encoder and three decoder stages (8 in the paper, 2 here).

    Attributes:
        coarsest: Name of the submodule at the lowest resolution: training against blur asks it for the kernel.
    """

    coarsest: ClassVar[str] = "encode4"

    def __init__(self, width: int, blocks: int = 2) -> None:
        super().__init__()
        w1, w2, w4 = width, 2 * width, 4 * width
        self.head = _Conv(3, w1)
        self.down1 = _Conv(w1, w2, 3, stride=2)
        self.down2 = _Conv(w2, w4, 3, stride=2)
        self.shallow2, self.attention2 = _ShallowConvolution(w2), _FeatureAttention(w2)
        self.shallow4, self.attention4 = _ShallowConvolution(w4), _FeatureAttention(w4)
        self.encode1, self.encode2, self.encode4 = (
            nn.Sequential(*(_ResidualBlock(w) for _ in range(blocks))) for w in (w1, w2, w4)
        )
        self.decode1, self.decode2, self.decode4 = (
            nn.Sequential(*(_ResidualBlock(w) for _ in range(blocks))) for w in (w1, w2, w4)
        )
        self.fusion1, self.fusion2 = _AsymmetricFusion(width, 0), _AsymmetricFusion(width, 1)
        self.up4 = nn.Sequential(nn.ConvTranspose2d(w4, w2, 4, stride=2, padding=1), nn.ReLU())
        self.up2 = nn.Sequential(nn.ConvTranspose2d(w2, w1, 4, stride=2, padding=1), nn.ReLU())
        self.merge2, self.merge1 = _Conv(2 * w2, w2, 1), _Conv(2 * w1, w1, 1)
        self.tail4 = nn.Conv2d(w4, 3, 3, padding=1)
        self.tail2 = nn.Conv2d(w2, 3, 3, padding=1)
        self.tail1 = nn.Conv2d(w1, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        (padded, _, _), (decoded, _, _) = self._decode(x)
        return self._full(decoded, padded, x)

    def pyramid(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The restored image at full, half and quarter resolution (training looks at all three)."""
        (padded, half, quarter), (decoded1, decoded2, decoded4) = self._decode(x)
        return (
            self._full(decoded1, padded, x),
            self.tail2(decoded2) + half + 0.5,
            self.tail4(decoded4) + quarter + 0.5,
        )

    def _full(self, decoded: torch.Tensor, padded: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        restored: torch.Tensor = self.tail1(decoded) + padded
        return restored[..., :height, :width] + 0.5

    def _decode(self, x: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
        """The inputs, and what the decoder makes of them, at the three resolutions."""
        height, width = x.shape[-2:]
        padded = functional.pad(x, (0, -width % 4, 0, -height % 4), mode="replicate") - 0.5
        half = _halve(padded)
        quarter = _halve(half)

        encoded1 = self.encode1(self.head(padded))
        encoded2 = self.encode2(self.attention2(self.down1(encoded1), self.shallow2(half)))
        encoded4 = self.encode4(self.attention4(self.down2(encoded2), self.shallow4(quarter)))

        scales = encoded1, encoded2, encoded4
        fused1, fused2 = self.fusion1(scales), self.fusion2(scales)

        decoded4 = self.decode4(encoded4)
        decoded2 = self.decode2(self.merge2(torch.cat([self.up4(decoded4), fused2], dim=1)))
        decoded1 = self.decode1(self.merge1(torch.cat([self.up2(decoded2), fused1], dim=1)))
        return (padded, half, quarter), (decoded1, decoded2, decoded4)


def load(name: str, width: int) -> TorchNetwork:
    """A trained MIMO-UNet for camera shake."""
    return TorchNetwork(
        load_weights(MIMOUNet(width), name),
        Deblur(),
        name,
        family="mimounet-deblur",
        width=width,
        receptive_field=147,
        multiple=4,
    )
