"""Budgets, and the one loop that meets them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from accelir.allocation.allocator import Allocator
from accelir.codec import Codec, Encoded, LevelMap, Prepared
from accelir.errors import BudgetError, InvalidInputError
from accelir.image import ImageArray
from accelir.metadata import Metadata
from accelir.profiling.estimate import Estimate

__all__ = ["BitsPerPixel", "Budget", "Bytes", "LikeQuality", "fit_budget"]

WRITES = 12
"""Most files that are written for one budget."""

COARSE_WRITES = 3
"""Most of them that move the allocation, where the codec has a fine control."""

NEAR = 0.1
"""Logarithm of size over budget at which the fine control takes over."""

MARGIN = 0.0015
"""How far below the budget, in logarithm, the search aims: the file must not exceed it."""

CLOSED = 1e-3
"""Width of a bracket in which nothing better is expected."""

FORESIGHTS = 6
"""Most foreseen sizes that the fine control is brought near the budget by, where the codec foresees them."""

FORESEEN = 0.003
"""Logarithm of foreseen size over budget at which files are written."""

GOAL = 0.996
"""Part of the budget at which the loop is content, where the codec's fine control reaches it in time."""


def _as_number(value: object) -> float:
    """As a float; NaN for what is no number."""
    if not isinstance(value, int | float | np.number) or isinstance(value, bool):
        return np.nan
    try:
        return float(value)
    except OverflowError:
        return np.inf


class Budget(ABC):
    """What a file may take."""

    @abstractmethod
    def resolve(self, image: ImageArray, codec: Codec, metadata: Metadata | None = None) -> int:
        """The budget in bytes for an image and the metadata that its file carries."""


@dataclass(frozen=True)
class Bytes(Budget):
    """At most so many bytes, metadata included.

    Attributes:
        count: 1 or more.
    """

    count: int

    def __post_init__(self) -> None:
        if not (_as_number(self.count).is_integer() and self.count >= 1):
            raise InvalidInputError(f"A budget is a whole number of bytes, 1 or more; got {self.count!r}.")

    def resolve(self, image: ImageArray, codec: Codec, metadata: Metadata | None = None) -> int:
        return int(self.count)


@dataclass(frozen=True)
class BitsPerPixel(Budget):
    """At most so many bits per pixel of the encoded image, metadata included.

    Attributes:
        bits: More than 0.
    """

    bits: float

    def __post_init__(self) -> None:
        if not (_as_number(self.bits) > 0 and np.isfinite(self.bits)):
            raise InvalidInputError(f"Bits per pixel are a number above 0; got {self.bits!r}.")

    def resolve(self, image: ImageArray, codec: Codec, metadata: Metadata | None = None) -> int:
        return max(1, int(min(self.bits * image.shape[0] * image.shape[1] / 8, 2.0**53)))


@dataclass(frozen=True)
class LikeQuality(Budget):
    """At most the bytes that the format's usual encoder takes at a quality; metadata counts on both sides.

    Attributes:
        quality: 1 to 100.
    """

    quality: int

    def __post_init__(self) -> None:
        if not (_as_number(self.quality).is_integer() and 1 <= self.quality <= 100):
            raise InvalidInputError(f"Quality is a whole number from 1 to 100; got {self.quality!r}.")

    def resolve(self, image: ImageArray, codec: Codec, metadata: Metadata | None = None) -> int:
        usual = codec.usual(image, int(self.quality))
        return len(codec.embed(usual, metadata) if metadata else usual)


def fit_budget(codec: Codec, prepared: Prepared, estimate: Estimate, allocator: Allocator, budget: int) -> Encoded:
    """Write the best file that takes at most ``budget`` bytes.

    First the allocator is asked for more or fewer bits until the file comes near the budget; then, where the codec
    has a fine control, that closes the gap. Both are the same bracketed secant on the logarithm of the size.

    Args:
        codec: Says whether it has a fine control, and what is full enough where it has none.
        prepared: Writes.
        estimate: What the allocator goes by.
        allocator: Picks the levels.
        budget: In bytes.

    Raises:
        BudgetError: Even the coarsest levels take more; the message says how much.
    """
    finest = len(codec.levels) - 1
    search = _Search(budget)

    def propose(bits: int) -> LevelMap:
        proposed = allocator.allocate(estimate, bits)
        if codec.fine_control and np.ptp(proposed) == 1:
            # Neighbouring levels that only use up the bits are what the fine control does better.
            return np.full_like(proposed, round(float(proposed.mean())))
        return proposed

    def size(levels: LevelMap, trim: float = 0.0) -> float:
        if foresees:
            return prepared.size(levels, trim)
        return search.keep(prepared.write(levels, trim))

    foresees = codec.fine_control and prepared.foresees
    levels = propose(8 * budget)
    most = COARSE_WRITES if codec.fine_control else WRITES
    for count in range(1, most + 1):
        taken = size(levels)
        foreseen = float(estimate.curves.size[estimate.groups, levels].sum())
        log_bits = search.add(float(np.log(max(foreseen, 1.0))), taken, slope=1.0)
        enough = abs(search.gap(taken)) < NEAR if codec.fine_control else search.filled >= codec.fill
        if enough or count == most or search.exhausted(finest if not codec.fine_control else None):
            break
        proposed = propose(round(float(np.exp(min(log_bits, 40.0)))))
        if np.array_equal(proposed, levels):
            break
        levels = proposed
    if codec.fine_control:
        slope, trim = codec.trim_slope, 0.0
        search.restart()
        if foresees:
            trim, slope = _foresee(prepared, levels, taken, search, slope)
            search.restart()
            taken = search.keep(prepared.write(levels, trim))
        trim = search.add(trim, taken, slope)
        for _ in range(WRITES - COARSE_WRITES):
            if search.filled >= GOAL or search.exhausted(None):
                break
            trim = search.add(trim, search.keep(prepared.write(levels, trim)), slope)
    if not search.filled:
        # Next to nothing is left to save: look between the coarsest file that can be written and the coarsest level.
        search.restart()
        floor = -float(len(codec.levels)) if codec.fine_control else 0.0
        trim = search.add(floor, search.keep(prepared.write(0, floor)), slope=codec.trim_slope)
        for _ in range(WRITES if codec.fine_control and search.filled else 0):
            if search.filled >= codec.fill or search.exhausted(None):
                break
            trim = search.add(trim, search.keep(prepared.write(0, trim)), slope=codec.trim_slope)
    if search.best is None:
        raise BudgetError(budget, search.smallest, codec.name)
    return search.best


def _foresee(prepared: Prepared, levels: LevelMap, size: float, search: _Search, slope: float) -> tuple[float, float]:
    """The trim at which the foreseen size meets the budget, and how the logarithm of the size moves there."""
    trim, points = 0.0, [(0.0, size)]
    for _ in range(FORESIGHTS):
        if abs(search.gap(size)) < FORESEEN or search.exhausted(None):
            break
        trim = search.add(trim, size, slope)
        size = prepared.size(levels, trim)
        before, taken = points[-1]
        if trim != before:
            # Steps of a table can hide how the size moves over a short way: no slope is believed that is far off.
            moved = float(np.log(size / taken)) / (trim - before)
            slope = min(max(moved, slope / 3), slope * 3)
        points.append((trim, size))
    return min(points, key=lambda point: abs(search.gap(point[1])))[0], slope


class _Search:
    """A bracketed secant: positions and the sizes they gave; and the largest file that fits."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.best: Encoded | None = None
        self.smallest = 0
        self.restart()

    def restart(self) -> None:
        """Forget the bracket; keep the best file."""
        self.low: tuple[float, float] | None = None
        self.high: tuple[float, float] | None = None

    @property
    def filled(self) -> float:
        """Part of the budget that the best file takes; 0 without one."""
        return 0.0 if self.best is None else len(self.best.data) / self.budget

    def gap(self, size: float) -> float:
        """Logarithm of the size over the budget."""
        return float(np.log(size / self.budget))

    def keep(self, encoded: Encoded) -> int:
        """Take a file that was written, the best one or not, and return its size."""
        size = len(encoded.data)
        self.smallest = size if self.smallest == 0 else min(size, self.smallest)
        if size <= self.budget and (self.best is None or size > len(self.best.data)):
            self.best = encoded
        return size

    def exhausted(self, finest: int | None) -> bool:
        """Whether no better file is left to find: the bracket is closed, or all blocks have the finest level."""
        if finest is not None and self.best is not None and self.best.levels.min() == finest:
            return True
        return self.low is not None and self.high is not None and self.high[0] - self.low[0] < CLOSED

    def add(self, position: float, size: float, slope: float) -> float:
        """Take a size into account and say where to look next.

        Args:
            position: Where it was found.
            size: In bytes.
            slope: About how the logarithm of the size moves with the position.
        """
        gap = self.gap(size)
        if gap <= 0:
            self.low = (position, gap)
        else:
            self.high = (position, gap)
        if self.low is None or self.high is None:
            return position - (gap + float(np.sign(gap)) * MARGIN) / slope if gap > 0 else position - gap / slope
        aim = -MARGIN - self.low[1]
        share = aim / (self.high[1] - self.low[1])
        return self.low[0] + (self.high[0] - self.low[0]) * min(max(share, 0.1), 0.9)
