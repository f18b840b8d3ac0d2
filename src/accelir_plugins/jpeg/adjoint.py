"""The adjoint of decoding: what a gradient of the pixels is to the coefficients of the file.

Decoding is, but for rounding and clipping, linear: inverse DCT, upsampling of the chroma by libjpeg's triangle filter
("fancy upsampling"), conversion to RGB, crop. Each function here is the transpose of one of these steps.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from accelir.threads import ranges, together
from accelir_plugins.compiled import compiled
from accelir_plugins.jpeg.transform import Layout, Subsampling, layout
from accelir_plugins.ycbcr import DCT, TO_RGB, block_dct, halved_rows_transpose

__all__ = ["coefficient_norms", "convert", "of_blocks", "of_units", "project"]

Plane = npt.NDArray[np.float32]

# libjpeg repeats the samples of narrower chroma planes instead of filtering them.
_NARROWEST_FILTERED = 3
# Rows of units that one thread converts at a time.
_BAND = 16


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


@functools.cache
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
    units = np.ascontiguousarray(of_units(sensitivity, source))
    # Units of the file, and those that only fill up the last blocks.
    result = np.zeros(
        (wanted.stacked * wanted.block_rows, wanted.columns, 64 * len(wanted.component_of_part)), np.float32
    )
    shapes = [np.array([form.vertical, form.horizontal, form.components]) for form in (source, wanted)]

    def band(rows: slice) -> None:
        _convert(units, shapes[0], shapes[1], rows.start, result[rows])

    together([functools.partial(band, rows) for rows in ranges(len(result), _BAND)])
    return of_blocks(result, wanted)


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


@compiled
def _convert(units: Any, source: Any, wanted: Any, top: int, result: Any) -> None:
    """Rows of units from row ``top`` on; where source has no blocks beyond the edge, the last ones are repeated.

    Args:
        units: float32 (rows, columns, K) of the source.
        source: Its luma blocks of a unit down and across, and its components.
        wanted: The same of the result.
        top: The first row.
        result: float32 (rows, columns, K), zeros.
    """
    height, width = units.shape[0] * source[0], units.shape[1] * source[1]
    share = np.float32(source[0] * source[1])
    luma, own_luma = 64 * source[0] * source[1], 64 * wanted[0] * wanted[1]
    chroma = 128 if wanted[2] == 3 else 0
    for row in range(result.shape[0]):
        for column in range(result.shape[1]):
            own = result[row, column]
            for down in range(wanted[0]):
                for across in range(wanted[1]):
                    y = min((top + row) * wanted[0] + down, height - 1)
                    x = min(column * wanted[1] + across, width - 1)
                    unit = units[y // source[0], x // source[1]]
                    block = 64 * ((y % source[0]) * source[1] + x % source[1])
                    place = 64 * (down * wanted[1] + across)
                    for k in range(64):
                        own[place + k] = unit[block + k]
                    for k in range(chroma):
                        own[own_luma + k] += unit[luma + k] / share


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
