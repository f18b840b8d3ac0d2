"""How Pillow is to save a restored picture: all that is known of it, and hardly any loss."""

from __future__ import annotations

from typing import Any

__all__ = ["as_saved"]

FINEST: dict[str, dict[str, Any]] = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 95, "subsampling": "4:4:4"},
    "HEIF": {"quality": 95, "chroma": 444},
}
"""How Pillow saves what was restored, where its defaults would spoil it."""


def as_saved(kind: str, info: dict[Any, Any]) -> dict[str, Any]:
    """What Pillow saves a restored picture with: all that is known of it, and hardly any loss."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    wanted = {str(key): content for key, content in info.items()} | FINEST.get(kind, {})
    xmp = wanted.pop("xmp", None) if kind in ("PNG", "TIFF") else None
    if xmp and kind == "PNG":
        wanted["pnginfo"] = PngInfo()
        wanted["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp.decode("utf-8", "replace"))
    if xmp and kind == "TIFF":
        exif = Image.Exif()
        exif.load(wanted.get("exif", b""))
        exif[700] = xmp
        wanted["exif"] = exif
    return wanted
