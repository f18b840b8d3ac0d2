"""The hooks that a plugin implements, and the specs that they return.

A spec names its factory as ``"package.module:Class"``, so that finding plugins imports nothing heavy.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

import pluggy
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer

__all__ = [
    "AllocatorSpec",
    "CodecSpec",
    "NetworkFileSpec",
    "NetworkSpec",
    "ProfileSpec",
    "ProfilerSpec",
    "Spec",
    "TaskSpec",
    "hookimpl",
]

hookspec = pluggy.HookspecMarker("accelir")
hookimpl = pluggy.HookimplMarker("accelir")


class Spec(BaseModel):
    """What a plugin says of one thing that it brings.

    Attributes:
        name: Unique among its kind: lower-case letters, digits and ``. + _ -``.
        factory: ``"package.module:Class"``, or a function; called with ``options`` as keyword arguments.
        summary: One line for listings.
        requires: Modules that must be there for it to work and that its package does not bring by itself, for
            example ``"pillow_heif"``: listings say which are missing.
        install_hint: The command that brings them, for example ``"pip install 'accelir-avif[encoder]'"``.
        options: Keyword arguments of the factory, read-only.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.+_-]*$")
    factory: str = Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")
    summary: str = Field(min_length=1)
    requires: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")], ...] = ()
    install_hint: str = ""
    options: Annotated[
        Mapping[str, Any], AfterValidator(lambda given: MappingProxyType(dict(given))), PlainSerializer(dict)
    ] = Field(default_factory=dict, validate_default=True)

    @property
    def missing(self) -> tuple[str, ...]:
        """Those of ``requires`` that are not installed; none is imported, but the packages around them."""
        return tuple(module for module in self.requires if not _is_installed(module))


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except Exception:
        # A package around it is not there, or breaks as it is imported.
        return False


class CodecSpec(Spec):
    """A codec.

    Attributes:
        extensions: With the dot, the usual one first.
        signatures: Leading bytes of its files; ``?`` stands for any byte.
    """

    extensions: tuple[str, ...] = Field(min_length=1)
    signatures: tuple[bytes, ...] = Field(min_length=1)


class NetworkSpec(Spec):
    """A network.

    Attributes:
        family: What its widths have in common.
        width: Channels of the body, 0 where that says nothing.
        task: Name of the task.
    """

    family: str
    width: int = Field(ge=0)
    task: str


class NetworkFileSpec(Spec):
    """A kind of files that hold networks.

    Its factory is called with ``path`` (a Path), ``name`` (a string) and ``task`` (a Task, or None where the caller
    named none), and makes an `IRNetwork`.

    Attributes:
        extensions: Of the files, with the dot, in lower case. Where two kinds claim one, the first is asked.
    """

    extensions: tuple[str, ...] = Field(min_length=1)


class TaskSpec(Spec):
    """A task."""


class ProfilerSpec(Spec):
    """A profiler."""


class AllocatorSpec(Spec):
    """An allocator."""


class ProfileSpec(BaseModel):
    """A profile that comes with a package.

    Attributes:
        codec: Name of the codec.
        network: Name of the network.
        path: ``"package:relative/file.safetensors"``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    codec: str
    network: str
    path: str = Field(pattern=r"^[A-Za-z_][\w.]*:.+$")

    @property
    def name(self) -> tuple[str, str]:
        """What profiles are looked up by: (codec, network)."""
        return self.codec, self.network


@hookspec
def accelir_codecs() -> list[CodecSpec]:  # type: ignore[empty-body]
    """Return the codecs that the plugin brings."""


@hookspec
def accelir_networks() -> list[NetworkSpec]:  # type: ignore[empty-body]
    """Return the networks that the plugin brings."""


@hookspec
def accelir_network_files() -> list[NetworkFileSpec]:  # type: ignore[empty-body]
    """Return the kinds of network files that the plugin reads."""


@hookspec
def accelir_tasks() -> list[TaskSpec]:  # type: ignore[empty-body]
    """Return the tasks that the plugin brings."""


@hookspec
def accelir_profilers() -> list[ProfilerSpec]:  # type: ignore[empty-body]
    """Return the profilers that the plugin brings."""


@hookspec
def accelir_allocators() -> list[AllocatorSpec]:  # type: ignore[empty-body]
    """Return the allocators that the plugin brings."""


@hookspec
def accelir_profiles() -> list[ProfileSpec]:  # type: ignore[empty-body]
    """Return the profiles that the plugin brings."""
