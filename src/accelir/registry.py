"""The registry: finds plugins, keeps a broken one from breaking the rest, and makes instances from names."""

from __future__ import annotations

import difflib
import os
import threading
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, cast

import pluggy

from accelir import hookspecs
from accelir.errors import (
    DuplicateNameError,
    InvalidInputError,
    MissingDependencyError,
    PluginError,
    UnknownNameError,
)
from accelir.hookspecs import (
    AllocatorSpec,
    CodecSpec,
    NetworkSpec,
    ProfilerSpec,
    ProfileSpec,
    Spec,
    TaskSpec,
)

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

GROUP = "accelir"
"""The entry-point group in which plugins announce themselves."""

STRICT = "ACCELIR_STRICT_PLUGINS"
"""The environment variable that turns a plugin's failure into an error when it is ``1``."""

SLOW = 1.0
"""Seconds of loading from which a plugin is named as slow."""


@dataclass(frozen=True)
class _Kind:
    """One kind of thing that plugins bring.

    Attributes:
        noun: For messages.
        spec: What its hook returns.
        contract: ``"module:Class"`` of the instances; empty where there are none.
    """

    noun: str
    spec: type[Spec] | type[ProfileSpec]
    contract: str = ""

    @property
    def hook(self) -> str:
        return f"accelir_{self.noun}s"


_KINDS = {
    kind.noun: kind
    for kind in (
        _Kind("codec", CodecSpec, "accelir.codec:Codec"),
        _Kind("network", NetworkSpec, "accelir.network:IRNetwork"),
        _Kind("task", TaskSpec, "accelir.tasks:Task"),
        _Kind("profiler", ProfilerSpec, "accelir.profiling.profiler:Profiler"),
        _Kind("allocator", AllocatorSpec, "accelir.allocation.allocator:Allocator"),
        _Kind("profile", ProfileSpec),
    )
}


class PluginWarning(UserWarning):
    """A plugin failed, or is slow to load."""


@dataclass(frozen=True)
class PluginRecord:
    """What became of one plugin.

    Attributes:
        name: Of its entry point, or as given to `register`.
        distribution: The package that brings it; None for one registered in-process.
        version: Of that package.
        state: ``"loaded"``; ``"partial"``: some of its names were taken, the rest works; ``"failed"``: none of it does.
        error: Why, where it is not loaded.
        seconds: How long loading took.
    """

    name: str
    distribution: str | None
    version: str | None
    state: Literal["loaded", "partial", "failed"]
    error: str | None = None
    seconds: float = 0.0

    def __str__(self) -> str:
        origin = f" ({self.distribution} {self.version})" if self.distribution else ""
        return f"{self.name!r}{origin}"


AnySpec = Spec | ProfileSpec


@dataclass(frozen=True)
class _Plugin:
    """A plugin as loaded, before names are compared with those of others."""

    record: PluginRecord
    specs: tuple[tuple[str, AnySpec], ...] = ()
    cause: BaseException | None = None
    in_process: bool = False


@dataclass(frozen=True)
class _Content:
    """All that is registered: never changed, only replaced."""

    plugins: tuple[_Plugin, ...]
    records: tuple[PluginRecord, ...]
    tables: Mapping[str, Mapping[Any, AnySpec]]
    duplicates: tuple[tuple[PluginRecord, str], ...]


class _Registry:
    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._content: _Content | None = None
        self._discovering = False

    def content(self) -> _Content:
        content = self._content
        return content if content is not None else self._discover(())

    def refresh(self) -> None:
        with self._lock:
            kept = tuple(plugin for plugin in self._content.plugins if plugin.in_process) if self._content else ()
            self._discover(kept, again=True)

    def register(self, plugin: object, name: str) -> None:
        with self._lock:
            current = self.content()
            if any(known.record.name == name for known in current.plugins):
                raise DuplicateNameError(f"A plugin named {name!r} is registered already.")
            loaded = _load(plugin, PluginRecord(name, None, None, "loaded"), in_process=True)
            if loaded.cause is not None:
                raise PluginError(f"Plugin {name!r} failed: {loaded.record.error}") from loaded.cause
            merged = _merge((*current.plugins, loaded))
            new = [message for record, message in merged.duplicates if record.name == name]
            if new:
                raise DuplicateNameError(new[0])
            self._content = merged

    def unregister(self, name: str) -> None:
        with self._lock:
            current = self.content()
            kept = tuple(p for p in current.plugins if not (p.in_process and p.record.name == name))
            if len(kept) == len(current.plugins):
                raise UnknownNameError(f"No plugin named {name!r} was registered in this process.")
            self._content = _merge(kept)

    def _discover(self, in_process: tuple[_Plugin, ...], *, again: bool = False) -> _Content:
        with self._lock:
            if self._content is not None and not again:
                return self._content
            if self._discovering:
                raise PluginError("A plugin asks the registry while it is being loaded; move that into its factory.")
            self._discovering = True
            try:
                found = (_load_entry_point(entry) for entry in sorted(entry_points(group=GROUP), key=_order))
                content = _merge((*found, *in_process))
            finally:
                self._discovering = False
            if os.environ.get(STRICT) == "1":
                _raise_first(content)
            self._content = content
        _warn(content)
        return content


def _order(entry: EntryPoint) -> tuple[bool, str, str]:
    """Built-ins first, then by name."""
    distribution = entry.dist.name if entry.dist else ""
    return distribution != "accelir", entry.name, distribution


def _load_entry_point(entry: EntryPoint) -> _Plugin:
    record = PluginRecord(
        entry.name, entry.dist.name if entry.dist else None, entry.dist.version if entry.dist else None, "loaded"
    )
    return _load(entry, record)


def _load(source: EntryPoint | object, record: PluginRecord, *, in_process: bool = False) -> _Plugin:
    """Load one plugin in a manager of its own: what fails there, fails there."""
    start = time.perf_counter()
    specs: tuple[tuple[str, AnySpec], ...] = ()
    cause: BaseException | None = None
    try:
        specs = tuple(_specs(source.load() if isinstance(source, EntryPoint) else source, record.name))
    except (Exception, SystemExit) as error:
        cause = error
        message = str(error) if isinstance(error, PluginError) else f"{type(error).__name__}: {error}"
        record = replace(record, state="failed", error=message)
    return _Plugin(replace(record, seconds=time.perf_counter() - start), specs, cause, in_process)


def _specs(plugin: object, name: str) -> Iterable[tuple[str, AnySpec]]:
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(plugin, name)
    known = ", ".join(kind.hook for kind in _KINDS.values())
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f"{error}. The hooks are {known}.") from error
    if not manager.get_hookcallers(plugin):
        raise PluginError(f"It has no hook; mark functions named {known} with @accelir.hookimpl.")
    for kind in _KINDS.values():
        for result in getattr(manager.hook, kind.hook)():
            if not isinstance(result, list | tuple):
                raise PluginError(f"{kind.hook} returns a list of {kind.spec.__name__}; got {type(result).__name__}.")
            for spec in result:
                if not isinstance(spec, kind.spec):
                    raise PluginError(f"{kind.hook} returns a list of {kind.spec.__name__}; it holds {spec!r}.")
                yield kind.noun, spec


def _merge(loaded: tuple[_Plugin, ...]) -> _Content:
    """Put plugins together; the first to take a name keeps it."""
    tables: dict[str, dict[Any, AnySpec]] = {noun: {} for noun in _KINDS}
    owners: dict[tuple[str, Any], PluginRecord] = {}
    records: list[PluginRecord] = []
    duplicates: list[tuple[PluginRecord, str]] = []
    for plugin in loaded:
        record, taken = plugin.record, []
        for noun, spec in plugin.specs:
            owner = owners.setdefault((noun, spec.name), record)
            if spec.name in tables[noun]:
                taken.append(
                    f"Plugin {record} registers {noun} {spec.name!r}, a name that plugin {owner} has taken; "
                    "that of the first is used."
                )
            else:
                tables[noun][spec.name] = spec
        if taken:
            record = replace(record, state="partial", error=" ".join(taken))
            duplicates.extend((record, message) for message in taken)
        records.append(record)
    frozen = {noun: MappingProxyType(table) for noun, table in tables.items()}
    return _Content(loaded, tuple(records), MappingProxyType(frozen), tuple(duplicates))


def _raise_first(content: _Content) -> None:
    for plugin in content.plugins:
        if plugin.cause is not None:
            raise PluginError(f"Plugin {plugin.record} failed: {plugin.record.error}") from plugin.cause
    for _, message in content.duplicates:
        raise DuplicateNameError(message)


def _warn(content: _Content) -> None:
    for record in content.records:
        if record.state == "failed":
            warnings.warn(f"Plugin {record} failed and is left out: {record.error}", PluginWarning, stacklevel=4)
        elif record.state == "partial":
            warnings.warn(str(record.error), PluginWarning, stacklevel=4)
        if record.seconds > SLOW:
            warnings.warn(
                f"Plugin {record} took {record.seconds:.1f} s to load; its hooks should import nothing heavy.",
                PluginWarning,
                stacklevel=4,
            )


_registry = _Registry()


def plugins() -> tuple[PluginRecord, ...]:
    """All plugins that were found, the failed ones too."""
    return _registry.content().records


def codecs() -> Mapping[str, CodecSpec]:
    """All codecs by name, read-only."""
    return cast("Mapping[str, CodecSpec]", _registry.content().tables["codec"])


def networks() -> Mapping[str, NetworkSpec]:
    """All networks by name, read-only."""
    return cast("Mapping[str, NetworkSpec]", _registry.content().tables["network"])


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


def network(name: str | IRNetwork, device: str | torch.device | None = None) -> IRNetwork:
    """Make a network.

    Args:
        name: Of an installed network; an instance comes back itself.
        device: Any torch device to move it to; None leaves it where it is.

    Raises:
        UnknownNameError: No network of that name is installed.
        MissingDependencyError: It needs a package that is not installed.
    """
    made = cast("IRNetwork", _instance("network", name, {}))
    return made if device is None else made.to(device)


def task(name: str | Task) -> Task:
    """Make a task; an instance comes back unchanged.

    Raises:
        UnknownNameError: No task of that name is installed.
    """
    return cast("Task", _instance("task", name, {}))


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

    A codec that cannot be made because a package is missing claims nothing: Pillow may still open the file.
    """
    for name, spec in codecs().items():
        if any(_matches(signature, data) for signature in spec.signatures):
            try:
                return codec(name)
            except MissingDependencyError:
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
    contract = _resolve(_KINDS[noun].contract)
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
    assert isinstance(spec, Spec)
    what = f"{noun.capitalize()} {name!r}"
    try:
        factory = _resolve(spec.factory)
        return factory(**{**spec.options, **options})
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name and _is_within(spec.factory, error.name):
            raise PluginError(f"{what} names a factory that does not exist: {spec.factory}.") from error
        hint = f" Install it: {spec.install_hint}" if spec.install_hint else ""
        raise MissingDependencyError(f"{what} needs something that is not installed: {error}.{hint}") from error


def _resolve(path: str) -> Any:
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


def _unknown(noun: str, name: str, table: Mapping[Any, AnySpec]) -> str:
    near = difflib.get_close_matches(name, table, n=3, cutoff=0.5)
    guess = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return f"No {noun} named {name!r}. Installed: {', '.join(sorted(table)) or 'none'}.{guess}"


def _matches(signature: bytes, data: bytes) -> bool:
    """Whether data starts with a signature in which ``?`` (0x3F) stands for any byte."""
    return len(data) >= len(signature) and all(
        want in (have, 0x3F) for want, have in zip(signature, data, strict=False)
    )
