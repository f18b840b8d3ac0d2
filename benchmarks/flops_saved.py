"""FLOPs that a network family saves at equal bytes and equal restored quality.

    python benchmarks/flops_saved.py DATA_FOLDER [--task sr|denoise|deblur] [--images N]

H is the family's widest network on Pillow's JPEG at quality q: B bytes, restored PSNR P. The saving is what the
narrowest network that reaches P from an accelir file of at most B bytes leaves out, interpolated between widths on
log(FLOPs), 0 where none reaches P. Beside it the saving with Pillow's file in both arms at P - 0.05 dB.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from common import LOSS, Measured, each_task, family, fingerprints, kernels, pictures, progress, rounded, shown_command

import accelir
from accelir.bench.measure import flops_saved, summarise
from accelir.bench.results import ResultFile
from accelir.network import IRNetwork


def main(
    data_folder: Annotated[Path, typer.Argument(help="Holds bench/Kodak24 and kernels/blur_kernels.npz.")],
    task: Annotated[str | None, typer.Option(help="sr, denoise or deblur; all by default.")] = None,
    images: Annotated[int | None, typer.Option(help="How many photographs; all by default.")] = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(help="Results of main_job.py: the networks that it measured are not run again; may be repeated."),
    ] = None,
    codec: Annotated[str, typer.Option(help="jpeg, webp, heic or avif.")] = "jpeg",
    output: Annotated[Path, typer.Option()] = Path("benchmarks/results/flops_saved.json"),
) -> None:
    paths, blur = pictures(data_folder, images), kernels(data_folder)
    jobs = {name: (job, family(job.family, None)) for name, job in each_task(task, codec)}
    for name, (job, members) in jobs.items():
        if len(members) < 2:
            raise SystemExit(f"{name}: it takes two widths of {job.family} to compare; {len(members)} are installed.")
    settings = {
        "images": [path.name for path in paths],
        "qualities": {name: job.qualities for name, (job, _) in jobs.items()},
        "codec": codec,
        "networks": fingerprints((net for _, members in jobs.values() for net in members), codec),
        "reuse": [path.name for path in reuse or []],
        "loss_of_the_control": LOSS,
        "psnr": "RGB, 0..255, no border",
        "flops": "2 x multiply-accumulates, per image",
    }
    shown_reuse = [path.as_posix() for path in reuse or []]
    command = shown_command(
        "flops_saved.py", output, codec=None if codec == "jpeg" else codec, task=task, images=images, reuse=shown_reuse
    )
    results = ResultFile(output, settings, command)
    with progress() as bar:
        running = bar.add_task("", total=len(jobs) * len(paths))
        for name, (job, members) in jobs.items():
            measured = _measured(reuse or [], name, settings["networks"])
            for index, path in enumerate(paths):
                bar.update(running, description=f"{name}, {path.name}")
                if not results.has(task=name, image=path.name):
                    shared = Measured(members[0], path, index, blur, codec)
                    rows = [
                        measure(shared, members, codec, quality, measured.get(path.name, {}))
                        for quality in job.qualities
                    ]
                    results.add({"task": name, "image": path.name, "qualities": rows})
                bar.advance(running)
    results.summary = [
        overview(results.records, name, quality) for name, (job, _) in jobs.items() for quality in job.qualities
    ]
    results.write()
    for row in results.summary:
        typer.echo(json.dumps(row))


def _measured(paths: Sequence[Path], task: str, networks: dict[str, Any]) -> dict[str, dict[str, dict[int, Any]]]:
    """By image, network and quality: what main_job.py measured, with the same weights and profiles."""
    found: dict[str, dict[str, dict[int, Any]]] = {}
    for path in paths:
        stored = json.loads(path.read_text())
        for record in stored["records"]:
            name = record["network"]
            if record["task"] == task and stored["settings"]["networks"].get(name) == networks.get(name):
                rows = {row["quality"]: row for row in record["qualities"]}
                found.setdefault(record["image"], {})[name] = rows
    return found


def measure(
    shared: Measured, members: list[IRNetwork], codec: str, quality: int, measured: dict[str, dict[int, Any]]
) -> dict[str, Any]:
    """Both arms of every width on one picture."""
    usual = shared.usual(quality)
    flops = {net.name: net.cost(*shared.image.shape[:2]).flops for net in members}
    ordinary, ours, sizes = {}, {}, {}
    for net in members:
        row = measured.get(net.name, {}).get(quality)
        if row is not None and row["bytes"]["pillow"] == len(usual):
            ordinary[net.name], ours[net.name] = row["psnr"]["pillow"], row["psnr"]["profile"]
            sizes[net.name] = row["bytes"]["profile"]
            continue
        encoded = accelir.encode(shared.image, network=net, codec=codec, budget=accelir.Bytes(len(usual)))
        ordinary[net.name], ours[net.name] = shared.psnr(net, usual), shared.psnr(net, encoded.data)
        sizes[net.name] = len(encoded.data)
    heavy = max(flops, key=lambda name: flops[name])
    costs, target = list(flops.values()), ordinary[heavy]
    return {
        "quality": quality,
        "bytes": len(usual),
        "heavy": heavy,
        "target_psnr": round(target, 5),
        "flops": flops,
        "ordinary_psnr": rounded(ordinary),
        "accelir_psnr": rounded(ours),
        "accelir_bytes": sizes,
        "saved": flops_saved(costs, list(ours.values()), target, flops[heavy]),
        "saved_by_losing": flops_saved(costs, list(ordinary.values()), target - LOSS, flops[heavy]),
        "reached": max(ours.values()) >= target,
        "capped": ours[min(flops, key=flops.__getitem__)] >= target,
    }


def overview(records: list[dict[str, Any]], task: str, quality: int) -> dict[str, Any]:
    """Means and spread over the pictures."""
    rows = [
        row for record in records if record["task"] == task for row in record["qualities"] if row["quality"] == quality
    ]
    return {
        "task": task,
        "quality": quality,
        "heavy": rows[0]["heavy"],
        "saved": summarise([row["saved"] for row in rows]).model_dump(),
        "saved_by_losing": summarise([row["saved_by_losing"] for row in rows]).model_dump(),
        "share_reached": sum(row["reached"] for row in rows) / len(rows),
        "share_capped": sum(row["capped"] for row in rows) / len(rows),
    }


if __name__ == "__main__":
    typer.run(main)
