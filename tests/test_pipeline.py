"""encode() and restore(), end to end on a real photograph."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import accelir
from accelir.errors import BudgetError, CodecError, InvalidInputError
from accelir.metrics import psnr_rgb
from accelir_plugins.jpeg.codec import JpegCodec, JpegPrepared


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    from sklearn.datasets import load_sample_image

    return np.ascontiguousarray(load_sample_image("china.jpg"))


@pytest.fixture(scope="module")
def noisy(photograph) -> np.ndarray:
    return accelir.Denoise(25).degrade(photograph[:320, :400], np.random.default_rng(0))


@pytest.mark.parametrize("name", ["edsr-x4-f16", "dncnn-s25-f16"])
@pytest.mark.parametrize("quality", [30, 75])
def test_a_budget_like_a_quality_is_kept_and_used(name, quality, noisy) -> None:
    network = accelir.network(name)
    image = noisy if network.task.scale == 1 else noisy[::4, ::4]
    usual = accelir.codec("jpeg").usual(image, quality)
    encoded = accelir.encode(image, network=network, budget=accelir.LikeQuality(quality))
    assert 0.98 * len(usual) <= len(encoded.data) <= len(usual)
    assert Image.open(io.BytesIO(encoded.data)).size == image.shape[1::-1]


@pytest.mark.parametrize("estimate", ["profile", "uniform"])
@pytest.mark.parametrize("quality", [50, 75, 90])
def test_a_flat_table_uses_the_budget_as_well(quality, estimate, photograph) -> None:
    """Its steps are rounded one after the other, not all at once."""
    image = photograph[::4, ::4]
    codec = accelir.codec("jpeg", shape=0.0, rdo=0.02)
    encoded = accelir.encode(
        image, network="edsr-x4-f8", codec=codec, budget=accelir.LikeQuality(quality), estimate=estimate
    )
    assert len(encoded.data) >= 0.98 * len(codec.usual(np.ascontiguousarray(image), quality))


def test_denoising_restores_better_from_our_file_than_from_either_control(photograph, noisy) -> None:
    network = accelir.network("dncnn-s25-f16")
    reference = photograph[:320, :400]
    usual = accelir.codec("jpeg").usual(noisy, 40)
    ordinary = psnr_rgb(np.array(accelir.restore(usual, network=network)), reference)
    gains = {}
    for estimate in ("profile", "measured", "plain-mse"):
        encoded = accelir.encode(noisy, network=network, budget=accelir.Bytes(len(usual)), estimate=estimate)
        assert len(encoded.data) <= len(usual)
        gains[estimate] = psnr_rgb(np.array(accelir.restore(encoded.data, network=network)), reference) - ordinary
    assert gains["profile"] > 0.2
    assert gains["measured"] > 0.2
    assert gains["profile"] > gains["plain-mse"]


def test_super_resolution_restores_better_from_our_file(photograph) -> None:
    network = accelir.network("edsr-x4-f16")
    reference = network.task.crop(photograph)
    image = network.task.degrade(reference, np.random.default_rng(0))
    usual = accelir.codec("jpeg").usual(image, 75)
    ordinary = psnr_rgb(np.array(accelir.restore(usual, network=network)), reference)
    encoded = accelir.encode(image, network=network, budget=accelir.Bytes(len(usual)))
    assert psnr_rgb(np.array(accelir.restore(encoded.data, network=network)), reference) > ordinary + 0.1


def test_the_reference_alone_makes_the_image(photograph) -> None:
    reference = photograph[:256, :256]
    encoded = accelir.encode(reference=reference, network="edsr-x4-f16", budget=accelir.BitsPerPixel(2))
    assert (encoded.width, encoded.height) == (64, 64)
    with pytest.raises(accelir.InvalidInputError, match="reference"):
        accelir.encode(network="edsr-x4-f16", budget=accelir.BitsPerPixel(2))


def test_restore_takes_paths_bytes_pictures_and_arrays(tmp_path, noisy) -> None:
    encoded = accelir.encode(noisy[:64, :48], network="dncnn-s25-f8", budget=accelir.BitsPerPixel(1))
    path = encoded.save(tmp_path / "small.jpg")
    picture = Image.open(path)
    sources = (path, str(path), encoded.data, encoded, picture)
    results = [accelir.restore(source, network="dncnn-s25-f8") for source in sources]
    assert all(result.size == (48, 64) for result in results)
    array = accelir.restore(np.asarray(picture), network="dncnn-s25-f8")
    picture.close()
    assert isinstance(array, np.ndarray)
    assert all(np.array_equal(np.asarray(result), array) for result in results)


def test_gray_stays_gray_all_the_way(noisy) -> None:
    gray = np.ascontiguousarray(noisy[:72, :56, 1])
    encoded = accelir.encode(gray, network="dncnn-s25-f16", budget=accelir.BitsPerPixel(1))
    restored = accelir.restore(encoded.data, network="dncnn-s25-f16")
    assert restored.mode == "L" and restored.size == (56, 72)


def test_a_format_that_no_codec_claims_is_opened_by_pillow(noisy) -> None:
    stream = io.BytesIO()
    Image.fromarray(noisy[:40, :40]).save(stream, "PNG")
    assert accelir.restore(stream.getvalue(), network="dncnn-s25-f8").size == (40, 40)
    with pytest.raises(accelir.DecodeError):
        accelir.restore(b"nothing that is a picture", network="dncnn-s25-f8")


def test_an_impossible_budget_says_what_is_possible(noisy) -> None:
    with pytest.raises(accelir.BudgetError, match="impossible") as caught:
        accelir.encode(noisy, network="dncnn-s25-f8", budget=accelir.Bytes(100))
    smallest = caught.value.smallest
    encoded = accelir.encode(noisy, network="dncnn-s25-f8", budget=accelir.Bytes(smallest))
    assert len(encoded.data) <= smallest
    with pytest.raises(accelir.BudgetError, match=r"A budget of 1 byte is impossible"):
        accelir.encode(noisy, network="dncnn-s25-f8", budget=accelir.Bytes(1))


@pytest.mark.parametrize("shape", [(320, 400), (47, 33), (9, 8)])
def test_a_budget_in_bits_per_pixel_is_refused_in_bits_per_pixel(shape, noisy) -> None:
    call = {"image": np.ascontiguousarray(noisy[: shape[0], : shape[1]]), "network": "dncnn-s25-f8"}
    with pytest.raises(accelir.BudgetError, match=r"A budget of 0\.001 bits per pixel \(\d+ bytes?\) is") as caught:
        accelir.encode(budget=accelir.BitsPerPixel(0.001), **call)
    found = re.search(r"takes (\d+) bytes \(([\d.]+) bits per pixel\)", str(caught.value))
    assert found is not None and int(found[1]) == caught.value.smallest
    bits = float(found[2])
    assert bits == pytest.approx(8 * caught.value.smallest / np.prod(shape), rel=2e-3)
    assert len(accelir.encode(budget=accelir.BitsPerPixel(bits), **call).data) <= caught.value.smallest * 1.01


def test_gray_pictures_have_options_of_their_own(photograph) -> None:
    """Noise that is the same in all channels is left in by a network of colour: here the file has to leave it out."""
    clean = np.asarray(Image.fromarray(photograph[100:260, 200:360]).convert("L"))
    network = accelir.network("dncnn-s25-f16")
    noisy = network.task.degrade(clean, np.random.default_rng(0))
    profile = accelir.profile_for("jpeg", network)
    of_colour = replace(profile, header=profile.header.model_copy(update={"gray_options": None}))
    assert profile.options(noisy) == profile.header.gray_options != profile.options(photograph)
    assert of_colour.options(noisy) == of_colour.header.codec_options
    budget = accelir.LikeQuality(20)
    files = [accelir.encode(noisy, network=network, budget=budget, profile=each) for each in (profile, of_colour)]
    own, others = (psnr_rgb(accelir.codec("jpeg").decode(file.data), clean) for file in files)
    assert own > others + 1
    restored = [psnr_rgb(network.restore(accelir.codec("jpeg").decode(file.data)), clean) for file in files]
    assert restored[0] > restored[1] + 0.4


def test_a_reference_of_another_size_is_refused_whatever_it_is_for(noisy) -> None:
    for estimate, passes in (("profile", 0), ("uniform", None), ("profile", None)):
        with pytest.raises(InvalidInputError):
            accelir.encode(
                noisy, network="dncnn-s25-f8", budget=accelir.Bytes(4000), reference=noisy[:9], passes=passes,
                estimate=estimate,
            )  # fmt: skip


def test_like_quality_of_what_jpeg_does_not_hold_is_a_codec_error() -> None:
    with pytest.raises(CodecError, match="65500"):
        accelir.encode(np.zeros((1, 65501), np.uint8), network="edsr-x4-f8", budget=accelir.LikeQuality(75))


def test_bytes_are_the_same_in_another_process_with_another_hash_seed(tmp_path, noisy) -> None:
    small = tmp_path / "small.png"
    Image.fromarray(noisy[:96, :96]).save(small)
    code = (
        "import accelir, hashlib, sys, torch; torch.set_num_threads(int(sys.argv[2]));"
        "e = accelir.encode(sys.argv[1], network='dncnn-s25-f16', budget=accelir.BitsPerPixel(1));"
        "print(hashlib.sha256(e.data).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, str(small), threads],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads, seed in (("1", "1"), ("2", "7"))
    }
    assert len(digests) == 1


def test_bad_arguments_get_errors_from_our_tree(noisy) -> None:
    with pytest.raises(accelir.InvalidInputError, match=r"budget.*say Bytes\(5000\)"):
        accelir.encode(noisy, network="dncnn-s25-f8", budget=5000)  # type: ignore[arg-type]
    with pytest.raises(accelir.InvalidInputError, match=r"got 0\.8\.$"):
        accelir.encode(noisy, network="dncnn-s25-f8", budget=0.8)  # type: ignore[arg-type]
    for several in ({"dncnn-s25-f8"}, (name for name in ("dncnn-s25-f8",)), {"dncnn-s25-f8": 1}.keys()):
        with pytest.raises(accelir.InvalidInputError, match="a list"):
            accelir.encode(noisy, network=several, budget=accelir.Bytes(5000))  # type: ignore[arg-type]
    with pytest.raises(accelir.InvalidInputError, match="A profile is a Profile or the path of one; got int"):
        accelir.encode(noisy, network="dncnn-s25-f8", budget=accelir.Bytes(5000), profile=5)  # type: ignore[arg-type]
    with pytest.raises(accelir.InvalidInputError, match="uint8"):
        accelir.encode(noisy.astype(float), network="dncnn-s25-f8", budget=accelir.Bytes(5000))
    with pytest.raises(accelir.UnknownNameError, match="dncnn-s25-f8"):
        accelir.encode(noisy, network="dncnn-s25-f9", budget=accelir.Bytes(5000))
    with pytest.raises(accelir.InvalidInputError, match="measured"):
        accelir.encode(noisy, network="dncnn-s25-f8", budget=accelir.Bytes(5000), estimate="magic")
    with pytest.raises(accelir.DecodeError, match="no_such"):
        accelir.encode(
            noisy, network="dncnn-s25-f8", budget=accelir.Bytes(5000), estimate="uniform", profile="no_such.safetensors"
        )
    with pytest.raises(accelir.InvalidInputError, match="reference"):
        accelir.encode(
            noisy, network="dncnn-s25-f8", budget=accelir.Bytes(5000), estimate="oracle", reference=noisy[:40]
        )
    with pytest.raises(accelir.InvalidInputError, match="too small"):
        accelir.encode(reference=noisy[:3], network="edsr-x4-f8", budget=accelir.Bytes(5000))
    with pytest.raises(accelir.InvalidInputError, match="options"):
        accelir.profiler("standard", typo=1)
    with pytest.raises(accelir.InvalidInputError, match="crops"):
        accelir.profiler("standard", crops=0)


def test_files_and_estimates_can_be_compared_and_kept_in_sets(noisy) -> None:
    encoded = accelir.encode(noisy[:32, :32], network="dncnn-s25-f8", budget=accelir.Bytes(5000))
    assert encoded == encoded and len({encoded, encoded}) == 1


@pytest.mark.parametrize("budget", [1200, 1500, 1600])
def test_a_budget_near_the_finest_file_is_used(budget, photograph) -> None:
    """Sizes move a tenth as much there as elsewhere."""
    small = np.ascontiguousarray(photograph[100:133, 200:241])
    largest = len(accelir.encode(small, network="dncnn-s25-f8", budget=accelir.Bytes(10**6)).data)
    assert largest > 1600
    encoded = accelir.encode(small, network="dncnn-s25-f8", budget=accelir.Bytes(budget))
    assert 0.98 * budget <= len(encoded.data) <= budget


@pytest.mark.parametrize("budget", [100, 10**6])
def test_beyond_what_a_codec_can_do_few_files_are_written(budget, photograph, monkeypatch) -> None:
    small = np.ascontiguousarray(photograph[100:180, 200:280])
    written = []
    write = JpegPrepared.write

    def watched(self, *arguments):
        written.append(write(self, *arguments))
        return written[-1]

    monkeypatch.setattr(JpegPrepared, "write", watched)
    if budget == 100:
        with pytest.raises(BudgetError):
            accelir.encode(small, network="dncnn-s25-f8", budget=accelir.Bytes(budget))
    else:
        accelir.encode(small, network="dncnn-s25-f8", budget=accelir.Bytes(budget))
    assert len(written) <= 8


def test_a_file_is_not_saved_as_if_it_were_another(tmp_path, noisy):
    encoded = accelir.encode(noisy[:64, :48], network="dncnn-s25-f8", budget=accelir.Bytes(1500))
    for name in ("a.webp", "a.PNG", "a.heif"):
        with pytest.raises(InvalidInputError, match=r"a\..*image/jpeg"):
            encoded.save(tmp_path / name)
    assert not list(tmp_path.iterdir())
    for name in ("a.jpg", "a.JPEG", "a", "a.post"):
        assert encoded.save(tmp_path / name).read_bytes() == encoded.data


def test_what_has_no_coefficients_is_not_measured(noisy) -> None:
    class Closed(JpegCodec):
        name = "closed"

        def project(self, gradient):
            return None

    image = noisy[:48, :64]
    with pytest.raises(accelir.CodecError, match=r"'closed' has no coefficients.*--estimate profile"):
        accelir.encode(image, network="dncnn-s25-f8", codec=Closed(), budget=accelir.Bytes(2000), estimate="measured")
