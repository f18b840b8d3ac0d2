"""The predictions of VP8 key frames (RFC 6386, section 12), several of a block side by side.

Planes have a row above and a column to the left of the picture, of the samples that decoders take there. What the
samples wanted differ by from predictions lies in lanes, so that what is done to all of them is done at once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accelir_plugins.compiled import compiled
from accelir_plugins.webp.tables import MODES

__all__ = ["bordered", "predict_fine", "predict_square"]

Plane = npt.NDArray[np.uint8]
Lanes = npt.NDArray[np.float32]

_ABOVE, _LEFT = 127, 129

# Sources of a predicted sample: means of three neighbours on the edge, counted from below left to above right, of two,
# and the last sample.
_TWO, _LAST = 13, 25


def bordered(rows: int, columns: int) -> Plane:
    """A plane of undefined samples with its border: uint8 (rows + 1, columns + 1)."""
    plane = np.empty((rows + 1, columns + 1), np.uint8)
    plane[:, 0] = _LEFT
    plane[0] = _ABOVE
    return plane


def _sources() -> npt.NDArray[np.int64]:
    """Which source each sample of each fine mode comes from: int64 (MODES, 4, 4); not told of DC and TM."""
    sources = np.zeros((MODES, 4, 4), np.int64)
    for y in range(4):
        for x in range(4):
            vertical_right, horizontal_down, up = 2 * x - y, 2 * y - x, x + 2 * y
            sources[2:, y, x] = (
                5 + x,
                3 - y,
                4 - y + x,
                # Between two samples of the row above, or on one of them; further left, on the left column.
                (_TWO + 4 + x - y // 2, 4 + x - y // 2)[y % 2] if vertical_right >= -1 else 5 - y,
                6 + x + y,
                (_TWO + 5 + x + y // 2, 6 + x + y // 2)[y % 2],
                (_TWO + 3 - y + x // 2, 4 - y + x // 2)[x % 2] if horizontal_down >= -1 else 3 + x,
                (_TWO + 2 - y - x // 2, 2 - y - x // 2)[x % 2] if up < 5 else (0 if up == 5 else _LAST),
            )
    # Two samples of the vertical left mode lie beyond what it would take.
    sources[7, 2:, 3] = 10, 11
    return sources


_FINE = np.ascontiguousarray(_sources().reshape(MODES, 16).T)


@compiled
def predict_fine(
    plane: Plane, y: int, x: int, right: Lanes, sources: Lanes, tile: Lanes, block: int, lanes: Lanes
) -> None:
    """All predictions of a 4x4 block.

    Args:
        plane: uint8, with its border.
        y: First row of the block, the border counted.
        x: First column.
        right: float32 (4,): the samples above and to the right.
        sources: float32 (26,): room to work.
        tile: float32 (blocks, 16): the samples wanted.
        block: Which of them.
        lanes: float32 (16, MODES or more): one lane for each mode is written.
    """
    corner, left, above = np.float32(plane[y - 1, x - 1]), np.float32(0), np.float32(0)
    for at in range(4):
        left += plane[y + at, x - 1]
        above += plane[y - 1, x + at]
    mean = np.floor((left + above + 4) / 8)
    for row in range(4):
        slope = np.float32(plane[y + row, x - 1]) - corner
        for column in range(4):
            at = 4 * row + column
            falling = min(max(slope + plane[y - 1, x + column], np.float32(0)), np.float32(255))
            lanes[at, 0], lanes[at, 1] = tile[block, at] - mean, tile[block, at] - falling
    before = np.float32(plane[y + 3, x - 1])
    here = before
    sources[_LAST] = before
    for at in range(13):
        if at < 3:
            after = np.float32(plane[y + 2 - at, x - 1])
        elif at == 3:
            after = corner
        elif at < 8:
            after = np.float32(plane[y - 1, x + at - 4])
        elif at < 12:
            after = right[at - 8]
        else:
            after = here
        sources[at] = np.floor((before + 2 * here + after + 2) / 4)
        if at < 12:
            sources[_TWO + at] = np.floor((here + after + 1) / 2)
        before, here = here, after
    for at in range(16):
        for mode in range(2, MODES):
            lanes[at, mode] = tile[block, at] - sources[_FINE[at, mode]]


@compiled
def predict_square(plane: Plane, y: int, x: int, side: int, tile: Lanes, lanes: Lanes, first: int) -> None:
    """The four predictions of a whole macroblock, or of its chroma.

    Args:
        plane: uint8, with its border.
        y: First row of the block, the border counted.
        x: First column.
        side: Of the block.
        tile: float32 (blocks, 16): the samples wanted.
        lanes: float32 (16, 4 * blocks): a lane for each mode of each 4x4 block, modes side by side.
        first: Of the 4x4 blocks.
    """
    total, edges = 0, 0
    if y > 1:
        edges += 1
        for at in range(side):
            total += plane[y - 1, x + at]
    if x > 1:
        edges += 1
        for at in range(side):
            total += plane[y + at, x - 1]
    # The mean of the edges within the picture.
    mean = np.float32(128 if edges == 0 else (2 * total + edges * side) // (2 * edges * side))
    corner = np.float32(plane[y - 1, x - 1])
    across = side // 4
    for block in range(across * across):
        top, start = block // across * 4, block % across * 4
        lane = 4 * (first + block)
        for row in range(4):
            left = np.float32(plane[y + top + row, x - 1])
            for column in range(4):
                above = np.float32(plane[y - 1, x + start + column])
                at = 4 * row + column
                wanted = tile[first + block, at]
                lanes[at, lane] = wanted - mean
                lanes[at, lane + 1] = wanted - min(max(left + above - corner, np.float32(0)), np.float32(255))
                lanes[at, lane + 2], lanes[at, lane + 3] = wanted - above, wanted - left
