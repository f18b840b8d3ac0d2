"""What WebP, HEIC and AVIF have in common."""

import io

import numpy as np
import pytest
from PIL import Image, features

import accelir
from accelir.errors import CodecError, DecodeError
from accelir.image import block_grid


@pytest.fixture(params=["webp", "heic", "avif"])
def codec(request) -> accelir.Codec:
    if request.param == "heic":
        pytest.importorskip("av")
        pytest.importorskip("pillow_heif")
    if request.param == "avif" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    return accelir.codec(request.param)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    from sklearn.datasets import load_sample_image

    return np.ascontiguousarray(load_sample_image("china.jpg")[100:292, 160:416])


def test_wrong_arguments_say_what_is_allowed(codec, photo):
    prepared = codec.prepare(photo)
    rows, columns = block_grid(photo, codec.block(photo))
    with pytest.raises(CodecError, match=r"levels 0 \(coarsest\) to 28; got 29"):
        prepared.write(29)
    with pytest.raises(CodecError, match=f"{rows}x{columns} blocks"):
        prepared.write(np.zeros((2, 2), dtype=int))
    with pytest.raises(CodecError, match=rf"\({rows}, {columns}, 192\)"):
        codec.prepare(photo, sensitivity=np.ones((rows, columns, 64), np.float32))
    with pytest.raises(CodecError, match="finite and not negative"):
        codec.prepare(photo, sensitivity=np.full((rows, columns, 192), np.nan, np.float32))
    with pytest.raises(CodecError, match="finite number of levels"):
        prepared.write(10, float("inf"))


def test_damaged_files_raise_decode_errors(codec, photo):
    data = codec.encode(photo, 10).data
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "PNG")
    noise = b"noise" * 100
    for bad in (b"", data[:4], data[:12], data[:20], data[:40], noise, stream.getvalue(), data[: len(data) // 2]):
        with pytest.raises(DecodeError):
            codec.decode(bad)


def test_a_network_gets_what_it_needs_within_its_budget(codec, photo):
    """Through the public door: never above the budget, at least what the codec promises of it."""
    encoded = accelir.encode(
        photo, network="dncnn-s25-f8", codec=codec, budget=accelir.BitsPerPixel(1.0), estimate="measured"
    )
    budget = photo.shape[0] * photo.shape[1] / 8
    assert codec.fill * budget <= len(encoded.data) <= budget
    plain = accelir.encode(
        photo, network="dncnn-s25-f8", codec=codec, budget=accelir.BitsPerPixel(1.0), estimate="uniform"
    )
    spread = [np.corrcoef(encoded.block_bits.ravel(), plain.block_bits.ravel())[0, 1]]
    assert spread[0] < 0.999, "bits go elsewhere than where nothing is known of the network"


def test_beyond_the_ends_levels_are_the_last(codec, photo):
    """However far; `pytest` makes an error of a warning of numbers out of range."""
    prepared = codec.prepare(photo)
    coarse, fine = prepared.write(0, -1e6), prepared.write(len(codec.levels) - 1, 1e6)
    assert (coarse.levels == 0).all()
    assert fine.levels.min() > 20
    assert len(coarse.data) < len(fine.data) / 20


@pytest.mark.parametrize("part", [0.97, 0.8, 0.6])
def test_budgets_near_the_finest_file_are_filled(codec, photo, part):
    """There sizes stand still over several levels, and AVIF has large steps in a picture of few blocks."""
    estimate = accelir.profile_for(codec.name, "edsr-x4-f8").predict(photo, codec)
    finest = codec.prepare(photo, sensitivity=estimate.sensitivity).write(len(codec.levels) - 1, 6.0)
    budget = int(part * len(finest.data))
    encoded = accelir.encode(photo, network="edsr-x4-f8", codec=codec, budget=accelir.Bytes(budget), estimate=estimate)
    assert 0.75 * budget < len(encoded.data) <= budget


def test_what_the_usual_encoder_cannot_write_is_told(codec):
    if codec.name == "avif":
        pytest.skip("its usual encoder writes longer sides than it takes to test")
    with pytest.raises(CodecError, match="17000x16"):
        codec.usual(np.zeros((16, 17000, 3), np.uint8), 50)
