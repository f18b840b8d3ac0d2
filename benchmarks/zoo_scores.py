"""Score the shipped networks: python benchmarks/zoo_scores.py DATA [NAME ...].

DATA holds ``bench/Kodak24``, ``bench/Set5`` and ``kernels/blur_kernels.npz``. The scores go into the record beside the
weights, from which `zoo_cards` makes the page of the networks.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import kernels, pictures
from PIL import Image

import accelir
from accelir.bench.measure import make_input
from accelir.bench.results import provenance
from accelir.image import ImageArray, as_image_array
from accelir.metrics import psnr_rgb, psnr_y
from accelir.network import IRNetwork
from accelir.tasks import Deblur, Denoise, SuperResolution
from accelir.training.shake import SHARP

__all__ = ["WEIGHTS", "scores"]

WEIGHTS = Path(__file__).parents[1] / "src" / "accelir_plugins" / "weights"


def main() -> None:
    """Score what the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    for name in options.names or sorted(path.stem for path in WEIGHTS.glob("*.safetensors")):
        path = WEIGHTS / f"{name}.json"
        record = json.loads(path.read_text())
        record |= scores(accelir.network(name), options.data)
        path.write_text(json.dumps(record, indent=1) + "\n")
        print(name, record["kodak24_psnr_rgb"], record.get("set5_psnr_y", ""), flush=True)


def scores(network: IRNetwork, data: Path) -> dict[str, object]:
    """Mean PSNR in dB of what a network restores.

    Returns:
        ``kodak24_psnr_rgb``: from clean inputs and through Pillow's JPEG at three qualities; ``untouched``: of the
        clean input, for super-resolution enlarged by Pillow's bicubic. ``set5_psnr_y``, for super-resolution:
        from clean inputs, as many pixels as the scale left out at the border. ``kodak24_unseen_psnr_rgb``, for
        deblurring: from clean inputs that a random trajectory has blurred, which no network was trained on;
        ``kodak24_sharp_psnr_rgb``: from inputs that nothing has blurred. ``psnr_of``: the fingerprint of the network
        that was scored, and the commit of the code (of older scores, the one that they came with).
    """
    task = network.task
    qualities = (10, 20, 40) if isinstance(task, Denoise) else (50, 75, 90)
    sums = dict.fromkeys(["clean", *(f"q{quality}" for quality in qualities), "untouched"], 0.0)
    files, blur = pictures(data, None), kernels(data)
    for index, path in enumerate(files):
        image, reference = make_input(task, as_image_array(path), index, blur)
        sums["untouched"] += psnr_rgb(_enlarged(image, task.scale), reference) / len(files)
        sums["clean"] += psnr_rgb(network.restore(image), reference) / len(files)
        for quality in qualities:
            sums[f"q{quality}"] += psnr_rgb(network.restore(_through_jpeg(image, quality)), reference) / len(files)
    found: dict[str, object] = {"kodak24_psnr_rgb": {key: round(total, 3) for key, total in sums.items()}}
    if isinstance(task, Deblur):
        found["kodak24_unseen_psnr_rgb"] = _of_another_blur(network, files, None)
        found["kodak24_sharp_psnr_rgb"] = _of_another_blur(network, files, SHARP)
    if isinstance(task, SuperResolution):
        found["set5_psnr_y"] = {key: round(value, 3) for key, value in _set5(network, data).items()}
    found["psnr_of"] = {"fingerprint": network.fingerprint(), "commit": provenance("")["commit"]}
    return found


def _of_another_blur(
    network: IRNetwork, files: Sequence[Path], kernel: npt.NDArray[np.float32] | None
) -> dict[str, float]:
    """Of inputs that a kernel has blurred, or each a random trajectory of its own."""
    restored, untouched = [], []
    for index, path in enumerate(files):
        own = None if kernel is None else [kernel]
        image, reference = make_input(network.task, as_image_array(path), index, own)
        restored.append(psnr_rgb(network.restore(image), reference))
        untouched.append(psnr_rgb(image, reference))
    return {"clean": round(float(np.mean(restored)), 3), "untouched": round(float(np.mean(untouched)), 3)}


def _set5(network: IRNetwork, data: Path) -> dict[str, float]:
    scale = network.task.scale
    restored, untouched = [], []
    for index, path in enumerate(pictures(data, None, "Set5")):
        image, reference = make_input(network.task, as_image_array(path), index, [])
        restored.append(psnr_y(network.restore(image), reference, border=scale))
        untouched.append(psnr_y(_enlarged(image, scale), reference, border=scale))
    return {"clean": float(np.mean(restored)), "untouched": float(np.mean(untouched))}


def _enlarged(image: ImageArray, scale: int) -> ImageArray:
    height, width = image.shape[:2]
    return np.asarray(Image.fromarray(image).resize((width * scale, height * scale), Image.Resampling.BICUBIC))


def _through_jpeg(image: ImageArray, quality: int) -> ImageArray:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality, optimize=True)
    return np.asarray(Image.open(stream))


if __name__ == "__main__":
    main()
