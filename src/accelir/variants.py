"""Ways to store a picture that nothing tells apart beforehand, as 4:2:0 and 4:4:4: they are tried, and one is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from accelir.codec import Codec, Encoded, Prepared, Sensitivity
from accelir.errors import BudgetError
from accelir.image import ImageArray

if TYPE_CHECKING:
    from accelir.profiling.estimate import Estimate

__all__ = ["Attempt", "best_attempt", "least_costly", "sample_of"]

LARGE = 500_000
"""Pixels beyond which a sample tells which way is kept."""

TILE = 96
"""Side of the sample's tiles in pixels."""

TILES = 5
"""Of them along each side."""


@dataclass(frozen=True)
class Attempt:
    """A file within the budget, and how it came about."""

    codec: Codec
    estimate: Estimate
    prepared: Prepared
    encoded: Encoded


Try = Callable[[Codec, ImageArray, int], Attempt]
"""From a way, pixels and a budget in bytes to a file that keeps it, or a BudgetError."""


def best_attempt(
    ways: Sequence[Codec], image: ImageArray, budget: int, attempt: Try, *, metadata: int = 0, sampled: bool = True
) -> Attempt:
    """The file whose error will cost least after restoration.

    Args:
        ways: At least one.
        image: What is to be stored, uint8 (H, W, 3) or (H, W).
        budget: In bytes.
        attempt: Writes a file.
        metadata: How many bytes of the budget are not for pixels.
        sampled: Whether of a large picture a sample may tell, so that one way only is tried on all of it.

    Raises:
        BudgetError: No way makes a file so small; says the smallest.
    """
    if len(ways) > 1 and sampled and image.shape[0] * image.shape[1] > LARGE:
        sample = sample_of(image)
        share = sample.shape[0] * sample.shape[1] / (image.shape[0] * image.shape[1])
        try:
            size = max(1, round((budget - metadata) * share))
            promising = _best(_successes(ways, sample, size, attempt), sample).codec
        except BudgetError:
            # Of the whole a file may be so small: what is the same in all files is less there.
            promising = ways[0]
        try:
            return attempt(promising, image, budget)
        except BudgetError:
            # Whatever can be so small is as good then, and all together say what the smallest is.
            pass
    return _best(_successes(ways, image, budget, attempt), image)


def least_costly(found: Sequence[tuple[Codec, Sensitivity | None, Encoded]], image: ImageArray) -> int:
    """Which of some files of one picture has the error that costs least, as the last one's codec counts it.

    Args:
        found: Files, what wrote them, and the sensitivities that it went by, in its geometry; at least one.
        image: What they store.

    Returns:
        Its place.
    """
    if len(found) == 1:
        return 0
    judge, sensitivity, _ = found[-1]
    costs = [judge.weighted_error(image, codec.decode(one.data), sensitivity) for codec, _, one in found]
    return int(np.argmin(costs))


def sample_of(image: ImageArray) -> ImageArray:
    """A mosaic of the middles of 5 x 5 parts of a picture: uint8, of 480 pixels a side, or all of a shorter side."""
    rows, columns = (_spread(size) for size in image.shape[:2])
    return np.ascontiguousarray(image[rows][:, columns])


def _spread(size: int) -> slice | np.ndarray:
    if size <= TILE * TILES:
        return slice(None)
    # Where units of JPEG begin, so that tiles hold whole ones.
    starts = ((np.arange(TILES) + 0.5) * size / TILES - TILE / 2) // 16 * 16
    return (starts.astype(int)[:, None] + np.arange(TILE)).ravel()


def _best(attempts: Sequence[Attempt], image: ImageArray) -> Attempt:
    return attempts[least_costly([(one.codec, one.estimate.sensitivity, one.encoded) for one in attempts], image)]


def _successes(ways: Sequence[Codec], image: ImageArray, budget: int, attempt: Try) -> list[Attempt]:
    """Of the ways whose files can be so small, at least one; where there is none, the error that tells the smallest."""
    made, errors = [], []
    for way in ways:
        try:
            made.append(attempt(way, image, budget))
        except BudgetError as error:
            errors.append(error)
    if not made:
        raise min(errors, key=lambda error: error.smallest)
    return made
