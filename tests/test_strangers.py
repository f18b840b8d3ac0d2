"""JPEG files in the hands of strangers: every decoder that this machine has, against Pillow's pixels."""

from __future__ import annotations

import io
import itertools
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image, ImageCms

from accelir.metadata import Metadata
from accelir.testing import picture
from accelir_plugins.jpeg import JpegCodec
from strangers import LONGEST_WAIT, by_browser, by_pillow, module, on_path

SIZES = ((1, 1), (17, 33), (96, 112))
METADATA = Metadata(
    icc=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    # A tag, Artist, and where its text stands.
    exif=b"II*\0\x08\0\0\0\x01\0\x3b\x01\x02\0\x09\0\0\0\x1a\0\0\0\0\0\0\0somebody\0",
    xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
)


class Written(NamedTuple):
    image: np.ndarray
    data: bytes


class Tolerance(NamedTuple):
    """Of the differences from Pillow's samples, 0..255."""

    largest: int
    mean: float


@pytest.fixture(scope="module")
def files() -> dict[str, Written]:
    """One of each kind, under what it is."""
    found = {}
    for colours, process, restart_interval, (height, width) in itertools.product(
        ("gray", "420", "422", "444"), ("baseline", "progressive"), (0, 1), SIZES
    ):
        gray = colours == "gray"
        options = {} if gray else {"subsampling": colours}
        codec = JpegCodec(process=process, restart_interval=restart_interval, **options)
        image = picture(height, width, gray=gray)
        # Mixed, so that the blocks differ from one another as they do in use.
        levels = np.random.default_rng(0).integers(12, 29, codec.level_map(image, 0).shape)
        data = codec.encode(image, levels).data
        name = f"{colours}, {process}, restart interval {restart_interval}, {width}x{height}"
        found[name] = Written(image, data)
        if not gray and (height, width) == SIZES[-1]:
            found[f"{name}, metadata"] = Written(image, codec.embed(data, METADATA))
    return found


def output_of(*command: str, data: bytes) -> bytes:
    """What a program makes of a file, about which it must not have a word to say."""
    done = subprocess.run(command, input=data, capture_output=True, timeout=LONGEST_WAIT, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return done.stdout


def libvips(data: list[bytes], folder: Path) -> list[np.ndarray]:
    vips = module("pyvips").Image
    return [vips.new_from_buffer(one, "", fail_on="warning").colourspace("srgb").numpy() for one in data]


def djpeg(data: list[bytes], folder: Path) -> list[np.ndarray]:
    path = on_path("djpeg")
    if path is None:
        pytest.skip("no djpeg on PATH")
    version = subprocess.run([path, "-version"], input=b"", capture_output=True, timeout=LONGEST_WAIT, check=False)
    if b"turbo" not in version.stderr + version.stdout:
        pytest.skip("djpeg is not libjpeg-turbo's: others scale the chroma in another way")
    return [by_pillow(output_of(path, "-pnm", data=one)) for one in data]


def ffmpeg(data: list[bytes], folder: Path) -> list[np.ndarray]:
    path = on_path("ffmpeg") or module("imageio_ffmpeg").get_ffmpeg_exe()
    accurate = "bilinear+accurate_rnd+full_chroma_int"
    command = (path, "-v", "error", "-f", "jpeg_pipe", "-i", "-", "-sws_flags", accurate)
    return [by_pillow(output_of(*command, "-f", "image2pipe", "-c:v", "ppm", "-", data=one)) for one in data]


def pyav(data: list[bytes], folder: Path) -> list[np.ndarray]:
    av = module("av")

    def decode(one: bytes) -> np.ndarray:
        with av.open(io.BytesIO(one), format="jpeg_pipe") as container:
            return next(container.decode(video=0)).to_ndarray(format="rgb24")

    return [decode(one) for one in data]


def chromium(data: list[bytes], folder: Path) -> list[np.ndarray]:
    return by_browser(data, "image/jpeg", folder)


EXACT = Tolerance(0, 0)
# FFmpeg has an inverse DCT of its own, and enlarges the chroma by other filters: an edge between colours differs most.
FFMPEG = Tolerance(12, 1.2)


TOLERANCES = {libvips: EXACT, djpeg: EXACT, ffmpeg: FFMPEG, pyav: FFMPEG, chromium: EXACT}


@pytest.mark.parametrize("decoder", TOLERANCES, ids=lambda decoder: decoder.__name__)
def test_strangers_see_what_pillow_sees(decoder: Callable[[list[bytes], Path], list[np.ndarray]], files, tmp_path):
    """No decoder complains, and all return the same pixels as Pillow, but for what they do in their own way."""
    tolerance = TOLERANCES[decoder]
    seen = decoder([file.data for file in files.values()], tmp_path)
    off = []
    for (name, file), pixels in zip(files.items(), seen, strict=True):
        expected = by_pillow(file.data)
        assert pixels.shape == expected.shape, name
        difference = np.abs(pixels.astype(int) - expected)
        if difference.max() > tolerance.largest or difference.mean() > tolerance.mean:
            off.append(f"{name}: at most {difference.max()}, {difference.mean():.2f} on average")
    assert not off, "\n".join(off)


def test_pillow_sees_the_picture(files):
    """Gray as gray, and with the metadata that was put in."""
    for name, file in files.items():
        with Image.open(io.BytesIO(file.data)) as opened:
            assert opened.mode == ("L" if file.image.ndim == 2 else "RGB"), name
            assert np.abs(np.asarray(opened).astype(int) - file.image).mean() < 4, name
            if name.endswith("metadata"):
                assert Metadata.of(opened, colour=True) == METADATA, name


def test_libvips_finds_the_metadata(files):
    vips = module("pyvips").Image
    for name, file in files.items():
        if name.endswith("metadata"):
            opened = vips.new_from_buffer(file.data, "")
            assert opened.get("icc-profile-data") == METADATA.icc
            assert bytes(opened.get("exif-data")).endswith(METADATA.exif)
            assert opened.get("xmp-data") == METADATA.xmp
