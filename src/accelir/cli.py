"""The command line: encode, restore, profile, train, export, plugins, demo."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from accelir.cli_encode import encode
from accelir.cli_export import export
from accelir.cli_inputs import CodecSettings, NetworkOption, TaskOption, codec_named, protect, weights_in
from accelir.cli_restore import restore
from accelir.cli_train import train
from accelir.terminal import comparison_table, complain, natural, plain_errors, print_plugins, progress, summaries

# Everything else is imported inside the commands: `accelir --help` must not wait for torch.
__all__ = ["app", "main"]

app = typer.Typer(
    name="accelir",
    help="Encode images for the neural network that will restore them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)

CodecOption = Annotated[str, typer.Option("--codec", "-c", help="The file format; see `accelir plugins`.")]


def main() -> None:
    """The entry point of the ``accelir`` command."""
    # For networks named package.module:Factory, as python -m has it; last, so that nothing installed is hidden.
    sys.path.append(os.getcwd())
    log = logging.getLogger("accelir")
    log.addHandler(logging.StreamHandler())
    log.setLevel(logging.INFO)
    app()


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            typer.echo(f"accelir {version('accelir')}")
        except PackageNotFoundError:
            typer.echo("accelir (not installed)")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Encode images for the neural network that will restore them."""


app.command()(encode)
app.command()(restore)


@app.command()
def profile(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Clean photographs, searched through.")],
    network: NetworkOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="The profile to write.")],
    codec: CodecOption = "jpeg",
    settings: CodecSettings = None,
    profiler: Annotated[str, typer.Option("--profiler", help="How to profile; see `accelir plugins`.")] = "standard",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Take only the first so many pictures.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Of every random choice.")] = None,
    options_of: Annotated[
        Path | None,
        typer.Option(help="A profile of the same codec: take its options instead of comparing. For other widths."),
    ] = None,
    task: TaskOption = None,
) -> None:
    """Learn what a network needs from a codec. An interrupted run resumes where it stopped."""
    if not folder.is_dir():
        raise typer.BadParameter(f"{folder} is not a folder.", param_hint="FOLDER")
    from accelir.files import PICTURE_ENDINGS, pictures_in

    pictures = pictures_in(folder)
    if not pictures:
        raise typer.BadParameter(
            f"{folder} holds no picture ({', '.join(sorted(PICTURE_ENDINGS))}).", param_hint="FOLDER"
        )
    for source in [*pictures, *weights_in(network), *([options_of] if options_of else [])]:
        protect(source, output)
    with plain_errors():
        from accelir import registry

        net, coder = registry.network(network, task=task), codec_named(codec, settings)
        asked = {"seed": seed, "options_of": options_of}
        maker = registry.profiler(profiler, **{name: value for name, value in asked.items() if value is not None})
        checkpoint = output.with_name(f"{output.name}.checkpoint")
        with progress() as tell:
            made = maker.fit(coder, net, pictures[:limit], progress=tell, checkpoint=checkpoint)
        made.save(output)
        _clear(checkpoint)
        typer.echo(f"{output}: profile of {codec} for {network}, from {len(pictures[:limit])} pictures")


app.command()(train)
app.command()(export)


@app.command()
def plugins(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the installed plugins and everything that they bring."""
    with plain_errors():
        import dataclasses
        import json

        from accelir import registry

        found = [dataclasses.asdict(record) for record in registry.plugins()]
        brought = {
            "codecs": summaries(registry.codecs()),
            "networks": summaries(registry.networks()),
            "network_files": summaries(registry.network_files()),
            "tasks": summaries(registry.tasks()),
            "profilers": summaries(registry.profilers()),
            "allocators": summaries(registry.allocators()),
            "profiles": [
                {"codec": of_codec, "network": name}
                for of_codec, name in sorted(registry.profiles(), key=lambda pair: natural(" ".join(pair)))
            ],
        }
        if as_json:
            typer.echo(json.dumps({"plugins": found, **brought}, indent=2, default=str))
            return
        print_plugins(found, brought)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="The picture to write, a PNG.")] = Path(
        "accelir-demo.png"
    ),
    image: Annotated[
        Path | None, typer.Option("--image", help="A clean photograph of your own instead of the two that come along.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the noise.")] = 0,
) -> None:
    """Show what encoding for the network brings: two tables and a picture."""
    protect(image, output)
    if output.suffix.lower() != ".png":
        raise typer.BadParameter(f"{output} does not end in .png.", param_hint="--output")
    with plain_errors():
        from rich.console import Console

        from accelir.bench.demo import finding, run_demo

        with progress() as tell:
            shown = run_demo(output, image=image, seed=seed, progress=tell)
        console = Console()
        for comparison in shown.comparisons:
            console.print()
            console.print(comparison_table(comparison))
            console.print(finding(comparison), highlight=False)
        for reason in shown.skipped:
            complain(reason)
        console.print()
        typer.echo(f"Picture: {shown.picture}")


def _clear(checkpoint: Path) -> None:
    """Remove what profiling kept, and the folder where nothing else is in it."""
    for file in checkpoint.glob("crop-*.npy"):
        file.unlink()
    if checkpoint.is_dir() and not any(checkpoint.iterdir()):
        checkpoint.rmdir()


if __name__ == "__main__":
    main()
