"""The command line: train."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from accelir.terminal import plain_errors, progress, scores_table, wide_console

__all__ = ["train"]


def train(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Clean photographs, searched through.")],
    network: Annotated[
        str,
        typer.Option(
            "--network",
            "-n",
            help="What to train: an installed network, a file that holds one, or package.module:Factory.",
        ),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="The weights to write, .safetensors.")],
    task: Annotated[
        str | None, typer.Option("--task", help="What it is to undo, as sr-x4, denoise-s25 or deblur.")
    ] = None,
    arguments: Annotated[
        list[str] | None,
        typer.Option("--argument", metavar="NAME=VALUE", help="An argument of the factory; may be repeated."),
    ] = None,
    start: Annotated[Path | None, typer.Option("--start", help="Weights to start from, .safetensors.")] = None,
    codec: Annotated[
        list[str] | None,
        typer.Option("--codec", "-c", help="Whose files the inputs go through; may be repeated. By default jpeg."),
    ] = None,
    clean: Annotated[float, typer.Option("--clean", min=0, max=1, help="Share of the inputs that go through none.")] = (
        0.25
    ),
    steps: Annotated[int, typer.Option("--steps", min=1, help="Steps of the optimiser.")] = 10_000,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Crops in a step.")] = None,
    patch: Annotated[int | None, typer.Option("--patch", min=8, help="Side of an input crop in pixels.")] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Its peak, by default 0.001; less to fine-tune.")
    ] = None,
    loss: Annotated[str | None, typer.Option("--loss", help="l1, mse or multiscale.")] = None,
    optimiser: Annotated[str | None, typer.Option("--optimiser", help="muon (the default) or adam.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of every random choice.")] = 0,
    pairs: Annotated[int, typer.Option("--pairs", min=1, help="Crops that are prepared beforehand.")] = 4000,
    held_out: Annotated[
        Path | None,
        typer.Option("--held-out", help="A folder of photographs to score with, by default one in ten of FOLDER."),
    ] = None,
    licence: Annotated[str, typer.Option("--licence", help="Of the weights, for the record.")] = "not said",
    half: Annotated[bool, typer.Option("--half", help="Store the weights in half precision.")] = False,
    device: Annotated[str, typer.Option("--device", help="A torch device, for example cuda.")] = "cpu",
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes that make crops; by default one a processor.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Replace an output that exists, and begin anew whatever a checkpoint says.")
    ] = False,
) -> None:
    """Train or fine-tune a network on clean and compressed inputs. An interrupted run resumes where it stopped."""
    given = _arguments(arguments)
    with plain_errors():
        from accelir.training import train_network

        with progress() as tell:
            done = train_network(
                folder,
                network=network,
                output=output,
                task=task,
                arguments=given,
                start=start,
                recipe={
                    "steps": steps,
                    "batch": batch,
                    "patch": patch,
                    "learning_rate": learning_rate,
                    "loss": loss,
                    "optimiser": optimiser,
                    "seed": seed,
                },
                codecs=codec or ["jpeg"],
                clean=clean,
                pairs=pairs,
                held_out=held_out,
                licence=licence,
                half=half,
                force=force,
                device=device,
                workers=workers,
                progress=tell,
            )
        if int(os.environ.get("RANK", "0")) == 0:
            wide_console().print(scores_table({"input": done.untouched, "before": done.before, "after": done.after}))
            typer.echo(f"{done.weights}: {done.network.name}, for {done.network.task.name}")


def _arguments(settings: list[str] | None) -> dict[str, Any]:
    found = {}
    for setting in settings or []:
        name, equals, value = setting.partition("=")
        if not name or not equals:
            raise typer.BadParameter(f"{setting!r} is not NAME=VALUE.", param_hint="--argument")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found
