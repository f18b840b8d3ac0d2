"""The demo, on networks that need no weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from accelir import SuperResolution, TorchNetwork
from accelir.bench import demo
from accelir.bench.demo import Arm, Comparison, Photograph, finding, run_demo
from accelir.cli import app
from accelir.errors import UnknownNameError


class Upsampler(nn.Module):
    """Bicubic, with a convolution in front that costs something and changes nothing."""

    def __init__(self, width):
        super().__init__()
        self.widen = nn.Conv2d(3, width, 3, padding=1)
        self.narrow = nn.Conv2d(width, 3, 1)
        with torch.no_grad():
            for layer in (self.widen, self.narrow):
                layer.weight.zero_()
                layer.bias.zero_()
            for channel in range(3):
                self.widen.weight[channel, channel, 1, 1] = 1
                self.narrow.weight[channel, channel] = 1

    def forward(self, x):
        return nn.functional.interpolate(self.narrow(self.widen(x)), scale_factor=2, mode="bicubic")


@pytest.fixture
def pair(monkeypatch):
    heavy, light = (
        TorchNetwork(Upsampler(width), SuperResolution(2), f"up-f{width}", family="up", width=width, receptive_field=9)
        for width in (16, 4)
    )
    monkeypatch.setattr(demo, "_pair", lambda family: (heavy, light))
    monkeypatch.setattr(demo, "SHOWS", (("up", 75),))
    return heavy, light


@pytest.fixture
def photograph(tmp_path):
    rows, columns = np.mgrid[:161, :243]
    waves = 127 + 80 * np.sin(columns / 9) * np.cos(rows / 7) + np.random.default_rng(0).normal(0, 8, rows.shape)
    path = tmp_path / "photograph.png"
    Image.fromarray(np.stack([waves, waves[::-1], 255 - waves], axis=2).clip(0, 255).astype(np.uint8)).save(path)
    return path


def test_the_demo_measures_every_arm_and_draws_a_page(pair, photograph, tmp_path):
    told = []
    output = tmp_path / "page.png"
    shown = run_demo(output, image=photograph, progress=lambda *news: told.append(news))
    (comparison,) = shown.comparisons
    (measured,) = comparison.photographs
    assert [(arm.role, arm.file) for arm in measured.arms] == list(demo.ARMS)
    ordinary = measured.arm("heavy", "ordinary")
    assert measured.arm("light", "accelir").size <= ordinary.size
    assert measured.arm("light", "ordinary").size == ordinary.size
    assert measured.arm("heavy", "ordinary").flops > 2 * measured.arm("light", "ordinary").flops
    assert measured.reference.shape == (160, 242, 3)
    assert all(20 < arm.psnr < 60 and arm.restored.shape == (160, 242, 3) for arm in measured.arms)
    with Image.open(output) as page:
        assert page.format == "PNG"
        assert page.width > 1000
    assert told[-1][:2] == (1, 1)


def test_the_command_prints_a_table_and_the_finding(pair, photograph, tmp_path):
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, ["demo", "-o", str(tmp_path / "page.png"), "--image", str(photograph)])
    assert result.exit_code == 0, result.output
    for word in ("up-f16", "up-f4", "GFLOPs", "fewer FLOPs", "page.png"):
        assert word in result.stdout


def test_without_networks_the_demo_says_what_is_missing(monkeypatch, photograph, tmp_path):
    monkeypatch.setattr(demo, "SHOWS", (("no-such-family", 75),))
    with pytest.raises(UnknownNameError, match="no-such-family is left out"):
        run_demo(tmp_path / "page.png", image=photograph)
    assert not (tmp_path / "page.png").exists()


@pytest.mark.parametrize(
    ("ours", "words"),
    [
        (31.0, "beats big on the ordinary JPEG by 1.00 dB"),
        (30.02, "equals big on the ordinary JPEG (+0.02 dB)"),
        (29.0, "does not reach big on the ordinary JPEG (-1.00 dB)"),
    ],
)
def test_the_finding_follows_the_numbers(ours, words):
    arms = tuple(
        Arm(role, name, file, 100, psnr, flops, 0.1, None)
        for role, name, file, psnr, flops in [
            ("heavy", "big", "ordinary", 30.0, 100),
            ("light", "small", "ordinary", 29.5, 10),
            ("light", "small", "accelir", ours, 10),
        ]
    )
    sentence = finding(Comparison("t", 1, 75, "big", "small", (Photograph("p", None, None, None, None, arms),)))
    assert words in sentence
    assert "90 % fewer FLOPs" in sentence
    assert f"Over small on the ordinary JPEG that is {ours - 29.5:+.2f} dB." in sentence
    assert sentence.startswith("At no more bytes")
