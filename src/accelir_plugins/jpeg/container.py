"""The markers of a file: as few bytes around the scans as the standard allows.

Neither JFIF nor Adobe marker is written: three components with the identifiers 1, 2, 3 are Y, Cb, Cr to every decoder.
All quantisation tables share one marker, and so do the Huffman tables of a scan.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from accelir.errors import CodecError
from accelir.metadata import Metadata
from accelir_plugins.jpeg.entropy import Scan
from accelir_plugins.jpeg.transform import Layout

__all__ = ["assemble", "embed"]

_EXIF = b"Exif\0\0"
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_ICC = b"ICC_PROFILE\0"
# A segment's length counts its own two bytes.
_ROOM = 65533


def assemble(
    height: int, width: int, form: Layout, tables: npt.NDArray[np.int64], scans: Sequence[Scan], progressive: bool
) -> bytes:
    """The whole file.

    Args:
        height: In pixels, 1..65535.
        width: In pixels, 1..65535.
        form: The layout of the units.
        tables: int64 (2, 64): the quantisation tables of luma and chroma, 1..255, zigzag.
        scans: In the order of the file.
        progressive: Whether they are those of a progressive file.
    """
    own_chroma_table = form.components == 3 and not np.array_equal(tables[0], tables[1])
    written = tables if own_chroma_table else tables[:1]
    quantisation = b"".join(bytes([index]) + table.astype(np.uint8).tobytes() for index, table in enumerate(written))
    frame = struct.pack(">BHHB", 8, height, width, form.components)
    for component in range(form.components):
        horizontal, vertical = form.sampling(component)
        frame += bytes([component + 1, horizontal << 4 | vertical, int(component > 0 and own_chroma_table)])
    parts = [b"\xff\xd8", _segment(0xDB, quantisation), _segment(0xC2 if progressive else 0xC0, frame)]
    restart_interval = 0
    for scan in scans:
        parts.append(_segment(0xC4, _huffman(scan)))
        if len(scan.segments) > 1 and scan.restart_interval != restart_interval:
            restart_interval = scan.restart_interval
            parts.append(_segment(0xDD, struct.pack(">H", restart_interval)))
        parts += [_segment(0xDA, _header(scan)), scan.segments[0]]
        for number, segment in enumerate(scan.segments[1:]):
            parts += [bytes([0xFF, 0xD0 + number % 8]), segment]
    return b"".join([*parts, b"\xff\xd9"])


def embed(data: bytes, metadata: Metadata) -> bytes:
    """A file with EXIF, XMP and the colour profile in segments of their own, before all others but JFIF's.

    Raises:
        CodecError: EXIF or XMP take more than one segment, about 64 kB; or the profile more than 255 of them.
    """
    segments = []
    for name, prefix, content in (("EXIF", _EXIF, metadata.exif), ("XMP", _XMP, metadata.xmp)):
        if len(prefix) + len(content) > _ROOM:
            raise CodecError(f"JPEG holds at most {_ROOM - len(prefix)} bytes of {name}; got {len(content)}. Strip it.")
        if content:
            segments.append(_segment(0xE1, prefix + content))
    room = _ROOM - len(_ICC) - 2
    chunks = [metadata.icc[start : start + room] for start in range(0, len(metadata.icc), room)]
    if len(chunks) > 255:
        raise CodecError(f"JPEG holds at most {255 * room} bytes of colour profile; got {len(metadata.icc)}. Strip it.")
    for number, chunk in enumerate(chunks, 1):
        segments.append(_segment(0xE2, _ICC + bytes([number, len(chunks)]) + chunk))
    start = 2
    if data[2:4] == b"\xff\xe0":
        start += 2 + int.from_bytes(data[4:6], "big")
    return b"".join([data[:start], *segments, data[start:]])


def _huffman(scan: Scan) -> bytes:
    return b"".join(
        bytes([kind << 4 | index]) + code.counts + code.symbols
        for kind, family in enumerate((scan.dc, scan.ac))
        for index, code in enumerate(family)
    )


def _header(scan: Scan) -> bytes:
    selectors = bytes([len(scan.components)])
    for component in scan.components:
        second = int(component > 0)
        tables_used = (second if len(scan.dc) > 1 else 0) << 4 | (second if len(scan.ac) > 1 else 0)
        selectors += bytes([component + 1, tables_used])
    # No successive approximation.
    return selectors + bytes([scan.first, scan.last, 0])


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
