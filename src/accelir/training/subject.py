"""The network that is to be trained, and what its weights will be for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from accelir import registry
from accelir.errors import InvalidInputError
from accelir.network import IRNetwork, TorchNetwork
from accelir.network_sources import FACTORY, WEIGHTS, made_by
from accelir.tasks import Task
from accelir.weights import read_record

__all__ = ["Subject"]


@dataclass(frozen=True)
class Subject:
    """A network to train.

    Attributes:
        network: An instance that training may change.
        source: What its weights are for, as a `WeightsRecord` says it: network, file_kind and arguments.
        experienced: Whether it comes with weights that were trained for a task of this kind.
    """

    network: IRNetwork
    source: dict[str, Any]
    experienced: bool = False

    @property
    def installed(self) -> bool:
        """Whether a plugin brings the architecture."""
        return self.source.get("network") in registry.networks()

    @classmethod
    def of(
        cls,
        network: str | Path | IRNetwork | nn.Module,
        task: str | Task | None,
        arguments: Mapping[str, Any] | None = None,
    ) -> Subject:
        """Make it.

        Args:
            network: A name, a path, a factory, a module or a network.
            task: What it is to undo.
            arguments: Keyword arguments of a factory.

        Raises:
            UnknownNameError: No network or task of that name.
            InvalidInputError: The task is missing or has another scale, or there are arguments for no factory.
        """
        wanted = None if task is None else registry.task(task)
        factory = FACTORY.fullmatch(network) if isinstance(network, str) else None
        if arguments and (factory is None or factory["weights"]):
            raise InvalidInputError("Arguments go with a factory, package.module:Factory.")
        if isinstance(network, nn.Module):
            if wanted is None:
                raise InvalidInputError("A module does not say what it undoes; name the task.")
            made: IRNetwork = TorchNetwork(network, wanted)
        elif factory is not None and not factory["weights"]:
            made = made_by(factory["factory"], wanted, arguments)
        elif isinstance(network, IRNetwork) or str(network) in registry.networks():
            made = registry.network(network)
        else:
            made = registry.network(network, task=wanted)
        if wanted is not None and wanted.scale != made.task.scale:
            raise InvalidInputError(
                f"Network {made.name!r} enlarges by {made.task.scale}, task {wanted.name!r} by {wanted.scale}."
            )
        fresh = isinstance(network, nn.Module | IRNetwork) or (factory is not None and not factory["weights"])
        experienced = not fresh and type(wanted or made.task) is type(made.task)
        made.task = wanted or made.task
        return cls(made, _source(network, made, dict(arguments or {})), experienced)


def _source(network: str | Path | IRNetwork | nn.Module, made: IRNetwork, arguments: dict[str, Any]) -> dict[str, Any]:
    if isinstance(network, str) and (match := FACTORY.fullmatch(network)):
        record = read_record(match["weights"]) if match["weights"] else None
        return {"network": match["factory"], "arguments": record.arguments if record else arguments}
    if isinstance(network, str | Path) and Path(network).suffix.lower() == WEIGHTS:
        record = read_record(network)
        if record is not None:
            return record.model_dump(include={"network", "file_kind", "arguments"}, exclude_defaults=True)
    if made.file_kind:
        return {"file_kind": made.file_kind}
    # An instance of an installed network may have been given other weights, which are what is trained.
    name = network if isinstance(network, str) else made.name
    return {"network": name} if name in registry.networks() else {}
