"""What the JPEG codec does beyond the plain cost of errors: trust, zeroing, emphasis, chroma."""

from __future__ import annotations

import numpy as np
import pytest

from accelir_plugins.jpeg import JpegCodec, transform
from accelir_plugins.jpeg.compensation import compensated
from accelir_plugins.planar.planes import LUMA_FOR_CHROMA
from accelir_plugins.ycbcr import DCT, block_dct, doubled

FINEST = len(JpegCodec.levels) - 1


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    from sklearn.datasets import load_sample_image

    return np.ascontiguousarray(load_sample_image("china.jpg")[120:312, 160:416])


@pytest.fixture(scope="module")
def sensitivity() -> np.ndarray:
    return np.random.default_rng(0).lognormal(sigma=1.0, size=(12, 16, 384)).astype(np.float32)


def coefficients(image: np.ndarray) -> np.ndarray:
    """float (units, parts, 8, 8) of 4:2:0."""
    form = transform.layout(image.shape, "420")
    zigzag = transform.coefficients(image, form) / 8
    return zigzag[:, :, np.argsort(transform.ZIGZAG)].reshape(*zigzag.shape[:2], 8, 8)


def slope(of: np.ndarray, against: np.ndarray) -> float:
    return float((of * against).sum() / (against**2).sum())


@pytest.mark.parametrize(("luma", "chroma"), [(0.5, 0.0), (0.0, 0.5), (-0.5, 0.25)])
def test_emphasis_grows_with_frequency(photo, luma, chroma):
    """In a file without loss to speak of, a coefficient is larger by its share: all at u + v = 14, half of it at 7."""
    # Far from black and white, where a sharper picture would be clipped; and flat colour is coded without loss.
    gentle = (128 + 0.3 * (photo.astype(float) - 128)).round().astype(np.uint8)
    codec = JpegCodec(rdo=0, table="flat", subsampling="420", emphasis=luma, chroma_emphasis=chroma, chroma="average")
    prepared = codec.prepare(gentle)
    plain = coefficients(gentle)
    written = prepared.coefficients[:, :, np.argsort(transform.ZIGZAG)].reshape(plain.shape) / 8
    for row, column in [(0, 0), (0, 7), (4, 3), (7, 7)]:
        share = (row + column) / 14
        parts = (written[:, :, row, column], plain[:, :, row, column])
        assert slope(*(part[:, :4] for part in parts)) == pytest.approx(1 + luma * share, abs=0.02)
        assert slope(*(part[:, 4:] for part in parts)) == pytest.approx(1 + chroma * share, abs=0.05)
    # The file says the same: luma of the decoded picture against that of the picture itself.
    decoded = coefficients(codec.decode(codec.encode(gentle, FINEST).data))
    middle = slope(decoded[:, :4, 3:5, 3:5], plain[:, :4, 3:5, 3:5])
    assert middle == pytest.approx(1 + luma / 2, abs=0.05)


def test_emphasised_coefficients_stay_in_range():
    checkers = np.kron(np.indices((8, 8)).sum(axis=0) % 2, np.ones((1, 1)))[:, :, None].repeat(3, axis=2) * 255
    codec = JpegCodec(emphasis=4, chroma_emphasis=4, rdo=0)
    image = np.tile(checkers.astype(np.uint8), (2, 2, 1))
    assert codec.decode(codec.encode(image, FINEST).data).shape == image.shape
    assert np.abs(codec.prepare(image).coefficients.astype(int)).max() <= 2**13


def test_without_trust_no_sensitivity_is_heeded(photo, sensitivity):
    plain = JpegCodec().encode(photo, 10).data
    assert JpegCodec(trust=0).encode(photo, 10, sensitivity=sensitivity).data == plain
    assert JpegCodec().encode(photo, 10, sensitivity=sensitivity).data != plain


def test_trust_draws_weights_together(photo, sensitivity):
    spreads = [
        np.log(JpegCodec(trust=trust).prepare(photo, sensitivity=sensitivity).weights[:, :4]).std()
        for trust in (0.25, 0.5, 1.0, 1.5)
    ]
    assert spreads == sorted(spreads)
    assert spreads[2] == pytest.approx(2 * spreads[1], rel=0.1)


def test_dearer_zeros_are_fewer(photo):
    """At one level, the more a dropped coefficient costs, the more are kept and the larger the file."""
    counts, sizes = [], []
    for zeroing in (0.5, 0.8, 1.0, 2.0):
        codec = JpegCodec(zeroing=zeroing)
        quantised, _ = codec.prepare(photo).quantise(codec.level_map(photo, 10), 0.0)
        counts.append(np.count_nonzero(quantised))
        sizes.append(len(codec.encode(photo, 10).data))
    assert counts == sorted(counts)
    assert sizes == sorted(sizes)
    assert counts[-1] > 1.1 * counts[0]


def test_lambda_falls_off_with_the_step(photo):
    """At a step of 16 nothing changes; a coarser file drops less for it, a finer one more."""
    level = 10
    step = 96 * 2 ** (-level / 4)
    counts = {}
    for falloff in (0.0, 1.0):
        codec = JpegCodec(rdo=0.2, rdo_falloff=falloff, table="flat")
        prepared = codec.prepare(photo)
        for wanted in (32.0, 16.0, 6.0):
            trim = 4 * np.log2(step / wanted)
            quantised, _ = prepared.quantise(codec.level_map(photo, level), trim)
            counts[falloff, wanted] = np.count_nonzero(quantised)
    assert counts[1.0, 16.0] == pytest.approx(counts[0.0, 16.0], rel=1e-3)
    assert counts[1.0, 32.0] > 1.02 * counts[0.0, 32.0]
    assert counts[1.0, 6.0] < 0.98 * counts[0.0, 6.0]


@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
def test_luma_makes_up_for_coded_chroma(photo, subsampling):
    """It is moved by what the decoder makes of the error of chroma, and R, G and B are nearer to the picture for it."""
    rng = np.random.default_rng(0)
    image = np.clip(photo + rng.normal(0, 20, photo.shape), 0, 255).astype(np.uint8)
    errors, sizes = {}, {}
    for share in (0.0, 0.7):
        codec = JpegCodec(table="flat", subsampling=subsampling, compensation=share)
        encoded = codec.encode(image, 8)
        errors[share] = float(((codec.decode(encoded.data).astype(float) - image) ** 2).mean())
        sizes[share] = len(encoded.data)
    assert errors[0.7] < 0.99 * errors[0.0]
    assert sizes[0.7] < 1.02 * sizes[0.0]


def test_luma_is_moved_by_the_doubled_error_of_chroma(photo):
    """The whole error, computed from planes that are put together, doubled and taken apart again."""
    codec = JpegCodec(table="flat", subsampling="420")
    prepared = codec.prepare(photo)
    form = prepared.form
    levels, tables = prepared.quantise(codec.level_map(photo, 6), 0.0)
    order = np.argsort(transform.ZIGZAG)
    half = np.zeros((8 * form.rows, 8 * form.columns), np.float32)
    for part, share in zip((4, 5), LUMA_FOR_CHROMA, strict=True):
        error = (prepared.coefficients[:, part] / 8 - levels[:, part] * tables[1])[:, order]
        blocks = DCT.T @ error.reshape(form.rows, form.columns, 8, 8) @ DCT
        half += share * blocks.transpose(0, 2, 1, 3).reshape(half.shape).astype(np.float32)
    whole = block_dct(doubled(half, 16 * form.rows, 16 * form.columns))
    shift = whole.reshape(form.rows, 2, form.columns, 2, 64).transpose(0, 2, 1, 3, 4).reshape(-1, 4, 64)
    moved = compensated(prepared.coefficients, levels, tables, form, 0.5)[:, :, order]
    plain = prepared.coefficients[:, :, order]
    np.testing.assert_allclose(moved[:, :4] - plain[:, :4].astype(float), 8 * 0.5 * shift, atol=0.51)
    np.testing.assert_array_equal(moved[:, 4:], plain[:, 4:])
    assert np.abs(shift).max() > 1


def test_sharp_chroma_decodes_nearer_to_the_picture(photo):
    errors = {}
    for chroma in ("average", "sharp"):
        codec = JpegCodec(rdo=0, table="flat", subsampling="420", chroma=chroma)
        decoded = codec.decode(codec.encode(photo, len(codec.levels) - 1).data)
        errors[chroma] = float(((decoded.astype(float) - photo) ** 2).mean())
    assert errors["sharp"] < 0.8 * errors["average"]
