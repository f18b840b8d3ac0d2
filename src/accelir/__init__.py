"""Encode images for the neural network that will restore them."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accelir.allocation.allocator import Allocator
    from accelir.allocation.budget import BitsPerPixel, Budget, Bytes, LikeQuality
    from accelir.batch import BatchResult, encode_many
    from accelir.codec import Codec, CodecOptions, Encoded, Guidance, Prepared
    from accelir.cost import Cost
    from accelir.errors import (
        AccelIRError,
        BudgetError,
        CodecError,
        DecodeError,
        DuplicateNameError,
        ExportError,
        InvalidInputError,
        MissingDependencyError,
        NotDifferentiableError,
        PluginError,
        ProfileFormatError,
        ProfileMismatchError,
        ProfileNotFoundError,
        SaveError,
        UnknownNameError,
    )
    from accelir.export import Exported, export_onnx
    from accelir.hookspecs import (
        AllocatorSpec,
        CodecSpec,
        NetworkFileSpec,
        NetworkSpec,
        ProfilerSpec,
        ProfileSpec,
        TaskSpec,
        hookimpl,
    )
    from accelir.lookup import ProfileWarning, profile_for
    from accelir.metadata import Metadata
    from accelir.network import IRNetwork, TorchNetwork
    from accelir.pipeline import FramesWarning, MetadataWarning, encode, restore
    from accelir.profiling.estimate import Curves, Estimate
    from accelir.profiling.profile import Profile
    from accelir.profiling.profiler import Profiler
    from accelir.registry import (
        PluginRecord,
        PluginWarning,
        allocator,
        allocators,
        codec,
        codec_for,
        codecs,
        network,
        network_files,
        networks,
        plugins,
        profiler,
        profilers,
        profiles,
        refresh,
        register,
        task,
        tasks,
        unregister,
    )
    from accelir.tasks import Deblur, Denoise, SuperResolution, Task

__all__ = [
    "AccelIRError",
    "Allocator",
    "AllocatorSpec",
    "BatchResult",
    "BitsPerPixel",
    "Budget",
    "BudgetError",
    "Bytes",
    "Codec",
    "CodecError",
    "CodecOptions",
    "CodecSpec",
    "Cost",
    "Curves",
    "Deblur",
    "DecodeError",
    "Denoise",
    "DuplicateNameError",
    "Encoded",
    "Estimate",
    "ExportError",
    "Exported",
    "FramesWarning",
    "Guidance",
    "IRNetwork",
    "InvalidInputError",
    "LikeQuality",
    "Metadata",
    "MetadataWarning",
    "MissingDependencyError",
    "NetworkFileSpec",
    "NetworkSpec",
    "NotDifferentiableError",
    "PluginError",
    "PluginRecord",
    "PluginWarning",
    "Prepared",
    "Profile",
    "ProfileFormatError",
    "ProfileMismatchError",
    "ProfileNotFoundError",
    "ProfileSpec",
    "ProfileWarning",
    "Profiler",
    "ProfilerSpec",
    "SaveError",
    "SuperResolution",
    "Task",
    "TaskSpec",
    "TorchNetwork",
    "UnknownNameError",
    "__version__",
    "allocator",
    "allocators",
    "codec",
    "codec_for",
    "codecs",
    "encode",
    "encode_many",
    "export_onnx",
    "hookimpl",
    "network",
    "network_files",
    "networks",
    "plugins",
    "profile_for",
    "profiler",
    "profilers",
    "profiles",
    "refresh",
    "register",
    "restore",
    "task",
    "tasks",
    "unregister",
]

__version__ = "0.1.0"

_NAMES_OF_MODULES = {
    "allocation.allocator": "Allocator",
    "allocation.budget": "BitsPerPixel Budget Bytes LikeQuality",
    "batch": "BatchResult encode_many",
    "codec": "Codec CodecOptions Encoded Guidance Prepared",
    "cost": "Cost",
    "errors": "AccelIRError BudgetError CodecError DecodeError DuplicateNameError ExportError InvalidInputError "
    "MissingDependencyError NotDifferentiableError PluginError ProfileFormatError ProfileMismatchError "
    "ProfileNotFoundError SaveError UnknownNameError",
    "export": "Exported export_onnx",
    "hookspecs": "AllocatorSpec CodecSpec NetworkFileSpec NetworkSpec ProfileSpec ProfilerSpec TaskSpec hookimpl",
    "lookup": "ProfileWarning profile_for",
    "network": "IRNetwork TorchNetwork",
    "metadata": "Metadata",
    "pipeline": "FramesWarning MetadataWarning encode restore",
    "profiling.estimate": "Curves Estimate",
    "profiling.profile": "Profile",
    "profiling.profiler": "Profiler",
    "registry": "PluginRecord PluginWarning allocator allocators codec codec_for codecs network network_files "
    "networks plugins "
    "profiler profilers profiles refresh register task tasks unregister",
    "tasks": "Deblur Denoise SuperResolution Task",
}
_MODULE_OF = {name: module for module, names in _NAMES_OF_MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name == "testing":
        return import_module(f"{__name__}.testing")
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


class _Package(ModuleType):
    """Keeps ``accelir.codec``, ``accelir.network`` and ``accelir.tasks`` functions.

    Importing a module of the package sets it as the package's attribute, which would replace the function of the same
    name at a moment that depends on who imports what first.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _MODULE_OF and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
