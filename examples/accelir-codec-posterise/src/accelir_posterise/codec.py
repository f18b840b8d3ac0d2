"""The codec: blocks of 8x8 pixels, each with a bit depth of its own."""

from __future__ import annotations

import struct
import zlib
from typing import ClassVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from accelir import Codec, CodecOptions, DecodeError, Encoded, Prepared
from accelir.image import ImageArray, require_image

BLOCK = 8
HEADER = struct.Struct("<5sBII")
MAGIC = b"PSTR1"
LARGEST = 2**28
"""Samples that a file may claim: a few damaged bytes must not take all memory."""


class PosteriseOptions(CodecOptions):
    """Options of the codec.

    Attributes:
        effort: Of zlib, 1 (fast) to 9 (small).
    """

    effort: int = Field(default=9, ge=1, le=9)


class PosteriseCodec(Codec):
    """Posterised blocks in zlib; level 7 is lossless."""

    name = "posterise"
    media_type = "image/x-posterise"
    extensions = (".post",)
    signatures = (MAGIC,)
    levels = tuple(f"{bits} bits" for bits in range(1, 9))
    # Eight levels are far apart, so a file may stay well below its budget.
    fill = 0.8
    Options: ClassVar[type[CodecOptions]] = PosteriseOptions
    options: PosteriseOptions

    def block(self, image: ImageArray) -> int:
        return BLOCK

    def prepare(self, image: ImageArray, *, sensitivity: npt.NDArray[np.float32] | None = None) -> PosterisePrepared:
        return PosterisePrepared(self, require_image(image))

    def decode(self, data: bytes) -> ImageArray:
        if len(data) < HEADER.size or not self.claims(data):
            raise DecodeError(f"Not a posterise file: {len(data)} bytes.")
        _, channels, width, height = HEADER.unpack_from(data)
        samples = height * width * channels
        if channels not in (1, 3) or not 0 < samples <= LARGEST:
            raise DecodeError(f"A posterise file of {width}x{height} pixels with {channels} channels is damaged.")
        rows, columns = -(-height // BLOCK), -(-width // BLOCK)
        size = rows * columns + samples
        try:
            stream = zlib.decompressobj()
            payload = stream.decompress(data[HEADER.size :], size + 1)
        except zlib.error as error:
            raise DecodeError(f"A damaged posterise file: {error}.") from error
        if len(payload) != size or not stream.eof:
            raise DecodeError(f"A damaged posterise file: {len(payload)} bytes of samples, {size} are needed.")
        levels = np.frombuffer(payload, np.uint8, rows * columns).reshape(rows, columns)
        if levels.max() >= len(self.levels):
            raise DecodeError(f"A damaged posterise file: level {levels.max()}.")
        residuals = np.frombuffer(payload, np.uint8, offset=rows * columns).reshape(height, width, channels)
        steps = _steps(levels, height, width)
        quantised = np.minimum(np.cumsum(residuals, axis=1, dtype=np.uint8), steps)
        pixels = ((quantised.astype(np.int32) * 255 + steps // 2) // steps).astype(np.uint8)
        return np.ascontiguousarray(pixels[:, :, 0] if channels == 1 else pixels)


class PosterisePrepared(Prepared):
    """An image; nothing of it can be done before the levels are known."""

    def __init__(self, codec: PosteriseCodec, image: ImageArray) -> None:
        self._codec = codec
        self._image = image

    def write(self, levels: int | npt.NDArray[np.int32], trim: float = 0.0) -> Encoded:
        image = self._image
        level_map = self._codec.level_map(image, levels)
        height, width = image.shape[:2]
        samples = image.reshape(height, width, -1)
        steps = _steps(level_map, height, width)
        quantised = ((samples.astype(np.int32) * steps + 127) // 255).astype(np.uint8)
        residuals = np.diff(quantised, axis=1, prepend=np.zeros_like(quantised[:, :1]))
        header = HEADER.pack(MAGIC, samples.shape[2], width, height)
        payload = zlib.compress(level_map.astype(np.uint8).tobytes() + residuals.tobytes(), self._codec.options.effort)
        # zlib does not say which bytes a block took: share them by how much its residuals have to say.
        magnitude = np.abs(residuals.view(np.int8).astype(np.int32)).sum(axis=2)
        weights = 1 + np.log2(1 + magnitude)
        for axis in (0, 1):
            weights = np.add.reduceat(weights, np.arange(0, weights.shape[axis], BLOCK), axis=axis)
        return Encoded(
            data=header + payload,
            levels=level_map,
            block=BLOCK,
            width=width,
            height=height,
            overhead_bits=8.0 * HEADER.size,
            block_bits=(weights * (8 * len(payload) / weights.sum())).astype(np.float32),
            block_bits_kind="estimated",
            media_type=self._codec.media_type,
        )


def _steps(levels: npt.NDArray[np.integer], height: int, width: int) -> npt.NDArray[np.int32]:
    """The largest quantised sample of every pixel: int32 (H, W, 1), 1 at level 0 to 255 at level 7."""
    largest = (2 << levels.astype(np.int32)) - 1
    return largest.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)[:height, :width, None]
