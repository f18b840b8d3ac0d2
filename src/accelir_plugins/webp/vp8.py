"""The header of a VP8 key frame (RFC 6386, sections 9 and 19.2), and the tables of its quantisers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accelir.errors import DecodeError

__all__ = ["AC_STEPS", "Header", "read_header"]

# Section 14.1: the step of AC coefficients by quantiser index.
AC_STEPS = np.concatenate(
    [
        np.arange(4, 58),
        np.arange(58, 116, 2),
        np.arange(116, 173, 3),
        np.arange(173, 229, 4),
        [229, 234, 239, 245, 249, 254, 259, 264, 269, 274, 279, 284],
    ]
)

_START_CODE = b"\x9d\x01\x2a"


@dataclass(frozen=True)
class Header:
    """What a key frame says before its first block.

    Attributes:
        width: In pixels.
        height: In pixels.
        quantisers: Index of each of the four segments' quantiser, 0..127; all the same without segments.
        segments: Whether there are segments.
        filter_levels: Of the loop filter, for each segment, 0..63.
        sharpness: Of the loop filter, 0..7.
    """

    width: int
    height: int
    quantisers: tuple[int, ...]
    segments: bool
    filter_levels: tuple[int, ...]
    sharpness: int


class _BoolDecoder:
    """Section 7: whole values of equally likely bits, and the few others of a header."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 2
        self._value = int.from_bytes(data[:2].ljust(2, b"\0"), "big")
        self._range = 255
        self._shifted = 0

    def bit(self) -> int:
        split = (1 + ((self._range - 1) * 128 >> 8)) << 8
        bit = int(self._value >= split)
        if bit:
            self._value -= split
            self._range -= split >> 8
        else:
            self._range = split >> 8
        while self._range < 128:
            self._value <<= 1
            self._range <<= 1
            self._shifted += 1
            if self._shifted == 8:
                self._shifted = 0
                self._value |= self._data[self._at] if self._at < len(self._data) else 0
                self._at += 1
        return bit

    def number(self, bits: int) -> int:
        value = 0
        for _ in range(bits):
            value = value << 1 | self.bit()
        return value

    def signed(self, bits: int) -> int:
        """A flag, a magnitude and a sign; 0 without the flag."""
        if not self.bit():
            return 0
        magnitude = self.number(bits)
        return -magnitude if self.bit() else magnitude


def read_header(frame: bytes) -> Header:
    """Read the header of a key frame.

    Raises:
        DecodeError: It is none.
    """
    if len(frame) < 12 or frame[0] & 1 or frame[3:6] != _START_CODE:
        raise DecodeError(f"Not a VP8 key frame ({len(frame)} bytes).")
    width, height = (int.from_bytes(frame[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    bits = _BoolDecoder(frame[10:])
    bits.number(2)  # Colour space and clamping.
    absolute, quantisers, levels = False, [0] * 4, [0] * 4
    segments = bool(bits.bit())
    if segments:
        own_map, own_values = bits.bit(), bits.bit()
        if own_values:
            absolute = bool(bits.bit())
            quantisers = [bits.signed(7) for _ in range(4)]
            levels = [bits.signed(6) for _ in range(4)]
        if own_map:
            for _ in range(3):
                if bits.bit():
                    bits.number(8)
    bits.bit()  # The simple filter.
    level, sharpness = bits.number(6), bits.number(3)
    if bits.bit() and bits.bit():
        for _ in range(8):
            bits.signed(6)
    bits.number(2)  # Partitions.
    base = bits.number(7)
    return Header(
        width=width,
        height=height,
        quantisers=tuple(int(np.clip(value + (0 if absolute else base), 0, 127)) for value in quantisers),
        segments=segments,
        filter_levels=tuple(int(np.clip(value + (0 if absolute else level), 0, 63)) for value in levels),
        sharpness=sharpness,
    )
