"""What every allocator promises."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from accelir.allocation.allocator import Allocator
from accelir.codec import LevelMap
from accelir.profiling.estimate import Curves, Estimate
from accelir.testing.suite import Suite, require

__all__ = ["allocator_checks", "check_allocator"]

SHAPES = ((1, 1), (1, 7), (6, 9))

_suite: Suite[[Allocator]] = Suite()


def check_allocator(allocator: Allocator, *, expected_failed_checks: Mapping[str, str] | None = None) -> dict[str, str]:
    """Run all checks on an allocator.

    Args:
        allocator: An instance.
        expected_failed_checks: Names of checks that fail, each with the reason.

    Returns:
        For each check ``"passed"``, ``"skipped: ..."`` or ``"failed as expected: ..."``.

    Raises:
        ConformanceError: The contract is not kept.
    """
    return _suite.run(type(allocator).__name__, expected_failed_checks, allocator)


def allocator_checks() -> list[tuple[str, Callable[[Allocator], None]]]:
    """The checks as (name, callable that takes an allocator)."""
    return list(_suite)


@_suite.check
def check_shape(allocator: Allocator) -> None:
    """One level for every block, and only levels that there are."""
    for estimate in _estimates():
        for bits in _budgets(estimate):
            levels = allocator.allocate(estimate, bits)
            require(levels.shape == estimate.groups.shape, f"levels has the shape of groups; got {levels.shape}")
            require(levels.dtype == np.int32, f"levels is int32; got {levels.dtype}")
            last = estimate.curves.size.shape[1] - 1
            require(
                levels.min() >= 0 and levels.max() <= last,
                f"levels are 0 to {last}; got {levels.min()} to {levels.max()}",
            )


@_suite.check
def check_within_bits(allocator: Allocator) -> None:
    """The foreseen size stays within the bits wherever the coarsest levels do."""
    for estimate in _estimates():
        coarsest = _total(estimate.curves.size, estimate, np.zeros_like(estimate.groups))
        for bits in _budgets(estimate):
            size = _total(estimate.curves.size, estimate, allocator.allocate(estimate, bits))
            require(size <= max(bits, coarsest) * (1 + 1e-9), f"asked for {bits} bits, foresees {size:.0f}")


@_suite.check
def check_too_few_bits(allocator: Allocator) -> None:
    """Fewer bits than the coarsest levels take give the smallest file."""
    for estimate in _estimates():
        levels = allocator.allocate(estimate, 0)
        size = _total(estimate.curves.size, estimate, levels)
        coarsest = _total(estimate.curves.size, estimate, np.zeros_like(estimate.groups))
        require(size <= coarsest, f"with 0 bits it foresees {size:.0f}, the coarsest levels take {coarsest:.0f}")


@_suite.check
def check_more_is_better(allocator: Allocator) -> None:
    """More bits never raise the foreseen error."""
    for estimate in _estimates():
        errors = [
            _total(estimate.curves.error, estimate, allocator.allocate(estimate, bits)) for bits in _budgets(estimate)
        ]
        require(
            all(more <= fewer * (1 + 1e-9) for fewer, more in pairwise(errors)),
            f"the foreseen error rises with the bits: {[round(e) for e in errors]}",
        )


@_suite.check
def check_plenty(allocator: Allocator) -> None:
    """With bits to spare the error is the least possible."""
    for estimate in _estimates():
        levels = allocator.allocate(estimate, 10**12)
        error = _total(estimate.curves.error, estimate, levels)
        least = float(estimate.curves.error.min(axis=1)[estimate.groups].sum())
        require(
            error <= least * (1 + 1e-9),
            f"with bits to spare it foresees an error of {error:.0f}; {least:.0f} is possible",
        )


@_suite.check
def check_deterministic(allocator: Allocator) -> None:
    """The same estimate gives the same levels, and is not changed."""
    for estimate in _estimates():
        for array in (estimate.groups, estimate.curves.size, estimate.curves.error):
            array.setflags(write=False)
        bits = _budgets(estimate)[1]
        first, second = allocator.allocate(estimate, bits), allocator.allocate(estimate, bits)
        require(np.array_equal(first, second), "allocating twice gives two maps")


def _estimates() -> Iterator[Estimate]:
    """Random convex curves; flat ones; a group that no block has."""
    rng = np.random.default_rng(0)
    for shape in SHAPES:
        for group_count, level_count in ((1, 2), (4, 9)):
            size = 10 + np.cumsum(rng.uniform(1, 50, (group_count, level_count)), axis=1)
            error = rng.uniform(1e3, 1e5, (group_count, 1)) / size
            groups = rng.integers(0, max(1, group_count - 1), shape).astype(np.int32)
            yield Estimate(groups, Curves(size, error))
            yield Estimate(groups, Curves(size, np.full_like(error, 100.0)))


def _budgets(estimate: Estimate) -> list[int]:
    levels = np.zeros_like(estimate.groups)
    least = _total(estimate.curves.size, estimate, levels)
    most = _total(estimate.curves.size, estimate, levels + estimate.curves.size.shape[1] - 1)
    return [int(least + (most - least) * share) for share in (-0.1, 0.01, 0.2, 0.5, 0.8, 1.0, 2.0)]


def _total(curve: npt.NDArray[np.float64], estimate: Estimate, levels: LevelMap) -> float:
    return float(curve[estimate.groups, levels].sum())
