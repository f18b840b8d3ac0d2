"""SwinIR, the lightweight one (Liang et al., ICCV Workshops 2021, section 3): attention in windows that shift by half.

Four residual groups of six transformer blocks each, six heads, as published; 60 channels in the paper. Sizes that are
no multiples of the window are padded by repeating the edge, where the authors' code reflects.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from accelir.network import TorchNetwork
from accelir.tasks import SuperResolution
from accelir_plugins._layers import Upsampling, as_typed
from accelir_plugins._weights import load_weights

WINDOW = 8
HEADS = 6
GROUPS = 4
BLOCKS = 6

AT_ONCE = 1024
"""Windows whose attention is computed together: bounds the memory that a large image takes."""


class WindowAttention(nn.Module):
    """Attention among the pixels of a window, with a learned bias for each offset between two of them."""

    offsets: torch.Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        span = 2 * WINDOW - 1
        self.bias = nn.Parameter(nn.init.trunc_normal_(torch.empty(span**2, HEADS), std=0.02))
        y, x = (part.flatten() for part in torch.meshgrid(2 * [torch.arange(WINDOW)], indexing="ij"))
        rows = y[:, None] - y[None] + WINDOW - 1
        columns = x[:, None] - x[None] + WINDOW - 1
        self.register_buffer("offsets", rows * span + columns, persistent=False)

    def forward(self, windows: torch.Tensor, regions: torch.Tensor | None) -> torch.Tensor:
        """Attend.

        Args:
            windows: float (N, W, 64, width): of N images, W windows.
            regions: int64 (W, 64): pixels attend to those of their own region; None where each window is one.
        """
        batch, count, pixels, width = windows.shape
        qkv = self.qkv(windows).reshape(batch, count, pixels, 3, HEADS, width // HEADS)
        query, key, value = qkv.permute(3, 0, 1, 4, 2, 5).unbind(0)
        scores = (query * (width // HEADS) ** -0.5) @ key.transpose(-2, -1)
        bias = self.bias[self.offsets].permute(2, 0, 1).to(scores.dtype)
        if regions is not None:
            apart = regions[:, None, :, None] != regions[:, None, None, :]
            bias = bias.masked_fill(apart, float("-inf"))
        # Autocast would have the largest tensors of all in float32.
        with as_typed(scores):
            mixed = (scores + bias).softmax(dim=-1) @ value
        return self.project(mixed.transpose(2, 3).reshape(windows.shape))


class _Block(nn.Module):
    def __init__(self, width: int, shift: int) -> None:
        super().__init__()
        self.shift = shift
        self.norm1, self.attention = nn.LayerNorm(width), WindowAttention(width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Float (N, H, W, width), H and W multiples of the window."""
        height, columns = x.shape[1:3]
        normalised = self.norm1(x)
        regions = None
        if self.shift:
            normalised = normalised.roll((-self.shift, -self.shift), dims=(1, 2))
            # What was rolled from one side of the image to the other has no part in what it lies next to now.
            wrapped = [torch.arange(side, device=x.device) >= side - self.shift for side in (height, columns)]
            regions = _split((2 * wrapped[0][:, None] + wrapped[1][None].long())[None, :, :, None])[0, :, :, 0]
        windows = _split(normalised)
        parts = [
            self.attention(
                windows[:, start : start + AT_ONCE], None if regions is None else regions[start : start + AT_ONCE]
            )
            for start in range(0, windows.shape[1], AT_ONCE)
        ]
        attended = _join(torch.cat(parts, dim=1), height, columns)
        if self.shift:
            attended = attended.roll((self.shift, self.shift), dims=(1, 2))
        x = x + attended
        return x + self.mlp(self.norm2(x))


def _split(x: torch.Tensor) -> torch.Tensor:
    """(N, H, W, C) to windows (N, H * W / 64, 64, C)."""
    batch, height, columns, width = x.shape
    x = x.reshape(batch, height // WINDOW, WINDOW, columns // WINDOW, WINDOW, width)
    return x.transpose(2, 3).reshape(batch, -1, WINDOW**2, width)


def _join(windows: torch.Tensor, height: int, columns: int) -> torch.Tensor:
    """Back."""
    batch, _, _, width = windows.shape
    x = windows.reshape(batch, height // WINDOW, columns // WINDOW, WINDOW, WINDOW, width)
    return x.transpose(2, 3).reshape(batch, height, columns, width)


class _Group(nn.Module):
    """The paper's RSTB: transformer blocks, every other one with shifted windows, then a convolution, and a skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(_Block(width, WINDOW // 2 * (number % 2)) for number in range(BLOCKS)))
        self.conv = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        features = self.conv(self.blocks(x).permute(0, 3, 1, 2))
        return x + features.permute(0, 2, 3, 1)


class SwinIR(nn.Module):
    """Lightweight SwinIR.

    Args:
        width: Channels of the body, a multiple of 6.
        scale: Output side over input side.
    """

    def __init__(self, width: int, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.embed = nn.LayerNorm(width)
        self.groups = nn.Sequential(*(_Group(width) for _ in range(GROUPS)))
        self.norm = nn.LayerNorm(width)
        self.fuse = nn.Conv2d(width, width, 3, padding=1)
        self.upsample = Upsampling(nn.Conv2d(width, 3 * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        padded = functional.pad(x, (0, -width % WINDOW, 0, -height % WINDOW), mode="replicate") - 0.5
        shallow = self.head(padded)
        deep = self.norm(self.groups(self.embed(shallow.permute(0, 2, 3, 1))))
        features = shallow + self.fuse(deep.permute(0, 3, 1, 2))
        restored: torch.Tensor = self.upsample(features) + 0.5
        return restored[..., : height * self.scale, : width * self.scale]


def load(name: str, width: int) -> TorchNetwork:
    """A trained lightweight SwinIR for super-resolution by 4."""
    return TorchNetwork(
        load_weights(SwinIR(width), name),
        SuperResolution(4),
        name,
        family="swinir-x4",
        width=width,
        receptive_field=207,
        multiple=WINDOW,
    )
