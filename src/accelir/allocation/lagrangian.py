"""Allocation by Lagrange multiplier over the curves' convex hulls (Shoham and Gersho, IEEE TASSP 1988, section III)."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from accelir.allocation.allocator import Allocator
from accelir.codec import LevelMap
from accelir.profiling.estimate import Estimate

__all__ = ["LagrangianAllocator", "UniformAllocator", "lower_hull"]


class LagrangianAllocator(Allocator):
    """All blocks work at one slope of restored error over bits, as near to the size as whole blocks allow.

    Every group starts at the coarsest level of its convex hull and climbs it in steps; steps are taken by falling
    gain per bit, over all groups together. The step that no longer fits whole is taken by as many blocks as fit,
    spread evenly over the image. The result is optimal among the allocations on the hulls, up to one block's step.
    """

    def allocate(self, estimate: Estimate, bits: int) -> LevelMap:
        groups = estimate.groups.ravel()
        counts = np.bincount(groups, minlength=len(estimate.curves.size))
        levels = np.zeros(len(counts), np.int32)
        steps: list[tuple[float, int, int, int, float]] = []
        spent = 0.0
        for group in np.flatnonzero(counts).tolist():
            size, error = estimate.curves.size[group], estimate.curves.error[group]
            hull = lower_hull(size, error)
            levels[group] = hull[0]
            spent += counts[group] * size[hull[0]]
            for order, (low, high) in enumerate(itertools.pairwise(hull)):
                cost = size[high] - size[low]
                steps.append((float((error[low] - error[high]) / cost), group, order, high, float(cost)))
        steps.sort(key=lambda step: (-step[0], step[1], step[2]))
        result = None
        for _, group, _, high, cost in steps:
            if spent + counts[group] * cost <= bits:
                spent += counts[group] * cost
                levels[group] = high
                continue
            partial = int((bits - spent) // cost)
            result = levels[groups]
            if partial > 0:
                members = np.flatnonzero(groups == group)
                result[members[(np.arange(partial) * len(members)) // partial]] = high
            break
        if result is None:
            result = levels[groups]
        return result.reshape(estimate.groups.shape).astype(np.int32)


class UniformAllocator(Allocator):
    """One level for all blocks: the finest that fits."""

    def allocate(self, estimate: Estimate, bits: int) -> LevelMap:
        counts = np.bincount(estimate.groups.ravel(), minlength=len(estimate.curves.size))
        total = counts @ estimate.curves.size
        fitting = np.flatnonzero(total <= bits)
        level = int(fitting[-1]) if len(fitting) else 0
        return np.full(estimate.groups.shape, level, np.int32)


def lower_hull(size: npt.NDArray[np.float64], error: npt.NDArray[np.float64]) -> list[int]:
    """The levels on the lower convex hull of error over size, coarsest first.

    Args:
        size: float64 (L,), not decreasing.
        error: float64 (L,).
    """
    hull: list[int] = []
    for level in range(len(size)):
        while hull and size[level] <= size[hull[-1]] and error[level] <= error[hull[-1]]:
            hull.pop()
        if hull and (error[level] >= error[hull[-1]] or size[level] <= size[hull[-1]]):
            continue
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            if (error[a] - error[b]) * (size[level] - size[a]) > (error[a] - error[level]) * (size[b] - size[a]):
                break
            hull.pop()
        hull.append(level)
    return hull
