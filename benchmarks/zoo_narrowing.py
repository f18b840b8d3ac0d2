"""A narrow NAFNet starts from a wide one: the channels are kept that its loss leans on.

A network against blur that starts from nothing stays at the identity for thousands of steps; a narrowed one is below it
at first, and above it after a few hundred. Channels that are added to one another, as those of a skip, are kept or
dropped together: they are one *space*. How much a channel matters is what the loss would change by, to first order, if
the weights that it is in were zero (Molchanov et al., CVPR 2019, equation 8, over groups).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import nn

from accelir_plugins.nafnet import NAFNet

__all__ = ["narrow_nafnet"]

PHASES = 4
"""Outputs of a convolution before a pixel shuffle by 2 that become one channel."""


class _Dimension(NamedTuple):
    """What a dimension of a weight holds: each channel of a space once, in both "halves" for a gate, or in "phases"."""

    space: str
    form: str = "plain"

    @property
    def times(self) -> int:
        """How often it holds each channel."""
        return {"plain": 1, "halves": 2, "phases": PHASES}[self.form]

    def gathered(self, each: torch.Tensor) -> torch.Tensor:
        """Sums over what belongs to a channel."""
        if self.form == "halves":
            return each.reshape(2, -1).sum(0)
        return each.reshape(-1, self.times).sum(1)

    def places(self, channels: torch.Tensor, count: int) -> torch.Tensor:
        """Where channels of a space of ``count`` stand."""
        if self.form == "halves":
            return torch.cat([channels, channels + count])
        return (self.times * channels[:, None] + torch.arange(self.times)).flatten()


def narrow_nafnet(wide: nn.Module, narrow: nn.Module, losses: Iterable[torch.Tensor]) -> nn.Module:
    """Fill a narrow NAFNet with the channels of a wide one that matter most.

    Args:
        wide: Trained.
        narrow: Of the same depth; changed in place.
        losses: Of the wide one, each of other inputs, not differentiated yet.

    Returns:
        ``narrow``.
    """
    assert isinstance(wide, NAFNet)
    dimensions, weights = _dimensions(wide), dict(wide.named_parameters())
    matters: dict[str, torch.Tensor] = defaultdict(lambda: torch.zeros(()))
    for loss in losses:
        gradients = torch.autograd.grad(loss, list(weights.values()))
        for (name, weight), gradient in zip(weights.items(), gradients, strict=True):
            change = (weight * gradient).detach()
            for axis, dimension in enumerate(dimensions[name]):
                if dimension is not None:
                    each = change.movedim(axis, 0).reshape(change.shape[axis], -1).sum(1)
                    matters[dimension.space] = matters[dimension.space] + dimension.gathered(each) ** 2
    with torch.no_grad():
        for name, target in narrow.named_parameters():
            kept: torch.Tensor = weights[name]
            for axis, dimension in enumerate(dimensions[name]):
                if dimension is not None:
                    scores = matters[dimension.space]
                    best = scores.topk(target.shape[axis] // dimension.times).indices.sort().values
                    kept = kept.index_select(axis, dimension.places(best, len(scores)))
            target.copy_(kept)
    return narrow


def _dimensions(network: NAFNet) -> dict[str, tuple[_Dimension | None, ...]]:
    """Of each parameter: what its first dimensions hold; None for colours and the like, which stay."""
    found: dict[str, tuple[_Dimension | None, ...]] = {}

    def layer(name: str, writes: _Dimension | None, reads: _Dimension | None) -> None:
        found[f"{name}.weight"], found[f"{name}.bias"] = (writes, reads), (writes,)

    levels = [_Dimension(f"level {number}") for number in range(len(network.downs) + 1)]
    layer("head", levels[0], None)
    layer("tail", None, levels[0])
    stages = {"middle": levels[-1]}
    for number, (above, below) in enumerate(pairwise(levels)):
        up = len(network.ups) - 1 - number
        layer(f"downs.{number}", below, above)
        layer(f"ups.{up}.0", _Dimension(above.space, "phases"), below)
        stages |= {f"encoders.{number}": above, f"decoders.{up}": above}
    for stage, trunk in stages.items():
        for number, _ in enumerate(network.get_submodule(stage).children()):
            block = f"{stage}.{number}"
            first, second = _Dimension(f"{block}, first gate"), _Dimension(f"{block}, second gate")
            layer(f"{block}.conv1", _Dimension(first.space, "halves"), trunk)
            layer(f"{block}.conv2", _Dimension(first.space, "halves"), None)
            layer(f"{block}.attention", first, first)
            layer(f"{block}.conv3", trunk, first)
            layer(f"{block}.conv4", _Dimension(second.space, "halves"), trunk)
            layer(f"{block}.conv5", trunk, second)
            for name in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "beta", "gamma"):
                found[f"{block}.{name}"] = (trunk,)
    return found
