"""The modes and levels of one macroblock: those that cost least."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from accelir_plugins.compiled import compiled
from accelir_plugins.webp.predict import predict_fine, predict_square
from accelir_plugins.webp.quantise import CHROMA, COARSE_DC, FINE, SQUARE, Costs, guess, optimise, round_off
from accelir_plugins.webp.tables import (
    BIT_COSTS,
    CHROMA_TREE,
    FINE_PROBABILITIES,
    FINE_TREE,
    MODES,
    SQUARE_TREE,
    ZIGZAG,
)
from accelir_plugins.webp.transform import forward, forward_walsh, inverse, inverse_walsh

__all__ = [
    "CHROMA_WEIGHT",
    "FINE_MODES",
    "Modes",
    "Work",
    "choose_fine",
    "choose_square",
    "code_chroma",
    "rebuild",
]

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]

FINE_MODES = 4
"""In the place of a macroblock's mode: that its 4x4 blocks have modes of their own."""

CHROMA_WEIGHT = 2.5
"""What squared error of chroma counts, relative to luma: about as much as it makes in R, G and B."""


class Modes(NamedTuple):
    """What is chosen for each macroblock.

    Attributes:
        square: uint8 (rows, columns): its mode, or `FINE_MODES`.
        fine: uint8 (4 rows + 1, 4 columns + 1): those of its 4x4 blocks, beyond a row and a column of DC; where it has
            one mode, that.
        chroma: uint8 (rows, columns).
        levels: int16 (rows, columns, 25, 16), in the order of the file: 16 blocks of luma, 4 of Cb, 4 of Cr, and the DC
            coefficients of luma.
        bits: float32 (rows, columns): about what it all takes.
    """

    square: Bytes
    fine: Bytes
    chroma: Bytes
    levels: npt.NDArray[np.int16]
    bits: Floats


class Work(NamedTuple):
    """Room to work in, for one macroblock."""

    tile: Floats
    lanes: Floats
    costs: Floats
    means: Floats
    sources: Floats
    right: Floats
    coefficients: Floats
    dequantised: npt.NDArray[np.int64]
    ways: npt.NDArray[np.int64]
    square_levels: npt.NDArray[np.int16]
    fine_levels: npt.NDArray[np.int16]
    fine_modes: npt.NDArray[np.int64]
    nonzero: npt.NDArray[np.int64]


def _tree_costs(tree: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Bits of each way through a tree of (probability, bit), int64 (n, steps, 2)."""
    costs = BIT_COSTS[tree[..., 0], tree[..., 1]]
    return np.where(tree[..., 0] < 0, 0, costs).sum(axis=1)


def _fine_costs() -> npt.NDArray[np.float32]:
    """Bits of a mode by the one above and the one to the left: float32 (MODES, MODES, MODES)."""
    steps = BIT_COSTS[FINE_PROBABILITIES[:, :, FINE_TREE[..., 0]], FINE_TREE[..., 1]]
    return np.ascontiguousarray(np.where(FINE_TREE[..., 0] < 0, 0, steps).sum(axis=3), np.float32)


_SQUARE_COSTS = _tree_costs(SQUARE_TREE)
_CHROMA_COSTS = _tree_costs(CHROMA_TREE)
_FINE_COSTS = _fine_costs()


@compiled
def choose_square(
    row: int,
    column: int,
    steps: npt.NDArray[np.int64],
    lagrangian: float,
    costs: Costs,
    weights: Floats,
    decoded: Bytes,
    above: npt.NDArray[np.int64],
    left: npt.NDArray[np.int64],
    work: Work,
) -> tuple[int, float, float, bool]:
    """The best mode of a macroblock: itself, its squared error, its bits, and whether any AC level is other than 0.

    Levels lie in ``work``.
    """
    predict_square(decoded, 16 * row + 1, 16 * column + 1, 16, work.tile, work.lanes, 0)
    step, coarse = steps[1], steps[3]
    worth = 4 * lagrangian / (step * step)
    guess(work.lanes, 64, np.float32(0), np.float32(0.5 / step), np.float32(worth), weights, work.costs, work.means)
    best, least = 0, np.inf
    for mode in range(4):
        total = 0.0
        for block in range(16):
            work.coefficients[block, 0] = work.means[4 * block + mode]
            total += work.costs[4 * block + mode]
        total *= step * step / 4
        forward_walsh(work.coefficients)
        total += lagrangian * _SQUARE_COSTS[mode]
        total += round_off(
            work.coefficients, 16, COARSE_DC, above[8] + left[8], steps[2], coarse, lagrangian, costs, weights
        )
        if total < least:
            best, least = mode, total
    error, bits = 0.0, _SQUARE_COSTS[best]
    for at in range(4):
        work.nonzero[at], work.nonzero[4 + at] = above[at], left[at]
    some = 0
    for block in range(16):
        forward(work.lanes, 4 * block + best, work.coefficients, block)
        context = work.nonzero[block % 4] + work.nonzero[4 + block // 4]
        more, taken, kept = optimise(
            work.coefficients,
            block,
            SQUARE,
            context,
            step,
            step,
            lagrangian,
            costs,
            weights,
            work.square_levels,
            work.ways,
        )
        error += more
        bits += taken
        work.nonzero[block % 4], work.nonzero[4 + block // 4] = kept, kept
        some |= kept
    forward_walsh(work.coefficients)
    more, taken, kept = optimise(
        work.coefficients, 16, COARSE_DC, above[8] + left[8], steps[2], coarse, lagrangian, costs, weights,
        work.square_levels, work.ways,
    )  # fmt: skip
    return best, error + more, bits + taken, some > 0


@compiled
def rebuild(
    row: int,
    column: int,
    steps: npt.NDArray[np.int64],
    mode: int,
    decoded: Bytes,
    above: npt.NDArray[np.int64],
    left: npt.NDArray[np.int64],
    work: Work,
) -> None:
    """Decode a macroblock of one mode, whose levels and predictions lie in ``work``."""
    predict_square(decoded, 16 * row + 1, 16 * column + 1, 16, work.tile, work.lanes, 0)
    levels, means = work.square_levels, work.ways[:, 0]
    for place in range(16):
        means[ZIGZAG[place]] = levels[16, place] * (steps[2] if place == 0 else steps[3])
    above[8] = left[8] = _some(levels, 16)
    inverse_walsh(means)
    for block in range(16):
        for place in range(1, 16):
            work.dequantised[ZIGZAG[place]] = levels[block, place] * steps[1]
        work.dequantised[0] = means[block]
        above[block % 4] = left[block // 4] = _some(levels, block)
        y, x = 16 * row + block // 4 * 4 + 1, 16 * column + block % 4 * 4 + 1
        inverse(work.dequantised, work.tile, block, work.lanes, 4 * block + mode, decoded, y, x)


@compiled
def _some(levels: npt.NDArray[np.int16], block: int) -> int:
    """1 if any level of a block is other than 0."""
    for place in range(16):
        if levels[block, place]:
            return 1
    return 0


@compiled
def choose_fine(
    row: int,
    column: int,
    steps: npt.NDArray[np.int64],
    lagrangian: float,
    costs: Costs,
    weights: Floats,
    room: float,
    tried: int,
    limit: float,
    modes: Modes,
    decoded: Bytes,
    above: npt.NDArray[np.int64],
    left: npt.NDArray[np.int64],
    work: Work,
) -> tuple[bool, float]:
    """Whether modes for each 4x4 block cost less than a limit, and their bits.

    If so their levels lie in ``work``; modes and samples stand where they belong.
    """
    columns = modes.square.shape[1]
    dc_step, step = steps[0], steps[1]
    worth = 4 * lagrangian / (step * step)
    total, bits, header = lagrangian * _SQUARE_COSTS[FINE_MODES], _SQUARE_COSTS[FINE_MODES], 0.0
    for at in range(4):
        work.nonzero[at], work.nonzero[4 + at] = above[at], left[at]
    for block in range(16):
        y, x = 16 * row + block // 4 * 4 + 1, 16 * column + block % 4 * 4 + 1
        _above_right(decoded, row, column, columns, block, work.right)
        predict_fine(decoded, y, x, work.right, work.sources, work.tile, block, work.lanes)
        guess(
            work.lanes,
            16,
            np.float32(0.5 / dc_step),
            np.float32(0.5 / step),
            np.float32(worth),
            weights,
            work.costs,
            work.means,
        )
        fine_y, fine_x = 4 * row + block // 4 + 1, 4 * column + block % 4 + 1
        mode_costs = _FINE_COSTS[modes.fine[fine_y - 1, fine_x], modes.fine[fine_y, fine_x - 1]]
        for mode in range(MODES):
            work.costs[mode] += np.float32(worth) * mode_costs[mode]
        context = work.nonzero[block % 4] + work.nonzero[4 + block // 4]
        best, least = 0, np.inf
        for _ in range(tried):
            mode = 0
            for other in range(1, MODES):
                if work.costs[other] < work.costs[mode]:
                    mode = other
            work.costs[mode] = np.inf
            forward(work.lanes, mode, work.coefficients, block)
            cost = lagrangian * mode_costs[mode]
            cost += round_off(work.coefficients, block, FINE, context, dc_step, step, lagrangian, costs, weights)
            if cost < least:
                best, least = mode, cost
        if best != mode:
            forward(work.lanes, best, work.coefficients, block)
        error, taken, kept = optimise(
            work.coefficients,
            block,
            FINE,
            context,
            dc_step,
            step,
            lagrangian,
            costs,
            weights,
            work.fine_levels,
            work.ways,
        )
        bits += taken + mode_costs[best]
        header += mode_costs[best]
        total += error + lagrangian * (taken + mode_costs[best])
        if total >= limit or header > room:
            return False, bits
        work.nonzero[block % 4], work.nonzero[4 + block // 4] = kept, kept
        modes.fine[fine_y, fine_x] = best
        for place in range(16):
            work.dequantised[ZIGZAG[place]] = work.fine_levels[block, place] * (dc_step if place == 0 else step)
        inverse(work.dequantised, work.tile, block, work.lanes, best, decoded, y, x)
    return True, bits


@compiled
def _above_right(decoded: Bytes, row: int, column: int, columns: int, block: int, right: Floats) -> None:
    """The four samples above and to the right of a 4x4 block, as decoders take them."""
    y, x = 16 * row + block // 4 * 4, 16 * column + block % 4 * 4 + 5
    for at in range(4):
        if block % 4 < 3:
            right[at] = decoded[y, x + at]
        elif column < columns - 1:
            # Below the first row the macroblock to the right is not there yet: what is above it serves.
            right[at] = decoded[16 * row, x + at]
        else:
            right[at] = decoded[16 * row, x - 1]


@compiled
def code_chroma(
    row: int,
    column: int,
    steps: npt.NDArray[np.int64],
    lagrangian: float,
    costs: Costs,
    weights: Floats,
    chroma: Bytes,
    modes: Modes,
    halves: Bytes,
    above: npt.NDArray[np.int64],
    left: npt.NDArray[np.int64],
    work: Work,
) -> float:
    """Code the chroma of a macroblock: the bits taken."""
    dc_step, step = steps[4], steps[5]
    lagrangian /= CHROMA_WEIGHT
    worth = 4 * lagrangian / (step * step)
    for block in range(8):
        y, x = 8 * row + block % 4 // 2 * 4, 8 * column + block % 2 * 4
        for at in range(16):
            work.tile[block, at] = chroma[block // 4, y + at // 4, x + at % 4]
    for part in range(2):
        predict_square(halves[part], 8 * row + 1, 8 * column + 1, 8, work.tile, work.lanes, 4 * part)
    guess(
        work.lanes,
        32,
        np.float32(0.5 / dc_step),
        np.float32(0.5 / step),
        np.float32(worth),
        weights,
        work.costs,
        work.means,
    )
    best, least = 0, np.inf
    for mode in range(4):
        total = worth * _CHROMA_COSTS[mode]
        for block in range(8):
            total += work.costs[4 * block + mode]
        if total < least:
            best, least = mode, total
    modes.chroma[row, column] = best
    bits = _CHROMA_COSTS[best]
    for block in range(8):
        forward(work.lanes, 4 * block + best, work.coefficients, block)
        beside, over = 4 + block // 4 * 2 + block % 4 // 2, 4 + block // 4 * 2 + block % 2
        _, taken, kept = optimise(
            work.coefficients, block, CHROMA, above[over] + left[beside], dc_step, step, lagrangian, costs, weights,
            work.fine_levels, work.ways,
        )  # fmt: skip
        bits += taken
        above[over], left[beside] = kept, kept
        for place in range(16):
            modes.levels[row, column, 16 + block, place] = work.fine_levels[block, place]
            work.dequantised[ZIGZAG[place]] = work.fine_levels[block, place] * (dc_step if place == 0 else step)
        y, x = 8 * row + block % 4 // 2 * 4 + 1, 8 * column + block % 2 * 4 + 1
        inverse(work.dequantised, work.tile, block, work.lanes, 4 * block + best, halves[block // 4], y, x)
    return bits
