"""The one way in which codecs compile their hot loops."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core import event

__all__ = ["compiled"]

Function = TypeVar("Function", bound=Callable[..., Any])

logger = logging.getLogger("accelir")

_ours: set[Callable[..., Any]] = set()


def compiled(function: Function) -> Function:
    """Compile with Numba, kept on disk between runs where a folder can be written, and free of the interpreter's lock.

    Neither ``fastmath`` nor ``parallel``: the bytes of a file must not depend on the number of threads.
    """
    _ours.add(function)
    try:
        return cast(Function, numba.njit(cache=True, nogil=True)(function))
    except RuntimeError:
        # A read-only installation, and no home to write to: compiled anew in every process.
        return cast(Function, numba.njit(nogil=True)(function))


class _Announcer(event.Listener):
    """Says to the log, once in a process, why a first picture takes so long."""

    said = False

    def on_start(self, event: Any) -> None:
        function = getattr((event.data or {}).get("dispatcher"), "py_func", None)
        if function in _ours and not self.said:
            self.said = True
            logger.info("Compiling the encoder, once for each kind of picture and of options: up to a minute.")

    def on_end(self, event: Any) -> None:
        """Nothing more to say."""


announcer = _Announcer()
event.register("numba:compile", announcer)  # type: ignore[no-untyped-call]
