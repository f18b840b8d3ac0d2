"""Pictures of what encoding decided: level maps, sensitivity maps, and pages of captioned panels. Pillow only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from accelir.codec import Encoded
from accelir.errors import InvalidInputError
from accelir.image import ImageArray
from accelir.profiling.estimate import Estimate

__all__ = [
    "COLOUR_MAPS",
    "SHADES",
    "ColourBar",
    "Panel",
    "bits_image",
    "colour_bar",
    "colour_map",
    "fit",
    "level_map_image",
    "sensitivity_image",
    "side_by_side",
    "text",
    "text_width",
]

INK = (23, 27, 38)
MUTED = (104, 112, 128)
FAINT = (243, 244, 247)
WHITE = (255, 255, 255)

# Nine samples each of the perceptually uniform maps of Smith and van der Walt (public domain, CC0).
COLOUR_MAPS: dict[str, tuple[str, ...]] = {
    "viridis": (
        "440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725",
    ),
    "magma": (
        "000004", "1d1147", "51127c", "832681", "b73779", "e75263", "fc8961", "fec488", "fcfdbf",
    ),
}  # fmt: skip


SHADES = (2, 98)
"""Percentiles of the blocks at which the colours of `sensitivity_image` end."""


def colour_map(values: npt.ArrayLike, name: str = "viridis") -> ImageArray:
    """Colours for values of 0 to 1; values outside are clipped.

    Args:
        values: Any shape.
        name: A key of `COLOUR_MAPS`.

    Returns:
        uint8 of the shape of ``values`` with one more axis of 3.

    Raises:
        InvalidInputError: An unknown name.
    """
    if name not in COLOUR_MAPS:
        raise InvalidInputError(f"No colour map named {name!r}. There are: {', '.join(COLOUR_MAPS)}.")
    anchors = np.array([list(bytes.fromhex(colour)) for colour in COLOUR_MAPS[name]], float)
    position = np.clip(np.nan_to_num(np.asarray(values, float)), 0, 1)
    places = np.linspace(0, 1, len(anchors))
    channels = [np.interp(position, places, anchors[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def level_map_image(encoded: Encoded, name: str = "viridis") -> Image.Image:
    """The levels that a file was written with, coarsest dark, finest bright, at the size of the image.

    The colours span the levels that the file uses; a file with one level everywhere is of the middle colour.
    """
    levels = encoded.levels.astype(float)
    low, high = levels.min(), levels.max()
    values = (levels - low) / (high - low) if high > low else np.full_like(levels, 0.5)
    return _enlarge(colour_map(values, name), encoded.block, (encoded.height, encoded.width))


def bits_image(encoded: Encoded, name: str = "viridis") -> Image.Image:
    """How many bits each block of a file takes, few dark, many bright, at the size of the image."""
    low, high = np.percentile(encoded.block_bits, [2, 98])
    values = (encoded.block_bits - low) / (high - low) if high > low else np.full(encoded.block_bits.shape, 0.5)
    return _enlarge(colour_map(values, name), encoded.block, (encoded.height, encoded.width))


def sensitivity_image(estimate: Estimate, shape: tuple[int, ...], block: int, name: str = "magma") -> Image.Image:
    """How much an error in each block costs after restoration, on a logarithmic scale, costly bright.

    Args:
        estimate: With a sensitivity.
        shape: Of the image: height and width come first.
        block: Side of a block in pixels.
        name: A key of `COLOUR_MAPS`.

    Raises:
        InvalidInputError: The estimate has no sensitivity.
    """
    if estimate.sensitivity is None:
        raise InvalidInputError("This estimate has no sensitivity to show: its codec or control goes without.")
    logarithm = np.log(estimate.sensitivity.mean(axis=2, dtype=float) + 1e-12)
    low, high = np.percentile(logarithm, SHADES)
    values = (logarithm - low) / (high - low) if high > low else np.full_like(logarithm, 0.5)
    return _enlarge(colour_map(values, name), block, (shape[0], shape[1]))


@dataclass(frozen=True)
class ColourBar:
    """What the colours of a panel mean.

    Attributes:
        low: Said at the dark end.
        high: Said at the bright end.
        name: A key of `COLOUR_MAPS`.
    """

    low: str
    high: str
    name: str = "viridis"


@dataclass(frozen=True)
class Panel:
    """A picture with words under it.

    Attributes:
        image: Fitted into the panel.
        title: In dark ink.
        caption: Below, muted.
        bar: Drawn at the right of the title.
        accent: Frame the picture in the accent colour.
    """

    image: Image.Image
    title: str
    caption: str = ""
    bar: ColourBar | None = None
    accent: bool = False


ACCENT = (20, 128, 124)


def side_by_side(
    panels: Sequence[Panel],
    *,
    columns: int | None = None,
    size: tuple[int, int] = (480, 320),
    gap: int = 28,
    margin: int = 28,
    font_size: int = 19,
) -> Image.Image:
    """A white page of panels in rows.

    Args:
        panels: From left to right, then down.
        columns: Panels in a row; all in one by default.
        size: (width, height) of each picture in pixels.
        gap: Between panels.
        margin: Around the page.
        font_size: Of the titles; captions are a little smaller.

    Raises:
        InvalidInputError: There are no panels.
    """
    if not panels:
        raise InvalidInputError("There are no panels to put side by side.")
    columns = min(columns or len(panels), len(panels))
    rows = -(-len(panels) // columns)
    width, height = size
    words = round(font_size * 3.5)
    page = Image.new(
        "RGB",
        (2 * margin + columns * width + (columns - 1) * gap, 2 * margin + rows * (height + words) + (rows - 1) * gap),
        WHITE,
    )
    draw = ImageDraw.Draw(page)
    for index, panel in enumerate(panels):
        left = margin + (index % columns) * (width + gap)
        top = margin + (index // columns) * (height + words + gap)
        page.paste(fit(panel.image, size), (left, top))
        if panel.accent:
            draw.rectangle((left - 4, top - 4, left + width + 3, top + height + 3), outline=ACCENT, width=4)
        baseline = top + height + round(font_size * 0.7)
        text(draw, (left, baseline), panel.title, font_size, ACCENT if panel.accent else INK, bold=True)
        caption_top = baseline + round(font_size * 1.4)
        text(draw, (left, caption_top), panel.caption, font_size - 2, MUTED)
        if panel.bar is not None:
            _place_bar(page, panel.bar, left + width, baseline + 2, font_size - 4)
    return page


def colour_bar(size: tuple[int, int], name: str = "viridis") -> Image.Image:
    """The colours of a map from left (0) to right (1), (width, height) in pixels."""
    ramp = colour_map(np.linspace(0, 1, size[0]), name)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(ramp, (size[1], *ramp.shape))))


def fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """``image`` as large as it gets within ``size``, centred; pixels stay square-edged where it grows."""
    factor = min(size[0] / image.width, size[1] / image.height)
    target = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    resample = Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.LANCZOS
    scaled = image.convert("RGB").resize(target, resample)
    if target == size:
        return scaled
    page = Image.new("RGB", size, FAINT)
    page.paste(scaled, ((size[0] - target[0]) // 2, (size[1] - target[1]) // 2))
    return page


def text(
    draw: ImageDraw.ImageDraw,
    position: tuple[int, int],
    words: str,
    size: int,
    colour: tuple[int, int, int] = INK,
    *,
    bold: bool = False,
) -> None:
    """Write one line from its top left corner in Pillow's own typeface."""
    # That typeface has one weight: a thin stroke of the same colour stands in for bold.
    draw.text(position, words, fill=colour, font=_font(size), stroke_width=size / 55 if bold else 0)


def text_width(words: str, size: int) -> int:
    """Width of a line in pixels."""
    return math.ceil(_font(size).getlength(words))


def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)


def _place_bar(page: Image.Image, bar: ColourBar, right: int, top: int, size: int) -> None:
    draw = ImageDraw.Draw(page)
    ramp = colour_bar((110, 12), bar.name)
    x = right - text_width(bar.high, size)
    text(draw, (x, top), bar.high, size, MUTED)
    x -= ramp.width + 8
    page.paste(ramp, (x, top + round(size * 0.25)))
    x -= text_width(bar.low, size) + 8
    text(draw, (x, top), bar.low, size, MUTED)


def _enlarge(colours: ImageArray, block: int, shape: tuple[int, int]) -> Image.Image:
    pixels = np.repeat(np.repeat(colours, block, axis=0), block, axis=1)
    return Image.fromarray(np.ascontiguousarray(pixels[: shape[0], : shape[1]]))
