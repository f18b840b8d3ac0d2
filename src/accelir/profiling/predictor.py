"""The light CNN that tells a block's group and sensitivity from pixels alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from accelir.errors import InvalidInputError
from accelir.image import ImageArray, block_grid
from accelir.network import channels_last, fast_dtype

__all__ = ["Predictor", "PredictorNet", "train_predictor"]

BAND = 512
"""Rows of pixels that are predicted at a time: memory stays bounded."""

STRIP_VALUES = 2**20
"""About how many values of the first layer are held at a time: they stay in the processor's cache."""


class PredictorNet(nn.Module):
    """Four to five strided convolutions down to one output per block: about 2.5k MAC per pixel.

    Args:
        block: Side of a block in pixels: 4 times a power of two.
        coefficients: Outputs that describe the block's sensitivity.
        groups: Outputs that score its group.
    """

    def __init__(self, block: int, coefficients: int, groups: int) -> None:
        super().__init__()
        if block < 4 or block & (block - 1):
            raise InvalidInputError(f"The predictor looks at blocks of 4, 8, 16, ... pixels; got {block}.")
        self.block = block
        self.coefficients = coefficients
        layers: list[nn.Module] = [nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 32, 4, 4), nn.ReLU()]
        layers += [nn.Conv2d(32, 48, 3, padding=1), nn.ReLU()]
        width = 48
        for _ in range(int(math.log2(block // 4))):
            layers += [nn.Conv2d(width, 64, 2, 2), nn.ReLU()]
            width = 64
        layers += [nn.Conv2d(width, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.sensitivity = nn.Conv2d(64, coefficients, 1)
        self.group = nn.Conv2d(64, groups, 1)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Float (N, 3, rows * block, cols * block), 0..1, to (N, R, rows, cols) and (N, G, rows, cols)."""
        features = self.features(x - 0.5)
        return self.sensitivity(features), self.group(features)

    def in_strips(self, pixels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The same as `forward`, in less time and memory: the layers of full resolution see a few rows at a time.

        Args:
            pixels: uint8 (1, 3, rows * block, cols * block).
        """
        first, reduce = self.features[0], self.features[2]
        assert isinstance(first, nn.Conv2d) and isinstance(reduce, nn.Conv2d)
        height, width = pixels.shape[2:]
        side = reduce.stride[0]
        rows = max(1, STRIP_VALUES // (first.out_channels * width * side)) * side
        strips = []
        for start in range(0, height, rows):
            # One more row on each side, which at the edges of the picture is the padding's.
            above, below = min(start, 1), min(height - start - min(rows, height - start), 1)
            strip = pixels[:, :, start - above : start + rows + below].float().div_(255).sub_(0.5)
            padded = nn.functional.pad(strip, (1, 1, 1 - above, 1 - below))
            fine = nn.functional.conv2d(padded, first.weight, first.bias).relu_()
            strips.append(reduce(fine).relu_())
        features = self.features[4:](torch.cat(strips, dim=2))
        return self.sensitivity(features), self.group(features)


@dataclass
class Predictor:
    """A trained `PredictorNet`.

    Attributes:
        net: The network.
    """

    net: PredictorNet

    def predict(self, image: ImageArray) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """Coefficients float32 (rows, cols, R) and groups int32 (rows, cols) of an image."""
        block = self.net.block
        rows, columns = block_grid(image, block)
        pads = ((0, rows * block - image.shape[0]), (0, columns * block - image.shape[1]), (0, 0))
        colour = image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)
        padded = np.pad(colour, pads, mode="edge") if any(pad != (0, 0) for pad in pads) else colour
        coefficients, groups = [], []
        band = max(1, BAND // block)
        with torch.inference_mode(), torch.autocast("cpu", enabled=False):
            for start in range(0, rows, band):
                # Three blocks of context cover the network's receptive field.
                first, last = max(start - 3, 0), min(start + band + 3, rows)
                part = np.array(padded[first * block : last * block])
                sensitivity, scores = self.net.in_strips(torch.from_numpy(part).permute(2, 0, 1)[None])
                inside = slice(start - first, start - first + min(band, rows - start))
                coefficients.append(sensitivity[0, :, inside].permute(1, 2, 0).numpy())
                groups.append(scores[0, :, inside].argmax(0).numpy().astype(np.int32))
        return np.concatenate(coefficients), np.concatenate(groups)

    @property
    def macs_per_pixel(self) -> float:
        """Multiply-accumulates per pixel of the image."""
        from torch.utils.flop_counter import FlopCounterMode

        side = 8 * self.net.block
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            self.net(torch.zeros(1, 3, side, side))
        return float(counter.get_total_flops()) / 2 / side**2


def train_predictor(
    images: Sequence[ImageArray],
    coefficients: Sequence[npt.NDArray[np.float32]],
    groups: Sequence[npt.NDArray[np.int32]],
    group_count: int,
    block: int,
    *,
    steps: int = 1500,
    seed: int = 0,
    report: Callable[[int, int], None] | None = None,
) -> Predictor:
    """Fit the CNN to measured coefficients and groups.

    Args:
        images: uint8 (H, W, 3) each, one size, whole blocks.
        coefficients: float32 (rows, cols, R) for each image.
        groups: int32 (rows, cols) for each image.
        group_count: G.
        block: Side of a block in pixels.
        steps: Optimiser steps.
        seed: Of initialisation and batches; the state of torch's own generator is left as it was.
        report: Called as ``report(step, steps)``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = PredictorNet(block, coefficients[0].shape[-1], group_count).float()
    channels_last(net)
    fast = fast_dtype(torch.device("cpu")) is torch.bfloat16
    inputs = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)
    wanted = torch.from_numpy(np.stack(coefficients)).permute(0, 3, 1, 2)
    labels = torch.from_numpy(np.stack(groups)).long()
    with torch.no_grad():
        net.sensitivity.bias.data[:] = wanted.mean(dim=(0, 2, 3))  # type: ignore[union-attr]
    optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(seed)
    rows, columns = labels.shape[1:]
    window = min(8, rows, columns)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = 2e-3 * 0.5 * (1 + math.cos(math.pi * step / steps)) + 1e-5
        picks = torch.randint(len(inputs), (16,), generator=generator)
        tops = torch.randint(rows - window + 1, (16,), generator=generator)
        lefts = torch.randint(columns - window + 1, (16,), generator=generator)
        spots = list(zip(picks.tolist(), tops.tolist(), lefts.tolist(), strict=True))
        batch = torch.stack(
            [inputs[i, :, y * block : (y + window) * block, x * block : (x + window) * block] for i, y, x in spots]
        )
        target = torch.stack([wanted[i, :, y : y + window, x : x + window] for i, y, x in spots])
        label = torch.stack([labels[i, y : y + window, x : x + window] for i, y, x in spots])
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            predicted, scores = net(batch.float().div(255).to(memory_format=torch.channels_last))
        predicted, scores = predicted.float(), scores.float()
        loss = ((predicted - target) ** 2).mean() + 0.1 * nn.functional.cross_entropy(scores, label)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        if report is not None and (step + 1) % 50 == 0:
            report(step + 1, steps)
    return Predictor(net.eval())
