"""The trellis: the levels of 8x8 blocks with the least weighted error for their bits.

It minimises, for each block, sum(weight * (coefficient - level * step)^2) + lambda * bits over the levels of all
coefficients: AC by dynamic programming over the zigzag positions, DC by the Viterbi algorithm along the scan. What is
lost with an AC coefficient that is dropped counts ``zeroing`` times.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accelir_plugins.compiled import compiled
from accelir_plugins.jpeg.entropy import magnitude_bits

__all__ = ["LARGEST_AC", "LONGEST", "trellis_ac", "trellis_dc"]

LARGEST_AC = 1023
"""An AC level has at most ten bits in a baseline file."""

LONGEST = 16.0
"""Longest code word: a bound on what any symbol costs."""


@compiled
def trellis_ac(
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
                _block(
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
def _block(
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
            level = min((magnitude + 4 * table[k]) // (8 * table[k]), LARGEST_AC)
            left = value - level * table[k]
            kept = weights[k] * left * left * scale
            # Keeping one more costs at most two code words and its own bits.
            found += 1
            position[found] = k
            nearest[found] = level
            must_stay[found] = error - kept > 2 * LONGEST + magnitude_bits(level)
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
            if error - first_error > LONGEST + 10:
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
def trellis_dc(
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
