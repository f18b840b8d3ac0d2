"""HEIC: one HEVC picture with a quantiser for each block, in an ordinary HEIF file.

Rooms: `hevc` (x265's settings, and the still made of its stream), `planes` (chroma for decoders that double it by
repeating), `tiles` (a grid instead of one picture) and `codec`, which brings them together.
"""

from accelir_plugins.heic.codec import HeicCodec, TilesWarning

__all__ = ["HeicCodec", "TilesWarning"]
