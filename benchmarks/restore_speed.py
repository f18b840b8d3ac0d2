"""Time of restoring, against the bare module in float32: python benchmarks/restore_speed.py [NAME ...].

Each network restores a photograph that scikit-learn ships, made into an input of its task, in three ways by turns: the
module called on the whole input in float32, as PyTorch does by default; `IRNetwork.restore`; and the module called in
bfloat16, channels last, where the machine computes that fast. The median counts. On a GPU, which ``--device`` names,
all three are timed from pixels in memory to pixels in memory. ``--large`` also restores 7680x4320 pixels from 1920x1080
in a process of its own, and notes the time and the most memory of the host that it took.
Best on a quiet machine.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from common import progress
from PIL import Image
from sklearn.datasets import load_sample_image

import accelir
from accelir.bench.measure import make_input
from accelir.bench.results import ResultFile
from accelir.image import ImageArray
from accelir.metrics import psnr_rgb
from accelir.network import TorchNetwork
from accelir.tasks import Deblur
from accelir.tensors import channels_last, fast_dtype
from accelir.threads import processors

LARGE = """
import resource, sys, time
import numpy as np
import accelir
image = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), dtype=np.uint8)
network = accelir.network(sys.argv[1]).to(sys.argv[2])
started = time.perf_counter()
assert network.restore(image).shape == (4320, 7680, 3)
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20)
"""


def main(
    names: Annotated[list[str] | None, typer.Argument(help="By default all installed networks.")] = None,
    repeats: Annotated[int, typer.Option(help="Of each timing; the median counts.")] = 5,
    device: Annotated[str, typer.Option(help="Any torch device.")] = "cpu",
    large: Annotated[bool, typer.Option(help="Restore 7680x4320 pixels too, by the networks of x4.")] = True,
    output: Annotated[Path, typer.Option()] = Path("benchmarks/results/restore_speed.json"),
) -> None:
    settings = {"repeats": repeats, "threads": torch.get_num_threads(), "machine": machine(device)}
    command = " ".join(
        [
            f"python benchmarks/restore_speed.py --repeats {repeats}",
            *(names or []),
            *(() if device == "cpu" else (f"--device {device}",)),
            *(() if large else ("--no-large",)),
            f"--output {output}",
        ]
    )
    results = ResultFile(output, settings, command)
    with progress() as bar:
        for name in bar.track(names or list(accelir.networks()), description="networks"):
            if results.has(network=name):
                continue
            network = accelir.network(name)
            if not isinstance(network, TorchNetwork):
                raise SystemExit(f"{name} is no torch module.")
            record = {"network": name, **timed(network.to(device), repeats)}
            if large and network.task.scale == 4:
                record |= of_large(name, device)
            results.add(record)
    for record in results.records:
        print(record)


def machine(device: str) -> dict[str, object]:
    """What the times belong to."""
    gpu = {} if device == "cpu" else {"gpu": torch.cuda.get_device_name(device)}
    return {
        "processors": processors(),
        "architecture": platform.machine(),
        "bfloat16": str(fast_dtype(torch.device(device))),
        **gpu,
    }


def timed(network: TorchNetwork, repeats: int) -> dict[str, float]:
    """Seconds of the three ways, and how far `restore` is from the module in float32.

    Where the receptive field has no end, and tiles change the result, also what they lose on another picture.
    """
    image, reference = photograph(network)
    dtype = fast_dtype(network.device)

    def uploaded() -> torch.Tensor:
        return torch.from_numpy(image.copy()).to(network.device).permute(2, 0, 1)[None].float().div(255)

    ready = uploaded()

    def batch() -> torch.Tensor:
        return ready if network.device.type == "cpu" else uploaded()

    def bare() -> ImageArray:
        for parameter in network.module.parameters():
            parameter.data = parameter.data.contiguous()
        with torch.inference_mode():
            return pixels(network.module(batch().contiguous()))

    def fast() -> ImageArray:
        channels_last(network.module)
        with (
            torch.inference_mode(),
            torch.autocast(network.device.type, torch.bfloat16, enabled=dtype is torch.bfloat16),
        ):
            return pixels(network.module(batch().contiguous(memory_format=torch.channels_last)))

    ways: dict[str, Callable[[], ImageArray]] = {
        "module_float32": bare,
        "restore": lambda: network.restore(image),
        "module_fast": fast,
    }
    restored = {way: run() for way, run in ways.items()}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, run in ways.items():
            started = time.perf_counter()
            run()
            seconds[way].append(time.perf_counter() - started)
    megapixels = reference.shape[0] * reference.shape[1] / 1e6
    medians = {way: statistics.median(times) for way, times in seconds.items()}
    tiles = {"psnr_lost_to_tiles": lost_to_tiles(network)} if network.receptive_field is None else {}
    return {
        "milliseconds_per_megapixel": round(1000 * medians["restore"] / megapixels, 1),
        "times_faster": round(medians["module_float32"] / medians["restore"], 2),
        "times_faster_at_best": round(medians["module_fast"] / medians["restore"], 2),
        "psnr_lost": round(
            psnr_rgb(restored["module_float32"], reference) - psnr_rgb(restored["restore"], reference), 4
        ),
        **tiles,
    }


def lost_to_tiles(network: TorchNetwork) -> float:
    """By how many dB a network restores less in tiles, in float32: one photograph, whose parts are not alike."""
    sample = Image.fromarray(load_sample_image("china.jpg"))
    image, reference = degraded(network, np.asarray(sample.resize((1280, 854), Image.Resampling.LANCZOS)))
    with torch.inference_mode():
        whole = pixels(network.module(torch.from_numpy(image.copy()).to(network.device).permute(2, 0, 1)[None] / 255))
    return round(psnr_rgb(whole, reference) - psnr_rgb(network.restore(image, dtype=torch.float32), reference), 4)


def photograph(network: TorchNetwork) -> tuple[ImageArray, ImageArray]:
    """An input of a network's task, and its reference of 1.4 megapixels: a photograph beside itself."""
    sample = np.asarray(load_sample_image("china.jpg"))[:424]
    return degraded(network, np.tile(sample, (3, 2, 1))[:1080, :1280])


def degraded(network: TorchNetwork, reference: ImageArray) -> tuple[ImageArray, ImageArray]:
    """An input of a network's task, and its reference."""
    blur = np.ones((1, 9), np.float32) / 9
    return make_input(network.task, reference, 0, [blur] if isinstance(network.task, Deblur) else [])


def pixels(restored: torch.Tensor) -> ImageArray:
    """What a module returned as an image."""
    return (
        restored[0].float().mul(255).round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()
    )


def of_large(name: str, device: str) -> dict[str, float]:
    """Seconds and GiB of 7680x4320 pixels restored."""
    done = subprocess.run(
        [sys.executable, "-c", LARGE, name, device], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    seconds, memory = (float(word) for word in done.stdout.split())
    return {"large_seconds": round(seconds, 1), "large_gib": round(memory, 2)}


if __name__ == "__main__":
    typer.run(main)
