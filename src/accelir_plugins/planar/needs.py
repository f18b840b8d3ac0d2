"""What a network needs, as steps: how much finer or coarser than its neighbours each block is to be quantised.

A codec of this kind has one quantiser for a block and its own transform, so that of a sensitivity only the mean over
those coefficients counts that are not lost anyway. The least weighted error for its bits has steps proportional to one
over the root of that mean: each of n significant coefficients adds step^2 / 12 to the error and -log2(step) to the
bits, at any rate.

Sensitivities are told for the 8x8 DCT of Y, Cb and Cr, whatever the codec's own transform is: both are orthonormal, and
a band of frequencies is one in either. A block of the codec holds many of these, and has one number for each frequency
of each component: that of all its 8x8 blocks taken together, with fixed random signs.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from accelir.codec import Sensitivity
from accelir.image import ImageArray, block_grid
from accelir_plugins.ycbcr import DCT, FROM_RGB, TO_RGB, block_dct, doubled_rows, halved_transpose

__all__ = ["Needs", "project"]

Plane = npt.NDArray[np.float32]
Steps = npt.NDArray[np.float32]

FARTHEST = 1.5
"""Octaves by which the step of a block may differ from the mean: beyond, no model of its error holds."""

FARTHEST_WEIGHT = 32.0
"""By which factor the weight of a coefficient may differ from the mean of its block."""

_TINY = np.float32(1e-12)


def _norms() -> npt.NDArray[np.float32]:
    """Squared error in R, G and B together that a unit of it in each coefficient makes, away from edges: (192,).

    A block of chroma in the middle of three spreads by the triangle filter, which is separable.
    """
    spread = doubled_rows(np.eye(24, dtype=np.float32), 48)[:, 8:16]
    along = ((spread @ DCT.T) ** 2).sum(axis=0)
    frequencies = [np.ones(64), np.outer(along, along).ravel(), np.outer(along, along).ravel()]
    weights = (TO_RGB**2).sum(axis=0)
    return np.concatenate(
        [weight * norms for weight, norms in zip(weights, frequencies, strict=True)], dtype=np.float32
    )


_NORMS = _norms()


def _fold() -> npt.NDArray[np.float32]:
    """From 64 frequencies of Y, Cb and Cr each to the means by 16, of luma and of chroma: (192, 32).

    Two frequencies of the 8x8 DCT are one of the 4x4, either way.
    """
    half = np.kron(np.eye(4), np.ones((2, 1))) / 2
    fold = np.zeros((192, 32))
    fold[:64, :16] = fold[64:128, 16:] = fold[128:, 16:] = np.kron(half, half)
    fold[64:, 16:] /= 2
    return fold.astype(np.float32)


_FOLD = _fold()


def project(gradient: npt.NDArray[np.float32], block: int) -> npt.NDArray[np.float32]:
    """From a gradient of the decoded samples to one of the DCT coefficients of a block.

    Args:
        gradient: float32 (H, W, 3) or (H, W).
        block: Side in pixels: a multiple of 16.

    Returns:
        float32 (rows, columns, 192), or 64 for gray: of Y, Cb and Cr the frequencies, row-major.
    """
    if gradient.ndim == 2:
        return _folded(gradient, block)
    planes = [gradient @ TO_RGB[:, component].astype(np.float32) for component in range(3)]
    parts = [_folded(planes[0], block), *(_folded(halved_transpose(plane), block // 2) for plane in planes[1:])]
    return np.concatenate(parts, axis=2)


class Needs:
    """What one picture's network needs of its blocks.

    Args:
        image: uint8 (H, W, 3) or (H, W).
        sensitivity: float32 (rows, columns, K), as `project` counts K; None for plain squared error.
        block: Side in pixels.
        trust: Errors weigh sensitivity^trust * norm^(1 - trust), the norm being what they cost without a network.
    """

    def __init__(self, image: ImageArray, sensitivity: Sensitivity | None, block: int, trust: float) -> None:
        self._image = image
        self._block = block
        self._relative: npt.NDArray[np.float32] | None = None
        if sensitivity is not None and trust and sensitivity.max() > 0:
            norms = _NORMS if image.ndim == 3 else np.ones(64, np.float32)
            relative = np.maximum(sensitivity / norms / sensitivity.max(), _TINY)
            self._relative = (relative ** np.float32(trust)).astype(np.float32)
            self._norms = norms

    @cached_property
    def _energies(self) -> npt.NDArray[np.float32]:
        """float32 (rows, columns, K): the mean square of each coefficient over the 8x8 blocks of a block."""
        pixels = self._image.astype(np.float32)
        if pixels.ndim == 2:
            return _mean_squares(pixels, self._block)
        planes = [pixels @ FROM_RGB[component].astype(np.float32) for component in range(3)]
        halves = [halved_transpose(plane) * np.float32(0.25) for plane in planes[1:]]
        parts = [_mean_squares(planes[0], self._block), *(_mean_squares(half, self._block // 2) for half in halves)]
        return np.concatenate(parts, axis=2)

    @cached_property
    def _counts(self) -> npt.NDArray[np.float32]:
        """How many coefficients of each block one number stands for: float32 (K,)."""
        luma = (self._block // 8) ** 2
        if self._image.ndim == 2:
            return np.full(64, luma, np.float32)
        return np.repeat(np.array([luma, luma / 4, luma / 4], np.float32), 64)

    def offsets(self, step: float) -> Steps:
        """The log2 of each block's step over the common one, so that the size of the file stays about the same.

        Args:
            step: The common one: it tells which coefficients are lost.

        Returns:
            float32 (rows, columns), within `FARTHEST`.
        """
        if self._relative is None:
            return np.zeros(block_grid(self._image, self._block), np.float32)
        logs = -0.5 * np.log2(self._needed(self._relative, step))
        share = (self._significance(np.float32(step)) * self._counts).sum(axis=2)
        for _ in range(2):
            logs = np.clip(logs - (logs * share).sum() / share.sum(), -FARTHEST, FARTHEST)
        return logs.astype(np.float32)

    def weights(self, step: float) -> npt.NDArray[np.float32] | None:
        """What squared error counts in each coefficient of 4x4 blocks, on average 1 over those of a block not lost.

        Args:
            step: As for `offsets`.

        Returns:
            float32 (rows, columns, 2, 16), row-major, of luma and of chroma; None where all are 1.
        """
        if self._relative is None:
            return None
        count = self._relative.shape[2]
        bands = self._relative @ _FOLD[:count] / self._needed(self._relative, step)[:, :, None]
        if count == 64:
            bands[:, :, 16:] = 1
        return np.clip(bands, 1 / FARTHEST_WEIGHT, FARTHEST_WEIGHT).reshape(*bands.shape[:2], 2, 16)

    def _needed(self, relative: npt.NDArray[np.float32], step: float) -> npt.NDArray[np.float32]:
        """What squared error counts on average over the coefficients of a block not lost: float32 (rows, columns)."""
        weight = self._significance(np.float32(step)) * self._counts * self._norms
        return np.asarray((relative * weight).sum(axis=2) / weight.sum(axis=2), np.float32)

    def bits(self, log_steps: Steps) -> npt.NDArray[np.float32]:
        """About how many bits blocks take, relative to each other: float32 (rows, columns), above 0."""
        squared = np.exp2(2 * log_steps)[:, :, None]
        bits = (np.log2(1 + self._energies / squared) * self._counts).sum(axis=2) / 2
        return np.asarray(bits + 1, np.float32)

    def _significance(self, step: np.float32) -> npt.NDArray[np.float32]:
        """About which part of the coefficients is not lost."""
        squared = (step / 2) ** 2
        return np.asarray(self._energies / (self._energies + squared) + np.float32(1e-3), np.float32)


def _folded(plane: Plane, block: int) -> npt.NDArray[np.float32]:
    """The DCT of all 8x8 blocks of each block, added up with signs: float32 (rows, columns, 64).

    What is cropped away has no gradient: zeros beyond the edges.
    """
    side = block // 8
    blocks = _transformed(plane, block, "constant")
    signs = np.where(np.random.default_rng(0).random((side, side)) < 0.5, -1, 1).astype(np.float32)
    return np.ascontiguousarray(np.einsum("rycxk,yx->rck", blocks, signs))


def _mean_squares(plane: Plane, block: int) -> npt.NDArray[np.float32]:
    blocks = _transformed(plane, block, "edge")
    return np.asarray((blocks**2).mean(axis=(1, 3)), np.float32)


def _transformed(plane: Plane, block: int, beyond: str) -> npt.NDArray[np.float32]:
    """The DCT of 8x8 blocks by blocks: float32 (rows, side, columns, side, 64), side = block / 8."""
    rows, columns = -(-plane.shape[0] // block), -(-plane.shape[1] // block)
    missing = (rows * block - plane.shape[0], columns * block - plane.shape[1])
    if any(missing):
        plane = np.pad(plane, ((0, missing[0]), (0, missing[1])), mode=beyond)  # type: ignore[call-overload]
    side = block // 8
    return block_dct(plane).reshape(rows, side, columns, side, 64)
