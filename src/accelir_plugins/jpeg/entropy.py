"""Huffman coding: counting symbols, optimal codes of at most 16 bits, and the scan itself.

Symbols are those of the standard (ISO/IEC 10918-1, F.1.2): the size of a DC difference; run * 16 + size of an AC
coefficient; 0 for the end of a block and 0xF0 for sixteen zeros.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from accelir.threads import ranges, together
from accelir_plugins.compiled import compiled
from accelir_plugins.jpeg.transform import Layout

__all__ = [
    "Code",
    "Scan",
    "choose_codes",
    "code_cost",
    "code_lengths",
    "coded_bits",
    "count_symbols",
    "magnitude_bits",
    "make_code",
    "put",
    "sequential_scan",
]

_LONGEST = 16
# Of the magnitudes that are usual.
_BITS = np.array([value.bit_length() for value in range(2048)], dtype=np.int64)
# Units that one thread counts at a time.
_AT_ONCE = 8192
# Coefficients that are skipped together where all are zero.
_QUAD = 4


@dataclass(frozen=True)
class Code:
    """A Huffman code.

    Attributes:
        lengths: int64 (256,): bits of each symbol's code word; 0 where it has none.
        words: int64 (256,): the code words.
        symbols: Those with a code word, in the order of the code words.
        counts: Code words of 1 to 16 bits.
    """

    lengths: npt.NDArray[np.int64]
    words: npt.NDArray[np.int64]
    symbols: bytes
    counts: bytes


@dataclass(frozen=True)
class Scan:
    """One scan: some coefficients of some components.

    Attributes:
        components: 0, 1, 2.
        first: Zigzag index of its first coefficient.
        last: Of its last one.
        dc: The codes of DC differences: one each for luma and chroma, one for both, or none.
        ac: Likewise for AC coefficients.
        segments: The entropy-coded segments, one for each restart interval, stuffed and padded.
        restart_interval: MCUs of this scan in each segment but the last.
    """

    components: tuple[int, ...]
    first: int
    last: int
    dc: tuple[Code, ...]
    ac: tuple[Code, ...]
    segments: list[bytes]
    restart_interval: int


def count_symbols(quantised: npt.NDArray[np.int16], form: Layout) -> npt.NDArray[np.int64]:
    """How often each symbol occurs.

    In a sample the first DC levels of a run differ from those before as they would not in the image: the other
    differences stand for theirs.

    Args:
        quantised: int16 (units, parts, 64), zigzag.
        form: The layout of its parts.

    Returns:
        int64 (2, 2, 256): by (DC, AC), by (luma, chroma), by symbol.
    """
    last_parts = [int(np.flatnonzero(form.component_of_part == part)[-1]) for part in range(form.components)]
    jobs, found = [], []
    for interval in form.intervals:
        for piece in ranges(interval.stop - interval.start, _AT_ONCE):
            units = slice(interval.start + piece.start, interval.start + piece.stop)
            # DC levels that the first differences are taken to: zero where an interval begins.
            before = np.zeros(3, dtype=np.int64)
            if piece.start:
                before[: form.components] = quantised[units.start - 1, last_parts, 0]
            own = np.zeros((2, 2, 256), dtype=np.int64)
            part = quantised[units]
            jobs.append(functools.partial(_count, part, in_quads(part), form.component_of_part, before, own))
            found.append(own)
    together(jobs)
    counts = np.sum(found, axis=0)
    if form.run:
        counts[0] = np.rint((counts[0] - _at_joints(quantised, form)) * _over_those_within(form)[:, None])
    return counts


def _at_joints(quantised: npt.NDArray[np.int16], form: Layout) -> npt.NDArray[np.int64]:
    """The symbols of the first DC differences of runs: int64 (2, 256), by (luma, chroma)."""
    counts = np.zeros((2, 256), np.int64)
    joints = np.arange(0, len(quantised), form.run)
    levels = quantised[:, :, 0].astype(np.int64)
    for component in range(form.components):
        parts = np.flatnonzero(form.component_of_part == component)
        differences = levels[joints, parts[0]]
        differences[1:] -= levels[joints[1:] - 1, parts[-1]]
        np.add.at(counts[min(component, 1)], [magnitude_bits(int(value)) for value in np.abs(differences)], 1)
    return counts


def _over_those_within(form: Layout) -> npt.NDArray[np.float64]:
    """All DC levels of a run over those that are not first: float64 (2,), of luma and of chroma."""
    luma, chroma = form.run * int((form.component_of_part == 0).sum()), form.run
    return np.array([luma / (luma - 1), chroma / (chroma - 1)])


def choose_codes(counts: npt.NDArray[np.int64], colour: bool) -> tuple[Code, ...]:
    """The codes that make the smallest file: luma and chroma share one where that costs less than a second table.

    Args:
        counts: int64 (2, 256): how often each symbol occurs in luma and in chroma.
        colour: Whether there is chroma.
    """
    if not colour:
        return (make_code(counts[0]),)
    separate = (make_code(counts[0]), make_code(counts[1]))
    joint = make_code(counts.sum(axis=0))
    apart = sum(code_cost(code, own) for code, own in zip(separate, counts, strict=True))
    return (joint,) if code_cost(joint, counts.sum(axis=0)) <= apart else separate


def coded_bits(counts: npt.NDArray[np.int64], dc: tuple[Code, ...], ac: tuple[Code, ...]) -> int:
    """Bits of a sequential scan without its tables, stuffing and padding, from its symbols alone.

    Args:
        counts: int64 (2, 2, 256), as `count_symbols` returns.
        dc: The codes of DC differences, as `choose_codes` returns.
        ac: Of AC coefficients.
    """
    total = 0
    for codes, kind in zip((dc, ac), counts, strict=True):
        for code, own in zip((codes[0], codes[-1]), kind, strict=True):
            # The low four bits of a symbol say how many bits its value takes.
            total += int((own * (code.lengths + (np.arange(256) & 15))).sum())
    return total


def sequential_scan(quantised: npt.NDArray[np.int16], form: Layout) -> tuple[Scan, npt.NDArray[np.int64]]:
    """The only scan of a sequential file.

    Args:
        quantised: int16 (units, parts, 64), zigzag.
        form: The layout of its parts.

    Returns:
        The scan, and int64 (units,): the bits of each unit without stuffing and padding.
    """
    colour = form.components == 3
    counts = count_symbols(quantised, form)
    dc, ac = (choose_codes(kind, colour) for kind in counts)
    lengths = np.stack([np.stack([pair[0].lengths, pair[-1].lengths]) for pair in (dc, ac)])
    words = np.stack([np.stack([pair[0].words, pair[-1].words]) for pair in (dc, ac)])
    bits = np.zeros(len(quantised), dtype=np.int64)
    # Stuffing doubles the bytes at worst.
    room = np.empty(2 * (coded_bits(counts, dc, ac) // 8 + 8), dtype=np.uint8)
    segments = []
    for interval in form.intervals:
        own = quantised[interval]
        used = _write(own, in_quads(own), form.component_of_part, lengths, words, room, bits[interval])
        segments.append(room[:used].tobytes())
    return Scan(tuple(range(form.components)), 0, 63, dc, ac, segments, form.interval_rows * form.columns), bits


def code_lengths(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The lengths of an optimal prefix code of at most 16 bits that leaves the word of all ones free.

    The package-merge algorithm of Larmore and Hirschberg, "A fast algorithm for optimal length-limited Huffman codes"
    (1990); the procedure of Annex K.2 is its approximation. The free word is a symbol that never occurs.

    Args:
        counts: int64 (n,): how often each of at most 256 symbols occurs.

    Returns:
        int64 (n,): the length of each symbol's word; 0 for those that do not occur.
    """
    used = np.flatnonzero(counts)
    order = used[np.argsort(counts[used], kind="stable")]
    lengths = np.zeros(len(counts), dtype=np.int64)
    weights = np.concatenate([np.zeros(1, dtype=np.int64), counts[order]])
    lengths[order] = _package_merge(weights)[1:]
    return lengths


def make_code(counts: npt.NDArray[np.int64]) -> Code:
    """The optimal code for symbols that occur this often: int64 (256,)."""
    if not counts.any():
        # A table without symbols is legal but unusual: give it one.
        counts = counts.copy()
        counts[0] = 1
    lengths = code_lengths(counts)
    used = np.flatnonzero(lengths)
    symbols = used[np.argsort(lengths[used], kind="stable")]
    words = np.zeros(256, dtype=np.int64)
    word = previous = 0
    for symbol in symbols.tolist():
        length = int(lengths[symbol])
        word <<= length - previous
        words[symbol] = word
        word, previous = word + 1, length
    per_length = np.bincount(lengths[used], minlength=_LONGEST + 1)[1:]
    return Code(lengths, words, symbols.astype(np.uint8).tobytes(), per_length.astype(np.uint8).tobytes())


def code_cost(code: Code, counts: npt.NDArray[np.int64]) -> int:
    """Bits of all code words and of the table itself."""
    return int((counts * code.lengths).sum()) + 8 * (1 + len(code.counts) + len(code.symbols))


@compiled
def _package_merge(weights: Any) -> Any:
    """Lengths for ascending weights; the first (lightest) leaf gets the longest word."""
    leaves = len(weights)
    is_leaf = np.zeros((_LONGEST, 2 * leaves), dtype=np.bool_)
    current = weights.copy()
    is_leaf[0, :leaves] = True
    for level in range(1, _LONGEST):
        packages = len(current) // 2
        merged = np.empty(leaves + packages, dtype=np.int64)
        leaf, package = 0, 0
        for index in range(leaves + packages):
            weight = current[2 * package] + current[2 * package + 1] if package < packages else 0
            if package == packages or (leaf < leaves and weights[leaf] <= weight):
                merged[index] = weights[leaf]
                is_leaf[level, index] = True
                leaf += 1
            else:
                merged[index] = weight
                package += 1
        current = merged
    lengths = np.zeros(leaves, dtype=np.int64)
    take = 2 * leaves - 2
    for level in range(_LONGEST - 1, -1, -1):
        chosen = 0
        for index in range(take):
            chosen += is_leaf[level, index]
        for index in range(chosen):
            lengths[index] += 1
        take = 2 * (take - chosen)
    return lengths


@compiled
def magnitude_bits(value: int) -> int:
    """The number of bits of a magnitude."""
    if value < len(_BITS):
        return int(_BITS[value])
    size = 0
    while value > 0:
        value >>= 1
        size += 1
    return size


def in_quads(quantised: npt.NDArray[np.int16]) -> npt.NDArray[np.int64]:
    """The same memory, four coefficients a number: int64 (units, parts, 16)."""
    return quantised.view(np.int64)


@compiled
def _count(quantised: Any, quads: Any, component_of_part: Any, previous: Any, counts: Any) -> None:
    for unit in range(quantised.shape[0]):
        for part in range(quantised.shape[1]):
            component = component_of_part[part]
            table = min(component, 1)
            block = quantised[unit, part]
            own = counts[1, table]
            counts[0, table, magnitude_bits(abs(block[0] - previous[component]))] += 1
            previous[component] = block[0]
            last = 0
            for quad in range(16):
                if quads[unit, part, quad] == 0:
                    continue
                for k in range(max(1, _QUAD * quad), _QUAD * quad + _QUAD):
                    if block[k] != 0:
                        run = k - last - 1
                        own[0xF0] += run >> 4
                        own[(run & 15) << 4 | magnitude_bits(abs(block[k]))] += 1
                        last = k
            if last < 63:
                own[0] += 1


@compiled
def put(room: Any, used: int, pending: int, waiting: int, word: int, length: int) -> tuple[int, int, int]:
    """Append a word of ``length`` bits; whole bytes go to ``room``, each 0xFF followed by a zero."""
    pending = (pending << length) | word
    waiting += length
    while waiting >= 8:
        waiting -= 8
        byte = (pending >> waiting) & 0xFF
        room[used] = byte
        used += 1
        if byte == 0xFF:
            room[used] = 0
            used += 1
    return used, pending & ((1 << waiting) - 1), waiting


@compiled
def _put_coded(
    room: Any, used: int, pending: int, waiting: int, word: int, length: int, value: int, size: int
) -> tuple[int, int, int]:
    """Append a code word and the low bits of a value; negative ones as their one's complement (F.1.2.1.1)."""
    low = value if value >= 0 else value + (1 << size) - 1
    return put(room, used, pending, waiting, word << size | low, length + size)


@compiled
def _write(quantised: Any, quads: Any, component_of_part: Any, lengths: Any, words: Any, room: Any, bits: Any) -> int:
    """Code a restart interval into ``room``, and the bits of each of its units into ``bits``."""
    previous = np.zeros(3, dtype=np.int64)
    used, pending, waiting = 0, 0, 0
    for unit in range(quantised.shape[0]):
        total = 0
        for part in range(quantised.shape[1]):
            component = component_of_part[part]
            table = min(component, 1)
            block = quantised[unit, part]
            length_of, word_of = lengths[1, table], words[1, table]
            difference = int(block[0]) - previous[component]
            previous[component] = block[0]
            size = magnitude_bits(abs(difference))
            length = lengths[0, table, size]
            used, pending, waiting = _put_coded(
                room, used, pending, waiting, words[0, table, size], length, difference, size
            )
            total += length + size
            last = 0
            for quad in range(16):
                if quads[unit, part, quad] == 0:
                    continue
                for k in range(max(1, _QUAD * quad), _QUAD * quad + _QUAD):
                    if block[k] == 0:
                        continue
                    run = k - last - 1
                    last = k
                    while run > 15:
                        used, pending, waiting = put(room, used, pending, waiting, word_of[0xF0], length_of[0xF0])
                        total += length_of[0xF0]
                        run -= 16
                    size = magnitude_bits(abs(block[k]))
                    symbol = run << 4 | size
                    length = length_of[symbol]
                    used, pending, waiting = _put_coded(
                        room, used, pending, waiting, word_of[symbol], length, int(block[k]), size
                    )
                    total += length + size
            if last < 63:
                used, pending, waiting = put(room, used, pending, waiting, word_of[0], length_of[0])
                total += length_of[0]
        bits[unit] = total
    if waiting > 0:
        spare = 8 - waiting
        used, pending, waiting = put(room, used, pending, waiting, (1 << spare) - 1, spare)
    return used
