"""Tuning: which of a codec's options restore best, at the sizes that matter to a network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accelir.bracket import Bracket
from accelir.codec import Codec, Encoded, Prepared, Sensitivity
from accelir.image import ImageArray
from accelir.metrics import psnr_rgb
from accelir.network import IRNetwork

__all__ = ["Example", "best_tuning"]

SHARES = (0.5, 0.7, 0.85, 0.93)
"""Of the way from the restored PSNR of the coarsest files to that of the finest: where tunings are compared."""

CURVE = 8
"""Files by which the sizes of these points are found."""

WRITES = 10
"""Files written to come near a size, at most."""

ROUND = 3
"""Pictures after which the worse half of the tunings that are left are given up."""

FEWEST = 3
"""Tunings that are left to compare on all pictures."""

NEAR = 0.01
"""Logarithm of a size over the wanted one at which a file is near enough."""

Tell = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Example:
    """A picture to tune on.

    Attributes:
        reference: uint8 (H, W, 3) or (H, W), clean.
        image: uint8: what the network gets, H and W divided by the task's scale.
        sensitivity: From a codec to what it is to go by: float32 (rows, cols, K), or None.
    """

    reference: ImageArray
    image: ImageArray
    sensitivity: Callable[[Codec], Sensitivity | None]


def best_tuning(codec: Codec, network: IRNetwork, examples: Sequence[Example], tell: Tell) -> dict[str, Any]:
    """The tuning whose files restore best on middling pictures, compared at equal sizes.

    The sizes are those at which the restored PSNR has come half of its way and more: below, no network helps, and
    above, nothing is left to gain. Tunings that fall behind are given up early (successive halving). Only a fine
    control brings files to one size; without it the codec keeps its first tuning.

    Args:
        codec: Whose `Codec.tunings` to compare.
        network: Restores.
        examples: To measure on.
        tell: Told (done, total).
    """
    if len(codec.tunings) < 2 or not examples or not codec.fine_control:
        return dict(codec.tunings[0])
    variants = [codec.tuned(dict(options)) for options in codec.tunings]
    gains = np.zeros((len(codec.tunings), len(examples)))
    left = np.arange(len(variants))
    for number, example in enumerate(examples):
        tell(number, len(examples))
        if number % ROUND == 0 and number and len(left) > FEWEST:
            ranking = np.argsort(-_middle(gains[left, :number]), kind="stable")
            left = left[np.sort(ranking[: max(FEWEST, len(left) // 2)])]
        sizes, scores = _curve(variants[0], network, example)
        wanted = np.interp(scores[0] + np.array(SHARES) * (scores[-1] - scores[0]), scores, sizes)
        for index in left:
            variant = variants[index]
            prepared = variant.prepare(example.image, sensitivity=example.sensitivity(variant))
            for size in wanted:
                encoded = _near_size(prepared, size, len(codec.levels), codec.trim_slope)
                score = psnr_rgb(network.restore(variant.decode(encoded.data)), example.reference)
                # Held against the curve at this very size; what is wrong with the curve is so for all of them.
                gains[index, number] += score - np.interp(np.log(len(encoded.data)), sizes, scores)
    return dict(codec.tunings[left[np.argmax(_middle(gains[left]))]])


def _middle(gains: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The mean of the middle half of each row: on a flat picture a small file can win or lose a decibel."""
    count = gains.shape[1]
    middle: npt.NDArray[np.float64] = np.sort(gains, axis=1)[:, count // 4 : count - count // 4].mean(axis=1)
    return middle


def _curve(
    codec: Codec, network: IRNetwork, example: Example
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Logarithms of sizes, and the restored PSNR made rising."""
    prepared = codec.prepare(example.image, sensitivity=example.sensitivity(codec))
    points = {}
    for level in np.linspace(0, len(codec.levels) - 1, CURVE).round().astype(int).tolist():
        data = prepared.write(level).data
        points[len(data)] = psnr_rgb(network.restore(codec.decode(data)), example.reference)
    sizes = sorted(points)
    return np.log(sizes), np.maximum.accumulate([points[size] for size in sizes])


def _near_size(prepared: Prepared, size: float, levels: int, slope: float) -> Encoded:
    """The file whose size is nearest to a wanted one (as a logarithm), by trimming the middle level."""
    bracket, trim = Bracket(), 0.0
    files = []
    for _ in range(WRITES):
        encoded = prepared.write(levels // 2, trim)
        gap = float(np.log(len(encoded.data)) - size)
        files.append((abs(gap), encoded))
        trim = bracket.add(trim, gap, slope)
        if abs(gap) < NEAR or bracket.closed:
            break
    return min(files, key=lambda file: file[0])[1]
