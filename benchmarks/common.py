"""What the benchmark scripts share: the pictures, the families, and restoring each file once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import accelir
from accelir.bench.measure import make_input, straddle
from accelir.bench.results import ResultFile
from accelir.image import ImageArray, as_image_array
from accelir.metrics import psnr_rgb, ssim_luma
from accelir.network import IRNetwork

PLAIN_MSE = "one level for all blocks"
"""How the plain-MSE control is written, since that is best for squared error; files of results that do not say so gave
each block a level of its own."""

LOSS = 0.05
"""dB below the heavy network that the control of the FLOPs saving may fall: it shows how flat a family is."""


@dataclass(frozen=True)
class Job:
    """A task as it is measured.

    Attributes:
        family: Of networks.
        qualities: Of the ordinary encoder, which set the budgets.
        curve: Qualities on which its rate-PSNR curve is measured.
        plain: Options of the plain-MSE control. The best of them on the very pictures reported on is what counts.
    """

    family: str
    qualities: tuple[int, ...]
    curve: tuple[int, ...]
    plain: tuple[dict[str, float | str], ...]


_PLAIN_JPEG: dict[str, tuple[dict[str, float | str], ...]] = {
    "sr": (
        {"rdo": 0.01, "shape": 0.0},
        {"rdo": 0.02, "shape": 0.0},
        {"rdo": 0.02, "shape": 1.0},
        {"rdo": 0.03, "shape": 0.0},
        {"rdo": 0.05, "shape": 0.0},
        {"rdo": 0.1, "shape": 0.0},
    ),
    "denoise": (
        {"rdo": 0.1, "shape": 1.0},
        {"rdo": 0.05, "shape": 1.5},
        {"rdo": 0.07, "shape": 1.5},
        {"rdo": 0.1, "shape": 1.5},
        {"rdo": 0.2, "shape": 1.5},
        {"rdo": 0.05, "shape": 2.0},
        {"rdo": 0.07, "shape": 2.0},
        {"rdo": 0.1, "shape": 2.0},
        {"rdo": 0.2, "shape": 2.0},
        {"rdo": 0.1, "shape": 2.5},
        {"rdo": 0.3, "shape": 2.0},
        {"rdo": 0.3, "shape": 2.5},
        {"rdo": 0.1, "table": "annex-k"},
        {"rdo": 0.2, "table": "annex-k"},
        {"rdo": 0.3, "table": "annex-k"},
    ),
    "deblur": (
        {"rdo": 0.01, "shape": 0.0},
        {"rdo": 0.02, "shape": 0.0},
        {"rdo": 0.05, "shape": 0.0},
        {"rdo": 0.05, "shape": 0.5},
        {"rdo": 0.1, "shape": 0.5},
        {"rdo": 0.1, "shape": 1.0},
        {"rdo": 0.2, "shape": 1.0},
    ),
}
_FAMILIES = {"sr": "edsr-x4", "denoise": "dncnn-s25", "deblur": "nafnet-deblur"}
_QUALITIES = {
    "jpeg": {"sr": (50, 75, 90), "denoise": (10, 20, 40), "deblur": (50, 75, 90)},
    # Noise is stored at 0.4 to 1.5 bits per pixel.
    "webp": {"sr": (50, 75, 90), "denoise": (5, 10, 20), "deblur": (50, 75, 90)},
    "heic": {"sr": (40, 50, 60), "denoise": (24, 28, 32), "deblur": (50, 60, 70)},
    "avif": {"sr": (50, 60, 75), "denoise": (30, 40, 50), "deblur": (50, 75, 90)},
}
_CURVES = {
    "jpeg": {
        "sr": (30, 50, 75, 85, 90, 95, 98),
        "denoise": (5, 10, 20, 30, 40, 65, 90),
        "deblur": (30, 50, 75, 85, 90, 95, 98),
    },
    "webp": {
        "sr": (30, 50, 75, 85, 90, 95, 98),
        "denoise": (0, 5, 10, 20, 30, 50, 80),
        "deblur": (30, 50, 75, 85, 90, 95, 98),
    },
    "heic": {
        "sr": (30, 40, 50, 60, 70, 80),
        "denoise": (20, 24, 28, 32, 36, 45, 60),
        "deblur": (40, 50, 60, 70, 80, 90),
    },
    "avif": {
        "sr": (40, 50, 60, 75, 85, 95),
        "denoise": (20, 30, 40, 50, 60, 75, 90),
        "deblur": (40, 50, 75, 85, 90, 95),
    },
}


def job(codec: str, task: str) -> Job:
    """How a task is measured in a format."""
    plain = _PLAIN_JPEG[task] if codec == "jpeg" else ({"emphasis": 0.0},)
    return Job(_FAMILIES[task], _QUALITIES[codec][task], _CURVES[codec][task], plain)


def pictures(folder: Path, count: int | None, name: str = "Kodak24") -> list[Path]:
    """The photographs of a bench set in the order of their names."""
    found = sorted((folder / "bench" / name).glob("*.png"))[:count]
    if not found:
        raise SystemExit(f"{folder} holds no bench/{name}/*.png")
    return found


def kernels(folder: Path) -> list[np.ndarray]:
    """The blur kernels in the order of the file."""
    with np.load(folder / "kernels" / "blur_kernels.npz") as stored:
        return [stored[name].astype(np.float32) for name in stored.files]


def family(name: str, wanted: list[str] | None) -> list[IRNetwork]:
    """The installed networks of a family, or those wanted that have its task, narrowest first."""
    specs = accelir.networks()
    if unknown := set(wanted or ()) - specs.keys():
        raise SystemExit(f"No network is named {', '.join(sorted(unknown))}.")
    task = next(spec.task for spec in specs.values() if spec.family == name)
    chosen = [
        (spec.width, key)
        for key, spec in specs.items()
        if spec.task == task and (key in wanted if wanted else spec.family == name)
    ]
    return [accelir.network(key) for _, key in sorted(chosen)]


def fingerprints(members: Iterable[IRNetwork], codec: str = "jpeg") -> dict[str, dict[str, str]]:
    """What the measured files depend on: the weights of each network, and its profile."""
    found = {}
    for net in members:
        spec = accelir.profiles().get((codec, net.name))
        if spec is None:
            raise SystemExit(f"No profile of {codec} for {net.name}.")
        package, _, path = spec.path.partition(":")
        profile = hashlib.sha256(files(package).joinpath(path).read_bytes()).hexdigest()[:16]
        found[net.name] = {"weights": net.fingerprint(), "profile": profile}
    return found


class Score(NamedTuple):
    """Of a restored image against the clean original.

    Attributes:
        psnr: In dB, of RGB 0..255, no border.
        ssim: Of the luma, Gaussian window of 11x11, sigma 1.5.
    """

    psnr: float
    ssim: float


class Measured:
    """One input of one task: makes it, and restores every distinct file once for each network.

    Args:
        network: Any of the family: its task makes the input.
        path: Of the clean photograph.
        index: Of the photograph in the set: the seed.
        blur: Kernels, for deblurring.
        codec: Whose usual encoder sets the budgets.
    """

    def __init__(self, network: IRNetwork, path: Path, index: int, blur: list[np.ndarray], codec: str = "jpeg") -> None:
        self._codec = accelir.codec(codec)
        self.image, self.reference = make_input(network.task, as_image_array(path), index, blur)
        self._scores: dict[tuple[str, bytes], Score] = {}
        self._usual: dict[int, bytes] = {}

    def usual(self, quality: int) -> bytes:
        """The usual encoder's file, no metadata."""
        if quality not in self._usual:
            self._usual[quality] = self._codec.usual(self.image, quality)
        return self._usual[quality]

    def score(self, network: IRNetwork, data: bytes) -> Score:
        """Of the restored file."""
        key = (network.name, data)
        if key not in self._scores:
            pixels: ImageArray = as_image_array(data)
            if pixels.ndim > self.image.ndim:
                # jpegli's binding has no gray: what comes back in colour is judged as gray.
                pixels = np.asarray(Image.fromarray(pixels).convert("L"))
            restored = network.restore(pixels)
            self._scores[key] = Score(psnr_rgb(restored, self.reference), ssim_luma(restored, self.reference))
        return self._scores[key]

    def psnr(self, network: IRNetwork, data: bytes) -> float:
        """Of the restored file, in dB."""
        return self.score(network, data).psnr


def unrestored(picture: ImageArray, budget: int, reference: ImageArray) -> float:
    """What a picture itself has in Pillow's largest JPEG of at most so many bytes, no network run: in dB."""
    codec = accelir.codec("jpeg")
    best = straddle(lambda quality: len(codec.usual(picture, quality)), budget, 1, 100)[0]
    return psnr_rgb(codec.decode(codec.usual(picture, best)), reference)


def shown_command(script: str, output: Path, **options: object) -> str:
    """The command that makes a file of results, without the folders of this machine.

    Args:
        script: Its name in benchmarks/.
        output: The file of results.
        options: By name, with ``_`` for ``-``; None and False are left out, and a list repeats the option.
    """
    words = [f"python benchmarks/{script} DATA_FOLDER"]
    for name, value in options.items():
        flag = "--" + name.replace("_", "-")
        if value is True:
            words.append(flag)
        elif value is not None and value is not False:
            words += [f"{flag} {item}" for item in (value if isinstance(value, list) else [value])]
    words.append(f"--output {output.name if output.is_absolute() else output.as_posix()}")
    return " ".join(words)


def of_shard(shard: str, output: Path, settings: dict[str, Any], command: str) -> tuple[ResultFile, int, int]:
    """The file of one part of a measurement, or the whole one's with what its parts have measured.

    Args:
        shard: ``i/n``.
        output: Of the whole.
        settings: As for `ResultFile`.
        command: As for `ResultFile`.

    Returns:
        The file, i and n.
    """
    part, parts = (int(number) for number in shard.split("/"))
    results = ResultFile(output if parts == 1 else output.with_suffix(f".{part}of{parts}.json"), settings, command)
    if parts == 1:
        for other in sorted(output.parent.glob(f"{output.stem}.*of*.json")):
            results.take_over(other)
    return results, part, parts


def progress() -> Progress:
    """A bar for the terminal."""
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True))


def each_task(task: str | None, codec: str = "jpeg") -> Iterator[tuple[str, Job]]:
    """The named job, or all of them."""
    if task is not None and task not in _FAMILIES:
        raise SystemExit(f"No task named {task!r}. There are: {', '.join(_FAMILIES)}.")
    if codec not in _QUALITIES:
        raise SystemExit(f"No qualities are set for codec {codec!r}. There are: {', '.join(_QUALITIES)}.")
    yield from ((name, job(codec, name)) for name in _FAMILIES if task in (None, name))


def rounded(scores: dict[str, float]) -> dict[str, float]:
    """To 5 decimals, for JSON that people can read."""
    return {name: round(value, 5) for name, value in scores.items()}
