"""Files are written whole or not at all, under a name that says what they are."""

from __future__ import annotations

import os

import pytest

from accelir import Codec
from accelir.errors import DecodeError, InvalidInputError, SaveError
from accelir.files import MEDIA_TYPES, read_bytes, require_ending, write_atomically
from accelir.registry import codec, codecs


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch) -> None:
    target = tmp_path / "file"
    write_atomically(target, b"first")
    plain = tmp_path / "plain"
    plain.touch()
    assert target.stat().st_mode == plain.stat().st_mode
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("no room")))
    with pytest.raises(OSError, match="no room"):
        write_atomically(target, b"second")
    assert target.read_bytes() == b"first"
    assert {path.name for path in tmp_path.iterdir()} == {"file", "plain"}


def test_what_is_no_folder_or_no_path_is_a_save_error(tmp_path) -> None:
    with pytest.raises(SaveError, match="nowhere"):
        write_atomically(tmp_path / "nowhere" / "file", b"x")
    with pytest.raises(SaveError):
        write_atomically("a\0b", b"x")
    with pytest.raises(DecodeError):
        read_bytes("a\0b")


def test_names_may_be_as_long_as_the_file_system_takes(tmp_path) -> None:
    path = tmp_path / ("n" * 250 + ".jpg")
    assert write_atomically(path, b"x").read_bytes() == b"x"


@pytest.mark.skipif(os.name != "posix", reason="links and pipes")
def test_links_are_followed_and_devices_written_to(tmp_path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real").read_bytes() == b"new"
    write_atomically(os.devnull, b"gone")
    assert not os.path.isfile(os.devnull)


def test_names_end_as_their_format_does_or_as_nobody_knows():
    for name in codecs():
        one: Codec = codec(name)
        for ending in one.extensions:
            require_ending(f"a{ending.upper()}", one.media_type)
    for name, kind in (("a.heif", "image/heif"), ("a", "image/jpeg"), ("a.post", "image/jpeg"), ("a.jpg", "x/y")):
        require_ending(name, kind)
    for name in ("a.webp", "a.bmp", "a.GIF"):
        with pytest.raises(InvalidInputError, match=r"image/jpeg.*\.jpg"):
            require_ending(name, "image/jpeg")
    assert all(endings for endings in MEDIA_TYPES.values())
