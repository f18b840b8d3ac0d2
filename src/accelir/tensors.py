"""How tensors are laid out, and with what precision they are computed, where a machine is fast."""

from __future__ import annotations

import functools

import torch
from torch import nn

__all__ = ["channels_last", "fast_dtype"]


def channels_last(module: nn.Module) -> nn.Module:
    """Lay the weights of 2-D convolutions out for CPUs and GPUs with matrix units, in place."""
    for tensor in (*module.parameters(), *module.buffers()):
        if tensor.dim() == 4:
            tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    return module


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device computes it fast, else float32."""
    return torch.bfloat16 if _fast_bfloat16(device.type) else torch.float32


@functools.cache
def _fast_bfloat16(device_type: str) -> bool:
    if device_type == "cpu":
        return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()) or bool(
            getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
        )
    return device_type == "cuda" and torch.cuda.is_bf16_supported()
