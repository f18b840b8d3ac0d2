"""A picture out of nothing, for whoever needs one: smooth shades, an edge, texture and a little noise."""

from __future__ import annotations

import numpy as np

from accelir.image import ImageArray

__all__ = ["picture"]


def picture(height: int, width: int, *, gray: bool = False, seed: int = 0) -> ImageArray:
    """A picture with something of everything in it.

    Args:
        height: In pixels.
        width: In pixels.
        gray: One channel instead of three.
        seed: Of the noise and the place of the edge.

    Returns:
        uint8 (H, W, 3), or (H, W) for gray.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    shade = 90 + 60 * np.sin(x / 23 + seed) + 40 * np.cos(y / 17)
    edge = np.where(x * 0.6 + y > rng.uniform(0.3, 1.1) * max(height, width), 60, -20)
    texture = np.where(y > height / 2, 25 * np.sin(x * 1.9) * np.sin(y * 1.3), 0)
    gray_levels = shade + edge + texture + rng.normal(0, 3, (height, width))
    if gray:
        values = gray_levels
    else:
        tint = 30 * np.sin(x / 31 + 2 * y / 37)
        values = np.stack([gray_levels + tint, gray_levels, gray_levels - 1.5 * tint], axis=2)
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)
