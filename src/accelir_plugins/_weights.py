"""The weights that ship with the built-in networks."""

from __future__ import annotations

import json
from importlib.resources import files

from safetensors.torch import load
from torch import nn

__all__ = ["load_weights"]


def load_weights(module: nn.Module, name: str) -> nn.Module:
    """Fill ``module`` with the shipped weights called ``name``; stored in half precision, returned in float32."""
    folder = files("accelir_plugins") / "weights"
    tensors = load((folder / f"{name}.safetensors").read_bytes())
    module.load_state_dict({key: value.float() for key, value in tensors.items()})
    record = folder / f"{name}.json"
    if record.is_file():
        module.provenance = json.loads(record.read_text(encoding="utf-8"))
    return module.float().eval()
