"""Modules that several tests make networks of."""

from __future__ import annotations

import torch
from torch import nn


class Halving(nn.Module):
    """Takes even sizes only."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up = nn.Conv2d(3, 8, 3, 2, 1), nn.ConvTranspose2d(8, 3, 2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.up(self.down(x))
