"""How well halved or whole chroma is chosen: python benchmarks/chroma_choice.py DATA_FOLDER [--networks NAME ...].

Crops of 768x512 pixels of training photographs go into two JPEG files of ours, in 4:2:0 and in 4:4:4, each of at most
the bytes of Pillow's file at a quality. What they restore to is held against what `JpegCodec.weighted_error` would
choose where sensitivities are trusted more or less.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from common import fingerprints, kernels, progress, shown_command

import accelir
from accelir.bench.measure import make_input
from accelir.bench.results import ResultFile
from accelir.files import pictures_in
from accelir.image import as_image_array, in_colour
from accelir.metrics import psnr_rgb
from accelir.network import IRNetwork
from accelir.tasks import Deblur
from accelir_plugins.jpeg import codec as jpeg

HEIGHT, WIDTH = 512, 768
TRUSTS = (0.0, 0.25, 0.5, 0.75, 1.0)
QUALITIES = (50, 65, 75, 82, 90)
NOISY = (10, 20, 40)


def main(
    data_folder: Annotated[Path, typer.Argument(help="Holds train/ and kernels/blur_kernels.npz.")],
    networks: Annotated[list[str] | None, typer.Option(help="Names.")] = None,
    photographs: Annotated[int, typer.Option(help="How many.")] = 40,
    output: Annotated[Path, typer.Option()] = Path("benchmarks/results/chroma_choice.json"),
) -> None:
    nets = [accelir.network(name) for name in networks or ["edsr-x4-f16", "dncnn-s25-f16"]]
    files = pictures_in(data_folder / "train")
    files = files[:: max(1, len(files) // photographs)][:photographs]
    blur = kernels(data_folder)
    settings = {"networks": fingerprints(nets), "crop": [HEIGHT, WIDTH], "trusts": list(TRUSTS)}
    command = shown_command("chroma_choice.py", output, networks=networks, photographs=photographs)
    results = ResultFile(output, settings, command)
    with progress() as bar:
        for index, path in bar.track(list(enumerate(files)), description="photographs"):
            for net in nets:
                key = {"network": net.name, "image": path.name}
                if not results.has(**key):
                    results.add(key | {"qualities": measured(net, path, index, blur)})
    results.summary = [
        row
        for net in nets
        for quality in (NOISY if "denoise" in net.task.name else QUALITIES)
        if (row := overview(results.records, net.name, quality))
    ]
    results.write()
    for row in results.summary:
        typer.echo(row)


def measured(net: IRNetwork, path: Path, index: int, blur: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """Both files of a crop at each quality; nothing of a photograph that is too small, or where one does not fit."""
    photograph = in_colour(as_image_array(path))
    if photograph.shape[0] < HEIGHT or photograph.shape[1] < WIDTH:
        return []
    rng = np.random.default_rng(index)
    top, left = (
        int(rng.integers(side - part + 1)) for side, part in zip(photograph.shape, (HEIGHT, WIDTH), strict=False)
    )
    crop = np.ascontiguousarray(photograph[top : top + HEIGHT, left : left + WIDTH])
    image, reference = make_input(net.task, crop, index, blur if isinstance(net.task, Deblur) else None)
    profile = accelir.profile_for("jpeg", net)
    judge = accelir.codec("jpeg", subsampling="444").tuned(profile.options(image))
    sensitivity = profile.predict(image, judge).sensitivity
    rows = []
    for quality in NOISY if "denoise" in net.task.name else QUALITIES:
        budget = len(judge.usual(image, quality))
        row: dict[str, Any] = {"quality": quality, "budget": budget, "bytes": {}, "psnr": {}, "error": {}}
        for subsampling in ("420", "444"):
            coder = accelir.codec("jpeg", subsampling=subsampling)
            try:
                data = accelir.encode(image, network=net, codec=coder, budget=accelir.Bytes(budget)).data
            except accelir.BudgetError:
                break
            decoded = coder.decode(data)
            row["bytes"][subsampling] = len(data)
            row["psnr"][subsampling] = round(psnr_rgb(net.restore(decoded), reference), 4)
            row["error"][subsampling] = errors(judge, image, decoded, sensitivity)
        if len(row["psnr"]) == 2:
            rows.append(row)
    return rows


def errors(judge: accelir.Codec, image: np.ndarray, decoded: np.ndarray, sensitivity: Any) -> list[float]:
    """The weighted error by each trust."""
    usual = jpeg._JUDGED_BY
    found = []
    try:
        for trust in TRUSTS:
            jpeg._JUDGED_BY = np.float32(trust)
            found.append(judge.weighted_error(image, decoded, sensitivity))
    finally:
        jpeg._JUDGED_BY = usual
    return found


def overview(records: list[dict[str, Any]], network: str, quality: int) -> dict[str, Any] | None:
    """Means over the crops, in dB over 4:2:0: of 4:4:4 always, of each choice, and of who knows the restored score."""
    rows = [
        row
        for record in records
        if record["network"] == network
        for row in record["qualities"]
        if row["quality"] == quality
    ]
    if not rows:
        return None
    gains = np.array([row["psnr"]["444"] - row["psnr"]["420"] for row in rows])
    chosen = np.array([np.less(row["error"]["444"], row["error"]["420"]) for row in rows])
    return {
        "network": network,
        "quality": quality,
        "crops": len(rows),
        "whole_always": round(float(gains.mean()), 4),
        "by_trust": {
            str(trust): round(float((gains * chosen[:, place]).mean()), 4) for place, trust in enumerate(TRUSTS)
        },
        "at_best": round(float(np.maximum(gains, 0).mean()), 4),
    }


if __name__ == "__main__":
    typer.run(main)
