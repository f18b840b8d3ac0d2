"""Images in: a path, bytes, a PIL image or an array, always seen as one uint8 array; and the grid of blocks on it."""

from __future__ import annotations

import inspect
import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from accelir.errors import DecodeError, InvalidInputError
from accelir.files import read_bytes
from accelir.metadata import Metadata, upright

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = [
    "FramesWarning",
    "ImageArray",
    "ImageLike",
    "as_image_array",
    "block_grid",
    "decode_by_pillow",
    "in_colour",
    "matches",
    "pixels_of",
    "read_image",
    "require_image",
    "with_metadata",
]

ImageArray: TypeAlias = npt.NDArray[np.uint8]
ImageLike: TypeAlias = "str | Path | bytes | Image | npt.NDArray[Any]"

HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
"""Major brands of the files that pillow-heif opens and Pillow alone does not (AVIF is Pillow's own)."""

_OF_ONE_PICTURE = {"MPO", "PSD"}
"""Pillow's names of formats whose other frames are previews, depths or layers of the first."""

# Bytes of a file that tell its format.
_BEGINNING = 64


class FramesWarning(UserWarning):
    """A picture has several frames or pages, and only the first is taken."""


def as_image_array(source: ImageLike) -> ImageArray:
    """The pixels that `read_image` reads."""
    return read_image(source)[0]


def one_of_many(source: ImageLike) -> ImageArray:
    """As `as_image_array` has it; an error says which picture is meant.

    Raises:
        InvalidInputError, DecodeError: As there.
    """
    try:
        return as_image_array(source)
    except (InvalidInputError, DecodeError) as error:
        if not isinstance(source, str | Path) or str(source) in str(error):
            raise
        raise type(error)(f"{source}: {error}") from error


def read_image(source: ImageLike) -> tuple[ImageArray, Metadata]:
    """Any accepted image as an array, and what it says beside its pixels.

    Paths, bytes and PIL images keep gray ("L", "1") as gray and everything else that is opaque becomes RGB; the EXIF
    orientation is applied. Pixels keep their colour space: an RGB profile stays true of them. CMYK becomes RGB as
    Pillow converts it, without its profile. Of a file of several frames or pages the first is taken, with a
    `FramesWarning`; of a PIL image the one that it is at.

    Args:
        source: A path, the bytes of a file, a PIL image, or uint8 (H, W, 3) or (H, W).

    Returns:
        uint8 (H, W, 3) or (H, W), C-contiguous; and the metadata, empty for an array.

    Raises:
        InvalidInputError: The array has another shape or dtype, or the picture has transparency or more than 8 bits a
            sample; says how to make 8 of them.
        DecodeError: The bytes are not a picture that Pillow, or pillow-heif for HEIC, opens.
    """
    if isinstance(source, np.ndarray):
        return require_image(source), Metadata()
    from PIL import Image, UnidentifiedImageError

    unreadable = _unreadable()
    if isinstance(source, str | Path | bytes):
        data = read_bytes(source)
        hint = _prepare_heif(data)
        try:
            picture: Image.Image = Image.open(io.BytesIO(data))
            deep = _is_deep(picture) or _is_deep_avif(data) or _is_deep_jpeg2000(data)
            picture.load()
            # Not of a PIL image, whose frames cannot be counted without losing what was drawn on it.
            _warn_of_frames(picture, source)
        except unreadable as error:
            why = "of no known format" if isinstance(error, UnidentifiedImageError) else error
            raise DecodeError(f"Not a picture that can be read: {_describe(source)} ({why}).{hint}") from error
    elif isinstance(source, Image.Image):
        picture = source
        try:
            deep = _is_deep(picture)
            picture.load()
        except unreadable as error:
            raise DecodeError(f"A PIL image whose file cannot be read to its end ({error}).") from error
    else:
        raise InvalidInputError(
            f"An image is a path, bytes, a PIL image or a uint8 array; got {type(source).__name__}."
        )
    picture = upright(picture)
    if picture.mode.startswith(("I", "F")):
        raise InvalidInputError(
            f"Pictures of mode {picture.mode!r} have more than 8 bits a sample, and only 8 are supported. Pillow's "
            "convert() clips them; hand over the array, numpy.asarray(picture), divided by 257 for 16 bits, multiplied "
            "by 255 for values of 0 to 1, rounded, as uint8."
        )
    if deep:
        raise InvalidInputError(
            "The picture has more than 8 bits a sample, and only 8 are supported. Hand over those that Pillow makes of "
            f"it, Image.open(...).convert({picture.mode!r}); or an array of all its bits, divided by 257 for 16 bits, "
            "rounded, as uint8."
        )
    pixels = pixels_of(picture)
    return pixels, Metadata.of(picture, colour=pixels.ndim == 3)


def pixels_of(picture: Image) -> ImageArray:
    """Gray stays gray, and everything else that is opaque becomes RGB.

    Raises:
        InvalidInputError: The picture has transparency, or is of a kind that Pillow does not convert well.
    """
    if picture.mode == "La":
        picture = picture.convert("LA")
    if picture.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        with_alpha = picture.convert("RGBA")
        if with_alpha.getchannel("A").getextrema() != (255, 255):
            raise InvalidInputError("The picture has transparency; composite it onto a background first.")
        if picture.mode == "P":
            # Pillow warns of a palette with transparency that becomes RGB at once.
            picture = with_alpha
    if picture.mode not in {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"}:
        raise InvalidInputError(f"Pictures of mode {picture.mode!r} are not supported; convert to RGB.")
    return np.array(picture.convert("L" if picture.mode in {"L", "LA", "1"} else "RGB"))


def decode_by_pillow(data: bytes, kind: str) -> ImageArray:
    """The pixels of a file as Pillow reads them: gray stays gray, and all else that is opaque becomes RGB.

    Args:
        data: The file.
        kind: Pillow's name of its format.

    Raises:
        DecodeError: The bytes are not a file of this format, or it is damaged or truncated.
        InvalidInputError: The picture has transparency.
    """
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=[kind]) as picture:
            picture.load()
    except _unreadable() as error:
        raise DecodeError(f"Not a file of {kind} that can be read ({len(data)} bytes): {error}.") from error
    return pixels_of(picture)


def size_of(path: str | Path) -> tuple[int, int]:
    """(width, height) of a picture as it is stored, hardly more than its header read.

    Raises:
        DecodeError: It is not a picture that Pillow, or pillow-heif for HEIC, opens.
    """
    from PIL import Image

    hint = ""
    try:
        with open(path, "rb") as stream:
            hint = _prepare_heif(stream.read(_BEGINNING))
        with Image.open(path) as opened:
            return opened.size
    except _unreadable() as error:
        raise DecodeError(f"Not a picture that can be read: {path} ({error}).{hint}") from error


def _unreadable() -> tuple[type[Exception], ...]:
    """What Pillow and its plugins raise of what is damaged, or no picture."""
    from PIL import Image

    return (OSError, EOFError, SyntaxError, ValueError, LookupError, RuntimeError, Image.DecompressionBombError)


def with_metadata(pixels: ImageArray, data: bytes, source: ImageLike) -> Image:
    """Decoded pixels as a PIL image, with what Pillow finds beside the pixels in their file, orientation included.

    Where the file holds several pictures, a `FramesWarning` says that these are the first one's.

    Args:
        pixels: uint8 (H, W, 3) or (H, W).
        data: The file.
        source: Where it came from.
    """
    from PIL import Image

    picture = Image.fromarray(pixels)
    _prepare_heif(data)
    try:
        with Image.open(io.BytesIO(data)) as opened:
            picture.info.update({key: opened.info[key] for key in Metadata.KEYS if key in opened.info})
            _warn_of_frames(opened, source)
    except _unreadable():
        # A format that Pillow does not know: only its codec reads it.
        pass
    return picture


def require_image(array: npt.NDArray[Any]) -> ImageArray:
    """``array`` itself, C-contiguous, when it is an image.

    Raises:
        InvalidInputError: It is not uint8 (H, W, 3) or (H, W) with at least one pixel; says how to make it so.
    """
    shape_fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 3)
    if array.dtype != np.uint8 or not shape_fits or 0 in array.shape:
        raise InvalidInputError(
            f"An image array is uint8 (H, W, 3) or (H, W) with at least one pixel; got {array.dtype} {array.shape}."
            f"{_advice(array)}"
        )
    return np.ascontiguousarray(array)


def _advice(array: npt.NDArray[Any]) -> str:
    """How to make an image of an array that is none, where that can be told."""
    advice = ""
    if array.ndim == 3 and array.shape[2] == 1:
        advice += " Gray has no axis of channels: use image[:, :, 0]."
    if array.ndim == 3 and array.shape[2] == 4:
        advice += (
            " A fourth channel is taken for alpha: composite it onto a background, or where it is opaque use "
            "image[:, :, :3]."
        )
    if array.dtype.kind == "f":
        advice += " Values of 0 to 1 are multiplied by 255 and rounded: np.rint(255 * image).astype(np.uint8)."
    if array.dtype == np.uint16:
        advice += " Values of 16 bits are divided by 257 and rounded: np.rint(image / 257).astype(np.uint8)."
    return advice


def in_colour(image: ImageArray) -> ImageArray:
    """An image of three channels, those of a gray one alike: uint8 (H, W, 3), the same array where it is one."""
    return image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2)


def matches(signature: bytes, data: bytes) -> bool:
    """Whether data starts with a signature, in which ``?`` (0x3F) stands for any byte."""
    return len(data) >= len(signature) and all(
        want in (have, 0x3F) for want, have in zip(signature, data, strict=False)
    )


def block_grid(image: ImageArray, block: int) -> tuple[int, int]:
    """(rows, columns) of the blocks of side ``block`` that cover an image."""
    height, width = image.shape[:2]
    return -(-height // block), -(-width // block)


def outside() -> int:
    """The stacklevel of whoever called into this package, for a warning of the function that asks."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "accelir":
        level, frame = level + 1, frame.f_back
    return level - 1


def _warn_of_frames(picture: Image, source: ImageLike) -> None:
    """Say that only the first frame is taken, where there are more and nobody has moved to another."""
    try:
        several = getattr(picture, "is_animated", False) and picture.tell() == 0
    except _unreadable():
        # What is damaged lies behind the first.
        return
    if several and picture.format not in _OF_ONE_PICTURE:
        name = source if isinstance(source, str | Path) else "The picture"
        text = f"{name} has several frames or pages; only the first is taken."
        warnings.warn(text, FramesWarning, stacklevel=outside())


def _is_deep(picture: Image) -> bool:
    """Whether the file of a picture not yet loaded has more than 8 bits a sample, which Pillow would cut to 8."""
    tiles = getattr(picture, "tile", None)
    if tiles is None:
        # Of no file: what it is, it has been converted to.
        return False
    if picture.info.get("bit_depth", 8) > 8:
        return True
    for decoder, _, _, rest in tiles:
        largest = rest[1] if decoder in ("ppm", "ppm_plain") and isinstance(rest, tuple) else 255
        if ";16" in str(rest) or decoder == "SGI16" or largest > 255:
            return True
    return False


def _is_deep_avif(data: bytes) -> bool:
    """Whether a file is AVIF of more than 8 bits a sample: its decoder in Pillow does not say."""
    if data[4:8] != b"ftyp" or data[8:12] not in (b"avif", b"avis", b"mif1"):
        return False
    configuration = data.find(b"av1C", 0, len(data) - 8)
    # Behind version, profile and level, a bit for the tier and one for a high depth.
    return configuration > 0 and bool(data[configuration + 6] & 0x40)


def _is_deep_jpeg2000(data: bytes) -> bool:
    """Whether a file is JPEG 2000 of more than 8 bits a sample in any component: Pillow cuts those of colour to 8."""
    start = data.find(b"\xff\x4f\xff\x51") if data[4:8] == b"jP  " or data[:4] == b"\xff\x4f\xff\x51" else -1
    if start < 0:
        return False
    # Behind length, capabilities and eight numbers of 32 bits: how many components, and three bytes for each.
    count = int.from_bytes(data[start + 40 : start + 42], "big")
    return any((depth & 127) + 1 > 8 for depth in data[start + 42 : start + 42 + 3 * count : 3])


def _prepare_heif(data: bytes) -> str:
    """Teach Pillow HEIC when this is one; what to install where that is not possible."""
    if data[4:8] != b"ftyp" or data[8:12] not in HEIF_BRANDS:
        return ""
    return "" if pillow_knows_heic() else " HEIC needs the extra: pip install 'accelir[heif]'."


def pillow_knows_heic() -> bool:
    """Teach Pillow HEIC, where that is possible."""
    try:
        import pillow_heif
    except ImportError:
        return False
    pillow_heif.register_heif_opener()
    return True


def _describe(source: str | Path | bytes) -> str:
    return f"{len(source)} bytes" if isinstance(source, bytes) else str(source)
