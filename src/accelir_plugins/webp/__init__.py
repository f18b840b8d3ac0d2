"""WebP: one ordinary lossy file, whose macroblocks have the quantisers that the network needs.

Rooms: `segments` (from steps to the four quantisers of a frame), `vp8` (the header of a frame), `container` (RIFF) and
`codec`, which joins them; libvpx, through `accelir_plugins.video`, codes the frame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelir_plugins.webp.codec import WebpCodec

__all__ = ["WebpCodec"]


def __getattr__(name: str) -> Any:
    if name == "WebpCodec":
        from accelir_plugins.webp.codec import WebpCodec

        return WebpCodec
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
