"""Boxes and items, against Pillow's AVIF and pillow-heif, which read and write them by libavif and libheif."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from accelir.errors import DecodeError
from accelir.metadata import Metadata
from accelir.testing import picture
from accelir_plugins import isobmff
from accelir_plugins.isobmff import Item, Property, Still, box, full_box

pillow_heif = pytest.importorskip("pillow_heif")

METADATA = Metadata(
    icc=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    # A tag, Artist, and where its text stands.
    exif=b"II*\0\x08\0\0\0\x01\0\x3b\x01\x02\0\x09\0\0\0\x1a\0\0\0\0\0\0\0somebody\0",
    xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
)
ARTIST = 315


def heif(mode: str, height: int, width: int) -> bytes:
    stream = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(picture(height, width)).convert(mode)).save(stream, quality=60)
    return stream.getvalue()


def avif(mode: str, height: int, width: int) -> bytes:
    if not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    image = Image.fromarray(picture(height, width)).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    stream = io.BytesIO()
    image.save(stream, "AVIF", quality=60, speed=10)
    return stream.getvalue()


def opened(data: bytes) -> Image.Image:
    if b"avif" in data[8:16]:
        return Image.open(io.BytesIO(data))
    return pillow_heif.open_heif(io.BytesIO(data)).to_pillow()


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (7, 5)])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("written", [heif, avif])
def test_metadata_comes_back_and_the_pixels_stay(written, mode, size):
    """Of files of strangers: with alpha, with cropping, with orientation none."""
    plain = written(mode, *size)
    data = isobmff.embed(plain, METADATA)
    before, after = opened(plain), opened(data)
    np.testing.assert_array_equal(np.asarray(after), np.asarray(before))
    assert after.info["icc_profile"] == METADATA.icc
    assert after.info["exif"].removeprefix(b"Exif\0\0") == METADATA.exif
    assert after.getexif()[ARTIST] == "somebody"
    assert after.info["xmp"] == METADATA.xmp
    for part in ("icc", "exif", "xmp"):
        alone = Metadata(**{part: getattr(METADATA, part)})
        information = opened(isobmff.embed(plain, alone)).info
        key = "icc_profile" if part == "icc" else part
        assert information[key] == getattr(METADATA, part)


@pytest.mark.parametrize("written", [heif, avif])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_what_is_read_is_what_is_written(written, mode):
    plain = written(mode, 33, 50)
    still = isobmff.read(plain)
    again = isobmff.write(still)
    assert isobmff.read(again) == still
    assert len(again) <= len(plain)
    np.testing.assert_array_equal(np.asarray(opened(again)), np.asarray(opened(plain)))


def test_a_grid_shows_its_tiles_side_by_side():
    """Four pictures that pillow-heif wrote, as the tiles of one, the last column and row cut off."""
    side, shown = 64, (100, 120)
    image = picture(2 * side, 2 * side)
    tiles, expected = [], np.empty_like(image)
    for row in range(2):
        for column in range(2):
            part = np.s_[row * side : (row + 1) * side, column * side : (column + 1) * side]
            stream = io.BytesIO()
            pillow_heif.from_pillow(Image.fromarray(image[part])).save(stream, quality=60)
            expected[part] = np.asarray(opened(stream.getvalue()))
            tiles.append(isobmff.read(stream.getvalue()).items[0])
    items = [Item(at, b"hvc1", tile.data, tile.properties, hidden=True) for at, tile in enumerate(tiles, 2)]
    height, width = shown
    whole = Item(
        1,
        b"grid",
        isobmff.grid(2, 2, width, height),
        (isobmff.size(width, height), isobmff.depth(3)),
        references=((b"dimg", (2, 3, 4, 5)),),
    )
    data = isobmff.write(Still((b"heic", b"mif1", b"heic"), (whole, *items)))
    np.testing.assert_array_equal(np.asarray(opened(data)), expected[:height, :width])
    data = isobmff.embed(data, METADATA)
    assert opened(data).info["icc_profile"] == METADATA.icc
    np.testing.assert_array_equal(np.asarray(opened(data)), expected[:height, :width])


def test_many_properties_take_wide_numbers():
    properties = tuple(Property(box(b"free", bytes([number]) * 2), essential=number % 3 == 0) for number in range(200))
    still = Still((b"heic", b"mif1"), (Item(1, b"hvc1", b"abc", properties), Item(7, b"mime", b"", label=b"\0x\0")))
    assert isobmff.read(isobmff.write(still)) == still


def test_every_version_of_the_tables_is_read():
    """Long boxes, wide identifiers, items in ``idat`` and in parts, and a ``meta`` before which there is space."""
    infe = full_box(b"infe", 3, 1, struct.pack(">IH4s", 70000, 0, b"hvc1"), b"\0")
    second = full_box(b"infe", 2, 0, struct.pack(">HH4s", 5, 0, b"Exif"), b"\0")
    # Offsets of 8 bytes, lengths of 4, a base of 4 and an index of 4; the first item in two parts of idat.
    iloc = struct.pack(">HI", 0x8444, 2)
    iloc += struct.pack(">IHHIH", 70000, 1, 0, 1, 2) + struct.pack(">IQI", 0, 0, 2) + struct.pack(">IQI", 0, 3, 1)
    iloc += struct.pack(">IHHIH", 5, 0, 0, 0, 1) + struct.pack(">IQI", 0, 4, 4)
    ipma = full_box(b"ipma", 1, 1, struct.pack(">IIBHH", 1, 70000, 2, 0x8001, 2))
    meta = [
        full_box(b"hdlr", 0, 0, bytes(4), b"pict", bytes(13)),
        full_box(b"pitm", 1, 0, struct.pack(">I", 70000)),
        full_box(b"iinf", 1, 0, struct.pack(">I", 2), infe, second),
        full_box(b"iloc", 2, 0, iloc),
        full_box(b"iref", 1, 0, box(b"cdsc", struct.pack(">IHI", 5, 1, 70000))),
        box(b"iprp", box(b"ipco", box(b"aaaa", b"1"), box(b"bbbb", b"2")), ipma),
        box(b"idat", b"0123456"),
        box(b"grpl", b"kept"),
    ]
    content = bytes(4) + b"".join(meta)
    long_meta = struct.pack(">I4sQ", 1, b"meta", 16 + len(content)) + content
    still = isobmff.read(box(b"ftyp", b"heic", bytes(4), b"mif1") + box(b"free", b"") + long_meta)
    properties = (Property(box(b"aaaa", b"1"), True), Property(box(b"bbbb", b"2")))
    assert still == Still(
        (b"heic", b"mif1"),
        (
            Item(70000, b"hvc1", b"124", properties, hidden=True),
            Item(5, b"Exif", b"ftyp", references=((b"cdsc", (70000,)),)),
        ),
        70000,
        (box(b"grpl", b"kept"),),
    )


def test_damaged_files_raise_decode_errors():
    data = heif("RGB", 33, 50)
    ends = [*range(700), len(data) - 1]
    for bad in (b"", b"noise" * 30, *(data[:end] for end in ends if end < len(data))):
        with pytest.raises(DecodeError):
            isobmff.embed(bad, METADATA)
    rng = np.random.default_rng(0)
    for place in rng.integers(0, 400, 300):
        damaged = data[:place] + bytes([data[place] ^ int(rng.integers(1, 256))]) + data[place + 1 :]
        try:
            isobmff.read(damaged)
        except DecodeError:
            continue
