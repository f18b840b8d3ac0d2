"""The adjoint of decoding against a decoder written out here, and against Pillow's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.fft import idctn

from accelir_plugins.jpeg import JpegCodec, adjoint
from accelir_plugins.jpeg.transform import ZIGZAG

SIZES = [(1, 1), (3, 4), (5, 3), (16, 16), (17, 33), (40, 23), (6, 50)]


def double(plane: np.ndarray, axis: int) -> np.ndarray:
    """Triangle filter: each output is three quarters of the nearer sample and a quarter of the farther."""
    plane = np.moveaxis(plane, axis, 0)
    before = np.concatenate([plane[:1], plane[:-1]])
    behind = np.concatenate([plane[1:], plane[-1:]])
    result = np.empty((2 * len(plane), *plane.shape[1:]))
    result[0::2] = 0.75 * plane + 0.25 * before
    result[1::2] = 0.75 * plane + 0.25 * behind
    return np.moveaxis(result, 0, axis)


def linear_decode(coefficients: np.ndarray, shape: tuple[int, ...], subsampled: bool) -> np.ndarray:
    """Decode without rounding, clipping and the offset of 128: float64 (H, W, 3) or (H, W)."""
    rows, columns, _ = coefficients.shape
    height, width = shape[:2]
    blocks = idctn(coefficients.reshape(rows, columns, -1, 8, 8), axes=(3, 4), norm="ortho")

    def plane(first: int, side: int) -> np.ndarray:
        part = blocks[:, :, first : first + side * side].reshape(rows, columns, side, side, 8, 8)
        return part.transpose(0, 2, 4, 1, 3, 5).reshape(rows * side * 8, columns * side * 8)

    if len(shape) == 2:
        return plane(0, 1)[:height, :width]
    if subsampled:
        luma = plane(0, 2)[:height, :width]
        chroma = []
        for first in (4, 5):
            small = plane(first, 1)[: -(-height // 2), : -(-width // 2)]
            # libjpeg filters only planes wider than two samples.
            filtered = small.shape[1] > 2
            large = double(double(small, 0), 1) if filtered else small.repeat(2, axis=0).repeat(2, axis=1)
            chroma.append(large[:height, :width])
        blue, red = chroma
    else:
        luma, blue, red = (plane(first, 1)[:height, :width] for first in range(3))
    return np.stack([luma + 1.402 * red, luma - 0.344136286 * blue - 0.714136286 * red, luma + 1.772 * blue], axis=2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("subsampling", "channels"), [("420", 3), ("444", 3), ("420", 1)])
def test_project_is_the_adjoint_of_linear_decoding(size, subsampling, channels):
    """<g, decode(c)> = <project(g), c> for all gradients and coefficients."""
    rng = np.random.default_rng(5)
    codec = JpegCodec(subsampling=subsampling)
    shape = (*size, 3) if channels == 3 else size
    gradient = rng.normal(size=shape).astype(np.float32)
    projected = codec.project(gradient)
    side = codec.block(np.zeros(shape, dtype=np.uint8))
    parts = {("420", 3): 6, ("444", 3): 3}.get((subsampling, channels), 1)
    assert projected.dtype == np.float32
    assert projected.shape == (-(-size[0] // side), -(-size[1] // side), 64 * parts)
    for _ in range(3):
        coefficients = rng.normal(size=projected.shape)
        expected = (gradient * linear_decode(coefficients, shape, subsampling == "420")).sum()
        scale = np.linalg.norm(projected) * np.linalg.norm(coefficients)
        assert abs((projected * coefficients).sum() - expected) < 1e-5 * scale


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("subsampling", ["420", "444"])
def test_linear_decoding_is_what_pillow_does(size, subsampling):
    """Up to its rounding, Pillow decodes our coefficients as the linear decoder does."""
    rng = np.random.default_rng(2)
    image = rng.integers(90, 166, (*size, 3), dtype=np.uint8)
    codec = JpegCodec(subsampling=subsampling)
    prepared = codec.prepare(image)
    levels = codec.level_map(image, 14)
    quantised, tables = prepared.quantise(levels, 0.0)
    of_part = np.minimum(prepared.form.component_of_part, 1)
    row_major = np.zeros(quantised.shape)
    row_major[:, :, ZIGZAG] = quantised * tables[of_part]
    decoded = linear_decode(row_major.reshape(*levels.shape, -1), image.shape, subsampling == "420") + 128
    assert np.abs(np.clip(decoded, 0, 255) - codec.decode(prepared.write(14).data)).max() < 2.6


@pytest.mark.parametrize("subsampled", [False, True])
def test_coefficient_norms_are_the_norms_of_the_columns_of_decoding(subsampled):
    """The squared length of what one unit of a coefficient adds to the picture, away from the edges."""
    side, parts = (16, 6) if subsampled else (8, 3)
    norms = adjoint.coefficient_norms(3, subsampled)
    for part, k in [(0, 0), (0, 63), (1, 0), (1, 10), (parts - 1, 0), (parts - 1, 36), (parts - 2, 63)]:
        coefficients = np.zeros((3, 3, parts * 64))
        coefficients[1, 1, 64 * part + k] = 1
        column = linear_decode(coefficients, (3 * side, 3 * side, 3), subsampled)
        assert norms[part, k] == pytest.approx((column**2).sum(), rel=1e-6)
