"""Blocks in a few numbers each, and in groups of like ones: by principal components and k-means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from accelir.codec import Sensitivity
from accelir.errors import InvalidInputError
from accelir.profiling.curves import BlockSamples
from accelir.profiling.profile import Basis

__all__ = ["described_by_basis", "grouped", "sensitivity_of_groups"]

Floats = npt.NDArray[np.float32]


def described_by_basis(
    sensitivities: Sequence[Sensitivity | None], grid: tuple[int, int], coefficients: int
) -> tuple[Basis | None, list[Floats]]:
    """The main directions in which blocks' logarithms of sensitivity differ, and each block's place along them.

    Args:
        sensitivities: float32 (rows, cols, n) of each crop; None where it could not be measured.
        grid: Rows and columns of blocks of a crop.
        coefficients: Directions, at most.

    Returns:
        The basis, and float32 (rows, cols, R) for each crop; None and zeros where any is missing.
    """
    known = [item for item in sensitivities if item is not None]
    if len(known) < len(sensitivities):
        return None, [np.zeros((*grid, 1), np.float32) for _ in sensitivities]
    floor = np.float32(1e-4) * np.mean([item.mean() for item in known])
    logs = np.concatenate([np.log(item.reshape(-1, item.shape[-1]) + floor) for item in known])
    mean = logs.mean(axis=0)
    centred = logs - mean
    _, vectors = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    directions = vectors[:, ::-1][:, : min(coefficients, logs.shape[1])].T
    basis = Basis(mean.astype(np.float32), np.ascontiguousarray(directions.astype(np.float32)))
    return basis, [basis.describe(item + floor) for item in known]


def grouped(described: Sequence[Floats], measured: BlockSamples, count: int, seed: int) -> npt.NDArray[np.int32]:
    """Cluster by sensitivity and measured curve; blocks without a curve join the nearest centre by sensitivity.

    Args:
        described: As of `described_by_basis`.
        measured: Curves of the blocks of the first crops.
        count: Groups.
        seed: Of the clustering.

    Returns:
        int32 (blocks of all crops,).

    Raises:
        InvalidInputError: There are fewer blocks than groups.
    """
    from sklearn.cluster import KMeans

    flat = np.concatenate([part.reshape(-1, part.shape[-1]) for part in described])
    flat = flat[:, :4] / (flat[:, :1].std() + 1e-9)
    curves = np.stack(
        [
            np.log1p(values.sum(axis=1) / np.maximum(measured.count.sum(axis=1), 1))
            for values in (measured.size, measured.error)
        ],
        axis=1,
    )
    curves = (curves - curves.mean(axis=0)) / (curves.std(axis=0) + 1e-9)
    n = len(measured.size)
    features = np.concatenate([flat[:n], curves], axis=1)
    if n < count:
        raise InvalidInputError(
            f"{count} groups need as many blocks; the crops have {n}. Take larger crops, or more of them."
        )
    model = KMeans(count, n_init=4, random_state=seed).fit(features)
    groups = np.empty(len(flat), np.int32)
    groups[:n] = model.labels_
    if len(flat) > n:
        members = [flat[:n][model.labels_ == g] for g in range(count)]
        # Nothing is near to a group that has no members.
        centres = np.stack([own.mean(axis=0) if len(own) else np.full_like(flat[0], np.inf) for own in members])
        distances = ((flat[n:, None, :] - centres[None]) ** 2).sum(axis=2)
        groups[n:] = distances.argmin(axis=1)
    return groups


def sensitivity_of_groups(
    basis: Basis | None, described: Sequence[Floats], groups: npt.NDArray[np.int32], count: int
) -> Floats | None:
    """Of the middle of each group: float32 (count, n); None without a basis."""
    if basis is None:
        return None
    flat = np.concatenate([part.reshape(-1, part.shape[-1]) for part in described])
    members = [flat[groups == group] for group in range(count)]
    centres = [own.mean(axis=0) if len(own) else flat.mean(axis=0) for own in members]
    return basis.restore(np.stack(centres)[None])[0]
