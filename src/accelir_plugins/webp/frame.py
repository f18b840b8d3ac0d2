"""A VP8 key frame (RFC 6386, sections 9 and 19): header, modes and levels."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelir.errors import CodecError
from accelir_plugins.compiled import compiled
from accelir_plugins.webp.coder import FIXED, best_probabilities, code, note_levels
from accelir_plugins.webp.macroblock import FINE_MODES, Modes
from accelir_plugins.webp.quantise import costs_of
from accelir_plugins.webp.search import search
from accelir_plugins.webp.tables import (
    AC_STEPS,
    CHROMA_TREE,
    COEFFICIENT_PROBABILITIES,
    DC_STEPS,
    FINE_PROBABILITIES,
    FINE_TREE,
    SQUARE_TREE,
    UPDATE_PROBABILITIES,
)

__all__ = ["Frame", "encode"]

Plane = npt.NDArray[np.uint8]
Events = npt.NDArray[np.uint16]

# How much finer chroma is quantised: it counts more than luma in R, G and B.
_CHROMA_FINER = 2

# Macroblocks from which on probabilities are learnt from a sample of rows, and which rows; else how often from all.
_MANY = 4096
_PERIOD, _SAMPLED = 16, 2
_PASSES = 2

# How many modes of a 4x4 block are tried in earnest, and where there are many macroblocks.
_TRIED, _TRIED_OF_MANY = 4, 2

# The size of the first partition is a number of 19 bits.
_LARGEST_FIRST = 2**19 - 1
# About what a macroblock takes of it beside the modes of its 4x4 blocks, in bits; and what there is beside macroblocks.
_BESIDE, _HEADER = 6, 16000


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame and what its blocks take.

    Attributes:
        data: The frame.
        bits: float32 (rows, columns): about what each macroblock takes.
        luma: uint8 (16 rows, 16 columns): the samples that decoders make before their filter.
    """

    data: bytes
    bits: npt.NDArray[np.float32]
    luma: Plane


def encode(
    luma: Plane,
    chroma: Sequence[Plane],
    indices: npt.NDArray[np.int64],
    lagrangians: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float32] | None = None,
) -> Frame:
    """Code a picture.

    Args:
        luma: uint8 (H, W).
        chroma: uint8 (ceil(H / 2), ceil(W / 2)) each: Cb and Cr.
        indices: int64 (rows, columns): quantiser of each macroblock, 0 to 127, four different ones at most.
        lagrangians: float64 (rows, columns): squared error of samples that is worth a bit, above 0.
        weights: float32 (rows, columns, 2, 16): what squared error of the coefficients of 4x4 blocks counts, row-major,
            of luma and of chroma; None for 1.

    Raises:
        CodecError: The modes of a very large picture take more than the format holds.
    """
    height, width = luma.shape
    quantisers, inverse = np.unique(indices, return_inverse=True)
    segments = np.asarray(inverse, np.uint8).reshape(indices.shape)
    quantisers = np.concatenate([quantisers, np.full(4 - len(quantisers), quantisers[-1])])
    finer = np.maximum(quantisers - _CHROMA_FINER, 0)
    steps = np.stack(
        [
            DC_STEPS[quantisers],
            AC_STEPS[quantisers],
            2 * DC_STEPS[quantisers],
            np.maximum(AC_STEPS[quantisers] * 155 // 100, 8),
            np.minimum(DC_STEPS[finer], 132),
            AC_STEPS[finer],
        ],
        axis=1,
    )
    whole = _padded(luma, 16)
    halves = np.stack([_padded(plane, 8) for plane in chroma])
    room = 8 * (_LARGEST_FIRST - _HEADER) / indices.size - _BESIDE
    if weights is None:
        weights = np.ones((*indices.shape, 2, 16), np.float32)
    probabilities = COEFFICIENT_PROBABILITIES
    tried = _TRIED if indices.size <= _MANY else _TRIED_OF_MANY
    if indices.size > _MANY:
        kept = np.flatnonzero(np.arange(len(indices)) % _PERIOD < _SAMPLED)
        sample = search(
            _rows(whole, kept, 16), np.stack([_rows(half, kept, 8) for half in halves]), segments[kept], steps,
            lagrangians[kept], weights[kept], costs_of(probabilities), room, tried,
        )  # fmt: skip
        probabilities, _ = best_probabilities(note_levels(sample[0])[0])
    else:
        for _ in range(_PASSES):
            sample = search(whole, halves, segments, steps, lagrangians, weights, costs_of(probabilities), room, tried)
            probabilities, _ = best_probabilities(note_levels(sample[0])[0])
    modes, decoded, _ = search(
        whole, halves, segments, steps, lagrangians, weights, costs_of(probabilities), room, tried
    )
    events, some = note_levels(modes)
    probabilities, told = best_probabilities(events)
    skipped = int(np.clip(np.rint(256 * some.mean()), 1, 255))
    shares = _shares(segments)
    first = code(
        np.concatenate(
            [
                _header(quantisers, bool(segments.any()), shares, probabilities, told, skipped),
                _note_modes(modes, some, segments, shares, skipped),
            ]
        ),
        probabilities,
    )
    if len(first) > _LARGEST_FIRST:
        raise CodecError(f"WebP holds no picture of {width}x{height} pixels with so many modes; take a smaller one.")
    # A key frame that is shown, of version 0.
    tag = (len(first) << 5 | 1 << 4).to_bytes(3, "little")
    data = tag + b"\x9d\x01\x2a" + struct.pack("<HH", width, height) + first + code(events, probabilities)
    return Frame(data, modes.bits, decoded[1:, 1:])


def _padded(plane: Plane, side: int) -> Plane:
    """A plane of whole blocks, the last row and column repeated."""
    height, width = plane.shape
    return np.ascontiguousarray(np.pad(plane, ((0, -height % side), (0, -width % side)), mode="edge"))


def _rows(plane: Plane, rows: npt.NDArray[np.int64], side: int) -> Plane:
    """Some rows of blocks."""
    return np.ascontiguousarray(plane.reshape(-1, side, plane.shape[1])[rows].reshape(-1, plane.shape[1]))


def _shares(segments: Plane) -> tuple[int, int, int]:
    """The probabilities in the tree of segments: of the first two, and of the first of either two."""
    counts = np.bincount(segments.ravel(), minlength=4)

    def share(one: int, both: int) -> int:
        return int(np.clip(round(256 * one / both), 1, 255)) if both else 255

    return (
        share(counts[0] + counts[1], counts.sum()),
        share(counts[0], counts[0] + counts[1]),
        share(counts[2], counts[2] + counts[3]),
    )


def _filter_level(quantiser: int) -> int:
    """The strength of the loop filter that is about the best, by squared error, on photographs."""
    return max(0, (2 * quantiser - 10) // 5)


class _Notes:
    """Events of a header."""

    def __init__(self) -> None:
        self.events: list[int] = []

    def number(self, value: int, bits: int) -> None:
        for shift in range(bits - 1, -1, -1):
            self.bit(value >> shift & 1, 128)

    def bit(self, value: int, probability: int) -> None:
        self.events.append(2 * (FIXED + probability) + value)

    def optional(self, value: int, bits: int) -> None:
        """A flag, magnitude and sign."""
        self.number(int(value != 0), 1)
        if value:
            self.number(abs(value), bits)
            self.number(int(value < 0), 1)


def _header(
    quantisers: npt.NDArray[np.int64],
    segmented: bool,
    shares: tuple[int, int, int],
    probabilities: npt.NDArray[np.int64],
    told: npt.NDArray[np.bool_],
    skipped: int,
) -> Events:
    """The events of the frame header (section 19.2)."""
    notes = _Notes()
    notes.number(0, 2)  # Colour space and clamping: the usual.
    notes.number(int(segmented), 1)
    levels = [_filter_level(int(quantiser)) for quantiser in quantisers]
    if segmented:
        notes.number(0b111, 3)  # A map, and values, which are absolute.
        for quantiser in quantisers:
            notes.optional(int(quantiser), 7)
        for level in levels:
            notes.optional(level, 6)
        for share in shares:
            notes.number(int(share != 255), 1)
            if share != 255:
                notes.number(share, 8)
    notes.number(0, 1)  # The normal filter.
    # At 0 here there would be no filter at all, whatever the segments say.
    notes.number(max(levels), 6)
    notes.number(0, 3)  # Its sharpness.
    notes.number(0, 1)  # No differences of it by mode.
    notes.number(0, 2)  # One partition of levels.
    notes.number(int(quantisers[0]), 7)
    for finer in (0, 0, 0, -_CHROMA_FINER, -_CHROMA_FINER):
        notes.optional(finer, 4)
    notes.number(0, 1)  # Probabilities are for this frame.
    for kept, tell, probability in zip(UPDATE_PROBABILITIES.flat, told.flat, probabilities.flat, strict=True):
        notes.bit(int(tell), int(kept))
        if tell:
            notes.number(int(probability), 8)
    notes.number(1, 1)  # Macroblocks without levels say so.
    notes.number(skipped, 8)
    return np.array(notes.events, np.uint16)


def _note_modes(
    modes: Modes, some: npt.NDArray[np.bool_], segments: Plane, shares: tuple[int, int, int], skipped: int
) -> Events:
    """The events of segments and modes (section 19.3)."""
    # At most 3 of segment and skipping, 3 of the mode, 7 for each of 16 blocks and 3 of chroma.
    out = np.empty(segments.size * 128, np.uint16)
    segmented = bool(segments.any())
    count = _note(modes.square, modes.fine, modes.chroma, some, segments, segmented, np.array(shares), skipped, out)
    return out[:count]


@compiled
def _note(
    square: Plane,
    fine: Plane,
    chroma: Plane,
    some: npt.NDArray[np.bool_],
    segments: Plane,
    segmented: bool,
    shares: npt.NDArray[np.int64],
    skipped: int,
    out: Events,
) -> int:
    at = 0
    rows, columns = segments.shape
    for row in range(rows):
        for column in range(columns):
            segment = segments[row, column]
            if segmented:
                out[at] = 2 * (FIXED + shares[0]) + (segment >> 1)
                out[at + 1] = 2 * (FIXED + shares[1 + (segment >> 1)]) + (segment & 1)
                at += 2
            out[at] = 2 * (FIXED + skipped) + (0 if some[row, column] else 1)
            at += 1
            at = _note_way(SQUARE_TREE[square[row, column]], out, at)
            if square[row, column] == FINE_MODES:
                for block in range(16):
                    y, x = 4 * row + block // 4 + 1, 4 * column + block % 4 + 1
                    probabilities = FINE_PROBABILITIES[fine[y - 1, x], fine[y, x - 1]]
                    way = FINE_TREE[fine[y, x]]
                    for step in range(len(way)):
                        if way[step, 0] >= 0:
                            out[at] = 2 * (FIXED + probabilities[way[step, 0]]) + way[step, 1]
                            at += 1
            at = _note_way(CHROMA_TREE[chroma[row, column]], out, at)
    return at


@compiled
def _note_way(way: npt.NDArray[np.int64], out: Events, at: int) -> int:
    """A way through a tree of (probability, bit)."""
    for step in range(len(way)):
        if way[step, 0] >= 0:
            out[at] = 2 * (FIXED + way[step, 0]) + way[step, 1]
            at += 1
    return at
