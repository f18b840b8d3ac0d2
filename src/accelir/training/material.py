"""What a network is trained on, by its task: pairs made beforehand, or kernels of one's own drawn as it goes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import nn

from accelir.tasks import Deblur, Task
from accelir.training.data import Compressor, Source, make_crops, make_pairs
from accelir.training.recipe import Auxiliary, Recipe
from accelir.training.shake import SHAKE_FROM_NOTHING, SHAKE_ON, KernelNaming, ShakePairs

__all__ = ["Material", "least_side", "material_for"]


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
        deblurs: Against kernels of one's own: whether the network does so already, and needs no help to begin.
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
    shown = SHAKE_ON if deblurs else SHAKE_FROM_NOTHING
    # The task's kernels are all that are wanted; how many of the inputs stay clean is for ``compress`` to say.
    source = ShakePairs(list(crops), task.kernels, task, compress=compress, compressed=1.0, **shown | {"unseen": 0.0})
    return Material(source, KernelNaming.of(module, len(task.kernels)))


def _drawn_as_it_goes(task: Task) -> bool:
    """Whether a task has kernels of its own, and `ShakePairs` makes its inputs as the task does.

    Of random trajectories pairs made beforehand teach more: there are no few kernels to be told from each other.
    """
    return (
        isinstance(task, Deblur)
        and type(task).degrade is Deblur.degrade
        and 0 < max((max(kernel.shape) for kernel in task.kernels), default=0) <= 2 * ShakePairs.margin + 1
    )
