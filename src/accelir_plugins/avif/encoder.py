"""Pillow's libaom: a picture and a plan in, a file out."""

from __future__ import annotations

import contextlib
import io
import os
import tempfile
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from accelir.errors import CodecError, DecodeError, MissingDependencyError
from accelir.image import ImageArray
from accelir.threads import allowed
from accelir_plugins.avif.headers import read_quantiser
from accelir_plugins.avif.plan import GRID, Plan
from accelir_plugins.avif.survey import SIDE

__all__ = ["encode", "require", "require_reader"]

_HINT = "pip install 'accelir[avif]'"

# What counts is the squared error, which neither libaom's tuning nor libavif's for still pictures is meant for;
# superblocks are as small as they can be.
_OPTIONS = {"tune": "psnr", "sb-size": str(SIDE)}

# The base comes from a rate control that has no bits at all, which goes to the coarsest quantiser that libavif
# allows: four levels of quality beyond that of the picture. `cq-level` then says only what the estimates go by.
_GUIDED = {
    "end-usage": "cbr",
    "max-intra-rate": "1",
    "cq-level": "63",
    "deltaq-mode": "3",
    "enable-rate-guide-deltaq": "1",
}
_BEYOND = 4

# Rates lie 16 pixels apart in the file; only the sum in a superblock counts.
_RATES = SIDE // 16


def require_reader() -> None:
    """Make sure that Pillow has AVIF.

    Raises:
        MissingDependencyError: It has not.
    """
    try:
        import PIL._avif  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"AVIF needs Pillow 11.3 or newer with AVIF inside: {_HINT}") from error


def require() -> None:
    """Make sure that Pillow has libaom.

    Raises:
        MissingDependencyError: It has not.
    """
    require_reader()
    from PIL import _avif

    if not _avif.encoder_codec_available("aom"):
        raise MissingDependencyError(f"This Pillow writes AVIF without libaom; the wheels of PyPI have it: {_HINT}")


def encode(pixels: ImageArray, plan: Plan, *, subsampling: str, speed: int, cdef: bool) -> bytes:
    """Write a file.

    Args:
        pixels: uint8 (H, W, 3) or (H, W).
        plan: Which quantisers to use.
        subsampling: Of colours: ``"4:4:4"`` or ``"4:2:0"``.
        speed: 0 (slow) to 6.
        cdef: Whether decoders are told to filter along edges.

    Raises:
        CodecError: libaom did something else than it was told.
    """
    height, width = pixels.shape[:2]
    filters = {"enable-cdef": str(int(cdef))}
    if plan.shares is None:
        level = 63 if plan.base == 255 else 62 if plan.base == 249 else plan.base // 4
        data = _save(pixels, 75, subsampling, speed, {**filters, "cq-level": str(level)})
    else:
        # Pillow's quality 0..100 that libavif makes this level of.
        level = plan.base // GRID - _BEYOND
        quality = next(quality for quality in range(101) if ((100 - quality) * 63 + 50) // 100 == level)
        with _file_of(_rates(plan.shares, height, width)) as path:
            data = _save(pixels, quality, subsampling, speed, {**filters, **_GUIDED, "rate-distribution-info": path})
    try:
        base, differing = read_quantiser(data)
    except DecodeError as error:
        raise CodecError(f"libaom wrote an AVIF that is not understood: {error}") from error
    # What lies near to the base may round to it.
    expected = bool((np.abs(plan.indices - plan.base) > 2 * GRID).any())
    if base != plan.base or expected > differing:
        raise CodecError(
            f"This libaom does not heed quantisers: base {base} for {plan.base}, {'some' if differing else 'no'} "
            f"differences. That of Pillow's wheels does: {_HINT}"
        )
    return data


def _save(pixels: ImageArray, quality: int, subsampling: str, speed: int, options: dict[str, str]) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    try:
        Image.fromarray(pixels).save(
            stream,
            "AVIF",
            codec="aom",
            quality=quality,
            speed=speed,
            subsampling=subsampling if pixels.ndim == 3 else "4:0:0",
            autotiling=False,
            # One thread codes rows of superblocks otherwise than many do; any number of many writes the same bytes.
            max_threads=max(2, allowed()),
            advanced={**_OPTIONS, **options},
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise CodecError(f"libaom cannot write this picture: {error}. {_HINT}") from error
    return stream.getvalue()


def _rates(shares: npt.NDArray[np.int64], height: int, width: int) -> str:
    """The rates of all 16x16 blocks, those of a superblock in its first."""
    rows, columns = (-(-(-(-length // 8) * 8) // 16) for length in (height, width))
    rates = np.zeros((rows, columns), np.int64)
    rates[::_RATES, ::_RATES] = shares
    return "\n".join(" ".join(map(str, row)) for row in rates.tolist())


@contextlib.contextmanager
def _file_of(text: str) -> Iterator[str]:
    """A file that holds a text, and is gone afterwards."""
    handle, path = tempfile.mkstemp(prefix="accelir-", suffix=".txt")
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(text)
        if os.name == "nt" and not path.isascii():
            raise CodecError(f"libaom opens no file of this name: {path}. Set TMP to a folder named in plain letters.")
        yield path
    finally:
        os.unlink(path)
