"""Metadata: what a picture says beside its pixels, and what of it goes into a file."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Metadata", "MetadataWarning", "upright"]

_EXIF_PREFIX = b"Exif\0\0"

_ORIENTATION = 0x0112

_DIRECTORY, _WIDTH, _HEIGHT = 0x8769, 0xA002, 0xA003
"""The directory of EXIF proper, and what in it says the size of the picture."""

_DESCRIPTIVE = (270, 271, 272, 305, 306, 315, 33432)
"""Tags of a TIFF's first directory that are of the picture and not of how it is stored: title to copyright."""

_DIRECTORIES = (_DIRECTORY, 0x8825)
"""Directories of EXIF proper and of the place."""

_XMP_ORIENTATION = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|\s*>)\s*)[2-8](?=\s*[\"'<])")
_XMP_EXTENSION = re.compile(rb"\s+xmpNote:HasExtendedXMP\s*=\s*(?:\"[^\"]*\"|'[^']*')")


class MetadataWarning(UserWarning):
    """Something that a picture says beside its pixels is left out."""


@dataclass(frozen=True)
class Metadata:
    """What a picture says beside its pixels; false where that is nothing.

    Attributes:
        icc: The ICC colour profile of the pixels.
        exif: EXIF, from its TIFF header on. Its orientation is that of the pixels.
        xmp: The XMP packet. Its orientation is that of the pixels.
    """

    KEYS: ClassVar[tuple[str, ...]] = ("icc_profile", "exif", "xmp")
    """What Pillow calls them."""

    icc: bytes = b""
    exif: bytes = b""
    xmp: bytes = b""

    @classmethod
    def of(cls, picture: Image, *, colour: bool) -> Metadata:
        """Of a picture whose orientation is already that of its pixels.

        Args:
            picture: As `upright` returned it.
            colour: Whether its pixels are used as RGB rather than as gray: a profile of another colour space (CMYK, or
                gray for colour) does not describe them and is dropped, and so is any that CMYK pixels had.
        """
        icc = picture.info.get("icc_profile") or b""
        if picture.mode == "CMYK" or icc[16:20] != (b"RGB " if colour else b"GRAY"):
            icc = b""
        exif = picture.info.get("exif") or b""
        xmp = picture.info.get("xmp") or b""
        return cls(
            icc,
            exif.removeprefix(_EXIF_PREFIX).removeprefix(_EXIF_PREFIX),
            _alone(xmp.encode() if isinstance(xmp, str) else xmp),
        )

    def __bool__(self) -> bool:
        return bool(self.icc or self.exif or self.xmp)

    def of_size(self, height: int, width: int) -> Metadata:
        """The same for pixels that were enlarged, reduced or turned: where EXIF says another size, it says this one.

        A thumbnail is left out then.
        """
        from PIL import Image

        exif = Image.Exif()
        try:
            exif.load(self.exif)
            directory = exif.get_ifd(_DIRECTORY)
            if (directory.get(_WIDTH, width), directory.get(_HEIGHT, height)) == (width, height):
                return self
            directory[_WIDTH], directory[_HEIGHT] = width, height
            return replace(self, exif=exif.tobytes().removeprefix(_EXIF_PREFIX))
        # Pillow's reader and writer of EXIF raise whatever damaged bytes lead them to.
        except Exception:
            return self

    def info(self) -> dict[str, bytes]:
        """As Pillow keeps it in ``picture.info``, and takes it in ``picture.save(...)``."""
        contents = (self.icc, self.exif and _EXIF_PREFIX + self.exif, self.xmp)
        return {key: content for key, content in zip(self.KEYS, contents, strict=True) if content}


def upright(picture: Image) -> Image:
    """The picture turned as its EXIF says, and EXIF that says so no more.

    Damaged EXIF is left out with a `MetadataWarning`; its orientation counts as far as it can be read.
    """
    from PIL import Image, ImageOps, TiffImagePlugin

    try:
        # Some writers put the prefix there twice.
        stored = (picture.info.get("exif") or b"").removeprefix(_EXIF_PREFIX).removeprefix(_EXIF_PREFIX)
        if stored and not stored.startswith(tuple(TiffImagePlugin.PREFIXES)):
            raise ValueError("it does not begin as EXIF does")
        collected = b"" if stored else _collected(picture)
        turned = ImageOps.exif_transpose(picture)
        if collected:
            turned.info["exif"] = collected
        return turned
    # Pillow's reader and writer of EXIF raise whatever damaged bytes lead them to.
    except Exception as error:
        warnings.warn(f"The picture's EXIF is damaged and left out ({error}).", MetadataWarning, stacklevel=2)
    try:
        orientation = int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:
        orientation = 1
    turns = Image.Transpose
    turn = {
        2: turns.FLIP_LEFT_RIGHT, 3: turns.ROTATE_180, 4: turns.FLIP_TOP_BOTTOM, 5: turns.TRANSPOSE,
        6: turns.ROTATE_270, 7: turns.TRANSVERSE, 8: turns.ROTATE_90,
    }.get(orientation)  # fmt: skip
    turned = picture.copy() if turn is None else picture.transpose(turn)
    turned.info = {key: value for key, value in picture.info.items() if key not in ("exif", "Raw profile type exif")}
    turned.getexif().clear()
    return turned


def _collected(picture: Image) -> bytes:
    """EXIF that Pillow does not hold as one block: a TIFF's own tags, or a PNG's old kind of text."""
    from PIL import Image

    found, kept = picture.getexif(), Image.Exif()
    for tag in _DESCRIPTIVE:
        if tag in found:
            kept[tag] = found[tag]
    for tag in _DIRECTORIES:
        directory = found.get_ifd(tag)
        if directory:
            kept[tag] = directory
    return kept.tobytes() if len(kept) else b""


def _alone(xmp: bytes) -> bytes:
    """An XMP packet of upright pixels that names no second packet, which is not carried along."""
    alone = _XMP_EXTENSION.sub(b"", xmp)
    if alone != xmp:
        warnings.warn("The extended part of the picture's XMP is left out.", MetadataWarning, stacklevel=2)
    return _XMP_ORIENTATION.sub(rb"\g<1>1", alone)
