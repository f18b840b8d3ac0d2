"""The arithmetic of the measurements: savings at equal quality, and what a set of per-image numbers says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from accelir.errors import InvalidInputError
from accelir.image import ImageArray
from accelir.tasks import Deblur, Task

__all__ = [
    "BytesSaved",
    "Summary",
    "at_budget",
    "bytes_saved",
    "flops_saved",
    "interval",
    "make_input",
    "straddle",
    "summarise",
]


class Summary(BaseModel):
    """What a set of per-image numbers says.

    Attributes:
        count: Number of images.
        mean: Their mean.
        low: Lower end of the 95 % bootstrap interval of the mean.
        high: Its upper end.
        std: Sample standard deviation over the images, 0 for one image.
        min: The smallest.
        max: The largest.
        share_better: Share of the images above 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int
    mean: float
    low: float
    high: float
    std: float
    min: float
    max: float
    share_better: float


class BytesSaved(NamedTuple):
    """Bytes saved at equal quality.

    Attributes:
        share: 0.25 where the file takes a quarter less than the usual encoder's file of the same restored quality.
        clamped: The quality lies outside the usual encoder's curve, whose end was taken.
    """

    share: float
    clamped: bool


def make_input(
    task: Task, reference: ImageArray, index: int, kernels: Sequence[npt.NDArray[np.float32]] | None = None
) -> tuple[ImageArray, ImageArray]:
    """The network's input for one image of a measurement, and the reference it is scored against.

    Args:
        task: What the network undoes.
        reference: uint8 (H, W, 3) or (H, W).
        index: Of the image in the set: the seed, and for deblurring also the kernel's index.
        kernels: float32 (h, w) each: blur kernels for `Deblur`; None for kernels of the task's own.

    Returns:
        The input, and the reference cropped to multiples of the scale.
    """
    cropped = np.ascontiguousarray(task.crop(reference))
    rng = np.random.default_rng(index)
    if isinstance(task, Deblur) and kernels is not None:
        return task.degrade_with(cropped, kernels[index % len(kernels)], rng), cropped
    return task.degrade(cropped, rng), cropped


def bytes_saved(size: int, psnr: float, curve: Mapping[int, float] | Sequence[tuple[int, float]]) -> BytesSaved:
    """How much smaller a file is than the usual encoder's file of the same restored quality.

    The usual encoder's curve is made monotone (a larger file is at least as good) and interpolated on the logarithm
    of the size.

    Args:
        size: Of the file, in bytes.
        psnr: Restored, in dB.
        curve: (bytes, dB) of the usual encoder over a few qualities.

    Raises:
        InvalidInputError: The curve has fewer than two sizes.
    """
    points = sorted(dict(curve).items())
    if len(points) < 2:
        raise InvalidInputError(f"A curve needs at least two sizes; got {len(points)}.")
    sizes = np.log([point[0] for point in points])
    scores = np.maximum.accumulate([point[1] for point in points])
    if psnr <= scores[0]:
        equal, clamped = sizes[0], bool(psnr < scores[0])
    elif psnr > scores[-1]:
        # The smallest file that has the best quality: a saturated curve is flat at its end.
        equal, clamped = sizes[int(np.argmax(scores == scores[-1]))], True
    else:
        after = int(np.argmax(scores >= psnr))
        share = (psnr - scores[after - 1]) / (scores[after] - scores[after - 1])
        equal, clamped = sizes[after - 1] + share * (sizes[after] - sizes[after - 1]), False
    return BytesSaved(float(1 - size / np.exp(equal)), clamped)


def flops_saved(flops: Sequence[float], psnr: Sequence[float], target: float, heavy: float | None = None) -> float:
    """The share of a heavy network's FLOPs that a family saves when it still reaches a restored quality.

    PSNR is made monotone over FLOPs, and FLOPs are interpolated on their logarithm between the widths around the
    target. Nothing below the narrowest width is claimed.

    Args:
        flops: Of each width, per image, in any order.
        psnr: Restored by each width, in dB.
        target: To reach, in dB.
        heavy: FLOPs that are compared with; the largest of ``flops`` by default.

    Returns:
        0 (no width reaches the target) to 1 - narrowest / heavy.

    Raises:
        InvalidInputError: Nothing to compare, or the two sequences differ in length.
    """
    if not len(flops) or len(flops) != len(psnr):
        raise InvalidInputError(f"Each width needs FLOPs and a PSNR; got {len(flops)} and {len(psnr)} of them.")
    order = np.argsort(np.asarray(flops, float), kind="stable")
    cost = np.asarray(flops, float)[order]
    scores = np.maximum.accumulate(np.asarray(psnr, float)[order])
    heavy = float(cost[-1]) if heavy is None else heavy
    if target > scores[-1]:
        return 0.0
    reached = int(np.argmax(scores >= target))
    needed = cost[0]
    if reached > 0:
        share = (target - scores[reached - 1]) / (scores[reached] - scores[reached - 1])
        needed = np.exp(np.log(cost[reached - 1]) + share * np.log(cost[reached] / cost[reached - 1]))
    return max(0.0, float(1 - needed / heavy))


def straddle(size: Callable[[int], int], budget: int, coarsest: int, finest: int) -> tuple[int, ...]:
    """The neighbouring settings of an encoder between whose sizes a budget lies, found by bisection.

    Args:
        size: Bytes that a setting takes; about increasing.
        budget: In bytes.
        coarsest: The lowest setting.
        finest: The highest one.

    Returns:
        ``(q, q + 1)`` with ``size(q) < budget < size(q + 1)``; ``(q,)`` where it takes the budget exactly, or where the
        budget lies outside all sizes and q is the setting at that end.
    """
    if size(coarsest) >= budget:
        return (coarsest,)
    if size(finest) <= budget:
        return (finest,)
    low, high = coarsest, finest
    while high - low > 1:
        middle = (low + high) // 2
        taken = size(middle)
        if taken == budget:
            return (middle,)
        low, high = (middle, high) if taken < budget else (low, middle)
    return low, high


def at_budget(budget: int, points: Sequence[tuple[int, float]]) -> float:
    """A score at a size between measured ones, linear in the logarithm of the size; the end's beyond the ends.

    Args:
        budget: In bytes.
        points: (bytes, score), one or more.

    Raises:
        InvalidInputError: There is no point.
    """
    if not points:
        raise InvalidInputError("There is nothing to interpolate: no size was measured.")
    sizes, scores = zip(*sorted(points), strict=True)
    return float(np.interp(np.log(budget), np.log(sizes), scores))


def interval(values: Sequence[float], *, repeats: int = 4000, seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a mean over images.

    Args:
        values: One for each image.
        repeats: Resamples.
        seed: Of the resamples.
    """
    array = np.asarray(values, float)
    picks = np.random.default_rng(seed).integers(len(array), size=(repeats, len(array)))
    low, high = np.percentile(array[picks].mean(axis=1), [2.5, 97.5])
    return float(low), float(high)


def summarise(values: Sequence[float]) -> Summary:
    """Mean, its interval, and the spread of per-image numbers.

    Raises:
        InvalidInputError: There are none.
    """
    if not len(values):
        raise InvalidInputError("There is nothing to summarise: no image was measured.")
    array = np.asarray(values, float)
    low, high = interval(values)
    return Summary(
        count=len(array),
        mean=float(array.mean()),
        low=low,
        high=high,
        std=float(array.std(ddof=1)) if len(array) > 1 else 0.0,
        min=float(array.min()),
        max=float(array.max()),
        share_better=float((array > 0).mean()),
    )
