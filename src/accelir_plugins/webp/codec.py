"""The WebP codec: planes and steps in, a file out."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from accelir.codec import Sensitivity
from accelir.errors import CodecError
from accelir.image import ImageArray
from accelir.metadata import Metadata
from accelir_plugins import video
from accelir_plugins.planar.codec import PlanarCodec, PlanarPrepared
from accelir_plugins.planar.needs import Steps
from accelir_plugins.planar.planes import Planes, Range
from accelir_plugins.webp import container
from accelir_plugins.webp.segments import BASES, Segments, cluster
from accelir_plugins.webp.vp8 import AC_STEPS, read_header

__all__ = ["WebpCodec"]

_ENCODER = "libvpx"

# VP8's coefficients are twice those of an orthonormal transform, of samples in the limited range.
_LOG_STEPS = np.log2(AC_STEPS / 2 * 255 / 219)

# Bits a second that no picture comes near to: the quantiser is what counts.
_NO_LIMIT = 2**31 - 1

# The bits that say which version a frame is of. Decoders take them for how to predict from other frames, of which there
# are none, so that one of them can tell a gray picture from one in colours.
_GRAY = 0x02

_NEUTRAL = 128


class WebpCodec(PlanarCodec):
    """Lossy WebP (VP8) of up to 16383x16383 pixels, in blocks of 16.

    A file has four quantisers at most; the steps that are wanted are clustered to those. Samples are in the limited
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

    def prepare(self, image: ImageArray, *, sensitivity: Sensitivity | None = None) -> PlanarPrepared:
        """See `PlanarCodec.prepare`.

        Raises:
            MissingDependencyError: PyAV is not installed.
        """
        video.require(_ENCODER, "webp")
        return super().prepare(image, sensitivity=sensitivity)

    def picture(self, planes: Planes, log_steps: Steps) -> tuple[bytes, Steps]:
        """See `PlanarCodec.picture`."""
        segments = cluster(log_steps, _LOG_STEPS, _significant(planes.luma, log_steps))
        chroma = planes.chroma
        if chroma is None:
            half = tuple(-(-length // 2) for length in planes.luma.shape)
            chroma = (np.full(half, _NEUTRAL, np.uint8),) * 2
        frame = video.encode([planes.luma, *chroma], _ENCODER, _options(segments.base), _offsets(segments))
        written = set(read_header(frame).quantisers)
        wanted = set(np.unique(segments.indices).tolist())
        if not wanted <= written:
            raise CodecError(f"This libvpx heeds no regions: quantisers {sorted(written)} for {sorted(wanted)}.")
        if planes.chroma is None:
            frame = bytes([frame[0] | _GRAY]) + frame[1:]
        return container.wrap(frame), _LOG_STEPS[segments.indices].astype(np.float32)

    def decode(self, data: bytes) -> ImageArray:
        """The pixels as Pillow reads them; gray where the picture was, see `WebpCodec`.

        Raises:
            DecodeError: The bytes are not a WebP, or it is damaged or truncated.
        """
        pixels = super().decode(data)
        # Where chroma is neutral, red is what is left of luma.
        return np.ascontiguousarray(pixels[:, :, 0]) if _is_gray(data) else pixels

    def embed(self, data: bytes, metadata: Metadata) -> bytes:
        """Colour profile, EXIF and XMP in chunks of their own."""
        return container.embed(data, metadata)


def _options(base: int) -> dict[str, str]:
    """Of libvpx: one quantiser, the widest search, no denoising, no blocks skipped."""
    quality = str(base)
    return {
        "crf": quality,
        "qmin": quality,
        "qmax": quality,
        "b": str(_NO_LIMIT),
        "deadline": "good",
        "cpu-used": "0",
        "auto-alt-ref": "0",
        "lag-in-frames": "0",
        "static-thresh": "0",
        "noise-sensitivity": "0",
        "tune": "psnr",
    }


def _offsets(segments: Segments) -> video.Offsets:
    """FFmpeg multiplies by 63 and cuts to whole numbers: half a number more, so that no rounding matters."""
    twice = 2 * segments.differences + np.sign(segments.differences)
    return video.Offsets(twice.astype(np.int32), 2 * (len(BASES) - 1), 16)


def _significant(luma: npt.NDArray[np.uint8], log_steps: Steps) -> npt.NDArray[np.float32]:
    """About how many coefficients of each block are not lost: float32 (rows, columns), above 0.

    By the mean square of differences between neighbours, which is twice the variance of what no neighbour tells.
    """
    rows, columns = log_steps.shape
    height, width = luma.shape
    samples = luma.astype(np.int16)
    squares = np.zeros((16 * rows, 16 * columns), np.float32)
    squares[:height, : width - 1] = np.diff(samples, axis=1) ** 2
    squares[: height - 1, :width] += np.diff(samples, axis=0).astype(np.int32) ** 2
    variance = squares.reshape(rows, 16, columns, 16).mean(axis=(1, 3)) / 4
    return np.asarray(1 + 300 * variance / (variance + np.exp2(2 * log_steps) / 3), np.float32)


def _is_gray(data: bytes) -> bool:
    at = data.find(b"VP8 ")
    return bool(at > 0 and data[at + 8 : at + 9] and data[at + 8] & _GRAY)
