"""Luma makes up for some of what coded chroma is off by: restored R, G and B count, not planes.

Chroma is quantised first. What it is then off by is doubled as decoders do it, and luma is moved by a share of what, in
the sense of least squares over R, G and B, takes most of that back.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from accelir.threads import ranges, together
from accelir_plugins.compiled import compiled
from accelir_plugins.jpeg.tables import Tables
from accelir_plugins.jpeg.transform import LARGEST_COEFFICIENT, SMALLEST_COEFFICIENT, ZIGZAG, Layout
from accelir_plugins.planar.planes import LUMA_FOR_CHROMA
from accelir_plugins.ycbcr import DCT, doubled_rows

__all__ = ["compensated"]

# Rows of units at a time.
_BAND = 16


def _from_neighbourhood(halved: bool) -> npt.NDArray[np.float32]:
    """From eight samples of chroma, with one more at either end, to the DCT of the luma beside them: (8 or 16, 10)."""
    if not halved:
        return np.ascontiguousarray(np.pad(DCT, ((0, 0), (1, 1))), np.float32)
    samples = doubled_rows(np.eye(10, dtype=np.float32), 20)[2:18]
    return np.ascontiguousarray(np.concatenate([DCT @ samples[:8], DCT @ samples[8:]]), np.float32)


def compensated(
    coefficients: npt.NDArray[np.int16], levels: npt.NDArray[np.int16], tables: Tables, form: Layout, share: float
) -> npt.NDArray[np.int16]:
    """Coefficients whose luma makes up for chroma.

    Args:
        coefficients: int16 (units, parts, 64), zigzag, eight times the orthonormal DCT; not changed.
        levels: int16 (units, parts, 64): only those of chroma are looked at.
        tables: int64 (2, 64), zigzag.
        form: The layout, in colour.
        share: Of what luma could take back, 0 to 1.

    Returns:
        int16 (units, parts, 64): only luma differs.
    """
    shares = (share * LUMA_FOR_CHROMA).astype(np.float32)
    plane = np.empty((8 * form.rows, 8 * form.columns), np.float32)
    down, across = (_from_neighbourhood(number == 2) for number in (form.vertical, form.horizontal))
    inverse = np.ascontiguousarray(DCT.T, np.float32)
    steps = tables[1].astype(np.float32)
    result = np.empty_like(coefficients)

    def errors(rows: slice) -> None:
        units = slice(rows.start * form.columns, rows.stop * form.columns)
        own = plane[8 * rows.start : 8 * rows.stop]
        _errors(coefficients[units], levels[units], steps, shares, ZIGZAG, inverse, form.columns, own)

    def moved(rows: slice) -> None:
        units = slice(rows.start * form.columns, rows.stop * form.columns)
        _move(coefficients[units], plane, rows.start, form.columns, down, across, ZIGZAG, result[units])

    bands = ranges(form.rows, _BAND)
    together([functools.partial(errors, rows) for rows in bands])
    together([functools.partial(moved, rows) for rows in bands])
    return result


@compiled
def _errors(
    coefficients: Any, levels: Any, steps: Any, shares: Any, zigzag: Any, inverse: Any, columns: int, plane: Any
) -> None:
    """What luma could take back of the error of Cb and Cr, as samples of chroma."""
    error = np.empty((8, 8), np.float32)
    half = np.empty((8, 8), np.float32)
    blue = coefficients.shape[1] - 2
    for unit in range(coefficients.shape[0]):
        for k in range(64):
            off = np.float32(0)
            for part in range(2):
                value = np.float32(coefficients[unit, blue + part, k]) * np.float32(0.125)
                off += shares[part] * (value - np.float32(levels[unit, blue + part, k]) * steps[k])
            error[zigzag[k] >> 3, zigzag[k] & 7] = off
        half[:] = 0
        for row in range(8):
            for frequency in range(8):
                scale = inverse[row, frequency]
                for column in range(8):
                    half[row, column] += scale * error[frequency, column]
        top, left = 8 * (unit // columns), 8 * (unit % columns)
        for row in range(8):
            for column in range(8):
                total = np.float32(0)
                for frequency in range(8):
                    total += half[row, frequency] * inverse[column, frequency]
                plane[top + row, left + column] = total


@compiled
def _move(
    coefficients: Any, plane: Any, first: int, columns: int, down: Any, across: Any, zigzag: Any, result: Any
) -> None:
    """Add the DCT of the doubled plane to the luma of some rows of units, from row ``first`` on."""
    height, width = plane.shape
    tall, wide = down.shape[0], across.shape[0]
    line = np.empty(width + 2, np.float32)
    half = np.empty((tall, width + 2), np.float32)
    whole = np.empty((tall, wide), np.float32)
    turned = across.T.copy()
    for row in range(coefficients.shape[0] // columns):
        half[:] = 0
        for near in range(10):
            at = min(max(8 * (first + row) - 1 + near, 0), height - 1)
            for column in range(width):
                line[column + 1] = plane[at, column]
            line[0], line[width + 1] = line[1], line[width]
            for frequency in range(tall):
                scale = down[frequency, near]
                for column in range(width + 2):
                    half[frequency, column] += scale * line[column]
        for column in range(columns):
            whole[:] = 0
            for frequency in range(tall):
                for near in range(10):
                    scale = half[frequency, 8 * column + near]
                    for other in range(wide):
                        whole[frequency, other] += scale * turned[near, other]
            unit = row * columns + column
            for part in range(coefficients.shape[1] - 2, coefficients.shape[1]):
                for k in range(64):
                    result[unit, part, k] = coefficients[unit, part, k]
            for part in range(coefficients.shape[1] - 2):
                upper, before = 8 * (part // (wide // 8)), 8 * (part % (wide // 8))
                for k in range(64):
                    shift = np.float32(8) * whole[upper + (zigzag[k] >> 3), before + (zigzag[k] & 7)]
                    value = np.rint(np.float32(coefficients[unit, part, k]) + shift)
                    result[unit, part, k] = min(max(value, SMALLEST_COEFFICIENT), LARGEST_COEFFICIENT)
