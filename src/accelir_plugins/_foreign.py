"""What networks made elsewhere need: sizes that they take, and one image or one channel at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import pad

from accelir.errors import InvalidInputError

__all__ = ["Sizes", "run"]


@dataclass(frozen=True)
class Sizes:
    """Of the inputs that a network takes.

    Attributes:
        minimum: Least side in pixels.
        multiple: What both sides are multiples of.
        square: Whether both sides are the same.
        height: The only height that it takes, where there is one.
        width: The only width that it takes, where there is one.
    """

    minimum: int = 1
    multiple: int = 1
    square: bool = False
    height: int | None = None
    width: int | None = None

    def around(self, height: int, width: int) -> tuple[int, int]:
        """The least height and width that it takes which hold an input, or the only ones."""
        sides = [max(side, self.minimum) for side in (height, width)]
        if self.square:
            sides = [max(sides)] * 2
        rows, columns = (-(-side // self.multiple) * self.multiple for side in sides)
        return self.height or rows, self.width or columns


def run(
    x: torch.Tensor,
    call: Callable[[torch.Tensor], torch.Tensor],
    *,
    sizes: Sizes,
    scale: int,
    channels: int = 3,
    batches: bool = True,
    reflect: bool = True,
) -> torch.Tensor:
    """Run a network on a batch of any size: padded at the bottom and on the right, and cropped again.

    Args:
        x: float (N, 3, H, W).
        call: The network.
        sizes: That it takes.
        scale: Output side over input side.
        channels: That it takes: 3, or 1, and then each of the three is an image of its own.
        batches: Whether it takes more than one image.
        reflect: Pad by reflection, not by repeating the edge.

    Returns:
        float (N, 3, H * scale, W * scale).

    Raises:
        InvalidInputError: The network enlarges by something else than ``scale``.
    """
    count, colours, height, width = x.shape
    images = x if channels == colours else x.reshape(count * colours, 1, height, width)
    rows, columns = sizes.around(height, width)
    images = _padded(images, rows - height, columns - width, reflect=reflect)
    restored = call(images) if batches or len(images) == 1 else torch.cat([call(image[None]) for image in images])
    # Cropping would hide an output that is too large.
    if tuple(restored.shape[-2:]) != (rows * scale, columns * scale):
        raise InvalidInputError(
            f"The network made {tuple(restored.shape)} of {tuple(images.shape)}; a task of scale {scale} promises "
            f"{rows * scale} rows of {columns * scale}."
        )
    restored = restored[..., : height * scale, : width * scale]
    return restored if channels == colours else restored.reshape(count, colours, *restored.shape[-2:])


def _padded(x: torch.Tensor, rows: int, columns: int, *, reflect: bool) -> torch.Tensor:
    """With so many rows and columns more."""
    height, width = x.shape[-2:]
    # Reflection reaches no farther than the image; the rest repeats its edge.
    below, right = (min(rows, height - 1), min(columns, width - 1)) if reflect else (0, 0)
    if below or right:
        x = pad(x, (0, right, 0, below), mode="reflect")
    if rows > below or columns > right:
        x = pad(x, (0, columns - right, 0, rows - below), mode="replicate")
    return x
