"""Restormer (Zamir et al., CVPR 2022, section 3): a U-Net of transformer blocks whose attention is across channels.

Depth is about a third of the paper's: 1, 2, 2 and 3 blocks on the four scales and one refinement block, where the paper
has 4, 6, 6, 8 and 4. Normalisation is without bias, as the paper has it for Gaussian noise. Sizes that are no multiples
of a cell are padded by repeating the edge, where the authors' code reflects.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from accelir.errors import InvalidInputError
from accelir.network import TorchNetwork
from accelir.tasks import Denoise
from accelir_plugins._layers import as_typed, half_of
from accelir_plugins._weights import load_weights

EXPANSION = 2.66
HEADS = (1, 2, 4, 8)

CELL = 32
"""Cells of this side suit the shipped networks: crops of up to two cells a side, as they were trained on, are likened
as a whole, as in the paper. An image likened as a whole is not what they know: they restore it worse (Chu et al., ECCV
2022, mend that in the same way)."""


class _LayerNorm(nn.Module):
    """Over channels, without bias and without taking the mean off."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = x.float()
        # torch.var is several times slower on a CPU.
        variance = (features - features.mean(dim=1, keepdim=True)).square().mean(dim=1, keepdim=True)
        return x * (torch.rsqrt(variance + 1e-5) * self.weight)


class _Conv(nn.Sequential):
    """A 1x1 convolution, and a 3x3 one of each channel by itself."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, 1, bias=False),
            nn.Conv2d(outputs, outputs, 3, padding=1, groups=outputs, bias=False),
        )

    def one_half(self, x: torch.Tensor, which: int) -> torch.Tensor:
        """The first or the second half of the channels that it makes."""
        for layer in self:
            assert isinstance(layer, nn.Conv2d)
            x = half_of(layer, x, which)
        return x


class _ChannelAttention(nn.Module):
    """The paper's MDTA: each channel attends to the channels of its head, by their likeness over the pixels around.

    Args:
        width: Channels.
        heads: Among which they are shared.
        cell: Side in pixels of the cells in which the likeness is summed up; sides of inputs are multiples of it.
    """

    def __init__(self, width: int, heads: int, cell: int) -> None:
        super().__init__()
        self.heads, self.cell = heads, cell
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = _Conv(width, 3 * width)
        self.project = nn.Conv2d(width, width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, width, height, columns = x.shape
        side, rows, across = self.cell, height // self.cell, columns // self.cell
        # With channels last this moves nothing.
        parts = self.qkv(x).permute(0, 2, 3, 1)
        cells = parts.reshape(batch, rows, side, across, side, 3, self.heads, width // self.heads)
        query, key, value = cells.permute(5, 0, 1, 3, 6, 2, 4, 7).flatten(5, 6)
        with as_typed(x):
            mixed = value @ self._weights(query.float(), key.float()).to(value.dtype).transpose(-2, -1)
        placed = mixed.unflatten(4, (side, side)).permute(0, 1, 4, 2, 5, 3, 6)
        return self.project(placed.reshape(batch, height, columns, width).permute(0, 3, 1, 2))

    def _weights(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """How much each channel of a cell takes of each: the lengths are taken out of the products, which are few."""
        products = _with_neighbours(query.transpose(-2, -1) @ key)
        squares = [_with_neighbours(part.square().sum(dim=-2)) for part in (query, key)]
        lengths = [square.clamp_min(1e-24).sqrt() for square in squares]
        cosines = products / (lengths[0].unsqueeze(-1) * lengths[1].unsqueeze(-2))
        return (cosines * self.temperature).softmax(dim=-1)


def _with_neighbours(sums: torch.Tensor) -> torch.Tensor:
    """Sums of cells (N, rows, columns, ...), and of those around them, all by 9, which no cosine notices."""
    flat = sums.flatten(3).permute(0, 3, 1, 2)
    return functional.avg_pool2d(flat, 3, stride=1, padding=1).permute(0, 2, 3, 1).reshape(sums.shape)


class _GatedForward(nn.Module):
    """The paper's GDFN: one half of the features gates the other."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = int(width * EXPANSION)
        self.expand = _Conv(width, 2 * hidden)
        self.project = nn.Conv2d(hidden, width, 1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gate, features = self.expand.one_half(x, 0), self.expand.one_half(x, 1)
        return self.project(functional.gelu(gate) * features)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, cell: int) -> None:
        super().__init__()
        self.norm1, self.attention = _LayerNorm(width), _ChannelAttention(width, heads, cell)
        self.norm2, self.forward_features = _LayerNorm(width), _GatedForward(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.forward_features(self.norm2(x))


def _stage(width: int, scale: int, blocks: int, cell: int) -> nn.Sequential:
    return nn.Sequential(*(_Block(width, HEADS[scale], cell // 2**scale) for _ in range(blocks)))


class Restormer(nn.Module):
    """Restormer: 48 channels in the paper.

    Where the convolutions compute in bfloat16, the first of them and what goes from block to block stay in float32:
    that costs hardly any time, and rounding there would cost most of what bfloat16 costs in quality.

    Args:
        width: Channels of the body at full resolution; 2, 4 and 8 times that below.
        blocks: Transformer blocks on each of the four scales, from full resolution down.
        refinement: Blocks after the decoder.
        cell: Side in pixels of the image of the cells in whose neighbourhoods, 3x3 cells each, channels are likened; a
            multiple of 8.
    """

    def __init__(
        self, width: int, blocks: tuple[int, int, int, int] = (1, 2, 2, 3), refinement: int = 1, cell: int = CELL
    ) -> None:
        super().__init__()
        if cell < 8 or cell % 8:
            raise InvalidInputError(f"The cells of a Restormer have a side that is a multiple of 8; got {cell}.")
        self.cell = cell
        widths = [width * 2**scale for scale in range(4)]
        self.embed = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.encoders = nn.ModuleList(_stage(widths[scale], scale, blocks[scale], cell) for scale in range(3))
        self.downs = nn.ModuleList(
            nn.Sequential(nn.Conv2d(w, w // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2)) for w in widths[:3]
        )
        self.latent = _stage(widths[3], 3, blocks[3], cell)
        self.ups = nn.ModuleList(
            nn.Sequential(nn.Conv2d(w, 2 * w, 3, padding=1, bias=False), nn.PixelShuffle(2)) for w in widths[:0:-1]
        )
        # At full resolution the decoder keeps the channels of both, as in the paper.
        self.reduces = nn.ModuleList(
            [nn.Conv2d(2 * w, w, 1, bias=False) for w in (widths[2], widths[1])] + [nn.Identity()]
        )
        self.decoders = nn.ModuleList(
            _stage(w, scale, blocks[scale], cell) for w, scale in ((widths[2], 2), (widths[1], 1), (2 * width, 0))
        )
        self.refine = _stage(2 * width, 0, refinement, cell)
        self.tail = nn.Conv2d(2 * width, 3, 3, padding=1, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        padded = functional.pad(x, (0, -width % self.cell, 0, -height % self.cell), mode="replicate")
        with as_typed(padded):
            features = self.embed(padded)
        skips = []
        for encoder, down in zip(self.encoders, self.downs, strict=True):
            features = encoder(features)
            skips.append(features)
            features = down(features).float()
        features = self.latent(features)
        for up, skip, reduce, decoder in zip(self.ups, skips[::-1], self.reduces, self.decoders, strict=True):
            features = decoder(reduce(torch.cat([up(features), skip], dim=1)).float())
        restored: torch.Tensor = self.tail(self.refine(features)) + padded
        return restored[..., :height, :width]


def load(name: str, width: int, sigma: float = 25) -> TorchNetwork:
    """A trained Restormer for one noise level."""
    return TorchNetwork(
        load_weights(Restormer(width), name),
        Denoise(sigma),
        name,
        family=f"restormer-s{sigma:g}",
        width=width,
        multiple=CELL,
        # Profiles of the same weights that were made where whole images are likened fit no longer.
        revision=f"cells of {CELL}",
    )
