"""Batches made on a device are those that processors draw: the same pictures, noise, blur and JPEG."""

import io
from functools import lru_cache

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from accelir.errors import InvalidInputError
from accelir.metrics import psnr_rgb
from accelir.pictures import picture
from accelir.tasks import Deblur, Denoise, SuperResolution, camera_shake_kernel
from accelir.training import recipe as recipe_module
from accelir.training.data import Batch, compress_randomly
from accelir.training.lossy import compressed_randomly, jpeg_loss, usual_tables
from accelir.training.mixture import MIXTURE, NOISY_MIXTURE
from accelir.training.recipe import Recipe, train
from accelir.training.resident import ResidentPairs
from accelir.training.shake import KernelNaming
from accelir.training.team import Team

PHOTOGRAPHS = [picture(192, 256), picture(200, 160)]


def of(array):
    return np.ascontiguousarray(array.numpy())


@pytest.mark.parametrize("halved", [False, True])
@pytest.mark.parametrize("quality", [20, 75, 95])
def test_the_loss_is_that_of_libjpeg(quality, halved):
    image = picture(96, 128)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality, subsampling=2 if halved else 0)
    theirs = np.asarray(Image.open(stream))
    ours = jpeg_loss(
        torch.from_numpy(image)[None],
        usual_tables()[quality][None],
        torch.tensor([halved]),
        torch.zeros(1, 12, 16),
    )[0]
    # Chroma by the nearest pixel would be at 43 to 46.
    assert psnr_rgb(of(ours), theirs) > 46.5


def test_a_dead_zone_loses_more():
    image = torch.from_numpy(picture(64, 64))[None]
    tables, halved = usual_tables()[50][None], torch.tensor([False])
    narrow, wide = (jpeg_loss(image, tables, halved, torch.full((1, 8, 8), dead)) for dead in (0.0, 0.3))
    assert (wide.float() - image).square().mean() > 1.1 * (narrow.float() - image).square().mean()


def test_a_quarter_stays_clean():
    pictures = torch.from_numpy(picture(32, 32))[None].repeat(400, 1, 1, 1)
    stored = compressed_randomly(pictures, MIXTURE, torch.Generator().manual_seed(0))
    clean = (stored == pictures).flatten(1).all(1).float().mean()
    assert 0.2 < clean < 0.3


@pytest.mark.parametrize("task", [SuperResolution(4), Denoise(25)])
def test_the_mixture_is_that_of_pictures_one_by_one(task):
    image, mixture = picture(64, 64), NOISY_MIXTURE if isinstance(task, Denoise) else MIXTURE
    together = compressed_randomly(torch.from_numpy(image)[None].repeat(600, 1, 1, 1), mixture, torch.Generator())
    rng = np.random.default_rng(0)
    alone = np.stack([compress_randomly(image, task, rng) for _ in range(600)])
    errors = [((pictures.astype(float) - image) ** 2).mean((1, 2, 3)) for pictures in (of(together), alone)]
    deciles = [np.quantile(np.sqrt(error), np.arange(0.3, 0.95, 0.1)) for error in errors]
    assert np.allclose(*deciles, rtol=0.15)


def test_crops_are_parts_of_the_photographs_turned_and_mirrored():
    source = ResidentPairs(PHOTOGRAPHS, Denoise(0), device="cpu", compressed=0)
    forms = set()
    for crop in source.batch(np.random.default_rng(0), 24, 16)[1]:
        found = [
            (turns, mirrored)
            for turns in range(4)
            for mirrored in (1, -1)
            for photograph in PHOTOGRAPHS
            if np.rot90(of(crop), turns)[:, ::mirrored].tobytes() in _windows(photograph)
        ]
        assert found
        forms |= set(found)
    assert len(forms) == 8


@lru_cache
def _windows_of(number):
    views = sliding_window_view(PHOTOGRAPHS[number], (16, 16), axis=(0, 1)).transpose(0, 1, 3, 4, 2)
    return {view.tobytes() for row in views for view in row}


def _windows(photograph):
    return _windows_of(next(number for number, one in enumerate(PHOTOGRAPHS) if one is photograph))


def test_small_pictures_are_those_of_the_task():
    task = SuperResolution(4)
    source = ResidentPairs(PHOTOGRAPHS, task, device="cpu", compressed=0)
    inputs, references, _ = source.batch(np.random.default_rng(0), 6, 16)
    assert inputs.shape == (6, 16, 16, 3) and references.shape == (6, 64, 64, 3)
    for image, reference in zip(inputs, references, strict=True):
        # Of a crop, whose edges see no neighbours, and so within.
        made = task.degrade(of(reference), np.random.default_rng(0))[3:-3, 3:-3]
        assert np.abs(made.astype(int) - of(image)[3:-3, 3:-3]).max() <= 1


@pytest.mark.parametrize("sigma", [25.0, (0.0, 50.0)])
def test_noise_has_the_deviation_of_the_task(sigma):
    source = ResidentPairs([np.full((96, 96, 3), 128, np.uint8)], Denoise(sigma), device="cpu", compressed=0)
    inputs, references, _ = source.batch(np.random.default_rng(0), 64, 32)
    deviations = (inputs.float() - references.float()).flatten(1).std(dim=1)
    if isinstance(sigma, float):
        assert torch.allclose(deviations, torch.tensor(25.0), atol=1.5)
    else:
        assert deviations.min() < 8 and deviations.max() > 42


def test_blur_is_that_of_the_task():
    rng = np.random.default_rng(3)
    kernels = [camera_shake_kernel(rng, (9, 20)) for _ in range(3)]
    task = Deblur(noise=0)
    source = ResidentPairs(
        [picture(160, 160)], task, device="cpu", kernels=kernels, opening=1.0, compressed=0, lights=0
    )
    inputs, references, labels = source.batch(np.random.default_rng(0), 8, 64)
    assert set(labels.tolist()) <= {0, 1, 2}
    for image, reference, label in zip(inputs, references, labels.tolist(), strict=True):
        made = task.degrade_with(of(reference), kernels[label], rng)[16:-16, 16:-16]
        assert np.abs(made.astype(int) - of(image)[16:-16, 16:-16]).max() <= 1


def test_unseen_trajectories_join_and_have_no_name():
    kernels = [camera_shake_kernel(np.random.default_rng(3), (9, 20))]
    source = ResidentPairs(PHOTOGRAPHS, Deblur(), device="cpu", kernels=kernels, opening=0.5, sharp=0)
    assert (source.batch(np.random.default_rng(0), 64, 32, 0.4).labels == 0).all()
    unnamed = (source.batch(np.random.default_rng(0), 200, 16, 0.6).labels == -1).float().mean()
    assert 0.4 < unnamed < 0.6


def test_point_lights_fall_away():
    kernels = [np.ones((1, 1), np.float32)]
    dark = [np.full((160, 160, 3), 100, np.uint8)]
    source = ResidentPairs(dark, Deblur(noise=0), device="cpu", kernels=kernels, opening=0.9, lights=1.0, compressed=0)
    first, last = (source.batch(np.random.default_rng(0), 20, 32, progress) for progress in (0.0, 1.0))
    assert (first.references != 100).any() and (last.references == 100).all()
    # Blurred by a kernel that does nothing, lights and all.
    assert torch.equal(first.inputs, first.references)


def test_batches_depend_on_the_seed_alone():
    source = ResidentPairs(PHOTOGRAPHS, SuperResolution(2), device="cpu")
    first, again, other = (source.batch(np.random.default_rng(seed), 4, 24) for seed in (1, 1, 2))
    assert torch.equal(first.inputs, again.inputs) and torch.equal(first.references, again.references)
    assert not torch.equal(first.references, other.references)


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(InvalidInputError, match="kernels too"):
        ResidentPairs(PHOTOGRAPHS, Deblur(), device="cpu")
    with pytest.raises(InvalidInputError, match="No photograph holds"):
        ResidentPairs(PHOTOGRAPHS, SuperResolution(4), device="cpu").batch(np.random.default_rng(0), 2, 64)
    with pytest.raises(InvalidInputError, match="up to 49 pixels"):
        ResidentPairs(PHOTOGRAPHS, Deblur(), device="cpu", kernels=[np.full((51, 1), 1 / 51, np.float32)])
    with pytest.raises(InvalidInputError, match="three channels"):
        ResidentPairs([np.zeros((64, 64), np.uint8)], Denoise(25), device="cpu")
    with pytest.raises(InvalidInputError, match="is a share"):
        ResidentPairs(PHOTOGRAPHS, Denoise(25), device="cpu", compressed=1.5)


def test_a_network_trains_on_them_until_the_clock_ends_it():
    kernels = [camera_shake_kernel(np.random.default_rng(3), (5, 9)) for _ in range(2)]
    source = ResidentPairs(PHOTOGRAPHS, Deblur(), device="cpu", kernels=kernels)
    seen = []
    train(
        _module(),
        source,
        Recipe(steps=10**6, batch=2, patch=32),
        auxiliary=KernelNaming("0", 8, 2),
        drawers=0,
        seconds=1.0,
        report=lambda step, steps, loss: seen.append((step, steps, loss)),
    )
    last, total, loss = seen[-1]
    assert 1 < last == total < 10**6 and np.isfinite(loss)


def test_a_training_by_the_clock_goes_on_where_it_was(tmp_path, monkeypatch):
    """A second passes with each batch; the learning rate says how far the training thinks it is."""
    clock = [0.0]
    monkeypatch.setattr(recipe_module.time, "monotonic", lambda: clock[0])
    rates = []
    step = recipe_module.Optimiser.step
    monkeypatch.setattr(recipe_module.Optimiser, "step", lambda self, rate: (rates.append(rate), step(self, rate))[1])

    class Slow:
        stops_at = None

        def batch(self, rng, count, patch, progress=0.0):
            if clock[0] == self.stops_at:
                raise KeyboardInterrupt
            clock[0] += 1
            return Batch(*(np.zeros((count, patch, patch, 3), np.uint8) for _ in range(2)))

    wanted = Recipe(steps=10**6, batch=1, patch=8)
    asked = {"drawers": 0, "seconds": 40.0, "checkpoint_every": 5, "keep_checkpoint": True}
    train(_module(), Slow(), wanted, **asked)
    whole = rates.copy()
    assert len(whole) == 40 and whole[-1] < 0.01 * max(whole)

    rates.clear()
    source, clock[0] = Slow(), 0.0
    source.stops_at = 20.0
    with pytest.raises(KeyboardInterrupt):
        train(_module(), source, wanted, checkpoint=tmp_path / "c", **asked)
    source.stops_at = None
    clock[0] = 1000.0
    train(_module(), source, wanted, checkpoint=tmp_path / "c", **asked)
    assert np.allclose(rates, whole)
    # It has ended, and asking again trains no more.
    train(_module(), source, wanted, checkpoint=tmp_path / "c", **asked)
    assert len(rates) == 40


def test_no_time_and_a_clock_for_several_are_refused(monkeypatch):
    source = ResidentPairs(PHOTOGRAPHS, Denoise(25), device="cpu")
    for seconds in (0, -1.0, float("inf"), float("nan")):
        with pytest.raises(InvalidInputError, match="more than 0 seconds"):
            train(_module(), source, Recipe(), seconds=seconds)
    monkeypatch.setattr(recipe_module.Team, "of_this_process", lambda device: Team(0, 2))
    with pytest.raises(InvalidInputError, match="not by the clock"):
        train(_module(), source, Recipe(), seconds=1.0)


def _module():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.Conv2d(8, 3, 3, padding=1))
