"""What a whole picture tells of each of its blocks: a camera shake, say, is the same in all, and no block shows it.

The mean over windows of a picture's log power spectrum shows it well: there a blur is a sum (the cepstrum's idea,
Bogert et al., 1963), of the logarithm of the kernel's spectrum and of what pictures have in common. A linear map from
it to the block's sensitivity is fitted by ridge regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from scipy.fft import rfft2

from accelir.image import ImageArray

__all__ = ["SPECTRUM", "Context", "fit_context", "log_spectrum"]

Floats = npt.NDArray[np.float32]

WINDOW = 64
"""Side of the windows in pixels; they overlap by half."""

SPECTRUM = WINDOW * (WINDOW // 2 + 1)
"""Numbers of a spectrum."""

MOST = 20
"""Windows along a side, at most: in a large picture so many are enough."""

FLOOR = 100.0
"""Added to the power, below that of slight noise: a standard deviation of one in the luma makes about 600."""

RIDGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Strengths of the regularisation that are tried, over the mean power of a picture's deviation."""

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


def log_spectrum(image: ImageArray) -> Floats:
    """Mean over windows of the logarithm of the power spectrum of the luma.

    Args:
        image: uint8 (H, W, 3) or (H, W).

    Returns:
        float32 (64 * 33,).
    """
    short = [max(0, WINDOW - side) for side in image.shape[:2]]
    if any(short):
        pads = [(0, missing) for missing in short] + [(0, 0)] * (image.ndim - 2)
        image = np.pad(image, pads, mode="symmetric")
    rows, columns = (_starts(side) for side in image.shape[:2])
    total = np.zeros((WINDOW, WINDOW // 2 + 1))
    # Not of the whole picture, which may be large: of what is looked at.
    seen = sliding_window_view(image, (WINDOW, WINDOW), axis=(0, 1))
    for top in rows:
        windows = seen[top, columns].astype(np.float32)
        if image.ndim == 3:
            windows = np.einsum("nchw,c->nhw", windows, _LUMA)
        windows = (windows - windows.mean((1, 2), keepdims=True)) * (_HANN[:, None] * _HANN)
        total += np.log(np.abs(rfft2(windows)) ** 2 + FLOOR).sum(axis=0)
    return (total / (len(rows) * len(columns))).astype(np.float32).ravel()


def _starts(side: int) -> npt.NDArray[np.int64]:
    count = min(MOST, 1 + (side - WINDOW) // (WINDOW // 2))
    return np.linspace(0, side - WINDOW, count).round().astype(np.int64)


@dataclass(frozen=True)
class Context:
    """A linear map from a picture's log spectrum to numbers that describe sensitivity.

    Attributes:
        mean: float32 (64 * 33,): of the pictures that it was fitted to.
        weights: float32 (R, 64 * 33).
    """

    mean: Floats
    weights: Floats

    def of(self, image: ImageArray) -> Floats:
        """What to add to the numbers of each block: float32 (R,)."""
        told: Floats = self.weights @ (log_spectrum(image) - self.mean)
        return told


def fit_context(
    images: Sequence[ImageArray], described: Sequence[Floats], sources: Sequence[int] | None = None
) -> tuple[Context, Floats]:
    """Fit the map to the means over each picture's blocks.

    Args:
        images: uint8 (H, W, 3) each, two or more.
        described: float32 (rows, cols, R) for each image.
        sources: Of each image the number of the photograph that it is a crop of; None where each is of its own.

    Returns:
        The context, and what one that had seen no crop of its photograph tells of each image: float32 (count, R). Both
        tell how far a picture is from the mean of all. Where all pictures have one spectrum, that is nothing.
    """
    # Of a single photograph, crops are all that can be left out.
    owners = np.arange(len(images)) if sources is None or len(set(sources)) < 2 else np.asarray(sources)
    parts = [np.flatnonzero(owners == owner) for owner in np.unique(owners)]
    spectra = np.stack([log_spectrum(image) for image in images]).astype(np.float64)
    wanted = np.stack([part.mean((0, 1)) for part in described]).astype(np.float64)
    mean = spectra.mean(axis=0)
    deviations, wanted = spectra - mean, wanted - wanted.mean(axis=0)
    products = deviations @ deviations.T
    if not np.trace(products) > 0:
        nothing = np.zeros_like(wanted, np.float32)
        return Context(mean.astype(np.float32), np.zeros((wanted.shape[1], spectra.shape[1]), np.float32)), nothing
    fits = []
    for ridge in RIDGES:
        solved = np.linalg.inv(products + ridge * np.trace(products) / len(images) * np.eye(len(images)))
        # The means are part of the fit.
        hat = products @ solved + 1 / len(images)
        left = wanted - hat @ wanted
        # What is left of each photograph where it takes no part in the fit, in closed form.
        for part in parts:
            left[part] = np.linalg.solve(np.eye(len(part)) - hat[np.ix_(part, part)], left[part])
        fits.append((float((left**2).sum()), solved, left))
    _, solved, left = min(fits, key=lambda fit: fit[0])
    weights = (deviations.T @ solved @ wanted).T
    return Context(mean.astype(np.float32), weights.astype(np.float32)), (wanted - left).astype(np.float32)
