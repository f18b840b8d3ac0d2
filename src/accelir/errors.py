"""Every error that the library raises: one tree, each also the standard library's kind of error that it is."""

from __future__ import annotations

__all__ = [
    "AccelIRError",
    "BudgetError",
    "CodecError",
    "DecodeError",
    "DuplicateNameError",
    "ExportError",
    "InvalidInputError",
    "MissingDependencyError",
    "NotDifferentiableError",
    "PluginError",
    "ProfileFormatError",
    "ProfileMismatchError",
    "ProfileNotFoundError",
    "SaveError",
    "UnknownNameError",
]


class AccelIRError(Exception):
    """The base of all errors of this library."""


class InvalidInputError(AccelIRError, ValueError):
    """An argument has the wrong type, shape, range or value."""


class SaveError(AccelIRError, OSError):
    """A file could not be written; nothing was changed."""


class ExportError(AccelIRError):
    """A network cannot be written as ONNX, or what was written computes something else."""


class PluginError(AccelIRError):
    """A plugin could not be loaded, or registered something malformed."""


class DuplicateNameError(PluginError, ValueError):
    """Two plugins register the same name."""


class UnknownNameError(AccelIRError, LookupError):
    """No codec, network, task, profiler or allocator of that name is installed."""


class MissingDependencyError(AccelIRError, ImportError):
    """A part of the library needs a package that is not installed; the message says how to install it."""


class CodecError(AccelIRError, ValueError):
    """A codec cannot write this image or these levels."""


class DecodeError(AccelIRError, ValueError):
    """The bytes are not an image that can be read."""


class BudgetError(AccelIRError, ValueError):
    """No file of this codec fits the budget.

    Attributes:
        asked: The budget, in bytes.
        smallest: The smallest file possible, in bytes.
        metadata: How many of these are colour profile, EXIF and XMP.
    """

    def __init__(
        self, asked: int, smallest: int, codec: str, metadata: int = 0, *, budget: str = "", least: str = ""
    ) -> None:
        """Say what was asked and what is possible.

        Args:
            asked: The budget, in bytes.
            smallest: The smallest file possible, in bytes.
            codec: Its name.
            metadata: How many of the smallest file's bytes are metadata.
            budget: The budget as the caller said it, where that was not in bytes.
            least: The smallest file in the unit of that.
        """
        wanted = f"{budget} ({_in_bytes(asked)})" if budget else _in_bytes(asked)
        needed = f"{_in_bytes(smallest)} ({least})" if least else _in_bytes(smallest)
        advice = f", {metadata} of them metadata, which metadata='strip' (--strip) leaves out" if metadata else ""
        super().__init__(
            f"A budget of {wanted} is impossible: the smallest {codec} file of this image takes {needed}{advice}."
        )
        self.asked = asked
        self.smallest = smallest
        self.metadata = metadata


def _in_bytes(count: int) -> str:
    return f"{count} byte" if count == 1 else f"{count} bytes"


class ProfileNotFoundError(AccelIRError, LookupError):
    """No profile is known for a codec and network."""


class ProfileMismatchError(AccelIRError, ValueError):
    """A profile belongs to another codec or network."""


class ProfileFormatError(AccelIRError, ValueError):
    """A file is not a profile, or was written by a newer version."""


class NotDifferentiableError(AccelIRError, TypeError):
    """A network without gradients was asked for something that needs them."""
