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


# (horizontal, vertical): luma blocks in an MCU.
SAMPLING = {"420": (2, 2), "422": (2, 1), "444": (1, 1)}


def linear_decode(coefficients: np.ndarray, shape: tuple[int, ...], subsampling: str) -> np.ndarray:
    """Decode without rounding, clipping and the offset of 128: float64 (H, W, 3) or (H, W)."""
    height, width = shape[:2]
    across, down = SAMPLING[subsampling] if len(shape) == 3 else (1, 1)
    rows, columns, count = coefficients.shape
    parts = across * down + 2 * (len(shape) == 3)
    # MCUs that are less high than wide stand one on the other.
    stacked = count // (64 * parts)
    units = coefficients.reshape(rows, columns, stacked, parts, 8, 8).transpose(0, 2, 1, 3, 4, 5)
    blocks = idctn(units.reshape(rows * stacked, columns, parts, 8, 8), axes=(3, 4), norm="ortho")

    def plane(first: int, across: int, down: int) -> np.ndarray:
        part = blocks[:, :, first : first + across * down].reshape(*blocks.shape[:2], down, across, 8, 8)
        return part.transpose(0, 2, 4, 1, 3, 5).reshape(8 * down * blocks.shape[0], 8 * across * blocks.shape[1])

    luma = plane(0, across, down)[:height, :width]
    if len(shape) == 2:
        return luma
    chroma = []
    for first in (parts - 2, parts - 1):
        small = plane(first, 1, 1)[: -(-height // down), : -(-width // across)]
        # libjpeg filters only planes wider than two samples.
        enlarge = double if small.shape[1] > 2 else lambda plane, axis: plane.repeat(2, axis=axis)
        for axis, factor in enumerate((down, across)):
            small = enlarge(small, axis) if factor == 2 else small
        chroma.append(small[:height, :width])
    blue, red = chroma
    return np.stack([luma + 1.402 * red, luma - 0.344136286 * blue - 0.714136286 * red, luma + 1.772 * blue], axis=2)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    ("subsampling", "channels", "count"),
    [("420", 3, 384), ("422", 3, 512), ("444", 3, 192), ("420", 1, 64), ("422", 1, 64)],
)
def test_project_is_the_adjoint_of_linear_decoding(size, subsampling, channels, count):
    """<g, decode(c)> = <project(g), c> for all gradients and coefficients."""
    rng = np.random.default_rng(5)
    codec = JpegCodec(subsampling=subsampling)
    shape = (*size, 3) if channels == 3 else size
    gradient = rng.normal(size=shape).astype(np.float32)
    projected = codec.project(gradient)
    side = codec.block(np.zeros(shape, dtype=np.uint8))
    assert projected.dtype == np.float32
    assert projected.shape == (-(-size[0] // side), -(-size[1] // side), count)
    for _ in range(3):
        coefficients = rng.normal(size=projected.shape)
        expected = (gradient * linear_decode(coefficients, shape, subsampling)).sum()
        scale = np.linalg.norm(projected) * np.linalg.norm(coefficients)
        assert abs((projected * coefficients).sum() - expected) < 1e-5 * scale


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("subsampling", SAMPLING)
def test_linear_decoding_is_what_pillow_does(size, subsampling):
    """Up to its rounding, Pillow decodes our coefficients as the linear decoder does."""
    rng = np.random.default_rng(2)
    image = rng.integers(90, 166, (*size, 3), dtype=np.uint8)
    codec = JpegCodec(subsampling=subsampling)
    prepared = codec.prepare(image)
    quantised, tables = prepared.quantise(codec.level_map(image, 14), 0.0)
    form = prepared.form
    row_major = np.zeros((form.stacked * form.block_rows * form.columns, *quantised.shape[1:]))
    row_major[: len(quantised), :, ZIGZAG] = quantised * tables[np.minimum(form.component_of_part, 1)]
    stacks = row_major.reshape(form.block_rows, form.stacked, form.columns, -1).transpose(0, 2, 1, 3)
    blocks = stacks.reshape(form.block_rows, form.columns, -1)
    decoded = linear_decode(blocks, image.shape, subsampling) + 128
    assert np.abs(np.clip(decoded, 0, 255) - codec.decode(prepared.write(14).data)).max() < 2.6


@pytest.mark.parametrize("subsampling", SAMPLING)
def test_coefficient_norms_are_the_norms_of_the_columns_of_decoding(subsampling):
    """The squared length of what one unit of a coefficient adds to the picture, away from the edges."""
    across, down = SAMPLING[subsampling]
    norms = adjoint.coefficient_norms(3, subsampling)
    parts = len(norms)
    assert parts == across * down + 2
    stacked = across // down
    for part, k in [(0, 0), (0, 63), (1, 0), (1, 10), (parts - 1, 0), (parts - 1, 36), (parts - 2, 63)]:
        coefficients = np.zeros((3, 3, stacked * parts * 64))
        coefficients[1, 1, 64 * part + k] = 1
        column = linear_decode(coefficients, (24 * across, 24 * across, 3), subsampling)
        assert norms[part, k] == pytest.approx((column**2).sum(), rel=1e-6)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("wanted", SAMPLING)
@pytest.mark.parametrize("source", SAMPLING)
def test_a_sensitivity_keeps_its_sum_in_another_geometry(size, source, wanted):
    """Luma keeps its values and chroma its sum, away from edges that fall elsewhere; there and back is where it was."""
    rng = np.random.default_rng(3)
    image = np.zeros((*size, 3), np.uint8)
    first, second = JpegCodec(subsampling=source), JpegCodec(subsampling=wanted)
    sensitivity = (first.project(rng.normal(size=image.shape).astype(np.float32)) ** 2).astype(np.float32)
    converted = second.convert(sensitivity, image)
    assert converted.shape == second.project(np.zeros(image.shape, np.float32)).shape
    assert converted.dtype == np.float32 and converted.flags.c_contiguous
    second.encode(image, 9, sensitivity=converted)
    if size == (16, 16):
        assert converted.sum() == pytest.approx(sensitivity.sum(), rel=1e-5)
        gray = second.convert(sensitivity, image[..., 0])
        np.testing.assert_array_equal(gray, JpegCodec().convert(converted, image[..., 0]))
        fineness = {"420": 0, "422": 1, "444": 2}
        if fineness[wanted] >= fineness[source]:
            np.testing.assert_allclose(first.convert(converted, image), sensitivity, rtol=1e-5)


def test_gray_tells_nothing_of_chroma():
    assert JpegCodec().convert(np.ones((2, 2, 64), np.float32), np.zeros((16, 16, 3), np.uint8)) is None


def test_a_chroma_block_is_shared_among_those_it_stands_for():
    sensitivity = np.arange(1, 385, dtype=np.float32)[None, None]
    image = np.zeros((16, 16, 3), np.uint8)
    luma, chroma = sensitivity[0, 0, :256].reshape(4, 64), sensitivity[0, 0, 256:]
    narrow = JpegCodec(subsampling="422").convert(sensitivity, image)[0, 0].reshape(2, 256)
    fine = JpegCodec(subsampling="444").convert(sensitivity, image)
    for half in range(2):
        np.testing.assert_array_equal(narrow[half], np.concatenate([*luma[2 * half : 2 * half + 2], chroma / 2]))
        for column in range(2):
            np.testing.assert_array_equal(fine[half, column], np.concatenate([luma[2 * half + column], chroma / 4]))
