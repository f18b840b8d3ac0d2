"""Y, Cb and Cr, and the DCT of their 8x8 blocks: what all codecs of planes go by.

Colours are those of JFIF (ITU-R BT.601, full range). Halved chroma is doubled in decoding by the triangle filter, which
libjpeg and libwebp call fancy upsampling: three quarters of the nearer sample and one of the farther, both ways.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accelir_plugins.compiled import compiled

__all__ = [
    "DCT",
    "FROM_RGB",
    "TO_RGB",
    "add_rest",
    "block_dct",
    "doubled",
    "doubled_rows",
    "fitted",
    "halved_rows_transpose",
    "halved_transpose",
]

Plane = npt.NDArray[np.float32]

# Columns: what one unit of Y, Cb, Cr adds to R, G, B.
TO_RGB = np.array([[1, 0, 1.402], [1, -0.344136286, -0.714136286], [1, 1.772, 0]])
FROM_RGB = np.linalg.inv(TO_RGB)


def _orthonormal_dct() -> npt.NDArray[np.float64]:
    """The matrix C of the orthonormal DCT-II: coefficients = C @ samples."""
    frequency, sample = np.mgrid[0:8, 0:8]
    matrix: npt.NDArray[np.float64] = np.cos((2 * sample + 1) * frequency * np.pi / 16) / 2
    matrix[0] /= np.sqrt(2)
    return matrix


DCT = _orthonormal_dct()


def block_dct(plane: Plane) -> npt.NDArray[np.float32]:
    """The orthonormal DCT of all 8x8 blocks.

    Args:
        plane: float32 (8 rows, 8 columns).

    Returns:
        float32 (rows, columns, 8, 8): vertical, then horizontal frequency.
    """
    rows, columns = plane.shape[0] // 8, plane.shape[1] // 8
    matrix = DCT.T.astype(np.float32)
    across = (np.ascontiguousarray(plane).reshape(-1, 8) @ matrix).reshape(rows, 8, columns, 8)
    down = np.ascontiguousarray(across.transpose(0, 2, 3, 1)).reshape(-1, 8) @ matrix
    return down.reshape(rows, columns, 8, 8).transpose(0, 1, 3, 2)


def doubled(plane: Plane, height: int, width: int) -> Plane:
    """A plane of half the side by the triangle filter, both ways, edges repeated, cropped to a size.

    The size is twice that of the plane, or one less.
    """
    if (-(-height // 2), -(-width // 2)) != plane.shape:
        raise ValueError(f"A plane of {plane.shape} is half of no picture of {(height, width)}.")
    result = np.empty((height, width), np.float32)
    _double(np.ascontiguousarray(plane, np.float32), result)
    return result


def halved_transpose(plane: Plane) -> Plane:
    """The transpose of `doubled`: what a gradient of the doubled plane is to that of half the side."""
    result = np.empty((-(-plane.shape[0] // 2), -(-plane.shape[1] // 2)), np.float32)
    _halve_transposed(np.ascontiguousarray(plane, np.float32), result)
    return result


def fitted(half: Plane, wanted: Plane, step: np.float32) -> Plane:
    """A plane of half the side after one step of gradient descent: doubled, it is nearer to a wanted one.

    Args:
        half: float32 (ceil(H / 2), ceil(W / 2)).
        wanted: float32 (H, W).
        step: What `halved_transpose` of the rest is multiplied by.
    """
    result = np.empty_like(half)
    _fit(half, wanted, step, result)
    return result


def add_rest(wanted: Plane, half: Plane, share: np.float32, plane: Plane) -> None:
    """Add a share of what a wanted plane has more than a doubled one.

    Args:
        wanted: float32 (H, W).
        half: float32 (ceil(H / 2), ceil(W / 2)).
        share: Of the rest.
        plane: float32 (H, W), changed.
    """
    _add_rest(wanted, half, share, plane)


def doubled_rows(plane: Plane, height: int) -> Plane:
    """Twice as many rows by the triangle filter, edges repeated, cropped to a height."""
    before = np.concatenate([plane[:1], plane[:-1]])
    after = np.concatenate([plane[1:], plane[-1:]])
    result: Plane = np.empty((2 * len(plane), plane.shape[1]), np.float32)
    near = np.float32(0.75) * plane
    quarter = np.float32(0.25)
    result[0::2] = near + quarter * before
    result[1::2] = near + quarter * after
    return result[:height]


def halved_rows_transpose(plane: Plane) -> Plane:
    """The transpose of `doubled_rows`."""
    if len(plane) % 2:
        plane = np.concatenate([plane, np.zeros_like(plane[:1])])
    upper, lower = plane[0::2], plane[1::2]
    quarter = np.float32(0.25)
    result = np.float32(0.75) * (upper + lower)
    result[:-1] += quarter * upper[1:]
    result[1:] += quarter * lower[:-1]
    result[0] += quarter * upper[0]
    result[-1] += quarter * lower[-1]
    return np.asarray(result, np.float32)


_NEAR, _FAR = np.float32(0.75), np.float32(0.25)
# Rows of the whole plane that are kept: a row of the half plane takes four.
_TURN = 4


@compiled
def _double(plane: Plane, result: Plane) -> None:
    # The row at hand and its two neighbours, each already twice as wide.
    wide = np.empty((3, 2 * plane.shape[1]), np.float32)
    for row in range(len(result)):
        near, far = _rows_around(plane, row, wide)
        for column in range(result.shape[1]):
            result[row, column] = _NEAR * near[column] + _FAR * far[column]


@compiled
def _rows_around(plane: Plane, row: int, wide: Plane) -> tuple[Plane, Plane]:
    """Of two widened rows, the nearer to a row of the doubled plane and the farther; rows are asked for in order."""
    own = row // 2
    if row % 2 == 0:
        if own == 0:
            _widen(plane[0], wide[0])
        if own + 1 < len(plane):
            _widen(plane[own + 1], wide[(own + 1) % 3])
    other = own + 1 if row % 2 else own - 1
    return wide[own % 3], wide[min(max(other, 0), len(plane) - 1) % 3]


@compiled
def _widen(row: Plane, wide: Plane) -> None:
    last = len(row) - 1
    wide[0] = _NEAR * row[0] + _FAR * row[0]
    for at in range(last):
        wide[2 * at + 1] = _NEAR * row[at] + _FAR * row[at + 1]
        wide[2 * at + 2] = _NEAR * row[at + 1] + _FAR * row[at]
    wide[2 * last + 1] = _NEAR * row[last] + _FAR * row[last]


@compiled
def _halve_transposed(plane: Plane, result: Plane) -> None:
    low = np.zeros(2 * result.shape[1], np.float32)
    nothing = np.zeros(plane.shape[1], np.float32)
    for row in range(len(result)):
        _halve_row(plane, row, len(plane), len(plane), nothing, low, result[row])


@compiled
def _halve_row(lines: Plane, row: int, height: int, turn: int, nothing: Plane, low: Plane, result: Plane) -> None:
    """One row of half the side.

    Args:
        lines: Rows of the whole plane, each at its number modulo ``turn``: those around 2 * row are looked at.
        row: Of the half plane.
        height: Rows of the whole plane.
        turn: How many rows ``lines`` has.
        nothing: Zeros, as many as there are columns.
        low: Room for one row of half the height, not yet of half the width; zeros beyond an odd edge.
        result: The row.
    """
    rows, columns, width = (height + 1) // 2, len(result), lines.shape[1]
    upper = lines[(2 * row) % turn]
    lower = lines[(2 * row + 1) % turn] if 2 * row + 1 < height else nothing
    below = lines[(2 * row + 2) % turn] if row + 1 < rows else (upper if row == 0 else nothing)
    above = lines[(2 * row - 1) % turn] if row else (lower if rows == 1 else nothing)
    for column in range(width):
        low[column] = _NEAR * (upper[column] + lower[column]) + _FAR * below[column] + _FAR * above[column]
    if row == 0 and rows > 1:
        for column in range(width):
            low[column] += _FAR * upper[column]
    if row + 1 == rows and rows > 1:
        for column in range(width):
            low[column] += _FAR * lower[column]
    for column in range(columns):
        left, right = low[2 * column], low[2 * column + 1]
        total = _NEAR * (left + right)
        total += _FAR * (low[2 * column + 2] if column + 1 < columns else (left if column == 0 else np.float32(0)))
        total += _FAR * (low[2 * column - 1] if column else (right if columns == 1 else np.float32(0)))
        if column == 0 and columns > 1:
            total += _FAR * left
        if column + 1 == columns and columns > 1:
            total += _FAR * right
        result[column] = total


@compiled
def _fit(half: Plane, wanted: Plane, step: np.float32, result: Plane) -> None:
    """A row follows as soon as the rest below it is known, so that all of it stays in the processor's cache."""
    height, width = wanted.shape
    rows, columns = half.shape
    wide = np.empty((3, 2 * columns), np.float32)
    rest = np.empty((_TURN, width), np.float32)
    low = np.zeros(2 * columns, np.float32)
    nothing = np.zeros(width, np.float32)
    change = np.empty(columns, np.float32)
    for row in range(height):
        near, far = _rows_around(half, row, wide)
        own = rest[row % _TURN]
        for column in range(width):
            own[column] = wanted[row, column] - (_NEAR * near[column] + _FAR * far[column])
        # Rows of the half plane that are complete by now.
        first = row // 2 - 1 if row % 2 == 0 and row else rows - 1
        last = rows if row + 1 == height else row // 2
        for done in range(first, last):
            _halve_row(rest, done, height, _TURN, nothing, low, change)
            for column in range(columns):
                result[done, column] = half[done, column] + step * change[column]


@compiled
def _add_rest(wanted: Plane, half: Plane, share: np.float32, plane: Plane) -> None:
    wide = np.empty((3, 2 * half.shape[1]), np.float32)
    for row in range(len(wanted)):
        near, far = _rows_around(half, row, wide)
        for column in range(wanted.shape[1]):
            plane[row, column] += share * (wanted[row, column] - (_NEAR * near[column] + _FAR * far[column]))
