"""Budgets, and the one loop that meets them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from accelir.allocation.allocator import Allocator
from accelir.bracket import MARGIN, Bracket
from accelir.checks import as_number
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

FORESIGHTS = 6
"""Most sizes that are foreseen before the first file."""

FORESIGHTS_BETWEEN = 4
"""Most between two files: sizes do not move evenly, and a file tells more."""

FORESEEN_AT_FIRST = 0.003
"""How near to where it aims, in logarithm, a foreseen size has to be for a file to be written."""

FORESEEN = 0.001
"""The same where a file has told how far off what is foreseen is."""

CAUTION_AT_FIRST = 0.006
"""How much less, in logarithm, is aimed at by what is foreseen alone: rarely is that off by more."""

CAUTION = 0.0015
"""The same once a file has told how far off what is foreseen is."""

BEYOND_FINEST = 6
"""Levels beyond the finest up to which the fine control still makes blocks finer."""

SAFE = 0.02
"""How much less, in logarithm, is aimed at where a file has to fit."""

GOAL = 0.996
"""Part of the budget at which the loop is content, where the codec's fine control reaches it within its patience."""

GOAL_FORESEEN = 0.985
"""The same where sizes are foreseen: such pictures are large, and each more file costs its time."""


class Budget(ABC):
    """What a file may take."""

    @abstractmethod
    def resolve(self, image: ImageArray, codec: Codec, metadata: Metadata | None = None) -> int:
        """The budget in bytes for an image and the metadata that its file carries."""

    def in_words(self) -> str:
        """The budget as its caller would say it; empty where bytes say it as well."""
        return ""

    def least_in_words(self, size: int, image: ImageArray) -> str:
        """The least budget of this kind that a file of ``size`` bytes keeps; empty where bytes say it as well."""
        return ""


@dataclass(frozen=True)
class Bytes(Budget):
    """At most so many bytes, metadata included.

    Attributes:
        count: 1 or more.
    """

    count: int

    def __post_init__(self) -> None:
        if not (as_number(self.count).is_integer() and self.count >= 1):
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
        if not (as_number(self.bits) > 0 and np.isfinite(self.bits)):
            raise InvalidInputError(f"Bits per pixel are a number above 0; got {self.bits!r}.")

    def resolve(self, image: ImageArray, codec: Codec, metadata: Metadata | None = None) -> int:
        return max(1, int(min(self.bits * image.shape[0] * image.shape[1] / 8, 2.0**53)))

    def in_words(self) -> str:
        return f"{self.bits:g} bits per pixel"

    def least_in_words(self, size: int, image: ImageArray) -> str:
        # More by what four digits may be rounded down.
        return f"{1.001 * 8 * size / (image.shape[0] * image.shape[1]):.4g} bits per pixel"


@dataclass(frozen=True)
class LikeQuality(Budget):
    """At most the bytes that the format's usual encoder takes at a quality; metadata counts on both sides.

    Attributes:
        quality: 1 to 100.
    """

    quality: int

    def __post_init__(self) -> None:
        if not (as_number(self.quality).is_integer() and 1 <= self.quality <= 100):
            raise InvalidInputError(f"Quality is a whole number from 1 to 100; got {self.quality!r}.")

    def resolve(self, image: ImageArray, codec: Codec, metadata: Metadata | None = None) -> int:
        usual = codec.usual(image, int(self.quality))
        return len(codec.embed(usual, metadata) if metadata else usual)

    def in_words(self) -> str:
        return f"what quality {self.quality} takes"


def fit_budget(codec: Codec, prepared: Prepared, estimate: Estimate, allocator: Allocator, budget: int) -> Encoded:
    """Write the best file that takes at most ``budget`` bytes.

    First the allocator is asked for more or fewer bits until the file comes near the budget; then, where the codec
    has a fine control, that closes the gap. Where all blocks have one level, as where sensitivities tell blocks apart,
    and levels are continuous, the fine control does it all. Both are the same bracketed secant on the logarithm of the
    size. Where the codec foresees sizes, they take the place of files in both, and each file that is written all the
    same tells how far off they are.

    Args:
        codec: Says whether it has a fine control, and what is full enough where it has none.
        prepared: Writes.
        estimate: What the allocator goes by.
        allocator: Picks the levels.
        budget: In bytes.

    Raises:
        BudgetError: Even the coarsest levels take more; the message says how much.
        InvalidInputError: The estimate's curves are not of this codec's levels.
    """
    if estimate.curves.size.shape[1] != len(codec.levels):
        raise InvalidInputError(
            f"The curves of an estimate for {codec.name} have {len(codec.levels)} levels; got "
            f"{estimate.curves.size.shape[1]}."
        )
    files = _Files(budget, codec)
    foresees = codec.fine_control and prepared.foresees
    continuous = codec.fine_control and codec.continuous_levels

    def propose(bits: int) -> LevelMap:
        proposed = allocator.allocate(estimate, bits)
        if codec.fine_control and np.ptp(proposed) == 1:
            # Neighbouring levels that only use up the bits are what the fine control does better.
            return np.full_like(proposed, round(float(proposed.mean())))
        return proposed

    levels = propose(8 * budget)
    if continuous and not foresees and np.ptp(levels) == 0:
        smallest = _along_levels(codec, prepared, estimate, float(levels.flat[0]), files)
    else:
        smallest = _by_allocation(codec, prepared, estimate, propose, levels, files, foresees=foresees)
    if files.best is None:
        raise BudgetError(budget, smallest, codec.name, prepared.metadata_bytes)
    if files.filled < codec.fill and files.finest < (finest := len(codec.levels) - 1):
        # So little is to be said of the picture that the size tells levels no more apart, as where it has one colour.
        files.keep(prepared.write(finest))
    return files.best


def _along_levels(codec: Codec, prepared: Prepared, estimate: Estimate, first: float, files: _Files) -> int:
    """Write files of one level for all blocks, which the fine control makes a real number.

    Args:
        codec: Has a fine control and continuous levels.
        prepared: Writes.
        estimate: Its curves say how far away the second file is.
        first: The first file's level.
        files: Keeps what is written.

    Returns:
        The smallest size found.
    """
    finest, floor = len(codec.levels) - 1, -float(len(codec.levels))
    # Blocks that are needed less are coarser than the level, and have finer ones left beyond the last.
    bracket = Bracket((floor, finest + BEYOND_FINEST))
    sizes = np.log(np.maximum(estimate.curves.size[estimate.groups].sum(axis=(0, 1), dtype=np.float64), 1.0))
    known: dict[float, float] = {}

    def write(position: float) -> float:
        level = min(max(round(position), 0), finest)
        known[position] = files.keep(prepared.write(level, position - level))
        return known[position]

    position = first
    for count in range(WRITES):
        gap = write(position)
        following = bracket.add(position, gap, slope=codec.trim_slope)
        if files.enough or bracket.closed:
            break
        if count == 0:
            foretold = float(np.interp(sizes[round(first)] - gap - MARGIN, sizes, np.arange(finest + 1)))
            following = foretold if (foretold - position) * (following - position) > 0 else following
        if count + 2 == codec.patience and not files.filled:
            # The last file that patience allows is one that fits.
            following -= SAFE / codec.trim_slope
        position = following
    if not files.filled and floor not in known:
        # All of them were too large: what is left lies between the coarsest file and the smallest of these.
        smallest = min(known, key=lambda at: known[at])
        bracket = Bracket()
        bracket.add(smallest, known[smallest], slope=codec.trim_slope)
        position = bracket.add(floor, write(floor), slope=codec.trim_slope)
        for _ in range(WRITES // 2 if files.filled else 0):
            if files.filled >= codec.fill or bracket.closed or position in known:
                break
            position = bracket.add(position, write(position), slope=codec.trim_slope)
    return round(files.budget * float(np.exp(min(known.values()))))


def _by_allocation(
    codec: Codec,
    prepared: Prepared,
    estimate: Estimate,
    propose: Callable[[int], LevelMap],
    levels: LevelMap,
    files: _Files,
    *,
    foresees: bool,
) -> int:
    """Have blocks allocated anew until the file comes near the budget; then the fine control closes the gap.

    Args:
        codec: As for `fit_budget`.
        prepared: Foresees and writes.
        estimate: What ``propose`` goes by.
        propose: From a number of bits to levels.
        levels: Those proposed for the budget.
        files: Keeps what is written.
        foresees: Whether sizes that are foreseen take the place of files.

    Returns:
        The smallest size found, where no file fits.
    """
    finest = len(codec.levels) - 1
    bracket, proposals = Bracket(), {levels.tobytes()}
    most = COARSE_WRITES if codec.fine_control else WRITES
    for count in range(1, most + 1):
        gap = files.gap(prepared.size(levels)) if foresees else files.keep(prepared.write(levels))
        expected = float(estimate.curves.size[estimate.groups, levels].sum())
        log_bits = bracket.add(float(np.log(max(expected, 1.0))), gap, slope=1.0)
        enough = abs(gap) < NEAR if codec.fine_control else files.filled >= codec.fill
        if enough or count == most or bracket.closed:
            break
        if not codec.fine_control and files.best is not None and files.best.levels.min() == finest:
            break
        proposed = propose(round(float(np.exp(min(log_bits, 40.0)))))
        if proposed.tobytes() in proposals:
            break
        proposals.add(proposed.tobytes())
        levels = proposed
    if foresees:
        written = _trim_with_foresight(prepared, levels, gap, codec.trim_slope, files)
        if files.filled < codec.fill:
            # What is foreseen does not lead on: by files alone.
            _trim(codec, prepared, levels, written, files, most=WRITES // 2)
    elif codec.fine_control:
        _trim(codec, prepared, levels, {0.0: gap}, files, most=WRITES - COARSE_WRITES)
    if files.filled:
        return 0
    # Next to nothing is left to save: look between the coarsest file that can be written and the coarsest level.
    bracket = Bracket()
    floor = -float(len(codec.levels)) if codec.fine_control else 0.0
    coarsest = prepared.write(0, floor)
    trim = bracket.add(floor, files.keep(coarsest), slope=codec.trim_slope)
    for _ in range(WRITES if codec.fine_control and files.filled else 0):
        if files.filled >= codec.fill or bracket.closed:
            break
        trim = bracket.add(trim, files.keep(prepared.write(0, trim)), slope=codec.trim_slope)
    return len(coarsest.data)


def _trim(
    codec: Codec, prepared: Prepared, levels: LevelMap, known: dict[float, float], files: _Files, *, most: int
) -> None:
    """Write files of the same levels with other trims.

    Args:
        codec: As for `fit_budget`.
        prepared: Writes.
        levels: For all files.
        known: By trim, the logarithms of sizes over the budget, at least one.
        files: Keeps what is written.
        most: How many.
    """
    bracket, trim = Bracket(), 0.0
    for at in sorted(known, key=lambda at: -abs(known[at])):
        trim = bracket.add(at, known[at], slope=codec.trim_slope)
    for _ in range(most):
        if files.enough or bracket.closed:
            break
        trim = bracket.add(trim, files.keep(prepared.write(levels, trim)), slope=codec.trim_slope)


def _trim_with_foresight(
    prepared: Prepared, levels: LevelMap, gap: float, slope: float, files: _Files
) -> dict[float, float]:
    """Write where the foreseen size, corrected by what the file before was off, meets the budget.

    Args:
        prepared: Foresees and writes.
        levels: For all files.
        gap: Logarithm of the size over the budget that is foreseen for them without trim.
        slope: About how it moves with the trim.
        files: Keeps what is written.

    Returns:
        Of each file that was written, the logarithm of its size over the budget, by trim.
    """
    foreseen, written = {0.0: gap}, dict[float, float]()
    correction = CAUTION_AT_FIRST
    for _ in range(WRITES - COARSE_WRITES):
        bracket, trim = Bracket(), 0.0
        # From the smallest and the largest towards the budget: the last of each side count.
        for known in sorted(foreseen, key=lambda known: -abs(foreseen[known] + correction)):
            trim = bracket.add(known, foreseen[known] + correction, slope)
        near, most = (FORESEEN, FORESIGHTS_BETWEEN) if written else (FORESEEN_AT_FIRST, FORESIGHTS)
        for _ in range(most):
            if bracket.closed or min(abs(gap + correction + MARGIN) for gap in foreseen.values()) < near:
                break
            foreseen[trim] = files.gap(prepared.size(levels, trim))
            trim = bracket.add(trim, foreseen[trim] + correction, slope)
        nearest = min(foreseen, key=lambda known: abs(foreseen[known] + correction + MARGIN))
        if nearest in written:
            break
        written[nearest] = files.keep(prepared.write(levels, nearest))
        if files.filled >= GOAL_FORESEEN:
            break
        correction = written[nearest] - foreseen[nearest] + CAUTION
    return written


class _Files:
    """The largest file that fits, and what is known of the others."""

    def __init__(self, budget: int, codec: Codec) -> None:
        self.budget = budget
        self.count = 0
        self._fill, self._patience = codec.fill, codec.patience
        self.best: Encoded | None = None
        self.finest = 0
        """The finest level that all blocks of a file had."""

    @property
    def filled(self) -> float:
        """Part of the budget that the best file takes; 0 without one."""
        return 0.0 if self.best is None else len(self.best.data) / self.budget

    @property
    def enough(self) -> bool:
        """Whether the best file needs no better one: at first nearly full, later as full as the codec promises."""
        return self.filled >= (GOAL if self.count < self._patience else self._fill)

    def gap(self, size: float) -> float:
        """Logarithm of a size over the budget."""
        return float(np.log(size / self.budget))

    def keep(self, encoded: Encoded) -> float:
        """Take a file that was written and return the logarithm of its size over the budget."""
        size = len(encoded.data)
        self.count += 1
        self.finest = max(self.finest, int(encoded.levels.min()))
        if size <= self.budget and (self.best is None or _rank(encoded) > _rank(self.best)):
            self.best = encoded
        return self.gap(size)


def _rank(encoded: Encoded) -> tuple[int, int]:
    """Of files that fit the larger is better, and of files as large the finer."""
    return len(encoded.data), int(encoded.levels.sum())
