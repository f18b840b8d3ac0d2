"""What JPEG files lose, of a whole batch on any device, without a file: transform, quantisation, chroma at half size.

The same mixture as `accelir.training.data.compress_randomly` draws picture by picture: a GPU takes hundreds of crops
in the time of one file. Lossless entropy coding is what is left out; libjpeg's integer arithmetic is in floating point.
"""

from __future__ import annotations

import io
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from accelir.training.data import DCT, FREQUENCY
from accelir.training.mixture import Mixture

__all__ = ["compressed_randomly", "jpeg_loss", "usual_tables"]


@lru_cache(maxsize=1)
def usual_tables() -> torch.Tensor:
    """The quantisation tables that Pillow writes: float32 (101, 2, 8, 8), by quality; luma, then chroma."""
    tables = torch.ones(101, 2, 8, 8)
    for quality in range(1, 101):
        stream = io.BytesIO()
        Image.new("RGB", (8, 8)).save(stream, "JPEG", quality=quality)
        with Image.open(stream) as picture:
            read = picture.quantization  # type: ignore[attr-defined]
        tables[quality] = torch.tensor([read[0], read[1]], dtype=torch.float32).reshape(2, 8, 8)
    return tables


def compressed_randomly(pictures: torch.Tensor, mixture: Mixture, random: torch.Generator) -> torch.Tensor:
    """Some clean, some as through Pillow's JPEG, the others as through a JPEG in our manner.

    Args:
        pictures: uint8 (N, H, W, 3), sides multiples of 16.
        mixture: Shares and strengths.
        random: On the device of the pictures.

    Returns:
        uint8, like ``pictures``.
    """
    count, device = len(pictures), pictures.device

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(shape or (count,), generator=random, device=device)

    kind = uniform(0, 1)
    usual = kind < mixture.clean + mixture.usual
    tables = usual_tables().to(device)[uniform(*mixture.qualities).long()]
    steps = uniform(*np.log(mixture.steps)).exp()
    tilt = uniform(*mixture.tilts)
    frequency = torch.from_numpy(FREQUENCY).to(device)
    shaped = (steps[:, None, None] * (1 + frequency / 2) ** tilt[:, None, None]).round().clamp(min=1)
    shaped = torch.stack([shaped, shaped * uniform(*mixture.chroma_steps)[:, None, None]], dim=1)
    halved = uniform(0, 1) < torch.where(usual, mixture.usual_halved, mixture.halved)
    rows, columns = (side // 8 for side in pictures.shape[1:3])
    spread = torch.randn(count, rows, columns, generator=random, device=device)
    spread = spread * uniform(*mixture.dead_spread)[:, None, None]
    dead = uniform(*mixture.dead)[:, None, None] + spread
    lost = jpeg_loss(
        pictures,
        torch.where(usual[:, None, None, None], tables, shaped),
        halved,
        torch.where(usual[:, None, None], 0.0, dead.clamp(0, mixture.most_dead)),
    )
    return torch.where((kind < mixture.clean)[:, None, None, None], pictures, lost)


def jpeg_loss(pictures: torch.Tensor, tables: torch.Tensor, halved: torch.Tensor, dead: torch.Tensor) -> torch.Tensor:
    """Pictures as they come back from JPEG files.

    Args:
        pictures: uint8 (N, H, W, 3), sides multiples of 16.
        tables: float32 (N, 2, 8, 8): steps of luma and chroma.
        halved: bool (N,): whether chroma is stored at half size (4:2:0).
        dead: float32 (N, H / 8, W / 8): by how much less than a half numbers are rounded away from zero, DC apart.

    Returns:
        uint8, like ``pictures``.
    """
    red, green, blue = pictures.float().unbind(3)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = torch.stack([(blue - luma) / 1.772, (red - luma) / 1.402], dim=1).round()
    luma = _quantised(luma.round() - 128, tables[:, 0], dead) + 128
    steps = tables[:, 1].repeat_interleave(2, 0)
    whole = _quantised(chroma.flatten(0, 1), steps, dead.repeat_interleave(2, 0)).view_as(chroma)
    small = functional.avg_pool2d(chroma, 2)
    small = _quantised(small.flatten(0, 1), steps, dead[:, ::2, ::2].repeat_interleave(2, 0)).view_as(small)
    # libjpeg's upsampling: three parts of the nearer pixel and one of the other.
    large = functional.interpolate(small.round(), scale_factor=2, mode="bilinear", align_corners=False)
    first, second = torch.where(halved[:, None, None, None], large, whole).round().clamp(-128, 127).unbind(1)
    luma = luma.round().clamp(0, 255)
    colours = [luma + 1.402 * second, luma - 0.344136 * first - 0.714136 * second, luma + 1.772 * first]
    return torch.stack(colours, dim=3).round().clamp(0, 255).to(torch.uint8)


def _quantised(planes: torch.Tensor, steps: torch.Tensor, dead: torch.Tensor) -> torch.Tensor:
    """Planes (N, H, W) around 0 through quantisation by (N, 8, 8) steps, with a dead zone for each block."""
    count, height, width = planes.shape
    transform = torch.from_numpy(DCT).to(planes)
    blocks = planes.reshape(count, height // 8, 8, width // 8, 8).transpose(2, 3)
    scaled = transform @ blocks @ transform.T / steps[:, None, None]
    levels = scaled.sign() * (scaled.abs() + 0.5 - dead[..., None, None]).floor()
    levels[..., 0, 0] = scaled[..., 0, 0].round()
    back = transform.T @ (levels * steps[:, None, None]) @ transform
    return back.transpose(2, 3).reshape(planes.shape)
