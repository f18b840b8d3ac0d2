"""What a network is trained on, by its task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from accelir import Deblur, Denoise, SuperResolution
from accelir.pictures import picture
from accelir.tasks import camera_shake_kernel
from accelir.training import train_network
from accelir.training.data import Pairs, make_crops
from accelir.training.material import NAMED, least_side, material_for
from accelir.training.recipe import Recipe
from accelir.training.shake import KernelNaming, ShakePairs
from accelir_plugins.mimounet import MIMOUNet
from accelir_plugins.nafnet import NAFNet

RECIPE = Recipe(steps=3, batch=2, patch=16, loss="l1")


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photographs")
    found = [folder / f"{number}.png" for number in range(3)]
    for number, path in enumerate(found):
        Image.fromarray(picture(150, 140, seed=number)).save(path)
    return found


def material(module: nn.Module, task, paths: list[Path], *, deblurs: bool = False):
    def compress(image, task, rng):
        return np.zeros_like(image)

    return material_for(
        module, task, RECIPE, paths, count=7, compress=compress, deblurs=deblurs, seed=0, workers=1,
        progress=lambda done, total: None,
    )  # fmt: skip


@pytest.mark.parametrize("task", [SuperResolution(2), Denoise(25)])
def test_pairs_are_made_beforehand(task, paths):
    source, auxiliary = material(nn.Conv2d(3, 3, 1), task, paths)
    assert isinstance(source, Pairs) and auxiliary is None
    assert source.inputs.shape == (7, 32, 32, 3)


@pytest.mark.parametrize("module", [NAFNet(4), MIMOUNet(4)])
def test_a_network_that_starts_from_nothing_gets_the_helps_against_blur(module, paths):
    source, auxiliary = material(module, Deblur(), paths)
    assert isinstance(source, ShakePairs) and isinstance(auxiliary, KernelNaming)
    assert (source.lights, source.opening, len(source.kernels)) == (0.7, 0.6, NAMED)
    assert auxiliary.head[-1].out_features == NAMED
    # Nothing is compressed before the opening, and then as the files' mixture says.
    assert source.batch(np.random.default_rng(0), 8, 16, 0.5).inputs.any()
    assert not source.batch(np.random.default_rng(0), 8, 16, 0.7).inputs.any()


def test_one_that_deblurs_goes_on_without(paths):
    source, auxiliary = material(nn.Conv2d(3, 3, 1), Deblur(), paths, deblurs=True)
    assert (source.lights, source.opening, source.unseen) == (0, 0, 0.5)
    # It names no features to ask.
    assert auxiliary is None


def test_kernels_of_ones_own_are_all_that_is_drawn(paths):
    task = Deblur(kernels=[camera_shake_kernel(np.random.default_rng(number), (3, 9)) for number in range(4)])
    source, _ = material(nn.Conv2d(3, 3, 1), task, paths)
    assert source.unseen == 0 and len(source.kernels) == 4
    labels = source.batch(np.random.default_rng(0), 40, 16, 0.9).labels
    assert set(labels) == {-1, 0, 1, 2, 3}  # -1: sharp


def test_crops_do_not_depend_on_the_number_of_workers(paths):
    one = make_crops(paths, count=7, side=80, seed=3, workers=1)
    assert one.shape == (7, 80, 80, 3)
    assert (one == make_crops(paths, count=7, side=80, seed=3, workers=2)).all()
    assert len({crop.tobytes() for crop in one}) == 7


def test_a_training_against_blur_runs_and_goes_on(paths, tmp_path):
    folder = paths[0].parent
    asked = {"task": "deblur", "recipe": RECIPE, "pairs": 4, "workers": 1}
    with pytest.raises(KeyboardInterrupt):
        train_network(folder, network=NAFNet(4), output=tmp_path / "mine.safetensors", progress=interrupted, **asked)
    done = train_network(folder, network=NAFNet(4), output=tmp_path / "mine.safetensors", **asked, force=True)
    assert done.network.task == Deblur() and set(done.after) == {"clean", "jpeg q50", "jpeg q75", "jpeg q90"}


def interrupted(done: int, total: int, what: str) -> None:
    if what == "training" and done == 2:
        raise KeyboardInterrupt


def test_photographs_hold_what_the_blur_reaches_into():
    assert least_side(Deblur(), RECIPE) == 32 + 2 * ShakePairs.margin
    assert least_side(SuperResolution(4), RECIPE) == 128
