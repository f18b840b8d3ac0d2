"""Training pairs: crops of photographs, degraded by a task, most of them compressed as the network will get them."""

from __future__ import annotations

import io
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from accelir.errors import InvalidInputError
from accelir.image import in_colour, one_of_many
from accelir.tasks import Deblur, Denoise, Task
from accelir.training.mixture import MIXTURE, NOISY_MIXTURE, Mixture

__all__ = ["Batch", "Pairs", "Source", "compress_randomly", "lively_crop", "make_crops", "make_pairs"]

Array = npt.NDArray[np.uint8]
Compressor = Callable[[Array, Task, np.random.Generator], Array]

Job = tuple[Path, npt.NDArray[np.int64], int]
"""A photograph, the numbers of what is drawn from it, and the seed."""

Part = TypeVar("Part")

BLUR_MARGIN = 24
"""Pixels around a crop that a blur may reach into."""

DCT: npt.NDArray[np.float32] = np.array(
    [[np.sqrt((1 if k == 0 else 2) / 8) * np.cos((2 * n + 1) * k * np.pi / 16) for n in range(8)] for k in range(8)],
    dtype=np.float32,
)
FREQUENCY: npt.NDArray[np.float32] = np.hypot(*np.mgrid[0:8, 0:8]).astype(np.float32)


class Batch(NamedTuple):
    """What one step trains on.

    Arrays, or tensors where a source makes them on the device that trains.

    Attributes:
        inputs: uint8 (count, patch, patch, 3).
        references: uint8 (count, patch * scale, patch * scale, 3).
        labels: int64 (count,): what an `accelir.training.recipe.Auxiliary` asks after; None where it is not known.
    """

    inputs: Array | torch.Tensor
    references: Array | torch.Tensor
    labels: npt.NDArray[np.int64] | torch.Tensor | None = None


class Source(Protocol):
    """Where a training gets its batches."""

    def batch(self, rng: np.random.Generator, count: int, patch: int, progress: float = 0.0) -> Batch:
        """Draw a batch. Several threads may ask at once, and what is drawn depends on the arguments alone.

        Args:
            rng: Source of all randomness.
            count: Crops in the batch.
            patch: Side of an input in pixels.
            progress: Share of the training that is done, 0 to 1.
        """


@dataclass(frozen=True)
class Pairs:
    """Inputs and references of the same number, made beforehand.

    Attributes:
        inputs: uint8 (N, side, side, 3).
        references: uint8 (N, side * scale, side * scale, 3).
    """

    inputs: Array
    references: Array

    def batch(self, rng: np.random.Generator, count: int, patch: int, progress: float = 0.0) -> Batch:
        """Random crops, turned and mirrored at random."""
        number, side = self.inputs.shape[:2]
        scale = self.references.shape[1] // side
        inputs = np.empty((count, patch, patch, 3), np.uint8)
        references = np.empty((count, patch * scale, patch * scale, 3), np.uint8)
        for row, index in enumerate(rng.integers(number, size=count)):
            y, x = rng.integers(side - patch + 1, size=2)
            image = self.inputs[index, y : y + patch, x : x + patch]
            reference = self.references[index, y * scale : (y + patch) * scale, x * scale : (x + patch) * scale]
            turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
            image, reference = np.rot90(image, turns), np.rot90(reference, turns)
            inputs[row] = image[:, ::-1] if mirror else image
            references[row] = reference[:, ::-1] if mirror else reference
        return Batch(inputs, references)


def compress_randomly(image: Array, task: Task, rng: np.random.Generator, *, clean: float | None = None) -> Array:
    """An input as a network meets it: clean, through Pillow's JPEG or one in our manner (`accelir.training.mixture`).

    The last is simulated: flat-to-tilted quantisation steps and a dead zone that differs from block to block stand in
    for tables and rate-distortion quantisation that follow a network's sensitivity, at a hundredth of their cost.

    Args:
        image: uint8 (H, W, 3), sides multiples of 16.
        task: Decides the range of qualities: a noisy picture is stored at lower ones.
        rng: Source of all randomness.
        clean: Share of the inputs that stay as they are, by default the mixture's.
    """
    mixture = NOISY_MIXTURE if isinstance(task, Denoise) else MIXTURE
    if clean is not None:
        mixture = mixture.with_clean(clean)
    kind = rng.random()
    if kind < mixture.clean:
        return image
    if kind < mixture.clean + mixture.usual:
        quality = int(rng.integers(*mixture.qualities))
        stream = io.BytesIO()
        subsampling = 2 if rng.random() < mixture.usual_halved else 0
        Image.fromarray(image).save(stream, "JPEG", quality=quality, subsampling=subsampling)
        return np.asarray(Image.open(stream))
    return _simulate_shaped_jpeg(image, mixture, rng)


def make_pairs(
    paths: Sequence[Path],
    task: Task,
    *,
    count: int,
    side: int,
    seed: int,
    workers: int = 2,
    compress: Compressor = compress_randomly,
    progress: Callable[[int, int], None] | None = None,
) -> Pairs:
    """Draw ``count`` pairs from photographs, flat crops seldom.

    Args:
        paths: Photographs, each at least ``side * task.scale`` pixels on both sides.
        task: Makes the inputs.
        count: Number of pairs.
        side: Side of the inputs in pixels.
        seed: The same seed gives the same pairs, whatever the number of workers.
        workers: Processes; with more than one, a script that calls this needs ``if __name__ == "__main__":``.
        compress: What stores the inputs.
        progress: Called as ``progress(done, total)`` after each photograph.
    """
    draw = partial(_draw, task=task, side=side, compress=compress)
    parts = _of_all(draw, paths, count, seed, workers, progress)
    return Pairs(np.concatenate([part.inputs for part in parts]), np.concatenate([part.references for part in parts]))


def make_crops(
    paths: Sequence[Path],
    *,
    count: int,
    side: int,
    seed: int,
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Array:
    """Draw ``count`` clean crops from photographs, flat ones seldom.

    Args:
        paths: Photographs, each at least ``side`` pixels on both sides.
        count: Number of crops.
        side: Of the crops in pixels.
        seed: As for `make_pairs`.
        workers: As for `make_pairs`.
        progress: As for `make_pairs`.

    Returns:
        uint8 (count, side, side, 3).

    Raises:
        InvalidInputError: A photograph that is smaller.
    """
    return np.concatenate(_of_all(partial(_draw_clean, side=side), paths, count, seed, workers, progress))


def _of_all(
    draw: Callable[[Job], Part],
    paths: Sequence[Path],
    count: int,
    seed: int,
    workers: int,
    progress: Callable[[int, int], None] | None,
) -> list[Part]:
    """What is drawn from each photograph, in so many processes."""
    shares = np.array_split(np.arange(count), len(paths))
    order = np.random.default_rng(seed).permutation(len(paths))
    jobs = [(paths[photo], share, seed) for photo, share in zip(order, shares, strict=True) if len(share)]
    if workers == 1:
        return list(_counted(map(draw, jobs), len(jobs), progress))
    # Spawned and not forked: the threads of torch and of codecs do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(_counted(pool.map(draw, jobs), len(jobs), progress))


def _counted(parts: Iterable[Part], total: int, progress: Callable[[int, int], None] | None) -> Iterator[Part]:
    for done, part in enumerate(parts, 1):
        if progress is not None:
            progress(done, total)
        yield part


def _draw_clean(job: Job, *, side: int) -> Array:
    path, numbers, seed = job
    sizes = _of_at_least(side, in_two_sizes(path))
    if min(sizes[0].shape[:2]) < side:
        raise InvalidInputError(f"Crops of {side} pixels a side are larger than {path.name}.")
    crops = []
    for number in numbers:
        rng = np.random.default_rng([seed, int(number)])
        crops.append(lively_crop(sizes[int(rng.integers(len(sizes)))], side, rng))
    return np.stack(crops)


def _of_at_least(side: int, sizes: tuple[Array, Array]) -> list[Array]:
    """A photograph, and the same smaller where it is large enough then too."""
    whole, smaller = sizes
    return [whole, smaller] if min(smaller.shape[:2]) >= side else [whole]


def _draw(job: Job, *, task: Task, side: int, compress: Compressor) -> Pairs:
    path, numbers, seed = job
    margin = BLUR_MARGIN if isinstance(task, Deblur) else 8
    need = (side + 2 * margin) * task.scale
    sources = _of_at_least(need, in_two_sizes(path))
    inputs, references = [], []
    for number in numbers:
        rng = np.random.default_rng([seed, int(number)])
        source = sources[int(rng.integers(len(sources)))]
        crop = lively_crop(source, min(need, *source.shape[:2]), rng)
        crop = task.crop(crop)
        image = task.degrade(crop, rng)
        edge = [(size - side) // 2 for size in image.shape[:2]]
        rows, columns = (slice(start, start + side) for start in edge)
        image = np.ascontiguousarray(image[rows, columns])
        inputs.append(compress(image, task, rng))
        rows, columns = (slice(start * task.scale, (start + side) * task.scale) for start in edge)
        references.append(crop[rows, columns])
    return Pairs(np.stack(inputs), np.stack(references))


def in_two_sizes(path: Path) -> tuple[Array, Array]:
    """A photograph, and the same at two thirds of its sides: uint8 (H, W, 3), gray too.

    Raises:
        DecodeError: Not a picture.
        InvalidInputError: One with transparency, or of more than 8 bits.
    """
    whole = in_colour(one_of_many(path))
    size = (whole.shape[1] * 2 // 3, whole.shape[0] * 2 // 3)
    return whole, np.asarray(Image.fromarray(whole).resize(size, Image.Resampling.LANCZOS))


def lively_crop(photograph: Array, side: int, rng: np.random.Generator) -> Array:
    """Of two random squares the one with more texture: in flat ones there is little to learn.

    Args:
        photograph: uint8 (H, W, 3), at least ``side`` pixels on both sides.
        side: Of the square in pixels.
        rng: Source of all randomness.
    """
    return max((_crop(photograph, side, rng) for _ in range(2)), key=_texture)


def _crop(source: Array, side: int, rng: np.random.Generator) -> Array:
    top = int(rng.integers(source.shape[0] - side + 1))
    left = int(rng.integers(source.shape[1] - side + 1))
    return source[top : top + side, left : left + side]


def _texture(crop: Array) -> float:
    luma = crop[::2, ::2, 1].astype(np.float32)
    return float(np.abs(np.diff(luma, axis=0)).mean() + np.abs(np.diff(luma, axis=1)).mean())


def _simulate_shaped_jpeg(image: Array, mixture: Mixture, rng: np.random.Generator) -> Array:
    step = np.exp(rng.uniform(*np.log(mixture.steps)))
    tilt = rng.uniform(*mixture.tilts)
    table = np.maximum(np.rint(step * (1 + FREQUENCY / 2) ** tilt), 1).astype(np.float32)
    base, spread = rng.uniform(*mixture.dead), rng.uniform(*mixture.dead_spread)
    planes = np.asarray(Image.fromarray(image).convert("YCbCr"))
    height, width = image.shape[:2]
    subsample = rng.random() < mixture.halved
    chroma_step = np.float32(rng.uniform(*mixture.chroma_steps))
    result = []
    for index in range(3):
        plane = Image.fromarray(planes[:, :, index])
        if index and subsample:
            plane = plane.resize((width // 2, height // 2), Image.Resampling.BOX)
        values = np.asarray(plane, dtype=np.float32) - 128
        rows, columns = values.shape[0] // 8, values.shape[1] // 8
        blocks = values.reshape(rows, 8, columns, 8).transpose(0, 2, 1, 3)
        steps = table * (chroma_step if index else np.float32(1))
        scaled = (DCT @ blocks @ DCT.T) / steps
        dead = base + spread * rng.standard_normal((rows, columns, 1, 1))
        dead = np.clip(dead, 0, mixture.most_dead).astype(np.float32)
        levels = np.sign(scaled) * np.floor(np.abs(scaled) + np.float32(0.5) - dead)
        levels[:, :, 0, 0] = np.rint(scaled[:, :, 0, 0])
        decoded = DCT.T @ (levels * steps) @ DCT
        values = decoded.transpose(0, 2, 1, 3).reshape(values.shape) + 128
        plane = Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))
        if index and subsample:
            plane = plane.resize((width, height), Image.Resampling.BILINEAR)
        result.append(plane)
    return np.asarray(Image.merge("YCbCr", result).convert("RGB"))
