"""A HEIC of tiles that differ in quality, written by pillow-heif alone: for those who have no PyAV."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from accelir.errors import CodecError
from accelir.image import ImageArray
from accelir_plugins import isobmff
from accelir_plugins.heic import hevc

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["BLOCKS", "tiled"]

BLOCKS = 8
"""Blocks along the side of a tile: smaller tiles take more bytes for the same quality, larger ones differ less."""

# The format counts 256 rows and as many columns.
_MOST = 256


def tiled(
    image: ImageArray, log_steps: npt.NDArray[np.float32], chroma_offset: int, pillow_heif: ModuleType
) -> tuple[bytes, npt.NDArray[np.float32]]:
    """A grid of tiles, each with the quantiser that is nearest to what its blocks want on average.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        log_steps: float32 (rows, columns): the log2 of the step wanted for each block.
        chroma_offset: Of the quantiser of chroma to that of luma.
        pillow_heif: The package.

    Returns:
        The file, and the log2 of the steps written: float32 (rows, columns).

    Raises:
        CodecError: The picture takes more tiles than the format can count.
    """
    height, width = image.shape[:2]
    coded = hevc.coded_size(width, height)
    side = BLOCKS * hevc.BLOCK
    # A picture of one tile is as large as that.
    across, down = (min(side, length) for length in coded)
    rows, columns = -(-height // down), -(-width // across)
    if max(rows, columns) > _MOST:
        raise CodecError(f"A HEIC of tiles holds {_MOST * side} pixels a side; got {width}x{height}.")
    starts = [np.arange(count) * BLOCKS for count in (rows, columns)]
    sums = np.add.reduceat(np.add.reduceat(log_steps, starts[0], axis=0), starts[1], axis=1)
    counts = np.add.reduceat(np.add.reduceat(np.ones_like(log_steps), starts[0], axis=0), starts[1], axis=1)
    quantisers = hevc.quantisers((sums / counts).astype(np.float32))
    beyond = [(0, rows * down - height), (0, columns * across - width), (0, 0)][: image.ndim]
    padded = np.pad(image, beyond, mode="edge")
    tiles = [
        _tile(
            padded[row * down :, column * across :][:down, :across], quantisers[row, column], chroma_offset, pillow_heif
        )
        for row in range(rows)
        for column in range(columns)
    ]
    described = [
        isobmff.size(*coded),
        *(entry for entry in tiles[0].properties if entry.box[4:8] in (b"pixi", b"colr")),
    ]
    if coded != (width, height):
        described.append(isobmff.crop(coded, (width, height)))
    numbers = range(2, 2 + len(tiles))
    grid = isobmff.Item(
        1,
        b"grid",
        isobmff.grid(rows, columns, *coded),
        tuple(described),
        references=((b"dimg", tuple(numbers)),),
    )
    items = [
        isobmff.Item(number, tile.kind, tile.data, tile.properties, hidden=True)
        for number, tile in zip(numbers, tiles, strict=True)
    ]
    brand = b"heix" if image.ndim == 2 else b"heic"
    data = isobmff.write(isobmff.Still((brand, b"mif1", brand), (grid, *items)))
    spread = np.repeat(np.repeat(quantisers, BLOCKS, axis=0), BLOCKS, axis=1)[: len(log_steps), : log_steps.shape[1]]
    return data, hevc.written(spread)


def _tile(part: ImageArray, quantiser: int, chroma_offset: int, pillow_heif: ModuleType) -> isobmff.Item:
    """The picture of a file of its own."""
    from PIL import Image

    parameters: dict[str, Any] = {
        **hevc.CHOICES,
        "qp": int(quantiser),
        "ipratio": 1,
        "cbqpoffs": chroma_offset,
        "crqpoffs": chroma_offset,
    }
    stream = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(part)).save(
        stream, enc_params={f"x265:{name}": str(value) for name, value in parameters.items()}
    )
    return isobmff.read(stream.getvalue()).items[0]
