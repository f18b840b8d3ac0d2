"""Programs of others that open our files, where they are installed; without one a test is skipped and says so."""

from __future__ import annotations

import base64
import io
import itertools
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

__all__ = ["LONGEST_WAIT", "by_browser", "by_pillow", "by_program", "module", "on_path"]

BROWSERS = ("chromium", "chromium-browser", "chromium-headless-shell", "google-chrome", "chrome")
LONGEST_WAIT = 120
"""Seconds."""


def module(name: str) -> ModuleType:
    """A module; without it the test is skipped."""
    return pytest.importorskip(name, reason=f"{name} is not installed", exc_type=ImportError)


def on_path(*names: str) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


def by_pillow(data: bytes) -> np.ndarray:
    """uint8 (H, W, 3)."""
    with Image.open(io.BytesIO(data)) as opened:
        return np.asarray(opened.convert("RGB"))


def by_program(name: str, data: bytes, ending: str, folder: Path) -> np.ndarray:
    """What a program makes of a file that is called with the names of that and of a PNG: uint8 (H, W, 3) or (H, W)."""
    path = on_path(name)
    if path is None:
        pytest.skip(f"no {name} on PATH")
    source, target = folder / f"in.{ending}", folder / "out.png"
    source.write_bytes(data)
    subprocess.run([path, str(source), str(target)], check=True, capture_output=True, timeout=LONGEST_WAIT)
    with Image.open(target) as opened:
        return np.array(opened)


def by_browser(data: list[bytes], media_type: str, folder: Path) -> list[np.ndarray]:
    """All files on one page of headless Chromium, one below the other, and a screenshot of it."""
    path = _browser()
    sizes = [by_pillow(one).shape[:2] for one in data]
    tops = [0, *itertools.accumulate(height for height, _ in sizes)]
    images = (
        f'<img style="position: absolute; left: 0; top: {top}px" src="data:{media_type};base64,{code.decode()}">'
        for top, code in zip(tops, map(base64.b64encode, data), strict=False)
    )
    page, shot = folder / "page.html", folder / "shot.png"
    page.write_text("<!doctype html>" + "".join(images))
    # As root there is no sandbox; the colours of a screen are no part of the file.
    options = ("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--force-color-profile=srgb")
    window = f"--window-size=800,{max(tops[-1], 400)}"
    command = (path, *options, f"--user-data-dir={folder / 'user'}", window, f"--screenshot={shot}")
    subprocess.run([*command, page.as_uri()], capture_output=True, timeout=LONGEST_WAIT, check=True)
    pixels = by_pillow(shot.read_bytes())
    return [pixels[top : top + height, :width] for top, (height, width) in zip(tops, sizes, strict=False)]


def _browser() -> str:
    """The path of a Chromium: on PATH, or where ``playwright install chromium`` put it."""
    if path := on_path(*BROWSERS):
        return path
    with module("playwright.sync_api").sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if Path(path).exists() else pytest.skip("no Chromium on PATH, and none installed by playwright")
