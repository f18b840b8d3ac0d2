"""What a network is trained on, by its task."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import accelir
from accelir import Deblur, Denoise, SuperResolution
from accelir.pictures import picture
from accelir.tasks import camera_shake_kernel
from accelir.training import run, train_network
from accelir.training.data import Pairs, make_crops
from accelir.training.material import least_side, material_for
from accelir.training.recipe import Recipe
from accelir.training.shake import KernelNaming, ShakePairs
from accelir.training.subject import Subject
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


KERNELS = Deblur(kernels=[camera_shake_kernel(np.random.default_rng(number), (3, 9)) for number in range(4)])


def material(module: nn.Module, task, paths: list[Path], *, deblurs: bool = False):
    def compress(image, task, rng):
        return np.zeros_like(image)

    return material_for(
        module, task, RECIPE, paths, count=7, compress=compress, deblurs=deblurs, seed=0, workers=1,
        progress=lambda done, total: None,
    )  # fmt: skip


@pytest.mark.parametrize("task", [SuperResolution(2), Denoise(25), Deblur()])
def test_pairs_are_made_beforehand(task, paths):
    source, auxiliary = material(nn.Conv2d(3, 3, 1), task, paths)
    assert isinstance(source, Pairs) and auxiliary is None
    assert source.inputs.shape == (7, 32, 32, 3)


@pytest.mark.parametrize("module", [NAFNet(4), MIMOUNet(4)])
def test_a_network_that_starts_from_nothing_gets_the_helps_against_blur(module, paths):
    source, auxiliary = material(module, KERNELS, paths)
    assert isinstance(source, ShakePairs) and isinstance(auxiliary, KernelNaming)
    assert (source.lights, source.opening, source.unseen, len(source.kernels)) == (0.7, 0.6, 0, 4)
    assert auxiliary.head[-1].out_features == 4
    # Nothing is compressed before the opening, and then as the files' mixture says.
    assert source.batch(np.random.default_rng(0), 8, 16, 0.5).inputs.any()
    assert not source.batch(np.random.default_rng(0), 8, 16, 0.7).inputs.any()
    labels = source.batch(np.random.default_rng(0), 60, 16, 0.9).labels
    assert set(labels) == {-1, 0, 1, 2, 3}  # -1: sharp


def test_one_that_deblurs_goes_on_without(paths):
    source, auxiliary = material(nn.Conv2d(3, 3, 1), KERNELS, paths, deblurs=True)
    assert (source.lights, source.opening, source.unseen) == (0, 0, 0)
    # It names no features to ask.
    assert auxiliary is None


def test_crops_do_not_depend_on_the_number_of_workers(paths):
    one = make_crops(paths, count=7, side=80, seed=3, workers=1)
    assert one.shape == (7, 80, 80, 3)
    assert (one == make_crops(paths, count=7, side=80, seed=3, workers=2)).all()
    assert len({crop.tobytes() for crop in one}) == 7


def fresh() -> NAFNet:
    torch.manual_seed(0)
    return NAFNet(4)


def test_a_training_against_blur_goes_on_where_it_was(paths, tmp_path):
    asked = {"task": KERNELS, "recipe": RECIPE, "pairs": 4, "workers": 1}
    told: list[int] = []

    def progress(done: int, total: int, what: str) -> None:
        if what == "training":
            told.append(done)
            if told == [1, 2]:
                raise KeyboardInterrupt

    output = tmp_path / "mine.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train_network(paths[0].parent, network=fresh(), output=output, progress=progress, **asked)
    done = train_network(paths[0].parent, network=fresh(), output=output, progress=progress, **asked)
    assert told == [1, 2, 2, 3]
    assert done.network.task == KERNELS and set(done.after) == {"clean", "jpeg q50", "jpeg q75", "jpeg q90"}
    whole = train_network(paths[0].parent, network=fresh(), output=tmp_path / "whole.safetensors", **asked)
    (one,), (other,) = whole.network.modules, done.network.modules
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())


@pytest.mark.parametrize(
    ("network", "task", "wanted"),
    [
        (fresh(), "deblur", False),
        ("accelir_plugins.nafnet:NAFNet", "deblur", False),
        ("mimounet-deblur-f8", None, True),
        ("mimounet-deblur-f8", "deblur-e3to9-n1", True),
        ("dncnn-s25-f8", "deblur", False),
    ],
)
def test_installed_networks_against_blur_deblur_already(network, task, wanted):
    arguments = {"width": 4} if isinstance(network, str) and ":" in network else None
    assert Subject.of(network, task, arguments).experienced == wanted


def test_who_deblurs_is_not_helped(paths, tmp_path, monkeypatch):
    asked = []

    def noting(*rest, **more):
        asked.append(more["deblurs"])
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "material_for", noting)
    for network, task in ((fresh(), "deblur"), ("mimounet-deblur-f8", None)):
        with pytest.raises(KeyboardInterrupt):
            train_network(
                paths[0].parent, network=network, task=task, output=tmp_path / f"{len(asked)}.safetensors",
                recipe=RECIPE, pairs=4, workers=1,
            )  # fmt: skip
    assert asked == [False, True]


class Motion(Deblur):
    """Makes its inputs in a way of its own."""

    def degrade(self, reference, rng):
        return reference


@pytest.mark.parametrize(
    "task", [Motion(kernels=KERNELS.kernels), Deblur(kernels=[np.full((1, 51), 1 / 51, np.float32)])]
)
def test_blur_of_another_kind_or_larger_is_made_beforehand(task, paths):
    source, auxiliary = material(fresh(), task, paths)
    assert isinstance(source, Pairs) and auxiliary is None
    assert least_side(task, RECIPE) == 32


def test_photographs_hold_what_the_blur_reaches_into(tmp_path, paths):
    side = least_side(KERNELS, RECIPE)
    asked = {"task": KERNELS, "recipe": RECIPE, "pairs": 2, "workers": 1}
    for size in (side, side - 1):
        folder = tmp_path / str(size)
        folder.mkdir()
        for seed in range(2):
            Image.fromarray(picture(size, 140, seed=seed)).save(folder / f"{seed}.png")
    train_network(tmp_path / str(side), network=fresh(), output=tmp_path / "a.safetensors", **asked)
    with pytest.raises(accelir.InvalidInputError, match=f"need {side} pixels"):
        train_network(tmp_path / str(side - 1), network=fresh(), output=tmp_path / "b.safetensors", **asked)
    with pytest.raises(accelir.InvalidInputError, match="larger than"):
        make_crops(paths, count=1, side=200, seed=0, workers=1)


def test_a_name_that_is_none_is_told():
    module = fresh()
    module.coarsest = "nope"
    with pytest.raises(accelir.InvalidInputError, match="nope"):
        KernelNaming.of(module, 4)
