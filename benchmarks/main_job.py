"""Restored quality at equal bytes, and bytes at equal restored quality, against Pillow and the controls.

    python benchmarks/main_job.py DATA_FOLDER [--task sr|denoise|deblur] [--networks NAME ...] [--images N]

Every arm restores with the same network from a file of at most as many bytes as Pillow's.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from common import (
    PLAIN_MSE,
    Job,
    Measured,
    each_task,
    family,
    fingerprints,
    kernels,
    pictures,
    progress,
    rounded,
    shown_command,
)

import accelir
from accelir.bench.measure import bytes_saved, summarise
from accelir.bench.results import ResultFile
from accelir.network import IRNetwork
from accelir.profiling.controls import control_estimate
from accelir.profiling.estimate import Estimate

ARMS = ("profile", "measured", "uniform", "plain-mse", "variance")


def main(
    data_folder: Annotated[Path, typer.Argument(help="Holds bench/Kodak24 and kernels/blur_kernels.npz.")],
    task: Annotated[str | None, typer.Option(help="sr, denoise or deblur; all by default.")] = None,
    networks: Annotated[list[str] | None, typer.Option(help="Names; by default the narrowest and widest.")] = None,
    images: Annotated[int | None, typer.Option(help="How many photographs; all by default.")] = None,
    arms: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(ARMS)}; all by default.")] = None,
    codec: Annotated[str, typer.Option(help="jpeg, webp, heic or avif.")] = "jpeg",
    output: Annotated[Path, typer.Option()] = Path("benchmarks/results/main_job.json"),
) -> None:
    paths, blur = pictures(data_folder, images), kernels(data_folder)
    jobs = {}
    for name, job in each_task(task, codec):
        members = family(job.family, networks)
        if not networks:
            members = members[:1] + members[1:][-1:]
        jobs[name] = (job, members)
    chosen = tuple(arm for arm in ARMS if not arms or arm in arms or arm == "profile")
    settings = {
        "arms": chosen,
        "images": [path.name for path in paths],
        "jobs": {name: dataclasses.asdict(job) for name, (job, _) in jobs.items()},
        "codec": codec,
        "networks": fingerprints((net for _, members in jobs.values() for net in members), codec),
        "psnr": "RGB, 0..255, no border",
        **({"plain_mse": PLAIN_MSE} if "plain-mse" in chosen else {}),
    }
    other = None if codec == "jpeg" else codec
    command = shown_command("main_job.py", output, codec=other, task=task, networks=networks, images=images, arms=arms)
    results = ResultFile(output, settings, command)
    total = sum(len(members) for _, members in jobs.values()) * len(paths)
    with progress() as bar:
        running = bar.add_task("", total=total)
        for name, (job, members) in jobs.items():
            for index, path in enumerate(paths):
                missing = [net for net in members if not results.has(task=name, network=net.name, image=path.name)]
                shared = Measured(members[0], path, index, blur, codec) if missing else None
                for net in missing:
                    bar.update(running, description=f"{net.name}, {path.name}")
                    assert shared is not None
                    results.add(
                        {"task": name, "network": net.name, "image": path.name}
                        | measure(shared, net, job, chosen, codec)
                    )
                bar.advance(running, len(members))
    results.summary = [
        overview(results.records, name, net.name, quality)
        for name, (job, members) in jobs.items()
        for net in members
        for quality in job.qualities
    ]
    results.write()
    for row in results.summary:
        typer.echo(json.dumps(row))


def measure(shared: Measured, network: IRNetwork, job: Job, arms: tuple[str, ...], codec: str) -> dict[str, Any]:
    """All arms of one network on one picture."""
    usual = {len(shared.usual(quality)): shared.psnr(network, shared.usual(quality)) for quality in job.curve}
    record: dict[str, Any] = {"usual_curve": [[size, round(score, 5)] for size, score in sorted(usual.items())]}
    record["qualities"] = []
    # What ours chooses for each picture, as whether chroma is halved, plain MSE chooses too.
    profile = accelir.profile_for(codec, network)
    open_ = {name: value for name, value in profile.options(shared.image).items() if value == "auto"}
    plain = {
        f"plain-mse {json.dumps(options)}": accelir.codec(codec, **options, **open_)
        for options in (job.plain if "plain-mse" in arms else ())
    }
    uniform: dict[str, str | Estimate] = {}
    for arm, coder in plain.items():
        if open_:
            uniform[arm] = "uniform"
            continue
        # With one level for all blocks that may be any number, curves only say where the search for a size begins.
        known = next(iter(uniform.values()), None) if coder.continuous_levels else None
        uniform[arm] = known or control_estimate("uniform", coder, network, shared.image, None)
    for quality in job.qualities:
        budget = len(shared.usual(quality))
        sizes, scores = {"pillow": budget}, {"pillow": shared.psnr(network, shared.usual(quality))}
        seconds: dict[str, float] = {}
        # The controls too are written with the options that the profile found best, but plain MSE has its own.
        for arm in (*(arm for arm in arms if arm != "plain-mse"), *plain):
            started = time.perf_counter()
            encoded = accelir.encode(
                shared.image,
                network=network,
                codec=plain.get(arm, codec),
                budget=accelir.Bytes(budget),
                estimate=uniform.get(arm, arm),
                profile=None if arm in plain else profile,
            )
            seconds[arm] = round(time.perf_counter() - started, 3)
            if len(encoded.data) > budget:
                raise SystemExit(f"{arm} took {len(encoded.data)} bytes of {budget}")
            sizes[arm], scores[arm] = len(encoded.data), shared.psnr(network, encoded.data)
        saved = {arm: bytes_saved(sizes[arm], scores[arm], usual) for arm in sizes if arm != "pillow"}
        record["qualities"].append(
            {
                "quality": quality,
                "bytes": sizes,
                "psnr": rounded(scores),
                "bytes_saved": rounded({arm: value.share for arm, value in saved.items()}),
                "beyond_curve": [arm for arm, value in saved.items() if value.clamped],
                "encode_seconds": seconds,
            }
        )
    return record


def overview(records: list[dict[str, Any]], task: str, network: str, quality: int) -> dict[str, Any]:
    """Means and spread over the pictures; plain-MSE at the options that are best for it on these very pictures."""
    rows = [
        row
        for record in records
        if (record["task"], record["network"]) == (task, network)
        for row in record["qualities"]
        if row["quality"] == quality
    ]
    plain = [arm for arm in rows[0]["psnr"] if arm.startswith("plain-mse")]
    best = max(plain, key=lambda arm: sum(row["psnr"][arm] for row in rows), default=None)
    chosen = {arm: arm for arm in ARMS if arm in rows[0]["psnr"]} | ({"plain-mse": best} if best else {})

    def gain(arm: str, over: str) -> dict[str, Any]:
        return summarise([row["psnr"][arm] - row["psnr"][over] for row in rows]).model_dump()

    return {
        "task": task,
        "network": network,
        "quality": quality,
        "plain_mse_options": json.loads(best.partition(" ")[2]) if best else None,
        "pillow_psnr": sum(row["psnr"]["pillow"] for row in rows) / len(rows),
        "gain_over_pillow": {arm: gain(key, "pillow") for arm, key in chosen.items()},
        "gain_over_plain_mse": {arm: gain(arm, best) for arm in ("profile", "measured") if best and arm in chosen},
        "bytes_saved": {
            arm: summarise([row["bytes_saved"][key] for row in rows]).model_dump() for arm, key in chosen.items()
        },
        "beyond_curve": {arm: sum(key in row["beyond_curve"] for row in rows) for arm, key in chosen.items()},
    }


if __name__ == "__main__":
    typer.run(main)
