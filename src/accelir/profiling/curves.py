"""Curves measured: files are written at several levels, decoded, and looked at block by block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelir.codec import Codec, Prepared
from accelir.image import ImageArray
from accelir.profiling.estimate import Curves

__all__ = ["BlockSamples", "block_errors", "fit_curves", "harmonise", "measure_blocks"]

Evaluate = Callable[[ImageArray], npt.NDArray[np.float64]]


@dataclass(frozen=True)
class BlockSamples:
    """Size and error of single blocks at some of the levels.

    Attributes:
        size: float64 (N, L): bits, 0 where not measured.
        error: float64 (N, L): 0 where not measured.
        count: int64 (N, L): how often measured; ``size`` and ``error`` are sums over so many.
    """

    size: npt.NDArray[np.float64]
    error: npt.NDArray[np.float64]
    count: npt.NDArray[np.int64]


def block_errors(restored: ImageArray, reference: ImageArray, side: int) -> npt.NDArray[np.float64]:
    """Summed squared error of each block of ``side`` output pixels: float64 (rows, cols)."""
    squared = (restored.astype(np.float64) - reference.astype(np.float64)) ** 2
    if squared.ndim == 3:
        squared = squared.sum(axis=2)
    else:
        squared *= 3
    rows = np.add.reduceat(squared, np.arange(0, squared.shape[0], side), axis=0)
    return np.asarray(np.add.reduceat(rows, np.arange(0, squared.shape[1], side), axis=1))


def measure_blocks(
    codec: Codec,
    prepared: Prepared,
    shape: tuple[int, int],
    evaluate: Evaluate,
    *,
    spacing: int = 3,
    jitter: int = 2,
    seed: int = 0,
) -> BlockSamples:
    """Write files around every ``spacing``-th level and take each block's bits and error.

    Args:
        codec: Decodes.
        prepared: Writes.
        shape: (rows, cols) of the block grid.
        evaluate: Decoded image to the error of each block, (rows, cols).
        spacing: Distance of the levels around which files are written.
        jitter: Blocks go up or down by so many levels at random, since they will stand in mixed files; 0 for uniform.
        seed: Of the jitter.
    """
    count = len(codec.levels)
    blocks = np.arange(shape[0] * shape[1])
    table = (len(blocks), count)
    samples = BlockSamples(np.zeros(table), np.zeros(table), np.zeros(table, np.int64))
    rng = np.random.default_rng(seed)
    jitter = min(jitter, (count - 1) // 2)
    centres = sorted({*range(jitter, count - jitter, max(1, min(spacing, count // 2))), count - 1 - jitter})
    for centre in centres:
        levels = centre + jitter * rng.integers(-1, 2, size=shape)
        encoded = prepared.write(levels.astype(np.int32))
        written = encoded.levels.ravel()
        samples.size[blocks, written] += encoded.block_bits.ravel()
        samples.error[blocks, written] += evaluate(codec.decode(encoded.data)).ravel()
        samples.count[blocks, written] += 1
    return samples


def fit_curves(samples: BlockSamples, groups: npt.NDArray[np.int32], group_count: int) -> Curves:
    """Mean curves of groups: isotonic over the measured levels, interpolated between them.

    Args:
        samples: Of N blocks.
        groups: int (N,).
        group_count: G; a group without blocks gets the mean of all.
    """
    levels = samples.size.shape[1]
    sums = np.zeros((3, group_count, levels))
    for row, values in enumerate((samples.size, samples.error, samples.count)):
        np.add.at(sums[row], groups, values)
    missing = sums[2].sum(axis=1) == 0
    sums[:, missing] = sums.sum(axis=1, keepdims=True)
    size, error = np.empty((2, group_count, levels))
    for group in range(group_count):
        known = np.flatnonzero(sums[2, group])
        weights = sums[2, group, known]
        size[group] = _rising(known, sums[0, group, known] / weights, weights, levels)
        error[group] = -_rising(known, -sums[1, group, known] / weights, weights, levels)
    return Curves(size, error)


def harmonise(curves: Curves, shares: npt.NDArray[np.float64], trust: float) -> Curves:
    """Draw the slopes of the groups towards a common one at each level.

    A codec that weighs errors by sensitivity already works all blocks of a level at one slope, as far as the
    sensitivity is right. What the measured curves add to that is partly knowledge and partly noise.

    Args:
        curves: Of the groups.
        shares: float64 (G,): how many blocks each group has.
        trust: 1 keeps the measured slopes, 0 makes them equal over groups; geometric in between.

    Returns:
        Sizes that grow at every level, by a hundredth of the mean growth at least, and by a millionth of a level's
        part of the whole where no group grows; errors with the new slopes, the finest level's kept. The common slopes
        fall from level to level, by no more than a half.
    """
    bits = np.diff(curves.size, axis=1)
    bits = np.maximum(bits, 0.01 * bits.mean(axis=0) + 1e-6 * bits.mean() + 1e-9)
    drops = np.maximum(-np.diff(curves.error, axis=1), 0)
    weights = shares[:, None] / shares.sum()
    growth = (bits * weights).sum(axis=0)
    least = 1e-6 * float(curves.error.max() / curves.size.max()) + 1e-12
    common = _falling_slopes((drops * weights).sum(axis=0), growth, least)
    own = np.maximum(drops / bits, 1e-3 * common)
    slopes = common ** (1 - trust) * own**trust
    falling = np.cumsum((slopes * bits)[:, ::-1], axis=1)[:, ::-1]
    error = curves.error[:, -1:] + np.concatenate([falling, np.zeros((len(falling), 1))], axis=1)
    size = curves.size[:, :1] + np.concatenate([np.zeros((len(bits), 1)), np.cumsum(bits, axis=1)], axis=1)
    return Curves(size, error)


def _rising(
    known: npt.NDArray[np.int64], values: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], count: int
) -> npt.NDArray[np.float64]:
    """A rising curve over all levels through noisy values at some of them.

    Where noise would make it fall, neighbours are pooled; a pooled run stands for its middle, so that the curve goes on
    rising through it.
    """
    if (np.diff(values) > 0).all():
        return np.interp(np.arange(count), known, values)
    from scipy.optimize import isotonic_regression

    pooled = isotonic_regression(values, weights=weights).x
    starts = np.flatnonzero(np.diff(pooled, prepend=-np.inf) > 0)
    middles = np.add.reduceat(known * weights, starts) / np.add.reduceat(weights, starts)
    # The ends stay where they are: half a run is flat there.
    return np.interp(np.arange(count), middles, pooled[starts])


def _falling_slopes(
    drops: npt.NDArray[np.float64], growth: npt.NDArray[np.float64], least: float
) -> npt.NDArray[np.float64]:
    """Slopes of the convex minorant of error over size, strictly falling: one slope picks one level."""
    from scipy.optimize import isotonic_regression

    slopes = np.maximum(isotonic_regression(drops / growth, weights=growth, increasing=False).x, least)
    for level in range(1, len(slopes)):
        slopes[level] = max(slopes[level], slopes[level - 1] / 2)
    return np.asarray(slopes * (1 - 1e-5 * np.arange(len(slopes))))
