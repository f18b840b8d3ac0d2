"""The one way in which this codec compiles its hot loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

__all__ = ["compiled"]

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile with Numba, kept on disk between runs and free of the interpreter's lock.

    Neither ``fastmath`` nor ``parallel``: the bytes of a file must not depend on the number of threads.
    """
    return cast(Function, numba.njit(cache=True, nogil=True)(function))
