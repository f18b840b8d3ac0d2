"""Planes, and what a network needs of their blocks."""

import numpy as np
import pytest
from scipy.fft import dctn

from accelir.pictures import picture
from accelir_plugins.planar.needs import FARTHEST, Needs, project
from accelir_plugins.planar.planes import emphasised, to_planes
from accelir_plugins.ycbcr import TO_RGB, add_rest, block_dct, doubled, doubled_rows, fitted, halved_transpose


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def decoded(planes) -> np.ndarray:
    """RGB of planes by hand."""
    scale, offset, chroma_scale = (1, 0, 1) if planes.range == "full" else (219 / 255, 16, 224 / 255)
    luma = (planes.luma - np.float32(offset)) / scale
    chroma = [doubled((plane - np.float32(128)) / np.float32(chroma_scale), *luma.shape) for plane in planes.chroma]
    return np.clip(np.stack([luma, *chroma], axis=2) @ TO_RGB.T, 0, 255)


def test_block_dct_is_that_of_each_block():
    plane = noise(16, 24)
    assert np.allclose(block_dct(plane)[1, 2], dctn(plane[8:, 16:], norm="ortho"), atol=1e-5)


def test_doubling_is_pillow_like_in_the_middle_and_repeats_edges():
    # By hand: 3/4 of the nearer, 1/4 of the farther.
    row = doubled(np.array([[0, 16, 64]], np.float32), 1, 6)
    assert row.tolist() == [[0, 4, 12, 28, 52, 64]]


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (9, 16), (10, 15), (33, 47)])
def test_doubling_is_that_of_rows_both_ways(size):
    height, width = size
    plane = noise(-(-height // 2), -(-width // 2))
    both = doubled_rows(doubled_rows(plane, height).T, width).T
    assert np.allclose(doubled(plane, height, width), both, atol=1e-6)
    for wrong in ((height + 2, width), (height, width + 2), (max(height - 2, 0), width)):
        with pytest.raises(ValueError, match="is half of no picture"):
            doubled(plane, *wrong)


@pytest.mark.parametrize("share", [0.2, -0.5])
@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 5, 3), (6, 9), (300, 20, 3)])
def test_emphasis_is_a_sum_of_differences(shape, share):
    """Over bands of rows, channel by channel."""
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    wanted = image.astype(np.float64)
    for axis in (0, 1):
        at = np.arange(shape[axis])
        for distance in (1, 3):
            weight = -share / (np.pi * distance) ** 2
            for moved in (np.maximum(at - distance, 0), np.minimum(at + distance, shape[axis] - 1)):
                wanted += weight * (image.take(moved, axis=axis).astype(float) - image)
    made = emphasised(np.asfortranarray(image), share)
    assert np.abs(made - np.clip(wanted, 0, 255)).max() < 0.51


@pytest.mark.parametrize("shape", [(1, 1), (5, 8), (24, 31)])
def test_halving_is_the_transpose_of_doubling(shape):
    half, full = noise(-(-shape[0] // 2), -(-shape[1] // 2)), noise(*shape)
    assert np.isclose((doubled(half, *shape) * full).sum(), (half * halved_transpose(full)).sum(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (2, 3), (5, 2), (7, 9), (40, 33)])
def test_what_is_done_row_by_row_is_what_its_parts_do(shape):
    generator = np.random.default_rng(0)
    wanted = generator.standard_normal(shape).astype(np.float32)
    half = generator.standard_normal((-(-shape[0] // 2), -(-shape[1] // 2))).astype(np.float32)
    rest = wanted - doubled(half, *shape)
    step = np.float32(0.4)
    assert np.array_equal(fitted(half, wanted, step), half + step * halved_transpose(rest))
    plane = np.ones(shape, np.float32)
    add_rest(wanted, half, step, plane)
    assert np.array_equal(plane, 1 + step * rest)


@pytest.mark.parametrize("range_", ["full", "limited"])
@pytest.mark.parametrize("shape", [(48, 64), (33, 47)])
def test_sharp_chroma_decodes_nearer_than_the_average(range_, shape):
    image = np.random.default_rng(1).integers(0, 256, (6, 8, 3)).repeat(8, 0).repeat(8, 1)[: shape[0], : shape[1]]
    image = image.astype(np.uint8)
    errors = [((decoded(to_planes(image, range_, chroma)) - image) ** 2).mean() for chroma in ("average", "sharp")]
    assert errors[1] < 0.8 * errors[0]


def test_flat_colours_survive_planes():
    image = np.full((17, 9, 3), (200, 30, 90), np.uint8)
    for range_ in ("full", "limited"):
        for chroma in ("average", "sharp"):
            assert np.abs(decoded(to_planes(image, range_, chroma)) - image).max() < 2


def test_gray_has_no_chroma():
    image = picture(20, 30, gray=True)
    planes = to_planes(image, "full", "sharp")
    assert planes.chroma is None
    assert np.array_equal(planes.luma, image)


def test_emphasis_leaves_flat_parts_and_enlarges_frequencies():
    wave = np.tile(np.array([[100, 150]], np.uint8), (12, 6))
    assert emphasised(wave, 0) is wave
    assert np.array_equal(emphasised(np.full((9, 9, 3), 77, np.uint8), 0.5), np.full((9, 9, 3), 77))
    away = emphasised(wave, 0.4)[6, 4:8].astype(float)
    # The highest frequency of one of the two directions: half of the share, less what the series leaves out.
    assert np.ptp(away) == pytest.approx(50 * 1.18, abs=1)
    assert np.ptp(emphasised(wave, -0.4)[6, 4:8].astype(float)) < 50


def test_projection_measures_energy_by_frequency():
    gradient = noise(64, 96, 3)
    for block in (16, 32, 64):
        told = project(gradient, block)
        assert told.shape == (-(-64 // block), -(-96 // block), 192)
    luma = gradient @ TO_RGB[:, 0]
    # White noise has the same energy at all frequencies: that of all 8x8 blocks of a block.
    assert (project(gradient, 16)[:, :, :64] ** 2).sum() == pytest.approx((luma**2).sum(), rel=0.1)


def needs(spread: np.ndarray, trust: float = 1.0) -> np.ndarray:
    rows, columns = spread.shape
    image = np.random.default_rng(2).integers(0, 256, (16 * rows, 16 * columns, 3)).astype(np.uint8)
    sensitivity = np.ones((rows, columns, 192), np.float32) * spread[:, :, None].astype(np.float32)
    return Needs(image, sensitivity, 16, trust).offsets(16.0)


def test_steps_follow_one_over_the_root_of_what_is_needed():
    spread = np.ones((4, 4))
    spread[:2] = 4
    offsets = needs(spread)
    assert offsets[3].mean() - offsets[0].mean() == pytest.approx(1, abs=0.01)
    assert needs(spread, trust=0.5)[3].mean() - needs(spread, trust=0.5)[0].mean() == pytest.approx(0.5, abs=0.05)
    assert np.array_equal(needs(spread, trust=0), np.zeros((4, 4)))
    assert abs(float(offsets.mean())) < 0.05
    assert np.abs(needs(np.where(spread > 1, 1e9, 1))).max() <= FARTHEST


def test_no_sensitivity_is_the_same_step_for_all():
    image = picture(40, 50)
    assert np.array_equal(Needs(image, None, 16, 1.0).offsets(10.0), np.zeros((3, 4)))


def test_frequencies_weigh_what_the_network_needs_of_them():
    """One for the average of a block, whatever the block's own need; no sensitivity, no weights."""
    image = np.random.default_rng(2).integers(0, 256, (32, 48, 3)).astype(np.uint8)
    assert Needs(image, None, 16, 1.0).weights(4.0) is None
    needed = np.ones((2, 3, 3, 8, 8), np.float32)
    needed[:, :, 0, :4, :4] = 16
    needed[1] *= 7
    told = {trust: Needs(image, needed.reshape(2, 3, 192), 16, trust).weights(4.0) for trust in (0.5, 1.0)}
    luma = told[1.0][:, :, 0].reshape(2, 3, 4, 4)
    assert luma[..., :2, :2] == pytest.approx(16 * luma[..., 2:, :2], rel=1e-4)
    assert told[0.5][:, :, 0, 0] == pytest.approx(4 * told[0.5][:, :, 0, 15], rel=1e-4)
    assert luma.mean(axis=(2, 3)) == pytest.approx(np.full((2, 3), luma.mean()), rel=0.05)
    assert Needs(image[:, :, 0].copy(), needed[:, :, 0].reshape(2, 3, 64), 16, 1.0).weights(4.0).shape == (2, 3, 2, 16)


def test_bits_are_more_where_there_is_more_and_where_steps_are_finer():
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, 16:] = np.random.default_rng(0).integers(0, 256, (32, 16, 3))
    plain = Needs(image, None, 16, 1.0)
    coarse, fine = plain.bits(np.full((2, 2), 5, np.float32)), plain.bits(np.full((2, 2), 3, np.float32))
    assert (coarse[:, 1] > 10 * coarse[:, 0]).all()
    assert (fine > coarse).all()
