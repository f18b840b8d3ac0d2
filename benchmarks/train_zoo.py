"""Train the shipped networks: python benchmarks/train_zoo.py DATA [NAME ...].

DATA holds ``train/`` (photographs), ``bench/Kodak24`` and ``kernels/blur_kernels.npz``. Networks are trained in the
order of the table in `zoo_jobs`, since one may start as another before it. An interrupted run resumes from its
checkpoint; a network whose weights exist is skipped, unless ``--again`` continues from them, by default at two fifths
of the learning rate. Several processes share the work, where torchrun starts it. On a GPU the batches are made there.
Where DATA has no ``bench``, the record has no scores: `zoo_scores` adds them.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from common import kernels
from safetensors.torch import load_file
from torch import nn
from zoo_headers import write_header
from zoo_jobs import ZOO, Job
from zoo_scores import WEIGHTS, scores

from accelir.bench.results import provenance
from accelir.files import pictures_in, write_atomically
from accelir.image import ImageArray
from accelir.network import TorchNetwork
from accelir.tasks import Deblur, Task
from accelir.threads import processors
from accelir.training.data import Pairs, Source, compress_randomly, in_two_sizes, make_pairs
from accelir.training.recipe import Auxiliary, Recipe, train
from accelir.training.resident import ResidentPairs
from accelir.training.shake import SHAKE_FROM_NOTHING, SHAKE_ON, KernelNaming, ShakePairs
from accelir.training.team import Team
from accelir.weights import WeightsRecord, pack_weights
from accelir_plugins.span import SPAN

NARROWED_BY = 20
"""Batches by which it is judged what matters of a network that is narrowed."""

PAIRS_SEED = 1
PAIRS = 9000


def main() -> None:
    """Train what the command line names, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", choices=[*ZOO, []], default=[])
    parser.add_argument("--again", action="store_true", help="continue from the committed weights")
    parser.add_argument("--steps", type=int, help="instead of the table's")
    parser.add_argument("--rate", type=float, help="by default the table's; with --again two fifths of it")
    parser.add_argument("--batch", type=int, help="crops in a step, instead of the table's: a GPU has room for more")
    parser.add_argument("--patch", type=int, help="side of the crops, instead of the table's")
    parser.add_argument("--clean", type=float, help="share of the prepared inputs that stay clean, by default 0.25")
    parser.add_argument("--seconds", type=float, help="end by then, if the steps take longer")
    parser.add_argument("--compiled", action="store_true", help="by torch.compile")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.clean is not None and not 0 <= options.clean <= 1:
        parser.error(f"--clean is a share from 0 to 1; got {options.clean}")
    if options.clean is not None and (
        options.device != "cpu" or any(ZOO[name].family.side is None for name in options.names or ZOO)
    ):
        parser.error("--clean is for inputs that are prepared before the training, on a CPU")
    # Of the code that runs, whatever is committed meanwhile.
    commit = provenance("")["commit"]
    for name in options.names or ZOO:
        path = WEIGHTS / f"{name}.safetensors"
        if path.exists() and not options.again:
            continue
        job = asked(name, options)
        torch.manual_seed(job.recipe.seed)
        deblurs = options.again or job.start is not None
        source, auxiliary = material(job, options, deblurs=deblurs)
        module = started(name, job, source, again=options.again)
        clock = time.time()
        spent = path.with_suffix(".seconds.checkpoint")
        before = float(spent.read_text()) if path.with_suffix(".checkpoint").exists() and spent.exists() else 0.0

        progress = Progress(name, spent, clock - before)
        module = train(
            module,
            source,
            job.recipe,
            device=options.device,
            checkpoint=path.with_suffix(".checkpoint"),
            report=progress,
            auxiliary=auxiliary,
            # Batches that a GPU makes are none for threads to make ahead.
            drawers=0 if isinstance(source, ResidentPairs) else None,
            seconds=options.seconds,
            compiled=options.compiled,
        )
        team = Team.of_this_process()
        if team.first:
            # One that the clock ended took fewer than were asked for.
            job = replace(job, recipe=replace(job.recipe, steps=progress.steps or job.recipe.steps))
            if isinstance(module, SPAN):
                module = module.fused()
            record = WeightsRecord(network=name, task=job.family.task.name)
            write_atomically(path, pack_weights(module.state_dict(), record, half=True))
            seconds = before + time.time() - clock
            spent.unlink(missing_ok=True)
            scored = scores(shipped(name, job), options.data) if (options.data / "bench").is_dir() else {}
            write_provenance(name, job, seconds, scored, options, commit=commit)
            write_header(path)
        # The others may need these weights for the next network.
        team.wait()


class Progress:
    """Says where a training is, and keeps how many seconds it took so far for when it is interrupted.

    Attributes:
        steps: That have been done.
    """

    def __init__(self, name: str, spent: Path, begun: float) -> None:
        self._name, self._spent, self._begun, self.steps = name, spent, begun, 0

    def __call__(self, step: int, steps: int, loss: float) -> None:
        print(f"{self._name} {step}/{steps} {loss:.5f}", flush=True)
        self._spent.write_text(str(time.time() - self._begun))
        self.steps = step


def asked(name: str, options: argparse.Namespace) -> Job:
    """A job of the table as the command line has it."""
    job = ZOO[name]
    recipe = job.recipe
    if options.again:
        # Other batches than those that it has seen.
        recipe = replace(recipe, learning_rate=0.4 * recipe.learning_rate, decay=0.95, seed=trainings_before(name))
    if options.steps is not None:
        recipe = replace(recipe, steps=options.steps)
    if options.batch is not None:
        recipe = replace(recipe, batch=options.batch)
    if options.patch is not None:
        recipe = replace(recipe, patch=options.patch)
    if options.rate is not None:
        recipe = replace(recipe, learning_rate=options.rate)
    return replace(job, recipe=recipe)


def trainings_before(name: str) -> int:
    """How often a shipped network was trained."""
    record, count = json.loads((WEIGHTS / f"{name}.json").read_text()), 1
    while "continues" in record:
        record, count = record["continues"], count + 1
    return count


def started(name: str, job: Job, source: Source, *, again: bool) -> nn.Module:
    """The network as its training starts."""
    module = job.family.build(job.width)
    if again:
        load_shipped(module, name)
    elif job.start is not None:
        other = job.family.build(job.start)
        load_shipped(other, f"{name.rsplit('-f', 1)[0]}-f{job.start}")
        if job.start < job.width:
            job.family.grow(other, module)
        else:
            assert job.family.narrow is not None
            # On a CPU, so that batches as large as a GPU's would take minutes.
            job.family.narrow(other, module, first_losses(other, source, ZOO[name].recipe))
    return module


def first_losses(module: nn.Module, source: Source, recipe: Recipe) -> Iterator[torch.Tensor]:
    """Mean absolute errors of a network on batches as they are late in a training."""
    rng = np.random.default_rng(recipe.seed)
    for _ in range(NARROWED_BY):
        batch = source.batch(rng, recipe.batch, recipe.patch, progress=1.0)
        inputs, references = (
            torch.as_tensor(part).cpu().permute(0, 3, 1, 2) / 255 for part in (batch.inputs, batch.references)
        )
        yield (module(inputs) - references).abs().mean()


def material(job: Job, options: argparse.Namespace, *, deblurs: bool) -> tuple[Source, Auxiliary | None]:
    """What a network is trained on, and with which further loss.

    Args:
        job: Of the network.
        options: The command line.
        deblurs: Whether a network against blur deblurs already, as it starts.
    """
    family, data, device = job.family, options.data, options.device
    resident = torch.device(device).type != "cpu"
    if family.side is not None:
        if resident:
            return ResidentPairs(sharp_photographs(data), family.task, device=device), None
        return pairs(data, family.task, family.side, _pairs_seed(job.recipe), options.clean), None
    assert isinstance(family.task, Deblur)
    blur = kernels(data)
    naming = KernelNaming.of(family.build(job.width), len(blur))
    # A quarter of the compressed stay clean.
    shown = SHAKE_ON | {"compressed": 0.75} if deblurs else SHAKE_FROM_NOTHING | {"compressed": 0.6}
    if resident:
        return ResidentPairs(sharp_photographs(data), family.task, device=device, kernels=blur, **shown), naming
    return ShakePairs(sharp_photographs(data), blur, family.task, **shown), naming


@lru_cache(maxsize=1)
def pairs(data: Path, task: Task, side: int, seed: int, clean: float | None) -> Pairs:
    """Made once for networks of the same task and seed in a row."""
    print(f"preparing {PAIRS} pairs for {task.name}", flush=True)
    return make_pairs(
        pictures_in(data / "train"),
        task,
        count=PAIRS,
        side=side,
        seed=seed,
        workers=processors(),
        compress=partial(compress_randomly, clean=clean),
    )


def _pairs_seed(recipe: Recipe) -> int:
    """Other pairs for a training that goes on."""
    return PAIRS_SEED + recipe.seed


@lru_cache(maxsize=1)
def sharp_photographs(data: Path) -> list[ImageArray]:
    """Whole ones, each in two sizes."""
    return [size for path in pictures_in(data / "train") for size in in_two_sizes(path)]


def load_shipped(module: nn.Module, name: str) -> None:
    """Fill a module with committed weights, in the form in which it trains."""
    weights = {key: value.float() for key, value in load_file(WEIGHTS / f"{name}.safetensors").items()}
    if isinstance(module, SPAN):
        fused = module.fused()
        fused.load_state_dict(weights)
        module.unfuse(fused)
    else:
        module.load_state_dict(weights)


def shipped(name: str, job: Job) -> TorchNetwork:
    """The network as the stored weights make it."""
    module = job.family.build(job.width)
    load_shipped(module, name)
    return TorchNetwork(module.fused() if isinstance(module, SPAN) else module, job.family.task, name)


def _length(name: str, job: Job, again: bool) -> str:
    return f" --steps {job.recipe.steps}" if again or job.recipe.steps != ZOO[name].recipe.steps else ""


def write_provenance(
    name: str,
    job: Job,
    seconds: float,
    scored: dict[str, object],
    options: argparse.Namespace,
    *,
    commit: str | None,
) -> None:
    """Where the weights come from, beside them; a training that went on keeps the records of those before it."""
    path, again, gpu = WEIGHTS / f"{name}.json", options.again, torch.device(options.device).type != "cpu"
    drawn = "crops drawn as it went" if gpu or job.family.side is None else _prepared(job, options.clean)
    # Each of several processes takes a batch of its own in a step.
    record: dict[str, object] = {
        "name": name,
        "task": job.family.task.name,
        "width": job.width,
        "data": f"{len(pictures_in(options.data / 'train'))} photographs, {drawn}; clean and compressed mixed",
        "recipe": asdict(job.recipe),
        "grown_from": None if job.start is None else f"width {job.start}",
        "command": f"python benchmarks/train_zoo.py DATA {name}"
        + (" --again" if again else "")
        + (_length(name, job, again) if options.seconds is None else f" --seconds {options.seconds:g}")
        + (f" --batch {job.recipe.batch}" if job.recipe.batch != ZOO[name].recipe.batch else "")
        + (f" --patch {job.recipe.patch}" if job.recipe.patch != ZOO[name].recipe.patch else "")
        + (
            f" --rate {job.recipe.learning_rate!r}"
            if again or job.recipe.learning_rate != ZOO[name].recipe.learning_rate
            else ""
        )
        + ("" if options.clean is None else f" --clean {options.clean:g}")
        + (" --compiled" if options.compiled else "")
        + (f" --device {options.device}" if gpu else ""),
        "commit": commit,
        "seconds": round(seconds),
        **scored,
        "licence": "Apache-2.0",
    }
    if options.seconds is not None:
        record["schedule"] = f"by the clock, {options.seconds:g} s"
    if torch.device(options.device).type == "cuda":
        record["machine"] = torch.cuda.get_device_name(options.device)
    if (processes := Team.of_this_process().size) > 1:
        record["processes"] = processes
    if again:
        record["continues"] = json.loads(path.read_text())
    path.write_text(json.dumps(record, indent=1) + "\n")


def _prepared(job: Job, clean: float | None) -> str:
    share = "" if clean is None else f", {100 * clean:g}% clean"
    return f"{PAIRS} pairs of side {job.family.side}, seed {_pairs_seed(job.recipe)}{share}"


if __name__ == "__main__":
    main()
