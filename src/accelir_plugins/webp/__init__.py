"""WebP: one ordinary lossy file (VP8), whose macroblocks have the quantisers that the network needs.

Rooms: `segments` (from steps to the four quantisers of a frame), `macroblock` (the modes and levels of one, by way of
`predict`, `transform`, `quantise`), `search` (those of all), `coder` (arithmetic coding), `frame` (which joins these),
`tables` (the numbers of the standard), `container` (RIFF) and `codec`.
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
