"""Muon for the weights of layers, Adam for all else, as one optimiser.

Adam moves each number by itself. Muon (Jordan et al., 2024) takes the momentum of a whole weight matrix and makes all
its singular values about one, so that no direction of the matrix starves; at the scale of Liu et al., "Muon is scalable
for LLM training" (2025), one learning rate serves both. A convolution is the matrix of what goes in to what comes out.
`benchmarks/optimisers.py` measures what it is worth to restoring networks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import nn

from accelir.tensors import fast_dtype

__all__ = ["Optimiser", "orthogonalised"]

LEAST = 4
"""Rows and columns of a matrix that has directions to be balanced; depth-wise convolutions have one row."""

COLOURS = 3
"""A layer that reads or writes this many channels touches the pixels, and is left to Adam."""

MATRIX_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)

LARGE = 64
"""Rows and columns from which on products of matrices are faster in bfloat16, where the machine computes it fast."""

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic of Jordan et al., which takes singular values of 0.01 to 1 to about 0.7 to 1.2 in five steps."""


class Optimiser:
    """Adam for everything, but Muon for the inner weight matrices where it is asked for.

    Args:
        modules: Whose parameters are trained.
        matrices: Whether Muon takes the inner weight matrices.
    """

    def __init__(self, modules: Iterable[nn.Module], *, matrices: bool) -> None:
        inner: dict[nn.Parameter, int] = {}
        everything: dict[nn.Parameter, None] = {}
        for module in modules:
            everything |= dict.fromkeys(module.parameters())
            for layer in module.modules():
                if matrices and isinstance(layer, MATRIX_LAYERS) and _is_inner(layer):
                    inner[cast(nn.Parameter, layer.weight)] = int(getattr(layer, "groups", 1))
        outer = [parameter for parameter in everything if parameter not in inner]
        self.parameters = list(everything)
        self._parts: list[torch.optim.Optimizer] = []
        if outer:
            self._parts.append(torch.optim.Adam(outer, betas=(0.9, 0.99)))
        if inner:
            self._parts.append(_Muon(inner))

    def step(self, learning_rate: float) -> None:
        """Move all parameters along their gradients."""
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = learning_rate
            part.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for part in self._parts:
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """From a checkpoint."""
        for part, stored in zip(self._parts, state["parts"], strict=True):
            part.load_state_dict(stored)


class _Muon(torch.optim.Optimizer):
    """Momentum of 0.95 looking ahead, orthogonalised group by group of a convolution."""

    def __init__(self, weights: dict[nn.Parameter, int], momentum: float = 0.95) -> None:
        super().__init__(list(weights), {"lr": 0.0})
        self._groups, self._momentum = list(weights.values()), momentum

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Move the weights; layers of one shape go through the matrix products together."""
        alike: dict[tuple[int, ...], list[tuple[nn.Parameter, torch.Tensor]]] = {}
        for group in self.param_groups:
            for weight, groups in zip(group["params"], self._groups, strict=True):
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum"] = torch.zeros_like(weight)
                momentum: torch.Tensor = state["momentum"].lerp_(weight.grad, 1 - self._momentum)
                ahead = weight.grad.lerp(momentum, self._momentum)
                matrices = ahead.reshape(groups, weight.shape[0] // groups, -1)
                alike.setdefault(tuple(matrices.shape), []).append((weight, matrices))
            for (_, rows, columns), members in alike.items():
                directions = orthogonalised(torch.stack([matrices for _, matrices in members]))
                rate = group["lr"] * 0.2 * max(rows, columns) ** 0.5
                for (weight, _), direction in zip(members, directions, strict=True):
                    weight.sub_(direction.reshape(weight.shape), alpha=rate)


def orthogonalised(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Matrices with the same singular vectors and singular values of about one.

    Args:
        matrices: float32 (..., rows, columns).
        steps: Newton-Schulz steps.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    if min(x.shape[-2:]) >= LARGE and fast_dtype(x.device) is torch.bfloat16:
        x = x.bfloat16()
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return (x.mT if tall else x).float()


def _is_inner(layer: Any) -> bool:
    weight: torch.Tensor = layer.weight
    groups = int(getattr(layer, "groups", 1))
    rows, columns = weight.shape[0] // groups, weight[0].numel()
    touches_pixels = COLOURS in (weight.shape[0], weight.shape[1] * groups)
    return not touches_pixels and min(rows, columns) >= LEAST
