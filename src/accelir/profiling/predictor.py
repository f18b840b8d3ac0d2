"""What tells a block's group and sensitivity from pixels alone: a light CNN, and the whole picture where it must."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from accelir.errors import InvalidInputError
from accelir.image import ImageArray, block_grid, in_colour
from accelir.profiling.context import Context, fit_context
from accelir.tensors import channels_last, fast_dtype

__all__ = ["Predictor", "PredictorNet", "train_predictor"]

CELL = 4
"""Side in pixels of what the first layers sum up."""

STEMS = ("patches", "pixels")
"""Ways in which the first layers look at a picture."""

STRIP_VALUES = 2**21
"""About how many values of the first layer are held at a time: they stay in the processor's cache."""


class PredictorNet(nn.Module):
    """Strided convolutions down to one output per block.

    Args:
        block: Side of a block in pixels: 4 times a power of two.
        coefficients: Outputs that describe the block's sensitivity.
        groups: Outputs that score its group.
        stem: Of the first layers. ``"patches"`` sum up squares of 4 pixels each by itself, 0.8k MAC per pixel in all.
            ``"pixels"`` look at each pixel with its neighbours, 2k MAC per pixel: profiles of earlier versions have it.
    """

    def __init__(self, block: int, coefficients: int, groups: int, *, stem: str = "patches") -> None:
        super().__init__()
        if block < 4 or block & (block - 1):
            raise InvalidInputError(f"The predictor looks at blocks of 4, 8, 16, ... pixels; got {block}.")
        if stem not in STEMS:
            raise InvalidInputError(f"A predictor starts with {' or '.join(STEMS)}; got {stem!r}.")
        self.block = block
        self.coefficients = coefficients
        self.stem = stem
        width = 48
        if stem == "patches":
            layers: list[nn.Module] = [nn.Conv2d(3, width, CELL, CELL), nn.ReLU(), nn.Conv2d(width, width, 1)]
        else:
            layers = [nn.Conv2d(3, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 32, CELL, CELL), nn.ReLU()]
            layers += [nn.Conv2d(32, width, 3, padding=1)]
        layers += [nn.ReLU()]
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
        """What `forward` says, in less time and memory: the finer layers see a few rows of blocks at a time.

        Args:
            pixels: uint8 (1, 3, rows * block, cols * block), 0..255; fastest where the channels lie last.

        Returns:
            Float (1, R, rows, cols) and (1, G, rows, cols), but for rounding those of `forward`.
        """
        first, *others = [layer for layer in self.features if isinstance(layer, nn.Conv2d)]
        values = first.out_channels * pixels.shape[3] * self.block // first.stride[0] ** 2
        rows = max(1, STRIP_VALUES // values) * self.block
        strips = self._patches if self.stem == "patches" else self._pixels
        features = torch.cat(list(strips(pixels, rows, _of_bytes(first), others[:-2])), dim=2)
        for layer in others[-2:]:
            features = layer(features).relu_()
        return self.sensitivity(features), self.group(features)

    def _patches(
        self, pixels: torch.Tensor, rows: int, first: nn.Conv2d, others: list[nn.Conv2d]
    ) -> Iterator[torch.Tensor]:
        """Features of the blocks, ``rows`` of pixels at a time: strips have nothing to do with each other."""
        dtype = _computed_in(first)
        for top in range(0, pixels.shape[2], rows):
            seen = pixels[:, :, top : top + rows].to(dtype)
            for layer in (first, *others):
                seen = layer(seen).relu_()
            yield seen

    def _pixels(
        self, pixels: torch.Tensor, rows: int, first: nn.Conv2d, others: list[nn.Conv2d]
    ) -> Iterator[torch.Tensor]:
        """The same where layers look beyond a strip."""
        to_cells, second, *to_blocks = others
        height, width = pixels.shape[2:]
        dtype = _computed_in(first)
        known = torch.empty((1, to_cells.out_channels, 0, width // CELL), dtype=dtype)
        done = 0
        for top in range(0, height, rows):
            bottom = min(top + rows, height)
            # One cell further down is seen, and one above, which the strip before has left.
            stop = min(bottom + CELL, height)
            if stop > done:
                fine = nn.functional.conv2d(_framed(pixels, done, stop, dtype), first.weight, first.bias).relu_()
                known = torch.cat([known, to_cells(fine).relu_()], dim=2)
                done = stop
            edges = (0, 0, int(top == 0), int(bottom == height))
            seen = nn.functional.pad(known, edges) if any(edges) else known
            seen = nn.functional.conv2d(seen, second.weight, second.bias, padding=(0, 1)).relu_()
            for layer in to_blocks:
                seen = layer(seen).relu_()
            yield seen
            known = known[:, :, -2:]


def _of_bytes(first: nn.Conv2d) -> nn.Conv2d:
    """The first layer for pixels as they are: it wants (x / 255 - 0.5), padded with zeros, which are 127.5 here."""
    layer = copy.deepcopy(first)
    with torch.no_grad():
        if layer.bias is not None:
            layer.bias -= 0.5 * first.weight.sum((1, 2, 3))
        layer.weight /= 255
    return layer


def _computed_in(layer: nn.Conv2d) -> torch.dtype:
    """The type that convolutions compute in."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else layer.weight.dtype


def _framed(pixels: torch.Tensor, start: int, stop: int, dtype: torch.dtype) -> torch.Tensor:
    """Rows of pixels as floats, with their neighbours on all sides: 127.5 outside the picture."""
    height, width = pixels.shape[2:]
    first, last = max(start - 1, 0), min(stop + 1, height)
    shape = (1, 3, stop - start + 2, width + 2)
    framed = torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)
    framed[:, :, :, 0 :: width + 1] = 127.5
    framed[:, :, : first - start + 1] = 127.5
    framed[:, :, last - start + 1 :] = 127.5
    framed[:, :, first - start + 1 : last - start + 1, 1:-1] = pixels[:, :, first:last]
    return framed


@dataclass
class Predictor:
    """A trained `PredictorNet`.

    Attributes:
        net: The network.
        context: What the whole picture adds to each block's coefficients; None where blocks tell enough.
    """

    net: PredictorNet
    context: Context | None = None

    def predict(self, image: ImageArray) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
        """Coefficients float32 (rows, cols, R) and groups int32 (rows, cols) of an image."""
        block = self.net.block
        rows, columns = block_grid(image, block)
        pads = ((0, rows * block - image.shape[0]), (0, columns * block - image.shape[1]), (0, 0))
        colour = in_colour(image)
        padded = np.pad(colour, pads, mode="edge") if any(pad != (0, 0) for pad in pads) else colour
        # torch takes no array that cannot be written to.
        pixels = torch.from_numpy(padded if padded.flags.writeable else padded.copy()).permute(2, 0, 1)[None]
        fast = fast_dtype(torch.device("cpu")) is torch.bfloat16
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=fast):
            sensitivity, scores = self.net.in_strips(pixels)
        coefficients = sensitivity[0].permute(1, 2, 0).float().contiguous().numpy()
        if self.context is not None:
            coefficients += self.context.of(image)
        return coefficients, scores[0].argmax(0).numpy().astype(np.int32)

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
    whole: bool = False,
    sources: Sequence[int] | None = None,
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
        whole: Whether a `Context` tells what it can first, and the CNN the rest.
        sources: Of each image the number of the photograph that it is a crop of; None where each is of its own.
        report: Called as ``report(step, steps)``.
    """
    context = None
    if whole and len(images) > 1:
        # By one that had not seen the photograph, since that is what will be left for the CNN.
        context, told = fit_context(images, coefficients, sources)
        coefficients = [own - part for own, part in zip(coefficients, told, strict=True)]
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
    # As its file stores it, so that what was fitted foretells what is loaded.
    channels_last(net.half().float())
    return Predictor(net.eval(), context)
