"""How well a network restores pictures that it was not trained on, clean and through files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from accelir.codec import Codec
from accelir.errors import CodecError
from accelir.image import ImageArray, in_colour, one_of_many
from accelir.metrics import EQUAL, psnr_rgb
from accelir.network import IRNetwork
from accelir.tasks import Denoise, Task

__all__ = ["HeldOut", "Scores"]

SIDE = 512
"""Of the crop in the middle of a picture that is scored, in pixels of the reference."""

Scores = dict[str, float]
"""Mean PSNR (RGB, 0..255, no border left out) in dB: of ``"clean"`` inputs, and of those that went through a file."""


class HeldOut:
    """Inputs and references of one task, clean and through files.

    Args:
        pictures: Clean photographs.
        task: Makes the inputs.
        codecs: Whose files the inputs go through, at three qualities of their usual encoder, or three of our levels
            where there is none.
        seed: Of what is random in the task.
    """

    def __init__(self, pictures: Sequence[Path], task: Task, codecs: Sequence[Codec], seed: int) -> None:
        self.task = task
        self.references: list[ImageArray] = []
        self.inputs: dict[str, list[ImageArray]] = {"clean": []}
        for number, path in enumerate(pictures):
            reference = task.crop(_middle(one_of_many(path)))
            image = task.degrade(reference, np.random.default_rng([seed, number]))
            self.references.append(reference)
            self.inputs["clean"].append(image)
            for codec, label in zip(codecs, _labels(codecs), strict=True):
                for level, data in _files(codec, image, task):
                    self.inputs.setdefault(f"{label} {level}", []).append(codec.decode(data))

    def score(self, network: IRNetwork, device: str | None = None) -> Scores:
        """Of what a network makes of the inputs."""
        return self._mean(lambda image: network.restore(image, device=device))

    def score_untouched(self) -> Scores:
        """Of the inputs themselves, enlarged by bicubic interpolation where the task makes them smaller."""
        return self._mean(self._enlarged)

    def _mean(self, restore: Callable[[ImageArray], ImageArray]) -> Scores:
        means = {}
        for label, images in self.inputs.items():
            pairs = zip(images, self.references, strict=True)
            each = [min(psnr_rgb(restore(image), reference), EQUAL) for image, reference in pairs]
            means[label] = round(sum(each) / len(each), 3)
        return means

    def _enlarged(self, image: ImageArray) -> ImageArray:
        size = (image.shape[1] * self.task.scale, image.shape[0] * self.task.scale)
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def _middle(image: ImageArray) -> ImageArray:
    colour = in_colour(image)
    top, left = (max(side - SIDE, 0) // 2 for side in colour.shape[:2])
    return np.ascontiguousarray(colour[top : top + SIDE, left : left + SIDE])


def _labels(codecs: Sequence[Codec]) -> list[str]:
    """Names of codecs, numbered where one is there twice, with other options."""
    names = [codec.name for codec in codecs]
    return [
        name if names.count(name) == 1 else f"{name} {names[: place + 1].count(name)}"
        for place, name in enumerate(names)
    ]


def _files(codec: Codec, image: ImageArray, task: Task) -> Iterator[tuple[str, bytes]]:
    try:
        for quality in (10, 20, 40) if isinstance(task, Denoise) else (50, 75, 90):
            yield f"q{quality}", codec.usual(image, quality)
    except CodecError:
        prepared, last = codec.prepare(image), len(codec.levels) - 1
        for level in (last // 4, last // 2, last - last // 4):
            yield f"level {level}", prepared.write(level).data
