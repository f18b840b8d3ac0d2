"""Tiles: the parts in which a network sees a large image, each with a margin that its output depends on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import isqrt

__all__ = ["TILE", "Span", "at_once", "margin_of", "side_for", "tiles"]

TILE = 512
"""Side of the tiles of an input, their margin not counted."""

WIDE = 64
"""Channels of the body from which on a CPU takes a large image in smaller tiles: it then asks for less memory at a
time, which may be had again without the system's help."""

WIDE_TILE = 224
"""Side of these tiles, for networks whose margin is an eighth of that or less."""

TILE_BYTES = 2**25
"""Of a tile in the body of a narrower network that does not enlarge, at most, on a CPU: its tiles are so large that the
margins, which are seen twice, are few. The C library of Linux asks the system anew for each block that is larger."""

GPU_OUTPUT = 2048
"""Side of what a GPU makes of a tile, which it takes larger ones to keep busy: a few GiB for wide networks."""

LOCAL_MARGIN = 64
"""Margin of the tiles of a network whose receptive field has no end."""

WHOLE_SIDE = 1024
"""Side of the tiles, at most, of a network whose receptive field has no end: what it sees less of, it judges worse."""

WHOLE_IMAGE = WHOLE_SIDE**2
"""Pixels up to which it sees the image whole."""


@dataclass(frozen=True)
class Span:
    """One side of a tile, in pixels of the input.

    Attributes:
        start: Of what the tile is for.
        stop: Its end.
        first: Of what the network sees: the margins too.
        last: Its end.
    """

    start: int
    stop: int
    first: int
    last: int

    @property
    def outer(self) -> slice:
        """What the network sees."""
        return slice(self.first, self.last)

    def scaled(self, scale: int) -> slice:
        """Where the tile goes in the output."""
        return slice(self.start * scale, self.stop * scale)

    def within(self, scale: int) -> slice:
        """Where that lies in what the network returns."""
        return slice((self.start - self.first) * scale, (self.stop - self.first) * scale)


def margin_of(receptive_field: int | None) -> int:
    """Pixels around a tile that its output depends on."""
    return LOCAL_MARGIN if receptive_field is None else receptive_field // 2 + 1


def side_for(
    device_type: str, receptive_field: int | None, scale: int, width: int, longest: int, itemsize: int = 2
) -> int | None:
    """Side of the tiles of an input on a device, for a network of so many channels; None for the usual.

    ``longest`` is the longest side of the input, ``itemsize`` the bytes of a number. Where the receptive field has no
    end, tiles change the result: they are the same on all devices.
    """
    if receptive_field is None:
        return None
    if device_type == "cpu":
        margin = margin_of(receptive_field)
        if width >= WIDE:
            return WIDE_TILE if 8 * margin <= WIDE_TILE and longest > TILE else None
        return max(isqrt(TILE_BYTES // (itemsize * width)) - 2 * margin, TILE) if width and scale == 1 else None
    return max(GPU_OUTPUT // scale, TILE)


def at_once(height: int, width: int, side: int | None = None) -> int:
    """How many inputs of one size are seen together: as many as make up a tile, the usual one or of ``side``."""
    return max(1, (side or TILE) ** 2 // (height * width))


def tiles(
    height: int, width: int, side: int | None, *, receptive_field: int | None, multiple: int
) -> Iterator[tuple[Span, Span]]:
    """The tiles of an image, row by row: the rows and the columns of each; see `accelir.network.IRNetwork.tiles`."""
    margin = -(-margin_of(receptive_field) // multiple) * multiple
    tall: Sequence[int]
    wide: Sequence[int]
    if side is None and receptive_field is None:
        whole = height * width <= WHOLE_IMAGE
        tall, wide = ([0], [0]) if whole else (_alike(height, multiple), _alike(width, multiple))
    else:
        tile = TILE if side is None else side
        step = max(tile - tile % multiple, multiple)
        tall, wide = range(0, height, step), range(0, width, step)
    for rows in _spans(tall, height, margin):
        for columns in _spans(wide, width, margin):
            yield rows, columns


def _alike(side: int, multiple: int) -> list[int]:
    """Where the parts of a side start, at multiples: of about one size, and as few as `WHOLE_SIDE` allows."""
    most, parts = max(WHOLE_SIDE, multiple), 1
    while True:
        starts = sorted({round(part * side / parts / multiple) * multiple for part in range(parts)})
        if all(stop - start <= most for start, stop in pairwise([*starts, side])):
            return starts
        parts += 1


def _spans(starts: Sequence[int], side: int, margin: int) -> list[Span]:
    return [
        Span(start, stop, max(start - margin, 0), min(stop + margin, side)) for start, stop in pairwise([*starts, side])
    ]
