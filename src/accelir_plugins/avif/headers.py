"""What the headers of an AV1 still say of its quantisers (AV1 specification, 5.5 and 5.9)."""

from __future__ import annotations

from accelir.errors import DecodeError
from accelir_plugins import isobmff

__all__ = ["read_quantiser"]

_SEQUENCE, _FRAME_HEADER, _FRAME = 1, 3, 6

# Largest tile in pixels: a side, and an area.
_TILE_SIDE, _TILE_AREA = 4096, 4096 * 2304


def read_quantiser(data: bytes) -> tuple[int, bool]:
    """The index of the quantiser of a file, and whether superblocks may differ from it.

    Raises:
        DecodeError: It is no AVIF with one still picture of the reduced kind, as libavif writes them.
    """
    still = isobmff.read(data)
    stream = next((item.data for item in still.items if item.number == still.primary), b"")
    sequence: _Sequence | None = None
    at = 0
    while at < len(stream):
        kind, extended, sized = stream[at] >> 3 & 15, stream[at] >> 2 & 1, stream[at] >> 1 & 1
        at += 1 + extended
        length = len(stream) - at
        if sized:
            length, at = _leb128(stream, at)
        bits = _Bits(stream[at : at + length])
        at += length
        if kind == _SEQUENCE:
            sequence = _Sequence(bits)
        elif kind in (_FRAME_HEADER, _FRAME) and sequence is not None:
            return _quantiser(bits, sequence)
    raise DecodeError("An AV1 stream without a frame.")


class _Bits:
    """Numbers of so many bits, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __call__(self, count: int = 1) -> int:
        end = self._at + count
        if end > 8 * len(self._data):
            raise DecodeError("An AV1 header ends too soon.")
        first, last = self._at // 8, -(-end // 8)
        value = int.from_bytes(self._data[first:last], "big") >> (8 * last - end)
        self._at = end
        return value & (1 << count) - 1


class _Sequence:
    """The sequence header, as far as it matters to the frame's."""

    def __init__(self, bits: _Bits) -> None:
        profile = bits(3)
        bits()
        if not bits():
            raise DecodeError("An AV1 sequence of the kind for videos.")
        bits(5)
        width_bits, height_bits = bits(4) + 1, bits(4) + 1
        self.width, self.height = bits(width_bits) + 1, bits(height_bits) + 1
        self.superblock = 128 if bits() else 64
        bits(2)
        self.superres = bool(bits())
        bits(2)
        deep = bits()
        if profile == 2 and deep:
            bits()
        self.monochrome = profile != 1 and bool(bits())
        described = bits()
        codes = (bits(8), bits(8), bits(8)) if described else ()
        self.separate_chroma = False
        if self.monochrome:
            bits()
        elif codes != (1, 13, 0):
            bits()
            if profile == 0:
                bits(2)
            self.separate_chroma = bool(bits())


def _quantiser(bits: _Bits, sequence: _Sequence) -> tuple[int, bool]:
    """From the start of the frame header."""
    bits()
    screen_tools = bits()
    if screen_tools:
        # Whether motion vectors are whole, where that is told for each frame.
        bits()
    if sequence.superres and bits():
        raise DecodeError("An AV1 frame that is smaller than it is shown.")
    if bits():
        bits(32)
    if screen_tools:
        bits()
    _skip_tiles(bits, sequence)
    base = bits(8)
    differences = bits()
    if differences:
        bits(7)
    if not sequence.monochrome:
        both = bits() if sequence.separate_chroma else 0
        for _ in range(4 if both else 2):
            if bits():
                bits(7)
    if bits():
        bits(12 if sequence.separate_chroma else 8)
    if bits():
        raise DecodeError("An AV1 frame with segments.")
    return base, bool(base and bits())


def _skip_tiles(bits: _Bits, sequence: _Sequence) -> None:
    """How the frame is cut into tiles of one size."""
    if not bits():
        raise DecodeError("An AV1 frame with tiles of different sizes.")
    side = sequence.superblock
    columns, rows = -(-sequence.width // side), -(-sequence.height // side)
    least_columns = _doublings(_TILE_SIDE // side, columns)
    least = max(least_columns, _doublings(_TILE_AREA // side**2, rows * columns))
    across = _counted(bits, least_columns, _doublings(1, min(columns, 64)))
    down = _counted(bits, max(least - across, 0), _doublings(1, min(rows, 64)))
    if across or down:
        bits(across + down + 2)


def _counted(bits: _Bits, least: int, most: int) -> int:
    """A number told by ones and a zero."""
    while least < most and bits():
        least += 1
    return least


def _doublings(length: int, target: int) -> int:
    """How often a length is to be doubled to reach a target."""
    return max(0, (-(-target // length) - 1).bit_length())


def _leb128(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where it ends."""
    value = 0
    for index in range(8):
        if at >= len(data):
            break
        value |= (data[at] & 127) << 7 * index
        at += 1
        if not data[at - 1] & 128:
            return value, at
    raise DecodeError("An AV1 stream ends within a number.")
