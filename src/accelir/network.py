"""IRNetwork: the contract of an image-restoration network, and what all networks share (tiling, dtype, cost)."""

from __future__ import annotations

import copy
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Self, TypeVar, overload

import numpy as np
import torch
from PIL import Image
from torch import nn

from accelir import registry
from accelir.cost import Cost, counted, whole_number
from accelir.errors import InvalidInputError
from accelir.failing import about_strides, failing_as
from accelir.image import ImageArray, as_image_array, in_colour, require_image
from accelir.tasks import Task
from accelir.tensors import channels_last, fast_dtype
from accelir.tiles import Span, at_once, side_for, tiles

__all__ = ["IRNetwork", "TorchNetwork", "as_module"]

BAND = 2**17
"""Pixels that are rounded at a time on a CPU."""

ImageT = TypeVar("ImageT", ImageArray, Image.Image)


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
        provenance: Where the weights come from, as far as is known: what JSON can hold.
        file_kind: The kind of network file that it was read from; empty for any other.
        revision: Of what it computes: another one whenever that changes and the weights do not, so that profiles of
            before are no longer taken for its own.
    """

    name: str
    family: str
    width: int
    task: Task
    receptive_field: int | None = None
    differentiable: bool = True
    provenance: Mapping[str, Any] = MappingProxyType({})
    file_kind: str = ""
    revision: str = ""
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
        """Move the modules to a device; returns the network itself.

        Raises:
            InvalidInputError: The device is not there.
        """
        try:
            torch.empty(1, device=device)
            for module in self.modules:
                module.to(device)
        except (RuntimeError, AssertionError, NotImplementedError, TypeError) as error:
            first = str(error).partition("\n")[0]
            raise InvalidInputError(f"Device {device!r} cannot be used: {first}") from error
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

        Raises:
            InvalidInputError: A device or dtype that cannot be used, or the network fails on such an input.
        """
        if not isinstance(image, np.ndarray):
            return Image.fromarray(self.restore(as_image_array(image), device=device, dtype=dtype))
        return self.restore_batch([require_image(image)], device=device, dtype=dtype)[0]

    @overload
    def restore_batch(
        self,
        images: Iterable[ImageArray] | ImageArray,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> list[ImageArray]: ...

    @overload
    def restore_batch(
        self,
        images: Iterable[Image.Image],
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> list[Image.Image]: ...

    def restore_batch(
        self,
        images: Iterable[Any] | ImageArray,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> list[Any]:
        """Restore images of one size, as many at a time as fit in the memory that a tile takes.

        Small images keep a GPU busy only together.

        Args:
            images: uint8, each (H, W, 3) or each (H, W), sRGB, or PIL images; or one array with an axis before these.
                An array (N, H, 3) is refused, which is rather one image than gray ones of width 3.
            device: Any torch device; None for where the network is.
            dtype: torch.float32 or torch.bfloat16; None for bfloat16 where the machine computes it fast.

        Returns:
            The restored images in their order, of the kind that came in, gray where they are gray.

        Raises:
            InvalidInputError: One image instead of several, images of several sizes, a device or dtype that cannot be
                used, or the network fails on such an input.
        """
        images = _several(images)
        if not images:
            return []
        if not all(isinstance(image, np.ndarray) for image in images):
            read = [as_image_array(image) for image in images]
            return [Image.fromarray(restored) for restored in self.restore_batch(read, device=device, dtype=dtype)]
        arrays = [require_image(image) for image in images]
        if len({array.shape for array in arrays}) > 1:
            different = next(array.shape for array in arrays if array.shape != arrays[0].shape)
            raise InvalidInputError(
                "A batch holds images of one size, all of them gray or all in colour; got "
                f"{arrays[0].shape} and {different}."
            )
        if device is not None:
            self.to(device)
        target = self.device
        if target.type == "meta" or (device is not None and torch.device(device).type == "meta"):
            raise InvalidInputError("Device 'meta' cannot be used: it computes nothing.")
        dtype = dtype or fast_dtype(target)
        if dtype not in (torch.float32, torch.bfloat16):
            raise InvalidInputError(f"Networks restore in torch.float32 or torch.bfloat16; got {dtype}.")
        for module in self.modules:
            channels_last(module.eval())
        gray = arrays[0].ndim == 2
        coloured = [in_colour(array) for array in arrays]
        colour = np.stack(coloured) if len(coloured) > 1 else coloured[0][None]
        scale = self.task.scale
        count, height, width = colour.shape[:3]
        side = side_for(target.type, self.receptive_field, scale, self.width, max(height, width), dtype.itemsize)
        result = np.empty((count, height * scale, width * scale, 3), np.uint8)
        for rows, columns in self.tiles(height, width, side):
            inputs = colour[:, rows.outer, columns.outer]
            together = at_once(inputs.shape[1], inputs.shape[2], None if target.type == "cpu" else side)
            inside = rows.within(scale), columns.within(scale)
            for first in range(0, count, together):
                these = slice(first, first + together)
                tile = self._run(inputs[these], target, dtype)[:, *inside]
                if tile.shape == result.shape:
                    result = tile
                else:
                    result[these, rows.scaled(scale), columns.scaled(scale)] = tile
        if gray:
            return [np.asarray(Image.fromarray(restored).convert("L")) for restored in result]
        return list(result)

    def cost(self, height: int, width: int) -> Cost:
        """Count the multiply-accumulates of one input of ``height`` x ``width``, without running it.

        Convolutions, transposed convolutions, matrix products and attention count; additions, activations and
        interpolation do not.

        Raises:
            InvalidInputError: No such size, or the network fails on it.
        """
        height, width = whole_number("The height", height), whole_number("The width", width)

        def run() -> None:
            batch = torch.empty(1, 3, height, width, device=self.device)
            with failing_as(self.name, batch, multiple=self.multiple):
                self.forward(batch)

        return counted(run, self.modules)

    def fingerprint(self) -> str:
        """A hash of the weights and the revision, to which profiles are bound: 16 hexadecimal digits."""
        digest = hashlib.sha256("\n".join([self.family, self.revision]).strip().encode())
        for module in self.modules:
            for key, value in sorted(module.state_dict().items()):
                # Of what torch.compile has wrapped as of what it wraps.
                digest.update(key.replace("_orig_mod.", "").encode())
                digest.update(value.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def tiles(self, height: int, width: int, side: int | None = None) -> Iterator[tuple[Span, Span]]:
        """The tiles in which an input is restored, row by row: the rows and the columns of each.

        Args:
            height: Of the input.
            width: Of the input.
            side: Of the tiles without their margin; by default 512 (`restore` chooses it by width and device). For a
                network whose receptive field has no end, by default the whole of an image of up to one megapixel, and
                of a larger one parts of at most 1024.
        """
        return tiles(height, width, side, receptive_field=self.receptive_field, multiple=self.multiple)

    def check_output(self, batch: torch.Tensor, restored: torch.Tensor) -> None:
        """Make sure that `forward` returned what the task promises.

        Raises:
            InvalidInputError: No tensor, another shape, or values that are not finite.
        """
        self._check_shape(batch, restored)
        # One sum tells of nearly all, in far less time than looking at each takes; large numbers it may overflow.
        if not torch.isfinite(restored.detach().sum()) and not torch.isfinite(restored).all():
            raise InvalidInputError(f"Network {self.name!r} returned values that are not finite.")

    def _check_shape(self, batch: torch.Tensor, restored: torch.Tensor) -> None:
        if not isinstance(restored, torch.Tensor):
            raise InvalidInputError(f"Network {self.name!r} returned a {type(restored).__name__}, not a tensor.")
        count, _, height, width = batch.shape
        expected = (count, 3, height * self.task.scale, width * self.task.scale)
        if tuple(restored.shape) != expected:
            alike = tuple(restored.shape[:-2]) == expected[:-2]
            nearly = alike and round(restored.shape[-2] / height) == self.task.scale
            hint = about_strides(batch, self.multiple) if nearly else ""
            raise InvalidInputError(
                f"Network {self.name!r} made {tuple(restored.shape)} of {tuple(batch.shape)}; task {self.task.name!r} "
                f"promises {expected}.{hint}"
            )

    def _run(self, images: ImageArray, device: torch.device, dtype: torch.dtype) -> ImageArray:
        writable = images if images.flags.c_contiguous and images.flags.writeable else np.array(images)
        batch = torch.from_numpy(writable).to(device).permute(0, 3, 1, 2).float().div(255)
        batch = batch.contiguous(memory_format=torch.channels_last)
        autocast = torch.autocast(device.type, torch.bfloat16, enabled=dtype is torch.bfloat16)
        with failing_as(self.name, batch, multiple=self.multiple), torch.inference_mode(), autocast:
            restored = self.forward(batch)
        self.check_output(batch, restored)
        return _pixels(restored)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self.task.name}>"


class TorchNetwork(IRNetwork):
    """Any `torch.nn.Module` as a network.

    Args:
        module: (N, 3, H, W) in 0..1 to (N, 3, H * scale, W * scale). An attribute ``provenance`` says where its weights
            come from.
        task: What it undoes, or its name.
        name: Unique name.
        family: Defaults to the name.
        width: Channels of the body, 0 where that says nothing.
        receptive_field: Side in input pixels of what one output pixel depends on; None where that has no end or is
            not known.
        multiple: The stride of the coarsest scale inside the module. Sizes that are no multiples of it are padded by
            repeating the edge, at the bottom and on the right, and cropped again.
        revision: Of what the module computes, as in `IRNetwork`; by default the class's.

    Raises:
        InvalidInputError: No module, no task, or a number out of range.
        UnknownNameError: No task of that name.
    """

    def __init__(
        self,
        module: nn.Module,
        task: Task | str,
        name: str | None = None,
        *,
        family: str | None = None,
        width: int = 0,
        receptive_field: int | None = None,
        multiple: int = 1,
        revision: str | None = None,
    ) -> None:
        if not isinstance(module, nn.Module):
            raise InvalidInputError(f"TorchNetwork wraps a torch.nn.Module; got {type(module).__name__}.")
        if isinstance(task, str):
            task = registry.task(task)
        if not isinstance(task, Task):
            raise InvalidInputError(f"A network's task is an accelir.Task; got {type(task).__name__}.")
        self.module = module.eval()
        self.task = task
        self.name = name or type(module).__name__.lower()
        self.family = family or self.name
        self.width = whole_number("width", width, least=0)
        self.receptive_field = None if receptive_field is None else whole_number("receptive_field", receptive_field)
        self.multiple = whole_number("multiple", multiple)
        self.revision = type(self).revision if revision is None else revision
        self.provenance = getattr(module, "provenance", {})

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[-2:]
        below, right = -height % self.multiple, -width % self.multiple
        if not below and not right:
            whole: Any = self.module(x)
            return whole
        padded = nn.functional.pad(x, (0, right, 0, below), mode="replicate")
        restored: Any = self.module(padded)
        self._check_shape(padded, restored)
        return restored[..., : height * self.task.scale, : width * self.task.scale]


def _several(images: object) -> list[Any]:
    """The images of a batch, where it is one."""
    if isinstance(images, np.ndarray) and images.ndim == 3 and images.shape[-1] == 3:
        raise InvalidInputError(f"A batch holds several images; one of shape {images.shape} goes as [image].")
    if isinstance(images, str | bytes) or not isinstance(images, Iterable):
        raise InvalidInputError(
            f"A batch holds several images; got one {type(images).__name__}, which goes as [image]."
        )
    return list(images)


def _pixels(restored: torch.Tensor) -> ImageArray:
    """uint8 (N, H, W, 3), from float (N, 3, H, W) in about 0..1: some rows at a time, which stay in the cache."""
    last = restored.permute(0, 2, 3, 1)
    count, height, width = last.shape[:3]
    pixels = torch.empty(last.shape, dtype=torch.uint8, device=last.device)
    rows = height if last.device.type != "cpu" else max(1, BAND // (count * width))
    for top in range(0, height, rows):
        band = slice(top, top + rows)
        pixels[:, band] = (255 * last[:, band].float()).round_().clamp_(0, 255)
    array: ImageArray = pixels.cpu().numpy()
    return array


def as_module(network: IRNetwork) -> nn.Module:
    """A module whose forward is the network's, to be trained or exported: that of a `TorchNetwork` itself."""
    if isinstance(network, TorchNetwork) and type(network).forward is TorchNetwork.forward:
        return network.module
    return _Whole(network)


class _Whole(nn.Module):
    """A network as a module."""

    def __init__(self, network: IRNetwork) -> None:
        super().__init__()
        self.network = network
        self.parts = nn.ModuleList(network.modules)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network.forward(x)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Whole:
        # The copy's parts must be those that its network runs.
        return _Whole(copy.deepcopy(self.network, memo))
