"""Bracket: where a rising size meets a wanted one, found by a bracketed secant."""

from __future__ import annotations

import numpy as np

__all__ = ["CLOSED", "MARGIN", "Bracket"]

MARGIN = 0.0015
"""How far below the wanted size, in logarithm, the search aims, for a file must not exceed it."""

CLOSED = 1e-3
"""Width of a bracket in which nothing better is expected."""

REPEATS = 2
"""How often the same size again, `FAR` from the one before, tells that there is no other on this side."""

FAR = 0.25
"""Nearer by, sizes may well be alike."""

FLATTEST = 0.05
"""By which factor the slope found may be less than the one that is expected."""


class Bracket:
    """The nearest positions below and above the wanted size, each with its gap."""

    def __init__(self) -> None:
        self.low: tuple[float, float] | None = None
        self.high: tuple[float, float] | None = None
        self._last: tuple[float, float] | None = None
        self._repeats = 0

    @property
    def closed(self) -> bool:
        """Whether nothing better is left to find."""
        if self._repeats >= REPEATS:
            return True
        return self.low is not None and self.high is not None and self.high[0] - self.low[0] < CLOSED

    def add(self, position: float, gap: float, slope: float) -> float:
        """Take a size into account and say where to look next.

        Args:
            position: Where it was found.
            gap: Its logarithm over the wanted size.
            slope: About how that moves with the position.
        """
        if gap <= 0:
            self.low = (position, gap)
        else:
            self.high = (position, gap)
        last, self._last = self._last, (position, gap)
        alike = last is not None and last[1] == gap and abs(last[0] - position) > FAR
        self._repeats = self._repeats + 1 if alike else 0
        if self.low is None or self.high is None:
            if last is not None and last[0] != position:
                # Near the end of what a codec can do, sizes move much less than they mostly do.
                found = (gap - last[1]) / (position - last[0])
                slope = max(found, FLATTEST * slope) if 0 < found < slope / 2 else slope
            return position - (gap + float(np.sign(gap)) * MARGIN) / slope if gap > 0 else position - gap / slope
        aim = -MARGIN - self.low[1]
        share = aim / (self.high[1] - self.low[1])
        return self.low[0] + (self.high[0] - self.low[0]) * min(max(share, 0.1), 0.9)
