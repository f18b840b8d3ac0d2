"""The one way in which this codec compiles its hot loops and shares them among threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

import numba

__all__ = ["compiled", "ranges", "together"]

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile with Numba, kept on disk between runs where a folder can be written, and free of the interpreter's lock.

    Neither ``fastmath`` nor ``parallel``: the bytes of a file must not depend on the number of threads.
    """
    try:
        return cast(Function, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:
        # A read-only installation, and no home to write to: compiled anew in every process.
        return cast(Function, numba.njit(nogil=True)(function))


def together(jobs: Sequence[Callable[[], object]]) -> None:
    """Run jobs that depend on nothing of each other, in as many threads as ``NUMBA_NUM_THREADS`` allows."""
    threads = min(len(jobs), numba.config.NUMBA_NUM_THREADS)
    if threads < 2:
        for job in jobs:
            job()
        return
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(job) for job in jobs]:
            done.result()


def ranges(count: int, step: int) -> list[slice]:
    """What 0 to ``count`` falls into in steps: the same whatever the threads."""
    return [slice(start, min(start + step, count)) for start in range(0, count, step)]
