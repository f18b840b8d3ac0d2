"""The trainings of the shipped networks, as one table: what `train_zoo.py` works through, in this order.

Steps are for one or two CPU cores that compute bfloat16: 5 to 40 minutes each. A network starts as the one of its
family whose width stands in the last column: it grows from a narrower one, and is what matters most of a wider one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn
from zoo_narrowing import narrow_nafnet

from accelir.tasks import Deblur, Denoise, SuperResolution, Task
from accelir.training.growth import grow, grow_by_copies
from accelir.training.recipe import Recipe
from accelir_plugins.carn import CARN
from accelir_plugins.dncnn import DnCNN
from accelir_plugins.edsr import EDSR
from accelir_plugins.fsrcnn import FSRCNN
from accelir_plugins.mimounet import MIMOUNet
from accelir_plugins.nafnet import NAFNet
from accelir_plugins.restormer import Restormer
from accelir_plugins.span import SPAN
from accelir_plugins.swinir import SwinIR, WindowAttention

__all__ = ["ZOO", "Family", "Job"]


@dataclass(frozen=True)
class Family:
    """What the trainings of a family share.

    Attributes:
        task: What the networks undo.
        build: Width to module.
        side: Side of the prepared inputs; None where they are drawn as the training goes.
        recipe: How to train, but for steps and learning rate.
        grow: Makes a narrow network's weights a wide one's, in place.
        narrow: Makes a wide network's weights a narrow one's, in place, by losses of the wide one.
    """

    task: Task
    build: Callable[[int], nn.Module]
    side: int | None
    recipe: Recipe
    grow: Callable[[nn.Module, nn.Module], nn.Module] = grow
    narrow: Callable[[nn.Module, nn.Module, Iterable[torch.Tensor]], nn.Module] | None = None


@dataclass(frozen=True)
class Job:
    """One training.

    Attributes:
        family: Of the network.
        width: Channels of the body.
        recipe: How to train.
        start: Width of the family's network that it starts as: narrower, or wider where the family narrows.
    """

    family: Family
    width: int
    recipe: Recipe
    start: int | None = None


def grow_swinir(narrow: nn.Module, wide: nn.Module) -> nn.Module:
    """By copies, and with queries as much smaller as copies make scores larger, which are over the root of the width.

    The same function where the width is a whole multiple; nearly so elsewhere, for the sake of the norms.
    """
    assert isinstance(narrow, SwinIR)
    assert isinstance(wide, SwinIR)
    grow_by_copies(narrow, wide)
    root = (wide.head.out_channels / narrow.head.out_channels) ** 0.5
    with torch.no_grad():
        for layer in wide.modules():
            if isinstance(layer, WindowAttention):
                queries = slice(0, layer.project.in_features)
                layer.qkv.weight[queries] /= root
                layer.qkv.bias[queries] /= root
    return wide


X4, X2, SIGMA_25, BLIND, SHAKE = SuperResolution(4), SuperResolution(2), Denoise(25), Denoise((0, 55)), Deblur()

FAMILIES = {
    "edsr-x4": Family(X4, EDSR, 64, Recipe(batch=16, patch=32, loss="l1")),
    "fsrcnn-x4": Family(X4, FSRCNN, 64, Recipe(batch=16, patch=32, loss="l1")),
    "carn-x4": Family(X4, CARN, 64, Recipe(batch=16, patch=32, loss="l1")),
    "span-x4": Family(X4, SPAN, 64, Recipe(batch=16, patch=32, loss="l1")),
    # Whole windows, and more than one of them.
    "swinir-x4": Family(X4, SwinIR, 64, Recipe(batch=8, patch=32, loss="l1"), grow=grow_swinir),
    "edsr-x2": Family(X2, partial(EDSR, scale=2), 64, Recipe(batch=16, patch=32, loss="l1")),
    "dncnn-s25": Family(SIGMA_25, DnCNN, 96, Recipe(batch=16, patch=48, loss="mse")),
    "dncnn-blind": Family(BLIND, DnCNN, 96, Recipe(batch=16, patch=48, loss="mse")),
    "restormer-s25": Family(SIGMA_25, Restormer, 96, Recipe(batch=4, patch=64, loss="l1")),
    "nafnet-deblur": Family(
        SHAKE,
        NAFNet,
        None,
        Recipe(batch=2, patch=192, loss="l1", decay=0.4),
        grow_by_copies,
        narrow_nafnet,
    ),
    "mimounet-deblur": Family(SHAKE, MIMOUNet, None, Recipe(batch=4, patch=96, loss="multiscale", decay=0.4)),
}

TRAININGS = (
    # family, width, steps, learning rate, starts as width
    ("edsr-x4", 8, 6000, 5e-3, None),
    ("edsr-x4", 16, 6000, 2e-3, 8),
    ("edsr-x4", 32, 4500, 1e-3, 16),
    ("edsr-x4", 64, 4000, 1e-3, 32),
    ("fsrcnn-x4", 16, 10000, 5e-3, None),
    ("fsrcnn-x4", 32, 10000, 4e-3, 16),
    ("fsrcnn-x4", 56, 10000, 4e-3, 32),
    ("carn-x4", 16, 6000, 3e-3, None),
    ("carn-x4", 32, 5000, 3e-3, 16),
    ("carn-x4", 48, 3000, 2e-3, 32),
    ("carn-x4", 64, 3000, 2e-3, 48),
    ("span-x4", 16, 6000, 3e-3, None),
    ("span-x4", 24, 4000, 3e-3, 16),
    ("span-x4", 32, 3000, 2e-3, 24),
    ("span-x4", 48, 2000, 2e-3, 32),
    ("swinir-x4", 30, 6000, 1e-3, None),
    ("swinir-x4", 42, 2000, 8e-4, 30),
    ("swinir-x4", 60, 2000, 6e-4, 42),
    ("edsr-x2", 16, 5000, 3e-3, None),
    ("edsr-x2", 64, 2000, 2e-3, 16),
    ("dncnn-s25", 8, 8000, 3e-3, None),
    ("dncnn-s25", 16, 8000, 3e-3, 8),
    ("dncnn-s25", 32, 5000, 3e-3, 16),
    ("dncnn-s25", 64, 7000, 3e-3, 32),
    ("dncnn-blind", 16, 6000, 3e-3, None),
    ("dncnn-blind", 64, 2500, 2e-3, 16),
    ("restormer-s25", 8, 8_000, 2e-3, None),
    ("restormer-s25", 16, 10_000, 1e-3, None),
    ("restormer-s25", 24, 10_000, 6e-4, None),
    ("nafnet-deblur", 16, 13_000, 2e-3, None),
    ("nafnet-deblur", 8, 10_000, 2e-3, 16),
    ("nafnet-deblur", 24, 24_000, 1e-3, 16),
    ("nafnet-deblur", 32, 3400, 1e-3, 16),
    ("mimounet-deblur", 8, 24_000, 1e-3, None),
    ("mimounet-deblur", 16, 24_000, 1e-3, None),
    ("mimounet-deblur", 32, 24_000, 1e-3, None),
)


def _job(family: str, width: int, steps: int, rate: float, start: int | None) -> Job:
    shared = FAMILIES[family]
    return Job(shared, width, replace(shared.recipe, steps=steps, learning_rate=rate), start)


ZOO = {f"{row[0]}-f{row[1]}": _job(*row) for row in TRAININGS}
