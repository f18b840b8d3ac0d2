"""Time and memory of encode() to a budget, against mozjpeg that bisects its quality to the same budget.

    python benchmarks/speed.py DATA_FOLDER [--network NAME ...]

A photograph of 3840x2160 is 2x2 of the first four photographs of DATA_FOLDER/train, in the order of their names, that
are large enough; one of 7680x4320 is 4x4 of the first sixteen. The budget is Pillow's size (optimize=True, 4:2:0) at
each quality of the task. Best on a quiet machine of two processors. What it needs: accelir[peers].

mozjpeg (libvips) writes baseline files with trellis, overshoot deringing and optimised codes, as peers.py asks for; it
bisects Q over 1..100, and all its passes count. Ours is a baseline file too, in one thread and in two.
What needs a process of its own runs in one: the first call with nothing compiled, the memory, and each folder.
"""

from __future__ import annotations

import functools
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from common import each_task, fingerprints, shown_command
from peers import check_mozjpeg
from PIL import Image

import accelir
from accelir.bench.results import ResultFile
from accelir.image import ImageArray
from accelir.threads import LIMIT

HEIGHT, WIDTH = 1080, 1920
SIZES = ((480, 540), (960, 1080), (1920, 2160), (2160, 3840), (4320, 3840), (4320, 7680))
FOLDER_PICTURES = 12


def main(
    data_folder: Annotated[Path, typer.Argument(help="Holds train/*.jpg.")],
    networks: Annotated[
        list[str] | None, typer.Option("--network", help="By default edsr-x4-f16, dncnn-s25-f16 and nafnet-deblur-f16.")
    ] = None,
    repeats: Annotated[int, typer.Option(help="Of each timing; the median counts.")] = 3,
    most: Annotated[
        int, typer.Option("--processors", min=1, max=2, help="2 measures on one and on two, 1 on one alone.")
    ] = 2,
    output: Annotated[Path, typer.Option()] = Path("benchmarks/results/speed.json"),
) -> None:
    check_mozjpeg()
    names = networks or ["edsr-x4-f16", "dncnn-s25-f16", "nafnet-deblur-f16"]
    image = photograph(data_folder, 2160, 3840)
    settings = {
        "networks": fingerprints(accelir.network(name) for name in names),
        "processor": processor(),
        "repeats": repeats,
        "seconds": "wall time, the median of the repeats; every pass of mozjpeg's bisection counts",
    }
    command = shown_command(
        "speed.py",
        output,
        network=networks,
        repeats=repeats if repeats != 3 else None,
        processors=most if most != 2 else None,
    )
    results = ResultFile(output, settings, command)

    def measure(of: str, work: Callable[[], dict[str, Any]], **key: Any) -> None:
        if not results.has(of=of, **key):
            results.add({"of": of, **key, **work()})
            typer.echo(json.dumps(results.records[-1]), err=True)

    counts = range(1, most + 1)
    for threads in counts:
        for name in names:
            for quality in job_of(name).qualities:
                work = functools.partial(to_budget, image, name, quality, repeats, threads)
                measure("budget", work, network=name, quality=quality, threads=threads)
    name, quality = names[0], job_of(names[0]).qualities[1]
    for cache in ("empty", "kept"):
        work = functools.partial(apart, "first_call", data_folder, name, quality, cache=cache)
        measure("first call", work, cache=cache)
    for height, width in ((2160, 3840), (4320, 7680)):
        work = functools.partial(apart, "memory", data_folder, name, quality, height, width)
        measure("memory", work, height=height, width=width)
    for height, width in SIZES:
        picture = photograph(data_folder, height, width)
        work = functools.partial(of_size, picture, name, quality, repeats)
        measure("pixels", work, height=height, width=width)
    for workers in counts:
        measure("folder", functools.partial(apart, "folder", data_folder, name, quality, workers), workers=workers)
    results.summary = overview(results.records)
    results.write()
    for row in results.summary:
        typer.echo(json.dumps(row))


def apart(
    what: str, data_folder: Path, network: str, quality: int, *sizes: int, cache: str = "usual"
) -> dict[str, Any]:
    """What a function of this file measures in a fresh process.

    Args:
        what: The function's name.
        data_folder: Its arguments from here on.
        network: A name.
        quality: That sets the budget.
        sizes: What else it takes.
        cache: Of compiled code: "usual", "empty", or "kept" from an earlier such process.
    """
    code = f"import json, pathlib, speed; print(json.dumps(speed.{what}(pathlib.Path({str(data_folder)!r}), "
    code += f"{', '.join(map(repr, (network, quality, *sizes)))})))"
    here = Path(__file__).resolve().parent
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(here), os.environ.get("PYTHONPATH", "")])}
    with tempfile.TemporaryDirectory() as kept:
        if cache != "usual":
            environment["NUMBA_CACHE_DIR"] = kept
        for _ in range(2 if cache == "kept" else 1):
            done = subprocess.run([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def to_budget(image: ImageArray, network: str, quality: int, repeats: int, threads: int) -> dict[str, Any]:
    """Seconds of mozjpeg and of ours, in turn."""
    budget = len(usual(image, quality))
    encoded(image, network, budget, threads)
    theirs, ours = [], []
    for _ in range(repeats):
        theirs.append(bisected(image, budget))
        ours.append(encoded(image, network, budget, threads))
    passes = [seconds for run in theirs for seconds in run[2]]
    return {
        "budget": budget,
        "bytes": ours[0][1],
        "seconds": median(run[0] for run in ours),
        "mozjpeg_bytes": theirs[0][1],
        "mozjpeg_passes": len(theirs[0][2]),
        "mozjpeg_seconds": median(run[0] for run in theirs),
        "mozjpeg_seconds_of_a_pass": median(passes),
        "mozjpeg_seconds_of_last_pass": median(run[2][-1] for run in theirs),
        "load_average": round(os.getloadavg()[0], 2),
    }


def of_size(image: ImageArray, network: str, quality: int, repeats: int) -> dict[str, Any]:
    budget = len(usual(image, quality))
    runs = [encoded(image, network, budget, threads=1) for _ in range(repeats)]
    seconds = median(run[0] for run in runs)
    megapixels = image.shape[0] * image.shape[1] / 1e6
    return {
        "budget": budget,
        "bytes": runs[0][1],
        "seconds": seconds,
        "seconds_per_megapixel": round(seconds / megapixels, 4),
    }


def first_call(data_folder: Path, network: str, quality: int, *_: int) -> dict[str, Any]:
    """Seconds of the imports, the first call (compilation and what comes with it) and the second."""
    start = time.perf_counter()
    accelir.network(network)
    image = photograph(data_folder, 2160, 3840)
    budget = len(usual(image, quality))
    ready = time.perf_counter()
    first, _ = encoded(image, network, budget)
    second, _ = encoded(image, network, budget)
    return {
        "seconds_of_import_and_photograph": round(ready - start, 3),
        "seconds_of_first_call": first,
        "seconds_of_second_call": second,
    }


def memory(data_folder: Path, network: str, quality: int, height: int, width: int) -> dict[str, Any]:
    """The most memory that a process has resident which encodes one photograph; the photograph itself counts."""
    image = photograph(data_folder, height, width)
    budget = len(usual(image, quality))
    accelir.network(network)
    before = resident()
    encoded(image, network, budget)
    return {"gigabytes_before": before, "gigabytes_at_most": resident()}


def folder(data_folder: Path, network: str, quality: int, workers: int) -> dict[str, Any]:
    """Pictures per second of `encode_many`, from the first pictures on: the start of the workers is told apart."""
    allowed = sorted(os.sched_getaffinity(0))[:workers]
    os.sched_setaffinity(0, allowed)
    # They were counted before.
    torch.set_num_threads(workers)
    done: list[float] = []
    with tempfile.TemporaryDirectory() as made:
        image = photograph(data_folder, 2160, 3840)
        for index in range(FOLDER_PICTURES):
            picture = np.roll(image, 160 * index, axis=(0, 1))
            Image.fromarray(picture).save(Path(made, f"{index:02}.png"), compress_level=1)
        start = time.perf_counter()
        results = accelir.encode_many(
            made,
            Path(made, "out"),
            network=network,
            budget=accelir.LikeQuality(quality),
            workers=workers,
            progress=lambda *_: done.append(time.perf_counter()),
        )
    if any(result.error for result in results):
        raise SystemExit(str(results))
    # Of each worker the first picture includes its start.
    measured = len(done) - workers
    return {
        "pictures": len(done),
        "seconds": round(done[-1] - start, 3),
        "seconds_to_first": round(done[workers - 1] - start, 3),
        "pictures_per_second_after": round(measured / (done[-1] - done[workers - 1]), 4),
    }


def bisected(image: ImageArray, budget: int) -> tuple[float, int, list[float]]:
    """Seconds of all passes together, the largest size that fits, and the seconds of each pass."""
    start = time.perf_counter()
    low, high, best = 1, 100, 0
    passes = []
    while low <= high:
        middle = (low + high) // 2
        before = time.perf_counter()
        size = len(mozjpeg(image, middle))
        passes.append(time.perf_counter() - before)
        if size <= budget:
            best, low = max(best, size), middle + 1
        else:
            high = middle - 1
    return time.perf_counter() - start, best, passes


def mozjpeg(image: ImageArray, quality: int) -> bytes:
    import pyvips

    saved: bytes = pyvips.Image.new_from_array(image).jpegsave_buffer(
        Q=quality,
        quant_table=3,
        trellis_quant=True,
        overshoot_deringing=True,
        optimize_coding=True,
        subsample_mode="on",
        keep="none",
    )
    return saved


def encoded(image: ImageArray, network: str, budget: int, threads: int | None = None) -> tuple[float, int]:
    """Seconds and bytes of one call."""
    import torch

    if threads is not None:
        os.environ[LIMIT] = str(threads)
        torch.set_num_threads(threads)
    start = time.perf_counter()
    result = accelir.encode(image, network=network, budget=accelir.Bytes(budget))
    seconds = time.perf_counter() - start
    if not 0.98 * budget <= len(result.data) <= budget:
        raise SystemExit(f"{len(result.data)} bytes for a budget of {budget}.")
    return round(seconds, 4), len(result.data)


def photograph(data_folder: Path, height: int, width: int) -> ImageArray:
    """uint8 (height, width, 3): photographs of 1920x1080 side by side, cut to the size from the top left."""
    rows, columns = -(-height // HEIGHT), -(-width // WIDTH)
    found: list[ImageArray] = []
    for path in sorted((data_folder / "train").glob("*.jpg")):
        with Image.open(path) as picture:
            if picture.width >= WIDTH and picture.height >= HEIGHT:
                found.append(np.asarray(picture.convert("RGB"))[:HEIGHT, :WIDTH])
        if len(found) == rows * columns:
            break
    else:
        raise SystemExit(f"{data_folder}/train holds too few photographs of {WIDTH}x{HEIGHT}.")
    lines = [np.concatenate(found[row * columns : (row + 1) * columns], axis=1) for row in range(rows)]
    return np.ascontiguousarray(np.concatenate(lines)[:height, :width])


def usual(image: ImageArray, quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality, optimize=True)
    return stream.getvalue()


def overview(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is asked: ratios to mozjpeg, to the smallest time per pixel, and of the folders."""
    rows = [
        {
            "network": record["network"],
            "quality": record["quality"],
            "threads": record["threads"],
            "times_one_pass": round(record["seconds"] / record["mozjpeg_seconds_of_a_pass"], 2),
            "part_of_bisection": round(record["seconds"] / record["mozjpeg_seconds"], 2),
        }
        for record in records
        if record["of"] == "budget"
    ]
    per_pixel = [record["seconds_per_megapixel"] for record in records if record["of"] == "pixels"]
    speeds = {record["workers"]: record["pictures_per_second_after"] for record in records if record["of"] == "folder"}
    rows.append({"seconds_per_megapixel_from": min(per_pixel), "to": max(per_pixel)})
    if 2 in speeds:
        rows.append({"two_workers_over_one": round(speeds[2] / speeds[1], 3)})
    return rows


def job_of(network: str) -> Any:
    return next(job for _, job in each_task(None) if network.startswith(job.family))


def median(values: Any) -> float:
    return round(statistics.median(values), 4)


def resident() -> float:
    """The most memory that this process has had, in units of 10^9 bytes."""
    # Not getrusage: what that says begins with the memory of the parent.
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return round(int(line.split()[1]) * 1024 / 1e9, 3)


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []:
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


if __name__ == "__main__":
    typer.run(main)
