"""Quantisation tables, and the weights that shape them."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from accelir.threads import ranges, together
from accelir_plugins.compiled import compiled
from accelir_plugins.jpeg.transform import ZIGZAG, Layout

__all__ = ["ANNEX_K", "Tables", "Weights", "annex_k_tables", "normalise", "shaped_tables", "trusted"]

Tables = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float32]

# Tables K.1 (luma) and K.2 (chroma) of ISO/IEC 10918-1, row-major.
ANNEX_K = np.array(
    [
        [
            *(16, 11, 10, 16, 24, 40, 51, 61),
            *(12, 12, 14, 19, 26, 58, 60, 55),
            *(14, 13, 16, 24, 40, 57, 69, 56),
            *(14, 17, 22, 29, 51, 87, 80, 62),
            *(18, 22, 37, 56, 68, 109, 103, 77),
            *(24, 35, 55, 64, 81, 104, 113, 92),
            *(49, 64, 78, 87, 103, 121, 120, 101),
            *(72, 92, 95, 98, 112, 100, 103, 99),
        ],
        [
            *(17, 18, 24, 47, 99, 99, 99, 99),
            *(18, 21, 26, 66, 99, 99, 99, 99),
            *(24, 26, 56, 99, 99, 99, 99, 99),
            *(47, 66, 99, 99, 99, 99, 99, 99),
            *(99,) * 32,
        ],
    ],
    dtype=np.int64,
)

# A step of 16, that of the first coefficient in table K.1, is what libjpeg calls quality 50.
_ANNEX_K_STEP = 16.0
_LARGEST_STEP = 255
# Units that one thread takes on at a time.
_AT_ONCE = 8192
# Units whose weights stay in the processor's cache.
_IN_CACHE = 256
# Weights below this part of the mean are as good as none; it also bounds the steps.
_LEAST_WEIGHT = 1e-6
# Where each zigzag position rounds up: 64 different places in 0..1, neighbours far apart. With one place for all a flat
# table would jump by whole steps, and the size of the file with it, by up to 5 %.
_ROUNDING = (np.array([int(f"{index:06b}"[::-1], 2) for index in range(64)]) + 0.5) / 64


def annex_k_tables(step: float) -> Tables:
    """The tables of Annex K scaled as libjpeg does, by 100 % at a step of 16: int64 (2, 64), 1..255, zigzag."""
    percent = 100 * step / _ANNEX_K_STEP
    scaled = np.floor((ANNEX_K * percent + 50) / 100)
    return np.clip(scaled, 1, _LARGEST_STEP).astype(np.int64)[:, ZIGZAG]


def shaped_tables(step: float, mean_weights: npt.NDArray[np.float64], shape: float) -> Tables:
    """Tables with steps proportional to weight^(-shape / 2), on average over the coefficients to a 64th.

    Args:
        step: That of a coefficient of weight 1.
        mean_weights: float64 (2 or 1, 64), zigzag: the means over all luma and all chroma blocks.
        shape: 1 makes the error of each coefficient count the same, 0 makes the table flat.

    Returns:
        int64 (2, 64), 1..255, zigzag.
    """
    steps = step * np.maximum(mean_weights[[0, -1]], _LEAST_WEIGHT) ** (-shape / 2)
    tables: Tables = np.clip(np.floor(steps + _ROUNDING), 1, _LARGEST_STEP).astype(np.int64)
    return tables


def normalise(weights: Weights, form: Layout, *, in_place: bool = False) -> tuple[Weights, npt.NDArray[np.float64]]:
    """Weights that are 1 on average over the blocks inside the image.

    Args:
        weights: float32 (units or 1, parts, 64), row-major, at least 0; all zero counts as all equal.
        form: The layout.
        in_place: Whether the array may be changed; large ones take long to be given by the system.

    Returns:
        float32 of the same shape, zigzag, and float64 (2 or 1, 64): its means over all luma and all chroma blocks.
    """
    pieces = ranges(len(form.real), _AT_ONCE)
    sums_of = np.zeros((len(pieces), 2, 64))
    together(
        [
            functools.partial(_add_up, _of(weights, units), form.component_of_part, form.real[units], sums)
            for units, sums in zip(pieces, sums_of, strict=True)
        ]
    )
    sums = sums_of.sum(axis=0)
    luma = form.component_of_part == 0
    counts = np.array([form.real[:, luma].sum(), form.real[:, ~luma].sum()])
    mean = float(sums.sum() / (64 * counts.sum()))
    if mean <= 0:
        return normalise(np.ones_like(weights), form)
    ordered = weights if in_place else np.empty_like(weights)
    together(
        [
            functools.partial(_reorder, weights[units], 1 / mean, ZIGZAG, ordered[units])
            for units in ranges(len(weights), _AT_ONCE)
        ]
    )
    families = 2 if form.components == 3 else 1
    return ordered, (sums[:families] / counts[:families, None] / mean)[:, ZIGZAG]


def trusted(weights: Weights, norms: Weights, trust: np.float32) -> Weights:
    """(weights / the largest)^trust * norms^(1 - trust), a part at a time that stays in the processor's cache.

    Args:
        weights: float32 (units, parts, 64), at least 0.
        norms: float32 (1, parts, 64).
        trust: 1 is the weights, 0 the norms.
    """
    # Only ratios count: relative to the largest, no power overflows.
    largest = np.maximum(weights.max(), np.float32(1e-30))
    trusted = np.empty_like(weights)
    rest = norms ** (1 - trust)

    def work(part: slice) -> None:
        own = np.divide(weights[part], largest, out=trusted[part])
        np.power(own, trust, out=own)
        np.multiply(own, rest, out=own)

    together([functools.partial(work, part) for part in ranges(len(weights), _IN_CACHE)])
    return trusted


def _of(weights: Weights, units: slice) -> Weights:
    """The weights of some units: all share one where there is one."""
    return weights[units] if len(weights) > 1 else weights


@compiled
def _add_up(weights: Any, of_part: Any, real: Any, sums: Any) -> None:
    """Sums over the real blocks of luma and of chroma."""
    for unit in range(real.shape[0]):
        of_weight = unit if weights.shape[0] > 1 else 0
        for part in range(real.shape[1]):
            if real[unit, part]:
                family = sums[min(of_part[part], 1)]
                for k in range(64):
                    family[k] += weights[of_weight, part, k]


@compiled
def _reorder(weights: Any, scale: float, zigzag: Any, result: Any) -> None:
    block = np.empty(64, np.float32)
    for unit in range(weights.shape[0]):
        for part in range(weights.shape[1]):
            # One array may be the other.
            for k in range(64):
                block[k] = weights[unit, part, k]
            for k in range(64):
                result[unit, part, k] = block[zigzag[k]] * scale
