"""Choosing among ways to store a picture: on all of a small one, by a sample of a large one."""

from __future__ import annotations

import numpy as np
import pytest

import accelir
from accelir import variants
from accelir.pictures import picture
from accelir.variants import TILE, TILES, sample_of
from accelir_plugins.jpeg.codec import JpegCodec, JpegPrepared

AUTO = {"network": "edsr-x4-f8", "codec": JpegCodec(subsampling="auto")}


@pytest.mark.parametrize("shape", [(1200, 1801, 3), (700, 3000), (400, 6000, 3)])
def test_a_sample_holds_whole_tiles_from_all_over_a_picture(shape):
    image = np.zeros(shape, np.uint16)
    image[:] = (np.arange(shape[0])[:, None] * 7 + np.arange(shape[1])).reshape(*shape[:2], *[1] * (len(shape) - 2))
    sample = sample_of(image)
    assert sample.shape == (*(min(size, TILE * TILES) for size in shape[:2]), *shape[2:])
    rows = np.unique(sample_of(np.repeat(np.arange(shape[0])[:, None], shape[1], 1)))
    assert rows[0] == 0 and rows[-1] > shape[0] - 2 * TILE
    assert shape[0] <= TILE * TILES or (rows.reshape(-1, TILE)[:, 0] % TILE == 0).all()


def test_of_a_large_picture_one_way_is_tried_on_all_of_it(monkeypatch):
    image = picture(1000, 900)
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


def test_where_the_promising_way_takes_too_much_the_other_is_taken(monkeypatch):
    image = picture(640, 640)
    least = {}
    for subsampling in ("420", "444"):
        with pytest.raises(accelir.BudgetError) as raised:
            accelir.encode(
                image, network="edsr-x4-f8", codec=JpegCodec(subsampling=subsampling), budget=accelir.Bytes(1)
            )
        least[subsampling] = raised.value.smallest
    monkeypatch.setattr(variants, "LARGE", 100_000)
    monkeypatch.setattr(variants, "least_costly", lambda found, image: len(found) - 1)
    encoded = accelir.encode(image, budget=accelir.Bytes(least["420"]), **AUTO)
    assert len(encoded.data) <= least["420"] < least["444"]
    with pytest.raises(accelir.BudgetError) as raised:
        accelir.encode(image, budget=accelir.Bytes(1), **AUTO)
    assert raised.value.smallest == least["420"]


def test_a_control_that_follows_the_original_is_not_sampled(monkeypatch):
    reference = picture(512, 512)
    image = reference[::4, ::4].copy()
    whole = accelir.encode(image, budget=accelir.Bytes(4000), estimate="oracle", reference=reference, **AUTO).data
    monkeypatch.setattr(variants, "LARGE", 1000)
    assert (
        accelir.encode(image, budget=accelir.Bytes(4000), estimate="oracle", reference=reference, **AUTO).data == whole
    )
