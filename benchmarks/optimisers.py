"""Muon against Adam: python benchmarks/optimisers.py DATA [NAME ...].

Trains a network of the zoo afresh, once with each optimiser, on the same batches and with the same learning rates, and
scores both. DATA is as for `train_zoo` and `zoo_scores`.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from common import shown_command
from zoo_jobs import ZOO
from zoo_scores import scores

from accelir.bench.results import ResultFile
from accelir.files import pictures_in
from accelir.network import TorchNetwork
from accelir.training.data import make_pairs
from accelir.training.recipe import train


def main(
    data_folder: Annotated[Path, typer.Argument(help="Holds train, bench/Kodak24, bench/Set5 and kernels.")],
    names: Annotated[list[str] | None, typer.Argument(help="Of the zoo.")] = None,
    steps: Annotated[int, typer.Option(help="Of each training.")] = 1500,
    rates: Annotated[
        list[float] | None, typer.Option("--rate", help="Learning rates; by default 0.002 and 0.005.")
    ] = None,
    pairs: Annotated[int, typer.Option(help="Crops that are prepared beforehand.")] = 4000,
    output: Annotated[Path, typer.Option()] = Path("benchmarks/results/optimisers.json"),
) -> None:
    names, rates = names or ["edsr-x4-f16"], rates or [2e-3, 5e-3]
    command = shown_command(" ".join(["optimisers.py", *names]), output, steps=steps, rate=rates, pairs=pairs)
    command = command.replace(f"{' '.join(names)} DATA_FOLDER", f"DATA_FOLDER {' '.join(names)}")
    results = ResultFile(output, {"steps": steps, "pairs": pairs}, command)
    for name in names:
        job = ZOO[name]
        family = job.family
        drawn = make_pairs(pictures_in(data_folder / "train"), family.task, count=pairs, side=family.side, seed=1)
        for optimiser in ("muon", "adam"):
            for rate in rates:
                recipe = replace(job.recipe, steps=steps, learning_rate=rate, optimiser=optimiser)
                if results.has(network=name, recipe=asdict(recipe)):
                    continue
                torch.manual_seed(0)
                started = time.process_time()
                module = train(family.build(job.width), drawn, recipe)
                seconds = time.process_time() - started
                scored = scores(TorchNetwork(module, family.task, name), data_folder)
                record = {"network": name, "recipe": asdict(recipe), "processor_seconds": round(seconds)}
                results.add(record | scored)
                print(name, optimiser, rate, scored, flush=True)


if __name__ == "__main__":
    typer.run(main)
