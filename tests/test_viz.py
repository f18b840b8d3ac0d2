"""Pictures of what encoding decided."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from accelir.codec import Encoded
from accelir.errors import InvalidInputError
from accelir.profiling.estimate import Curves, Estimate
from accelir.viz import (
    COLOUR_MAPS,
    ColourBar,
    Panel,
    colour_bar,
    colour_map,
    fit,
    level_map_image,
    sensitivity_image,
    side_by_side,
)


def encoded_with(levels):
    levels = np.asarray(levels, np.int32)
    return Encoded(b"1234", levels, 16, 40, 24, 32.0, np.zeros(levels.shape, np.float32), "exact")


def estimate_with(sensitivity):
    groups = np.zeros((2, 3), np.int32)
    return Estimate(groups, Curves(np.ones((1, 2)), np.ones((1, 2))), sensitivity)


@pytest.mark.parametrize("name", COLOUR_MAPS)
def test_a_colour_map_gets_lighter_throughout(name):
    luminance = colour_map(np.linspace(0, 1, 100), name) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance) > -0.6).all()
    assert luminance[-1] > luminance[0] + 150


def test_a_colour_map_hits_its_anchors_and_clips():
    assert colour_map(0.0).tolist() == [0x44, 0x01, 0x54]
    assert colour_map([-1, 2, np.nan]).tolist() == colour_map([0, 1, 0]).tolist()


def test_an_unknown_colour_map_names_the_known():
    with pytest.raises(InvalidInputError, match="viridis, magma"):
        colour_map(0, "jet")


def test_a_level_map_has_the_size_of_the_image_and_a_colour_per_block():
    picture = np.asarray(level_map_image(encoded_with([[0, 1, 2], [2, 2, 2]])))
    assert picture.shape == (24, 40, 3)
    assert (picture[:16, :16] == colour_map(0.0)).all()
    assert (picture[:16, 16:32] == colour_map(0.5)).all()
    assert (picture[16:] == colour_map(1.0)).all()


def test_a_uniform_level_map_is_of_the_middle_colour():
    picture = np.asarray(level_map_image(encoded_with([[3, 3, 3], [3, 3, 3]])))
    assert (picture == colour_map(0.5)).all()


def test_sensitivity_is_bright_where_errors_cost_most():
    sensitivity = np.ones((2, 3, 4), np.float32)
    sensitivity[0, 0] = 100
    picture = np.asarray(sensitivity_image(estimate_with(sensitivity), (24, 40), 16)).sum(axis=2)
    assert picture[0, 0] == picture.max()
    assert picture[0, 20] < picture[0, 0]


def test_an_estimate_without_sensitivity_cannot_be_shown():
    with pytest.raises(InvalidInputError, match="no sensitivity"):
        sensitivity_image(estimate_with(None), (24, 40), 16)


def test_fitting_keeps_the_aspect_and_the_pixels():
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (10, 15, 3), dtype=np.uint8))
    doubled = np.asarray(fit(image, (30, 20)))
    assert (doubled[::2, ::2] == np.asarray(image)).all()
    assert fit(image, (30, 40)).size == (30, 40)


def test_panels_share_one_white_page():
    image = Image.new("RGB", (30, 20), (200, 10, 10))
    panels = [Panel(image, "title", "caption", ColourBar("low", "high"), accent=index == 0) for index in range(5)]
    page = side_by_side(panels, columns=3, size=(300, 200), gap=20, margin=10)
    assert page.width == 2 * 10 + 3 * 300 + 2 * 20
    assert page.getpixel((0, 0)) == (255, 255, 255)
    assert page.getpixel((20, 20)) == (200, 10, 10)
    with pytest.raises(InvalidInputError, match="no panels"):
        side_by_side([])


def test_a_colour_bar_runs_from_dark_to_bright():
    bar = np.asarray(colour_bar((50, 4), "magma"))
    assert bar.shape == (4, 50, 3)
    assert bar[0, 0].sum() < bar[0, -1].sum()
