"""The markers of a file: as few bytes around the scans as the standard allows.

Neither JFIF nor Adobe marker is written: three components with the identifiers 1, 2, 3 are Y, Cb, Cr to every decoder.
All quantisation tables share one marker, and so do the Huffman tables of a scan.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from accelir_plugins.jpeg.entropy import Scan
from accelir_plugins.jpeg.transform import Layout

__all__ = ["assemble"]


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
        sampling = 0x22 if component == 0 and form.unit == 16 else 0x11
        frame += bytes([component + 1, sampling, int(component > 0 and own_chroma_table)])
    parts = [b"\xff\xd8", _segment(0xDB, quantisation), _segment(0xC2 if progressive else 0xC0, frame)]
    for scan in scans:
        parts += [_segment(0xC4, _huffman(scan)), _segment(0xDA, _header(scan)), scan.data]
    return b"".join([*parts, b"\xff\xd9"])


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
