"""What the clean original at the sender is worth: files guided by it against the predicted profile, at equal bytes.

    python benchmarks/guided.py DATA_FOLDER [--task sr|denoise|deblur] [--set Kodak24 ...] [--images N]

The budget is Pillow's size (optimize=True, 4:2:0) at each quality. A file is guided for one network, or for several;
every width of the family restores it, those that it was not encoded for as well, and one network of each
other family of the task. The other arm is the file
that the same call writes with passes=0: it starts from it, and takes at most the same bytes.

Several processes share the work by ``--shard 0/2``, ``--shard 1/2``; a last run without it joins what they
measured, and with ``--join`` it measures nothing that they left out.
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
    family,
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

OTHERS = {
    "sr": ("carn-x4-f32", "fsrcnn-x4-f32", "span-x4-f32", "swinir-x4-f30"),
    "denoise": ("dncnn-blind-f16", "restormer-s25-f8"),
    "deblur": ("mimounet-deblur-f16",),
}
"""Receivers of other families."""


def main(
    data_folder: Annotated[Path, typer.Argument(help="Holds bench/ and kernels/blur_kernels.npz.")],
    task: Annotated[str | None, typer.Option(help="sr, denoise or deblur; all by default.")] = None,
    set_names: Annotated[list[str] | None, typer.Option("--set", help="Bench sets; Kodak24 by default.")] = None,
    guides: Annotated[
        list[str] | None,
        typer.Option(
            "--for", help="Who a file is encoded for: widths of the family, as 16 or 8,16, or names; 16 by default."
        ),
    ] = None,
    qualities: Annotated[list[int] | None, typer.Option("--quality", help="The task's three by default.")] = None,
    images: Annotated[int | None, typer.Option(help="How many photographs of each set; all by default.")] = None,
    passes: Annotated[int, typer.Option(help="Forward and backward passes for each network of the file.")] = PASSES,
    shard: Annotated[str, typer.Option(help="i/n: every n-th photograph from the i-th on, from 0.")] = "0/1",
    join: Annotated[bool, typer.Option(help="Measure nothing more: sum up what is there.")] = False,
    output: Annotated[Path, typer.Option()] = Path("benchmarks/results/guided.json"),
) -> None:
    sets = {name: pictures(data_folder, images, name) for name in set_names or ["Kodak24"]}
    blur = kernels(data_folder)
    arms = guides or ["16"]
    jobs = {
        name: ([*family(job.family, None), *map(accelir.network, OTHERS[name])], tuple(qualities or job.qualities))
        for name, job in each_task(task)
    }
    settings = {
        "sets": {name: [path.name for path in paths] for name, paths in sets.items()},
        "qualities": {name: of_task for name, (_, of_task) in jobs.items()},
        "networks": fingerprints(net for members, _ in jobs.values() for net in members),
        "for": arms,
        "passes": passes,
        "psnr": "RGB, 0..255, no border",
    }
    command = shown_command(
        "guided.py", output, task=task, set=set_names, quality=qualities, images=images,
        passes=None if passes == PASSES else passes, **{"for": guides},
    )  # fmt: skip
    results, part, parts = of_shard(shard, output, settings, command)
    work = [
        (name, set_name, index, path, quality, arm)
        for name, (_, of_task) in jobs.items()
        for set_name, paths in sets.items()
        for index, path in enumerate(paths)
        if index % parts == part and not join
        for quality in of_task
        for arm in arms
    ]
    with progress() as bar:
        running = bar.add_task("", total=len(work))
        for name, set_name, index, path, quality, arm in work:
            bar.update(running, description=f"{name}, {set_name}, {path.name}, quality {quality}, for {arm}")
            key = {"task": name, "set": set_name, "image": path.name, "quality": quality, "for": arm}
            if not results.has(**key):
                members, _ = jobs[name]
                picture = Measured(members[0], path, index, blur)
                results.add(key | measure(picture, members, quality, arm, passes))
            bar.advance(running)
    if parts == 1:
        results.summary = [
            row
            for name, (members, of_task) in jobs.items()
            for set_name in sets
            for arm in arms
            for quality in of_task
            for row in overview(results.records, members, name, set_name, arm, quality)
        ]
        results.write()
        for row in results.summary:
            typer.echo(line(row))


def chosen(members: list[IRNetwork], arm: str) -> list[IRNetwork]:
    """The networks that a file is encoded for: widths of the first one's family, or names."""
    known = {net.name: net for net in members}
    known |= {str(net.width): net for net in members if net.family == members[0].family}
    if unknown := [word for word in arm.split(",") if word not in known]:
        raise SystemExit(f"There are {', '.join(known)}; asked for {', '.join(unknown)}.")
    return [known[word] for word in arm.split(",")]


def measure(picture: Measured, members: list[IRNetwork], quality: int, arm: str, passes: int) -> dict[str, Any]:
    """Both files, restored by every width."""
    nets = chosen(members, arm)
    budget = len(picture.usual(quality))
    files, seconds = {}, {}
    for name, count in (("profile", 0), ("guided", passes * len(nets))):
        started = time.perf_counter()
        encoded = accelir.encode(
            picture.image, network=nets, budget=accelir.Bytes(budget), reference=picture.reference, passes=count
        )
        seconds[name] = round(time.perf_counter() - started, 2)
        if len(encoded.data) > budget:
            raise SystemExit(f"{name} took {len(encoded.data)} bytes of {budget}")
        files[name] = encoded.data
    # Where the input is as large as the original, the sender could as well send that.
    original = (
        {}
        if nets[0].task.scale > 1
        else {"psnr_original": round(unrestored(picture.reference, budget, picture.reference), 5)}
    )
    return {
        "budget": budget,
        "bytes": {name: len(data) for name, data in files.items()},
        "psnr": {name: rounded({net.name: picture.psnr(net, data) for net in members}) for name, data in files.items()},
        "seconds": seconds,
        **original,
    }


def overview(
    records: list[dict[str, Any]], members: list[IRNetwork], task: str, set_name: str, arm: str, quality: int
) -> list[dict[str, Any]]:
    """For each network that restores: the gain over the predicted profile, in dB, and its spread over the pictures."""
    wanted = {"task": task, "set": set_name, "for": arm, "quality": quality}
    rows = [record for record in records if all(record[name] == value for name, value in wanted.items())]
    if not rows:
        return []
    original = all("psnr_original" in row for row in rows)
    summary = []
    for net in members:
        gains = [row["psnr"]["guided"][net.name] - row["psnr"]["profile"][net.name] for row in rows]
        summary.append(
            wanted
            | {
                "network": net.name,
                "named": net in chosen(members, arm),
                "psnr": {name: round(mean(row["psnr"][name][net.name] for row in rows), 4) for name in rows[0]["psnr"]},
                **({"psnr_original": round(mean(row["psnr_original"] for row in rows), 4)} if original else {}),
                "gain": summarise(gains).model_dump(),
                "share_below": round(sum(gain < 0 for gain in gains) / len(gains), 4),
                "seconds": round(mean(row["seconds"]["guided"] for row in rows), 2),
                "seconds_profile": round(mean(row["seconds"]["profile"] for row in rows), 2),
            }
        )
    return summary


def line(row: dict[str, Any]) -> str:
    """What a row of the summary says at a glance, in dB."""
    gain = row["gain"]
    return (
        f"{row['task']}, {row['set']}, quality {row['quality']}, for width {row['for']}: {row['network']}"
        f"{'' if row['named'] else ' (not named)'} {gain['mean']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f}), "
        f"least {gain['min']:+.3f}, below on {100 * row['share_below']:.0f} % of {gain['count']} images, "
        f"{row['seconds']:.1f} s"
        + (f"; the original itself has {row['psnr_original']:.2f} dB" if "psnr_original" in row else "")
    )


if __name__ == "__main__":
    typer.run(main)
