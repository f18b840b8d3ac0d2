"""What blocks cost in error and bits: a guess for many predictions at once, a count for one, and the best levels.

Costs are squared error of samples, weighted by frequency, plus the Lagrangian times bits. Coefficients are twice those
of an orthonormal transform, so that their squared error is four times that of the samples; that of DC coefficients of
DC coefficients is 16 times that.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from accelir_plugins.compiled import compiled
from accelir_plugins.webp.tables import (
    BANDS,
    BIT_COSTS,
    CATEGORY_BASES,
    CATEGORY_BITS,
    CATEGORY_PROBABILITIES,
    TOKEN_TREE,
    ZIGZAG,
)
from accelir_plugins.webp.transform import turned

__all__ = ["CHROMA", "COARSE_DC", "FINE", "SQUARE", "Costs", "costs_of", "guess", "optimise", "round_off"]

Floats = npt.NDArray[np.float32]
Levels = npt.NDArray[np.int16]

# Types of blocks (section 13.3): luma without DC, the DC coefficients of luma, chroma, luma with DC.
SQUARE, COARSE_DC, CHROMA, FINE = range(4)

# Levels that have a cost of their own; those from here on are about the same.
_LARGE = 67

_LARGEST_LEVEL = 2047

# Of the squared error of coefficients in that of samples.
_SHARE, _COARSE_SHARE = 1 / 4, 1 / 16

# Fractions of a step from which on levels are rounded up, as one minus it.
_ROUNDING = np.float32(0.4)

# Bits of a level other than 0, and more by the root of it.
_GUESSED, _GUESSED_ROOT = np.float32(1.9), np.float32(1.6)


class Costs(NamedTuple):
    """Bits by type of block, place in it and context.

    Attributes:
        levels: float32 (4, 17, 3, 68): of a level, its sign and extra bits; behind another than 0 and in blocks with
            neighbours that have some, also that the block does not end before it.
        ends: float32 (4, 17, 3, 2): that the block ends here, and that it does not.
    """

    levels: npt.NDArray[np.float32]
    ends: npt.NDArray[np.float32]


def _extra_bits() -> npt.NDArray[np.float64]:
    """Bits of sign and distance from the base of the category, by level."""
    bits = np.ones(_LARGE + 1)
    bits[0] = 0
    for level in range(int(CATEGORY_BASES[0]), _LARGE + 1):
        category = int(np.searchsorted(CATEGORY_BASES, level, side="right")) - 1
        count = CATEGORY_BITS[category]
        distance = level - CATEGORY_BASES[category]
        taken = distance >> np.arange(count - 1, -1, -1) & 1
        bits[level] += BIT_COSTS[CATEGORY_PROBABILITIES[category, :count], taken].sum()
    return bits


_EXTRA_BITS = _extra_bits()
_TOKENS = np.concatenate([np.arange(5), 4 + np.searchsorted(CATEGORY_BASES, np.arange(5, _LARGE + 1), side="right")])


def costs_of(probabilities: npt.NDArray[np.int64]) -> Costs:
    """What blocks take by probabilities, int64 (4, 8, 3, 11)."""
    by_token = np.zeros((*probabilities.shape[:3], len(TOKEN_TREE)))
    for token, way in enumerate(TOKEN_TREE):
        for place, bit in way[way[:, 0] >= 0]:
            by_token[..., token] += BIT_COSTS[probabilities[..., place], bit]
    ends = BIT_COSTS[probabilities[..., 0]]
    levels = by_token[..., _TOKENS] + _EXTRA_BITS
    levels[:, :, 1:] += ends[:, :, 1:, 1:]
    return Costs(
        np.ascontiguousarray(levels[:, BANDS], dtype=np.float32), np.ascontiguousarray(ends[:, BANDS], dtype=np.float32)
    )


@compiled
def guess(
    lanes: Floats,
    count: int,
    dc_scale: np.float32,
    scale: np.float32,
    bits: np.float32,
    weights: Floats,
    costs: Floats,
    means: Floats,
) -> None:
    """About what a block costs by several predictions, in steps squared.

    Args:
        lanes: float32 (16, n): what the samples differ by from predictions.
        count: Of the lanes to guess.
        dc_scale: Half of one over the step of the DC coefficient, 0 to leave it out.
        scale: Half of one over that of the others.
        bits: The cost of one bit.
        weights: float32 (16,), row-major: what squared error of each coefficient counts.
        costs: float32 (n,): is written.
        means: float32 (n,): the DC coefficients.
    """
    for lane in range(count):
        a, b, c, d = turned(lanes[0, lane], lanes[1, lane], lanes[2, lane], lanes[3, lane])
        e, f, g, h = turned(lanes[4, lane], lanes[5, lane], lanes[6, lane], lanes[7, lane])
        i, j, k, r = turned(lanes[8, lane], lanes[9, lane], lanes[10, lane], lanes[11, lane])
        m, n, o, p = turned(lanes[12, lane], lanes[13, lane], lanes[14, lane], lanes[15, lane])
        a, e, i, m = turned(a, e, i, m)
        b, f, j, n = turned(b, f, j, n)
        c, g, k, o = turned(c, g, k, o)
        d, h, r, p = turned(d, h, r, p)
        means[lane] = a * np.float32(0.5)
        costs[lane] = (
            _guessed(a * dc_scale, bits, weights[0])
            + (
                _guessed(b * scale, bits, weights[1])
                + _guessed(c * scale, bits, weights[2])
                + _guessed(d * scale, bits, weights[3])
            )
            + (
                _guessed(e * scale, bits, weights[4])
                + _guessed(f * scale, bits, weights[5])
                + _guessed(g * scale, bits, weights[6])
            )
            + (
                _guessed(h * scale, bits, weights[7])
                + _guessed(i * scale, bits, weights[8])
                + _guessed(j * scale, bits, weights[9])
            )
            + (
                _guessed(k * scale, bits, weights[10])
                + _guessed(r * scale, bits, weights[11])
                + _guessed(m * scale, bits, weights[12])
            )
            + (
                _guessed(n * scale, bits, weights[13])
                + _guessed(o * scale, bits, weights[14])
                + _guessed(p * scale, bits, weights[15])
            )
        )


@compiled
def _guessed(scaled: np.float32, bits: np.float32, weight: np.float32) -> np.float32:
    size = abs(scaled)
    level = np.floor(size + _ROUNDING)
    error = size - level
    return weight * error * error + bits * (_GUESSED * min(level, np.float32(1)) + _GUESSED_ROOT * np.sqrt(level))


@compiled
def round_off(
    coefficients: Floats,
    block: int,
    kind: int,
    context: int,
    dc_step: int,
    step: int,
    lagrangian: float,
    costs: Costs,
    weights: Floats,
) -> float:
    """What a block costs with rounded levels.

    Args:
        coefficients: float32 (blocks, 16), row-major.
        block: Which of them.
        kind: Type of the block.
        context: How many of its two neighbours have levels other than 0.
        dc_step: Of the first coefficient.
        step: Of the others.
        lagrangian: What a bit costs.
        costs: See `costs_of`.
        weights: float32 (16,), row-major: what squared error of each coefficient counts; that of DC coefficients of DC
            coefficients counts as the first of them.
    """
    start = 1 if kind == SQUARE else 0
    error, bits, waiting, end = 0.0, 0.0, 0.0, 0.0
    kept = False
    dc_scale, scale = 1 / dc_step, 1 / step
    at = context
    for place in range(start, 16):
        size = abs(coefficients[block, ZIGZAG[place]])
        width = dc_step if place == 0 else step
        level = int(size * (dc_scale if place == 0 else scale) + 0.4)
        rest = size - level * width
        error += rest * rest * weights[0 if kind == COARSE_DC else ZIGZAG[place]]
        # What a level of 0 takes counts only if another follows.
        waiting += costs.levels[kind, place, at, min(level, _LARGE)]
        at = min(level, 2)
        if level:
            kept = True
            bits += waiting
            waiting = 0.0
            end = float(costs.ends[kind, place + 1, at, 0]) if place < 15 else 0.0
    if not kept:
        bits = float(costs.ends[kind, start, context, 0])
    else:
        bits += end
        if context == 0:
            bits += costs.ends[kind, start, 0, 1]
    return error * (_COARSE_SHARE if kind == COARSE_DC else _SHARE) + lagrangian * bits


@compiled
def optimise(
    coefficients: Floats,
    block: int,
    kind: int,
    context: int,
    dc_step: int,
    step: int,
    lagrangian: float,
    costs: Costs,
    weights: Floats,
    levels: Levels,
    ways: npt.NDArray[np.int64],
) -> tuple[float, float, int]:
    """The levels that cost least, by dynamic programming: of each coefficient the nearest level, or the one below it.

    Args:
        coefficients: float32 (blocks, 16), row-major.
        block: Which of them.
        kind: Type of the block.
        context: How many of its two neighbours have levels other than 0.
        dc_step: Of the first coefficient.
        step: Of the others.
        lagrangian: What a bit costs.
        costs: See `costs_of`.
        weights: As for `round_off`.
        levels: int16 (blocks, 16), in the order of the file: those of the block are written.
        ways: int64 (16, 3): room to work.

    Returns:
        The weighted squared error of samples, the bits, and 1 if any level is other than 0.
    """
    start = 1 if kind == SQUARE else 0
    share = _COARSE_SHARE if kind == COARSE_DC else _SHARE
    error, last = 0.0, -1
    dc_scale, scale = 1 / dc_step, 1 / step
    for place in range(start, 16):
        size = abs(coefficients[block, ZIGZAG[place]])
        error += size * size * share * weights[0 if kind == COARSE_DC else ZIGZAG[place]]
        ways[place, 2] = min(int(size * (dc_scale if place == 0 else scale) + 0.5), _LARGEST_LEVEL)
        if ways[place, 2]:
            last = place
        levels[block, place] = 0
    least, end, chosen = error + lagrangian * costs.ends[kind, start, context, 0], -1, 0
    # The cost so far with the lower, and with the nearer level at the place before; and their contexts.
    low, near = error, np.inf
    low_context, near_context = context, 0
    if context == 0:
        low += lagrangian * costs.ends[kind, start, 0, 1]
    for place in range(start, last + 1):
        size = abs(coefficients[block, ZIGZAG[place]])
        width = dc_step if place == 0 else step
        level = ways[place, 2]
        weight = share * weights[0 if kind == COARSE_DC else ZIGZAG[place]]
        new_low, new_near = np.inf, np.inf
        for nearer in range(2 if level else 1):
            tried = level + nearer - 1 if level else 0
            known = min(tried, _LARGE)
            rest = size - tried * width
            gained = (rest * rest - size * size) * weight
            after_low = low + lagrangian * costs.levels[kind, place, low_context, known]
            after_near = near + lagrangian * costs.levels[kind, place, near_context, known]
            ways[place, nearer] = after_near < after_low
            total = min(after_low, after_near) + gained
            if nearer:
                new_near = total
            else:
                new_low = total
            if tried:
                stop = lagrangian * costs.ends[kind, place + 1, min(tried, 2), 0] if place < 15 else 0.0
                if total + stop < least:
                    least, end, chosen = total + stop, place, nearer
        low, near = new_low, new_near
        low_context, near_context = min(max(level - 1, 0), 2), min(level, 2)
    for place in range(end, start - 1, -1):
        value = coefficients[block, ZIGZAG[place]]
        level = max(ways[place, 2] + chosen - 1, 0)
        rest = abs(value) - level * (dc_step if place == 0 else step)
        error += (rest * rest - value * value) * share * weights[0 if kind == COARSE_DC else ZIGZAG[place]]
        levels[block, place] = level if value > 0 else -level
        chosen = ways[place, chosen]
    return error, (least - error) / lagrangian, 1 if end >= 0 else 0
