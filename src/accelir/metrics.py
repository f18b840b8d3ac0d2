"""Image quality, with the colour space, the range and the border said."""

from __future__ import annotations

import numpy as np

from accelir.errors import InvalidInputError
from accelir.image import ImageArray

__all__ = ["psnr_rgb"]


def psnr_rgb(restored: ImageArray, reference: ImageArray, border: int = 0) -> float:
    """PSNR in dB over all RGB samples together, range 0..255.

    Args:
        restored: uint8 (H, W, 3) or (H, W).
        reference: The same shape.
        border: Pixels left out at each edge.

    Raises:
        InvalidInputError: The shapes differ, or the border leaves no pixel.
    """
    if restored.shape != reference.shape:
        raise InvalidInputError(f"PSNR needs two images of one shape; got {restored.shape} and {reference.shape}.")
    if not 0 <= 2 * border < min(restored.shape[:2]):
        raise InvalidInputError(
            f"A border of {border} leaves nothing of {restored.shape[1]}x{restored.shape[0]} pixels."
        )
    inner = (slice(border, restored.shape[0] - border), slice(border, restored.shape[1] - border))
    difference = restored[inner].astype(np.float64) - reference[inner].astype(np.float64)
    mean = float(np.mean(difference**2))
    return float("inf") if mean == 0 else float(10 * np.log10(255**2 / mean))
