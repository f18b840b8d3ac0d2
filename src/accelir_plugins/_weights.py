"""The weights that ship with the built-in networks."""

from __future__ import annotations

from importlib.resources import files

from safetensors.torch import load
from torch import nn

__all__ = ["load_weights"]


def load_weights(module: nn.Module, name: str) -> nn.Module:
    """Fill ``module`` with the shipped weights called ``name``; stored in half precision, returned in float32."""
    tensors = load((files("accelir_plugins") / "weights" / f"{name}.safetensors").read_bytes())
    module.load_state_dict({key: value.float() for key, value in tensors.items()})
    return module.float().eval()
