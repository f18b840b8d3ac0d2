"""Train the shipped networks: python benchmarks/train_zoo.py DATA [NAME ...].

DATA holds ``train/`` (photographs), ``bench/Kodak24`` and ``kernels/blur_kernels.npz``. Networks are trained in the
order of the table in `zoo_jobs`, since a wide one may start from the narrower one before it. An interrupted run resumes
from its checkpoint; a network whose weights exist is skipped, unless ``--again`` continues from them, by default at
two fifths of the learning rate.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, replace
from pathlib import Path

import torch
from common import kernels
from safetensors.torch import load_file, save_file
from torch import nn
from zoo_jobs import ZOO, Job
from zoo_scores import WEIGHTS, scores

from accelir.network import TorchNetwork
from accelir.tasks import Deblur
from accelir.threads import processors
from accelir.training.data import Pairs, Source, make_pairs, photographs
from accelir.training.recipe import train
from accelir.training.shake import KernelNaming, ShakePairs
from accelir_plugins.span import SPAN

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
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    prepared: dict[str, Pairs] = {}
    for name in options.names or ZOO:
        job, path = ZOO[name], WEIGHTS / f"{name}.safetensors"
        if options.again:
            job = replace(job, recipe=replace(job.recipe, learning_rate=0.4 * job.recipe.learning_rate, decay=0.95))
        if options.steps is not None:
            job = replace(job, recipe=replace(job.recipe, steps=options.steps))
        if options.batch is not None:
            job = replace(job, recipe=replace(job.recipe, batch=options.batch))
        if options.rate is not None:
            job = replace(job, recipe=replace(job.recipe, learning_rate=options.rate))
        if path.exists() and not options.again:
            continue
        family = job.family
        if family.task.name not in prepared:
            prepared.clear()
            print(f"preparing {PAIRS} pairs for {family.task.name}", flush=True)
            prepared[family.task.name] = make_pairs(
                photographs(options.data / "train"),
                family.task,
                count=PAIRS,
                side=family.side,
                seed=PAIRS_SEED,
                workers=processors(),
            )
        source: Source = prepared[family.task.name]
        auxiliary = None
        if isinstance(family.task, Deblur) and family.coarsest is not None:
            sharp, blur = prepared[family.task.name].references, kernels(options.data)
            deblurs = options.again or job.start is not None
            further = {"lights": 0.0, "opening": 0.0, "compressed": 0.75} if deblurs else {}
            source = ShakePairs(sharp, blur, family.task, **further)
            features, channels = family.coarsest
            auxiliary = KernelNaming(features, channels * job.width, len(blur))
        torch.manual_seed(job.recipe.seed)
        module = family.build(job.width)
        if options.again:
            load_shipped(module, name)
        elif job.start is not None:
            narrow = family.build(job.start)
            load_shipped(narrow, f"{name.rsplit('-f', 1)[0]}-f{job.start}")
            family.grow(narrow, module)
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
        if isinstance(module, SPAN):
            module = module.fused()
        save_file({key: value.half().contiguous() for key, value in module.state_dict().items()}, path)
        seconds = time.time() - started
        write_provenance(name, job, seconds, scores(shipped(name, job), options.data), again=options.again)


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


def write_provenance(name: str, job: Job, seconds: float, scored: dict[str, object], *, again: bool) -> None:
    """Where the weights come from, beside them; a training that went on keeps the records of those before it."""
    path = WEIGHTS / f"{name}.json"
    record: dict[str, object] = {
        "name": name,
        "task": job.family.task.name,
        "width": job.width,
        "data": f"162 photographs, {PAIRS} pairs of side {job.family.side}, seed {PAIRS_SEED}; clean and compressed "
        "mixed",
        "recipe": asdict(job.recipe),
        "grown_from": None if job.start is None else f"width {job.start}",
        "command": f"python benchmarks/train_zoo.py DATA {name}"
        + (" --again" if again else "")
        + (f" --steps {job.recipe.steps}" if again or job.recipe.steps != ZOO[name].recipe.steps else "")
        + (f" --batch {job.recipe.batch}" if job.recipe.batch != ZOO[name].recipe.batch else "")
        + (
            f" --rate {job.recipe.learning_rate!r}"
            if again or job.recipe.learning_rate != ZOO[name].recipe.learning_rate
            else ""
        ),
        "seconds": round(seconds),
        **scored,
        "licence": "Apache-2.0",
    }
    if again:
        record["continues"] = json.loads(path.read_text())
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
