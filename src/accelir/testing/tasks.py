"""What every task promises."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping

import numpy as np

from accelir.pictures import picture
from accelir.tasks import Task
from accelir.testing.suite import Suite, require

__all__ = ["check_task", "task_checks"]

_suite: Suite[[Task]] = Suite()


def check_task(task: Task, *, expected_failed_checks: Mapping[str, str] | None = None) -> dict[str, str]:
    """Run all checks on a task.

    Args:
        task: An instance.
        expected_failed_checks: Names of checks that fail, each with the reason.

    Returns:
        For each check ``"passed"``, ``"skipped: ..."`` or ``"failed as expected: ..."``.

    Raises:
        ConformanceError: The contract is not kept.
    """
    return _suite.run(repr(task), expected_failed_checks, task)


def task_checks() -> list[tuple[str, Callable[[Task], None]]]:
    """The checks as (name, callable that takes a task)."""
    return list(_suite)


@_suite.check
def check_attributes(task: Task) -> None:
    """The task says what it is, and equals its copy."""
    require(task.name, "name is set")
    require(task.scale == int(task.scale) >= 1, f"scale is an integer of 1 or more; got {task.scale!r}")
    twin = copy.deepcopy(task)
    require(twin == task and hash(twin) == hash(task), "a copy equals the task")


@_suite.check
def check_degrade(task: Task) -> None:
    """A reference of any size, once cropped, becomes an image of the size that the scale says."""
    for height, width in ((64, 64), (67, 81), (40, 33)):
        for gray in (False, True):
            reference = task.crop(picture(height, width, gray=gray))
            image = task.degrade(reference, np.random.default_rng(0))
            wanted = (reference.shape[0] // task.scale, reference.shape[1] // task.scale, *reference.shape[2:])
            require(image.shape == wanted, f"degrade of {reference.shape} gives {wanted}; got {image.shape}")
            require(image.dtype == np.uint8, f"degrade gives uint8; got {image.dtype}")


@_suite.check
def check_crop(task: Task) -> None:
    """The crop is the largest top-left part whose sides are multiples of the scale."""
    for height, width in ((64, 64), (67, 81), (40, 33)):
        reference = picture(height, width)
        cropped = task.crop(reference)
        wanted = (height - height % task.scale, width - width % task.scale, 3)
        require(cropped.shape == wanted, f"crop of {reference.shape} gives {wanted}; got {cropped.shape}")
        require(np.array_equal(cropped, reference[: wanted[0], : wanted[1]]), "crop takes the top-left part")


@_suite.check
def check_seeded(task: Task) -> None:
    """The same seed gives the same image, whatever the global random state."""
    reference = task.crop(picture(64, 64))
    np.random.seed(0)
    first = task.degrade(reference, np.random.default_rng(7))
    np.random.seed(1)
    second = task.degrade(reference, np.random.default_rng(7))
    require(np.array_equal(first, second), "the same seed gives two images")


@_suite.check
def check_input_unmodified(task: Task) -> None:
    """The reference is not changed, and may be read-only."""
    reference = np.ascontiguousarray(task.crop(picture(64, 64)))
    kept = reference.copy()
    reference.setflags(write=False)
    task.degrade(reference, np.random.default_rng(0))
    require(np.array_equal(reference, kept), "degrade changed the reference")


@_suite.check
def check_degrades(task: Task) -> None:
    """Something is lost."""
    reference = task.crop(picture(64, 64))
    image = task.degrade(reference, np.random.default_rng(0))
    require(
        image.shape != reference.shape or not np.array_equal(image, reference), "degrade returns the reference itself"
    )
