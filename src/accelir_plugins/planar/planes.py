"""From RGB to 8-bit planes of luma and halved chroma."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from accelir.image import ImageArray
from accelir.threads import ranges, together
from accelir_plugins.compiled import compiled
from accelir_plugins.ycbcr import FROM_RGB, TO_RGB, add_rest, fitted

__all__ = ["LUMA_FOR_CHROMA", "Chroma", "Planes", "Range", "emphasised", "to_planes"]

Chroma = Literal["average", "sharp"]
Range = Literal["full", "limited"]
Plane = npt.NDArray[np.uint8]

# Scale and offset of luma, scale of chroma (ITU-R BT.601 for the limited range); chroma lies around 128.
_RANGES: dict[Range, tuple[float, float, float]] = {"full": (1.0, 0.0, 1.0), "limited": (219 / 255, 16.0, 224 / 255)}

# Steps by which chroma comes near to the one that decodes best. The transpose of doubling takes a flat plane four
# times, so that a step of a quarter is safe; a bit more is faster.
_STEPS = 2
_STEP = np.float32(0.4)

# Rows that are made at a time, which stay in the processor's cache, and how far up and down a row depends on others:
# both even.
_BAND = 128
_REACH = 8

LUMA_FOR_CHROMA = (TO_RGB[:, 0] @ TO_RGB[:, 1:] / (TO_RGB[:, 0] ** 2).sum()).astype(np.float32)
"""What the luma of a pixel can take back of an error of its Cb and Cr, in the sense of least squares over R, G, B."""

# |w| / pi, of a frequency w, as a sum of cosines: its first terms (Fourier), made 0 for a flat picture.
_HIGH_PASS = {1: -2 / np.pi**2, 3: -2 / (9 * np.pi**2)}


@dataclass(frozen=True, eq=False)
class Planes:
    """A picture as a codec takes it.

    Attributes:
        image: uint8 (H, W, 3) or (H, W): the pixels that the planes were made of.
        luma: uint8 (H, W).
        chroma: uint8 (ceil(H / 2), ceil(W / 2)) each: Cb and Cr; None for gray.
        range: Of the samples: 0..255, or 16..235 for luma and 16..240 for chroma.
    """

    image: ImageArray
    luma: Plane
    chroma: tuple[Plane, Plane] | None
    range: Range


def to_planes(image: ImageArray, range_: Range, chroma: Chroma) -> Planes:
    """The planes of a picture.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        range_: Of the samples.
        chroma: "average" takes the mean of four pixels. "sharp" is what decodes nearest to the picture where the
            decoder doubles by the triangle filter: the halved chroma is fitted, and luma takes back what it can of the
            error that is left.
    """
    scale, offset, _ = _RANGES[range_]
    if image.ndim == 2:
        return Planes(image, _samples(image.astype(np.float32), scale, offset), None, range_)
    height, width = image.shape[:2]
    luma = np.empty((height, width), np.uint8)
    half = -(-height // 2), -(-width // 2)
    halved = np.empty(half, np.uint8), np.empty(half, np.uint8)

    def band(rows: slice) -> None:
        """Some rows, seen with those around them that they depend on."""
        first, last = max(rows.start - _REACH, 0), min(rows.stop + _REACH, height)
        parts = _planes(image[first:last], range_, chroma)
        luma[rows] = parts[0][rows.start - first : rows.stop - first]
        for plane, part in zip(halved, parts[1:], strict=True):
            top, bottom = rows.start // 2, -(-rows.stop // 2)
            plane[top:bottom] = part[top - first // 2 : bottom - first // 2]

    together([functools.partial(band, rows) for rows in ranges(height, _BAND)])
    return Planes(image, luma, halved, range_)


def _planes(image: ImageArray, range_: Range, chroma: Chroma) -> list[Plane]:
    scale, offset, chroma_scale = _RANGES[range_]
    luma, *colours = _components(image)
    halved = []
    for colour, share in zip(colours, LUMA_FOR_CHROMA, strict=True):
        half = _averaged(colour)
        if chroma == "sharp":
            for _ in range(_STEPS):
                half = fitted(half, colour, _STEP)
            half = np.rint(half * np.float32(chroma_scale)) / np.float32(chroma_scale)
            add_rest(colour, half, share, luma)
        halved.append(_samples(half, chroma_scale, 128.0))
    return [_samples(luma, scale, offset), *halved]


def emphasised(image: ImageArray, share: float) -> ImageArray:
    """A picture whose frequencies are made larger in proportion to |w_x| + |w_y|, by a share at the highest of both.

    Args:
        image: uint8 (H, W, 3) or (H, W); returned as it is for a share of 0.
        share: Negative smooths.
    """
    if not share:
        return image
    reach = max(_HIGH_PASS)
    around = [(reach, reach), (reach, reach), (0, 0)][: image.ndim]
    padded = np.pad(image, around, mode="edge").reshape(len(image) + 2 * reach, -1)
    result = np.empty(image.shape, np.uint8)
    lines = result.reshape(len(image), -1)
    distances = np.array(list(_HIGH_PASS))
    weights = np.array([share / 2 * tap for tap in _HIGH_PASS.values()], np.float32)
    channels = image[0, 0].size

    def band(rows: slice) -> None:
        _emphasise(padded[rows.start : rows.stop + 2 * reach], channels, distances, weights, lines[rows])

    together([functools.partial(band, rows) for rows in ranges(len(image), _BAND)])
    return result


@compiled
def _emphasise(
    padded: Plane, channels: int, distances: npt.NDArray[np.int64], weights: npt.NDArray[np.float32], result: Plane
) -> None:
    """Rows of samples, ``channels`` of a pixel side by side; ``padded`` has more on all sides, as far as it reaches."""
    height, width = result.shape
    reach = distances.max()
    total, own = np.empty(width, np.float32), np.empty(width, np.float32)
    for row in range(height):
        first = channels * reach
        for at in range(width):
            own[at] = total[at] = np.float32(padded[row + reach, first + at])
        for across in range(2):
            for tap in range(len(distances)):
                for sign in (-1, 1):
                    away = sign * distances[tap]
                    start = first + (channels * away if across else 0)
                    moved = padded[row + reach + (0 if across else away), start : start + width]
                    for at in range(width):
                        total[at] += weights[tap] * (np.float32(moved[at]) - own[at])
        for at in range(width):
            total[at] = min(max(np.rint(total[at]), np.float32(0)), np.float32(255))
        for at in range(width):
            result[row, at] = np.uint8(total[at])


def _components(image: ImageArray) -> list[npt.NDArray[np.float32]]:
    """Y, Cb and Cr, without rounding: float32 (H, W) each."""
    planes = np.empty((3, image.shape[0] * image.shape[1]), np.float32)
    _mix(np.ascontiguousarray(image).reshape(-1, 3), FROM_RGB.astype(np.float32), planes)
    return list(planes.reshape(3, *image.shape[:2]))


@compiled
def _mix(pixels: ImageArray, weights: npt.NDArray[np.float32], planes: npt.NDArray[np.float32]) -> None:
    """Not by a product of matrices, which is rounded as the processor has it."""
    luma, blue_difference, red_difference = planes[0], planes[1], planes[2]
    for at in range(len(pixels)):
        red, green, blue = np.float32(pixels[at, 0]), np.float32(pixels[at, 1]), np.float32(pixels[at, 2])
        luma[at] = weights[0, 0] * red + weights[0, 1] * green + weights[0, 2] * blue
        blue_difference[at] = weights[1, 0] * red + weights[1, 1] * green + weights[1, 2] * blue
        red_difference[at] = weights[2, 0] * red + weights[2, 1] * green + weights[2, 2] * blue


def _averaged(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The mean of four samples, the last row and column repeated where they are odd."""
    height, width = plane.shape
    if height % 2 or width % 2:
        plane = np.pad(plane, ((0, height % 2), (0, width % 2)), mode="edge")
    rows = plane[0::2] + plane[1::2]
    return np.asarray((rows[:, 0::2] + rows[:, 1::2]) * np.float32(0.25), np.float32)


def _samples(plane: npt.NDArray[np.float32], scale: float, offset: float) -> Plane:
    result = np.empty(plane.shape, np.uint8)
    _round(plane.reshape(-1), np.float32(scale), np.float32(offset), result.reshape(-1))
    return result


@compiled
def _round(plane: npt.NDArray[np.float32], scale: np.float32, offset: np.float32, result: Plane) -> None:
    for at in range(len(plane)):
        result[at] = np.uint8(min(max(np.rint(plane[at] * scale + offset), np.float32(0)), np.float32(255)))
