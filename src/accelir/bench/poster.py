"""The demo's picture: for each task what went in, what came out, and what encoding went by."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from accelir.bench.demo import Comparison, Photograph
from accelir.codec import Encoded
from accelir.files import write_atomically
from accelir.image import ImageArray
from accelir.viz import (
    ACCENT,
    INK,
    MUTED,
    WHITE,
    ColourBar,
    Panel,
    bits_image,
    level_map_image,
    sensitivity_image,
    side_by_side,
    text,
    text_width,
)

__all__ = ["draw_poster"]

PANEL = (480, 320)
MARGIN = 56
GAP = 28
ZOOM = 2
TITLES = {"sr": "Super-resolution", "denoise": "Denoising", "deblur": "Deblurring"}


def draw_poster(comparisons: Sequence[Comparison], output: str | Path) -> Path:
    """Write the page as a PNG and return its path. Each task shows another of its photographs."""
    sections = [
        _section(comparison, comparison.photographs[index % len(comparison.photographs)])
        for index, comparison in enumerate(comparisons)
    ]
    header = _header(sections[0].width)
    page = Image.new("RGB", (header.width, header.height + sum(section.height for section in sections) + 12), WHITE)
    top = 0
    for part in (header, *sections):
        page.paste(part, (0, top))
        top += part.height
    stream = io.BytesIO()
    page.save(stream, "PNG", optimize=True)
    return write_atomically(output, stream.getvalue())


def _header(width: int) -> Image.Image:
    header = Image.new("RGB", (width, 158), WHITE)
    draw = ImageDraw.Draw(header)
    text(draw, (MARGIN, 44), "accelir", 46, ACCENT, bold=True)
    tagline = "Encoded for the network that restores it"
    text(draw, (MARGIN + text_width("accelir", 46) + 22, 63), tagline, 26, INK)
    note = "Every file is a JPEG that any decoder opens. PSNR: RGB, 0 to 255, no border, whole picture."
    text(draw, (MARGIN, 110), note, 18, MUTED)
    return header


def _section(comparison: Comparison, photograph: Photograph) -> Image.Image:
    heavy, light, ours = (
        photograph.arm(*key) for key in (("heavy", "ordinary"), ("light", "ordinary"), ("light", "accelir"))
    )
    spot = _liveliest(photograph.reference)
    scale = comparison.scale
    below = tuple(value // scale for value in spot)

    def restored(arm_pixels: ImageArray) -> Image.Image:
        return Image.fromarray(_cut(arm_pixels, spot))

    panels = [
        Panel(
            restored(heavy.restored),
            f"{heavy.network} on the ordinary JPEG",
            _caption(heavy.psnr, heavy.size, heavy.flops),
        ),
        Panel(
            restored(light.restored),
            f"{light.network} on the ordinary JPEG",
            _caption(light.psnr, light.size, light.flops),
        ),
        Panel(
            restored(ours.restored),
            f"{ours.network} on the accelir JPEG",
            _caption(ours.psnr, ours.size, ours.flops),
            accent=True,
        ),
        Panel(
            Image.fromarray(_cut(photograph.ordinary, below)),
            "What the ordinary JPEG holds",
            f"{photograph.ordinary.shape[1]} x {photograph.ordinary.shape[0]} pixels, quality {comparison.quality}",
        ),
        _where_the_bits_went(photograph.encoded),
    ]
    if photograph.estimate.sensitivity is not None:
        shown = sensitivity_image(photograph.estimate, photograph.ordinary.shape, photograph.encoded.block)
        bar = ColourBar("low", "high", "magma")
        panels.append(Panel(shown, "Sensitivity", "what an error costs after restoration", bar))
    grid = side_by_side(panels, columns=3, size=PANEL, gap=GAP, margin=MARGIN)
    heading = 64
    section = Image.new("RGB", (grid.width, grid.height - 2 * MARGIN + heading + 40), WHITE)
    draw = ImageDraw.Draw(section)
    draw.line((MARGIN, 0, grid.width - MARGIN, 0), fill=(222, 225, 231), width=2)
    title = TITLES.get(comparison.task.partition("-")[0], comparison.task)
    text(draw, (MARGIN, 20), title, 27, INK, bold=True)
    where = f"{comparison.task}  \u00b7  {photograph.name}"
    text(draw, (MARGIN + text_width(title, 27) + 18, 28), where, 18, MUTED)
    section.paste(grid.crop((0, MARGIN - 4, grid.width, grid.height - MARGIN + 4)), (0, heading - 4 + 8))
    return section


def _where_the_bits_went(encoded: Encoded) -> Panel:
    """The level map; or, where all blocks have one level, the bits that each takes all the same."""
    low, high = encoded.levels.min(), encoded.levels.max()
    if low == high:
        caption = f"all at level {low}: by what blocks hold, and how sensitive they are"
        return Panel(bits_image(encoded), "Bits of each block", caption, ColourBar("few", "many", "viridis"))
    caption = f"levels {low} to {high} of the accelir file"
    return Panel(level_map_image(encoded), "Level of each block", caption, ColourBar("coarse", "fine", "viridis"))


def _caption(psnr: float, size: int, flops: int) -> str:
    return f"{psnr:.2f} dB  \u00b7  {size:,} bytes  \u00b7  {flops / 1e9:,.1f} GFLOPs"


def _liveliest(reference: ImageArray) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the part with the most detail, on a grid of 32 pixels."""
    height = min(PANEL[1] // ZOOM, reference.shape[0])
    width = min(PANEL[0] // ZOOM, reference.shape[1])
    gray = reference.mean(axis=2)
    detail = np.abs(np.diff(gray, axis=0))[:, :-1] + np.abs(np.diff(gray, axis=1))[:-1]
    detail = np.minimum(detail, 60)
    spots = [
        (top, left)
        for top in range(0, reference.shape[0] - height + 1, 32)
        for left in range(0, reference.shape[1] - width + 1, 32)
    ]
    top, left = max(spots, key=lambda spot: detail[spot[0] : spot[0] + height, spot[1] : spot[1] + width].sum())
    return top, left, height, width


def _cut(pixels: ImageArray, spot: Sequence[int]) -> ImageArray:
    top, left, height, width = spot
    return np.ascontiguousarray(pixels[top : top + max(height, 1), left : left + max(width, 1)])
