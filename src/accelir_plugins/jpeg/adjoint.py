"""The adjoint of decoding: what a gradient of the pixels is to the coefficients of the file.

Decoding is, but for rounding and clipping, linear: inverse DCT, upsampling of the chroma by libjpeg's triangle filter
("fancy upsampling"), conversion to RGB, crop. Each function here is the transpose of one of these steps.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from accelir_plugins.jpeg.transform import Layout, Subsampling, layout
from accelir_plugins.ycbcr import DCT, TO_RGB, block_dct, halved_rows_transpose

__all__ = ["coefficient_norms", "convert", "of_blocks", "of_units", "project"]

Plane = npt.NDArray[np.float32]

# libjpeg repeats the samples of narrower chroma planes instead of filtering them.
_NARROWEST_FILTERED = 3


def project(gradient: npt.NDArray[np.float32], subsampling: Subsampling) -> npt.NDArray[np.float32]:
    """From a gradient of the decoded samples to one of the dequantised coefficients.

    Args:
        gradient: float32 (H, W, 3) or (H, W).
        subsampling: Of no effect on gray.

    Returns:
        float32 (rows, columns, K): for each block of the level map its units in order, of each the parts in order, of
        each the coefficients row-major.
    """
    form = layout(gradient.shape, subsampling)
    # In units, those of the last blocks that are not in the file included.
    rows, columns = form.stacked * form.block_rows, form.columns
    parts = []
    for component in range(form.components):
        plane = gradient if form.components == 1 else gradient @ TO_RGB[:, component].astype(np.float32)
        across, down = form.sampling(component)
        filtered = -(-plane.shape[1] // 2) >= _NARROWEST_FILTERED
        if down < form.vertical:
            plane = _halve_rows(plane, filtered)
        if across < form.horizontal:
            plane = _halve_rows(plane.T, filtered).T
        parts.append(_blocks(_padded(plane, 8 * rows * down, 8 * columns * across), across, down))
    return of_blocks(np.concatenate(parts, axis=2), form)


@cache
def coefficient_norms(components: int, subsampling: Subsampling) -> npt.NDArray[np.float64]:
    """The squared error in RGB (or gray) that a unit of squared error in each coefficient makes, away from edges.

    Returns:
        float64 (parts, 64), row-major.
    """
    if components == 1:
        return np.ones((1, 64))
    weights = (TO_RGB**2).sum(axis=0)
    form = layout((1, 1, 3), subsampling)
    # A block in the middle of 24 samples spreads over 48 after the triangle filter; filtering is separable.
    spread = np.zeros((48, 8))
    for sample in range(8):
        at = 2 * (sample + 8)
        spread[at - 1 : at + 3, sample] = (0.25, 0.75, 0.75, 0.25)
    along = {1: np.ones(8), 2: ((spread @ DCT.T) ** 2).sum(axis=0)}
    chroma = np.outer(along[form.vertical], along[form.horizontal]).ravel()
    norms = np.stack([np.ones(64), chroma, chroma]) * weights[:, None]
    return norms[form.component_of_part]


def convert(sensitivity: npt.NDArray[np.float32], source: Layout, wanted: Layout) -> npt.NDArray[np.float32]:
    """A sensitivity as if it had been taken in another layout of the same picture.

    A luma coefficient moves R, G and B alike whether the picture has chroma or not, so it keeps its value. A chroma
    block of 4:2:0 stands for four of 4:4:4, each of which gets a quarter; one of 4:2:2 for two.

    Args:
        sensitivity: float32 (rows, columns, K) of ``source``.
        source: Of colour.
        wanted: Of colour or gray.

    Returns:
        float32 (rows, columns, K) of ``wanted``.
    """
    units = of_units(sensitivity, source)
    across, down = source.horizontal, source.vertical
    count = 64 * across * down
    luma = units[..., :count].reshape(*units.shape[:2], down, across, 64).transpose(0, 2, 1, 3, 4)
    fine = luma.reshape(units.shape[0] * down, units.shape[1] * across, 64)
    if wanted.components == 3:
        chroma = np.repeat(np.repeat(units[..., count:] / (across * down), down, axis=0), across, axis=1)
        fine = np.concatenate([fine, chroma], axis=2)

    across, down = wanted.horizontal, wanted.vertical
    rows, columns = wanted.stacked * wanted.block_rows, wanted.columns
    fine = fine[: rows * down, : columns * across]
    missing = (rows * down - fine.shape[0], columns * across - fine.shape[1])
    # Where source has no blocks beyond the edge, the last ones are repeated.
    fine = np.pad(fine, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="edge")
    fine = fine.reshape(rows, down, columns, across, -1).transpose(0, 2, 1, 3, 4)
    luma = fine[..., :64].reshape(rows, columns, -1)
    return of_blocks(np.concatenate([luma, fine[..., 64:].sum(axis=(2, 3))], axis=2), wanted)


def of_units(values: npt.NDArray[np.float32], form: Layout) -> npt.NDArray[np.float32]:
    """What is known of blocks, by the units of the file.

    Args:
        values: float32 (block rows, columns, K).
        form: The layout.

    Returns:
        float32 (rows, columns, parts * 64).
    """
    split = values.reshape(form.block_rows, form.columns, form.stacked, -1).transpose(0, 2, 1, 3)
    return split.reshape(form.block_rows * form.stacked, form.columns, -1)[: form.rows]


def of_blocks(values: npt.NDArray[np.float32], form: Layout) -> npt.NDArray[np.float32]:
    """The inverse of `of_units`, for as many rows of units as fill the last blocks."""
    stacks = values.reshape(form.block_rows, form.stacked, form.columns, -1).transpose(0, 2, 1, 3)
    return np.ascontiguousarray(stacks.reshape(form.block_rows, form.columns, -1))


def _padded(plane: Plane, height: int, width: int) -> Plane:
    """Zeros around: what is cropped away has no gradient."""
    result = np.zeros((height, width), dtype=np.float32)
    result[: plane.shape[0], : plane.shape[1]] = plane
    return result


def _halve_rows(plane: Plane, filtered: bool) -> Plane:
    """The transpose of doubling the rows, by the filter or by repeating them; a surplus last row is cropped."""
    if filtered:
        return halved_rows_transpose(plane)
    if len(plane) % 2:
        plane = np.concatenate([plane, np.zeros_like(plane[:1])])
    return np.asarray(plane[0::2] + plane[1::2], np.float32)


def _blocks(plane: Plane, across: int, down: int) -> npt.NDArray[np.float32]:
    """The DCT of all 8x8 blocks: float32 (rows, columns, down * across * 64) of units."""
    rows, columns = plane.shape[0] // 8, plane.shape[1] // 8
    units = block_dct(plane).reshape(rows // down, down, columns // across, across, 64).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(units).reshape(rows // down, columns // across, down * across * 64)
