"""Progressive files: DC coefficients first, then bands of AC coefficients, one component after the other (Annex G).

They are smaller because one symbol ends a band in up to 32767 blocks, and because every band has a code of its own. All
bits of a coefficient are sent at once: successive approximation serves those who watch a picture arrive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from accelir_plugins.compiled import compiled
from accelir_plugins.jpeg.entropy import Code, Scan, choose_codes, code_cost, magnitude_bits, make_code, put
from accelir_plugins.jpeg.transform import Layout

__all__ = ["scans"]

_LONGEST_RUN = 0x7FFF
# Where a second band may begin: tried, and the cheapest kept.
_SPLITS = (3, 6, 10, 15)
_SCAN_HEADER = 8 * (2 + 2 + 6 + 2 + 2 + 1)
# A marker, and the padding before it.
_RESTART = 16 + 4


class _Tokens(NamedTuple):
    """What a scan says in one restart interval, before it is Huffman coded; all of one length.

    Attributes:
        symbol: uint8.
        value: int64: the bits after the symbol's code word.
        size: uint8: how many they are.
        owner: int64: the unit of the interval that they belong to.
        chroma: uint8: 1 where the second code applies.
    """

    symbol: npt.NDArray[np.uint8]
    value: npt.NDArray[np.int64]
    size: npt.NDArray[np.uint8]
    owner: npt.NDArray[np.int64]
    chroma: npt.NDArray[np.uint8]


def scans(quantised: npt.NDArray[np.int16], form: Layout) -> tuple[list[Scan], npt.NDArray[np.int64]]:
    """The scans of a progressive file.

    Args:
        quantised: int16 (units, parts, 64), zigzag.
        form: The layout of its parts.

    Returns:
        The scans in the order of the file, and int64 (units,): the bits of each unit without stuffing and padding; the
        bits of a run of empty blocks count for the last of them.
    """
    bits = np.zeros(len(quantised), dtype=np.int64)
    tokens = [_dc_tokens(quantised[interval], form) for interval in form.intervals]
    dc = choose_codes(np.stack([_counts(tokens, 0), _counts(tokens, 1)]), form.components == 3)
    segments = _write(tokens, dc, form, bits)
    found = [Scan(tuple(range(form.components)), 0, 0, dc, (), segments, form.interval_rows * form.columns)]
    for component in range(form.components):
        pieces = [_blocks(quantised, form, component, interval) for interval in form.intervals]
        for first, last, tokens, code in _bands(pieces):
            segments = _write(tokens, (code,), form, bits)
            found.append(Scan((component,), first, last, (), (code,), segments, len(pieces[0][0])))
    return found, bits


def _bands(
    pieces: Sequence[tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]],
) -> list[tuple[int, int, list[_Tokens], Code]]:
    """The cheapest division of a component's AC coefficients into one band or two."""

    def band(first: int, last: int) -> tuple[int, tuple[int, int, list[_Tokens], Code]]:
        tokens = [_ac_tokens(blocks, owners, first, last) for blocks, owners in pieces]
        counts = _counts(tokens, 0)
        code = make_code(counts)
        cost = code_cost(code, counts) + sum(int(part.size.sum()) for part in tokens)
        return cost + _SCAN_HEADER + _RESTART * (len(tokens) - 1), (first, last, tokens, code)

    choices = [[band(1, 63)], *([band(1, split - 1), band(split, 63)] for split in _SPLITS)]
    best = min(choices, key=lambda bands: sum(cost for cost, _ in bands))
    return [entry for _, entry in best]


def _blocks(
    quantised: npt.NDArray[np.int16], form: Layout, component: int, interval: slice
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int64]]:
    """The blocks of a component in raster order, without those that only fill up units, and the unit of each.

    Both are those of one restart interval.
    """
    quantised = quantised[interval]
    rows = len(quantised) // form.columns
    parts = np.flatnonzero(form.component_of_part == component)
    across, down = form.sampling(component)
    shape = (rows, form.columns, down, across)
    owners = np.broadcast_to(np.arange(len(quantised)).reshape(rows, form.columns, 1, 1), shape)
    real = form.real[interval][:, parts].reshape(shape).transpose(0, 2, 1, 3).ravel()
    grid = quantised[:, parts].reshape(*shape, 64).transpose(0, 2, 1, 3, 4).reshape(-1, 64)
    return np.ascontiguousarray(grid[real]), owners.transpose(0, 2, 1, 3).ravel()[real]


def _counts(tokens: Sequence[_Tokens], chroma: int) -> npt.NDArray[np.int64]:
    counts = np.zeros(256, dtype=np.int64)
    for part in tokens:
        counts += np.bincount(part.symbol[part.chroma == chroma], minlength=256)
    return counts


def _write(
    tokens: Sequence[_Tokens], codes: tuple[Code, ...], form: Layout, bits: npt.NDArray[np.int64]
) -> list[bytes]:
    """The entropy-coded segments; adds to the bits of each unit."""
    lengths = np.stack([codes[0].lengths, codes[-1].lengths])
    words = np.stack([codes[0].words, codes[-1].words])
    segments = []
    for part, interval in zip(tokens, form.intervals, strict=True):
        spent = lengths[part.chroma, part.symbol] + part.size
        own_bits = bits[interval]
        own_bits += np.bincount(part.owner, weights=spent, minlength=len(own_bits)).astype(np.int64)
        room = np.empty(2 * (int(spent.sum()) // 8 + 8), dtype=np.uint8)
        used = _put_tokens(part.symbol, part.value, part.size, part.chroma, lengths, words, room)
        segments.append(room[:used].tobytes())
    return segments


def _dc_tokens(quantised: npt.NDArray[np.int16], form: Layout) -> _Tokens:
    count = quantised.shape[0] * quantised.shape[1]
    tokens = _room(count)
    _tokenise_dc(quantised, form.component_of_part, *tokens)
    return tokens


def _ac_tokens(blocks: npt.NDArray[np.int16], owners: npt.NDArray[np.int64], first: int, last: int) -> _Tokens:
    # A run of sixteen zeros stands in for at most one sixteenth of the coefficients; runs of blocks for the rest.
    longest = int(np.count_nonzero(blocks[:, first : last + 1])) + (1 + (last - first) // 16) * len(blocks) + 1
    tokens = _room(longest)
    used = _tokenise_ac(blocks, owners, first, last, *tokens)
    return _Tokens(
        tokens.symbol[:used], tokens.value[:used], tokens.size[:used], tokens.owner[:used], tokens.chroma[:used]
    )


def _room(count: int) -> _Tokens:
    return _Tokens(
        np.zeros(count, np.uint8),
        np.zeros(count, np.int64),
        np.zeros(count, np.uint8),
        np.zeros(count, np.int64),
        np.zeros(count, np.uint8),
    )


@compiled
def _tokenise_dc(
    quantised: Any, component_of_part: Any, symbol: Any, value: Any, size: Any, owner: Any, chroma: Any
) -> None:
    previous = np.zeros(3, dtype=np.int64)
    at = 0
    for unit in range(quantised.shape[0]):
        for part in range(quantised.shape[1]):
            component = component_of_part[part]
            difference = quantised[unit, part, 0] - previous[component]
            previous[component] = quantised[unit, part, 0]
            bits = magnitude_bits(abs(difference))
            symbol[at] = bits
            value[at] = difference if difference >= 0 else difference + (1 << bits) - 1
            size[at] = bits
            owner[at] = unit
            chroma[at] = min(component, 1)
            at += 1


@compiled
def _tokenise_ac(
    blocks: Any, owners: Any, first: int, last: int, symbol: Any, value: Any, size: Any, owner: Any, chroma: Any
) -> int:
    at = 0
    ended = 0
    for block in range(blocks.shape[0] + 1):
        finish = first - 1
        if block < blocks.shape[0]:
            for k in range(last, first - 1, -1):
                if blocks[block, k] != 0:
                    finish = k
                    break
        # A run of ended blocks is told where the next coefficient comes, at the end, and before it grows too long.
        if ended > 0 and (finish >= first or block == blocks.shape[0] or ended == _LONGEST_RUN):
            bits = magnitude_bits(ended) - 1
            symbol[at] = bits << 4
            value[at] = ended - (1 << bits)
            size[at] = bits
            owner[at] = owners[block - 1]
            at += 1
            ended = 0
        if block == blocks.shape[0]:
            break
        before = first - 1
        for k in range(first, finish + 1):
            level = int(blocks[block, k])
            if level == 0:
                continue
            run = k - before - 1
            while run > 15:
                symbol[at] = 0xF0
                owner[at] = owners[block]
                at += 1
                run -= 16
            bits = magnitude_bits(abs(level))
            symbol[at] = run << 4 | bits
            value[at] = level if level >= 0 else level + (1 << bits) - 1
            size[at] = bits
            owner[at] = owners[block]
            at += 1
            before = k
        if finish < last:
            ended += 1
    return at


@compiled
def _put_tokens(symbol: Any, value: Any, size: Any, chroma: Any, lengths: Any, words: Any, room: Any) -> int:
    used, pending, waiting = 0, 0, 0
    for at in range(len(symbol)):
        table = chroma[at]
        used, pending, waiting = put(room, used, pending, waiting, words[table, symbol[at]], lengths[table, symbol[at]])
        used, pending, waiting = put(room, used, pending, waiting, value[at], size[at])
    if waiting > 0:
        spare = 8 - waiting
        used, pending, waiting = put(room, used, pending, waiting, (1 << spare) - 1, spare)
    return used
