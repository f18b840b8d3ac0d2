"""What a heavy network at the sender is worth to a light one at the receiver, where nobody holds the clean original.

    python benchmarks/taught.py DATA_FOLDER [--task sr|denoise|deblur] [--light NAME] [--heavy NAME] [--images N]

The budget is Pillow's size (optimize=True, 4:2:0) at each quality. Four files of that size: for the light network
without a teacher, for it with the heavy one as its teacher, for it with itself as its teacher, and for the heavy
network, which restores that one. Where the input is as large as the original, the heavy network's picture could as
well be sent: it stands beside them in Pillow's JPEG of the same bytes.

Several processes share the work by ``--shard 0/2``, ``--shard 1/2``; a last run without it joins what they measured.
"""

from __future__ import annotations

import time
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer
from common import (
    Measured,
    each_task,
    fingerprints,
    kernels,
    of_shard,
    pictures,
    progress,
    rounded,
    shown_command,
    unrestored,
)

import accelir
from accelir.bench.measure import summarise
from accelir.guidance import PASSES
from accelir.network import IRNetwork

PAIRS = {
    "sr": ("edsr-x4-f16", "edsr-x4-f64"),
    "denoise": ("dncnn-s25-f16", "dncnn-s25-f64"),
    "deblur": ("nafnet-deblur-f16", "nafnet-deblur-f32"),
}
"""The receiver's network and the sender's."""


def main(
    data_folder: Annotated[Path, typer.Argument(help="Holds bench/ and kernels/blur_kernels.npz.")],
    task: Annotated[str | None, typer.Option(help="sr, denoise or deblur; all by default.")] = None,
    light: Annotated[str | None, typer.Option(help="The receiver's network, of one task.")] = None,
    heavy: Annotated[str | None, typer.Option(help="The sender's.")] = None,
    images: Annotated[int | None, typer.Option(help="How many photographs of Kodak24; all by default.")] = None,
    passes: Annotated[int, typer.Option(help="Forward and backward passes of the light network.")] = PASSES,
    shard: Annotated[str, typer.Option(help="i/n: every n-th photograph from the i-th on, from 0.")] = "0/1",
    output: Annotated[Path, typer.Option()] = Path("benchmarks/results/taught.json"),
) -> None:
    paths = pictures(data_folder, images, "Kodak24")
    if task is None and (light or heavy):
        raise SystemExit("Say --task beside --light and --heavy.")
    jobs = {}
    for name, job in each_task(task):
        pair = [accelir.network(own or usual) for own, usual in zip((light, heavy), PAIRS[name], strict=True)]
        jobs[name] = (pair, job.qualities)
    settings = {
        "sets": {"Kodak24": [path.name for path in paths]},
        "qualities": {name: qualities for name, (_, qualities) in jobs.items()},
        "networks": fingerprints(net for members, _ in jobs.values() for net in members),
        "pairs": {name: [net.name for net in members] for name, (members, _) in jobs.items()},
        "passes": passes,
        "psnr": "RGB, 0..255, no border",
    }
    command = shown_command(
        "taught.py", output, task=task, light=light, heavy=heavy, images=images,
        passes=None if passes == PASSES else passes,
    )  # fmt: skip
    results, part, parts = of_shard(shard, output, settings, command)
    blur = kernels(data_folder)
    work = [(name, index, path) for name in jobs for index, path in enumerate(paths) if index % parts == part]
    with progress() as bar:
        running = bar.add_task("", total=len(work))
        for name, index, path in work:
            bar.update(running, description=f"{name}, {path.name}")
            members, qualities = jobs[name]
            if not results.has(task=name, image=path.name):
                picture = Measured(members[0], path, index, blur)
                rows = [measure(picture, *members, quality, passes) for quality in qualities]
                results.add({"task": name, "image": path.name, "qualities": rows})
            bar.advance(running)
    if parts == 1:
        results.summary = [
            overview(results.records, name, members, quality)
            for name, (members, qualities) in jobs.items()
            for quality in qualities
        ]
        results.write()
        for row in results.summary:
            typer.echo(line(row))


def measure(picture: Measured, light: IRNetwork, heavy: IRNetwork, quality: int, passes: int) -> dict[str, Any]:
    """The four files, and what each is worth."""
    budget = len(picture.usual(quality))
    files: dict[str, tuple[IRNetwork, dict[str, Any]]] = {
        "light": (light, {}),
        "taught": (light, {"teacher": heavy, "passes": passes}),
        "taught by itself": (light, {"teacher": light, "passes": passes}),
        "heavy": (heavy, {}),
    }
    psnr, seconds, sizes = {}, {}, {}
    for name, (network, guidance) in files.items():
        started = time.perf_counter()
        encoded = accelir.encode(picture.image, network=network, budget=accelir.Bytes(budget), **guidance)
        seconds[name] = round(time.perf_counter() - started, 2)
        if len(encoded.data) > budget:
            raise SystemExit(f"{name} took {len(encoded.data)} bytes of {budget}")
        sizes[name], psnr[name] = len(encoded.data), picture.psnr(network, encoded.data)
    if light.task.scale == 1:
        psnr["sent restored"] = unrestored(heavy.restore(picture.image), budget, picture.reference)
    return {"quality": quality, "budget": budget, "bytes": sizes, "psnr": rounded(psnr), "seconds": seconds}


def overview(records: list[dict[str, Any]], task: str, members: list[IRNetwork], quality: int) -> dict[str, Any]:
    """Means over the pictures, and gains with their spread, in dB."""
    rows = [row for record in records if record["task"] == task for row in record["qualities"]]
    rows = [row for row in rows if row["quality"] == quality]
    psnr = [row["psnr"] for row in rows]
    light, heavy = members
    return {
        "task": task,
        "network": light.name,
        "teacher": heavy.name,
        "quality": quality,
        "psnr": {name: round(mean(each[name] for each in psnr), 4) for name in psnr[0]},
        "gain": {
            name: summarise([each[name] - each["light"] for each in psnr]).model_dump()
            for name in psnr[0]
            if name != "light"
        },
        "over_heavy": summarise([each["taught"] - each["heavy"] for each in psnr]).model_dump(),
        "seconds": {name: round(mean(row["seconds"][name] for row in rows), 2) for name in rows[0]["seconds"]},
        "flops_share": round(light.cost(256, 256).flops / heavy.cost(256, 256).flops, 4),
    }


def line(row: dict[str, Any]) -> str:
    """What a row of the summary says at a glance, in dB."""
    gains = "; ".join(f"{name} {gain['mean']:+.3f} (least {gain['min']:+.3f})" for name, gain in row["gain"].items())
    return f"{row['task']}, quality {row['quality']}: over {row['network']} untaught: {gains}"


if __name__ == "__main__":
    typer.run(main)
