"""What fails in somebody's module, told as an error of this library."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from accelir.errors import AccelIRError, InvalidInputError

__all__ = ["about_strides", "failing_as"]


SIZES_DIFFER = re.compile(
    r"must match the size of tensor .* at non-singleton dimension [23]"
    r"|Sizes of tensors must match except in dimension 1"
    r"|(?:height|width|size\(-[12]\)).* divisible by"
    r"|is invalid for input of size"
)
"""What torch says where a side is no multiple of a stride: sums, concatenations, pixel_unshuffle and windows."""


@contextmanager
def failing_as(name: str, batch: torch.Tensor, *, multiple: int | None = None) -> Iterator[None]:
    """What fails in a network's module, told as an error of this library; a lack of memory stays what it is.

    Args:
        name: Of the network.
        batch: Its input.
        multiple: What the network says of its strides; None where that is not asked.

    Raises:
        InvalidInputError: Something failed.
    """
    try:
        yield
    except (AccelIRError, torch.OutOfMemoryError, MemoryError):
        raise
    except Exception as error:
        said = str(error).strip().partition("\n")[0]
        kind = str(batch.dtype).removeprefix("torch.")
        told = f"Network {name!r} failed on {kind} {tuple(batch.shape)}: {type(error).__name__}: {said}"
        hint = about_strides(batch, multiple) if multiple and SIZES_DIFFER.search(said) else ""
        raise InvalidInputError(f"{told.removesuffix('.')}.{hint}" if hint else told) from error


def about_strides(batch: torch.Tensor, multiple: int) -> str:
    """What may be amiss where a network's sizes do not fit: strides inside it that were not said.

    Args:
        batch: Its input, (N, 3, H, W).
        multiple: What it says of its strides.
    """
    if all(side % 16 == 0 for side in batch.shape[-2:]):
        return ""
    if multiple > 1:
        return f" It was said to take multiples of {multiple}: its stride may be another."
    return (
        " If the module takes only multiples of a stride, say so: accelir.TorchNetwork(module, task, multiple=8), or "
        "whatever its stride is."
    )
