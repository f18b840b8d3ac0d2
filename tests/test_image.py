"""Images in: HEIC through pillow-heif, and what is said where that is not installed."""

from __future__ import annotations

import builtins
import io
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from accelir.errors import DecodeError, InvalidInputError, SaveError
from accelir.files import write_atomically
from accelir.image import FramesWarning, as_image_array, with_metadata
from accelir.threads import LIMIT, allowed, processors

GRADIENT = np.stack(np.broadcast_arrays(np.arange(64)[:, None] * 4, np.arange(48) * 5, 128), axis=2).astype(np.uint8)


@pytest.fixture
def heic() -> bytes:
    stream = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(GRADIENT)).save(stream, quality=90)
    return stream.getvalue()


def test_heic_is_read(heic: bytes) -> None:
    array = as_image_array(heic)
    assert array.shape == GRADIENT.shape
    assert np.abs(array.astype(int) - GRADIENT).mean() < 3


def test_a_missing_heif_reader_is_named(heic: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    # What Pillow registers while its registry is replaced would be lost afterwards.
    Image.init()
    real = builtins.__import__

    def without(name: str, *rest, **more):
        if name == "pillow_heif":
            raise ImportError(name)
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    monkeypatch.setattr(Image, "OPEN", {key: value for key, value in Image.OPEN.items() if key != "HEIF"})
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    with pytest.raises(DecodeError, match=r"accelir\[heif\]"):
        as_image_array(heic)


def test_a_damaged_heic_is_a_decode_error(heic: bytes) -> None:
    with pytest.raises(DecodeError):
        as_image_array(heic[: len(heic) // 2])


def test_a_picture_cut_short_is_a_decode_error(tmp_path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:20_000])
    with pytest.raises(DecodeError):
        as_image_array(tmp_path / "cut.png")
    with Image.open(tmp_path / "cut.png") as opened, pytest.raises(DecodeError):
        as_image_array(opened)


def test_a_picture_of_absurd_size_is_a_decode_error(monkeypatch) -> None:
    stream = io.BytesIO()
    Image.fromarray(GRADIENT).save(stream, "PNG")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(DecodeError, match="bomb"):
        as_image_array(stream.getvalue())


def test_modes_become_gray_or_rgb_or_are_refused() -> None:
    picture = Image.fromarray(GRADIENT)
    gray = np.asarray(picture.convert("L"))
    black_and_white = picture.convert("1")
    np.testing.assert_array_equal(as_image_array(black_and_white), 255 * np.asarray(black_and_white).astype(np.uint8))
    for mode in ("L", "LA"):
        np.testing.assert_array_equal(as_image_array(picture.convert(mode)), gray)
    for mode in ("RGB", "RGBA", "RGBX", "RGBa"):
        step = "RGBA" if mode == "RGBa" else "RGB"
        np.testing.assert_array_equal(as_image_array(picture.convert(step).convert(mode)), GRADIENT)
    for mode in ("P", "CMYK", "YCbCr", "HSV"):
        converted = picture.convert(mode)
        np.testing.assert_array_equal(as_image_array(converted), np.asarray(converted.convert("RGB")))
        assert np.abs(as_image_array(converted).astype(int) - GRADIENT).mean() < 30
    half = picture.convert("RGBA")
    half.putalpha(128)
    with pytest.raises(InvalidInputError, match="transparency"):
        as_image_array(half)
    assert as_image_array(picture.convert("LA").convert("La")).shape == GRADIENT.shape[:2]
    for mode in ("I", "F", "I;16"):
        with pytest.raises(InvalidInputError, match=f"mode '{mode}' have more than 8 bits .* 257 .* 255 "):
            as_image_array(picture.convert("L").convert("I").convert(mode))
    with pytest.raises(InvalidInputError, match="LAB"):
        as_image_array(Image.new("LAB", (8, 8)))


@pytest.mark.parametrize("mode", ["P", "L", "RGB"])
def test_a_colour_that_stands_for_transparency_counts_only_where_it_is_used(mode) -> None:
    picture = Image.fromarray(GRADIENT)
    picture = picture.quantize(16) if mode == "P" else picture.convert(mode)
    used = picture.getpixel((5, 5))
    opaque = {"P": bytes([255] * 16), "L": 1, "RGB": (1, 2, 3)}[mode]
    for colour, refused in ((used, True), (opaque, False)):
        stream = io.BytesIO()
        picture.save(stream, "PNG", transparency=colour)
        if refused:
            with pytest.raises(InvalidInputError, match="transparency"):
                as_image_array(stream.getvalue())
        else:
            plain = picture.convert("L" if mode == "L" else "RGB")
            np.testing.assert_array_equal(as_image_array(stream.getvalue()), np.asarray(plain))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16, np.int64, np.bool_])
def test_arrays_of_other_types_are_refused(dtype) -> None:
    with pytest.raises(InvalidInputError, match=f"uint8.*got {np.dtype(dtype)}"):
        as_image_array(GRADIENT.astype(dtype))


@pytest.mark.parametrize("shape", [(4, 4, 4), (4, 4, 2), (4, 4, 1), (1, 4, 4, 3), (4,), (0, 4), (4, 0, 3)])
def test_arrays_of_other_shapes_are_refused(shape) -> None:
    with pytest.raises(InvalidInputError, match="at least one pixel"):
        as_image_array(np.zeros(shape, np.uint8))


def test_an_array_that_is_no_image_is_told_how_to_become_one() -> None:
    with_alpha = np.dstack([GRADIENT, np.full(GRADIENT.shape[:2], 255, np.uint8)])
    with pytest.raises(InvalidInputError, match=r"alpha.*image\[:, :, :3\]"):
        as_image_array(with_alpha)
    with pytest.raises(InvalidInputError, match=r"Gray.*image\[:, :, 0\]"):
        as_image_array(GRADIENT[:, :, :1])
    with pytest.raises(InvalidInputError, match=r"0 to 1.*np\.rint\(255 \* image\)"):
        as_image_array(GRADIENT.astype(np.float32) / 255)
    with pytest.raises(InvalidInputError, match=r"16 bits.*np\.rint\(image / 257\)"):
        as_image_array(GRADIENT.astype(np.uint16) * 257)


FRAMES = [Image.fromarray(np.roll(GRADIENT, 9 * number, axis=0)) for number in range(3)]


def of_frames(kind: str, frames: list[Image.Image]) -> bytes:
    stream = io.BytesIO()
    frames[0].save(stream, kind, save_all=True, append_images=frames[1:])
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP", "AVIF", "HEIF"])
def test_of_several_frames_the_first_is_taken_and_that_is_said(kind, tmp_path) -> None:
    pillow_heif.register_heif_opener()
    path = tmp_path / "several"
    path.write_bytes(of_frames(kind, FRAMES))
    first = as_image_array(of_frames(kind, FRAMES[:1]))
    with pytest.warns(FramesWarning, match="several has several frames or pages; only the first is taken") as said:
        found = as_image_array(path)
    assert said[0].filename == __file__
    assert np.abs(found.astype(int) - first).mean() < 4 < np.abs(np.roll(first, 9, axis=0).astype(int) - first).mean()
    with pytest.warns(FramesWarning, match="The picture has several"):
        as_image_array(path.read_bytes())
    with Image.open(path) as opened:
        opened.load()
        opened.paste(248, (0, 0, *opened.size))
        drawn = np.asarray(opened.convert("RGB"))
        assert np.array_equal(as_image_array(opened), drawn), "what somebody has drawn on it"
        opened.seek(1)
        assert as_image_array(opened).shape == GRADIENT.shape, "a frame that somebody has chosen"
    with pytest.warns(FramesWarning, match="several has several"):
        with_metadata(GRADIENT, path.read_bytes(), path)


def test_a_preview_or_a_layer_is_no_frame() -> None:
    assert as_image_array(of_frames("MPO", FRAMES)).shape == GRADIENT.shape


def test_of_an_animation_cut_short_the_first_frame_is_there(tmp_path) -> None:
    data = of_frames("GIF", FRAMES)
    assert as_image_array(data[: len(data) * 2 // 5]).shape == GRADIENT.shape
    (tmp_path / "closed.gif").write_bytes(data)
    with Image.open(tmp_path / "closed.gif") as opened:
        opened.load()
    assert as_image_array(opened).shape == GRADIENT.shape


def test_files_of_floats_and_of_16_bits_are_refused() -> None:
    for kind, dtype in (("TIFF", np.float32), ("TIFF", np.uint16), ("PNG", np.uint16)):
        stream = io.BytesIO()
        Image.fromarray(np.zeros((8, 8), dtype)).save(stream, kind)
        with pytest.raises(InvalidInputError, match="8 bits"):
            as_image_array(stream.getvalue())


def test_whatever_a_decoder_raises_is_told_as_ours(monkeypatch) -> None:
    """libavif's binding raises RuntimeError of some damaged files."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")

    def fail(*_: object) -> None:
        raise RuntimeError("missing or empty image item")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail)
    with pytest.raises(DecodeError, match="missing or empty"):
        as_image_array(stream.getvalue())


def png_of_16_bits() -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = b"".join(b"\0" + bytes(range(2 * 3 * 4)) for _ in range(4))
    header = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_sixteen_bits_are_not_cut_to_eight_in_silence() -> None:
    with pytest.raises(InvalidInputError, match="8 bits"):
        as_image_array(png_of_16_bits())
    with Image.open(io.BytesIO(png_of_16_bits())) as opened, pytest.raises(InvalidInputError, match="8 bits"):
        as_image_array(opened)


def test_more_than_8_bits_are_refused_in_any_format() -> None:
    sgi = io.BytesIO()
    Image.fromarray(GRADIENT).save(sgi, "SGI")
    deep = bytearray(sgi.getvalue())
    deep[3] = 2
    stream = io.BytesIO()
    pillow_heif.from_bytes("RGB;16", (64, 64), np.zeros((64, 64, 3), np.uint16).tobytes()).save(stream)
    plain = b"P3\n2 2\n65535\n" + b"51400 " * 12
    for data in (
        b"P6\n4 4\n65535\n" + bytes(96),
        b"P6\n4 4\n1000\n" + bytes(96),
        plain,
        stream.getvalue(),
        bytes(deep) * 2,
    ):
        with pytest.raises(InvalidInputError, match="8 bits"):
            as_image_array(data)
    with Image.open(stream) as opened:
        assert as_image_array(opened.convert("RGB")).shape == (64, 64, 3)
    assert as_image_array(b"P6\n4 4\n255\n" + bytes(48)).shape == (4, 4, 3)


@pytest.mark.parametrize("container", [True, False])
def test_a_jpeg_2000_of_16_bits_is_refused(container) -> None:
    stream = io.BytesIO()
    Image.fromarray(GRADIENT).save(stream, "JPEG2000", no_jp2=not container)
    data = bytearray(stream.getvalue())
    assert as_image_array(bytes(data)).shape == GRADIENT.shape
    data[data.index(b"\xff\x4f\xff\x51") + 42 + 3] = 15
    with pytest.raises(InvalidInputError, match="8 bits"):
        as_image_array(bytes(data))


def test_an_avif_of_10_bits_is_refused() -> None:
    stream = io.BytesIO()
    Image.fromarray(GRADIENT).save(stream, "AVIF")
    data = bytearray(stream.getvalue())
    assert as_image_array(bytes(data)).shape == GRADIENT.shape
    # That it is one stands in the configuration, and in the stream, which Pillow goes by.
    data[data.index(b"av1C") + 6] |= 0x40
    with pytest.raises((InvalidInputError, DecodeError)):
        as_image_array(bytes(data))


def test_what_cannot_be_written_is_said_by_its_own_name(tmp_path):
    with pytest.raises(SaveError) as caught:
        write_atomically(tmp_path / "missing" / "a.jpg", b"data")
    assert str(caught.value) == f"Cannot write {tmp_path / 'missing' / 'a.jpg'}: No such file or directory."


@pytest.mark.parametrize("limit", ["abc", "0", "-1", "1.5"])
def test_a_limit_of_threads_that_is_none_is_refused(monkeypatch, limit):
    monkeypatch.setenv(LIMIT, limit)
    with pytest.raises(InvalidInputError, match="a number of threads, 1 or more; got"):
        allowed()


def test_a_limit_of_threads_limits(monkeypatch):
    monkeypatch.setenv(LIMIT, " 3 ")
    assert allowed() == 3
    monkeypatch.setenv(LIMIT, "")
    assert allowed() == processors()
