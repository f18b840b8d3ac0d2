"""Estimate: what encoding goes by for one image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from accelir.codec import Sensitivity
from accelir.errors import InvalidInputError

__all__ = ["Curves", "Estimate"]


@dataclass(frozen=True, eq=False)
class Curves:
    """How size and restored error of a group's blocks move with the level.

    Attributes:
        size: float64 (G, L): bits per block, not decreasing along L.
        error: float64 (G, L): summed squared restored error (RGB, 0..255) per block, not increasing along L.
    """

    size: npt.NDArray[np.float64]
    error: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.size.ndim != 2 or self.size.shape != self.error.shape:
            raise InvalidInputError(
                f"Curves are two arrays of the same shape (G, L); got {self.size.shape} and {self.error.shape}."
            )
        if not (np.isfinite(self.size).all() and np.isfinite(self.error).all()):
            raise InvalidInputError("Curves hold a value that is not finite.")


@dataclass(frozen=True, eq=False)
class Estimate:
    """What encoding goes by for one image.

    Attributes:
        groups: int (rows, cols): the group of every block.
        curves: Of the groups.
        sensitivity: float32 (rows, cols, K), or None: plain squared error.
    """

    groups: npt.NDArray[np.int32]
    curves: Curves
    sensitivity: Sensitivity | None = None

    def __post_init__(self) -> None:
        integers = np.issubdtype(self.groups.dtype, np.integer)
        if not integers or self.groups.ndim != 2 or self.groups.min() < 0 or self.groups.max() >= len(self.curves.size):
            raise InvalidInputError(
                f"Groups are an int (rows, cols) map of 0..{len(self.curves.size) - 1}, as many as there are curves."
            )
        if self.sensitivity is not None and (
            self.sensitivity.ndim != 3
            or self.sensitivity.shape[:2] != self.groups.shape
            or not (self.sensitivity.min() >= 0 and self.sensitivity.max() < np.inf)
        ):
            raise InvalidInputError(
                f"Sensitivity is finite, at least 0 and of shape {self.groups.shape} x K; got {self.sensitivity.shape}."
            )
