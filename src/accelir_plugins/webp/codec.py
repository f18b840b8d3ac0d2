"""The WebP codec: planes and steps in, a file out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from accelir.codec import CodecOptions
from accelir.image import ImageArray
from accelir.metadata import Metadata
from accelir_plugins.planar.codec import Picture, PlanarCodec, PlanarOptions
from accelir_plugins.planar.needs import Needs, Steps
from accelir_plugins.planar.planes import Planes, Range
from accelir_plugins.webp import container
from accelir_plugins.webp.frame import encode
from accelir_plugins.webp.segments import cluster
from accelir_plugins.webp.tables import AC_STEPS

__all__ = ["WebpCodec", "WebpOptions"]

# VP8's coefficients are twice those of an orthonormal transform, of samples in the limited range.
_LOG_SCALE = np.log2(255 / 219 / 2)
_LOG_STEPS = np.log2(AC_STEPS) + _LOG_SCALE

# Of the bits that say which version a frame is of. Decoders take them for how to predict from other frames, of which
# there are none, so that one of them can tell a gray picture from one in colours. libwebp sets it where its loop filter
# is the simple one, so that it is not enough.
_GRAY = 0x02

_NEUTRAL = 128


class WebpOptions(PlanarOptions):
    """Options of `WebpCodec`.

    Attributes:
        rdo: Error that is worth a bit, as a share of the squared step: the more, the more levels become smaller or 0,
            and the finer the steps for it. At 0 they are just rounded.
    """

    rdo: float = Field(default=0.07, ge=0, le=1)


@dataclass(frozen=True, eq=False)
class WebpPlanes(Planes):
    """A picture, and how lively its blocks are, which all its files have in common."""

    @cached_property
    def variance(self) -> npt.NDArray[np.float32]:
        """Of each block what no neighbour of a sample tells of it: float32 (rows, columns).

        The mean square of differences between neighbours is twice that.
        """
        height, width = self.luma.shape
        rows, columns = -(-height // 16), -(-width // 16)
        samples = self.luma.astype(np.int16)
        squares = np.zeros((16 * rows, 16 * columns), np.float32)
        squares[:height, : width - 1] = np.diff(samples, axis=1) ** 2
        squares[: height - 1, :width] += np.diff(samples, axis=0).astype(np.int32) ** 2
        return squares.reshape(rows, 16, columns, 16).mean(axis=(1, 3)) / 4


class WebpCodec(PlanarCodec):
    """Lossy WebP (VP8) of up to 16383x16383 pixels, in blocks of 16.

    A file has four quantisers at most; the steps that are wanted are clustered to those. What is quantised within a
    block goes by what the network needs of each frequency. Samples are in the limited
    range, as the format has it. There is no gray in WebP: a file of a gray picture says so to `decode`, by a bit that
    means nothing in a still picture, and comes as R = G = B, to one step, from other decoders.
    """

    name: ClassVar[str] = "webp"
    version: ClassVar[int] = 1
    media_type: ClassVar[str] = "image/webp"
    extensions: ClassVar[tuple[str, ...]] = (".webp",)
    signatures: ClassVar[tuple[bytes, ...]] = (b"RIFF????WEBP",)
    side: ClassVar[int] = 16
    largest: ClassVar[int] = 16383
    sample_range: ClassVar[Range] = "limited"
    header: ClassVar[int] = container.HEADER + 30
    tunings: ClassVar[Sequence[dict[str, Any]]] = (
        {},
        {"trust": 0.5},
        {"trust": 0.5, "emphasis": 0.2},
        {"trust": 0.0},
    )
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        **PlanarCodec.search_space,
        "rdo": (0.03, 0.07, 0.12, 0.2, 0.3),
    }

    Options: ClassVar[type[CodecOptions]] = WebpOptions
    options: WebpOptions

    def planes(self, image: ImageArray) -> WebpPlanes:
        """As `PlanarCodec.planes` makes them: libwebp doubles chroma by the triangle filter."""
        planes = super().planes(image)
        return WebpPlanes(planes.image, planes.luma, planes.chroma, planes.range)

    def picture(self, planes: Planes, log_steps: Steps, needs: Needs | None = None) -> Picture:
        """See `PlanarCodec.picture`: what no quantiser hits, more or less weight of bits against error makes up for."""
        wanted = np.clip(log_steps, _LOG_STEPS[0], _LOG_STEPS[-1])
        if not isinstance(planes, WebpPlanes):
            planes = WebpPlanes(planes.image, planes.luma, planes.chroma, planes.range)
        indices = cluster(wanted, _LOG_STEPS, _significant(planes.variance, wanted))
        chroma = planes.chroma
        if chroma is None:
            half = tuple(-(-length // 2) for length in planes.luma.shape)
            chroma = (np.full(half, _NEUTRAL, np.uint8),) * 2
        weights = None if needs is None else needs.weights(float(np.exp2(log_steps.mean())))
        frame = encode(planes.luma, chroma, indices, max(self.options.rdo, 1e-6) * _worth(wanted, indices), weights)
        data = frame.data
        if planes.chroma is None:
            data = bytes([data[0] | _GRAY]) + data[1:]
        written = _LOG_STEPS[indices] + _made_up_for(wanted, indices)
        return Picture(container.wrap(data), written.astype(np.float32), frame.bits)

    def decode(self, data: bytes) -> ImageArray:
        """The pixels as Pillow reads them; gray where the picture was, see `WebpCodec`.

        Raises:
            DecodeError: The bytes are not a WebP, or it is damaged or truncated.
        """
        pixels = super().decode(data)
        # Where chroma is neutral, red is what is left of luma. Others set that bit in files of colours too.
        return np.ascontiguousarray(pixels[:, :, 0]) if _is_gray(data) and _is_neutral(pixels) else pixels

    def embed(self, data: bytes, metadata: Metadata) -> bytes:
        """Colour profile, EXIF and XMP in chunks of their own; a profile of gray does not fit the RGB that is read."""
        if metadata.icc[16:20] == b"GRAY":
            metadata = replace(metadata, icc=b"")
        return container.embed(data, metadata) if metadata else data


def _worth(wanted: Steps, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """What a bit is worth, relative to `WebpOptions.rdo`: the square of the step wanted.

    It moves more than that between two quantisers, so that the size does not jump from one to the next.
    """
    # As measured on photographs: bits by the quantiser alone over bits by the weight alone.
    steeper = np.clip(2.6 - indices / 45, 0.8, 2.4)
    return np.exp2(2 * (wanted - _LOG_SCALE - 1) + steeper * _made_up_for(wanted, indices))


def _made_up_for(wanted: Steps, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Octaves from the steps of quantisers to those wanted, as far as the next quantiser would not be nearer."""
    half = (_LOG_STEPS[np.minimum(indices + 1, len(_LOG_STEPS) - 1)] - _LOG_STEPS[np.maximum(indices - 1, 0)]) / 4
    return np.clip(wanted - _LOG_STEPS[indices], -half, half)


def _significant(variance: npt.NDArray[np.float32], log_steps: Steps) -> npt.NDArray[np.float32]:
    """About how many coefficients of each block are not lost: float32 (rows, columns), above 0."""
    return np.asarray(1 + 300 * variance / (variance + np.exp2(2 * log_steps) / 3), np.float32)


def _is_gray(data: bytes) -> bool:
    tag = container.frame(data)[:1]
    return bool(tag and tag[0] & _GRAY)


def _is_neutral(pixels: ImageArray) -> bool:
    """Whether R, G and B are one, but for the step by which decoders round them apart."""
    if pixels.ndim == 2:
        return False
    lowest, highest = pixels.min(axis=2), pixels.max(axis=2)
    return bool((highest - lowest).max() <= 1)
