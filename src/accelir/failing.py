"""What fails in somebody's module, told as an error of this library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from accelir.errors import AccelIRError, InvalidInputError

__all__ = ["about_strides", "failing_as"]


@contextmanager
def failing_as(name: str, batch: torch.Tensor) -> Iterator[None]:
    """What fails in a network's module, told as an error of this library; a lack of memory stays what it is.

    Args:
        name: Of the network.
        batch: Its input.

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
        hint = about_strides(batch) if "must match" in said else ""
        raise InvalidInputError(
            f"Network {name!r} failed on {kind} {tuple(batch.shape)}: {type(error).__name__}: {said}{hint}"
        ) from error


def about_strides(batch: torch.Tensor) -> str:
    """What may be amiss where sizes do not fit."""
    odd = any(side % 16 for side in batch.shape[-2:])
    return " A module that takes only multiples of a stride needs them said, as multiple=8." if odd else ""
