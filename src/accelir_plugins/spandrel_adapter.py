"""Checkpoints of the architectures that spandrel knows, as networks: it finds the architecture by the weights."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from accelir.errors import DecodeError, InvalidInputError, MissingDependencyError
from accelir.network import IRNetwork
from accelir.tasks import SuperResolution, Task
from accelir.tiles import Span
from accelir_plugins._foreign import Sizes, run

__all__ = ["SpandrelNetwork", "load"]

OURS = ("SR", "Restoration")
"""Purposes that restore a picture from itself alone, as our tasks do."""

FOLDED = "eval_conv."
"""In the names of weights that SPAN makes of others anew whenever it runs, in whatever precision it runs."""


class SpandrelNetwork(IRNetwork):
    """A model that spandrel has loaded.

    Args:
        descriptor: A ``spandrel.ImageModelDescriptor``.
        task: What it undoes; None for super-resolution by the model's own scale.
        name: Unique name.

    Raises:
        InvalidInputError: It is for another purpose or channels, or the task is missing or has another scale.
    """

    def __init__(self, descriptor: Any, task: Task | None, name: str) -> None:
        what = f"{name!r}, a {descriptor.architecture.name} model,"
        if descriptor.purpose not in OURS:
            raise InvalidInputError(
                f"{what} is for {descriptor.purpose}; accelir runs networks for super-resolution and restoration."
            )
        channels = descriptor.input_channels, descriptor.output_channels
        if channels not in ((3, 3), (1, 1)):
            raise InvalidInputError(f"{what} makes {channels[1]} channels of {channels[0]}; networks take RGB or gray.")
        if task is None:
            if descriptor.scale == 1:
                raise InvalidInputError(f"{what} does not say what it undoes; name the task.")
            task = SuperResolution(descriptor.scale)
        if task.scale != descriptor.scale:
            raise InvalidInputError(f"{what} enlarges by {descriptor.scale}, task {task.name!r} by {task.scale}.")
        needs = descriptor.size_requirements
        self.module = descriptor.model.float().eval()
        self.name = self.family = name
        self.width = 0
        self.task = task
        self.multiple = needs.multiple_of
        self.sizes = Sizes(max(needs.minimum, 1), needs.multiple_of, needs.square)
        self.architecture: str = descriptor.architecture.id
        self._channels: int = channels[0]
        self._bfloat16: bool = descriptor.supports_bfloat16
        self._whole = descriptor.tiling.name == "INTERNAL"
        self._call = descriptor._call_fn
        # spandrel calls models with one image, and some of them take no more, unless they are being trained.
        self._trains_on_batches = self._call.__qualname__.startswith("ImageModelDescriptor.")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self._bfloat16 and torch.is_autocast_enabled(x.device.type):
            with torch.autocast(x.device.type, enabled=False):
                return self.forward(x.float())
        return run(
            x,
            lambda images: self._call(self.module, images),
            sizes=self.sizes,
            scale=self.task.scale,
            channels=self._channels,
            batches=self._trains_on_batches and self.module.training,
        )

    def tiles(self, height: int, width: int, side: int | None = None) -> Iterator[tuple[Span, Span]]:
        return super().tiles(height, width, max(height, width) + self.multiple if self._whole else side)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.architecture.encode())
        for key, value in sorted(self.module.state_dict().items()):
            if FOLDED not in key:
                digest.update(key.encode() + value.detach().cpu().float().contiguous().numpy().tobytes())
        return digest.hexdigest()[:16]

    def __reduce__(self) -> tuple[Any, ...]:
        weights = {key: value.cpu() for key, value in self.module.state_dict().items()}
        return _from_weights, (weights, self.task, self.name)


def load(path: Path, name: str, task: Task | None = None) -> SpandrelNetwork:
    """The network in a ``.pth``, ``.pt``, ``.ckpt`` or ``.safetensors`` file.

    Args:
        path: Of the file. Nothing but tensors is unpickled.
        name: Of the network.
        task: What it undoes; None for super-resolution by the model's own scale.

    Raises:
        MissingDependencyError: No torchvision that fits this torch.
        DecodeError: The file cannot be read.
        InvalidInputError: No architecture that spandrel knows, or one that cannot be a network here.
    """
    loader = _loader()
    try:
        weights = loader.load_state_dict_from_file(str(path))
    except (OSError, ValueError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        raise DecodeError(f"Not a checkpoint that can be read: {path} ({error}).") from error
    return _from_weights(weights, task, name)


def _from_weights(weights: dict[str, Any], task: Task | None, name: str) -> SpandrelNetwork:
    import spandrel

    loader = _loader()
    try:
        descriptor = loader.load_from_state_dict(weights)
    except spandrel.UnsupportedModelError as error:
        raise InvalidInputError(f"{name!r} holds weights of no architecture that spandrel knows.") from error
    except (RuntimeError, KeyError, AssertionError, ValueError) as error:
        raise InvalidInputError(f"spandrel cannot load {name!r}: {error}.") from error
    return SpandrelNetwork(descriptor, task, name)


def _loader() -> Any:
    try:
        import spandrel
    except RuntimeError as error:
        # What torchvision says where it was built for another torch.
        raise MissingDependencyError(
            f"spandrel needs a torchvision that was built for torch {torch.__version__}: {error}. Install "
            "torchvision from where that torch came."
        ) from error
    return spandrel.ModelLoader()
