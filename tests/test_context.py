"""What a whole picture tells of its blocks: a blur that no block shows."""

from importlib.resources import files

import numpy as np
import pytest

import accelir
from accelir.errors import ProfileFormatError
from accelir.pictures import picture
from accelir.profiling import context as context_module
from accelir.profiling.context import Context, fit_context, log_spectrum
from accelir.profiling.predictor import train_predictor
from accelir.tasks import Deblur, Denoise, SuperResolution


def blurred(number):
    """A picture, blurred along its rows or its columns by one of four lengths, and what that says."""
    rng = np.random.default_rng(number)
    length, down = (1, 5, 9, 13)[number % 4], number % 8 > 3
    shape = (length, 1) if down else (1, length)
    image = Deblur().degrade_with(picture(128, 128, seed=number), np.full(shape, 1 / length, np.float32), rng)
    return image, np.float32([length * down, length * (not down)])


@pytest.fixture(scope="module")
def pictures():
    images, said = zip(*(blurred(number) for number in range(48)), strict=True)
    return images, [np.broadcast_to(one, (8, 8, 2)).copy() for one in said]


def explained(told, said):
    wanted = np.stack([part.mean((0, 1)) for part in said])
    return 1 - ((told - wanted) ** 2).sum() / ((wanted - wanted.mean(axis=0)) ** 2).sum()


def test_it_tells_the_blur_of_pictures_that_it_has_not_seen(pictures):
    images, said = pictures
    context, told = fit_context(images[:40], said[:40])
    mean = np.mean([part.mean((0, 1)) for part in said[:40]], axis=0)
    assert explained(told + mean, said[:40]) > 0.8
    assert explained(np.stack([context.of(image) for image in images[40:]]) + mean, said[40:]) > 0.8


def test_what_it_foretells_of_each_leaves_that_one_out(pictures, monkeypatch):
    images, said = pictures
    monkeypatch.setattr(context_module, "RIDGES", (0.1,))
    _, told = fit_context(images[:12], said[:12])
    changed = [part.copy() for part in said[:12]]
    changed[3] += 100
    _, again = fit_context(images[:12], changed)
    # Its own numbers move nothing but the mean of all, from which both are told.
    assert np.allclose(again[3] - told[3], -100 / 12, atol=0.01)


@pytest.mark.parametrize("sources", [None, [7] * 10, [0, 1, 2, 3, 4, 0, 1, 2, 0, 1]])
def test_in_closed_form_is_as_by_fitting_again(pictures, monkeypatch, sources):
    images, said = pictures[0][:10], pictures[1][:10]
    spectra = np.stack([log_spectrum(image) for image in images]).astype(np.float64)
    wanted = np.stack([part.mean((0, 1)) for part in said])
    deviations = spectra - spectra.mean(axis=0)
    ridge = 0.1 * (deviations**2).sum() / 10
    monkeypatch.setattr(context_module, "RIDGES", (0.1,))
    _, told = fit_context(images, said, sources)
    for number in range(10):
        # Crops of one photograph are left out together, where there are several photographs.
        apart = sources is not None and len(set(sources)) > 1
        others = np.array(sources) != sources[number] if apart else np.arange(10) != number
        mean, answers = spectra[others].mean(axis=0), wanted[others]
        seen = spectra[others] - mean
        weights = np.linalg.solve(seen @ seen.T + ridge * np.eye(len(seen)), answers - answers.mean(axis=0))
        expected = answers.mean(axis=0) + (spectra[number] - mean) @ seen.T @ weights
        assert np.allclose(told[number] + wanted.mean(axis=0), expected, atol=1e-3)


def test_pictures_that_are_all_alike_tell_nothing():
    image = np.full((64, 64, 3), 9, np.uint8)
    context, told = fit_context([image, image], [np.full((4, 4, 2), float(number), np.float32) for number in range(2)])
    assert not told.any() and not context.of(picture(64, 64)).any()


@pytest.mark.parametrize("shape", [(20, 300, 3), (64, 64), (65, 200, 3), (1, 1, 3), (700, 900)])
def test_pictures_of_any_size_have_a_spectrum(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    spectrum = log_spectrum(image)
    assert spectrum.shape == (64 * 33,) and np.isfinite(spectrum).all()


def test_a_large_picture_has_the_spectrum_of_its_parts():
    noise = np.random.default_rng(0).integers(0, 256, (1500, 1500), dtype=np.uint8)
    whole, part = log_spectrum(noise), log_spectrum(noise[:400, :400])
    blurred = log_spectrum(Deblur().degrade_with(noise, np.full((1, 5), 0.2, np.float32), np.random.default_rng(0)))
    assert np.abs(whole - part).mean() < 0.15 < np.abs(whole - blurred).mean()


def test_a_predictor_with_it_tells_what_one_without_does_not(pictures):
    images, said = pictures
    groups = [np.zeros((8, 8), np.int32)] * len(images)

    def left(whole):
        predictor = train_predictor(images[:40], said[:40], groups[:40], 1, 16, steps=150, whole=whole)
        assert (predictor.context is not None) == whole
        told = np.stack([predictor.predict(image)[0].mean((0, 1)) for image in images[40:]])
        return 1 - explained(told, said[40:])

    assert left(True) < 0.7 * left(False)


def test_only_what_all_blocks_share_asks_for_it():
    assert Deblur().shared and not SuperResolution(4).shared and not Denoise(25).shared


def test_profiles_keep_it(tmp_path, pictures):
    stored = files("accelir_plugins") / "profiles" / "jpeg--edsr-x4-f8.safetensors"
    profile = accelir.Profile.load(stored.read_bytes())
    rng = np.random.default_rng(0)
    count = profile.predictor.net.coefficients
    profile.predictor.context = Context(
        log_spectrum(pictures[0][0]), rng.standard_normal((count, 64 * 33)).astype(np.float32)
    )
    loaded = accelir.Profile.load(profile.save(tmp_path / "p.safetensors"))
    assert loaded.predictor.context is not None
    short = Context(profile.predictor.context.mean[:9], profile.predictor.context.weights[:, :9])
    profile.predictor.context = short
    with pytest.raises(ProfileFormatError, match="damaged"):
        accelir.Profile.load(profile.save(tmp_path / "short.safetensors"))
    profile.predictor.context = loaded.predictor.context
    for image in pictures[0][:2]:
        assert np.array_equal(loaded.predictor.predict(image)[0], profile.predictor.predict(image)[0])
