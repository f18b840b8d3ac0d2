"""Files: which of them are pictures, read whole, and written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from accelir.errors import DecodeError, InvalidInputError, SaveError

__all__ = [
    "MEDIA_TYPES",
    "PICTURE_ENDINGS",
    "pictures_in",
    "read_bytes",
    "require_ending",
    "sources_and_targets",
    "write_atomically",
]

PICTURE_ENDINGS = {
    ".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".jp2", ".avif", ".heic", ".heif"
}  # fmt: skip
"""Of the files that are taken for pictures where a folder is searched through."""

MEDIA_TYPES = {
    "image/jpeg": (".jpg", ".jpeg"),
    "image/webp": (".webp",),
    "image/avif": (".avif",),
    "image/heic": (".heic", ".heif"),
    "image/heif": (".heif", ".heic"),
    "image/png": (".png",),
    "image/bmp": (".bmp",),
    "image/gif": (".gif",),
    "image/tiff": (".tif", ".tiff"),
    "image/jp2": (".jp2",),
    "image/jxl": (".jxl",),
    "image/x-portable-pixmap": (".ppm",),
}
"""How the names of files end, the usual way first."""


def pictures_in(folder: str | Path) -> list[Path]:
    """The files of a folder, searched through, whose ending is that of a picture, by path."""
    found = Path(folder).rglob("*")
    return sorted(path for path in found if path.suffix.lower() in PICTURE_ENDINGS and path.is_file())


def sources_and_targets(
    sources: str | Path | Sequence[str | Path], folder: Path, ending: str
) -> list[tuple[Path, Path]]:
    """Each picture and the file that is to be made of it.

    Args:
        sources: A folder, searched through, or the paths of pictures.
        folder: Where the files go, under the names of the pictures. Folders inside a folder are kept.
        ending: Of the files, with the dot.

    Raises:
        InvalidInputError: No picture, or two that would be written to one file, or a picture that would be.
    """
    if isinstance(sources, str | Path):
        top = Path(sources)
        if not top.is_dir():
            raise InvalidInputError(f"{top} is not a folder.")
        found = pictures_in(top)
        if top.resolve() in folder.resolve().parents:
            # Not what an earlier call has written.
            found = [path for path in found if folder.resolve() not in path.resolve().parents]
        names = [path.relative_to(top) for path in found]
    else:
        found = [Path(source) for source in sources]
        names = [Path(path.name) for path in found]
    if not found:
        raise InvalidInputError(f"No picture is there ({', '.join(sorted(PICTURE_ENDINGS))}).")
    pairs = [(path, folder / name.with_suffix(ending)) for path, name in zip(found, names, strict=True)]
    inputs = {path.resolve() for path in found}
    taken: dict[Path, Path] = {}
    for source, target in pairs:
        if target.resolve() in inputs:
            raise InvalidInputError(f"{target} is one of the pictures; name another folder.")
        if target in taken:
            raise InvalidInputError(f"{taken[target]} and {source} would both be written to {target}.")
        taken[target] = source
    return pairs


def read_bytes(source: str | Path | bytes) -> bytes:
    """The bytes of a file.

    Raises:
        DecodeError: The file cannot be read.
    """
    if isinstance(source, bytes):
        return source
    try:
        return Path(source).read_bytes()
    except (OSError, ValueError) as error:
        raise DecodeError(f"Cannot read {source}: {getattr(error, 'strerror', None) or error}.") from error


def require_ending(path: str | Path, media_type: str) -> None:
    """Make sure that a name does not end as files of another format do.

    What ending or type nobody knows here is left to its codec.

    Raises:
        InvalidInputError: It does; says how it should end.
    """
    ending = Path(path).suffix.lower()
    usual = MEDIA_TYPES.get(media_type, (ending,))
    if ending not in usual and any(ending in others for others in MEDIA_TYPES.values()):
        raise InvalidInputError(
            f"{path} ends as another format does; this file is {media_type}: let it end in {usual[0]}."
        )


def write_atomically(path: str | Path, data: bytes) -> Path:
    """Write a file whole or not at all: to a temporary one beside it, then renamed.

    A symbolic link is followed, and what is no regular file (a pipe, a device) is written to as it is.

    Raises:
        SaveError: It cannot be written.
    """
    target = Path(path)
    try:
        real = target.resolve()
        if real.exists() and not real.is_file() and not real.is_dir():
            real.write_bytes(data)
            return target
        # Without the name in it, which may be as long as names can be.
        temporary = real.with_name(f".accelir-{secrets.token_hex(6)}")
        # "x": a new file, with the permissions that any new file gets.
        with open(temporary, "xb") as stream:
            try:
                stream.write(data)
                stream.close()
                os.replace(temporary, real)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except (OSError, ValueError) as error:
        # The system's words alone: the name of the temporary file helps nobody.
        raise SaveError(f"Cannot write {target}: {getattr(error, 'strerror', None) or error}.") from error
    return target
