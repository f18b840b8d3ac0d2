"""The adjoint of decoding: what a gradient of the pixels is to the coefficients of the file.

Decoding is, but for rounding and clipping, linear: inverse DCT, upsampling of the chroma by libjpeg's triangle filter
("fancy upsampling"), conversion to RGB, crop. Each function here is the transpose of one of these steps.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from accelir_plugins.jpeg.transform import DCT, layout

__all__ = ["TO_RGB", "coefficient_norms", "project"]

Plane = npt.NDArray[np.float32]

# Columns: what one unit of Y, Cb, Cr adds to R, G, B (JFIF, ITU-R BT.601).
TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136286, -0.714136286], [1, 1.772, 0]])

# libjpeg repeats the samples of narrower chroma planes instead of filtering them.
_NARROWEST_FILTERED = 3


def project(gradient: npt.NDArray[np.float32], subsampled: bool) -> npt.NDArray[np.float32]:
    """From a gradient of the decoded samples to one of the dequantised coefficients.

    Args:
        gradient: float32 (H, W, 3) or (H, W).
        subsampled: Whether the file is 4:2:0; of no effect on gray.

    Returns:
        float32 (rows, columns, parts * 64): the parts of a unit in order, each row-major.
    """
    form = layout(gradient.shape, subsampled)
    height, width = form.rows * form.unit, form.columns * form.unit
    if form.components == 1:
        return _blocks(_padded(gradient, height, width), 1)
    parts = []
    for component in range(3):
        plane = gradient @ TO_RGB[:, component].astype(np.float32)
        if not subsampled:
            parts.append(_blocks(_padded(plane, height, width), 1))
        elif component == 0:
            parts.append(_blocks(_padded(plane, height, width), 2))
        else:
            filtered = -(-plane.shape[1] // 2) >= _NARROWEST_FILTERED
            for _ in range(2):
                plane = _halve_rows(plane, filtered).T
            parts.append(_blocks(_padded(plane, height // 2, width // 2), 1))
    return np.concatenate(parts, axis=2)


@cache
def coefficient_norms(components: int, subsampled: bool) -> npt.NDArray[np.float64]:
    """The squared error in RGB (or gray) that a unit of squared error in each coefficient makes, away from edges.

    Returns:
        float64 (parts, 64), row-major.
    """
    if components == 1:
        return np.ones((1, 64))
    weights = (TO_RGB**2).sum(axis=0)
    if not subsampled:
        return np.repeat(weights[:, None], 64, axis=1)
    # A block in the middle of 24 samples spreads over 48 after the triangle filter; filtering is separable.
    spread = np.zeros((48, 8))
    for sample in range(8):
        at = 2 * (sample + 8)
        spread[at - 1 : at + 3, sample] = (0.25, 0.75, 0.75, 0.25)
    along = ((spread @ DCT.T) ** 2).sum(axis=0)
    chroma = np.outer(along, along).ravel()
    luma = np.full(64, weights[0])
    return np.stack([luma] * 4 + [weights[1] * chroma, weights[2] * chroma])


def _padded(plane: Plane, height: int, width: int) -> Plane:
    """Zeros around: what is cropped away has no gradient."""
    result = np.zeros((height, width), dtype=np.float32)
    result[: plane.shape[0], : plane.shape[1]] = plane
    return result


def _halve_rows(plane: Plane, filtered: bool) -> Plane:
    """The transpose of doubling the rows, whose outer rows are repeated and whose surplus last row is cropped."""
    if len(plane) % 2:
        plane = np.concatenate([plane, np.zeros_like(plane[:1])])
    upper, lower = plane[0::2], plane[1::2]
    if not filtered:
        return upper + lower
    result = np.float32(0.75) * (upper + lower)
    quarter = np.float32(0.25)
    result[:-1] += quarter * upper[1:]
    result[1:] += quarter * lower[:-1]
    result[0] += quarter * upper[0]
    result[-1] += quarter * lower[-1]
    return result


def _blocks(plane: Plane, side: int) -> npt.NDArray[np.float32]:
    """The DCT of all 8x8 blocks: float32 (rows, columns, side * side * 64), ``side`` by ``side`` blocks in a unit."""
    rows, columns = plane.shape[0] // 8, plane.shape[1] // 8
    matrix = DCT.astype(np.float32)
    blocks = plane.reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3)
    transformed = matrix @ np.ascontiguousarray(blocks) @ matrix.T
    units = transformed.reshape(rows // side, side, columns // side, side, 64).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(units).reshape(rows // side, columns // side, side * side * 64)
