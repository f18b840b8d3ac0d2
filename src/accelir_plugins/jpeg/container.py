"""The markers of a baseline file: as few bytes around the scan as the standard allows.

Neither JFIF nor Adobe marker is written: three components with the identifiers 1, 2, 3 are Y, Cb, Cr to every decoder.
All quantisation tables share one marker, and so do all Huffman tables.
"""

from __future__ import annotations

import struct

import numpy as np
import numpy.typing as npt

from accelir_plugins.jpeg.entropy import CodeSet
from accelir_plugins.jpeg.transform import Layout

__all__ = ["assemble"]


def assemble(
    height: int, width: int, form: Layout, tables: npt.NDArray[np.int64], codes: CodeSet, scan: bytes
) -> bytes:
    """The whole file.

    Args:
        height: In pixels, 1..65535.
        width: In pixels, 1..65535.
        form: The layout of the units.
        tables: int64 (2, 64): the quantisation tables of luma and chroma, 1..255, zigzag.
        codes: The Huffman codes.
        scan: The entropy-coded segment.
    """
    own_chroma_table = form.components == 3 and not np.array_equal(tables[0], tables[1])
    written = tables if own_chroma_table else tables[:1]
    quantisation = b"".join(bytes([index]) + table.astype(np.uint8).tobytes() for index, table in enumerate(written))
    huffman = b"".join(
        bytes([kind << 4 | index]) + code.counts + code.symbols
        for kind, family in enumerate((codes.dc, codes.ac))
        for index, code in enumerate(family)
    )
    frame = struct.pack(">BHHB", 8, height, width, form.components)
    selectors = bytes([form.components])
    for component in range(form.components):
        sampling = 0x22 if component == 0 and form.unit == 16 else 0x11
        second = int(component > 0)
        frame += bytes([component + 1, sampling, second if own_chroma_table else 0])
        tables_used = (second if len(codes.dc) > 1 else 0) << 4 | (second if len(codes.ac) > 1 else 0)
        selectors += bytes([component + 1, tables_used])
    return b"".join(
        [
            b"\xff\xd8",
            _segment(0xDB, quantisation),
            _segment(0xC0, frame),
            _segment(0xC4, huffman),
            # Spectral selection 0..63 and no successive approximation: a sequential scan.
            _segment(0xDA, selectors + bytes([0, 63, 0])),
            scan,
            b"\xff\xd9",
        ]
    )


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
