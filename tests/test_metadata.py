"""Colour profile, EXIF and XMP: kept, counted, and never at odds with the pixels."""

from __future__ import annotations

import io
import os
import struct
import warnings

import numpy as np
import pytest
from PIL import Image, ImageCms
from typer.testing import CliRunner

import accelir
from accelir.cli import app
from accelir.errors import BudgetError, CodecError, InvalidInputError
from accelir.image import read_image
from accelir.metadata import Metadata
from accelir_plugins.jpeg import JpegCodec

NETWORK = "edsr-x4-f8"
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><note>a</note></x:xmpmeta>'
ORIENTATION, ARTIST = 0x0112, 0x013B
EXIF, WIDTH, HEIGHT = 0x8769, 0xA002, 0xA003


@pytest.fixture
def picture() -> Image.Image:
    rows, columns = np.mgrid[:48, :64]
    return Image.fromarray(np.stack([rows * 5, columns * 3, (rows + columns) * 2], axis=2).astype(np.uint8))


def stored(picture: Image.Image, kind: str = "JPEG", orientation: int = 1, **more: bytes) -> bytes:
    exif = Image.Exif()
    exif[ARTIST] = "somebody"
    exif[ORIENTATION] = orientation
    stream = io.BytesIO()
    picture.save(stream, kind, **({"exif": exif, "icc_profile": ICC, "xmp": XMP} | more))
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_encode_keeps_what_the_picture_says(picture, kind):
    source = stored(picture, kind)
    encoded = accelir.encode(source, network=NETWORK, budget=accelir.Bytes(8000))
    with Image.open(io.BytesIO(encoded.data)) as opened:
        opened.load()
        assert opened.info["icc_profile"] == ICC
        if kind in ("JPEG", "WEBP"):
            assert opened.info["xmp"] == XMP
        assert dict(opened.getexif()) == {ARTIST: "somebody"} | ({} if kind == "TIFF" else {ORIENTATION: 1})
    assert len(encoded.data) <= 8000
    assert encoded.overhead_bits + encoded.block_bits.sum() == 8 * len(encoded.data)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_in_the_pixels_or_in_the_tag_never_in_both(picture, orientation):
    source = stored(picture, "PNG", orientation)
    upright = read_image(source)[0]
    assert upright.shape[:2] == ((48, 64) if orientation < 5 else (64, 48))
    encoded = accelir.encode(source, network=NETWORK, budget=accelir.Bytes(20_000))
    with Image.open(io.BytesIO(encoded.data)) as opened:
        assert opened.getexif().get(ORIENTATION, 1) == 1
        assert opened.getexif()[ARTIST] == "somebody"
        assert np.abs(np.asarray(opened).astype(int) - upright).mean() < 3


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_restore_turns_a_strangers_file_upright_and_keeps_its_profile(picture, orientation):
    source = stored(picture, "JPEG", orientation, quality=95)
    restored = accelir.restore(source, network=NETWORK)
    from_pixels = accelir.restore(read_image(source)[0], network=NETWORK)
    np.testing.assert_array_equal(np.asarray(restored), from_pixels)
    assert restored.info["icc_profile"] == ICC
    stream = io.BytesIO()
    restored.save(stream, "PNG", **restored.info)
    assert Image.open(stream).getexif().get(ORIENTATION, 1) == 1


def test_metadata_counts_in_every_budget(picture):
    source = stored(picture)
    bare = accelir.encode(source, network=NETWORK, budget=accelir.LikeQuality(75), metadata="strip")
    full = accelir.encode(source, network=NETWORK, budget=accelir.LikeQuality(75))
    assert bare.data == accelir.encode(read_image(source)[0], network=NETWORK, budget=accelir.LikeQuality(75)).data
    assert 0 < len(full.data) - len(bare.data) - len(ICC) - len(XMP) < 300
    with pytest.raises(BudgetError):
        accelir.encode(source, network=NETWORK, budget=accelir.Bytes(len(ICC)))
    tight = len(full.data) - 40
    assert len(accelir.encode(source, network=NETWORK, budget=accelir.Bytes(tight)).data) <= tight


def test_a_long_profile_takes_several_segments(picture):
    icc = ICC + os.urandom(150_000)
    encoded = accelir.encode(
        stored(picture, "PNG", icc_profile=icc), network=NETWORK, budget=accelir.Bytes(len(icc) + 9000)
    )
    assert Image.open(io.BytesIO(encoded.data)).info["icc_profile"] == icc


def test_what_does_not_fit_is_refused(picture):
    picture.info["xmp"] = b"x" * 70_000
    with pytest.raises(CodecError, match="XMP"):
        accelir.encode(picture, network=NETWORK, budget=accelir.Bytes(200_000))
    with pytest.raises(InvalidInputError, match="metadata"):
        accelir.encode(picture, network=NETWORK, budget=accelir.Bytes(9000), metadata="some")


def test_a_profile_of_another_colour_space_is_dropped(picture):
    gray = picture.convert("L")
    gray.info["icc_profile"] = ICC
    assert not read_image(gray)[1]
    cmyk = picture.convert("CMYK")
    cmyk.info["icc_profile"] = ICC[:16] + b"CMYK" + ICC[20:]
    assert not read_image(cmyk)[1]
    cmyk.info["icc_profile"] = ICC
    assert not read_image(cmyk)[1]


def test_a_codec_without_a_place_for_it_says_so(picture, monkeypatch):
    monkeypatch.delattr(JpegCodec, "embed")
    with pytest.warns(accelir.MetadataWarning, match="jpeg"):
        encoded = accelir.encode(stored(picture), network=NETWORK, budget=accelir.Bytes(8000))
    assert "icc_profile" not in Image.open(io.BytesIO(encoded.data)).info


@pytest.mark.parametrize("quotes", [b'tiff:Orientation="6"', b"tiff:Orientation = '6'"])
def test_xmp_says_no_other_orientation(picture, quotes):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d ' + quotes + b"/><tiff:Orientation>8</tiff:Orientation></x:xmpmeta>"
    for orientation in (1, 6):
        kept = read_image(stored(picture, "JPEG", orientation, xmp=xmp))[1].xmp
        assert b"6" not in kept and b"8" not in kept
        assert kept.count(b"Orientation") == 3 or orientation == 6


def test_xmp_names_no_packet_that_is_left_behind(picture):
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d a="1" xmpNote:HasExtendedXMP="00ff"/></x:xmpmeta>'
    with pytest.warns(accelir.MetadataWarning, match="extended"):
        kept = read_image(stored(picture, xmp=xmp))[1].xmp
    assert kept == xmp.replace(b' xmpNote:HasExtendedXMP="00ff"', b"")


def test_what_does_not_begin_as_exif_does_is_left_out(picture):
    stream = io.BytesIO()
    picture.save(stream, "JPEG", exif=b"Exif\0\0garbage!!!!")
    with pytest.warns(accelir.MetadataWarning, match="damaged"):
        _, kept = read_image(stream.getvalue())
    assert not kept.exif


def test_damaged_exif_is_left_out_and_the_picture_is_read(picture):
    """Some bytes of it at a time: none but our own errors come out, and the pixels stay."""
    source = stored(picture, "JPEG", 6)
    start, pixels = source.index(b"Exif\0\0") + 6, read_image(source)[0]
    length = int.from_bytes(source[start - 8 : start - 6], "big") - 8
    rng = np.random.default_rng(0)
    told = 0
    for _ in range(400):
        bad = bytearray(source)
        for at in rng.integers(start, start + length, 2):
            bad[at] = rng.integers(256)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            seen, kept = read_image(bytes(bad))
        assert seen.size == pixels.size
        told += any(issubclass(each.category, accelir.MetadataWarning) for each in caught)
        assert kept.icc == ICC
    assert told >= 1


def test_restore_keeps_what_any_format_says(picture):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    for kind in ("JPEG", "WEBP", "AVIF", "HEIF"):
        restored = accelir.restore(stored(picture, kind), network=NETWORK)
        assert restored.info["icc_profile"] == ICC, kind
        assert restored.info["xmp"] == XMP, kind
        assert b"somebody" in restored.info["exif"], kind


@pytest.mark.parametrize("kind", ["WEBP", "AVIF", "PNG"])
def test_transparency_is_refused_by_restore_as_by_encode(picture, kind):
    picture.putalpha(100)
    stream = io.BytesIO()
    picture.save(stream, kind)
    with pytest.raises(InvalidInputError, match="transparency"):
        accelir.restore(stream.getvalue(), network=NETWORK)
    with pytest.raises(InvalidInputError, match="transparency"):
        accelir.encode(stream.getvalue(), network=NETWORK, budget=accelir.Bytes(8000))


def test_the_command_line_keeps_it_in_any_format(picture, tmp_path):
    source = tmp_path / "a.jpg"
    source.write_bytes(stored(picture))
    for ending in (".png", ".tiff", ".jpg", ".webp"):
        target = tmp_path / f"b{ending}"
        done = CliRunner().invoke(app, ["restore", str(source), "--network", NETWORK, "--output", str(target)])
        assert done.exit_code == 0, done.output
        assert read_image(target)[1].xmp == XMP
        assert b"somebody" in read_image(target)[1].exif


def sized(picture: Image.Image, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[ARTIST], exif[ORIENTATION] = "somebody", orientation
    exif.get_ifd(EXIF)[WIDTH], exif.get_ifd(EXIF)[HEIGHT] = picture.size
    stream = io.BytesIO()
    picture.save(stream, "JPEG", exif=exif)
    return stream.getvalue()


def size_in(exif: Image.Exif) -> tuple[int, int]:
    return exif.get_ifd(EXIF)[WIDTH], exif.get_ifd(EXIF)[HEIGHT]


def test_exif_says_the_size_of_the_pixels_that_it_stands_beside(picture):
    turned = accelir.encode(sized(picture, 6), network=NETWORK, budget=accelir.Bytes(8000))
    made = accelir.encode(reference=sized(picture), network=NETWORK, budget=accelir.Bytes(8000), passes=0)
    for encoded, size in ((turned, (48, 64)), (made, (16, 12))):
        with Image.open(io.BytesIO(encoded.data)) as opened:
            assert opened.size == size
            assert size_in(opened.getexif()) == size
            assert opened.getexif()[ARTIST] == "somebody"
    restored = accelir.restore(made.data, network=NETWORK)
    exif = Image.Exif()
    exif.load(restored.info["exif"])
    assert size_in(exif) == restored.size == (64, 48)


def test_a_budget_that_metadata_takes_says_so(picture):
    source = stored(picture, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0" + bytes(30_000))
    with pytest.raises(BudgetError, match=r"of them metadata, which metadata='strip'") as refused:
        accelir.encode(source, network=NETWORK, budget=accelir.Bytes(8000))
    assert 30_000 < refused.value.metadata < refused.value.smallest
    assert len(accelir.encode(source, network=NETWORK, budget=accelir.Bytes(8000), metadata="strip").data) <= 8000


def test_a_thumbnail_of_another_size_is_left_out():
    exif = Image.Exif()
    exif.get_ifd(EXIF)[WIDTH], exif.get_ifd(EXIF)[HEIGHT] = 640, 480
    block = bytearray(exif.tobytes()[6:])
    start = struct.unpack(">I", block[4:8])[0]
    following = start + 2 + 12 * struct.unpack(">H", block[start : start + 2])[0]
    thumbnail = b"\xff\xd8 a thumbnail \xff\xd9"
    block[following : following + 4] = struct.pack(">I", len(block))
    entries = [(0x201, 4, 1, len(block) + 30), (0x202, 4, 1, len(thumbnail))]
    block += struct.pack(">H", 2) + b"".join(struct.pack(">HHII", *entry) for entry in entries) + bytes(4) + thumbnail
    metadata = Metadata(exif=bytes(block))
    assert metadata.of_size(480, 640) is metadata
    assert thumbnail in metadata.exif and thumbnail not in metadata.of_size(10, 20).exif
