"""What several commands ask for, and what they make sure of before they work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from accelir.codec import Codec
    from accelir.network import IRNetwork

__all__ = [
    "CodecSettings",
    "NetworkOption",
    "TaskOption",
    "codec_named",
    "networks_named",
    "protect",
    "require_folder_for_output",
    "weights_in",
]

CodecSettings = Annotated[
    list[str] | None,
    typer.Option("--option", metavar="NAME=VALUE", help="An option of the codec, as process=smaller; may be repeated."),
]

NetworkOption = Annotated[
    str,
    typer.Option("--network", "-n", help="The network that restores the image: see `accelir plugins`, or a file."),
]
TaskOption = Annotated[
    str | None, typer.Option("--task", help="What the network undoes, where its file does not say it.")
]


def codec_named(name: str, settings: list[str] | None) -> Codec:
    """A codec with the options that stand on the command line."""
    from accelir import registry

    pairs = [setting.partition("=") for setting in settings or []]
    for option, equals, _ in pairs:
        if not option or not equals:
            raise typer.BadParameter(f"{option!r} is not NAME=VALUE.", param_hint="--option")
    return registry.codec(name, **{option: value for option, _, value in pairs})


def networks_named(names: Sequence[str], task: str | None) -> Sequence[str | IRNetwork]:
    """As they were named, for workers to make them anew; made here where the task is to be said."""
    if task is None:
        return names
    from accelir import registry

    return [registry.network(name, task=task) for name in names]


def weights_in(network: str) -> list[Path]:
    """The files that a network is read from, as ``restorer.pth`` or ``package.module:Factory@mine.safetensors``."""
    return [Path(part) for part in (network, *network.split("@")) if Path(part).is_file()]


def protect(source: Path | None, target: Path) -> None:
    """Make sure that a file can be written, and that it is not the one that is read."""
    same = source is not None and target.exists() and source.exists() and target.samefile(source)
    if same or (source is not None and target.resolve() == source.resolve()):
        raise typer.BadParameter(f"{target} is the input; name another file.", param_hint="--output")
    if target.is_dir():
        raise typer.BadParameter(f"{target} is a folder; name a file.", param_hint="--output")
    if not target.parent.is_dir():
        raise typer.BadParameter(f"There is no folder {target.parent}.", param_hint="--output")


def require_folder_for_output(output: Path | None) -> Path:
    """Make sure that what comes of a folder has one to go to."""
    if output is None:
        raise typer.BadParameter("Say which folder the files go to.", param_hint="--output")
    if output.exists() and not output.is_dir():
        raise typer.BadParameter(f"{output} is a file; name a folder.", param_hint="--output")
    return output
