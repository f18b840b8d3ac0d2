"""PSNR and SSIM against their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from accelir.errors import InvalidInputError
from accelir.metrics import psnr_rgb, psnr_y, ssim_luma


def by_definition(restored, reference):
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    x, y = (image @ np.array([0.299, 0.587, 0.114]) for image in (restored, reference))
    scores = []
    for top in range(x.shape[0] - 10):
        for left in range(x.shape[1] - 10):
            a, b = x[top : top + 11, left : left + 11], y[top : top + 11, left : left + 11]
            mean_a, mean_b = (window * a).sum(), (window * b).sum()
            var_a, var_b = (window * (a - mean_a) ** 2).sum(), (window * (b - mean_b) ** 2).sum()
            covariance = (window * (a - mean_a) * (b - mean_b)).sum()
            c1, c2 = 2.55**2, 7.65**2
            likeness = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
            scores.append(likeness / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))
    return np.mean(scores)


def test_ssim_is_that_of_the_definition():
    rng = np.random.default_rng(0)
    reference = rng.integers(0, 256, (17, 20, 3)).astype(np.uint8)
    restored = np.clip(reference + rng.normal(0, 40, reference.shape), 0, 255).astype(np.uint8)
    assert ssim_luma(restored, reference) == pytest.approx(by_definition(restored, reference), abs=1e-9)


def test_equal_images_have_an_ssim_of_one():
    image = np.random.default_rng(0).integers(0, 256, (20, 30)).astype(np.uint8)
    assert ssim_luma(image, image) == pytest.approx(1)


def test_ssim_says_what_it_needs():
    with pytest.raises(InvalidInputError, match="one shape"):
        ssim_luma(np.zeros((20, 20), np.uint8), np.zeros((20, 21), np.uint8))
    with pytest.raises(InvalidInputError, match="11 pixels"):
        ssim_luma(np.zeros((10, 20), np.uint8), np.zeros((10, 20), np.uint8))


def test_luma_psnr_is_that_of_studio_range():
    reference = np.full((12, 10, 3), (10, 200, 90), np.uint8)
    restored = reference + np.array((4, 2, 6), np.uint8)
    off = (65.481 * 4 + 128.553 * 2 + 24.966 * 6) / 255
    assert psnr_y(restored, reference) == pytest.approx(20 * np.log10(255 / off), abs=1e-4)


def test_the_border_does_not_count():
    reference = np.zeros((12, 10, 3), np.uint8)
    restored = reference.copy()
    restored[2:-2, 2:-2] = 5
    restored[:2] = 255
    restored[-2:] = 255
    restored[:, :2] = restored[:, -2:] = 255
    assert psnr_rgb(restored, reference, border=2) == pytest.approx(20 * np.log10(255 / 5))
    assert psnr_y(restored, reference, border=2) == pytest.approx(20 * np.log10(255 / (5 * 219 / 255)))


@pytest.mark.parametrize("psnr", [psnr_rgb, psnr_y])
def test_shapes_and_borders_that_do_not_fit_are_refused(psnr):
    image = np.zeros((12, 10, 3), np.uint8)
    with pytest.raises(InvalidInputError, match="one shape"):
        psnr(image, image[:-1])
    with pytest.raises(InvalidInputError, match="leaves nothing"):
        psnr(image, image, border=5)
