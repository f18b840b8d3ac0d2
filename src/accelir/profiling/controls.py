"""Estimates without a profile: measured ones, and the controls that a claim is held against."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from accelir.codec import Codec
from accelir.errors import InvalidInputError
from accelir.image import ImageArray, block_grid
from accelir.network import IRNetwork
from accelir.profiling.curves import block_errors, fit_curves, harmonise, measure_blocks
from accelir.profiling.estimate import Estimate
from accelir.profiling.sensitivity import measure_sensitivity

__all__ = ["CONTROLS", "control_estimate"]

CONTROLS = ("uniform", "plain-mse", "variance", "oracle")


def control_estimate(
    name: str, codec: Codec, network: IRNetwork, image: ImageArray, reference: ImageArray | None
) -> Estimate:
    """The estimate of a control.

    ``"uniform"``: one level for the whole image. ``"plain-mse"``: each block's own curve of the coding error, the
    network unknown. ``"variance"``: the same, a block's error weighted by one over its standard deviation (masking,
    as video encoders do). ``"oracle"``: each block's own curve of the true restored error, on top of the measured
    sensitivity.

    Raises:
        InvalidInputError: The oracle without a reference, or an unknown name.
    """
    if name not in CONTROLS:
        raise InvalidInputError(f"No control named {name!r}; there are {', '.join(map(repr, CONTROLS))}.")
    rows, columns = block_grid(image, codec.block(image))
    own = np.arange(rows * columns, dtype=np.int32)
    if name == "oracle":
        if reference is None:
            raise InvalidInputError('estimate="oracle" needs reference=, the clean original.')
        sensitivity = measure_sensitivity(codec, network, image) if network.differentiable else None
        clean = network.task.matching(reference, image)
        side = codec.block(image) * network.task.scale
        samples = measure_blocks(
            codec,
            codec.prepare(image, sensitivity=sensitivity),
            (rows, columns),
            lambda decoded: block_errors(network.restore(decoded), clean, side),
            jitter=0,
        )
        return Estimate(own.reshape(rows, columns), fit_curves(samples, own, len(own)), sensitivity)
    samples = measure_blocks(
        codec,
        codec.prepare(image),
        (rows, columns),
        lambda decoded: block_errors(decoded, image, codec.block(image)),
        jitter=0,
    )
    if name == "uniform":
        single = np.zeros_like(own)
        # Every level is to be had, so that two neighbouring ones at most share the image.
        curves = harmonise(fit_curves(samples, single, 1), np.ones(1), 0.0)
        return Estimate(single.reshape(rows, columns), curves)
    if name == "variance":
        samples.error[:] *= _masking(image, codec.block(image)).reshape(-1, 1)
    return Estimate(own.reshape(rows, columns), fit_curves(samples, own, len(own)))


def _masking(image: ImageArray, block: int) -> npt.NDArray[np.float64]:
    gray = image.astype(np.float64).reshape(*image.shape[:2], -1).mean(axis=2)
    counts = _sum_blocks(np.ones(gray.shape), block)
    sums, squares = (_sum_blocks(values, block) for values in (gray, gray**2))
    variance = np.maximum(squares / counts - (sums / counts) ** 2, 0)
    weight = 1 / np.sqrt(variance + 9)
    return np.asarray(weight / weight.mean())


def _sum_blocks(values: npt.NDArray[np.float64], block: int) -> npt.NDArray[np.float64]:
    rows = np.add.reduceat(values, np.arange(0, values.shape[0], block), axis=0)
    return np.asarray(np.add.reduceat(rows, np.arange(0, values.shape[1], block), axis=1))
