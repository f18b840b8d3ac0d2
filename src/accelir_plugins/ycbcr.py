"""Y, Cb and Cr, and the DCT of their 8x8 blocks: what all codecs of planes go by.

Colours are those of JFIF (ITU-R BT.601, full range). Halved chroma is doubled in decoding by the triangle filter, which
libjpeg and libwebp call fancy upsampling: three quarters of the nearer sample and one of the farther, both ways.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "DCT",
    "FROM_RGB",
    "TO_RGB",
    "block_dct",
    "doubled",
    "doubled_rows",
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
    """A plane of half the side by the triangle filter, both ways, edges repeated, cropped to a size."""
    near, quarter = np.float32(0.75) * plane, np.float32(0.25) * plane
    across = np.empty((len(plane), 2 * plane.shape[1]), np.float32)
    across[:, 0::2] = near
    across[:, 1::2] = near
    across[:, 2::2] += quarter[:, :-1]
    across[:, 0] += quarter[:, 0]
    across[:, 1:-1:2] += quarter[:, 1:]
    across[:, -1] += quarter[:, -1]
    return doubled_rows(across[:, :width], height)


def halved_transpose(plane: Plane) -> Plane:
    """The transpose of `doubled`: what a gradient of the doubled plane is to that of half the side."""
    return np.ascontiguousarray(halved_rows_transpose(halved_rows_transpose(plane).T).T)


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
