"""Networks named by the file that holds them, or by the code that makes them, where no plugin brings them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelir import registry
from accelir.errors import AccelIRError, InvalidInputError, PluginError, UnknownNameError

if TYPE_CHECKING:
    from accelir.network import IRNetwork
    from accelir.tasks import Task

__all__ = ["is_factory", "made_by", "named_otherwise"]

WEIGHTS = ".safetensors"
"""What the weights that training writes end in; others may end so too."""

FACTORY = re.compile(r"(?P<factory>[A-Za-z_][\w.]*:[A-Za-z_][\w.]*)(?:@(?P<weights>.+))?")


def is_factory(name: str) -> bool:
    """Whether a name is ``"package.module:Factory"``, with or without weights."""
    return FACTORY.fullmatch(name) is not None


def named_otherwise(name: str | Path, task: Task | None) -> IRNetwork | None:
    """The network that a path or a factory names; None where the name is neither.

    Args:
        name: A path, ``"package.module:Factory"`` or ``"package.module:Factory@file.safetensors"``.
        task: What the caller says that it undoes.

    Raises:
        UnknownNameError: No such factory, or no kind of file with that ending.
        InvalidInputError: The file cannot be used, or the task is missing.
    """
    if isinstance(name, str) and (match := FACTORY.fullmatch(name)):
        if match["weights"] is None:
            return made_by(match["factory"], task)
        return _with_weights(match["factory"], Path(match["weights"]), task)
    path = Path(name)
    if isinstance(name, str) and path.suffix.lower() not in _endings() and os.sep not in name:
        return None
    if not path.is_file():
        raise InvalidInputError(f"There is no network file {path}.")
    return _from_file(path, task)


def made_by(factory: str, task: Task | None, arguments: Mapping[str, Any] | None = None) -> IRNetwork:
    """What ``"package.module:Factory"`` makes.

    Args:
        factory: Of a torch.nn.Module or an IRNetwork.
        task: Of a module; an IRNetwork says its own.
        arguments: Keyword arguments.

    Raises:
        UnknownNameError: There is no such factory.
        InvalidInputError: It makes something else, or does not take the arguments, or the task is missing.
    """
    from torch import nn

    from accelir.network import IRNetwork, TorchNetwork

    try:
        found = registry.resolve(factory)
    except (ImportError, PluginError) as error:
        raise UnknownNameError(f"No network factory {factory!r}: {error}") from error
    try:
        made = found(**(arguments or {}))
    except AccelIRError:
        raise
    except Exception as error:
        hint = ""
        if isinstance(error, TypeError) and "required" in str(error):
            hint = (
                " Training names arguments (--argument NAME=VALUE, arguments={...}), and the weights that it writes "
                "remember them; anywhere else, name a function of yours that needs none."
            )
        raise InvalidInputError(f"{factory} made no network: {type(error).__name__}: {error}.{hint}") from error
    if isinstance(made, IRNetwork):
        return made
    if not isinstance(made, nn.Module):
        raise InvalidInputError(f"{factory} made a {type(made).__name__}, no torch.nn.Module and no IRNetwork.")
    if task is None:
        raise InvalidInputError(f"{factory} does not say what it undoes; name the task.")
    return TorchNetwork(made, task)


def _endings() -> set[str]:
    return {ending for spec in registry.network_files().values() for ending in spec.extensions} | {WEIGHTS}


def _from_file(path: Path, task: Task | None) -> IRNetwork:
    ending = path.suffix.lower()
    kind = next((spec.name for spec in registry.network_files().values() if ending in spec.extensions), None)
    if ending == WEIGHTS:
        from accelir.weights import read_record

        record = read_record(path)
        if record is not None and is_factory(record.network):
            raise InvalidInputError(
                f"{path} holds weights of {record.network}, which is run only where you name it yourself: "
                f"{record.network}@{path}"
            )
        if record is not None and not record.file_kind:
            return _with_weights(record.network, path, task)
        if record is not None:
            kind, task = record.file_kind, task or registry.task(record.task)
    if kind is None or kind not in registry.network_files():
        raise UnknownNameError(
            f"No kind of network file reads {path}. Those installed end in {', '.join(sorted(_endings()))}."
        )
    return registry.from_file(kind, path, path.stem, task)


def _with_weights(source: str, path: Path, task: Task | None) -> IRNetwork:
    """A network of a plugin, or what a factory that the caller has named makes, with the weights in a file."""
    from accelir.weights import load_weights, read_record

    if not path.is_file():
        raise InvalidInputError(f"There are no weights {path}.")
    record = read_record(path)
    if task is None and record is not None:
        task = registry.task(record.task)
    if is_factory(source):
        if record is not None and record.network == source and record.arguments:
            network = made_by(source, task, record.arguments)
        else:
            network = made_by(source, task)
    elif source in registry.networks():
        network = registry.network(source)
    else:
        raise InvalidInputError(
            f"{path} holds weights of {source!r}, which is not installed."
            if source
            else f"{path} holds weights of a module that was handed over in Python: fill it by "
            "accelir.training.load_weights(module, path)."
        )
    if len(network.modules) != 1:
        raise InvalidInputError(f"Network {network.name!r} keeps {len(network.modules)} modules: no weights fit it.")
    load_weights(network.modules[0], path)
    network.name = path.stem
    if is_factory(source):
        network.family = network.name
    network.provenance = getattr(network.modules[0], "provenance", {})
    if task is not None:
        network.task = task
    return network
