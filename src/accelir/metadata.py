"""Metadata: what a picture says beside its pixels, and what of it goes into a file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Metadata"]

_EXIF_PREFIX = b"Exif\0\0"


@dataclass(frozen=True)
class Metadata:
    """What a picture says beside its pixels; false where that is nothing.

    Attributes:
        icc: The ICC colour profile of the pixels.
        exif: EXIF, from its TIFF header on. Its orientation is that of the pixels.
        xmp: The XMP packet.
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
            picture: As Pillow opened it.
            colour: Whether its pixels are used as RGB rather than as gray: a profile of another colour space (CMYK, or
                gray for colour) does not describe them and is dropped.
        """
        icc = picture.info.get("icc_profile") or b""
        if icc[16:20] != (b"RGB " if colour else b"GRAY"):
            icc = b""
        exif = picture.info.get("exif") or b""
        xmp = picture.info.get("xmp") or b""
        return cls(icc, exif.removeprefix(_EXIF_PREFIX), xmp.encode() if isinstance(xmp, str) else xmp)

    def __bool__(self) -> bool:
        return bool(self.icc or self.exif or self.xmp)

    def info(self) -> dict[str, bytes]:
        """As Pillow keeps it in ``picture.info``, and takes it in ``picture.save(...)``."""
        contents = (self.icc, self.exif and _EXIF_PREFIX + self.exif, self.xmp)
        return {key: content for key, content in zip(self.KEYS, contents, strict=True) if content}
