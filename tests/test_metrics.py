"""SSIM against its definition, window by window."""

from __future__ import annotations

import numpy as np
import pytest

from accelir.errors import InvalidInputError
from accelir.metrics import ssim_luma


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
