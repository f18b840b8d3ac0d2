"""JPEG: one ordinary file, baseline or progressive, written block by block for the network that restores it.

Rooms: `transform` (colour, subsampling, DCT), `tables` (quantisation tables), `quantise` (rounding, and what is
decided by `trellis`), `compensation` (luma takes back what chroma is off by), `entropy` (Huffman), `progressive` (its
scans), `container` (markers), `sample` (of a large picture, to foresee sizes by), `adjoint` (gradients of pixels to
gradients of coefficients) and `codec`, which joins them. Nothing heavy is imported until `JpegCodec` is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelir_plugins.jpeg.codec import JpegCodec

__all__ = ["JpegCodec"]


def __getattr__(name: str) -> Any:
    if name == "JpegCodec":
        from accelir_plugins.jpeg.codec import JpegCodec

        return JpegCodec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
