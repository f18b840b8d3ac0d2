"""Time of WebP, HEIC and AVIF against one pass of the usual encoder: python benchmarks/format_speed.py DATA_FOLDER.

The photograph of 3840x2160 is that of speed.py, and the budget the size of the usual encoder's file: Pillow's WebP of
method 4, pillow-heif's HEIC, Pillow's AVIF. A pass of ours is what comes before any file (colour conversion, what the
blocks need) and one file; the whole call adds the predictor and the files that the budget takes. WebP is held against
Pillow's method 6 too, the one that, like ours, searches levels by rate and distortion.
All on one processor and by turns, the median counts; best on a quiet machine. The first call of each codec is not
timed.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from common import fingerprints, job, shown_command
from PIL import Image
from speed import median, photograph, processor

import accelir
from accelir.bench.results import ResultFile
from accelir.codec import Codec, Encoded
from accelir.image import ImageArray
from accelir.threads import LIMIT

NETWORKS = {"sr": "edsr-x4-f16", "denoise": "dncnn-s25-f16"}


def main(
    data_folder: Annotated[Path, typer.Argument(help="Holds train/*.jpg.")],
    codecs: Annotated[list[str] | None, typer.Option("--codec", help="webp, heic and avif by default.")] = None,
    repeats: Annotated[int, typer.Option(help="Of each timing; the median counts.")] = 3,
    output: Annotated[Path, typer.Option()] = Path("benchmarks/results/speed_formats.json"),
) -> None:
    os.environ[LIMIT] = "1"
    # The encoders of others start threads of their own.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])
    torch.set_num_threads(1)
    names = codecs or ["webp", "heic", "avif"]
    settings = {
        "networks": {name: fingerprints(map(accelir.network, NETWORKS.values()), name) for name in names},
        "processor": processor(),
        "repeats": repeats,
        "seconds": "wall time on one processor, the median of the repeats",
    }
    asked = repeats if repeats != 3 else None
    command = shown_command("format_speed.py", output, codec=codecs, repeats=asked)
    results = ResultFile(output, settings, command)
    image = photograph(data_folder, 2160, 3840)
    for name in names:
        for task, network in NETWORKS.items():
            quality = job(name, task).qualities[1]
            key = {"codec": name, "network": network, "quality": quality}
            if not results.has(**key):
                results.add({**key, **against_usual(image, accelir.codec(name), network, quality, repeats)})
                typer.echo(json.dumps(results.records[-1]), err=True)
    results.summary = [overview(record) for record in results.records]
    results.write()
    for row in results.summary:
        typer.echo(json.dumps(row))


def against_usual(image: ImageArray, codec: Codec, network: str, quality: int, repeats: int) -> dict[str, Any]:
    """Seconds of the usual encoder and of ours, in turn."""
    budget = len(codec.usual(image, quality))
    encoded(image, codec, network, budget)
    usual, slowest, calls = [], [], []
    for _ in range(repeats):
        usual.append(timed(lambda: codec.usual(image, quality)))
        if codec.name == "webp":
            slowest.append(timed(lambda: method_6(image, quality)))
        calls.append(encoded(image, codec, network, budget))
    found = {
        "budget": budget,
        "bytes": calls[0]["bytes"],
        "usual_seconds": median(usual),
        "seconds": median(call["seconds"] for call in calls),
        "seconds_before_files": median(call["before"] for call in calls),
        "seconds_of_a_file": median(seconds for call in calls for seconds in call["files"]),
        "files": len(calls[0]["files"]),
        "load_average": round(os.getloadavg()[0], 2),
    }
    return found | ({"method_6_seconds": median(slowest)} if slowest else {})


def encoded(image: ImageArray, codec: Codec, network: str, budget: int) -> dict[str, Any]:
    """One call: its bytes and seconds, those before any file, and those of each file."""
    with watched(codec, image) as (before, files):
        start = time.perf_counter()
        result = accelir.encode(image, network=network, codec=codec.name, budget=accelir.Bytes(budget))
        seconds = time.perf_counter() - start
    if not 0.94 * budget <= len(result.data) <= budget:
        raise SystemExit(f"{len(result.data)} bytes for a budget of {budget}.")
    return {"bytes": len(result.data), "seconds": seconds, "before": sum(before), "files": files}


@contextmanager
def watched(codec: Codec, image: ImageArray) -> Iterator[tuple[list[float], list[float]]]:
    """Seconds of each `Codec.prepare` and of each `Prepared.write` of a codec."""
    kind, prepared = type(codec), type(codec.prepare(image[:64, :64]))
    prepare, write = kind.prepare, prepared.write
    before: list[float] = []
    files: list[float] = []

    def timed_prepare(*args: Any, **settings: Any) -> Any:
        start = time.perf_counter()
        result = prepare(*args, **settings)
        before.append(time.perf_counter() - start)
        return result

    def timed_write(*args: Any, **settings: Any) -> Encoded:
        start = time.perf_counter()
        result = write(*args, **settings)
        files.append(time.perf_counter() - start)
        return result

    kind.prepare, prepared.write = timed_prepare, timed_write  # type: ignore[method-assign]
    try:
        yield before, files
    finally:
        kind.prepare, prepared.write = prepare, write  # type: ignore[method-assign]


def method_6(image: ImageArray, quality: int) -> None:
    Image.fromarray(image).save(io.BytesIO(), "WEBP", quality=quality, method=6)


def timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def overview(record: dict[str, Any]) -> dict[str, Any]:
    """Ratios to one pass of the usual encoder, and the files that the budget took."""
    ours = record["seconds_before_files"] + record["seconds_of_a_file"]
    row = {key: record[key] for key in ("codec", "network", "quality", "files")}
    row["pass_over_usual"] = round(ours / record["usual_seconds"], 2)
    if "method_6_seconds" in record:
        row["pass_over_method_6"] = round(ours / record["method_6_seconds"], 2)
    row["call_over_usual"] = round(record["seconds"] / record["usual_seconds"], 2)
    return row


if __name__ == "__main__":
    typer.run(main)
