"""`PlanarCodec`: the base of a codec that has one quantiser for each block and a transform of its own."""

from __future__ import annotations

import io
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from accelir.codec import Codec, CodecOptions, Encoded, LevelMap, Prepared, Sensitivity
from accelir.errors import CodecError
from accelir.image import ImageArray, block_grid, decode_by_pillow, require_image
from accelir_plugins.planar.needs import Needs, Steps, project
from accelir_plugins.planar.planes import Chroma, Planes, Range, emphasised, to_planes

__all__ = ["Picture", "PlanarCodec", "PlanarOptions", "PlanarPrepared"]

_COARSEST_STEP = 96.0
_LEVELS_PER_OCTAVE = 4
_FARTHEST_TRIM = 128.0


class Picture(NamedTuple):
    """What an engine wrote.

    Attributes:
        data: The file, without metadata.
        log_steps: float32 (rows, columns): the log2 of the steps really written.
        bits: float32 (rows, columns): about what each block takes, where the engine knows.
    """

    data: bytes
    log_steps: Steps
    bits: npt.NDArray[np.float32] | None = None


class PlanarOptions(CodecOptions):
    """Options of all codecs of planes.

    Attributes:
        trust: How far the steps of blocks follow the sensitivity: errors weigh sensitivity^trust * norm^(1 - trust),
            the norm being what they cost without a network.
        emphasis: By which share the highest frequencies are made larger before coding, lower ones in proportion;
            negative smooths.
        chroma: How chroma is halved: "average" of four pixels, or "sharp", what decodes nearest to the picture.
    """

    trust: float = Field(default=1.0, ge=0, le=2)
    emphasis: float = Field(default=0.0, ge=-1, le=4)
    chroma: Chroma = "sharp"


class PlanarCodec(Codec):
    """One quantiser for each block: a format says its constants and brings the engine, `picture`.

    Level i aims at a step of 96 * 2^(-i / 4), in units of an orthonormal transform of the samples, in a block of which
    the network needs as much as on average; one that it needs more of gets a finer step.

    Attributes:
        side: Of a block in pixels: a multiple of 16.
        largest: Longest side of a picture in pixels.
        largest_area: Most pixels of a picture: by default as many as Pillow reads without being told to.
        sample_range: Of the planes.
        header: Bytes of a file that belong to no block.
        usual_settings: What Pillow is told beside the quality, for `usual` to be the same on any machine.
    """

    side: ClassVar[int]
    largest: ClassVar[int]
    largest_area: ClassVar[int] = 178_956_970
    sample_range: ClassVar[Range]
    header: ClassVar[int]
    usual_settings: ClassVar[dict[str, Any]] = {}
    levels: ClassVar[tuple[str, ...]] = tuple(
        f"step {_COARSEST_STEP * 2 ** (-level / _LEVELS_PER_OCTAVE):.3g}" for level in range(29)
    )
    patience: ClassVar[int] = 5
    fine_control: ClassVar[bool] = True
    continuous_levels: ClassVar[bool] = True
    trim_slope: ClassVar[float] = 0.16
    merges_levels: ClassVar[bool] = True
    tunings: ClassVar[Sequence[dict[str, Any]]] = ({}, {"trust": 0.5}, {"trust": 0.0})
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {
        "trust": (0.0, 0.25, 0.5, 0.75, 1.0),
        "emphasis": (-0.1, 0.0, 0.1, 0.2, 0.35, 0.5),
    }
    Options: ClassVar[type[CodecOptions]] = PlanarOptions
    options: PlanarOptions

    @abstractmethod
    def picture(self, planes: Planes, log_steps: Steps, needs: Needs | None = None) -> Picture:
        """Write a file without metadata.

        Args:
            planes: What to write.
            log_steps: float32 (rows, columns): the log2 of the step wanted for each block. As one number is added to
                all, the size moves by small steps in one direction.
            needs: What the network needs, for engines that weigh coefficients; None for plain squared error.
        """

    def planes(self, image: ImageArray) -> Planes:
        """The planes of a picture, for decoders that double chroma by the triangle filter."""
        return to_planes(image, self.sample_range, self.options.chroma)

    def block(self, image: ImageArray) -> int:
        """The same for all images."""
        return self.side

    def prepare(self, image: ImageArray, *, sensitivity: Sensitivity | None = None) -> PlanarPrepared:
        """Emphasis, colour conversion, and what the network needs of each block.

        Args:
            image: uint8 (H, W, 3) or (H, W).
            sensitivity: float32 (rows, cols, K), finite and not negative; K = 192 (Y, Cb and Cr, each the 64
                frequencies of the 8x8 DCT, row-major), 64 for gray. None for plain squared error.

        Raises:
            CodecError: The format cannot hold the picture, or the sensitivity has another shape or invalid values.
        """
        image = require_image(image)
        height, width = image.shape[:2]
        if max(height, width) > self.largest:
            raise CodecError(
                f"{self.name.upper()} holds at most {self.largest}x{self.largest} pixels; got {width}x{height}."
            )
        if height * width > self.largest_area:
            raise CodecError(
                f"{self.name.upper()} is written with at most {self.largest_area} pixels; got {width}x{height}."
            )
        if sensitivity is not None:
            expected = (*block_grid(image, self.side), 64 if image.ndim == 2 else 192)
            if np.shape(sensitivity) != expected:
                raise CodecError(f"The sensitivity of this image has shape {expected}; got {np.shape(sensitivity)}.")
            if not (np.min(sensitivity) >= 0 and np.max(sensitivity) < np.inf):
                raise CodecError("Sensitivities are finite and not negative.")
        return PlanarPrepared(self, emphasised(image, self.options.emphasis), sensitivity)

    def decode(self, data: bytes) -> ImageArray:
        """See `decode_by_pillow`."""
        return decode_by_pillow(data, self.name.upper())

    def project(self, gradient: npt.NDArray[np.float32]) -> Sensitivity:
        """See `needs.project`."""
        return project(np.asarray(gradient, dtype=np.float32), self.side)

    def convert(self, sensitivity: Sensitivity, image: ImageArray) -> Sensitivity | None:
        """A gray picture needs the luma of the sensitivity alone."""
        wanted = 64 if image.ndim == 2 else 192
        return sensitivity[:, :, :wanted] if sensitivity.shape[2] >= wanted else None

    def usual(self, image: ImageArray, quality: int) -> bytes:
        """The file that Pillow writes at a quality with its defaults, no metadata.

        Raises:
            CodecError: It writes no picture of this size.
        """
        from PIL import Image

        stream = io.BytesIO()
        try:
            Image.fromarray(image).save(stream, self.name.upper(), quality=quality, **self.usual_settings)
        except (ValueError, OSError, RuntimeError) as error:
            raise unwritten(self.name, image, error) from error
        return stream.getvalue()


def unwritten(name: str, image: ImageArray, error: Exception) -> CodecError:
    """What is said where a format's usual encoder fails."""
    height, width = image.shape[:2]
    return CodecError(f"The usual encoder of {name} cannot write {width}x{height} pixels: {error}.")


class PlanarPrepared(Prepared):
    """A picture as planes, and what the network needs of its blocks."""

    def __init__(self, codec: PlanarCodec, image: ImageArray, sensitivity: Sensitivity | None) -> None:
        self._codec = codec
        self._planes = codec.planes(image)
        self._needs = Needs(image, sensitivity, codec.side, codec.options.trust)

    def write(self, levels: int | LevelMap, trim: float = 0.0) -> Encoded:
        """See `Prepared.write`. A trim of 1 is one level finer for all blocks, any real number."""
        codec, image = self._codec, self._planes.image
        if not np.isfinite(trim):
            raise CodecError(f"trim is a finite number of levels; got {trim}.")
        level_map = codec.level_map(image, levels)
        # Far beyond the coarsest and the finest quantiser of any codec, and numbers keep in range.
        trim = min(max(trim, -_FARTHEST_TRIM), _FARTHEST_TRIM)
        common = np.log2(_COARSEST_STEP) - (level_map + trim) / _LEVELS_PER_OCTAVE
        base = common + self._needs.offsets(float(np.exp2(common.mean())))
        data, written, bits = codec.picture(self._planes, base.astype(np.float32), self._needs)
        # As far as the steps went where they were wanted, these are the levels asked for, the trim among them.
        moved = np.rint(level_map + trim + (base - written) * _LEVELS_PER_OCTAVE)
        size = 8 * len(data)
        overhead = float(min(8 * codec.header, size))
        known = self._needs.bits(written) if bits is None else bits
        bits = known * np.float32((size - overhead) / known.sum(dtype=np.float64))
        return Encoded(
            data=data,
            levels=np.clip(moved, 0, len(codec.levels) - 1).astype(np.int32),
            block=codec.side,
            width=image.shape[1],
            height=image.shape[0],
            overhead_bits=size - float(bits.sum(dtype=np.float64)),
            block_bits=bits,
            block_bits_kind="estimated",
            media_type=codec.media_type,
        )
