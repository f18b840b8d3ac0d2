"""The task: pictures darkened by a gamma."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accelir import InvalidInputError, Task


class Gamma(Task):
    """Undoing a gamma that was applied once too often.

    Args:
        gamma: More than 1: the larger, the darker.
    """

    def __init__(self, gamma: float = 2.2) -> None:
        if not gamma > 1:
            raise InvalidInputError(f"A gamma that darkens is more than 1; got {gamma}.")
        self.gamma = float(gamma)
        self.name = "gamma" if gamma == 2.2 else f"gamma-{gamma:g}"

    def degrade(self, reference: npt.NDArray[np.uint8], rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        table = np.rint(255 * (np.arange(256) / 255) ** self.gamma).astype(np.uint8)
        return table[reference]
