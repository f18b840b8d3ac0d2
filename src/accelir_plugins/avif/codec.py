"""`AvifCodec`: one AVIF picture whose superblocks have quantisers of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from accelir.codec import CodecOptions, Sensitivity
from accelir.image import ImageArray
from accelir.metadata import Metadata
from accelir_plugins import isobmff
from accelir_plugins.avif import encoder
from accelir_plugins.avif.plan import even_plan, plan
from accelir_plugins.avif.survey import SIDE, Survey, survey
from accelir_plugins.planar.codec import Picture, PlanarCodec, PlanarOptions, PlanarPrepared
from accelir_plugins.planar.needs import Needs, Steps
from accelir_plugins.planar.planes import Planes, Range
from accelir_plugins.ycbcr import TO_RGB

__all__ = ["AvifCodec", "AvifOptions", "AvifPlanes", "is_guided"]


class AvifOptions(PlanarOptions):
    """Options of the AVIF codec.

    Attributes:
        subsampling: Of colours: "444" keeps them at every pixel, "420" halves them.
        cdef: Whether decoders smooth along edges (AV1's constrained directional enhancement filter), to the good of
            squared error, but not always of what a network makes of it.
        speed: Of the encoder: 0 (slow) to 6, which is Pillow's; faster, libaom heeds no shares of the rate.
    """

    subsampling: Literal["444", "420"] = "444"
    cdef: bool = True
    speed: int = Field(default=6, ge=0, le=6)


@dataclass(frozen=True, eq=False)
class AvifPlanes(Planes):
    """Planes as Pillow takes them.

    Attributes:
        pixels: uint8 (H, W, 3) or (H, W): what libavif makes the planes of again.
    """

    pixels: ImageArray

    @cached_property
    def survey(self) -> Survey:
        """What libaom sees at first."""
        return survey(self.luma)


class AvifCodec(PlanarCodec):
    """AVIF (AV1) of up to 32768 pixels a side, in blocks of 64, by Pillow's libaom.

    Quantisers of blocks lie within about an octave of each other: what is wanted beyond is written as near as that
    allows. Pictures that are one block wide or high and no more than 32 pixels across have one quantiser.
    """

    name: ClassVar[str] = "avif"
    media_type: ClassVar[str] = "image/avif"
    extensions: ClassVar[tuple[str, ...]] = (".avif",)
    signatures: ClassVar[tuple[bytes, ...]] = (b"????ftypavif",)
    side: ClassVar[int] = SIDE
    largest: ClassVar[int] = 32768
    sample_range: ClassVar[Range] = "full"
    header: ClassVar[int] = 330
    # In how many threads changes how libaom cuts the picture into tiles, and so the size.
    usual_settings: ClassVar[dict[str, Any]] = {"max_threads": 2}
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "cdef": (True, False),
        "subsampling": ("444", "420"),
        **PlanarCodec.search_space,
    }
    Options: ClassVar[type[CodecOptions]] = AvifOptions
    options: AvifOptions

    def prepare(self, image: ImageArray, *, sensitivity: Sensitivity | None = None) -> PlanarPrepared:
        """See `PlanarCodec.prepare`.

        Raises:
            MissingDependencyError: Pillow has no AVIF, or another encoder of it than libaom.
        """
        encoder.require()
        return super().prepare(image, sensitivity=sensitivity)

    def planes(self, image: ImageArray) -> AvifPlanes:
        """Pillow takes nothing but RGB: of chroma that is halved already, each sample is that of four pixels."""
        if image.ndim == 2:
            return AvifPlanes(image, image, None, "full", image)
        if self.options.subsampling == "444":
            return AvifPlanes(image, _luma(image), None, "full", image)
        planes = super().planes(image)
        pixels = _repeated(planes)
        return AvifPlanes(image, _luma(pixels), planes.chroma, "full", pixels)

    def picture(self, planes: Planes, log_steps: Steps, needs: Needs | None = None) -> Picture:
        """See `PlanarCodec.picture`."""
        if not isinstance(planes, AvifPlanes):
            planes = self.planes(planes.image)
        height, width = planes.luma.shape
        chosen = plan(log_steps, planes.survey) if is_guided(height, width) else even_plan(log_steps)
        subsampling = ":".join(self.options.subsampling)
        data = encoder.encode(
            planes.pixels, chosen, subsampling=subsampling, speed=self.options.speed, cdef=self.options.cdef
        )
        return Picture(data, chosen.log_steps)

    def decode(self, data: bytes) -> ImageArray:
        """See `PlanarCodec.decode`; Pillow before 13 makes RGB of gray.

        Raises:
            DecodeError: The bytes are not an AVIF, or it is damaged or truncated.
            MissingDependencyError: Pillow has no AVIF.
        """
        encoder.require_reader()
        pixels = super().decode(data)
        configuration = data.find(b"av1C")
        # Behind version, profile and level: tier, two bits of the depth, and whether there is luma alone.
        monochrome = configuration > 0 and bool(data[configuration + 6] & 0x10)
        return np.ascontiguousarray(pixels[:, :, 0]) if monochrome and pixels.ndim == 3 else pixels

    def usual(self, image: ImageArray, quality: int) -> bytes:
        """See `PlanarCodec.usual`.

        Raises:
            MissingDependencyError: Pillow has no AVIF, or another encoder of it than libaom.
        """
        encoder.require()
        return super().usual(image, quality)

    def embed(self, data: bytes, metadata: Metadata) -> bytes:
        """EXIF, XMP and an ICC profile."""
        return isobmff.embed(data, metadata)


def is_guided(height: int, width: int) -> bool:
    """Whether libaom may be given rates.

    It sums them over whole superblocks, and what lies beyond the picture it takes from further on in its array, which
    is as large as the picture: of very small ones it would read beyond the end.
    """
    rows, columns = (-(-length // 8) * 2 for length in (height, width))
    last_row, last_column = ((length - 1) // 16 * 16 + 15 for length in (rows, columns))
    return (last_row // 2) * columns + last_column // 2 < rows * columns


def _luma(pixels: ImageArray) -> ImageArray:
    """As libyuv makes it of RGB, full range."""
    weights = np.array([77, 150, 29], np.uint32)
    return np.asarray((pixels @ weights + 128) >> 8, np.uint8)


def _repeated(planes: Planes) -> ImageArray:
    """RGB of which halving chroma makes the same planes again, as far as there is such a colour."""
    height, width = planes.luma.shape
    weights = TO_RGB.astype(np.float32)
    mixed = planes.luma[:, :, None] * weights[:, 0]
    for component, plane in enumerate(planes.chroma or (), 1):
        whole = plane.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
        mixed = mixed + (whole - np.float32(128))[:, :, None] * weights[:, component]
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
