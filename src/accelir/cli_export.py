"""The command ``accelir export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from accelir.cli_inputs import NetworkOption, TaskOption, protect, weights_in
from accelir.terminal import plain_errors

__all__ = ["export"]


def export(
    network: NetworkOption,
    output: Annotated[Path, typer.Option("--output", "-o", help="The ONNX file to write.")],
    size: Annotated[
        tuple[int, int] | None,
        typer.Option("--size", metavar="H W", min=1, help="The one height and width of inputs; by default any."),
    ] = None,
    opset: Annotated[int, typer.Option("--opset", min=1, help="Version of ONNX's operators.")] = 18,
    task: TaskOption = None,
) -> None:
    """Write a network as an ONNX file for clients without torch, once onnxruntime has made the same of it."""
    if output.suffix.lower() != ".onnx":
        raise typer.BadParameter(f"{output} does not end in .onnx.", param_hint="--output")
    for source in (None, *weights_in(network)):
        protect(source, output)
    with plain_errors():
        from accelir import registry
        from accelir.export import export_onnx

        made = registry.network(network, task=task)
        written = export_onnx(made, output, size=size, opset=opset)
        typer.echo(
            f"{output}: {made.name} for {made.task.name}, opset {written.opset}, differs by "
            f"{written.max_difference:.1e} of 1 at most"
        )
