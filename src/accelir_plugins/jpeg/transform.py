"""From pixels to DCT coefficients, in the integers of libjpeg: colour, subsampling, edges and the "islow" DCT.

Coefficients are stored per unit, which is what the standard calls an MCU: int16 (units, parts, 64), zigzag, eight times
the orthonormal DCT. With 4:2:0 a unit has four luma parts, then Cb and Cr; with 4:2:2 two, then Cb and Cr; with 4:4:4
Y, Cb, Cr; in gray images Y alone. A block of the level map is one unit, but in 4:2:2, where two units of 16x8 pixels
stand one on the other.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from accelir.image import ImageArray
from accelir.threads import ranges, together
from accelir_plugins.compiled import compiled
from accelir_plugins.planar.planes import Chroma, to_planes

__all__ = [
    "LARGEST_COEFFICIENT",
    "SMALLEST_COEFFICIENT",
    "ZIGZAG",
    "Layout",
    "Subsampling",
    "coefficients",
    "emphasised",
    "layout",
]

Subsampling = Literal["420", "422", "444"]

SMALLEST_COEFFICIENT, LARGEST_COEFFICIENT = -8 * 1024, 8 * 1023
"""Times eight, of what a baseline file can hold with steps of 1: its DC levels are -1024 to 1023."""

# Rows of units that are transformed at a time: their planes stay in the processor's cache.
_BAND = 8
# Blocks side by side that are transformed together.
_TOGETHER = 32
# In MCUs of a scan.
_LONGEST_INTERVAL = 0xFFFF
# (horizontal, vertical): luma blocks in a unit, where Cb and Cr have one.
_SAMPLING: dict[Subsampling, tuple[int, int]] = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}


def _zigzag() -> npt.NDArray[np.int64]:
    """The row-major index of each zigzag position (Figure A.6 of the standard)."""
    diagonal_order = sorted(
        ((row, column) for row in range(8) for column in range(8)),
        # Odd diagonals run downwards, even ones upwards.
        key=lambda at: (at[0] + at[1], at[0] if (at[0] + at[1]) % 2 else at[1]),
    )
    return np.array([8 * row + column for row, column in diagonal_order])


ZIGZAG = _zigzag()

# The butterflies of libjpeg's accurate integer DCT, multiplied out: 13-bit fixed point, acting on the sums (even
# frequencies 0 2 4 6) and differences (odd ones 1 3 5 7) of mirrored samples. Its constants are rounded one by one, so
# entries that are equal in theory differ here by one.
_EVEN = np.array(
    [[8192, 8192, 8192, 8192], [10703, 4433, -4433, -10703], [8192, -8192, -8192, 8192], [4433, -10704, 10704, -4433]],
    dtype=np.int32,
)
_ODD = np.array(
    [[11363, 9633, 6437, 2260], [9633, -2259, -11362, -6436], [6437, -11362, 2261, 9633], [2260, -6436, 9633, -11363]],
    dtype=np.int32,
)


@dataclass(frozen=True)
class Layout:
    """How an image falls into units.

    Attributes:
        rows: Of units.
        columns: Of units.
        horizontal: Luma blocks side by side in a unit, the standard's sampling factor H: 1 or 2.
        vertical: Luma blocks one on the other in a unit, V: 1 or 2.
        components: 3, or 1 for gray.
        component_of_part: int64 (parts,): the component (0, 1, 2) of each 8x8 block in a unit.
        real: bool (units, parts): False for the luma blocks that only fill up units at the right and bottom edges.
        interval_rows: Rows of units in a restart interval; `rows` where coding never restarts.
        run: Of a sample, how many units lie side by side in the image before the next run begins; 0 for all.
    """

    rows: int
    columns: int
    horizontal: int
    vertical: int
    components: int
    component_of_part: npt.NDArray[np.int64]
    real: npt.NDArray[np.bool_]
    interval_rows: int
    run: int = 0

    @property
    def intervals(self) -> list[slice]:
        """The units of each restart interval: whole rows, so that each begins with a block inside the image."""
        units, step = self.rows * self.columns, self.interval_rows * self.columns
        return [slice(start, min(start + step, units)) for start in range(0, units, step)]

    def sampling(self, component: int) -> tuple[int, int]:
        """(horizontal, vertical): blocks of a component in a unit."""
        return (self.horizontal, self.vertical) if component == 0 else (1, 1)

    @property
    def block(self) -> int:
        """Side of a block of the level map in pixels: as wide as a unit."""
        return 8 * self.horizontal

    @property
    def stacked(self) -> int:
        """Units in a block of the level map, one on the other."""
        return self.horizontal // self.vertical

    @property
    def block_rows(self) -> int:
        """Rows of the level map; it has as many columns as there are columns of units."""
        return -(-self.rows // self.stacked)

    @property
    def coefficients(self) -> int:
        """K: coefficients in a block of the level map."""
        return 64 * len(self.component_of_part) * self.stacked


def layout(shape: tuple[int, ...], subsampling: Subsampling, restart_interval: int = 0) -> Layout:
    """The layout of an image.

    Args:
        shape: (H, W, 3), or (H, W), which has no chroma to subsample.
        subsampling: Of the chroma.
        restart_interval: In rows of units, at most as many as DRI can say for a scan of luma alone; 0 for none.
    """
    components = 3 if len(shape) == 3 else 1
    horizontal, vertical = _SAMPLING[subsampling] if components == 3 else (1, 1)
    rows, columns = -(-shape[0] // (8 * vertical)), -(-shape[1] // (8 * horizontal))
    inside_row = np.arange(rows * vertical) < -(-shape[0] // 8)
    inside_column = np.arange(columns * horizontal) < -(-shape[1] // 8)
    luma = (inside_row[:, None] & inside_column).reshape(rows, vertical, columns, horizontal).transpose(0, 2, 1, 3)
    component_of_part = np.array([0] * (horizontal * vertical) + list(range(1, components)))
    real = np.ones((rows * columns, len(component_of_part)), dtype=np.bool_)
    real[:, component_of_part == 0] = luma.reshape(rows * columns, -1)
    most = _LONGEST_INTERVAL // (columns * horizontal * vertical)
    interval_rows = min(restart_interval, most, rows) if restart_interval else rows
    return Layout(rows, columns, horizontal, vertical, components, component_of_part, real, interval_rows)


def coefficients(image: ImageArray, form: Layout, chroma: Chroma = "average") -> npt.NDArray[np.int16]:
    """The DCT coefficients of an image.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        form: Its layout.
        chroma: How it is halved where it is halved both ways: "average" is libjpeg's, to the last bit; "sharp" decodes
            nearest to the picture, see `accelir_plugins.planar.planes.to_planes`.

    Returns:
        int16 (units, parts, 64): zigzag, eight times the orthonormal DCT of the samples less 128.
    """
    result = np.empty((form.rows * form.columns, len(form.component_of_part), 64), dtype=np.int16)
    if chroma == "sharp" and form.components == 3 and form.vertical == 2:
        made = to_planes(image, "full", "sharp")
        planes = (made.luma, *(made.chroma or ()))
        together([functools.partial(_band_of_planes, planes, form, rows, result) for rows in ranges(form.rows, _BAND)])
        return result
    together([functools.partial(_band, image, form, rows, result) for rows in ranges(form.rows, _BAND)])
    return result


def emphasised(coefficients: npt.NDArray[np.int16], form: Layout, luma: float, chroma: float) -> npt.NDArray[np.int16]:
    """Coefficients made larger in proportion to their frequency, u + v of 0 to 14: high-frequency emphasis.

    Args:
        coefficients: int16 (units, parts, 64), zigzag; changed, and returned.
        form: The layout.
        luma: By which share the highest frequency grows.
        chroma: The same of Cb and Cr.
    """
    if not luma and not chroma:
        return coefficients
    frequency = (ZIGZAG // 8 + ZIGZAG % 8) / 14
    shares = np.where(form.component_of_part == 0, luma, chroma)
    _scale(coefficients, (1 + shares[:, None] * frequency).astype(np.float32))
    return coefficients


@compiled
def _scale(coefficients: Any, gains: Any) -> None:
    for unit in range(coefficients.shape[0]):
        for part in range(coefficients.shape[1]):
            for k in range(64):
                value = np.rint(coefficients[unit, part, k] * gains[part, k])
                coefficients[unit, part, k] = min(max(value, SMALLEST_COEFFICIENT), LARGEST_COEFFICIENT)


def _band(image: ImageArray, form: Layout, rows: slice, result: npt.NDArray[np.int16]) -> None:
    """The coefficients of some rows of units."""
    count = rows.stop - rows.start
    units = result[rows.start * form.columns : rows.stop * form.columns]
    for component in range(form.components):
        across, down = form.sampling(component)
        first = int(np.argmax(form.component_of_part == component))
        top = 8 * rows.start * down
        plane = np.empty((8 * count * down, 8 * form.columns * across), dtype=np.int16)
        if form.components == 1:
            _gray(image, top, plane)
        elif down < form.vertical:
            _colour_halved(image, component, top, plane)
        elif across < form.horizontal:
            _colour_narrowed(image, component, top, plane)
        else:
            _colour(image, component, top, plane)
        _transform(plane, across, down, first, ZIGZAG, _EVEN, _ODD, units)


def _band_of_planes(
    planes: Sequence[npt.NDArray[np.uint8]], form: Layout, rows: slice, result: npt.NDArray[np.int16]
) -> None:
    """The coefficients of some rows of units, whose samples are there already; edges are repeated."""
    units = result[rows.start * form.columns : rows.stop * form.columns]
    for component, plane in enumerate(planes):
        across, down = form.sampling(component)
        first = int(np.argmax(form.component_of_part == component))
        inside = plane[8 * rows.start * down : 8 * rows.stop * down]
        below = 8 * (rows.stop - rows.start) * down - len(inside)
        right = 8 * form.columns * across - plane.shape[1]
        samples = np.pad(inside, ((0, below), (0, right)), mode="edge").astype(np.int16)
        _transform(samples, across, down, first, ZIGZAG, _EVEN, _ODD, units)


@compiled
def _gray(image: Any, top: int, plane: Any) -> None:
    height, width = image.shape
    for row in range(plane.shape[0]):
        for column in range(plane.shape[1]):
            plane[row, column] = np.int16(image[min(top + row, height - 1), min(column, width - 1)])


@compiled
def _sample(image: Any, row: int, column: int, component: int) -> int:
    """One sample of Y, Cb or Cr of JFIF in 16-bit fixed point, the chroma rounded down at one half."""
    red = int(image[row, column, 0])
    green = int(image[row, column, 1])
    blue = int(image[row, column, 2])
    if component == 0:
        return (19595 * red + 38470 * green + 7471 * blue + 32768) >> 16
    if component == 1:
        return (32768 * blue - 11059 * red - 21709 * green + (128 << 16) + 32767) >> 16
    return (32768 * red - 27439 * green - 5329 * blue + (128 << 16) + 32767) >> 16


@compiled
def _colour(image: Any, component: int, top: int, plane: Any) -> None:
    height, width = image.shape[0], image.shape[1]
    for row in range(plane.shape[0]):
        for column in range(plane.shape[1]):
            plane[row, column] = _sample(image, min(top + row, height - 1), min(column, width - 1), component)


@compiled
def _colour_halved(image: Any, component: int, top: int, plane: Any) -> None:
    """Box-average 2x2 samples; columns are repeated before averaging, rows after it, as libjpeg does."""
    height, width = image.shape[0], image.shape[1]
    last = (height + 1) // 2 - 1
    for row in range(plane.shape[0]):
        upper = 2 * min(top + row, last)
        lower = min(upper + 1, height - 1)
        for column in range(plane.shape[1]):
            left = min(2 * column, width - 1)
            right = min(2 * column + 1, width - 1)
            total = _sample(image, upper, left, component) + _sample(image, upper, right, component)
            total += _sample(image, lower, left, component) + _sample(image, lower, right, component)
            # Alternating bias: halves are rounded down and up in turn.
            plane[row, column] = (total + 1 + (column & 1)) >> 2


@compiled
def _colour_narrowed(image: Any, component: int, top: int, plane: Any) -> None:
    """Average two samples side by side, the last column repeated before, as libjpeg does."""
    height, width = image.shape[0], image.shape[1]
    for row in range(plane.shape[0]):
        at = min(top + row, height - 1)
        for column in range(plane.shape[1]):
            left = min(2 * column, width - 1)
            right = min(2 * column + 1, width - 1)
            # Alternating bias, as above.
            total = _sample(image, at, left, component) + _sample(image, at, right, component) + (column & 1)
            plane[row, column] = total >> 1


@compiled
def _transform(plane: Any, across: int, down: int, first: int, zigzag: Any, even: Any, odd: Any, result: Any) -> None:
    """DCT of every 8x8 block of a plane; a unit holds ``across`` by ``down`` of them, from part ``first`` on.

    Some blocks side by side at a time, so that the innermost loops run over all their rows, then over all their
    columns.
    """
    block_columns = plane.shape[1] // 8
    columns = block_columns // across
    samples = np.empty((8, 8 * _TOGETHER), dtype=np.int32)
    half = np.empty((8, 8 * _TOGETHER), dtype=np.int32)
    full = np.empty((8, 8 * _TOGETHER), dtype=np.int32)
    for block_row in range(plane.shape[0] // 8):
        for start in range(0, block_columns, _TOGETHER):
            count = min(_TOGETHER, block_columns - start)
            for row in range(8):
                line = plane[8 * block_row + row, 8 * start : 8 * (start + count)]
                for block in range(count):
                    for column in range(8):
                        samples[column, 8 * block + row] = line[8 * block + column] - 128
            _butterflies(samples, even, odd, 11, 8 * count, half)
            for frequency in range(8):
                for block in range(count):
                    for row in range(8):
                        samples[row, 8 * block + frequency] = half[frequency, 8 * block + row]
            _butterflies(samples, even, odd, 15, 8 * count, full)
            for block in range(count):
                block_column = start + block
                unit = (block_row // down) * columns + block_column // across
                part = first + (block_row % down) * across + block_column % across
                for k in range(64):
                    result[unit, part, k] = full[zigzag[k] >> 3, 8 * block + (zigzag[k] & 7)]


@compiled
def _butterflies(lines: Any, even: Any, odd: Any, shift: int, count: int, result: Any) -> None:
    """The DCT across eight lines, column by column; 32 bits hold all that becomes of 8-bit samples."""
    bias = np.int32(1 << (shift - 1))
    for k in range(4):
        e0, e1, e2, e3 = even[k, 0], even[k, 1], even[k, 2], even[k, 3]
        o0, o1, o2, o3 = odd[k, 0], odd[k, 1], odd[k, 2], odd[k, 3]
        for at in range(count):
            total = e0 * np.int32(lines[0, at] + lines[7, at]) + e1 * np.int32(lines[1, at] + lines[6, at])
            total += e2 * np.int32(lines[2, at] + lines[5, at]) + e3 * np.int32(lines[3, at] + lines[4, at])
            result[2 * k, at] = np.int32(total + bias) >> shift
        for at in range(count):
            total = o0 * np.int32(lines[0, at] - lines[7, at]) + o1 * np.int32(lines[1, at] - lines[6, at])
            total += o2 * np.int32(lines[2, at] - lines[5, at]) + o3 * np.int32(lines[3, at] - lines[4, at])
            result[2 * k + 1, at] = np.int32(total + bias) >> shift
