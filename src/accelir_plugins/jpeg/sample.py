"""Some units of a large image that stand for all of them: what the statistics and sizes of its files are told from."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from accelir.threads import ranges, together
from accelir_plugins.compiled import compiled
from accelir_plugins.jpeg.quantise import TOLL
from accelir_plugins.jpeg.tables import Tables, Weights
from accelir_plugins.jpeg.transform import Layout

__all__ = ["ENOUGH", "Sample", "take_sample"]

# Units lie side by side in runs: DC levels are coded as differences to the one before.
_RUN = 16
# So that 1920x1080 pixels, which are 8160 units, are enough.
_RUNS = 255
# Its multiples are spread over 0 to 1 without a period.
_GOLDEN = 0.6180339887
# About what it takes: to say where it stands, and its size, by the root of half steps.
_PLACE = np.float32(2.5)
_VALUE = np.float32(1.7)
# The same of a DC difference, by the logarithm of its size in steps.
_DIFFERENCE = np.float32(1.5)
ENOUGH = 2 * _RUN * _RUNS
"""Units of an image from which on a sample saves work."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Some of an image's units, and their part of its arrays.

    Attributes:
        units: int64 (n,): which ones.
        coefficients: int16 (n, parts, 64).
        weights: float32 (n or 1, parts, 64).
        form: A layout in which they are one row.
        share: Of all units.
    """

    units: npt.NDArray[np.int64]
    coefficients: npt.NDArray[np.int16]
    weights: Weights
    form: Layout
    share: float


def take_sample(
    coefficients: npt.NDArray[np.int16],
    weights: Weights,
    form: Layout,
    file: tuple[Tables, npt.NDArray[np.float64]] | None = None,
) -> Sample:
    """Runs of units from all over an image; of every kind, each as often as in the image, where a file is known.

    One run of each of as many strata: of those in raster order not always the middle, lest all be of the same columns.

    Args:
        coefficients: int16 (units, parts, 64), zigzag, at least `ENOUGH` units.
        weights: float32 (units or 1, parts, 64), zigzag.
        form: The layout.
        file: Tables, int64 (2, 64), zigzag, and lambda, float64 (units,), of a file about as large as those whose
            sizes the sample will tell: then its runs are from the emptiest to the fullest of that file.
    """
    runs = len(coefficients) // _RUN
    strata = np.arange(_RUNS)
    if file is None:
        chosen = ((strata + strata * _GOLDEN % 1) * runs / _RUNS).astype(np.int64)
    else:
        fullness = _fullness(coefficients, weights, form, *file)
        chosen = np.sort(np.argsort(fullness, kind="stable")[((strata + 0.5) * runs / _RUNS).astype(np.int64)])
    units = (chosen[:, None] * _RUN + np.arange(_RUN)).ravel()
    own_weights = weights[units] if len(weights) > 1 else weights
    one_row = replace(form, rows=1, columns=len(units), real=form.real[units], interval_rows=1, run=_RUN)
    return Sample(units, coefficients[units], own_weights, one_row, len(units) / len(coefficients))


def _fullness(
    coefficients: npt.NDArray[np.int16],
    weights: Weights,
    form: Layout,
    tables: Tables,
    lagrangians: npt.NDArray[np.float64],
) -> npt.NDArray[np.float32]:
    """About the bits of each run of a file: float32 (runs,)."""
    fullness = np.zeros(len(coefficients) // _RUN, dtype=np.float32)
    half_steps = (4 * tables).astype(np.float32)

    def add_up(runs: slice) -> None:
        units = slice(runs.start * _RUN, runs.stop * _RUN)
        own = weights[units] if len(weights) > 1 else weights
        _add_up(coefficients[units], own, lagrangians[units], half_steps, form.component_of_part, fullness[runs])

    together([functools.partial(add_up, runs) for runs in ranges(len(fullness), _RUNS)])
    return fullness


@compiled
def _add_up(coefficients: Any, weights: Any, lagrangians: Any, half_steps: Any, of_part: Any, fullness: Any) -> None:
    """About the bits of each run: of DC differences, and of AC coefficients that are not worth dropping."""
    before = np.zeros(3, dtype=np.float32)
    for unit in range(len(fullness) * _RUN):
        of_weight = unit if weights.shape[0] > 1 else 0
        # Squares of coefficients are 64 times as large as in units of the DCT.
        toll = np.float32(64 * TOLL * lagrangians[unit])
        total = np.float32(0)
        for part in range(coefficients.shape[1]):
            half = half_steps[min(of_part[part], 1)]
            level = np.float32(coefficients[unit, part, 0]) / half[0]
            total += _DIFFERENCE * np.log2(1 + np.float32(0.5) * abs(level - before[of_part[part]]))
            before[of_part[part]] = level
            for k in range(1, 64):
                size = abs(np.float32(coefficients[unit, part, k]))
                kept = (size >= half[k]) & (weights[of_weight, part, k] * size * size >= toll)
                total += np.float32(kept) * (_PLACE + _VALUE * np.sqrt(size / half[k]))
        fullness[unit // _RUN] += total
