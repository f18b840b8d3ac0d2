"""The command ``accelir restore``."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from accelir.cli_inputs import NetworkOption, TaskOption, networks_named, protect, require_folder_for_output
from accelir.terminal import complain, plain_errors, progress

if TYPE_CHECKING:
    from accelir.network import IRNetwork

__all__ = ["restore"]


def restore(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="A picture in any format that is read, or a folder.")],
    network: NetworkOption,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The picture to write, by default a PNG; for a folder, the folder."),
    ] = None,
    ending: Annotated[str, typer.Option("--ending", help="Of the pictures that are made of a folder's.")] = ".png",
    device: Annotated[str | None, typer.Option("--device", help="A torch device, for example cuda.")] = None,
    task: TaskOption = None,
) -> None:
    """Decode FILE, or all of a folder, and restore the picture."""
    if source.is_dir():
        _restore_folder(source, require_folder_for_output(output), ending, network, device, task)
        return
    target = output or source.with_name(f"{source.stem}-restored.png")
    protect(source, target)
    kind = _picture_format(target.suffix)
    with plain_errors():
        from accelir.files import read_bytes

        # Before the imports that take seconds.
        read_bytes(source)
        width, height = _restore_one(source, target, kind, networks_named([network], task)[0], device)
        typer.echo(f"{target}: {width} x {height} pixels")


def _restore_folder(
    folder: Path, output: Path, ending: str, network: str, device: str | None, task: str | None
) -> None:
    kind = _picture_format(ending)
    with plain_errors():
        from accelir.errors import AccelIRError
        from accelir.files import sources_and_targets

        pairs = sources_and_targets(folder, output, ending.lower())
        from accelir import registry

        made = registry.network(network, task=task)
        failed = 0
        with progress() as tell:
            for done, (source, target) in enumerate(pairs):
                tell(done, len(pairs), "restoring")
                try:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    _restore_one(source, target, kind, made, device)
                except (AccelIRError, OSError) as error:
                    failed += 1
                    complain(f"{error}" if str(source) in str(error) else f"{source}: {error}")
            tell(len(pairs), len(pairs), "restoring")
        typer.echo(f"{output}: {len(pairs) - failed} of {len(pairs)} pictures")
        if failed:
            raise typer.Exit(1)


def _restore_one(
    source: Path, target: Path, kind: str, network: str | IRNetwork, device: str | None
) -> tuple[int, int]:
    """Width and height of what was written."""
    from accelir import pipeline
    from accelir.errors import SaveError
    from accelir.files import write_atomically
    from accelir.saving import as_saved

    restored = pipeline.restore(source, network=network, device=device)
    stream = io.BytesIO()
    try:
        restored.save(stream, kind, **as_saved(kind, restored.info))
    except (OSError, ValueError) as error:
        raise SaveError(f"Cannot write {target} as {kind}: {error}.") from error
    write_atomically(target, stream.getvalue())
    return restored.size


def _picture_format(ending: str) -> str:
    """Pillow's name of a format that it writes."""
    from PIL import Image

    from accelir.image import pillow_knows_heic

    if ending.lower() in (".heic", ".heif"):
        pillow_knows_heic()
    kind = Image.registered_extensions().get(ending.lower())
    if kind is None or kind not in Image.SAVE:
        raise typer.BadParameter(f"No picture format has the ending {ending!r}; use .png.", param_hint="--output")
    return kind
