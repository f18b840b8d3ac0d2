"""IRNetwork: the contract of an image-restoration network, and what all networks share (tiling, dtype, cost)."""

from __future__ import annotations

import functools
import hashlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import nn

from accelir.errors import InvalidInputError
from accelir.image import ImageArray, as_image_array, require_image
from accelir.tasks import Task

__all__ = ["Cost", "IRNetwork", "TorchNetwork", "channels_last", "fast_dtype"]

TILE = 512
"""Side of the input tiles of `IRNetwork.restore`, their margin not counted."""

LOCAL_MARGIN = 64
"""Margin of the tiles of a network whose receptive field has no end."""

WHOLE_IMAGE = 2**20
"""Pixels up to which a network whose receptive field has no end sees the image whole."""

ImageT = TypeVar("ImageT", ImageArray, Image.Image)


@dataclass(frozen=True)
class Cost:
    """What restoring one image takes.

    Attributes:
        macs: Multiply-accumulates, per image.
        flops: 2 x ``macs``.
        params: Number of parameters.
    """

    macs: int
    flops: int
    params: int


class IRNetwork(ABC):
    """A network that restores the inputs of a task.

    A subclass sets the attributes and writes `forward`; modules that it keeps as attributes are moved and counted.

    Attributes:
        name: Unique name, for example ``"edsr-x4-f16"``.
        family: What its widths have in common, for example ``"edsr-x4"``.
        width: Channels of the body.
        task: What it undoes.
        receptive_field: Side in input pixels of what one output pixel depends on; None where that has no end.
        differentiable: Whether `forward` can be differentiated by its input.
    """

    name: str
    family: str
    width: int
    task: Task
    receptive_field: int | None = None
    differentiable: bool = True
    multiple: int = 1
    """Tiles start at multiples of this many input pixels (the stride of the coarsest scale inside the network)."""

    @abstractmethod
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Restore a batch.

        Args:
            x: float (N, 3, H, W), 0..1.

        Returns:
            float (N, 3, H * scale, W * scale), not clipped.
        """

    @property
    def modules(self) -> tuple[nn.Module, ...]:
        """The torch modules that this network keeps as attributes."""
        return tuple(value for value in vars(self).values() if isinstance(value, nn.Module))

    @property
    def device(self) -> torch.device:
        """Where the parameters are; the CPU for a network that has none."""
        for module in self.modules:
            for parameter in module.parameters():
                return parameter.device
        return torch.device("cpu")

    def to(self, device: str | torch.device) -> Self:
        """Move the modules to a device; returns the network itself."""
        for module in self.modules:
            module.to(device)
        return self

    def restore(
        self, image: ImageT, *, device: str | torch.device | None = None, dtype: torch.dtype | None = None
    ) -> ImageT:
        """Restore one image in bounded memory.

        Networks with a finite receptive field run in tiles that overlap by it, which gives the whole-image result up
        to rounding; others see images of up to one megapixel whole, and larger ones in tiles.

        Args:
            image: uint8 (H, W, 3) or (H, W), sRGB, or a PIL image.
            device: Any torch device; None for where the network is.
            dtype: torch.float32 or torch.bfloat16; None for bfloat16 where the machine computes it fast.

        Returns:
            The restored image, of the kind that came in; gray stays gray.
        """
        if not isinstance(image, np.ndarray):
            return Image.fromarray(self.restore(as_image_array(image), device=device, dtype=dtype))
        array = require_image(image)
        if device is not None:
            self.to(device)
        target = self.device
        dtype = dtype or fast_dtype(target)
        if dtype not in (torch.float32, torch.bfloat16):
            raise InvalidInputError(f"Networks restore in torch.float32 or torch.bfloat16; got {dtype}.")
        for module in self.modules:
            channels_last(module.eval())
        colour = array if array.ndim == 3 else np.repeat(array[:, :, None], 3, axis=2)
        scale = self.task.scale
        height, width = colour.shape[:2]
        result = np.empty((height * scale, width * scale, 3), np.uint8)
        for top, bottom, upper, lower in self._spans(height, height * width):
            for left, right, outer_left, outer_right in self._spans(width, height * width):
                tile = self._run(colour[upper:lower, outer_left:outer_right], target, dtype)
                y, x = (top - upper) * scale, (left - outer_left) * scale
                result[top * scale : bottom * scale, left * scale : right * scale] = tile[
                    y : y + (bottom - top) * scale, x : x + (right - left) * scale
                ]
        if array.ndim == 2:
            return np.asarray(Image.fromarray(result).convert("L"))
        return result

    def cost(self, height: int, width: int) -> Cost:
        """Count the multiply-accumulates of one input of ``height`` x ``width``, without running it.

        Convolutions, transposed convolutions and matrix products count (what `torch.utils.flop_counter` counts);
        additions, activations and interpolation do not.
        """
        from torch._subclasses.fake_tensor import FakeTensorMode
        from torch.utils.flop_counter import FlopCounterMode

        counter = FlopCounterMode(display=False)
        with FakeTensorMode(allow_non_fake_inputs=True), counter, torch.no_grad():
            self.forward(torch.empty(1, 3, height, width, device=self.device))
        flops = int(counter.get_total_flops())
        return Cost(flops // 2, flops, sum(p.numel() for module in self.modules for p in module.parameters()))

    def fingerprint(self) -> str:
        """A hash of the weights, to which profiles are bound: 16 hexadecimal digits."""
        digest = hashlib.sha256(self.family.encode())
        for module in self.modules:
            for key, value in sorted(module.state_dict().items()):
                digest.update(key.encode())
                digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def _spans(self, side: int, pixels: int) -> list[tuple[int, int, int, int]]:
        """(start, stop, outer start, outer stop) of the tiles along one side."""
        if self.receptive_field is None and pixels <= WHOLE_IMAGE:
            return [(0, side, 0, side)]
        margin = LOCAL_MARGIN if self.receptive_field is None else self.receptive_field // 2 + 1
        margin = -(-margin // self.multiple) * self.multiple
        tile = TILE - TILE % self.multiple
        return [
            (start, min(start + tile, side), max(start - margin, 0), min(start + tile + margin, side))
            for start in range(0, side, tile)
        ]

    def _run(self, image: ImageArray, device: torch.device, dtype: torch.dtype) -> ImageArray:
        batch = torch.from_numpy(np.array(image)).to(device).permute(2, 0, 1)[None].float().div(255)
        batch = batch.to(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16, enabled=dtype is torch.bfloat16):
            restored = self.forward(batch).float()
        pixels = restored[0].mul(255).round().clamp(0, 255).to(torch.uint8)
        return np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy())

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.task.name}>"


class TorchNetwork(IRNetwork):
    """Any `torch.nn.Module` as a network.

    Args:
        module: (N, 3, H, W) in 0..1 to (N, 3, H * scale, W * scale).
        task: What it undoes.
        name: Unique name.
        family: Defaults to the name.
        width: Channels of the body, 0 where that says nothing.
        receptive_field: Side in input pixels of what one output pixel depends on; None where that has no end or is
            not known.
        multiple: The stride of the coarsest scale inside the module.
    """

    def __init__(
        self,
        module: nn.Module,
        task: Task,
        name: str | None = None,
        *,
        family: str | None = None,
        width: int = 0,
        receptive_field: int | None = None,
        multiple: int = 1,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise InvalidInputError(f"TorchNetwork wraps a torch.nn.Module; got {type(module).__name__}.")
        self.module = module.eval()
        self.task = task
        self.name = name or type(module).__name__.lower()
        self.family = family or self.name
        self.width = width
        self.receptive_field = receptive_field
        self.multiple = multiple

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        restored: Any = self.module(x)
        return restored


def channels_last(module: nn.Module) -> nn.Module:
    """Lay the weights out for convolution on CPUs and GPUs with matrix units, in place."""
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device computes it fast, else float32."""
    return torch.bfloat16 if _fast_bfloat16(device.type) else torch.float32


@functools.cache
def _fast_bfloat16(device_type: str) -> bool:
    if device_type == "cpu":
        return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()) or bool(
            getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
        )
    return device_type == "cuda" and torch.cuda.is_bf16_supported()
