"""Quantisation of a picture: plain rounding, and the rate-distortion optimal choice (see `trellis`)."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from accelir.threads import ranges, together
from accelir_plugins.compiled import compiled
from accelir_plugins.jpeg.entropy import count_symbols
from accelir_plugins.jpeg.tables import Tables, Weights
from accelir_plugins.jpeg.transform import Layout
from accelir_plugins.jpeg.trellis import LARGEST_AC, LONGEST, trellis_ac, trellis_dc

__all__ = ["TOLL", "Costs", "learn_costs", "optimise", "round_all", "symbol_costs"]

TOLL = 6.0
"""Bits that an AC coefficient costs about, by which it is told in a hurry whether it is worth keeping."""

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
    trellis_ac(part, part_weights, own, tables, of_part, part_real, ac_costs, zeroing, 0, len(of_part), drafted)
    thinned = replace(form, rows=1, columns=len(part), real=part_real, interval_rows=1, run=0)
    return Costs(dc_costs, symbol_costs(count_symbols(drafted, thinned))[1])


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
        trellis_ac(
            wanted[units], own, lagrangians[units], tables, of_part, form.real[units], costs.ac, zeroing, first, last,
            result[units],
        )  # fmt: skip

    def dc(wanted: npt.NDArray[np.int16], component: int) -> None:
        table = min(component, 1)
        for units in form.intervals:
            own = weights[units] if len(weights) > 1 else weights
            trellis_dc(
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
    lengths = np.clip(np.log2(smoothed.sum(axis=2, keepdims=True) / smoothed), 1, LONGEST)
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
    """Round to the nearest, but AC coefficients to zero where keeping them gains less than `TOLL` costs."""
    previous = np.int16(0)
    for unit in range(coefficients.shape[0]):
        of_weight = unit if weights.shape[0] > 1 else 0
        toll = TOLL * lagrangians[unit]
        for part in range(coefficients.shape[1]):
            table = tables[min(of_part[part], 1)]
            if not real[unit, part]:
                result[unit, part, :] = 0
                result[unit, part, 0] = previous
                continue
            result[unit, part, 0] = _nearest(int(coefficients[unit, part, 0]), table[0])
            for k in range(1, 64):
                scaled = int(coefficients[unit, part, k])
                level = min(max(_nearest(scaled, table[k]), -LARGEST_AC), LARGEST_AC)
                if level != 0 and toll > 0:
                    value = scaled * 0.125
                    left = value - level * table[k]
                    if weights[of_weight, part, k] * (zeroing * value * value - left * left) < toll:
                        level = 0
                result[unit, part, k] = level
            if of_part[part] == 0:
                previous = result[unit, part, 0]


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
