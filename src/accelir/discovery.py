"""Discovery: finds plugins, loads each by itself, and keeps a broken one from breaking the rest."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import Any, Literal

import pluggy

from accelir import hookspecs
from accelir.errors import (
    DuplicateNameError,
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

__all__ = ["KINDS", "AnySpec", "Kind", "PluginRecord", "PluginWarning", "Registry"]

GROUP = "accelir"
"""The entry-point group in which plugins announce themselves."""

STRICT = "ACCELIR_STRICT_PLUGINS"
"""The environment variable that turns a plugin's failure into an error when it is ``1``."""

SLOW = 1.0
"""Seconds of loading from which a plugin is named as slow."""


@dataclass(frozen=True)
class Kind:
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


KINDS = {
    kind.noun: kind
    for kind in (
        Kind("codec", CodecSpec, "accelir.codec:Codec"),
        Kind("network", NetworkSpec, "accelir.network:IRNetwork"),
        Kind("network_file", NetworkFileSpec, "accelir.network:IRNetwork"),
        Kind("task", TaskSpec, "accelir.tasks:Task"),
        Kind("profiler", ProfilerSpec, "accelir.profiling.profiler:Profiler"),
        Kind("allocator", AllocatorSpec, "accelir.allocation.allocator:Allocator"),
        Kind("profile", ProfileSpec),
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


class Registry:
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
    known = ", ".join(kind.hook for kind in KINDS.values())
    try:
        manager.check_pending()
    except pluggy.PluginValidationError as error:
        raise PluginError(f"{error}. The hooks are {known}.") from error
    if not manager.get_hookcallers(plugin):
        raise PluginError(f"It has no hook; mark functions named {known} with @accelir.hookimpl.")
    for kind in KINDS.values():
        for result in getattr(manager.hook, kind.hook)():
            if not isinstance(result, list | tuple):
                raise PluginError(f"{kind.hook} returns a list of {kind.spec.__name__}; got {type(result).__name__}.")
            for spec in result:
                if not isinstance(spec, kind.spec):
                    raise PluginError(f"{kind.hook} returns a list of {kind.spec.__name__}; it holds {spec!r}.")
                yield kind.noun, spec


def _merge(loaded: tuple[_Plugin, ...]) -> _Content:
    """Put plugins together; the first to take a name keeps it."""
    tables: dict[str, dict[Any, AnySpec]] = {noun: {} for noun in KINDS}
    owners: dict[tuple[str, Any], PluginRecord] = {}
    records: list[PluginRecord] = []
    duplicates: list[tuple[PluginRecord, str]] = []
    for plugin in loaded:
        record, taken = plugin.record, []
        for noun, spec in plugin.specs:
            owner = owners.setdefault((noun, spec.name), record)
            if spec.name in tables[noun]:
                taken.append(
                    f"Plugin {record} registers {noun.replace('_', ' ')} {spec.name!r}, a name that plugin {owner} has "
                    "taken; that of the first is used."
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
