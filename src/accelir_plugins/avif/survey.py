"""A first look at a picture, as libaom takes it before it shares out the rate.

libaom (``av1/encoder/allintra_vis.c``) predicts each 8x8 block of luma from the source around it, in the mode whose
residual has the least sum of absolute DCT coefficients, quantises that residual by a common quantiser and estimates
the bits. To get a quantiser of our choice in each superblock, we have to know those estimates: the quantiser follows
from the share of the rate that is wanted for a superblock relative to them.

The common quantiser is the coarsest there is, so that hardly a coefficient is left and the estimates are nearly even.
All modes but one are linear in the samples around the block, so that they are matrices from those to coefficients; they
hold integers, so that float32 sums are exact and no order of summation changes a byte.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelir_plugins.avif.tables import AC, DC
from accelir_plugins.ycbcr import DCT

__all__ = ["SIDE", "Survey", "survey"]

SIDE = 64
"""Of a superblock in pixels."""

Floats = npt.NDArray[np.float32]
Plane = npt.NDArray[np.uint8]

# Blocks along a superblock.
_BLOCKS = SIDE // 8

# Of the integers in the matrices, over an orthonormal DCT: 16 * 255 * 4096 is within float32's 24 bits.
_SCALE = 4096

# libaom's DCT is eight times an orthonormal one.
_GAIN = 8

# Samples around a block: the corner, eight above, sixteen on the left (half of them below the block).
_CORNER, _ABOVE, _LEFT = 0, 1, 9
_AROUND = 25

# Steps of directional modes along an edge, in 64ths of a sample (AV1 specification, 7.11.2.4).
_SLOPES = {67: 27, 113: 27, 157: 151, 203: 27}

# Weights of the smooth modes, in 256ths (AV1 specification, 7.11.2.6).
_SMOOTH = np.array([255, 197, 146, 105, 73, 50, 37, 32]) / 256

# Where libaom finds no limit to how much coarser a superblock may become.
_NO_LIMIT = 10.0


@dataclass(frozen=True, eq=False)
class Survey:
    """What the look finds.

    Attributes:
        costs: float64 (rows, columns): estimated rate of each superblock.
        room: float64 (rows, columns), 1..10: at most by the root of this libaom makes a step coarser than the base.
    """

    costs: npt.NDArray[np.float64]
    room: npt.NDArray[np.float64]


def survey(luma: Plane) -> Survey:
    """Look at a picture.

    Args:
        luma: uint8 (H, W), full range.
    """
    height, width = luma.shape
    padded = np.pad(luma, ((0, -height % 8), (0, -width % 8)), mode="edge").astype(np.float32)
    rows, columns = padded.shape[0] // 8, padded.shape[1] // 8
    around, averages = _around(padded, rows, columns)
    blocks = padded.reshape(rows, 8, columns, 8).swapaxes(1, 2).reshape(rows, columns, 64)
    costs = np.zeros((-(-rows // _BLOCKS) * _BLOCKS, -(-columns // _BLOCKS) * _BLOCKS))
    room = np.full(costs.shape, _NO_LIMIT)
    for first in range(0, rows, _BLOCKS):
        band = np.s_[first : min(first + _BLOCKS, rows)]
        residual = _residual(blocks[band].reshape(-1, 64), around[band].reshape(-1, _AROUND), averages[band].ravel())
        cost, largest = _estimate(residual)
        costs[band, :columns] = cost.reshape(-1, columns)
        room[band, :columns] = np.where(largest < 1, _NO_LIMIT, largest).reshape(-1, columns)
    shape = (costs.shape[0] // _BLOCKS, _BLOCKS, costs.shape[1] // _BLOCKS, _BLOCKS)
    room = np.minimum(room.reshape(shape).min(axis=(1, 3)), _NO_LIMIT)
    return Survey(costs.reshape(shape).sum(axis=(1, 3)), room)


def _around(padded: Floats, rows: int, columns: int) -> tuple[Floats, Floats]:
    """The samples around each block, float32 (rows, columns, 25), and the average that mode DC predicts.

    Where there are none, AV1 takes those of the other side, or constants (specification, 7.11.2).
    """
    around = np.empty((rows, columns, _AROUND), np.float32)
    above, left = around[:, :, _ABOVE:_LEFT], around[:, :, _LEFT : _LEFT + 8]
    above[1:] = padded[7:-1:8].reshape(rows - 1, columns, 8)
    left[:, 1:] = padded[:, 7:-1:8].reshape(rows, 8, columns - 1).swapaxes(1, 2)
    above[0, 1:] = padded[0, 7:-1:8, None]
    left[1:, 0] = padded[7:-1:8, 0, None]
    above[0, 0], left[0, 0] = 127, 129
    around[1:, 1:, _CORNER] = padded[7:-1:8, 7:-1:8]
    around[0, 1:, _CORNER] = padded[0, 7:-1:8]
    around[1:, 0, _CORNER] = padded[7:-1:8, 0]
    around[0, 0, _CORNER] = 128
    below = around[:, :, _LEFT + 8 :]
    below[...] = left[:, :, 7:]
    known = _below_is_known(rows, columns)
    below[known] = np.concatenate([left[1:], left[-1:]])[known]
    sums = np.stack([above.sum(axis=2), left.sum(axis=2)])
    averages = np.floor(sums.sum(axis=0) / 16 + 0.5)
    averages[0] = np.floor(sums[1, 0] / 8 + 0.5)
    averages[1:, 0] = np.floor(sums[0, 1:, 0] / 8 + 0.5)
    averages[0, 0] = 128
    return around, averages.astype(np.float32)


def _below_is_known(rows: int, columns: int) -> npt.NDArray[np.bool_]:
    """Whether the block below the left neighbour is coded before a block: blocks of a superblock come in Z order."""
    row, column = np.arange(rows)[:, None] % _BLOCKS, np.arange(columns) % _BLOCKS
    place = [
        sum((across >> bit & 1) << 2 * bit | (down >> bit & 1) << 2 * bit + 1 for bit in range(3))
        for down, across in ((row, column), (row + 1, column - 1))
    ]
    known = (row < _BLOCKS - 1) & ((column == 0) | (place[1] < place[0])) & (np.arange(rows)[:, None] < rows - 1)
    known[:, 0] = False
    return known


def _residual(blocks: Floats, around: Floats, averages: Floats) -> Floats:
    """The coefficients of what the best mode leaves of blocks, float32 (blocks, 64), in 1 / 4096."""
    own = blocks @ _TRANSFORM
    best = own.copy()
    best[:, 0] -= averages * (8 * _SCALE)
    least = np.abs(best).sum(axis=1)
    for left in (*(own - around @ mode for mode in _MODES), _paeth(blocks, around) @ _TRANSFORM):
        cost = np.abs(left).sum(axis=1)
        better = cost < least
        best[better] = left[better]
        least = np.minimum(least, cost)
    return best


def _paeth(blocks: Floats, around: Floats) -> Floats:
    """What is left of blocks by the mode that takes whichever neighbour is nearest to above + left - corner."""
    corner = around[:, _CORNER, None, None]
    above, left = around[:, None, _ABOVE:_LEFT], around[:, _LEFT : _LEFT + 8, None]
    from_left, from_above = np.abs(above - corner), np.abs(left - corner)
    from_corner = np.abs(above + left - 2 * corner)
    predicted = np.where(from_above <= from_corner, above, corner)
    predicted = np.where((from_left <= from_above) & (from_left <= from_corner), left, predicted)
    return blocks - predicted.reshape(-1, 64)


def _estimate(residual: Floats) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Of each block the bits by libaom's estimate, and the largest level of an AC coefficient."""
    cost = np.ones(len(residual))
    largest = np.zeros(len(residual), np.int64)
    steps = np.array([DC[-1], *[AC[-1]] * 63])
    some = np.flatnonzero((np.abs(residual) * (2 * _GAIN / _SCALE) >= steps - 1).any(axis=1))
    if some.size:
        values = np.rint(np.abs(residual[some]) * (_GAIN / _SCALE)).astype(np.int64)
        # As libaom divides: by a reciprocal of 16 bits, rounded down.
        levels = ((values + steps // 2) * (65536 // steps) >> 16)[:, _SCAN]
        ends = np.where(levels > 0, np.arange(1, 65), 0).max(axis=1)
        cost[some] += ends + (np.floor(np.log2(1 + levels)) + (levels > 0)).sum(axis=1)
        largest[some] = levels[:, 1:].max(axis=1)
    return cost, largest


def _modes() -> list[npt.NDArray[np.float64]]:
    """Of each linear mode but DC, what it takes of the samples around: float64 (64, 25) each."""
    unit = np.eye(_AROUND)
    corner, above, left = unit[_CORNER], unit[_ABOVE:_LEFT], unit[_LEFT:]
    above = np.concatenate([above, np.repeat(above[7:], 8, axis=0)])
    upper, side = (np.concatenate([corner[None], edge]) for edge in (above, left))
    smooth = _SMOOTH[:, None]
    down = [smooth[y] * above[:8] + (1 - smooth[y]) * left[7] for y in range(8)]
    across = [smooth * left[y] + (1 - smooth) * above[7] for y in range(8)]
    vertical = np.array([above[:8] for _ in range(8)])
    horizontal = np.array([np.repeat(left[y : y + 1], 8, axis=0) for y in range(8)])
    long, short = _filtered(upper), (_filtered(upper[:9]), _filtered(side[:9]))
    diagonal = [[long[1 + min(x + y + 1, 15)] for x in range(8)] for y in range(8)]
    through = [[short[0][x - y] if x >= y else short[1][y - x] for x in range(8)] for y in range(8)]
    steep = [[_at(_doubled(upper), 64 * x + (y + 1) * _SLOPES[67]) for x in range(8)] for y in range(8)]
    flat = [[_at(_doubled(side), 64 * y + (x + 1) * _SLOPES[203]) for x in range(8)] for y in range(8)]
    between = [
        [
            [
                _at(_doubled(upper[:9]), 64 * x - (y + 1) * right)
                if 64 * x - (y + 1) * right >= -64
                else _at(_doubled(side[:9]), 64 * y - (x + 1) * down_)
                for x in range(8)
            ]
            for y in range(8)
        ]
        for right, down_ in ((_SLOPES[113], _SLOPES[157]), (_SLOPES[157], _SLOPES[113]))
    ]
    both = (np.array(down) + np.array(across)) / 2
    modes = (vertical, horizontal, diagonal, through, *between, flat, steep, both, down, across)
    return [np.array(mode).reshape(64, _AROUND) for mode in modes]


def _filtered(edge: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """An edge that starts with the corner, smoothed as the diagonal modes have it."""
    beyond = np.concatenate([edge, edge[-1:]])
    return np.concatenate([edge[:1], (beyond[:-2] + 2 * beyond[1:-1] + beyond[2:]) / 4])


def _doubled(edge: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """An edge that starts with the corner, at twice the samples; the third is that after the corner."""
    beyond = np.concatenate([edge[:1], edge, edge[-1:]])
    between = (9 * (beyond[1:-2] + beyond[2:-1]) - beyond[:-3] - beyond[3:]) / 16
    doubled = np.empty((2 * len(edge) - 1, _AROUND))
    doubled[0::2] = edge
    doubled[1::2] = between
    return doubled


def _at(doubled: npt.NDArray[np.float64], position: int) -> npt.NDArray[np.float64]:
    """Between the samples of a doubled edge, at 64ths of a sample after that which follows the corner."""
    whole, part = divmod(position, 32)
    last = len(doubled) - 1
    return (32 - part) / 32 * doubled[min(whole + 2, last)] + part / 32 * doubled[min(whole + 3, last)]


def _scaled(matrix: npt.NDArray[np.floating]) -> Floats:
    return np.rint(_SCALE * matrix).astype(np.float32)


_FREQUENCIES = np.kron(DCT, DCT).astype(np.float64)
_TRANSFORM = _scaled(_FREQUENCIES.T)
_MODES = [_scaled((_FREQUENCIES @ mode).T) for mode in _modes()]

# Coefficients along diagonals that turn at the edges.
_SCAN = np.array(
    sorted(range(64), key=lambda at: (sum(divmod(at, 8)), at if sum(divmod(at, 8)) % 2 else -at)), dtype=np.int64
)
