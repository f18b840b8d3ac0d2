"""The one way in which codecs compile their hot loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

__all__ = ["compiled"]

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
