"""Cost: what restoring an image takes, and how it is counted."""

from __future__ import annotations

import functools
import operator
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from accelir.errors import InvalidInputError

__all__ = ["Cost", "counted", "parameters_of", "whole_number"]


# One at a time: what counting switches off is switched off for all threads.
_COUNTING = threading.Lock()


@dataclass(frozen=True)
class Cost:
    """What restoring one image takes.

    Attributes:
        macs: Multiply-accumulates, per image.
        flops: 2 x ``macs``.
        params: Number of parameters.
    """

    macs: int
    flops: int
    params: int


def counted(run: Callable[[], None], modules: Iterable[nn.Module]) -> Cost:
    """What ``run`` takes, without running it: its tensors have shapes and no content.

    Args:
        run: Makes a batch and takes it through the modules.
        modules: Whose parameters count.
    """
    # Slow to import, and few ever count.
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False, custom_mapping=_ATTENTION)
    # The fast path of nn.MultiheadAttention and nn.TransformerEncoder is one operation that nothing counts.
    with _COUNTING:
        fast_path = torch.backends.mha.get_fastpath_enabled()
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            with FakeTensorMode(allow_non_fake_inputs=True), counter, torch.no_grad():
                run()
        finally:
            torch.backends.mha.set_fastpath_enabled(fast_path)
    flops = int(counter.get_total_flops())
    return Cost(flops // 2, flops, parameters_of(modules))


def parameters_of(modules: Iterable[nn.Module]) -> int:
    """The number of parameters of modules; constants and buffers do not count."""
    return sum(p.numel() for module in modules for p in module.parameters())


def whole_number(what: str, value: object, *, least: int = 1) -> int:
    """A number of pixels or channels as an int.

    Args:
        what: For the error.
        value: What the caller gave.
        least: That it may be.

    Raises:
        InvalidInputError: It is no whole number, or less.
    """
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        number = least - 1
    if number < least:
        raise InvalidInputError(f"{what} is a whole number, {least} or more; got {value!r}.")
    return number


def _attention_flops(query: tuple[int, ...], key: tuple[int, ...], value: tuple[int, ...], *_: Any, **__: Any) -> int:
    """Of scaled dot-product attention: (..., Q, E) with (..., K, E) and (..., K, V)."""
    batches = functools.reduce(lambda a, b: a * b, query[:-2], 1)
    return 2 * batches * query[-2] * key[-2] * (query[-1] + value[-1])


# On the CPU it is an operation of its own, which torch's counter takes for nothing.
_ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}
