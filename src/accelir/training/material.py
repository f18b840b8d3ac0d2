"""What a network is trained on, by its task: pairs made beforehand, or blur drawn as the training goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from torch import nn

from accelir.tasks import Deblur, Task, camera_shake_kernel
from accelir.training.data import Compressor, Source, make_crops, make_pairs
from accelir.training.recipe import Auxiliary, Recipe
from accelir.training.shake import SHAKE_FROM_NOTHING, SHAKE_ON, KernelNaming, ShakePairs

__all__ = ["NAMED", "Material", "least_side", "material_for", "named_trajectories"]

NAMED = 20
"""Trajectories that a network learns to tell from each other, where the task has no kernels of its own."""

FARTHEST = 23.0
"""Largest extent of a trajectory, in pixels, that surely stays within `ShakePairs.margin`."""


class Material(NamedTuple):
    """What a training takes.

    Attributes:
        source: Of the batches.
        auxiliary: A further loss, or None.
    """

    source: Source
    auxiliary: Auxiliary | None = None


def least_side(task: Task, recipe: Recipe) -> int:
    """The least side of a photograph to train on, in pixels."""
    return 2 * recipe.patch * task.scale + (2 * ShakePairs.margin if _drawn_as_it_goes(task) else 0)


def material_for(
    module: nn.Module,
    task: Task,
    recipe: Recipe,
    paths: Sequence[Path],
    *,
    count: int,
    compress: Compressor,
    deblurs: bool,
    seed: int,
    workers: int,
    progress: Callable[[int, int], None],
) -> Material:
    """Prepare what a training takes.

    Args:
        module: What is to be trained.
        task: What it is to undo.
        recipe: How it is trained.
        paths: Clean photographs, each side at least `least_side`.
        count: Crops that are prepared.
        compress: What stores the inputs.
        deblurs: Against blur: whether the network does so already, and needs no help to begin.
        seed: Of the crops.
        workers: Processes that make them.
        progress: Called as ``progress(done, total)``.

    Raises:
        InvalidInputError: A photograph is too small.
    """
    if not isinstance(task, Deblur) or not _drawn_as_it_goes(task):
        side = 2 * recipe.patch
        pairs = make_pairs(
            paths, task, count=count, side=side, seed=seed, workers=workers, compress=compress, progress=progress
        )
        return Material(pairs)
    side = least_side(task, recipe)
    crops = make_crops(paths, count=count, side=side, seed=seed, workers=workers, progress=progress)
    kernels = task.kernels or named_trajectories(task)
    shown = SHAKE_ON if deblurs else SHAKE_FROM_NOTHING
    if task.kernels:
        # All that are wanted.
        shown = shown | {"unseen": 0.0}
    # How many of the inputs stay clean is for ``compress`` to say.
    source = ShakePairs(list(crops), kernels, task, compress=compress, compressed=1.0, **shown)
    return Material(source, KernelNaming.of(module, len(kernels)))


def named_trajectories(task: Deblur) -> list[npt.NDArray[np.float32]]:
    """Twenty trajectories to be told from each other, of a stream that nothing else draws from."""
    return [camera_shake_kernel(np.random.default_rng([NAMED, number, 1]), task.extent) for number in range(NAMED)]


def _drawn_as_it_goes(task: Task) -> bool:
    """Whether `ShakePairs` makes a task's inputs as the task does, and their blur stays within its margin."""
    if not isinstance(task, Deblur) or type(task).degrade is not Deblur.degrade:
        return False
    if task.kernels:
        return max(max(kernel.shape) for kernel in task.kernels) <= 2 * ShakePairs.margin + 1
    return task.extent[1] <= FARTHEST
