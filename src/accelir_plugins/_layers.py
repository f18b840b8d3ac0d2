"""What several of the networks share: layers that a CPU is fast at, merging, bilinear interpolation to start from."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

__all__ = [
    "Deconvolution",
    "Merge",
    "SlopedReLU",
    "Upsampling",
    "as_typed",
    "bilinear_deconvolution",
    "bilinear_subpixel",
    "half_of",
    "is_traced",
    "joined",
    "scaled",
]


def as_typed(x: torch.Tensor) -> AbstractContextManager[object]:
    """Compute in the types that tensors have, also where autocast would have it otherwise, on the device of ``x``."""
    known = torch.amp.is_autocast_available(x.device.type)
    return torch.autocast(x.device.type, enabled=False) if known else nullcontext()


def is_traced(x: torch.Tensor) -> bool:
    """Whether work is counted, exported or traced: layers are then as the papers have them."""
    return isinstance(x, FakeTensor | torch.fx.Proxy)


def half_of(layer: nn.Conv2d, x: torch.Tensor, which: int) -> torch.Tensor:
    """One half of what a convolution makes, 0 or 1: compact, where a half of the whole's channels is in slices.

    The layer is not called, and its hooks do not run.

    Args:
        layer: Of all channels, or of each by itself, as many groups as inputs and outputs.
        x: Its input; of a layer of each channel by itself, only that half of it.
        which: The first half of the outputs or the second.
    """
    outputs = layer.out_channels // 2
    part = slice(which * outputs, (which + 1) * outputs)
    bias = None if layer.bias is None else layer.bias[part]
    groups = 1 if layer.groups == 1 else outputs
    return nn.functional.conv2d(x, layer.weight[part], bias, layer.stride, layer.padding, layer.dilation, groups)


def scaled(layer: nn.Conv2d, x: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """What a convolution makes, times a factor for each channel (C, 1, 1), which its weights take: they are few.

    The layer is not called, and its hooks do not run.
    """
    bias = None if layer.bias is None else layer.bias * factors.flatten()
    weight = layer.weight * factors[..., None]
    return nn.functional.conv2d(x, weight, bias, layer.stride, layer.padding, layer.dilation, layer.groups)


def joined(layer: nn.Conv2d, parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """What a 1x1 convolution makes of several inputs joined: the sum of what its weights make of each.

    torch takes several times as long to join inputs of different widths, where channels are last, as to convolve them.
    The layer is not called, and its hooks do not run.
    """
    if is_traced(parts[0]):
        whole: torch.Tensor = layer(torch.cat(list(parts), dim=1))
        return whole
    weights = torch.split(layer.weight, [part.shape[1] for part in parts], dim=1)
    made = nn.functional.conv2d(parts[0], weights[0], layer.bias)
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        made = made + nn.functional.conv2d(part, weight)
    return made


class Upsampling(nn.Sequential):
    """Convolutions, each before `torch.nn.PixelShuffle`, perhaps with a ReLU between the two.

    torch's own shuffle moves numbers one by one. Where channels are last, the convolutions here make them in the order
    of the pixels that they become, so that whole runs of them move, in a fraction of the time. Other layers, and
    convolutions with hooks, are called as they are.
    """

    def forward(self, x: torch.Tensor, gain: float = 1, offset: float = 0) -> torch.Tensor:
        """What they make, times ``gain`` and plus ``offset``."""
        stages = [] if is_traced(x) else self._stages()
        for number, (convolution, activations, scale) in enumerate(stages, 1):
            weight, bias = convolution.weight, convolution.bias
            if number == len(stages) and not activations:
                weight, bias = _changed(weight, bias, gain, offset)
                gain, offset = 1, 0
            x = _enlarged(x, weight, bias, scale, convolution.padding, convolution.groups)
            for activation in activations:
                x = activation(x)
        if not stages:
            x = super().forward(x)  # type: ignore[no-untyped-call]
        return x if (gain, offset) == (1, 0) else x * gain + offset

    def _stages(self) -> list[tuple[nn.Conv2d, list[nn.Module], int]]:
        """Each convolution, the ReLUs after it, and by how much it enlarges; nothing where there are other layers."""
        stages: list[tuple[nn.Conv2d, list[nn.Module], int]] = []
        first: nn.Module | None = None
        between: list[nn.Module] = []
        for layer in self:
            if isinstance(first, nn.Conv2d) and type(layer) is nn.PixelShuffle:
                stages.append((first, between, layer.upscale_factor))
                first, between = None, []
            elif first is None and _is_plain(layer):
                first = layer
            elif first is not None and type(layer) is nn.ReLU:
                between.append(layer)
            else:
                return []
        return stages if first is None else []


def _is_plain(layer: nn.Module) -> bool:
    """Whether a layer is a convolution of stride 1 that its weights say all about."""
    return (
        type(layer) is nn.Conv2d
        and (layer.stride, layer.dilation, layer.padding_mode) == ((1, 1), (1, 1), "zeros")
        and not layer._forward_hooks
        and not layer._forward_pre_hooks
    )


def _changed(
    weight: torch.Tensor, bias: torch.Tensor | None, gain: float, offset: float
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Weights and bias of an output times ``gain`` and plus ``offset``."""
    if gain != 1:
        weight, bias = weight * gain, None if bias is None else bias * gain
    if offset:
        bias = weight.new_full(weight.shape[:1], offset) if bias is None else bias + offset
    return weight, bias


def _enlarged(
    x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, scale: int, padding: Any, groups: int = 1
) -> torch.Tensor:
    """What a pixel shuffle makes of a convolution of stride 1, by its weights."""
    last = x.is_contiguous(memory_format=torch.channels_last)
    if last:
        order = torch.arange(len(weight), device=x.device).reshape(groups, -1, scale**2).transpose(1, 2).flatten()
        weight, bias = weight[order], None if bias is None else bias[order]
    made = nn.functional.conv2d(x, weight, bias, padding=padding, groups=groups)
    if not last:
        return nn.functional.pixel_shuffle(made, scale)
    count, _, height, width = made.shape
    pixels = made.permute(0, 2, 3, 1).reshape(count, height, width, groups, scale, scale, -1)
    placed = pixels.permute(0, 1, 4, 2, 5, 3, 6).reshape(count, height * scale, width * scale, -1)
    return placed.permute(0, 3, 1, 2)


class Deconvolution(nn.ConvTranspose2d):
    """A transposed convolution that makes ``stride`` pixels of one, computed as a convolution before a pixel shuffle.

    The same sums, in half the time on a CPU where the kernel is large, as FSRCNN's of 9x9 at stride 4 is; for one of
    4x4 at stride 2 torch's own way is the faster. Each phase of the output reads its own taps of the kernel, and the
    weights of the convolution are zero elsewhere.

    Args:
        inputs: Channels.
        outputs: Channels.
        kernel: Side of the kernel.
        stride: Output side over input side.
        padding: Output pixels that an input pixel writes to before its own first one.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> None:
        extra = max(0, stride - kernel + 2 * padding)
        super().__init__(inputs, outputs, kernel, stride=stride, padding=padding, output_padding=extra)

    def forward(self, x: torch.Tensor, offset: float = 0) -> torch.Tensor:  # type: ignore[override]
        """What it makes, plus ``offset``, which its bias takes."""
        stride, kernel, padding = self.stride[0], self.kernel_size[0], int(self.padding[0])
        # Multiplications by zeros are no work.
        if is_traced(x):
            height, width = (side * stride for side in x.shape[2:])
            made = super().forward(x)[..., :height, :width]
            return made + offset if offset else made
        reach = max((stride - 1 + padding) // stride, (kernel - 1 - padding) // stride)
        side = 2 * reach + 1
        before, after = stride * reach - padding, stride * (reach + 1) - kernel + padding
        # One number in the padded kernel is the place of an input, from the last to the first, and the phase.
        padded = nn.functional.pad(self.weight, (before, after, before, after))
        taps = padded.reshape(*self.weight.shape[:2], side, stride, side, stride).flip(2, 4).permute(1, 3, 5, 0, 2, 4)
        weight = taps.reshape(-1, self.in_channels, side, side)
        bias = None if self.bias is None else self.bias.repeat_interleave(stride**2)
        return _enlarged(x, *_changed(weight, bias, 1, offset), stride, padding=reach)


class SlopedReLU(nn.PReLU):
    """`torch.nn.PReLU` in the type of its slopes: in bfloat16 with channels last torch takes far longer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with as_typed(x):
            return nn.functional.prelu(x.to(self.weight.dtype), self.weight).to(x.dtype)


class Merge(nn.Conv2d):
    """A 1x1 convolution of several features of the same width.

    Args:
        width: Channels of each of them and of the output.
        parts: How many there are; `accelir.training.growth.grow` must know.
    """

    def __init__(self, width: int, parts: int) -> None:
        super().__init__(parts * width, width, 1)
        self.parts = parts

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:  # type: ignore[override]
        return super().forward(torch.cat(list(features), dim=1))


@torch.no_grad()
def bilinear_subpixel(layer: nn.Conv2d, scale: int) -> None:
    """Make a 3x3 convolution before `torch.nn.PixelShuffle` upsample its first three inputs, and read no other."""
    offsets = (torch.arange(scale) + 0.5) / scale - 0.5
    taps = torch.stack([(-offsets).clamp(min=0), 1 - offsets.abs(), offsets.clamp(min=0)], dim=1)
    layer.weight.zero_()
    for colour in range(3):
        layer.weight[colour * scale**2 : (colour + 1) * scale**2, colour] = torch.einsum(
            "py,qx->pqyx", taps, taps
        ).reshape(scale**2, 3, 3)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


@torch.no_grad()
def bilinear_deconvolution(layer: nn.ConvTranspose2d, scale: int) -> None:
    """Make a transposed convolution upsample its first three inputs to its three outputs; the others keep theirs."""
    positions = torch.arange(layer.kernel_size[0]) - int(layer.padding[0])
    taps = (1 - (positions - (scale - 1) / 2).abs() / scale).clamp(min=0)
    layer.weight[:3] = 0
    for colour in range(3):
        layer.weight[colour, colour] = torch.outer(taps, taps)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
