"""Image quality, with the colour space, the range and the border said."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accelir.errors import InvalidInputError
from accelir.image import ImageArray

__all__ = ["EQUAL", "psnr_rgb", "psnr_y", "ssim_luma"]

LUMA = (0.299, 0.587, 0.114)
"""What R, G and B add to Y (ITU-R BT.601, full range)."""

EQUAL = 100.0
"""dB that stand for no error at all where PSNRs are averaged or compared: an infinite one would swallow the others."""


def psnr_rgb(restored: ImageArray, reference: ImageArray, border: int = 0) -> float:
    """PSNR in dB over all RGB samples together, range 0..255.

    Args:
        restored: uint8 (H, W, 3) or (H, W).
        reference: The same shape.
        border: Pixels left out at each edge.

    Raises:
        InvalidInputError: The shapes differ, or the border leaves no pixel.
    """
    return _psnr(restored.astype(np.float64), reference.astype(np.float64), border)


def psnr_y(restored: ImageArray, reference: ImageArray, border: int = 0) -> float:
    """PSNR in dB of the luma of studio range, as publications of super-resolution state it.

    Y is 16 to 235 (ITU-R BT.601, MATLAB's ``rgb2ycbcr``), unrounded; the peak counts as 255.

    Args:
        restored: uint8 (H, W, 3) or (H, W).
        reference: The same shape.
        border: Pixels left out at each edge; publications leave out as many as the scale.

    Raises:
        InvalidInputError: The shapes differ, or the border leaves no pixel.
    """
    studio = 219 / 255
    return _psnr(_luma(restored) * studio, _luma(reference) * studio, border)


def _psnr(restored: npt.NDArray[np.float64], reference: npt.NDArray[np.float64], border: int) -> float:
    if restored.shape != reference.shape:
        raise InvalidInputError(f"PSNR needs two images of one shape; got {restored.shape} and {reference.shape}.")
    height, width = restored.shape[:2]
    if not 0 <= 2 * border < min(height, width):
        raise InvalidInputError(f"A border of {border} leaves nothing of {width}x{height} pixels.")
    inner = (slice(border, height - border), slice(border, width - border))
    mean = float(np.mean((restored[inner] - reference[inner]) ** 2))
    return float("inf") if mean == 0 else float(10 * np.log10(255**2 / mean))


def ssim_luma(restored: ImageArray, reference: ImageArray) -> float:
    """Mean SSIM of the luma (BT.601, full range 0..255), from -1 to 1, equal images 1.

    Wang, Bovik, Sheikh and Simoncelli, "Image quality assessment: from error visibility to structural similarity"
    (2004), section III-C: a Gaussian window of 11x11 pixels with sigma 1.5, K1 = 0.01, K2 = 0.03, population moments,
    averaged over the windows that lie inside the image.

    Args:
        restored: uint8 (H, W, 3) or (H, W), 11 pixels or more on each side.
        reference: The same shape.

    Raises:
        InvalidInputError: The shapes differ, or a side is shorter than the window.
    """
    from scipy.ndimage import gaussian_filter

    if restored.shape != reference.shape:
        raise InvalidInputError(f"SSIM needs two images of one shape; got {restored.shape} and {reference.shape}.")
    if min(restored.shape[:2]) < 11:
        raise InvalidInputError(
            f"SSIM needs 11 pixels on each side; the image has {restored.shape[1]}x{restored.shape[0]}."
        )

    def mean(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        filtered: npt.NDArray[np.float64] = gaussian_filter(plane, 1.5, radius=5)
        return filtered[5:-5, 5:-5]

    x, y = _luma(restored), _luma(reference)
    mean_x, mean_y = mean(x), mean(y)
    variance_x, variance_y = mean(x * x) - mean_x**2, mean(y * y) - mean_y**2
    covariance = mean(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    likeness = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float(np.mean(likeness / ((mean_x**2 + mean_y**2 + c1) * (variance_x + variance_y + c2))))


def _luma(image: ImageArray) -> npt.NDArray[np.float64]:
    return image.astype(np.float64) if image.ndim == 2 else image @ np.array(LUMA)
