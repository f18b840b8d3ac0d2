"""Images in: HEIC through pillow-heif, and what is said where that is not installed."""

from __future__ import annotations

import builtins
import io

import numpy as np
import pillow_heif
import pytest
from PIL import Image

from accelir.errors import DecodeError
from accelir.image import as_image_array

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
