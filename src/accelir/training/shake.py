"""Blurred pairs drawn as the training goes, from kernels that grow in number with what the network has learned.

A network that is shown every camera shake at once stays at the identity: it must tell the kernel before it can undo it,
and a step towards the one without the other lowers no loss. (Measured: +0.3 dB after 1,600 steps, whatever the
architecture, rate or extent of the blur.) One kernel is undone within 400 steps, and from there each further kernel is
a small step: +1.4 dB over 15 kernels after 6,000.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from accelir.errors import InvalidInputError
from accelir.tasks import Deblur, camera_shake_kernel
from accelir.training.data import Compressor, compress_randomly

__all__ = ["ShakePairs"]

Array = npt.NDArray[np.uint8]


class ShakePairs:
    """A source of training batches for deblurring, with a curriculum.

    It begins with the first kernel. Whenever the network's gain over the blurred input has come to ``threshold``, a
    third more kernels join. From three quarters of them on, three inputs in ten are blurred by trajectories never seen
    before, and inputs are compressed as often as not.

    Args:
        references: uint8 (N, side, side, 3), sharp.
        kernels: float32 (h, w) with odd sides, each summing to 1; unlike ones first.
        task: Draws the trajectories and the noise.
        compress: What stores the inputs.
        threshold: dB of gain at which more kernels join; half of it once inputs are compressed.

    Attributes:
        known: How many kernels are in use.
    """

    margin = 24
    """Pixels of a reference around a crop that the blur may reach into."""

    def __init__(
        self,
        references: Array,
        kernels: Sequence[npt.NDArray[np.float32]],
        task: Deblur,
        *,
        compress: Compressor = compress_randomly,
        threshold: float = 1.2,
    ) -> None:
        largest = max(max(kernel.shape) for kernel in kernels)
        if largest > 2 * self.margin + 1:
            raise InvalidInputError(f"Blur kernels reach up to {2 * self.margin + 1} pixels a side; got {largest}.")
        self.references = references
        self.kernels = list(kernels)
        self.task = task
        self.compress = compress
        self.threshold = threshold
        self.known = 1
        self._gain = 0.0
        self._since = 0

    @property
    def opened(self) -> bool:
        """Whether unseen trajectories and compressed inputs are drawn yet."""
        return self.known >= 0.75 * len(self.kernels)

    def batch(self, rng: np.random.Generator, count: int, patch: int) -> tuple[Array, Array]:
        """``count`` inputs and references, uint8 (count, patch, patch, 3); ``patch`` a multiple of 16."""
        inputs = np.empty((count, patch, patch, 3), np.uint8)
        references = np.empty_like(inputs)
        outer = patch + 2 * self.margin
        inner = slice(self.margin, self.margin + patch)
        for row in range(count):
            reference = self.references[int(rng.integers(len(self.references)))]
            y, x = rng.integers(reference.shape[0] - outer + 1, size=2)
            reference = np.rot90(reference[y : y + outer, x : x + outer], int(rng.integers(4)))
            reference = reference[:, :: int(rng.choice((1, -1)))]
            if self.opened and rng.random() < 0.3:
                kernel = camera_shake_kernel(rng, self.task.extent)
            else:
                kernel = self.kernels[int(rng.integers(self.known))]
            image = np.ascontiguousarray(self.task.degrade_with(reference, kernel, rng)[inner, inner])
            inputs[row] = self.compress(image, self.task, rng) if self.opened and rng.random() < 0.6 else image
            references[row] = reference[inner, inner]
        return inputs, references

    def feedback(self, gain: float) -> None:
        """Hear the gain in dB of the network over a batch, and grow when it is time."""
        self._gain = 0.99 * self._gain + 0.01 * gain
        self._since += 1
        wanted = self.threshold * (0.5 if self.opened else 1)
        if self._gain > wanted and self._since > 60 and self.known < len(self.kernels):
            self.known = min(len(self.kernels), self.known + self.known // 3 + 1)
            self._gain *= 0.6
            self._since = 0

    def state(self) -> dict[str, Any]:
        """How far the curriculum has come."""
        return {"known": self.known, "gain": self._gain, "since": self._since}

    def restore_state(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self.known, self._gain, self._since = state["known"], state["gain"], state["since"]
