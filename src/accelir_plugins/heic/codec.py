"""`HeicCodec`: one HEIC picture whose blocks have quantisers of their own."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from accelir.codec import CodecOptions, Sensitivity
from accelir.errors import DecodeError, MissingDependencyError
from accelir.image import ImageArray, pixels_of
from accelir.metadata import Metadata
from accelir_plugins import isobmff, video
from accelir_plugins.heic import hevc
from accelir_plugins.heic.planes import repeated_planes
from accelir_plugins.heic.tiles import tiled
from accelir_plugins.planar.codec import Picture, PlanarCodec, PlanarOptions, PlanarPrepared, unwritten
from accelir_plugins.planar.needs import Needs, Steps
from accelir_plugins.planar.planes import Planes, Range

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["HeicCodec", "HeicOptions", "TilesWarning"]

_HINT = "pip install 'accelir[heif]'"


class TilesWarning(UserWarning):
    """What would write one picture is not installed: a HEIC is written as a grid of tiles."""


class HeicOptions(PlanarOptions):
    """Options of the HEIC codec.

    Attributes:
        chroma: How chroma is halved: "average" of four pixels, or "sharp", where luma takes back what it can of the
            error that is left, for decoders that repeat samples as libheif does.
        chroma_offset: Of the quantiser of chroma to that of luma, of which six are an octave of the step.
        shape: By which share the step of the highest frequency is larger than that of the lowest; takes 40 to 110
            bytes.
        layout: "picture" codes all blocks as one picture, through PyAV. "tiles" is a grid of pictures, each of one
            quantiser, written by pillow-heif alone; its chroma is always "average" and its ``shape`` 0. "auto" is
            "picture" where PyAV has x265, and "tiles" elsewhere, with a `TilesWarning`.
    """

    chroma_offset: int = Field(default=-3, ge=-12, le=12)
    shape: float = Field(default=0.0, ge=-0.5, le=4)
    layout: Literal["auto", "picture", "tiles"] = "auto"


class HeicCodec(PlanarCodec):
    """HEIC by x265, of the profile Main Still Picture; gray pictures have no chroma and are of the range extensions."""

    name: ClassVar[str] = "heic"
    media_type: ClassVar[str] = "image/heic"
    extensions: ClassVar[tuple[str, ...]] = (".heic", ".heif")
    signatures: ClassVar[tuple[bytes, ...]] = (b"????ftypheic", b"????ftypheix")
    side: ClassVar[int] = hevc.BLOCK
    largest: ClassVar[int] = 16384
    sample_range: ClassVar[Range] = "full"
    header: ClassVar[int] = 370
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "shape": (0.0, 0.5, 1.0),
        "chroma_offset": (-6, -3, 0, 3),
        **PlanarCodec.search_space,
    }
    Options: ClassVar[type[CodecOptions]] = HeicOptions
    options: HeicOptions

    def prepare(self, image: ImageArray, *, sensitivity: Sensitivity | None = None) -> PlanarPrepared:
        """See `PlanarCodec.prepare`.

        Raises:
            MissingDependencyError: PyAV is not installed for a picture, or for tiles pillow-heif.
        """
        missing = self._missing()
        if missing is not None:
            _pillow_heif()
            said = f"{missing}; until then a HEIC is a grid of tiles, which is worse at its size."
            warnings.warn(said, TilesWarning, stacklevel=2)
        if self._in_tiles():
            _pillow_heif()
        return super().prepare(image, sensitivity=sensitivity)

    def _in_tiles(self) -> bool:
        return self.options.layout == "tiles" or self._missing() is not None

    def _missing(self) -> MissingDependencyError | None:
        """What a picture lacks, where tiles may take its place."""
        if self.options.layout == "tiles":
            return None
        try:
            video.require("libx265", "HEIC", "heif")
        except MissingDependencyError as error:
            if self.options.layout == "picture":
                raise MissingDependencyError(f'{error}; or take layout="tiles", by pillow-heif alone') from error
            return error
        return None

    def planes(self, image: ImageArray) -> Planes:
        """Other decoders double chroma by a filter; libheif repeats it."""
        return repeated_planes(image, self.options.chroma)

    def picture(self, planes: Planes, log_steps: Steps, needs: Needs | None = None) -> Picture:
        """See `PlanarCodec.picture`."""
        if self._in_tiles():
            return Picture(*tiled(planes.image, log_steps, self.options.chroma_offset, _pillow_heif()))
        quantisers = hevc.quantisers(log_steps)
        samples = [planes.luma, *(planes.chroma or ())]
        stream = hevc.encode(samples, quantisers, chroma_offset=self.options.chroma_offset, shape=self.options.shape)
        height, width = planes.luma.shape
        data = hevc.still(stream, width, height, monochrome=planes.chroma is None)
        return Picture(data, hevc.written(quantisers))

    def decode(self, data: bytes) -> ImageArray:
        """The pixels as pillow-heif reads them: gray stays gray, all else becomes RGB.

        Raises:
            DecodeError: The bytes are not a file of this format, or it is damaged or truncated.
            InvalidInputError: The picture has transparency.
            MissingDependencyError: pillow-heif is not installed.
        """
        heif = _pillow_heif()
        try:
            picture = heif.open_heif(io.BytesIO(data), convert_hdr_to_8bit=True).to_pillow()
        except (OSError, SyntaxError, ValueError, IndexError, KeyError, RuntimeError, EOFError) as error:
            raise DecodeError(f"Not a HEIC that can be read ({len(data)} bytes): {error}.") from error
        return pixels_of(picture)

    def embed(self, data: bytes, metadata: Metadata) -> bytes:
        """EXIF, XMP and an ICC profile."""
        return isobmff.embed(data, metadata)

    def usual(self, image: ImageArray, quality: int) -> bytes:
        """The file that pillow-heif writes at a quality with its defaults, no metadata.

        Raises:
            CodecError: It writes no picture of this size.
        """
        from PIL import Image

        stream = io.BytesIO()
        try:
            _pillow_heif().from_pillow(Image.fromarray(image)).save(stream, quality=quality)
        except (ValueError, OSError, RuntimeError) as error:
            raise unwritten(self.name, image, error) from error
        return stream.getvalue()


def _pillow_heif() -> ModuleType:
    try:
        import pillow_heif
    except ImportError as error:
        said = f"HEIC is read, and written as tiles, with pillow-heif, which is not installed: {_HINT}"
        raise MissingDependencyError(said) from error
    return pillow_heif
