"""The recipe that trained the shipped networks, and that trains or fine-tunes a user's own.

Muon and Adam (`accelir.training.muon`) on random crops of prepared pairs (`accelir.training.data`), a one-cycle
learning rate, bf16 autocast where the machine computes it fast, channels-last memory, an exponential moving average of
the weights. A wider network may start from a narrower one of its family (`accelir.training.growth`).
"""

from __future__ import annotations

import copy
import math
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from accelir.checks import as_number
from accelir.errors import DecodeError, InvalidInputError
from accelir.failing import failing_as
from accelir.tensors import channels_last, fast_dtype
from accelir.threads import processors
from accelir.training.data import Batch, Source
from accelir.training.muon import Optimiser
from accelir.training.team import Team

__all__ = ["Auxiliary", "Recipe", "train"]

MOST_DRAWERS = 8
"""Threads that draw batches for a GPU, at most."""

Report = Callable[[int, int, float], None]


class Auxiliary(nn.Module, ABC):
    """A further loss on what a step of the module shows; see `accelir.training.shake.KernelNaming`."""

    @abstractmethod
    def watching(self, module: nn.Module) -> AbstractContextManager[None]:
        """Look at ``module`` during a step."""

    @abstractmethod
    def loss(self, batch: Batch) -> torch.Tensor:
        """Of the step that is being looked at."""


@dataclass(frozen=True)
class Recipe:
    """How long and how to train.

    Attributes:
        steps: Optimiser steps.
        batch: Crops in a step.
        patch: Side of an input crop in pixels.
        learning_rate: Peak of the cycle.
        loss: ``"l1"``, ``"mse"``, or ``"multiscale"`` (L1 over ``module.pyramid``, halved at each halving).
        seed: Seed of the batches.
        decay: Share of the steps, at the end, over which the learning rate falls.
        optimiser: ``"muon"`` (for the inner weight matrices, Adam for the rest) or ``"adam"``.

    Raises:
        InvalidInputError: A value out of range.
    """

    steps: int = 10_000
    batch: int = 16
    patch: int = 32
    learning_rate: float = 1e-3
    loss: str = "l1"
    seed: int = 0
    decay: float = 0.95
    optimiser: str = "muon"

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch", 1), ("patch", 8), ("seed", 0)):
            value = as_number(getattr(self, name))
            if not (value.is_integer() and value >= least):
                raise InvalidInputError(
                    f"Of a recipe, {name} is a whole number, {least} or more; got {getattr(self, name)!r}."
                )
            object.__setattr__(self, name, int(value))
        if not 0 < as_number(self.learning_rate) < math.inf:
            raise InvalidInputError(f"The learning rate is a number above 0; got {self.learning_rate!r}.")
        if not 0 < as_number(self.decay) <= 1:
            raise InvalidInputError(f"The decay is a share of the steps, above 0 and up to 1; got {self.decay!r}.")
        if self.loss not in ("l1", "mse", "multiscale"):
            raise InvalidInputError(f"The loss is l1, mse or multiscale; got {self.loss!r}.")
        if self.optimiser not in ("muon", "adam"):
            raise InvalidInputError(f"The optimiser is muon or adam; got {self.optimiser!r}.")


def train(
    module: nn.Module,
    pairs: Source,
    recipe: Recipe,
    *,
    device: str = "cpu",
    checkpoint: Path | None = None,
    checkpoint_every: int = 500,
    keep_checkpoint: bool = False,
    report: Report | None = None,
    report_every: int = 100,
    auxiliary: Auxiliary | None = None,
    drawers: int | None = None,
    seconds: float | None = None,
    compiled: bool = False,
    name: str | None = None,
) -> nn.Module:
    """Train ``module`` in place and return a copy that carries the averaged weights.

    In several processes that torchrun has started, each takes a batch of its own in every step, and their gradients
    are averaged.

    Args:
        module: (N, 3, H, W) in 0..1 to (N, 3, H * scale, W * scale).
        pairs: What to train on.
        recipe: How.
        device: Any torch device.
        checkpoint: File to resume from, written every ``checkpoint_every`` steps and removed at the end.
        keep_checkpoint: Write it at the end instead, for the caller to remove once the weights are safe.
        report: Called as ``report(step, steps, loss)`` every ``report_every`` steps and at the end, in the first
            process only.
        auxiliary: A further loss, trained along with the module and thrown away at the end.
        drawers: Threads that draw batches ahead, while the module works on those before; 0 draws each as it is wanted.
            By default one on a CPU, and else the processors shared among the processes, up to eight. The batches are
            the same, but for what ``seconds`` makes of the progress that they are drawn by. A source that makes its
            batches on the device (`accelir.training.resident`) wants 0.
        seconds: End after so many seconds of training, those before an interruption too, if the steps take longer: the
            learning rate falls by the clock, where that is ahead. The total of the last report is then the steps done.
        compiled: Train by ``torch.compile``: on a GPU, for what is held up by memory rather than by arithmetic.
        name: Of the network in errors; by default that of the module's class.

    Returns:
        The averaged module, on the CPU, in evaluation mode.

    Raises:
        InvalidInputError: No parameter is to be trained, the checkpoint is of another recipe, the module fails on such
            crops, its loss is not finite, or several processes are to end by the clock, or after no time.
        DecodeError: The checkpoint is damaged.
    """
    name = name or type(module).__name__
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise InvalidInputError(f"Network {name!r} has no parameter that may change (requires_grad).")
    if drawers is not None and drawers < 0:
        raise InvalidInputError(f"Batches are drawn by 0 threads or more; got {drawers}.")
    if seconds is not None and not 0 < seconds < math.inf:
        raise InvalidInputError(f"A training takes more than 0 seconds; got {seconds}.")
    torch.manual_seed(recipe.seed)
    team = Team.of_this_process(device)
    if team.size > 1 and seconds is not None:
        raise InvalidInputError("Several processes end after a number of steps, not by the clock.")
    channels_last(module.to(device)).train()
    trained = [module] if auxiliary is None else [module, auxiliary.to(device)]
    optimiser = Optimiser(trained, matrices=recipe.optimiser == "muon")
    parameters = optimiser.parameters
    team.share(parameters)
    average = copy.deepcopy(module).eval()
    place = torch.device(device)
    # Without instructions for it, bf16 is ten times slower than float32, not faster.
    fast = fast_dtype(place) is torch.bfloat16
    start, elapsed = 0, 0.0
    identity = asdict(recipe)
    if checkpoint is not None and checkpoint.exists():
        try:
            state = torch.load(checkpoint, map_location=device, weights_only=True)
            if state["recipe"] != identity:
                raise InvalidInputError(
                    f"{checkpoint} is of a training by another recipe: remove it, or go on by {state['recipe']}."
                )
            module.load_state_dict(state["module"])
            average.load_state_dict(state["average"])
            optimiser.load_state_dict(state["optimiser"])
            if auxiliary is not None:
                auxiliary.load_state_dict(state["auxiliary"])
            start, elapsed = int(state["step"]), float(state.get("seconds", 0.0))
            torch.set_rng_state(state["random"].cpu())
        except InvalidInputError:
            raise
        except Exception as error:
            # A damaged file makes torch raise anything.
            raise DecodeError(
                f"{checkpoint} is damaged, or of another module ({type(error).__name__}): remove it, or force a new "
                "beginning (--force)."
            ) from error
    pace = _Pace(recipe.steps, seconds, elapsed)
    losses: list[torch.Tensor] = []
    # To look at a number on a GPU is to wait for all that it was given to do.
    looked_every = 1 if place.type == "cpu" else report_every
    if drawers is None:
        drawers = 1 if place.type == "cpu" else min(max(processors() // team.size, 1), MOST_DRAWERS)
    function: Any = module.pyramid if recipe.loss == "multiscale" else module
    if compiled:
        function = torch.compile(function)
    averaged: list[torch.Tensor] = list(average.parameters())
    moving: list[torch.Tensor] = list(module.parameters())
    for step, batch in _drawn(pairs, recipe, pace, start, team.rank_among_several, drawers):
        inputs, references = (_tensor(part, device) for part in (batch.inputs, batch.references))
        watching = nullcontext() if auxiliary is None else auxiliary.watching(module)
        autocast = torch.autocast(place.type, torch.bfloat16, enabled=fast)
        with failing_as(name, inputs), watching, autocast:
            loss = _loss(function, inputs, references, recipe.loss)
            if auxiliary is not None:
                loss = loss + auxiliary.loss(batch)
        losses.append(loss.detach())
        done = step + 1
        progress = pace.of(step)
        last = pace.of(done) >= 1
        looked = last or done % looked_every == 0 or done % checkpoint_every == 0
        if looked:
            _require_finite("loss", losses[-looked_every:], step, checkpoint)
        optimiser.zero_grad()
        with failing_as(name, inputs):
            loss.backward()  # type: ignore[no-untyped-call]
        team.average_gradients(parameters)
        norm = nn.utils.clip_grad_norm_(parameters, 1.0 if recipe.loss != "mse" else 0.1)
        if looked:
            _require_finite("gradient", [norm], step, checkpoint)
        optimiser.step(recipe.learning_rate * _cycle(progress, recipe.decay))
        decay = min(0.999, (1 + step) / (10 + step))
        with torch.no_grad():
            # All at once, as torch's own optimisers do it.
            torch._foreach_lerp_(averaged, moving, 1 - decay)
            for kept, current in zip(average.buffers(), module.buffers(), strict=True):
                kept.copy_(current)
        if last or done % report_every == 0:
            if report is not None and team.first:
                # Fewer than ``report_every`` after an interruption.
                report(done, done if last else recipe.steps, float(torch.stack(losses).mean()))
            losses.clear()
        due = keep_checkpoint if last else done % checkpoint_every == 0
        if checkpoint is not None and due and team.first:
            _save_checkpoint(checkpoint, module, average, optimiser, auxiliary, done, pace.seconds, identity)
        if last:
            break
    team.wait()
    if checkpoint is not None and team.first and not keep_checkpoint:
        checkpoint.unlink(missing_ok=True)
    return average.cpu().eval()


class _Pace:
    """How far a training is, from 0 to 1: by its steps, or by the clock where that is ahead.

    Args:
        steps: In all.
        limit: Seconds in all, or None.
        elapsed: Seconds that it took before an interruption.
    """

    def __init__(self, steps: int, limit: float | None, elapsed: float = 0.0) -> None:
        self._steps, self._limit, self._began = steps, limit, time.monotonic() - elapsed

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def of(self, step: int) -> float:
        by_clock = 0.0 if self._limit is None else self.seconds / self._limit
        return min(1.0, max(step / self._steps, by_clock))


def _drawn(
    source: Source, recipe: Recipe, pace: _Pace, start: int, rank: Sequence[int], threads: int
) -> Iterator[tuple[int, Batch]]:
    """Each step with its batch; that of a step is the same, by its progress, whatever was drawn before and by whom."""

    def draw(step: int) -> Batch:
        rng = np.random.default_rng([recipe.seed, step, *rank])
        return Batch(*source.batch(rng, recipe.batch, recipe.patch, pace.of(step)))

    # None is left where the clock has ended it before.
    steps = range(start, recipe.steps if pace.of(start) < 1 else start)
    if not threads:
        yield from ((step, draw(step)) for step in steps)
        return
    pool = ThreadPoolExecutor(threads)
    try:
        ahead = iter(steps)
        waiting = deque(pool.submit(draw, step) for step in islice(ahead, threads + 1))
        for step in steps:
            batch = waiting.popleft().result()
            waiting.extend(pool.submit(draw, later) for later in islice(ahead, 1))
            yield step, batch
    finally:
        pool.shutdown(cancel_futures=True)


def _require_finite(what: str, values: Sequence[torch.Tensor], step: int, checkpoint: Path | None) -> None:
    """Of this step, and of those before it that have not been looked at."""
    numbers = torch.stack(list(values)).tolist()
    first = next((place for place, value in enumerate(numbers) if not math.isfinite(value)), None)
    if first is not None:
        step, value = step + 1 + first - len(numbers), numbers[first]
        kept = f" {checkpoint} holds what was good." if checkpoint is not None and checkpoint.exists() else ""
        raise InvalidInputError(
            f"The {what} of step {step + 1} is {value}: look at what the module makes of its inputs in training, or "
            f"begin anew with a lower learning rate.{kept}"
        )


def _cycle(position: float, decay: float) -> float:
    warm = 0.05
    if position < warm:
        return (position + 1e-3) / warm
    fallen = max(0.0, 1 - (1 - position) / min(decay, 1 - warm))
    return 0.5 * (1 + math.cos(math.pi * fallen)) * 0.998 + 0.002


def _tensor(batch: Any, device: str) -> torch.Tensor:
    return torch.as_tensor(batch).to(device).permute(0, 3, 1, 2).float().div(255)


def _loss(
    function: Callable[[torch.Tensor], Any], inputs: torch.Tensor, references: torch.Tensor, kind: str
) -> torch.Tensor:
    if kind == "multiscale":
        total = inputs.new_zeros(())
        target = references
        for level, restored in enumerate(function(inputs)):
            total = total + (restored.float() - target).abs().mean() / 2**level
            target = nn.functional.avg_pool2d(target, 2)
        return total
    restored = function(inputs).float()
    if kind == "mse":
        return ((restored - references) ** 2).mean()
    return (restored - references).abs().mean()


def _save_checkpoint(
    path: Path,
    module: nn.Module,
    average: nn.Module,
    optimiser: Optimiser,
    auxiliary: Auxiliary | None,
    step: int,
    seconds: float,
    recipe: dict[str, Any],
) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save(
        {
            "module": module.state_dict(),
            "average": average.state_dict(),
            "optimiser": optimiser.state_dict(),
            "auxiliary": None if auxiliary is None else auxiliary.state_dict(),
            "step": step,
            "seconds": seconds,
            "random": torch.get_rng_state(),
            "recipe": recipe,
        },
        temporary,
    )
    temporary.replace(path)
