"""Blurred pairs drawn as the training goes, and the two helps without which a network does not learn to deblur.

A network that is shown every camera shake at once stays at the identity: it must tell the kernel before it can undo it,
and a step towards the one without the other lowers no loss. (Measured: +0.1 dB after 750 steps, and a head asked for
the kernel's name does no better than chance.) Two helps get it off the ground: *point lights*, single bright or dark
pixels set into the sharp picture, which show the kernel as it is; and `KernelNaming`, which asks the network's
coarsest features which kernel it was. Both fall away: the lights as the training goes, the head at its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from accelir.errors import InvalidInputError
from accelir.tasks import Deblur, camera_shake_kernel
from accelir.training.data import BLUR_MARGIN, Batch, Compressor, compress_randomly, lively_crop
from accelir.training.recipe import Auxiliary

__all__ = [
    "SHAKE_FROM_NOTHING",
    "SHAKE_ON",
    "SHARP",
    "UNNAMED",
    "KernelNaming",
    "ShakePairs",
    "lights_left",
    "require_shares",
]

Array = npt.NDArray[np.uint8]

UNNAMED = -1
"""The name of a trajectory that is none of the kernels."""


SHARP: npt.NDArray[np.float32] = np.ones((1, 1), np.float32)
"""The kernel that blurs nothing."""


SHAKE_FROM_NOTHING = {"lights": 0.7, "opening": 0.6, "unseen": 0.5, "sharp": 0.1}
"""What `ShakePairs` shows a network that does not deblur yet."""

SHAKE_ON = {"lights": 0.0, "opening": 0.0, "unseen": 0.5, "sharp": 0.1}
"""What it shows one that does."""


def require_shares(**shares: float) -> None:
    """Refuse what is no share.

    Raises:
        InvalidInputError: One is not from 0 to 1.
    """
    for name, share in shares.items():
        if not 0 <= share <= 1:
            raise InvalidInputError(f"{name} is a share, from 0 to 1; got {share}.")


def lights_left(lights: float, opening: float, progress: float) -> float:
    """Share of the references with point lights: the first one up to ``opening``, from there on less, none at the end.

    Args:
        lights: That share at first.
        opening: Share of the training after which it falls.
        progress: Share of the training that is done, 0 to 1.
    """
    return lights * min(1.0, (1 - progress) / (1 - opening)) if opening < 1 else lights


class ShakePairs:
    """A source of training batches for deblurring.

    Up to ``opening`` of the training, inputs are not compressed and most references carry point lights. From there on
    the lights fall away, a share of ``unseen`` is blurred by a trajectory never seen before, and one of ``compressed``
    goes through ``compress``, which may leave some clean: `accelir.training.data.compress_randomly` leaves a quarter.
    A network that deblurs already goes on with `SHAKE_ON`.

    Args:
        references: Sharp photographs, uint8 (H, W, 3) each, of any sizes from the crops and twice the ``margin`` on.
        kernels: float32 (h, w) with odd sides, each summing to 1.
        task: Draws the trajectories and the noise.
        compress: What stores the inputs.
        lights: Share of the references that carry point lights at first.
        opening: Share of the training after which compressed inputs and unseen trajectories join.
        compressed: Share of the inputs that go through ``compress`` from there on.
        unseen: Share of the blurred inputs that trajectories blur from there on: without them a network learns the
            kernels by heart, and makes worse what another blur has made.
        sharp: Share of the inputs that nothing blurs, from the first on: what is sharp is to stay so.
    """

    margin = BLUR_MARGIN
    """Pixels of a reference around a crop that the blur may reach into."""

    def __init__(
        self,
        references: Sequence[Array],
        kernels: Sequence[npt.NDArray[np.float32]],
        task: Deblur,
        *,
        compress: Compressor = compress_randomly,
        lights: float = 0.7,
        opening: float = 0.6,
        compressed: float = 0.6,
        unseen: float = 0.5,
        sharp: float = 0.1,
    ) -> None:
        largest = max(max(kernel.shape) for kernel in kernels)
        if largest > 2 * self.margin + 1:
            raise InvalidInputError(f"Blur kernels reach up to {2 * self.margin + 1} pixels a side; got {largest}.")
        require_shares(lights=lights, opening=opening, compressed=compressed, unseen=unseen, sharp=sharp)
        self.references = references
        self.kernels = list(kernels)
        self.task = task
        self.compress = compress
        self.lights = lights
        self.opening = opening
        self.compressed = compressed
        self.unseen = unseen
        self.sharp = sharp

    def batch(self, rng: np.random.Generator, count: int, patch: int, progress: float = 0.0) -> Batch:
        """Inputs and references, and as labels the kernel of each input, -1 for a trajectory.

        Args:
            rng: Source of all randomness.
            count: Inputs.
            patch: Their side, a multiple of 16. From larger crops the kernel is told more easily.
            progress: Share of the training that is done, 0 to 1.
        """
        opened = progress >= self.opening
        lights = lights_left(self.lights, self.opening, progress)
        inputs = np.empty((count, patch, patch, 3), np.uint8)
        references = np.empty_like(inputs)
        labels = np.empty(count, np.int64)
        outer = patch + 2 * self.margin
        inner = slice(self.margin, self.margin + patch)
        for row in range(count):
            photograph = self.references[int(rng.integers(len(self.references)))]
            if min(photograph.shape[:2]) < outer:
                height, width = photograph.shape[:2]
                raise InvalidInputError(
                    f"Crops of {patch} pixels, blurred, take {outer} pixels a side; a photograph has {height}x{width}."
                )
            reference = np.rot90(lively_crop(photograph, outer, rng), int(rng.integers(4)))
            reference = reference[:, :: int(rng.choice((1, -1)))]
            if rng.random() < lights:
                reference = _with_point_lights(reference, rng)
            label = int(rng.integers(len(self.kernels)))
            kernel = self.kernels[label]
            if opened and rng.random() < self.unseen:
                label, kernel = UNNAMED, camera_shake_kernel(rng, self.task.extent)
            if self.sharp and rng.random() < self.sharp:
                label, kernel = UNNAMED, SHARP
            image = np.ascontiguousarray(self.task.degrade_with(reference, kernel, rng)[inner, inner])
            inputs[row] = self.compress(image, self.task, rng) if opened and rng.random() < self.compressed else image
            references[row] = reference[inner, inner]
            labels[row] = label
        return Batch(inputs, references, labels)


class KernelNaming(Auxiliary):
    """Asks a network's features which kernel an input was blurred by; an auxiliary of `accelir.training.recipe.train`.

    Args:
        features: Name of the submodule whose output is asked, float (N, channels, h, w).
        channels: Of that output.
        count: Of the kernels.
        weight: Of the cross entropy in the loss.
    """

    def __init__(self, features: str, channels: int, count: int, *, weight: float = 0.1) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(channels, 128), nn.ReLU(), nn.Linear(128, count))
        self.features = features
        self.weight = weight
        self._seen: torch.Tensor | None = None

    @classmethod
    def of(cls, module: nn.Module, count: int, *, weight: float = 0.1) -> Self | None:
        """For the features that ``module.coarsest`` names; None where it names none.

        Raises:
            InvalidInputError: It names no submodule, or one whose output is no tensor.
        """
        features = getattr(module, "coarsest", None)
        if features is None:
            return None
        seen: list[torch.Tensor] = []
        try:
            layer = module.get_submodule(features)
        except AttributeError as error:
            raise InvalidInputError(f"{type(module).__name__}.coarsest is no submodule: {features!r}.") from error
        handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(output))
        try:
            with torch.no_grad():
                module(next(module.parameters()).new_zeros(1, 3, 64, 64))
        finally:
            handle.remove()
        if not seen or not isinstance(seen[0], torch.Tensor):
            raise InvalidInputError(f"{type(module).__name__}.coarsest gives no tensor: {features!r}.")
        return cls(features, seen[0].shape[1], count, weight=weight)

    @contextmanager
    def watching(self, module: nn.Module) -> Iterator[None]:
        """Look at the features of ``module`` meanwhile."""
        handle = module.get_submodule(self.features).register_forward_hook(self._look)
        try:
            yield
        finally:
            handle.remove()
            self._seen = None

    def _look(self, module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        self._seen = output if torch.is_grad_enabled() else None

    def loss(self, batch: Batch) -> torch.Tensor:
        """The weighted cross entropy; unnamed trajectories count as right."""
        if self._seen is None:
            raise InvalidInputError("The features that KernelNaming asks took no part in the last step.")
        if batch.labels is None:
            raise InvalidInputError("KernelNaming needs batches that say which kernel blurred them, as of ShakePairs.")
        scores = self.head(self._seen.float().mean(dim=(2, 3)))
        labels = torch.as_tensor(batch.labels)
        # To look at numbers on a GPU is to wait for them.
        if labels.device.type == "cpu" and labels.max() >= scores.shape[1]:
            raise InvalidInputError(f"KernelNaming knows {scores.shape[1]} kernels; got number {labels.max()}.")
        labels = labels.to(self._seen.device)
        each = nn.functional.cross_entropy(scores, labels, reduction="sum", ignore_index=UNNAMED)
        self._seen = None
        return self.weight * each / len(labels)


def _with_point_lights(reference: Array, rng: np.random.Generator) -> Array:
    """A copy with 5 to 89 single pixels set: black and white, or colours; some of them two pixels high."""
    lit = reference.copy()
    height, width = lit.shape[:2]
    count = int(rng.integers(5, 90))
    rows, columns = rng.integers(height, size=count), rng.integers(width, size=count)
    if rng.random() < 0.5:
        lit[rows, columns] = 255 * rng.integers(0, 2, size=(count, 1))
    else:
        lit[rows, columns] = rng.integers(0, 256, size=(count, 3))
    tall = rng.random(count) < 0.4
    lit[np.minimum(rows[tall] + 1, height - 1), columns[tall]] = lit[rows[tall], columns[tall]]
    return lit
