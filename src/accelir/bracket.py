"""Bracket: where a rising size meets a wanted one, found by a bracketed secant."""

from __future__ import annotations

import numpy as np

__all__ = ["MARGIN", "Bracket"]

MARGIN = 0.0015
"""How far below the wanted size, in logarithm, the search aims, for a file must not exceed it."""

CLOSED = 0.002
"""How far apart, in logarithm, sizes are on both sides where nothing better is left."""

NARROW = 0.0002
"""The same of what the width of the bracket is expected to change."""

PLATEAU = 1.0
"""How far the same size again, as a logarithm of what was expected to change, tells that there is no other."""

FLATTEST = 0.05
"""By which factor the slope found may be less than the one that is expected."""

REPEATS = 3
"""How often the sizes on both sides are found again before there is none between them."""

ILLINOIS = 2
"""How often one side may stay before the bracket is halved."""

LEAST_SHARE = 0.1
"""Of the bracket that a step leaves on either side."""


class Bracket:
    """The last positions below and above the wanted size, each with its gap.

    Args:
        ends: Positions beyond which there is nothing to look for.
    """

    def __init__(self, ends: tuple[float, float] = (-np.inf, np.inf)) -> None:
        self.low: tuple[float, float] | None = None
        self.high: tuple[float, float] | None = None
        self.closed = False
        """Whether nothing better is left to find."""
        self._ends = ends
        self._last: tuple[float, float] | None = None
        self._alike_from = 0.0
        self._same_side = 0
        self._repeats = [0, 0]

    def add(self, position: float, gap: float, slope: float) -> float:
        """Take a size into account and say where to look next.

        Args:
            position: Where it was found.
            gap: Its logarithm over the wanted size.
            slope: About how that moves with the position.
        """
        last, self._last = self._last, (position, gap)
        enclosed = self.low is not None and self.high is not None
        if last is None or last[1] != gap:
            self._alike_from = position
        self._same_side = self._same_side + 1 if enclosed and last is not None and (last[1] > 0) == (gap > 0) else 0
        for at, side in enumerate((self.low, self.high)):
            self._repeats[at] += enclosed and side is not None and side[1] == gap
        if gap <= 0:
            self.low = (position, gap)
        else:
            self.high = (position, gap)
        if self.low is None or self.high is None:
            following = self._outwards(position, gap, last, slope)
        else:
            following = self._inwards(self.low, self.high, slope)
        following = min(max(following, self._ends[0]), self._ends[1])
        if following == position or (min(self._repeats) and sum(self._repeats) >= REPEATS):
            self.closed = True
        return following

    def _inwards(self, low: tuple[float, float], high: tuple[float, float], slope: float) -> float:
        width = high[0] - low[0]
        if high[1] - low[1] < CLOSED or abs(width) * slope < NARROW:
            self.closed = True
        below, above = low[1] + MARGIN, high[1] + MARGIN
        # Secants creep where one side stays: it counts half each time (the Illinois method), and then they are halved.
        part = 0.5**self._same_side
        below, above = (below, above * part) if self._last == low else (below * part, above)
        share = 0.5 if self._same_side > ILLINOIS else -below / (above - below)
        return low[0] + width * min(max(share, LEAST_SHARE), 1 - LEAST_SHARE)

    def _outwards(self, position: float, gap: float, last: tuple[float, float] | None, slope: float) -> float:
        if last is not None and last[0] != position:
            # Near the end of what a codec can do, sizes move much less than they mostly do.
            found = (gap - last[1]) / (position - last[0])
            slope = max(found, FLATTEST * slope) if 0 < found < slope / 2 else slope
        step = -(gap + (MARGIN if gap > 0 else 0.0)) / slope
        if last is not None and last[1] == gap:
            self.closed = abs(position - self._alike_from) * slope >= PLATEAU
            step = float(np.copysign(max(abs(step), 2 * abs(position - self._alike_from)), step))
        return position + step
