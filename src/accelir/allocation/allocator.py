"""Allocator: the contract of what picks the levels."""

from __future__ import annotations

from abc import ABC, abstractmethod

from accelir.codec import LevelMap
from accelir.profiling.estimate import Estimate

__all__ = ["Allocator"]


class Allocator(ABC):
    """Picks a level for every block."""

    @abstractmethod
    def allocate(self, estimate: Estimate, bits: int) -> LevelMap:
        """The levels with the least foreseen restored error within a size.

        Args:
            estimate: Groups and their curves.
            bits: For all blocks together, overhead not counted. Fewer than the coarsest levels take gives the
                coarsest levels.

        Returns:
            int32 (rows, cols).
        """
