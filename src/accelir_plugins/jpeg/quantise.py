"""Quantisation: plain rounding, and the rate-distortion optimal choice (trellis).

The trellis minimises, for each 8x8 block, sum(weight * (coefficient - level * step)^2) + lambda * bits over the levels
of all coefficients: AC by dynamic programming over the zigzag positions, DC by the Viterbi algorithm along the scan.
What is lost with an AC coefficient that is dropped counts ``zeroing`` times.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accelir.threads import ranges, together
from accelir_plugins.compiled import compiled
from accelir_plugins.jpeg.entropy import count_symbols, magnitude_bits
from accelir_plugins.jpeg.tables import Tables, Weights
from accelir_plugins.jpeg.transform import Layout

__all__ = ["Costs", "learn_costs", "optimise", "round_all", "symbol_costs"]

# An AC level has at most ten bits in a baseline file.
_LARGEST_AC = 1023
# Longest code word: a bound on what any symbol costs.
_LONGEST = 16.0
# Units that are enough to learn the statistics of the AC coefficients from.
_ENOUGH_UNITS = 2000
# Units that one thread takes on at a time.
_AT_ONCE = 1024


def round_all(coefficients: npt.NDArray[np.int16], tables: Tables, form: Layout) -> npt.NDArray[np.int16]:
    """The nearest levels, halves away from zero, as libjpeg rounds: int16 (units, parts, 64)."""
    result = np.empty_like(coefficients)
    nothing = np.zeros((1, coefficients.shape[1], 64), dtype=np.float32)
    free = np.zeros(len(coefficients))
    _round(coefficients, nothing, free, tables, form.component_of_part, form.real, 1.0, result)
    return result


@dataclass(frozen=True, eq=False)
class Costs:
    """What symbols cost, the bits of their values included.

    Attributes:
        dc: float32 (2, 256): of DC differences, by (luma, chroma).
        ac: float32 (2, 256): of AC coefficients.
    """

    dc: npt.NDArray[np.float32]
    ac: npt.NDArray[np.float32]


def learn_costs(
    coefficients: npt.NDArray[np.int16],
    weights: Weights,
    lagrangians: npt.NDArray[np.float64],
    tables: Tables,
    form: Layout,
    zeroing: float = 1.0,
) -> Costs:
    """What symbols will cost in a file of an image, or of a sample of it, before it is optimised.

    DC costs come from a quick thresholding; AC costs from a trellis pass that takes its own from the same thresholding.

    Args:
        coefficients: int16 (units, parts, 64), zigzag, eight times the orthonormal DCT.
        weights: float32 (units or 1, parts, 64), zigzag, at least 0.
        lagrangians: float64 (units,): lambda, above 0.
        tables: int64 (2, 64), zigzag.
        form: The layout.
        zeroing: What dropping an AC coefficient costs, relative to its weighted square.
    """
    of_part = form.component_of_part
    rounded = np.empty_like(coefficients)
    _round(coefficients, weights, lagrangians, tables, of_part, form.real, zeroing, rounded)
    dc_costs, ac_costs = symbol_costs(count_symbols(rounded, form))
    stride = max(1, len(coefficients) // _ENOUGH_UNITS)
    # Odd, so that the units do not fall on the same columns in every row.
    stride += 1 - stride % 2
    part = np.ascontiguousarray(coefficients[::stride])
    part_weights = np.ascontiguousarray(weights[::stride]) if len(weights) > 1 else weights
    part_real = np.ascontiguousarray(form.real[::stride])
    drafted = np.zeros_like(part)
    own = lagrangians[::stride].copy()
    _trellis(part, part_weights, own, tables, of_part, part_real, ac_costs, zeroing, 0, len(of_part), drafted)
    return Costs(dc_costs, symbol_costs(count_symbols(drafted, form))[1])


def optimise(
    coefficients: npt.NDArray[np.int16],
    weights: Weights,
    lagrangians: npt.NDArray[np.float64],
    tables: Tables,
    form: Layout,
    costs: Costs,
    zeroing: float = 1.0,
    luma_after: Callable[[npt.NDArray[np.int16]], npt.NDArray[np.int16]] | None = None,
) -> npt.NDArray[np.int16]:
    """The levels with the least weighted error + lambda * bits.

    Args:
        coefficients: int16 (units, parts, 64), zigzag, eight times the orthonormal DCT.
        weights: float32 (units or 1, parts, 64), zigzag, at least 0.
        lagrangians: float64 (units,): lambda, above 0.
        tables: int64 (2, 64), zigzag.
        form: The layout.
        costs: What bits are counted with.
        zeroing: What dropping an AC coefficient costs, relative to its weighted square.
        luma_after: From levels, of which those of chroma are final, to the coefficients that luma is to have; None
            where it does not depend on chroma.

    Returns:
        int16 (units, parts, 64).
    """
    of_part = form.component_of_part
    result = np.empty_like(coefficients)

    def ac(wanted: npt.NDArray[np.int16], first: int, last: int, units: slice) -> None:
        own = weights[units] if len(weights) > 1 else weights
        _trellis(
            wanted[units], own, lagrangians[units], tables, of_part, form.real[units], costs.ac, zeroing, first, last,
            result[units],
        )  # fmt: skip

    def dc(wanted: npt.NDArray[np.int16], component: int) -> None:
        table = min(component, 1)
        for units in form.intervals:
            own = weights[units] if len(weights) > 1 else weights
            _trellis_dc(
                wanted[units], own, lagrangians[units], tables[table], of_part == component, form.real[units],
                costs.dc[table], result[units],
            )  # fmt: skip

    def choose(wanted: npt.NDArray[np.int16], components: range) -> None:
        parts = np.flatnonzero((of_part >= components.start) & (of_part < components.stop))
        first, last = int(parts[0]), int(parts[-1]) + 1
        together([functools.partial(ac, wanted, first, last, units) for units in ranges(len(wanted), _AT_ONCE)])
        together([functools.partial(dc, wanted, component) for component in components])

    if luma_after is None or form.components == 1:
        choose(coefficients, range(form.components))
    else:
        choose(coefficients, range(1, form.components))
        choose(luma_after(result), range(1))
    _fill(result, of_part, form.real)
    return result


def symbol_costs(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Bits of each symbol including the bits of its value, from how often it occurred.

    Args:
        counts: int64 (2, 2, 256): by (DC, AC), by (luma, chroma), by symbol.

    Returns:
        float32 of the same shape: ideal code lengths within 1..16, and the size.
    """
    # A quarter of an occurrence for all: a symbol not yet seen may still be worth introducing.
    smoothed = counts + 0.25
    lengths = np.clip(np.log2(smoothed.sum(axis=2, keepdims=True) / smoothed), 1, _LONGEST)
    costs: npt.NDArray[np.float32] = (lengths + (np.arange(256) & 15)).astype(np.float32)
    return costs


@compiled
def _nearest(scaled: int, step: int) -> int:
    """The nearest level to a coefficient eight times its size, halves away from zero."""
    if abs(scaled) < 4 * step:
        return 0
    magnitude = (abs(scaled) + 4 * step) // (8 * step)
    return magnitude if scaled >= 0 else -magnitude


@compiled
def _round(
    coefficients: Any,
    weights: Any,
    lagrangians: Any,
    tables: Any,
    of_part: Any,
    real: Any,
    zeroing: float,
    result: Any,
) -> None:
    """Round to the nearest, but AC coefficients to zero where keeping them gains less than about six bits cost."""
    previous = np.int16(0)
    for unit in range(coefficients.shape[0]):
        of_weight = unit if weights.shape[0] > 1 else 0
        toll = 6.0 * lagrangians[unit]
        for part in range(coefficients.shape[1]):
            table = tables[min(of_part[part], 1)]
            if not real[unit, part]:
                result[unit, part, :] = 0
                result[unit, part, 0] = previous
                continue
            result[unit, part, 0] = _nearest(int(coefficients[unit, part, 0]), table[0])
            for k in range(1, 64):
                scaled = int(coefficients[unit, part, k])
                level = min(max(_nearest(scaled, table[k]), -_LARGEST_AC), _LARGEST_AC)
                if level != 0 and toll > 0:
                    value = scaled * 0.125
                    left = value - level * table[k]
                    if weights[of_weight, part, k] * (zeroing * value * value - left * left) < toll:
                        level = 0
                result[unit, part, k] = level
            if of_part[part] == 0:
                previous = result[unit, part, 0]


@compiled
def _trellis(
    coefficients: Any,
    weights: Any,
    lagrangians: Any,
    tables: Any,
    of_part: Any,
    real: Any,
    costs: Any,
    zeroing: float,
    first: int,
    last: int,
    result: Any,
) -> None:
    """AC levels of the real blocks among the parts from ``first`` to ``last``, and zero for all else there."""
    least = np.empty((2, 64), dtype=np.int16)
    for table in range(2):
        for k in range(64):
            # Half a step, times eight: what is smaller rounds to zero.
            least[table, k] = min(4 * tables[table, k], 0x7FFF)
    room = np.empty((4, 65))
    places = np.empty((5, 65), dtype=np.int64)
    for unit in range(coefficients.shape[0]):
        of_weight = unit if weights.shape[0] > 1 else 0
        for part in range(first, last):
            result[unit, part, :] = 0
            table = min(of_part[part], 1)
            if real[unit, part] and _any_left(coefficients[unit, part], least[table]):
                _trellis_block(
                    coefficients[unit, part], weights[of_weight, part], lagrangians[unit], tables[table],
                    costs[table], zeroing, room, places, result[unit, part],
                )  # fmt: skip


@compiled
def _any_left(scaled: Any, least: Any) -> bool:
    """Whether any AC coefficient of a block does not round to zero."""
    found = 0
    for k in range(1, 64):
        found |= (scaled[k] >= least[k]) | (scaled[k] <= -least[k])
    return found != 0


@compiled
def _trellis_block(
    scaled: Any,
    weights: Any,
    lagrangian: float,
    table: Any,
    costs: Any,
    zeroing: float,
    room: Any,
    places: Any,
    result: Any,
) -> None:
    """The best AC levels of one block, by dynamic programming over the last coefficient kept.

    Only coefficients whose nearest level is not zero may be kept, and of all levels with the same number of bits only
    the nearest is tried: all others cost as much and err more.

    Args:
        scaled: int16 (64,): coefficients, zigzag, times eight.
        weights: float32 (64,).
        lagrangian: Above 0.
        table: int64 (64,): steps.
        costs: float32 (256,): bits of each symbol and its value.
        zeroing: What dropping costs, relative to the weighted square.
        room: float64 (4, 65): scratch.
        places: int64 (5, 65): scratch.
        result: int16 (64,), zero: AC levels are written to it.
    """
    # Index 0 stands for the DC coefficient, index i for the i-th candidate. Errors are in units of lambda: bits.
    # `dropped[i]` is the cost of dropping all AC coefficients before candidate i, `after[i]` that including it, and
    # `best[i]` the least cost up to and with candidate i, less `after[i]`: then a step from j to i adds `dropped[i]`.
    dropped, after, best, errors = room[0], room[1], room[2], room[3]
    position, nearest, chosen, before, must_stay = places[0], places[1], places[2], places[3], places[4]
    found = 0
    position[0] = 0
    best[0] = 0.0
    must_stay[0] = 0
    scale = 1.0 / lagrangian
    total = 0.0
    for k in range(1, 64):
        magnitude = abs(np.int64(scaled[k]))
        value = magnitude * 0.125
        error = zeroing * weights[k] * value * value * scale
        if magnitude >= 4 * table[k]:
            level = min((magnitude + 4 * table[k]) // (8 * table[k]), _LARGEST_AC)
            left = value - level * table[k]
            kept = weights[k] * left * left * scale
            # Keeping one more costs at most two code words and its own bits.
            found += 1
            position[found] = k
            nearest[found] = level
            must_stay[found] = error - kept > 2 * _LONGEST + magnitude_bits(level)
            dropped[found] = total
            after[found] = total + error
            errors[found] = kept
        total += error
    if found == 0:
        return
    end_cost = costs[0]
    zeros_cost = costs[0xF0]
    finish = total + end_cost
    last = 0
    for i in range(1, found + 1):
        k = position[i]
        step = table[k]
        level = nearest[i]
        error = errors[i]
        size = magnitude_bits(level)
        least = np.inf
        value = abs(np.int64(scaled[k])) * 0.125
        first_error = error
        while size > 0:
            for j in range(i - 1, -1, -1):
                run = k - position[j] - 1
                cost = best[j] + costs[(run & 15) << 4 | size] + error
                if run > 15:
                    cost += (run >> 4) * zeros_cost
                if cost < least:
                    least = cost
                    chosen[i] = level
                    before[i] = j
                if must_stay[j]:
                    break
            size -= 1
            level = (1 << size) - 1
            left = value - level * step
            error = weights[k] * left * left * scale
            if error - first_error > _LONGEST + 10:
                break
        best[i] = least + dropped[i] - after[i]
        cost = best[i] + total
        if k < 63:
            cost += end_cost
        if cost < finish:
            finish = cost
            last = i
    while last > 0:
        k = position[last]
        result[k] = chosen[last] if scaled[k] > 0 else -chosen[last]
        last = before[last]


@compiled
def _trellis_dc(
    coefficients: Any, weights: Any, lagrangians: Any, table: Any, mine: Any, real: Any, costs: Any, result: Any
) -> None:
    """DC levels of one component: the two levels around each value, chained by the bits of their differences."""
    step = table[0]
    units, parts = coefficients.shape[0], coefficients.shape[1]
    came_from = np.zeros((units * parts, 2), dtype=np.uint8)
    below, above = 0.0, 0.0
    previous = 0
    started = False
    for unit in range(units):
        of_weight = unit if weights.shape[0] > 1 else 0
        for part in range(parts):
            if not mine[part] or not real[unit, part]:
                continue
            scaled = np.int64(coefficients[unit, part, 0])
            floor = scaled // (8 * step)
            totals = (np.inf, np.inf)
            for option in range(2):
                level = floor + option
                left = scaled * 0.125 - level * step
                error = weights[of_weight, part, 0] * left * left
                from_below = below + lagrangians[unit] * costs[magnitude_bits(abs(level - previous))]
                # Before the first block there is only one state: zero.
                from_above = (
                    above + lagrangians[unit] * costs[magnitude_bits(abs(level - previous - 1))] if started else np.inf
                )
                came_from[unit * parts + part, option] = from_above < from_below
                cost = error + min(from_below, from_above)
                totals = (cost, totals[1]) if option == 0 else (totals[0], cost)
            below, above = totals
            previous = floor
            started = True
    option = 1 if above < below else 0
    for unit in range(units - 1, -1, -1):
        for part in range(parts - 1, -1, -1):
            if not mine[part] or not real[unit, part]:
                continue
            floor = np.int64(coefficients[unit, part, 0]) // (8 * step)
            result[unit, part, 0] = floor + option
            option = came_from[unit * parts + part, option]


@compiled
def _fill(result: Any, of_part: Any, real: Any) -> None:
    """Blocks outside the image repeat the DC before them, which costs least."""
    previous = np.int16(0)
    for unit in range(result.shape[0]):
        for part in range(result.shape[1]):
            if of_part[part] == 0:
                if not real[unit, part]:
                    result[unit, part, 0] = previous
                previous = result[unit, part, 0]
