"""The chunks of a WebP file (RIFF)."""

from __future__ import annotations

import struct

from accelir.errors import CodecError
from accelir.metadata import Metadata

__all__ = ["HEADER", "embed", "frame", "wrap"]

HEADER = 20
"""Bytes before the frame of a file without metadata."""

_ICC, _EXIF, _XMP = 0x20, 0x08, 0x04

# A chunk's size is a number of 32 bits, and so is that of all of them.
_ROOM = 2**32 - 10


def wrap(frame: bytes) -> bytes:
    """A file of nothing but a VP8 key frame."""
    return _riff(_chunk(b"VP8 ", frame))


def frame(data: bytes) -> bytes:
    """The VP8 frame of a file; empty where there is none, as in a lossless one."""
    at = 12
    while at + 8 <= len(data):
        name, (size,) = data[at : at + 4], struct.unpack("<I", data[at + 4 : at + 8])
        if name == b"VP8 ":
            return data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    return b""


def embed(data: bytes, metadata: Metadata) -> bytes:
    """A file of `wrap` with the colour profile before the frame, and EXIF and XMP after it.

    Raises:
        CodecError: There is more than 4 GB of it.
    """
    width, height = struct.unpack("<HH", data[HEADER + 6 : HEADER + 10])
    flags = _ICC * bool(metadata.icc) | _EXIF * bool(metadata.exif) | _XMP * bool(metadata.xmp)
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    if len(data) + len(metadata.icc) + len(metadata.exif) + len(metadata.xmp) + 64 > _ROOM:
        raise CodecError("WebP holds at most 4 GB; strip the metadata.")
    chunks = [
        _chunk(b"VP8X", struct.pack("<I", flags) + size),
        _chunk(b"ICCP", metadata.icc) if metadata.icc else b"",
        data[12:],
        _chunk(b"EXIF", metadata.exif) if metadata.exif else b"",
        _chunk(b"XMP ", metadata.xmp) if metadata.xmp else b"",
    ]
    return _riff(b"".join(chunks))


def _riff(chunks: bytes) -> bytes:
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
