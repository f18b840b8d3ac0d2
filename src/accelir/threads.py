"""How many threads one image gets, and how they share its work."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from accelir.errors import InvalidInputError

__all__ = ["LIMIT", "allowed", "processors", "ranges", "together"]

LIMIT = "ACCELIR_THREADS"
"""The environment variable that limits the threads of our own code for one image; those of torch are torch's."""


def processors() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def allowed() -> int:
    """How many threads one image gets: as many as there are processors, or as ``ACCELIR_THREADS`` says.

    Raises:
        InvalidInputError: ``ACCELIR_THREADS`` is no whole number of 1 or more.
    """
    limit = os.environ.get(LIMIT, "").strip()
    if not limit:
        return processors()
    if not (limit.isdecimal() and limit.isascii() and int(limit) > 0):
        raise InvalidInputError(f"{LIMIT} is a number of threads, 1 or more; got {limit!r}.")
    return int(limit)


def together(jobs: Sequence[Callable[[], object]]) -> None:
    """Run jobs that depend on nothing of each other: in one thread a processor, or as many as ``ACCELIR_THREADS`` says.

    What becomes of an image must not depend on how many there are, so its work is cut the same way whatever they are.
    """
    threads = min(len(jobs), allowed())
    if threads < 2:
        for job in jobs:
            job()
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(job) for job in jobs]:
            done.result()


def ranges(count: int, step: int) -> list[slice]:
    """The slices of at most ``step`` that 0 to ``count`` falls into."""
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]
