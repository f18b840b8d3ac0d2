"""The arithmetic coder of VP8 (RFC 6386, section 7), and the events that it codes.

An event is a bit and the number of its probability: one of the 1056 of coefficients, or one that is the same for all
frames. Events are noted first, so that the probabilities can be those that suit them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accelir_plugins.compiled import compiled
from accelir_plugins.webp.macroblock import FINE_MODES, Modes
from accelir_plugins.webp.quantise import CHROMA, COARSE_DC, FINE, SQUARE
from accelir_plugins.webp.tables import (
    BANDS,
    BIT_COSTS,
    CATEGORY_BASES,
    CATEGORY_BITS,
    CATEGORY_PROBABILITIES,
    COEFFICIENT_PROBABILITIES,
    TOKEN_TREE,
    UPDATE_PROBABILITIES,
)

__all__ = ["FIXED", "best_probabilities", "code", "note_levels"]

Events = npt.NDArray[np.uint16]
Probabilities = npt.NDArray[np.int64]

FIXED = COEFFICIENT_PROBABILITIES.size
"""The number of a probability that does not change is this and itself."""

# By how many bits a range is short of eight.
_SHIFTS = 8 - np.array([max(1, int(width).bit_length()) for width in range(256)])

# Most events of a macroblock: 400 coefficients, each with the longest way through the tree, extra bits and a sign.
_MOST = 400 * 20


def code(events: Events, probabilities: Probabilities) -> bytes:
    """A partition of a frame.

    Args:
        events: uint16: twice the number of a probability, and the bit.
        probabilities: int64 (4, 8, 3, 11): of coefficients.
    """
    table = np.concatenate([probabilities.ravel(), np.arange(256)])
    # No event takes more than a byte.
    out = np.empty(len(events) + 16, np.uint8)
    return out[: _code(events, table, out)].tobytes()


def best_probabilities(events: Events) -> tuple[Probabilities, npt.NDArray[np.bool_]]:
    """The probabilities of coefficients that take the least bits, and which of them the frame has to tell."""
    counts = _counts(events)[:FIXED]
    usual, kept = COEFFICIENT_PROBABILITIES.ravel(), UPDATE_PROBABILITIES.ravel()
    total = counts.sum(axis=1)
    best = np.clip(np.rint(256 * counts[:, 0] / np.maximum(total, 1)), 1, 255).astype(np.int64)
    gains = (counts * (BIT_COSTS[usual] - BIT_COSTS[best])).sum(axis=1)
    gains -= 8 + BIT_COSTS[kept, 1] - BIT_COSTS[kept, 0]
    shape = COEFFICIENT_PROBABILITIES.shape
    return np.where(gains > 0, best, usual).reshape(shape), (gains > 0).reshape(shape)


def note_levels(modes: Modes) -> tuple[Events, npt.NDArray[np.bool_]]:
    """The events of all levels, and for each macroblock whether it has any: bool (rows, columns)."""
    rows, columns = modes.square.shape
    some: npt.NDArray[np.bool_] = np.asarray(modes.levels.any(axis=(2, 3)))
    above, left = np.zeros((columns, 9), np.int64), np.zeros(9, np.int64)
    room = np.empty(columns * _MOST, np.uint16)
    noted = []
    for row in range(rows):
        count = _note_row(modes.levels[row], modes.square[row], some[row], above, left, room)
        noted.append(room[:count].copy())
    return np.concatenate(noted), some


@compiled
def _note_row(
    levels: npt.NDArray[np.int16],
    square: npt.NDArray[np.uint8],
    some: npt.NDArray[np.bool_],
    above: npt.NDArray[np.int64],
    left: npt.NDArray[np.int64],
    out: Events,
) -> int:
    """Note the levels of a row of macroblocks: how many events there are.

    Args:
        levels: int16 (columns, 25, 16).
        square: uint8 (columns,): modes.
        some: bool (columns,): which macroblocks have levels other than 0.
        above: int64 (columns, 9): whether the blocks above have some; those of this row take their place.
        left: int64 (9,): room to work.
        out: uint16: the events.
    """
    at = 0
    left[:] = 0
    for column in range(len(square)):
        fine = square[column] == FINE_MODES
        if not some[column]:
            # A macroblock without DC coefficients of its own leaves that of its neighbours.
            kept = 8 if fine else 9
            above[column, :kept], left[:kept] = 0, 0
            continue
        if not fine:
            at = _note_block(levels[column, 24], COARSE_DC, above[column], left, 8, 8, out, at)
        for block in range(16):
            kind = FINE if fine else SQUARE
            at = _note_block(levels[column, block], kind, above[column], left, block % 4, block // 4, out, at)
        for block in range(8):
            over, beside = 4 + block // 4 * 2 + block % 2, 4 + block // 4 * 2 + block % 4 // 2
            at = _note_block(levels[column, 16 + block], CHROMA, above[column], left, over, beside, out, at)
    return at


@compiled
def _note_block(
    levels: npt.NDArray[np.int16],
    kind: int,
    above: npt.NDArray[np.int64],
    left: npt.NDArray[np.int64],
    over: int,
    beside: int,
    out: Events,
    at: int,
) -> int:
    """Note one block, of int16 (16,), from a place on: the place after."""
    start = 1 if kind == SQUARE else 0
    last = 15
    while last >= start and levels[last] == 0:
        last -= 1
    context = above[over] + left[beside]
    kept = 1 if last >= start else 0
    above[over], left[beside] = kept, kept
    follows = True
    for place in range(start, last + 1):
        base = 22 * (3 * (8 * kind + BANDS[place]) + context)
        size = abs(int(levels[place]))
        if follows:
            out[at] = base + 1
            at += 1
        category = -1
        while category < 5 and size >= CATEGORY_BASES[category + 1]:
            category += 1
        token = size if category < 0 else 5 + category
        for way in range(6):
            if TOKEN_TREE[token, way, 0] >= 0:
                out[at] = base + 2 * TOKEN_TREE[token, way, 0] + TOKEN_TREE[token, way, 1]
                at += 1
        if category >= 0:
            extra = size - CATEGORY_BASES[category]
            for bit in range(CATEGORY_BITS[category]):
                shift = CATEGORY_BITS[category] - 1 - bit
                out[at] = 2 * (FIXED + CATEGORY_PROBABILITIES[category, bit]) + (extra >> shift & 1)
                at += 1
        if size:
            out[at] = 2 * (FIXED + 128) + (1 if levels[place] < 0 else 0)
            at += 1
        follows = size > 0
        context = min(size, 2)
    if last < 15:
        out[at] = 22 * (3 * (8 * kind + BANDS[last + 1]) + context)
        at += 1
    return at


@compiled
def _counts(events: Events) -> npt.NDArray[np.int64]:
    """How often each probability meets a 0 and a 1: int64 (FIXED + 256, 2)."""
    counts = np.zeros((FIXED + 256, 2), np.int64)
    for event in events:
        counts[event >> 1, event & 1] += 1
    return counts


@compiled
def _code(events: Events, table: Probabilities, out: npt.NDArray[np.uint8]) -> int:
    """Code events with the probability that the table has for each: how many bytes there are."""
    low, width, missing, at = 0, 255, 24, 0
    for event in events:
        split = 1 + (((width - 1) * table[event >> 1]) >> 8)
        if event & 1:
            low += split
            width -= split
        else:
            width = split
        shift = _SHIFTS[width]
        width <<= shift
        low <<= shift
        missing -= shift
        if missing <= 0:
            kept = 24 - missing
            _put(out, at, low >> kept)
            at += 1
            low &= (1 << kept) - 1
            missing += 8
    # All that is left, and zeros that decoders may read ahead.
    low <<= missing
    for shift in (24, 16, 8, 0):
        _put(out, at, low >> shift if shift == 24 else low >> shift & 255)
        at += 1
    return at


@compiled
def _put(out: npt.NDArray[np.uint8], at: int, value: int) -> None:
    """Write a byte; its ninth bit is carried into those before."""
    out[at] = value & 255
    if value > 255:
        at -= 1
        while out[at] == 255:
            out[at] = 0
            at -= 1
        out[at] += 1
