"""Weights in a file: safetensors whose header says what they are for and where they come from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError, safe_open
from torch import nn

from accelir.errors import DecodeError, InvalidInputError

__all__ = ["WeightsRecord", "load_weights", "pack_weights", "read_record"]

KEY = "accelir"
"""Of the header's metadata: the record as JSON."""


class WeightsRecord(BaseModel):
    """What the header of a file of weights says.

    Attributes:
        format: Of this record.
        network: What the weights are for: the name of an installed network, ``"package.module:Factory"``, or empty for
            a module that was handed over in Python.
        file_kind: Instead: the kind of network file that knows the architecture by its weights.
        arguments: Keyword arguments of the factory.
        task: Name of the task.
        provenance: Where the weights come from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    network: str = ""
    file_kind: str = ""
    arguments: dict[str, Any] = {}
    task: str
    provenance: dict[str, Any] = {}


def pack_weights(tensors: Mapping[str, torch.Tensor], record: WeightsRecord, *, half: bool = False) -> bytes:
    """The bytes of a file.

    Args:
        tensors: A state_dict.
        record: For the header.
        half: Store in float16 what is float32.
    """
    stored = {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}
    if half:
        stored = {key: value.half() if value.dtype is torch.float32 else value for key, value in stored.items()}
    return safetensors.torch.save(stored, {KEY: record.model_dump_json()})


def read_record(path: str | Path) -> WeightsRecord | None:
    """What the header of a safetensors file says; None where it was not written by our training.

    Raises:
        DecodeError: It is no safetensors file, or a newer version wrote it.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            metadata = opened.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise DecodeError(f"Not a safetensors file that can be read: {path} ({error}).") from error
    if KEY not in metadata:
        return None
    try:
        content = json.loads(metadata[KEY])
        if content.get("format") == "accelir-profile":
            raise DecodeError(f"{path} is a profile, not the weights of a network: it goes to profile= (--profile).")
        if content.get("format") != 1:
            raise DecodeError(f"{path} was written by a newer version of accelir; update it.")
        return WeightsRecord.model_validate(content)
    except (ValidationError, ValueError, AttributeError) as error:
        if isinstance(error, DecodeError):
            raise
        raise DecodeError(f"The header of {path} is damaged.") from error


def load_weights(module: nn.Module, path: str | Path) -> nn.Module:
    """Fill a module with the weights in a safetensors file, whatever precision they are stored in.

    Args:
        module: Of the architecture that the weights are for; changed in place, and left as it was on an error. Its
            attribute ``provenance`` becomes what the file says of it.
        path: Of the file.

    Returns:
        ``module``, in evaluation mode.

    Raises:
        DecodeError: It is no safetensors file.
        InvalidInputError: The weights are for another architecture.
    """
    record = read_record(path)
    tensors = safetensors.torch.load_file(path)
    wanted = module.state_dict()
    missing, unknown = sorted(wanted.keys() - tensors.keys()), sorted(tensors.keys() - wanted.keys())
    if missing or unknown:
        what = f"it lacks {missing[0]!r}" if missing else f"{unknown[0]!r} has no place"
        raise InvalidInputError(f"The weights in {path} are not for a {type(module).__name__}: {what}.")
    for key, value in tensors.items():
        if value.shape != wanted[key].shape:
            raise InvalidInputError(
                f"The weights in {path} are not for this {type(module).__name__}: {key!r} is {tuple(value.shape)} in "
                f"them and {tuple(wanted[key].shape)} in it."
            )
    module.load_state_dict({key: value.to(wanted[key].dtype) for key, value in tensors.items()})
    if record is not None:
        object.__setattr__(module, "provenance", record.provenance)
    return module.eval()
