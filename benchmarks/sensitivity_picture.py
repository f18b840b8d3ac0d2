"""The picture of docs/sensitivity.md: photograph, sensitivity map and frequencies, for each task.

``python benchmarks/sensitivity_picture.py`` writes docs/pictures/sensitivity.jpg, and its figures as JSON beside it.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import typer
from PIL import Image, ImageDraw
from sklearn.datasets import load_sample_image

import accelir
from accelir.codec import Codec, Sensitivity
from accelir.files import write_atomically
from accelir.image import ImageArray
from accelir.lookup import profile_for
from accelir.network import IRNetwork
from accelir.profiling.estimate import Curves, Estimate
from accelir.profiling.sensitivity import measure_sensitivity
from accelir.viz import SHADES, ColourBar, Panel, colour_map, sensitivity_image, side_by_side, text

SHOWN = (
    ("edsr-x4-f16", "china.jpg", "Super-resolution x4"),
    ("dncnn-s25-f16", "flower.jpg", "Denoising, sigma 25"),
    ("mimounet-deblur-f16", "china.jpg", "Deblurring"),
    ("nafnet-deblur-f16", "china.jpg", ""),
)
PANEL = (432, 288)
CELL = 35
FREQUENCIES = ColourBar("little", "much", "viridis")


def main(
    output: Annotated[Path, typer.Option(help="The picture.")] = Path("docs/pictures/sensitivity.jpg"),
) -> None:
    """Measure and predict the sensitivity of a photograph for each task, and draw both."""
    codec = accelir.codec("jpeg")
    panels: list[Panel] = []
    said: dict[str, Any] = {"command": "python benchmarks/sensitivity_picture.py"}
    for name, photograph, title in SHOWN:
        network = accelir.network(name)
        image = _input(network, np.asarray(load_sample_image(photograph)))
        measured = measure_sensitivity(codec, network, image, probes=16)
        predicted = profile_for(codec, network).predict(image, codec).sensitivity
        assert measured is not None
        assert predicted is not None
        row, said[name] = _row(codec, image, title, name, measured, predicted)
        # Without a title only its figures are told.
        panels += row if title else []
    stream = io.BytesIO()
    side_by_side(panels, columns=4, size=PANEL).save(stream, "JPEG", quality=88, subsampling=0, optimize=True)
    typer.echo(write_atomically(output, stream.getvalue()))
    typer.echo(write_atomically(output.with_suffix(".json"), (json.dumps(said, indent=1) + "\n").encode()))


def _input(network: IRNetwork, photograph: ImageArray) -> ImageArray:
    """What the network gets: the photograph noisy or blurred; or as it is, where the network would enlarge it."""
    if network.task.scale > 1:
        return photograph
    return np.ascontiguousarray(network.task.degrade(photograph, np.random.default_rng(0)))


def _row(
    codec: Codec, image: ImageArray, title: str, name: str, measured: Sensitivity, predicted: Sensitivity
) -> tuple[list[Panel], dict[str, Any]]:
    logarithms = [np.log(each.mean(axis=2, dtype=float)).ravel() for each in (measured, predicted)]
    low, high = np.exp(np.percentile(logarithms[0], [5, 95]) - np.log(measured.mean(dtype=float)))
    likeness = np.corrcoef(*logarithms)[0, 1]
    spectrum = _spectrum(measured)
    same_spectrum = np.corrcoef(np.log(spectrum).ravel(), np.log(_spectrum(predicted)).ravel())[0, 1]
    said = {
        "blocks_5_to_95_percent_of_mean": [round(float(low), 3), round(float(high), 3)],
        "correlation_of_logarithms": round(float(likeness), 3),
        "correlation_of_frequencies": round(float(same_spectrum), 3),
        "luma_relative_to_dc": np.round(spectrum, 3).tolist(),
    }
    spread = f"5 to 95 %: {low:.2f} to {high:.2f} of the mean"
    return [
        Panel(Image.fromarray(image), title, f"what {name} gets"),
        Panel(_map(codec, image, measured), "Measured", spread, _bar(measured)),
        Panel(_map(codec, image, predicted), "Predicted", f"correlation with it {likeness:.2f}", _bar(predicted)),
        Panel(_frequencies(spectrum), "By frequency", "luma, relative to DC; DC top left", FREQUENCIES),
    ], said


def _map(codec: Codec, image: ImageArray, sensitivity: Sensitivity) -> Image.Image:
    groups = np.zeros(sensitivity.shape[:2], np.int32)
    estimate = Estimate(groups, Curves(np.zeros((1, 1)), np.zeros((1, 1))), sensitivity)
    return sensitivity_image(estimate, image.shape, codec.block(image))


def _bar(sensitivity: Sensitivity) -> ColourBar:
    """What an error in the darkest and the brightest blocks costs, relative to the mean of all."""
    blocks = sensitivity.mean(axis=2, dtype=float)
    low, high = np.percentile(blocks, SHADES) / blocks.mean()
    return ColourBar(f"{low:.2f} x mean", f"{high:.1f} x mean", "magma")


def _spectrum(sensitivity: Sensitivity) -> npt.NDArray[np.float64]:
    """Mean over all luma blocks of 4:2:0, relative to DC: (8, 8)."""
    luma = sensitivity[:, :, :256].reshape(-1, 8, 8).mean(axis=0, dtype=float)
    return np.asarray(luma / luma[0, 0])


def _frequencies(spectrum: npt.NDArray[np.float64]) -> Image.Image:
    logarithm = np.log(spectrum)
    colours = colour_map((logarithm - logarithm.min()) / (logarithm.max() - logarithm.min()))
    cells = Image.fromarray(np.ascontiguousarray(colours)).resize((8 * CELL, 8 * CELL), Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(cells)
    for row in range(8):
        for column in range(8):
            dark = int(colours[row, column].astype(int).sum()) < 380
            words = f"{spectrum[row, column]:.2f}" if spectrum[row, column] < 10 else f"{spectrum[row, column]:.0f}"
            ink = (255, 255, 255) if dark else (20, 24, 32)
            text(draw, (column * CELL + 4, row * CELL + 10), words, 13, ink)
    return cells


if __name__ == "__main__":
    typer.run(main)
