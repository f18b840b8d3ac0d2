"""The recipe that trained the shipped networks, and that trains or fine-tunes a user's own.

Adam on random crops of prepared pairs (`accelir.training.data`), a one-cycle learning rate, bf16 autocast with
channels-last memory, an exponential moving average of the weights. A wider network may start from a narrower one of
its family (`grow`): the function is preserved, so that wider is better from the first step on.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from accelir.network import channels_last
from accelir.training.data import Pairs

__all__ = ["Recipe", "grow", "train"]

Report = Callable[[int, int, float], None]


@dataclass(frozen=True)
class Recipe:
    """How long and how to train.

    Attributes:
        steps: Optimiser steps.
        batch: Crops in a step.
        patch: Side of an input crop in pixels.
        learning_rate: Peak of the cycle.
        loss: ``"l1"``, ``"mse"``, or ``"multiscale"`` (L1 over ``module.pyramid`` and its spectrum).
        seed: Seed of the batches.
    """

    steps: int = 10_000
    batch: int = 16
    patch: int = 32
    learning_rate: float = 1e-3
    loss: str = "l1"
    seed: int = 0


def train(
    module: nn.Module,
    pairs: Pairs,
    recipe: Recipe,
    *,
    scale: int = 1,
    device: str = "cpu",
    checkpoint: Path | None = None,
    checkpoint_every: int = 500,
    report: Report | None = None,
) -> nn.Module:
    """Train ``module`` in place and return a copy that carries the averaged weights.

    Args:
        module: (N, 3, H, W) in 0..1 to (N, 3, H * scale, W * scale).
        pairs: What to train on.
        recipe: How.
        scale: Output side over input side.
        device: Any torch device.
        checkpoint: File to resume from, written every ``checkpoint_every`` steps and removed at the end.
        report: Called as ``report(step, steps, loss)`` every 100 steps.

    Returns:
        The averaged module, on the CPU, in evaluation mode.
    """
    torch.manual_seed(recipe.seed)
    channels_last(module.to(device)).train()
    average = copy.deepcopy(module).eval()
    optimiser = torch.optim.Adam(module.parameters(), lr=recipe.learning_rate, betas=(0.9, 0.99))
    start = 0
    identity = asdict(recipe)
    if checkpoint is not None and checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        if state["recipe"] == identity:
            module.load_state_dict(state["module"])
            average.load_state_dict(state["average"])
            optimiser.load_state_dict(state["optimiser"])
            start = int(state["step"])
    running = 0.0
    for step in range(start, recipe.steps):
        for group in optimiser.param_groups:
            group["lr"] = recipe.learning_rate * _cycle(step / recipe.steps)
        inputs, references = _batch(pairs, recipe, scale, step, device)
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            loss = _loss(module, inputs, references, recipe.loss)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(module.parameters(), 1.0 if recipe.loss != "mse" else 0.1)
        optimiser.step()
        decay = min(0.999, (1 + step) / (10 + step))
        with torch.no_grad():
            for target, source in zip(average.parameters(), module.parameters(), strict=True):
                target.lerp_(source, 1 - decay)
        running += float(loss.detach())
        done = step + 1
        if report is not None and done % 100 == 0:
            report(done, recipe.steps, running / 100)
            running = 0.0
        if checkpoint is not None and done % checkpoint_every == 0 and done < recipe.steps:
            _save_checkpoint(checkpoint, module, average, optimiser, done, identity)
    if checkpoint is not None:
        checkpoint.unlink(missing_ok=True)
    return average.cpu().eval()


def grow(narrow: nn.Module, wide: nn.Module, *, noise: float = 0.0) -> nn.Module:
    """Copy a narrow network into a wider one of the same shape, so that it starts as the same function.

    Channels that the narrow one has keep their weights; new channels are read with weight zero and keep their
    initial weights where they write (compare Net2Net, Chen et al., ICLR 2016). Sub-pixel convolutions, whose outputs
    are four phases of each channel, are matched phase by phase.

    Args:
        narrow: Trained.
        wide: Freshly initialised, with the same parameter names; changed in place.
        noise: Standard deviation of what the new channels are read with, over that of the initial weights.

    Returns:
        ``wide``.
    """
    target = dict(wide.named_parameters())
    with torch.no_grad():
        for name, source in narrow.named_parameters():
            into = target[name]
            if source.dim() == 1:
                fresh = into.clone()
                into.zero_()
                into[: source.shape[0]] = source
                into[source.shape[0] :] = fresh[source.shape[0] :]
                continue
            outputs, inputs = source.shape[:2]
            if inputs < into.shape[1]:
                into[:outputs, inputs:] *= noise
            into[:outputs, :inputs] = source
    return wide


def _cycle(position: float) -> float:
    warm = 0.05
    if position < warm:
        return (position + 1e-3) / warm
    return 0.5 * (1 + math.cos(math.pi * (position - warm) / (1 - warm))) * 0.998 + 0.002


def _batch(pairs: Pairs, recipe: Recipe, scale: int, step: int, device: str) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng([recipe.seed, step])
    count, side = pairs.inputs.shape[:2]
    patch = recipe.patch
    inputs = np.empty((recipe.batch, patch, patch, 3), np.uint8)
    references = np.empty((recipe.batch, patch * scale, patch * scale, 3), np.uint8)
    for row, index in enumerate(rng.integers(count, size=recipe.batch)):
        y, x = rng.integers(side - patch + 1, size=2)
        image = pairs.inputs[index, y : y + patch, x : x + patch]
        reference = pairs.references[index, y * scale : (y + patch) * scale, x * scale : (x + patch) * scale]
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        image, reference = np.rot90(image, turns), np.rot90(reference, turns)
        inputs[row] = image[:, ::-1] if mirror else image
        references[row] = reference[:, ::-1] if mirror else reference
    return _tensor(inputs, device), _tensor(references, device)


def _tensor(batch: Any, device: str) -> torch.Tensor:
    return torch.from_numpy(batch).to(device).permute(0, 3, 1, 2).float().div(255)


def _loss(module: nn.Module, inputs: torch.Tensor, references: torch.Tensor, kind: str) -> torch.Tensor:
    if kind == "multiscale":
        total = inputs.new_zeros(())
        target = references
        for restored in module.pyramid(inputs):  # type: ignore[operator]
            restored = restored.float()
            total = total + (restored - target).abs().mean()
            spectrum = torch.fft.rfft2(restored - target, norm="ortho")
            total = total + 0.05 * (spectrum.real.abs().mean() + spectrum.imag.abs().mean())
            target = nn.functional.avg_pool2d(target, 2)
        return total
    restored = module(inputs).float()
    if kind == "mse":
        return ((restored - references) ** 2).mean()
    return (restored - references).abs().mean()


def _save_checkpoint(
    path: Path,
    module: nn.Module,
    average: nn.Module,
    optimiser: torch.optim.Optimizer,
    step: int,
    recipe: dict[str, Any],
) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(
        {
            "module": module.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "step": step,
            "recipe": recipe,
        },
        temporary,
    )
    temporary.replace(path)
