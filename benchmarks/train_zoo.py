"""Train the shipped networks: python benchmarks/train_zoo.py DATA [NAME ...].

DATA holds ``train/`` (photographs), ``bench/Kodak24`` and ``kernels/blur_kernels.npz``. Networks are trained in the
order of the table below, since a wide one may start from the narrower one before it. An interrupted run resumes from
its checkpoint; a network whose weights exist is skipped, unless ``--again`` continues from them, at two fifths of the
learning rate.
"""

from __future__ import annotations

import argparse
import io
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from accelir.metrics import psnr_rgb
from accelir.network import TorchNetwork
from accelir.tasks import Deblur, Denoise, SuperResolution, Task
from accelir.training.data import Pairs, Source, make_pairs, photographs
from accelir.training.recipe import Recipe, grow, train
from accelir.training.shake import KernelNaming, ShakePairs
from accelir_plugins.dncnn import DnCNN
from accelir_plugins.edsr import EDSR
from accelir_plugins.mimounet import MIMOUNet

WEIGHTS = Path(__file__).parents[1] / "src" / "accelir_plugins" / "weights"
PAIRS_SEED = 1
PAIRS = 9000


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        task: What the network undoes.
        build: Width to module.
        width: Channels of the body.
        side: Side of the prepared inputs.
        recipe: How to train.
        start: Width of the family's network to grow from.
    """

    task: Task
    build: Callable[[int], nn.Module]
    width: int
    side: int
    recipe: Recipe
    start: int | None = None


def _sr(width: int, steps: int, rate: float, start: int | None = None) -> Job:
    return Job(SuperResolution(4), EDSR, width, 64, Recipe(steps, 16, 32, rate, "l1"), start)


def _denoise(width: int, steps: int, rate: float, start: int | None = None) -> Job:
    return Job(Denoise(25), DnCNN, width, 96, Recipe(steps, 16, 48, rate, "mse"), start)


def _deblur(width: int, steps: int, rate: float) -> Job:
    return Job(Deblur(), MIMOUNet, width, 176, Recipe(steps, 4, 96, rate, "multiscale", decay=0.4))


ZOO = {
    "edsr-x4-f8": _sr(8, 6000, 3e-3),
    "edsr-x4-f16": _sr(16, 8000, 2e-3, 8),
    "edsr-x4-f32": _sr(32, 4500, 1e-3, 16),
    "edsr-x4-f64": _sr(64, 1100, 6e-4, 32),
    "dncnn-s25-f8": _denoise(8, 10_000, 3e-3),
    "dncnn-s25-f16": _denoise(16, 12_000, 2e-3, 8),
    "dncnn-s25-f32": _denoise(32, 8000, 1e-3, 16),
    "dncnn-s25-f64": _denoise(64, 3000, 6e-4, 32),
    "mimounet-deblur-f16": _deblur(16, 24_000, 1e-3),
    "mimounet-deblur-f32": _deblur(32, 24_000, 1e-3),
}


def main() -> None:
    """Train what the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", choices=[*ZOO, []], default=[])
    parser.add_argument("--again", action="store_true", help="continue from the committed weights")
    parser.add_argument("--steps", type=int, help="instead of the table's")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    prepared: dict[str, Pairs] = {}
    for name in options.names or ZOO:
        job, path = ZOO[name], WEIGHTS / f"{name}.safetensors"
        if options.again:
            job = replace(job, recipe=replace(job.recipe, learning_rate=0.4 * job.recipe.learning_rate, decay=0.95))
        if options.steps is not None:
            job = replace(job, recipe=replace(job.recipe, steps=options.steps))
        if path.exists() and not options.again:
            continue
        if job.task.name not in prepared:
            prepared.clear()
            print(f"preparing {PAIRS} pairs for {job.task.name}", flush=True)
            prepared[job.task.name] = make_pairs(
                photographs(options.data / "train"), job.task, count=PAIRS, side=job.side, seed=PAIRS_SEED
            )
        source: Source = prepared[job.task.name]
        auxiliary = None
        if isinstance(job.task, Deblur):
            sharp, kernels = prepared[job.task.name].references, blur_kernels(options.data)
            further = {"lights": 0.0, "opening": 0.0, "compressed": 0.75} if options.again else {}
            source = ShakePairs(sharp, kernels, job.task, **further)
            auxiliary = KernelNaming("encode4", 4 * job.width, source)
        torch.manual_seed(job.recipe.seed)
        module = job.build(job.width)
        if options.again:
            module.load_state_dict({key: value.float() for key, value in load_file(path).items()})
        elif job.start is not None:
            narrow = job.build(job.start)
            family = name.rsplit("-f", 1)[0]
            narrow_weights = load_file(WEIGHTS / f"{family}-f{job.start}.safetensors")
            narrow.load_state_dict({key: value.float() for key, value in narrow_weights.items()})
            grow(narrow, module)
        started = time.time()
        module = train(
            module,
            source,
            job.recipe,
            device=options.device,
            checkpoint=path.with_suffix(".checkpoint"),
            report=lambda step, steps, loss, name=name: print(f"{name} {step}/{steps} {loss:.5f}", flush=True),
            auxiliary=auxiliary,
        )
        save_file({key: value.half().contiguous() for key, value in module.state_dict().items()}, path)
        seconds = time.time() - started
        write_provenance(name, job, seconds, score(name, job, options.data), again=options.again)


def blur_kernels(data: Path) -> list[np.ndarray]:
    """The blur kernels, float32."""
    with np.load(data / "kernels" / "blur_kernels.npz") as stored:
        return [stored[name].astype(np.float32) for name in stored.files]


def score(name: str, job: Job, data: Path) -> dict[str, float]:
    """Mean restored RGB-PSNR on Kodak24 from clean inputs and through Pillow's JPEG, by the shipped weights."""
    module = job.build(job.width)
    stored = load_file(WEIGHTS / f"{name}.safetensors")
    module.load_state_dict({key: value.float() for key, value in stored.items()})
    network = TorchNetwork(module, job.task, name)
    kernels = blur_kernels(data)
    qualities = (None, 10, 20, 40) if isinstance(job.task, Denoise) else (None, 50, 75, 90)
    sums = dict.fromkeys(qualities, 0.0)
    files = photographs(data / "bench" / "Kodak24")
    for number, file in enumerate(files):
        reference = np.asarray(Image.open(file).convert("RGB"))
        rng = np.random.default_rng(number)
        if isinstance(job.task, Deblur):
            image = job.task.degrade_with(reference, kernels[number % len(kernels)], rng)
        else:
            image = job.task.degrade(reference, rng)
        for quality in qualities:
            stream = io.BytesIO()
            if quality is None:
                stored_image = image
            else:
                Image.fromarray(image).save(stream, "JPEG", quality=quality, optimize=True)
                stored_image = np.array(Image.open(stream))
            sums[quality] += psnr_rgb(network.restore(stored_image), reference) / len(files)
    return {"clean" if quality is None else f"q{quality}": round(total, 3) for quality, total in sums.items()}


def write_provenance(name: str, job: Job, seconds: float, scores: dict[str, float], *, again: bool) -> None:
    """Where the weights come from, beside them; a training that went on keeps the records of those before it."""
    path = WEIGHTS / f"{name}.json"
    record: dict[str, object] = {
        "name": name,
        "task": job.task.name,
        "width": job.width,
        "data": f"162 photographs, {PAIRS} pairs of side {job.side}, seed {PAIRS_SEED}; clean and compressed mixed",
        "recipe": asdict(job.recipe),
        "grown_from": None if job.start is None else f"width {job.start}",
        "command": f"python benchmarks/train_zoo.py DATA {name}"
        + (f" --again --steps {job.recipe.steps}" if again else ""),
        "seconds": round(seconds),
        "kodak24_psnr_rgb": scores,
        "licence": "Apache-2.0",
    }
    if again:
        record["continues"] = json.loads(path.read_text())
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
