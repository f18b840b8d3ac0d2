"""Choosing among ways to store a picture: on all of a small one, by a sample of a large one."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageCms

import accelir
from accelir import variants
from accelir.codec import Encoded
from accelir.pictures import picture
from accelir.profiling.estimate import Curves, Estimate
from accelir.variants import TILE, TILES, best_attempt, sample_of
from accelir_plugins.jpeg.codec import JpegCodec, JpegPrepared

AUTO = {"network": "edsr-x4-f8", "codec": JpegCodec(subsampling="auto")}


@pytest.mark.parametrize("shape", [(1200, 1801), (700, 3000), (400, 6000)])
def test_a_sample_holds_whole_tiles_from_all_over_a_picture(shape):
    image = np.stack(np.broadcast_arrays(np.arange(shape[0])[:, None], np.arange(shape[1])), axis=-1)
    sample = sample_of(image)
    rows, columns = sample[:, 0, 0], sample[0, :, 1]
    assert (sample == image[np.ix_(rows, columns)]).all()
    for found, size in ((rows, shape[0]), (columns, shape[1])):
        if size <= TILE * TILES:
            assert (found == np.arange(size)).all()
            continue
        tiles = found.reshape(TILES, TILE)
        assert (tiles[:, 0] % 16 == 0).all() and (np.diff(tiles) == 1).all()
        parts = np.linspace(0, size, TILES + 1)
        assert np.abs(tiles.mean(axis=1) - (parts[1:] + parts[:-1]) / 2).max() < 16
        assert (np.diff(tiles[:, 0]) >= TILE).all()


def test_of_a_large_picture_one_way_is_tried_on_all_of_it(monkeypatch):
    image = picture(1000, 900)
    monkeypatch.setattr(variants, "LARGE", image.size)
    small = [accelir.encode(image, budget=accelir.LikeQuality(quality), **AUTO).data for quality in (50, 97)]
    written = []
    write = JpegPrepared.write
    monkeypatch.setattr(variants, "LARGE", 500_000)
    monkeypatch.setattr(
        JpegPrepared, "write", lambda self, *rest: written.append(self._image.shape) or write(self, *rest)
    )
    large = [accelir.encode(image, budget=accelir.LikeQuality(quality), **AUTO).data for quality in (50, 97)]
    # Both ends of quality leave no doubt, so that the sample chooses as the whole does.
    assert large == small
    assert set(written) == {image.shape, sample_of(image).shape}
    assert sum(shape == image.shape for shape in written) < len(written) / 2


class Way:
    """Stands for a codec, by its name."""

    def __init__(self, name: str) -> None:
        self.name = name


def test_where_the_promising_way_takes_too_much_of_the_whole_the_other_is_taken(monkeypatch):
    image = np.zeros((800, 800, 3), np.uint8)
    tried = []

    def attempt(way, pixels, budget):
        tried.append((way.name, pixels.shape[0], budget))
        if (way.name, pixels.shape[0]) in refused:
            raise accelir.BudgetError(budget, 7 if way.name == "coarse" else 9, way.name, 0)
        return variants.Attempt(
            way,
            Estimate(np.zeros((1, 1), np.int32), Curves(np.zeros((1, 1)), np.zeros((1, 1)))),
            None,
            Encoded(b"", None, 8, 1, 1, 0, None, "exact"),
        )

    monkeypatch.setattr(variants, "LARGE", 500_000)
    monkeypatch.setattr(variants, "least_costly", lambda found, image: len(found) - 1)
    ways = [Way("coarse"), Way("fine")]
    refused = {("fine", 800)}
    assert best_attempt(ways, image, 1000, attempt, metadata=200).codec.name == "coarse"
    # The sample has 0.36 of the pixels, and of what the metadata leaves.
    assert TILE * TILES == 480
    assert tried[:3] == [("coarse", 480, 288), ("fine", 480, 288), ("fine", 800, 1000)]
    refused |= {("coarse", 480), ("fine", 480), ("coarse", 800)}
    with pytest.raises(accelir.BudgetError) as raised:
        best_attempt(ways, image, 1000, attempt)
    assert raised.value.smallest == 7
    # Not sampled: all ways are tried on the whole.
    tried.clear()
    refused.clear()
    best_attempt(ways, image, 1000, attempt, sampled=False)
    assert tried == [("coarse", 800, 1000), ("fine", 800, 1000)]


def test_metadata_does_not_change_what_is_chosen(monkeypatch):
    image = picture(660, 700)
    monkeypatch.setattr(variants, "LARGE", 100_000)
    plain = accelir.encode(image, budget=accelir.Bytes(50_000), **AUTO)
    stored = Image.fromarray(image)
    stored.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(200_000)
    kept = accelir.encode(stored, budget=accelir.Bytes(250_000), **AUTO)
    assert kept.metadata_bytes > 200_000
    assert across(kept.data) == across(plain.data)


def across(data: bytes) -> int:
    """How many luma samples a chroma sample is wide."""
    return int(Image.open(io.BytesIO(data)).layer[0][1])


def test_a_control_that_follows_the_original_is_not_sampled(monkeypatch):
    reference = picture(2800, 512)
    image = reference[::4, ::4].copy()
    asked = {"budget": accelir.Bytes(8000), "estimate": "oracle", "reference": reference}
    whole = accelir.encode(image, **asked, **AUTO).data
    monkeypatch.setattr(variants, "LARGE", 1000)
    assert sample_of(image).shape != image.shape
    assert accelir.encode(image, **asked, **AUTO).data == whole
