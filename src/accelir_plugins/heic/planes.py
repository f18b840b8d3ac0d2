"""Planes for libheif, which doubles chroma by repeating samples unless told otherwise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from accelir.image import ImageArray
from accelir_plugins.planar.planes import LUMA_FOR_CHROMA, Chroma, Planes, to_planes
from accelir_plugins.ycbcr import FROM_RGB

__all__ = ["repeated_planes"]


def repeated_planes(image: ImageArray, chroma: Chroma) -> Planes:
    """The planes of a picture, in full range.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        chroma: "average" takes the mean of four pixels. So does "sharp": where samples are repeated no other chroma is
            nearer to the picture; but its luma takes back what it can of the error that is left.
    """
    planes = to_planes(image, "full", "average")
    if planes.chroma is None or chroma == "average":
        return planes
    # Luma less its share of the wanted chroma, plus that of the chroma that will be there.
    mixture = (FROM_RGB[0] + LUMA_FOR_CHROMA @ FROM_RGB[1:]).astype(np.float32)
    height, width = image.shape[:2]
    luma = (image.reshape(-1, 3).astype(np.float32) @ mixture).reshape(height, width)
    there = sum(
        np.float32(share) * (half.astype(np.float32) - np.float32(128))
        for share, half in zip(LUMA_FOR_CHROMA, planes.chroma, strict=True)
    )
    luma -= np.repeat(np.repeat(there, 2, axis=0), 2, axis=1)[:height, :width]
    return replace(planes, luma=np.clip(np.rint(luma), 0, 255).astype(np.uint8))
