"""The command ``accelir encode``."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from accelir.cli_inputs import (
    CodecSettings,
    TaskOption,
    codec_named,
    networks_named,
    protect,
    require_folder_for_output,
)
from accelir.terminal import complain, plain_errors, progress

if TYPE_CHECKING:
    from accelir.allocation.budget import Budget
    from accelir.codec import Guidance
    from accelir.network import IRNetwork

__all__ = ["encode"]

ESTIMATES = ("profile", "measured", "uniform", "plain-mse", "variance", "oracle")


def encode(
    network: Annotated[
        list[str],
        typer.Option("--network", "-n", help="The network that restores the image; may be repeated within one task."),
    ],
    image: Annotated[
        Path | None,
        typer.Argument(
            metavar="IMAGE", help="What the network will get, or a folder; by default made from --reference."
        ),
    ] = None,
    codec: Annotated[
        str | None,
        typer.Option("--codec", "-c", help="The file format; by default that of the ending of --output, or jpeg."),
    ] = None,
    settings: CodecSettings = None,
    size: Annotated[int | None, typer.Option("--bytes", min=1, help="Budget: at most this many bytes.")] = None,
    bpp: Annotated[float | None, typer.Option("--bpp", help="Budget: at most this many bits per pixel.")] = None,
    like_quality: Annotated[
        int | None,
        typer.Option("--like-quality", min=1, max=100, help="Budget: what the usual encoder takes at this quality."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="The file to write; for a folder, the folder to write to.")
    ] = None,
    profile: Annotated[
        list[Path] | None,
        typer.Option(
            "--profile", help="A profile made by `accelir profile`; repeated, one for each --network in turn."
        ),
    ] = None,
    estimate: Annotated[
        str,
        typer.Option("--estimate", help=f"One of {', '.join(ESTIMATES)}; the last takes --reference."),
    ] = "profile",
    reference: Annotated[
        Path | None, typer.Option("--reference", help="The clean original: networks run to come nearer to it.")
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option("--teacher", help="Without an original: a better network, whose picture they come nearer to."),
    ] = None,
    passes: Annotated[
        int | None,
        typer.Option(
            "--passes", min=0, help="Forward and backward passes that they may take, all told; by default 40 of each."
        ),
    ] = None,
    strip: Annotated[bool, typer.Option("--strip", help="Leave out the colour profile, EXIF and XMP.")] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Pictures of a folder at a time; by default one a processor.")
    ] = None,
    task: TaskOption = None,
) -> None:
    """Encode IMAGE, or all of a folder, within a budget for the network that will restore it."""
    budget = _budget(size, bpp, like_quality)
    source = image or reference
    if source is None:
        raise typer.BadParameter("Name an image, or --reference to make it from.", param_hint="IMAGE")
    if teacher is not None and reference is not None:
        raise typer.BadParameter(
            "A file follows a --reference or a --teacher; name one of them.", param_hint="--teacher"
        )
    if passes is not None and reference is None and teacher is None:
        raise typer.BadParameter("Name the --reference or the --teacher that passes follow.", param_hint="--passes")
    if estimate not in ESTIMATES:
        raise typer.BadParameter(f"{estimate!r} is none of {', '.join(ESTIMATES)}.", param_hint="--estimate")
    if estimate == "oracle" and reference is None:
        raise typer.BadParameter("Name the --reference that it measures against.", param_hint="--estimate")
    with plain_errors():
        from accelir.files import read_bytes

        if not source.is_dir():
            # Before the imports that take seconds.
            read_bytes(source)
        from accelir import pipeline

        coder = codec_named(codec or _codec_of_ending(None if source.is_dir() else output), settings)
        asked: dict[str, Any] = {
            "network": networks_named(network, task),
            "codec": coder,
            "budget": budget,
            "profile": profile[0] if profile and len(profile) == 1 else profile or None,
            "estimate": estimate,
            "metadata": "strip" if strip else "keep",
            "teacher": None if teacher is None else _teacher(teacher, task),
            "passes": passes,
        }
        if source.is_dir():
            if reference is not None:
                raise typer.BadParameter("A folder of pictures has no one original.", param_hint="--reference")
            _encode_folder(source, output, workers, asked)
            return
        target = output or source.with_name(f"{source.stem}-accelir{coder.extensions[0]}")
        protect(image, target)
        protect(reference, target)
        if target.suffix.lower() not in coder.extensions:
            raise typer.BadParameter(
                f"{target} does not end like a {coder.name} file ({', '.join(coder.extensions)}).",
                param_hint="--output",
            )
        with progress() if reference is not None or teacher is not None else nullcontext() as tell:
            encoded = pipeline.encode(image, **asked, reference=reference, progress=tell)
        encoded.save(target)
        low, high = int(encoded.levels.min()), int(encoded.levels.max())
        levels = f"level {low}" if low == high else f"levels {low} to {high}"
        kept = f" ({encoded.metadata_bytes:,} of them metadata)" if encoded.metadata_bytes else ""
        typer.echo(
            f"{target}: {len(encoded.data):,} bytes{kept}, {encoded.bits_per_pixel:.2f} bits per pixel, {levels}"
        )
        if encoded.guidance is not None:
            typer.echo(_gained(encoded.guidance, reference))


def _encode_folder(folder: Path, output: Path | None, workers: int | None, asked: dict[str, Any]) -> None:
    from accelir.batch import encode_many

    output = require_folder_for_output(output)
    with progress() as tell:
        results = encode_many(
            folder, output, **asked, workers=workers, progress=lambda done, total: tell(done, total, "encoding")
        )
    failed = [result for result in results if result.error]
    for result in failed:
        complain(f"{result.source}: {result.error}")
    total = sum(result.size for result in results)
    typer.echo(f"{output}: {len(results) - len(failed)} of {len(results)} pictures, {total:,} bytes")
    guided = [result.guidance for result in results if result.guidance is not None]
    if guided:
        typer.echo(_gained_by_all(guided))
    if failed:
        raise typer.Exit(1)


def _gained(guidance: Guidance, reference: Path | None) -> str:
    """What following the original, or a teacher's picture, has brought: nobody knows how good that one is."""
    gains = [f"{gain:+.2f} dB for {name}" for name, gain in zip(guidance.networks, guidance.gains, strict=True)]
    found = ", ".join(gains) if any(guidance.gains) else "nothing better was found"
    followed = reference.name if reference and guidance.teacher is None else f"the picture of {guidance.teacher}"
    nearer = " nearer to that" if guidance.teacher and any(guidance.gains) else ""
    return f"guided by {followed}: {found}{nearer} in {guidance.passes} {'pass' if guidance.passes == 1 else 'passes'}"


def _gained_by_all(guided: Sequence[Guidance]) -> str:
    """The same of the pictures of a folder, in the mean."""
    of_each = zip(*(guidance.gains for guidance in guided), strict=True)
    gains = [
        f"{sum(of_one) / len(guided):+.2f} dB for {name}"
        for name, of_one in zip(guided[0].networks, of_each, strict=True)
    ]
    return f"guided by the pictures of {guided[0].teacher}: {', '.join(gains)} nearer to them in the mean"


def _teacher(name: str, task: str | None) -> str | IRNetwork:
    """As it was named, where that says what it undoes; else it undoes what the other networks do."""
    from accelir import registry
    from accelir.errors import InvalidInputError

    if task is None:
        return name
    try:
        return registry.network(name)
    except InvalidInputError:
        return registry.network(name, task=task)


def _codec_of_ending(output: Path | None) -> str:
    """That of the first codec whose files end so; JPEG where there is nothing to go by."""
    if output is None:
        return "jpeg"
    from accelir import registry

    known: dict[str, str] = {}
    for name, spec in registry.codecs().items():
        for ending in spec.extensions:
            known.setdefault(ending, name)
    if output.suffix.lower() not in known:
        raise typer.BadParameter(
            f"{output} ends like no codec's files ({', '.join(known)}); name the --codec.",
            param_hint="--output",
        )
    return known[output.suffix.lower()]


def _budget(size: int | None, bpp: float | None, like_quality: int | None) -> Budget:
    from accelir.allocation.budget import BitsPerPixel, Bytes, LikeQuality

    match (size, bpp, like_quality):
        case (int(), None, None):
            return Bytes(size)
        case (None, float(), None):
            if not 0 < bpp < float("inf"):
                raise typer.BadParameter(f"{bpp} is no number above 0.", param_hint="--bpp")
            return BitsPerPixel(bpp)
        case (None, None, int()):
            return LikeQuality(like_quality)
    raise typer.BadParameter("Say the budget once: --bytes N, --bpp X or --like-quality Q.", param_hint="budget")
