"""Some units of a large image that stand for all of them: what the statistics and sizes of its files are told from."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from accelir.threads import ranges, together
from accelir_plugins.compiled import compiled
from accelir_plugins.jpeg.tables import Weights
from accelir_plugins.jpeg.transform import Layout

__all__ = ["ENOUGH", "Sample", "take_sample"]

# Units lie side by side in runs: DC levels are coded as differences to the one before.
_RUN = 16
# So that 1920x1080 pixels, which are 8160 units, are enough.
_RUNS = 255
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


def take_sample(coefficients: npt.NDArray[np.int16], weights: Weights, form: Layout) -> Sample:
    """Runs of units of every kind, from the emptiest to the fullest, each as often as in the image.

    Args:
        coefficients: int16 (units, parts, 64), at least `ENOUGH` units.
        weights: float32 (units or 1, parts, 64).
        form: The layout.
    """
    runs = len(coefficients) // _RUN
    fullness = np.zeros(runs)

    def add_up(part: slice) -> None:
        units = slice(part.start * _RUN, part.stop * _RUN)
        _add_up(coefficients[units], weights[units] if len(weights) > 1 else weights, fullness[part])

    together([functools.partial(add_up, part) for part in ranges(runs, _RUNS)])
    # A systematic sample of the runs in order of fullness: as good as strata of one run each.
    places = ((np.arange(_RUNS) + 0.5) * runs / _RUNS).astype(np.int64)
    chosen = np.sort(np.argsort(fullness, kind="stable")[places])
    units = (chosen[:, None] * _RUN + np.arange(_RUN)).ravel()
    own_weights = weights[units] if len(weights) > 1 else weights
    one_row = replace(form, rows=1, columns=len(units), real=form.real[units], interval_rows=1, run=_RUN)
    return Sample(units, coefficients[units], own_weights, one_row, len(units) / len(coefficients))


@compiled
def _add_up(coefficients: Any, weights: Any, fullness: Any) -> None:
    """Of each run, what its bits grow about with: the roots of the weighted AC magnitudes of its blocks."""
    for unit in range(len(fullness) * _RUN):
        of_weight = unit if weights.shape[0] > 1 else 0
        for part in range(coefficients.shape[1]):
            total = np.float32(0)
            for k in range(1, 64):
                value = np.float32(coefficients[unit, part, k])
                total += np.sqrt(weights[of_weight, part, k] * value * value)
            fullness[unit // _RUN] += np.sqrt(total)
