"""Codec: the contract of a file format, and what all codecs share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, ValidationError

from accelir.errors import CodecError, InvalidInputError
from accelir.files import require_ending, write_atomically
from accelir.image import ImageArray, block_grid, matches, require_image
from accelir.metadata import Metadata

__all__ = [
    "Codec",
    "CodecOptions",
    "Encoded",
    "Guidance",
    "LevelMap",
    "Prepared",
    "PreparedWithMetadata",
    "Sensitivity",
    "metadata_bytes",
]

LevelMap = npt.NDArray[np.int32]
Sensitivity = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Guidance:
    """What following a clean original, or a teacher, has brought, as the networks that guided restore it.

    Attributes:
        networks: Their names, in the caller's order.
        passes: Forward and backward passes that they took, all together; the two forward passes of each by which the
            result is held against the file made without count as one. Where that file was one of several ways to store
            the picture, the two by which it is held against the first way do not count.
        before: Of each, the PSNR in dB of what it restores of the file made without guidance, against what was
            followed: all samples, 0..255.
        after: The same of this file.
        teacher: The name of the network whose restoration was followed; None where it was the clean original.
    """

    networks: tuple[str, ...]
    passes: int
    before: tuple[float, ...]
    after: tuple[float, ...]
    teacher: str | None = None

    @property
    def gains(self) -> tuple[float, ...]:
        """What each network gained, in dB, 0 or more; all 0 where no better file was found."""
        return tuple(now - then if now > then else 0.0 for then, now in zip(self.before, self.after, strict=True))


@dataclass(frozen=True, eq=False)
class Encoded:
    """A file, and what is known of it.

    Attributes:
        data: The bytes of the file.
        levels: int32 (rows, cols): the level really written for each block, the nearest one with its trim.
        block: Side of a block in pixels.
        width: Of the image in pixels.
        height: Of the image in pixels.
        overhead_bits: Bits that belong to no block (headers, tables, padding).
        block_bits: float32 (rows, cols); ``overhead_bits + block_bits.sum(dtype=float) == 8 * len(data)``.
        block_bits_kind: Whether the codec counted ``block_bits`` or estimates them.
        media_type: For example ``"image/jpeg"``.
        coefficient_error: float32 (rows, cols, K): the coefficients that the decoder will find less those that were
            wanted, as `Codec.project` counts them. Only of what `Prepared.moved` wrote, else None.
        guidance: What the reference or the teacher brought; None where none has guided.
        metadata_bytes: How many of the bytes are the colour profile, EXIF and XMP.
    """

    data: bytes
    levels: LevelMap
    block: int
    width: int
    height: int
    overhead_bits: float
    block_bits: npt.NDArray[np.float32]
    block_bits_kind: Literal["exact", "estimated"]
    media_type: str = "application/octet-stream"
    coefficient_error: npt.NDArray[np.float32] | None = None
    guidance: Guidance | None = None
    metadata_bytes: int = 0

    @property
    def bits_per_pixel(self) -> float:
        """Bits of the file per pixel of the image."""
        return 8 * len(self.data) / (self.width * self.height)

    def save(self, path: str | Path) -> Path:
        """Write the file, whole or not at all, and return its path.

        Raises:
            InvalidInputError: The name ends as files of another format do.
            SaveError: It cannot be written.
        """
        require_ending(path, self.media_type)
        return write_atomically(path, self.data)

    def __repr__(self) -> str:
        return (
            f"<Encoded {self.media_type} {self.width}x{self.height}, {len(self.data)} bytes, "
            f"{self.bits_per_pixel:.2f} bpp, levels {self.levels.min()}..{self.levels.max()}>"
        )


class Prepared(ABC):
    """An image on its way into a file: everything done that does not depend on the levels.

    Attributes:
        foresees: Whether `size` takes far less work than `write`.
    """

    foresees: bool = False

    @property
    def metadata_bytes(self) -> int:
        """How much of each file is metadata."""
        return 0

    @abstractmethod
    def write(self, levels: int | LevelMap, trim: float = 0.0) -> Encoded:
        """Write the file.

        Args:
            levels: One level for all blocks, or int (rows, cols).
            trim: Fine control of the size in levels: +1 makes every block about as much finer as one level does,
                0.1 a tenth of it. Codecs without fine control ignore it.

        Raises:
            CodecError: A level outside the codec's, or a map of another shape.
        """

    def size(self, levels: int | LevelMap, trim: float = 0.0) -> float:
        """About how many bytes `write` would take: what a search for a budget starts from.

        The error should hardly depend on the levels. A codec that foresees nothing writes the file.

        Args:
            levels: As for `write`.
            trim: As for `write`.

        Raises:
            CodecError: A level outside the codec's, or a map of another shape.
        """
        return len(self.write(levels, trim).data)

    def moved(self, shift: npt.NDArray[np.float32]) -> Prepared:
        """The same image with other coefficients to come near to: what guidance by a reference asks for.

        Files that the result writes say their `Encoded.coefficient_error`. A codec may quantise them otherwise than
        usual, since what its choices cost after restoration comes back to it in the next shift.

        Args:
            shift: float32 (rows, cols, K), finite: what is added to each coefficient of the image, as `Codec.project`
                counts them.

        Raises:
            CodecError: The codec cannot be guided, or the shift has another shape.
        """
        raise CodecError(
            "This codec has no coefficients that a reference could move; encode with passes=0 to go without guidance."
        )


class PreparedWithMetadata(Prepared):
    """Writes files that carry metadata; it counts among their overhead."""

    def __init__(self, codec: Codec, prepared: Prepared, metadata: Metadata) -> None:
        self._codec = codec
        self._prepared = prepared
        self._metadata = metadata
        self.foresees = prepared.foresees

    @cached_property
    def metadata_bytes(self) -> int:
        return metadata_bytes(self._codec, self._metadata)

    def size(self, levels: int | LevelMap, trim: float = 0.0) -> float:
        return self._prepared.size(levels, trim) + self.metadata_bytes

    def write(self, levels: int | LevelMap, trim: float = 0.0) -> Encoded:
        bare = self._prepared.write(levels, trim)
        data = self._codec.embed(bare.data, self._metadata)
        added = len(data) - len(bare.data)
        return replace(bare, data=data, overhead_bits=bare.overhead_bits + 8 * added, metadata_bytes=added)

    def moved(self, shift: npt.NDArray[np.float32]) -> Prepared:
        return PreparedWithMetadata(self._codec, self._prepared.moved(shift), self._metadata)


def metadata_bytes(codec: Codec, metadata: Metadata) -> int:
    """How much larger metadata makes a file, whatever its picture."""
    if not metadata:
        return 0
    bare = codec.encode(np.zeros((8, 8, 3), np.uint8), 0).data
    return len(codec.embed(bare, metadata)) - len(bare)


class CodecOptions(BaseModel):
    """The base of a codec's options: frozen, and no unknown names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Codec(ABC):
    """A file format that is written block by block.

    A codec writes `prepare` and `decode`, and a `Prepared` with its ``write``; that is all.

    Attributes:
        name: Unique name, for example ``"jpeg"``.
        version: Raised when the meaning of levels or coefficients changes: profiles are bound to it.
        media_type: For example ``"image/jpeg"``.
        extensions: With the dot, the usual one first.
        signatures: Leading bytes; ``b"....ftypavif"`` style wildcards are not needed: match from offset 0, with ``?``
            (0x3F) standing for any byte.
        levels: One label for each level, coarsest first.
        fill: Least part of a budget that is used, unless the finest level is reached.
        patience: Files written for a budget after which one that fills it so far is good enough.
        fine_control: Whether ``write`` heeds ``trim``.
        continuous_levels: Whether a file depends on the sum of level and trim alone: one level is worth a trim of 1.
        merges_levels: Whether ``write`` may move levels of a map to near ones, where a format has few:
            `Encoded.levels` says which.
        trim_slope: About how much one level's worth of trim adds to the logarithm of the size.
        tunings: Options worth trying for a network: a profile begins with the best (the first is the default).
        search_space: Values of options, each worth trying with what the others are: from there on, a profile takes the
            best of each option in turn, but where the caller chose. Heeded beside a fine control; no value changes the
            size of blocks, but for that of variants.
        Options: The options model; keyword arguments of the codec are its fields.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1
    media_type: ClassVar[str]
    extensions: ClassVar[tuple[str, ...]]
    signatures: ClassVar[tuple[bytes, ...]]
    levels: ClassVar[tuple[str, ...]]
    fill: ClassVar[float] = 0.95
    patience: ClassVar[int] = 12
    fine_control: ClassVar[bool] = False
    continuous_levels: ClassVar[bool] = False
    merges_levels: ClassVar[bool] = False
    trim_slope: ClassVar[float] = 0.12
    tunings: ClassVar[Sequence[dict[str, Any]]] = ({},)
    search_space: ClassVar[Mapping[str, Sequence[Any]]] = {}
    Options: ClassVar[type[CodecOptions]] = CodecOptions

    def __init__(self, **options: Any) -> None:
        try:
            self.options = self.Options(**options)
        except ValidationError as error:
            allowed = ", ".join(self.Options.model_fields) or "none"
            problems = "; ".join(
                f"{'.'.join(map(str, item['loc']))}: "
                + ("there is no such option" if item["type"] == "extra_forbidden" else item["msg"])
                for item in error.errors(include_url=False)
            )
            raise InvalidInputError(f"Options of codec {self.name!r}: {problems}. Options: {allowed}.") from error

    def tuned(self, options: dict[str, Any]) -> Self:
        """The same codec, with what the caller left at its default replaced by ``options``."""
        chosen = {name: getattr(self.options, name) for name in self.options.model_fields_set}
        return type(self)(**{**options, **chosen})

    def variants(self, image: ImageArray) -> Sequence[Self]:
        """The ways of storing this image among which `accelir.encode` takes the best, by `weighted_error` of the last.

        By default there is one, the codec as it is. Of large images a mosaic of tiles tells which (`accelir.variants`).
        The first is the one whose coefficients guidance moves: the one that stores least of what the eye misses.
        """
        return (self,)

    def weighted_error(self, image: ImageArray, decoded: ImageArray, sensitivity: Sensitivity | None) -> float:
        """What a file's error will cost after restoration, to second order, whichever variant wrote it.

        Args:
            image: uint8 (H, W, 3) or (H, W).
            decoded: The same as the file shows it.
            sensitivity: As for `prepare`.

        Raises:
            CodecError: The codec has no variants to judge.
        """
        raise CodecError(f"Codec {self.name!r} does not say what an error costs.")

    @abstractmethod
    def block(self, image: ImageArray) -> int:
        """The side in pixels of the blocks whose levels may differ in this image."""

    @abstractmethod
    def prepare(self, image: ImageArray, *, sensitivity: Sensitivity | None = None) -> Prepared:
        """Do all work that does not depend on levels.

        Args:
            image: uint8 (H, W, 3) or (H, W).
            sensitivity: float32 (rows, cols, K), as `project` counts K; None for plain squared error.

        Raises:
            CodecError: The format cannot hold this image.
        """

    @abstractmethod
    def decode(self, data: bytes) -> ImageArray:
        """The pixels, the same as the reference decoder's: uint8 (H, W, 3) or (H, W).

        Raises:
            DecodeError: The bytes are not a file of this format.
        """

    def project(self, gradient: npt.NDArray[np.float32]) -> Sensitivity | None:
        """The adjoint of `decode`: from a gradient of the pixels to one of the coefficients.

        Args:
            gradient: float32 (H, W, 3) or (H, W): the derivative of a scalar by each decoded sample (0..255).

        Returns:
            float32 (rows, cols, K): its derivative by each dequantised coefficient of each block, or None where the
            codec has no such coefficients.
        """
        return None

    def convert(self, sensitivity: Sensitivity, image: ImageArray) -> Sensitivity | None:
        """A sensitivity of another geometry of this codec, made to fit an image.

        A profile is made with colour pictures and one set of options; a gray picture, or other options, may count
        blocks and coefficients differently.

        Args:
            sensitivity: float32 (rows, cols, K) as predicted for the same picture in the profile's geometry.
            image: uint8 (H, W, 3) or (H, W).

        Returns:
            float32 of the shape that `prepare` wants for ``image``, or None where the codec cannot tell.
        """
        return None

    def embed(self, data: bytes, metadata: Metadata) -> bytes:
        """A file of this format with metadata in it. Where a codec does not say how, `encode` leaves it out and warns.

        Args:
            data: A file without metadata.
            metadata: Not empty.

        Raises:
            CodecError: The format cannot hold that much.
        """
        return data

    def usual(self, image: ImageArray, quality: int) -> bytes:
        """The file that the usual encoder of the format writes at a quality, for `LikeQuality` budgets.

        Raises:
            CodecError: The codec names no usual encoder.
        """
        raise CodecError(f"Codec {self.name!r} has no usual encoder to take a size from; use Bytes or BitsPerPixel.")

    def encode(
        self,
        image: ImageArray,
        levels: int | LevelMap,
        *,
        sensitivity: Sensitivity | None = None,
        trim: float = 0.0,
    ) -> Encoded:
        """`prepare` and ``write`` in one."""
        return self.prepare(require_image(image), sensitivity=sensitivity).write(levels, trim)

    def level_map(self, image: ImageArray, levels: int | LevelMap) -> LevelMap:
        """``levels`` as a checked int32 map for this image.

        Raises:
            CodecError: A level outside the codec's, or a map of another shape.
        """
        grid = block_grid(image, self.block(image))
        array = np.asarray(levels)
        if not np.issubdtype(array.dtype, np.integer):
            raise CodecError(f"Levels are integers; got {array.dtype}.")
        if array.ndim and array.shape != grid:
            raise CodecError(f"This image has {grid[0]}x{grid[1]} blocks; got a level map of shape {array.shape}.")
        last = len(self.levels) - 1
        if array.min() < 0 or array.max() > last:
            raise CodecError(
                f"Codec {self.name!r} has levels 0 (coarsest) to {last}; got {array.min()} to {array.max()}."
            )
        return np.ascontiguousarray(np.broadcast_to(array, grid).astype(np.int32))

    def claims(self, data: bytes) -> bool:
        """Whether the leading bytes are this format's."""
        return any(matches(signature, data) for signature in self.signatures)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"
