"""Compressed training inputs: files of any registered codec, as its usual encoder and as ours writes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from accelir import registry
from accelir.checks import as_number
from accelir.codec import Codec
from accelir.errors import CodecError, InvalidInputError
from accelir.image import block_grid
from accelir.pictures import picture
from accelir.tasks import Denoise, Task

__all__ = ["RandomFiles", "usual_qualities"]

Array = npt.NDArray[np.uint8]

SAMPLE_SIDE = 128
"""Of the picture by which levels are found that make files of about the size of the usual encoder's."""

LEVEL_SPREAD = 2.0
"""Up to this standard deviation, in levels, blocks of one of our files differ."""


def usual_qualities(task: Task) -> tuple[int, int]:
    """The lowest and the highest quality at which inputs of a task are stored: noisy ones at lower ones."""
    return (5, 60) if isinstance(task, Denoise) else (30, 95)


@dataclass(frozen=True)
class RandomFiles:
    """Stores an input as a network meets it: not at all, or in a file of a codec drawn at random.

    Half of the files are the codec's usual encoder's, at a random quality; the others are ours, at random levels
    between those whose files are about as large as the usual ones at the two ends, mixed over the blocks. Codecs
    without a usual encoder write ours at any level. Hand it to `accelir.training.data.make_pairs` as ``compress``.

    Attributes:
        codecs: To draw from, all alike.
        qualities: The lowest and the highest of the usual encoder.
        clean: Share of the inputs that stay as they are.
    """

    codecs: tuple[Codec, ...]
    qualities: tuple[int, int]
    clean: float = 0.25

    @classmethod
    def of(
        cls,
        codecs: str | Codec | Sequence[str | Codec],
        task: Task,
        *,
        qualities: tuple[int, int] | None = None,
        clean: float = 0.25,
    ) -> RandomFiles:
        """For the inputs of a task.

        Args:
            codecs: Names or instances, or one; none at all leaves every input clean.
            task: Decides the qualities where none are given.
            qualities: The lowest and the highest, 1 to 100.
            clean: Share of the inputs that stay as they are, 0 to 1.

        Raises:
            UnknownNameError: No codec of that name.
            InvalidInputError: Qualities or a share out of range.
        """
        bounds: object = usual_qualities(task) if qualities is None else qualities
        low, high = map(as_number, bounds) if isinstance(bounds, Sequence) and len(bounds) == 2 else (np.nan, np.nan)
        if not (1 <= low <= high <= 100 and low.is_integer() and high.is_integer()):
            raise InvalidInputError(f"Qualities are two whole numbers, 1 <= lowest <= highest <= 100; got {qualities}.")
        if not 0 <= as_number(clean) <= 1:
            raise InvalidInputError(f"The clean share is from 0 to 1; got {clean!r}.")
        several = [codecs] if isinstance(codecs, str | Codec) else codecs
        made = cls(tuple(registry.codec(codec) for codec in several), (int(low), int(high)), clean)
        # Once, and not in every worker that it is handed to.
        _ = made.levels
        return made

    @cached_property
    def levels(self) -> list[tuple[int, int, bool]]:
        """Of each codec: its coarsest and finest level to use, and whether it has a usual encoder."""
        return [_levels(codec, self.qualities) for codec in self.codecs]

    def __call__(self, image: Array, task: Task, rng: np.random.Generator) -> Array:
        """The pixels that come out of the file: uint8 (H, W, 3), as ``image``."""
        if not self.codecs or rng.random() < self.clean:
            return image
        index = int(rng.integers(len(self.codecs)))
        codec, (low, high, usual) = self.codecs[index], self.levels[index]
        if usual and rng.random() < 0.5:
            return codec.decode(codec.usual(image, int(rng.integers(self.qualities[0], self.qualities[1] + 1))))
        grid = block_grid(image, codec.block(image))
        base, spread = rng.integers(low, high + 1), rng.uniform(0, LEVEL_SPREAD)
        drawn = np.rint(base + spread * rng.standard_normal(grid)).clip(0, len(codec.levels) - 1)
        return codec.decode(codec.encode(image, drawn.astype(np.int32), trim=float(rng.uniform(-0.5, 0.5))).data)


def _levels(codec: Codec, qualities: tuple[int, int]) -> tuple[int, int, bool]:
    sample = picture(SAMPLE_SIDE, SAMPLE_SIDE)
    try:
        wanted = [len(codec.usual(sample, quality)) for quality in qualities]
    except CodecError:
        return 0, len(codec.levels) - 1, False
    prepared = codec.prepare(sample)
    low, high = (_nearest(lambda level: len(prepared.write(level).data), size, len(codec.levels)) for size in wanted)
    return low, max(low, high), True


def _nearest(size_of: Callable[[int], int], size: int, count: int) -> int:
    """The first level whose file is at least so large, or the finest."""
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) // 2
        if size_of(middle) < size:
            low = middle + 1
        else:
            high = middle
    return low
