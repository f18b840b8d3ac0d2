"""The registry: what plugins brought, looked up by name and made into instances."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from accelir.discovery import KINDS, AnySpec, PluginRecord, PluginWarning, Registry
from accelir.errors import (
    AccelIRError,
    InvalidInputError,
    MissingDependencyError,
    PluginError,
    UnknownNameError,
)
from accelir.hookspecs import (
    AllocatorSpec,
    CodecSpec,
    NetworkFileSpec,
    NetworkSpec,
    ProfilerSpec,
    ProfileSpec,
    Spec,
    TaskSpec,
)
from accelir.image import matches

if TYPE_CHECKING:
    import torch

    from accelir.allocation.allocator import Allocator
    from accelir.codec import Codec
    from accelir.network import IRNetwork
    from accelir.profiling.profiler import Profiler
    from accelir.tasks import Task

__all__ = [
    "PluginRecord",
    "PluginWarning",
    "allocator",
    "allocators",
    "codec",
    "codec_for",
    "codecs",
    "network",
    "network_files",
    "networks",
    "plugins",
    "profiler",
    "profilers",
    "profiles",
    "refresh",
    "register",
    "task",
    "tasks",
    "unregister",
]

_registry = Registry()


def plugins() -> tuple[PluginRecord, ...]:
    """All plugins that were found, the failed ones too."""
    return _registry.content().records


def codecs() -> Mapping[str, CodecSpec]:
    """All codecs by name, read-only."""
    return cast("Mapping[str, CodecSpec]", _registry.content().tables["codec"])


def networks() -> Mapping[str, NetworkSpec]:
    """All networks by name, read-only."""
    return cast("Mapping[str, NetworkSpec]", _registry.content().tables["network"])


def network_files() -> Mapping[str, NetworkFileSpec]:
    """All kinds of network files by name, read-only."""
    return cast("Mapping[str, NetworkFileSpec]", _registry.content().tables["network_file"])


def tasks() -> Mapping[str, TaskSpec]:
    """All tasks by name, read-only."""
    return cast("Mapping[str, TaskSpec]", _registry.content().tables["task"])


def profilers() -> Mapping[str, ProfilerSpec]:
    """All profilers by name, read-only."""
    return cast("Mapping[str, ProfilerSpec]", _registry.content().tables["profiler"])


def allocators() -> Mapping[str, AllocatorSpec]:
    """All allocators by name, read-only."""
    return cast("Mapping[str, AllocatorSpec]", _registry.content().tables["allocator"])


def profiles() -> Mapping[tuple[str, str], ProfileSpec]:
    """All profiles that come with packages, by (codec, network), read-only."""
    return cast("Mapping[tuple[str, str], ProfileSpec]", _registry.content().tables["profile"])


def codec(name: str | Codec, **options: Any) -> Codec:
    """Make a codec.

    Args:
        name: Of an installed codec; an instance comes back unchanged.
        **options: Of the codec, checked by its options model.

    Raises:
        UnknownNameError: No codec of that name is installed.
        MissingDependencyError: It needs a package that is not installed.
        InvalidInputError: An option is unknown or out of range.
    """
    return cast("Codec", _instance("codec", name, options))


def network(
    name: str | Path | IRNetwork, device: str | torch.device | None = None, *, task: str | Task | None = None
) -> IRNetwork:
    """Make a network.

    Args:
        name: Of an installed network; the path of a file that holds one (`network_files` says of which kinds, and so do
            the weights that training writes); or ``"package.module:Factory"``, anything that makes a torch.nn.Module or
            an IRNetwork, with the weights in a file where ``"@file.safetensors"`` follows. An instance comes back
            itself.
        device: Any torch device to move it to; None leaves it where it is.
        task: What it undoes, where neither its file nor its factory says it.

    Raises:
        UnknownNameError: No network of that name is installed, no factory of that name is there, or no kind of file
            has that ending.
        MissingDependencyError: It needs a package that is not installed.
        InvalidInputError: The file holds no network that can be run, or the task is missing or another one.
    """
    made: IRNetwork | None = None
    wanted = None if task is None else _task(task)
    if isinstance(name, str | Path) and str(name) not in networks():
        from accelir.network_sources import named_otherwise

        made = named_otherwise(name, wanted)
    if made is None:
        made = cast("IRNetwork", _instance("network", str(name) if isinstance(name, Path) else name, {}))
    if wanted is not None and made.task != wanted:
        raise InvalidInputError(f"Network {made.name!r} is for task {made.task.name!r}, not for {wanted.name!r}.")
    return made if device is None else made.to(device)


def task(name: str | Task) -> Task:
    """Make a task; an instance comes back unchanged.

    Names of super-resolution, denoising and deblurring that carry their parameters (``"sr-x3"``, ``"denoise-s0to55"``)
    need no plugin.

    Raises:
        UnknownNameError: No task of that name is installed.
    """
    if isinstance(name, str) and name not in tasks():
        from accelir.tasks import task_named

        made = task_named(name)
        if made is not None:
            return made
    return cast("Task", _instance("task", name, {}))


_task = task


def profiler(name: str | Profiler, **options: Any) -> Profiler:
    """Make a profiler; an instance comes back unchanged.

    Raises:
        UnknownNameError: No profiler of that name is installed.
        MissingDependencyError: It needs a package that is not installed.
    """
    return cast("Profiler", _instance("profiler", name, options))


def allocator(name: str | Allocator, **options: Any) -> Allocator:
    """Make an allocator; an instance comes back unchanged.

    Raises:
        UnknownNameError: No allocator of that name is installed.
        MissingDependencyError: It needs a package that is not installed.
    """
    return cast("Allocator", _instance("allocator", name, options))


def codec_for(data: bytes) -> Codec | None:
    """The codec whose signature a file starts with, or None.

    A codec that cannot be made, because a package is missing or its plugin is broken, claims nothing: Pillow may still
    open the file. `codec` says what is wrong with it.
    """
    for name, spec in codecs().items():
        if any(matches(signature, data) for signature in spec.signatures):
            try:
                return codec(name)
            except (MissingDependencyError, PluginError):
                continue
    return None


def register(plugin: object, name: str) -> None:
    """Register a plugin of this process: any object or module with marked hooks.

    Raises:
        DuplicateNameError: Its name, or that of something it brings, is taken. Nothing is registered.
        PluginError: It is malformed. Nothing is registered.
    """
    _registry.register(plugin, name)


def unregister(name: str) -> None:
    """Take back what `register` did.

    Raises:
        UnknownNameError: No plugin of that name was registered in this process.
    """
    _registry.unregister(name)


def refresh() -> None:
    """Look for plugins anew; those of this process stay."""
    _registry.refresh()


def _instance(noun: str, name: Any, options: dict[str, Any]) -> Any:
    if isinstance(name, str):
        return _make(noun, name, options)
    contract = resolve(KINDS[noun].contract)
    if not isinstance(name, contract):
        hint = "; wrap a torch.nn.Module in accelir.TorchNetwork" if noun == "network" else ""
        raise InvalidInputError(
            f"A {noun} is a name or an instance of accelir.{contract.__name__}; got {type(name).__name__}{hint}."
        )
    if options:
        raise InvalidInputError(f"Options go with a {noun}'s name, not with an instance: {', '.join(options)}.")
    return name


def _make(noun: str, name: str, options: dict[str, Any]) -> Any:
    table = _registry.content().tables[noun]
    spec = table.get(name)
    if spec is None:
        raise UnknownNameError(_unknown(noun, name, table))
    spec = cast("Spec", spec)
    what = f"{noun.replace('_', ' ').capitalize()} {name!r}"
    try:
        factory = resolve(spec.factory)
        made = factory(**{**spec.options, **options})
    except AccelIRError:
        raise
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name and _is_within(spec.factory, error.name):
            raise PluginError(f"{what} names a factory that does not exist: {spec.factory}.") from error
        hint = f" Install it: {spec.install_hint}" if spec.install_hint else ""
        raise MissingDependencyError(f"{what} needs something that is not installed: {error}.{hint}") from error
    except Exception as error:
        if options and isinstance(error, TypeError):
            raise InvalidInputError(f"{what} does not take these options: {error}.") from error
        raise PluginError(f"{what} cannot be made: {type(error).__name__}: {error}.") from error
    contract = resolve(KINDS[noun].contract)
    if not isinstance(made, contract):
        raise PluginError(f"{what} is a {type(made).__name__}, not an accelir.{contract.__name__}.")
    return made


def resolve(path: str) -> Any:
    """The object at ``"package.module:Class"``."""
    module_name, _, attributes = path.partition(":")
    found: Any = import_module(module_name)
    for attribute in attributes.split("."):
        if not hasattr(found, attribute):
            raise PluginError(f"{module_name} has no {attributes!r}: {path!r} is no factory.")
        found = getattr(found, attribute)
    return found


def _is_within(factory: str, module: str) -> bool:
    """Whether a missing module is the factory's own, or a package around it."""
    return f"{factory.partition(':')[0]}.".startswith(f"{module}.")


def from_file(kind: str, path: Path, name: str, task: Task | None) -> IRNetwork:
    """The network in a file, by the reader of that kind of files.

    Raises:
        MissingDependencyError: The reader needs a package that is not installed.
        InvalidInputError: The file holds no network that can be run.
    """
    spec = network_files()[kind]
    if spec.missing:
        hint = f": {spec.install_hint}" if spec.install_hint else "."
        raise MissingDependencyError(f"Reading {path.name} needs {' and '.join(spec.missing)}{hint}")
    made = cast("IRNetwork", _make("network_file", kind, {"path": path, "name": name, "task": task}))
    made.file_kind = kind
    return made


def _unknown(noun: str, name: str, table: Mapping[Any, AnySpec]) -> str:
    near = difflib.get_close_matches(name, table, n=3, cutoff=0.5)
    guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"No {noun} named {name!r}. Installed: {', '.join(_listed(table)) or 'none'}.{guess}"


def _listed(table: Mapping[Any, AnySpec]) -> list[str]:
    """The names of a table, those that differ by the width only as one: ``edsr-x4-f{8,16,32,64}``."""
    widths: dict[str, list[int]] = {}
    for name, spec in table.items():
        width = spec.width if isinstance(spec, NetworkSpec) and name.endswith(str(spec.width)) else None
        found = widths.setdefault(name if width is None else name.removesuffix(str(width)), [])
        if width is not None:
            found.append(width)
    return [
        stem + (f"{{{','.join(map(str, sorted(found)))}}}" if len(found) > 1 else "".join(map(str, found)))
        for stem, found in sorted(widths.items())
    ]
