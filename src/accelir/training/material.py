"""What a network is trained on, by its task: pairs made beforehand, or blur drawn as the training goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from torch import nn

from accelir.tasks import Deblur, Task, camera_shake_kernel
from accelir.training.data import Compressor, Source, make_crops, make_pairs
from accelir.training.recipe import Auxiliary, Recipe
from accelir.training.shake import SHAKE_FROM_NOTHING, SHAKE_ON, KernelNaming, ShakePairs

__all__ = ["NAMED", "Material", "least_side", "material_for"]

NAMED = 20
"""Trajectories that a network learns to tell from each other, where the task has no kernels of its own."""


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
    return 2 * recipe.patch * task.scale + (2 * ShakePairs.margin if isinstance(task, Deblur) else 0)


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
    """Prepare it.

    Args:
        module: What is to be trained.
        task: What it is to undo.
        recipe: How.
        paths: Clean photographs, each side at least `least_side`.
        count: Crops that are prepared.
        compress: What stores the inputs.
        deblurs: Against blur: whether the network does so already, and needs no help to begin.
        seed: Of the crops.
        workers: Processes that make them.
        progress: Called as ``progress(done, total)``.
    """
    if not isinstance(task, Deblur):
        side = 2 * recipe.patch
        return Material(
            make_pairs(
                paths, task, count=count, side=side, seed=seed, workers=workers, compress=compress, progress=progress
            )
        )
    crops = make_crops(paths, count=count, side=least_side(task, recipe), seed=seed, workers=workers, progress=progress)
    kernels = task.kernels or [
        camera_shake_kernel(np.random.default_rng(number), task.extent) for number in range(NAMED)
    ]
    shown = SHAKE_ON if deblurs else SHAKE_FROM_NOTHING
    if task.kernels:
        # All that are wanted.
        shown = shown | {"unseen": 0.0}
    # How many of the inputs stay clean is for ``compress`` to say.
    source = ShakePairs(list(crops), kernels, task, compress=compress, compressed=1.0, **shown)
    return Material(source, KernelNaming.of(module, len(kernels)))
