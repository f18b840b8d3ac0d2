"""Checkpoints that spandrel knows run as networks, with their scale, sizes and channels."""

from __future__ import annotations

import copy
import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import accelir
from accelir import Denoise, SuperResolution
from accelir.pictures import picture
from accelir.testing import network_checks


def import_spandrel() -> Any:
    """Spandrel, also beside a torchvision that was built for a GPU, which does not find two operators on a CPU.

    spandrel uses neither of the two.
    """
    try:
        pytest.importorskip("torchvision", reason="the extra spandrel is not installed")
    except RuntimeError:
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return pytest.importorskip("spandrel", reason="the extra spandrel is not installed")


library = torch.library.Library("torchvision", "FRAGMENT")
spandrel = import_spandrel()


@pytest.fixture(scope="module")
def enlarging(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SPAN for super-resolution by two."""
    from spandrel.architectures.SPAN import SPAN

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("spandrel") / "small-span.pth"
    torch.save(SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2).eval().state_dict(), path)
    return path


@pytest.fixture(scope="module")
def gray(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small DnCNN for gray pictures."""
    from spandrel.architectures.DnCNN import DnCNN

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("spandrel") / "gray.pth"
    torch.save(DnCNN(in_nc=1, out_nc=1, nc=8, nb=9, act_mode="R").state_dict(), path)
    return path


@pytest.mark.parametrize(("name", "check"), network_checks())
def test_a_checkpoint_keeps_the_contract(enlarging: Path, name: str, check: Any) -> None:
    from unittest import SkipTest

    try:
        check(accelir.network(enlarging))
    except SkipTest as reason:
        pytest.skip(str(reason))


def test_it_restores_what_spandrel_restores(enlarging: Path) -> None:
    network = accelir.network(str(enlarging))
    assert (network.name, network.task) == ("small-span", SuperResolution(2))
    image = picture(24, 33)
    batch = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
    wanted = spandrel.ModelLoader().load_from_file(enlarging)(batch)[0].permute(1, 2, 0).numpy() * 255
    assert np.abs(network.restore(image, dtype=torch.float32) - wanted).max() <= 0.52


def test_gray_models_restore_each_channel(gray: Path) -> None:
    with pytest.raises(accelir.InvalidInputError, match="name the task"):
        accelir.network(gray)
    network = accelir.network(gray, task="denoise-s25")
    image = picture(20, 28)
    restored = network.restore(image, dtype=torch.float32)
    for channel in range(3):
        alone = network.restore(np.ascontiguousarray(image[:, :, channel]), dtype=torch.float32)
        assert np.abs(restored[:, :, channel].astype(int) - alone).max() <= 1


class Picky(nn.Module):
    """Takes squares of a multiple of 8, of 16 or more; gives each pixel of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.seen: list[tuple[int, ...]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen.append(tuple(x.shape))
        height, width = x.shape[-2:]
        if height != width or height % 8 or height < 16:
            raise RuntimeError(f"{height}x{width}")
        return self.gain * x


def descriptor(module: nn.Module, **changes: Any) -> Any:
    facts: dict[str, Any] = {
        "architecture": spandrel.MAIN_REGISTRY["SPAN"].architecture,
        "purpose": "Restoration",
        "tags": [],
        "supports_half": False,
        "supports_bfloat16": True,
        "scale": 1,
        "input_channels": 3,
        "output_channels": 3,
        "size_requirements": spandrel.SizeRequirements(minimum=16, multiple_of=8, square=True),
        **changes,
    }
    return spandrel.ImageModelDescriptor(module, module.state_dict(), **facts)


def adapt(described: Any, task: accelir.Task | None = None) -> Any:
    from accelir_plugins.spandrel_adapter import SpandrelNetwork

    return SpandrelNetwork(described, task, "picky")


@pytest.mark.parametrize(("height", "width", "side"), [(1, 1, 16), (16, 24, 24), (33, 20, 40), (9, 40, 40)])
def test_sizes_are_padded_to_what_the_model_takes(height: int, width: int, side: int) -> None:
    network = adapt(descriptor(Picky()), Denoise(25))
    image = picture(height, width)
    assert np.array_equal(network.restore(image), image)
    assert network.module.seen == [(1, 3, side, side)]


def test_large_pictures_go_in_tiles_unless_the_model_makes_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["accelir.tiles"], "WHOLE_IMAGE", 100)
    monkeypatch.setattr(sys.modules["accelir.tiles"], "WHOLE_SIDE", 500)
    network = adapt(descriptor(Picky()), Denoise(25))
    image = picture(530, 700)
    assert np.array_equal(network.restore(image), image)
    assert len(network.module.seen) == 4 and network.multiple == 8
    whole = adapt(descriptor(Picky(), tiling=spandrel.ModelTiling.INTERNAL), Denoise(25))
    assert np.array_equal(whole.restore(image), image)
    assert whole.module.seen == [(1, 3, 704, 704)]


def test_a_model_without_bfloat16_runs_in_float32() -> None:
    class Kinds(Picky):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen.append((str(torch.nn.functional.conv2d(x, torch.ones(3, 3, 1, 1)).dtype),))
            return x

    image = picture(16, 16)
    for supported, dtype in ((True, "torch.bfloat16"), (False, "torch.float32")):
        network = adapt(descriptor(Kinds(), supports_bfloat16=supported), Denoise(25))
        network.restore(image, dtype=torch.bfloat16)
        assert network.module.seen == [(dtype,)]


def test_models_get_one_image_at_a_time_but_in_training() -> None:
    network = adapt(descriptor(Picky()), Denoise(25))
    network.forward(torch.rand(3, 3, 16, 16))
    network.module.train()
    network.forward(torch.rand(3, 3, 16, 16))
    assert network.module.seen == [(1, 3, 16, 16)] * 3 + [(3, 3, 16, 16)]
    other = adapt(descriptor(Picky(), call_fn=lambda model, image: model(image)), Denoise(25))
    other.module.train()
    other.forward(torch.rand(2, 3, 16, 16))
    assert other.module.seen == [(1, 3, 16, 16)] * 2


def test_purposes_that_are_not_ours_are_refused() -> None:
    module = Picky()
    inpainting = spandrel.MaskedImageModelDescriptor(
        module,
        module.state_dict(),
        architecture=spandrel.MAIN_REGISTRY["LaMa"].architecture,
        purpose="Inpainting",
        tags=[],
        supports_half=False,
        supports_bfloat16=True,
        input_channels=3,
        output_channels=3,
    )
    with pytest.raises(accelir.InvalidInputError, match="LaMa model, is for Inpainting"):
        adapt(inpainting)
    with pytest.raises(accelir.InvalidInputError, match="is for FaceSR"):
        adapt(descriptor(module, purpose="FaceSR", scale=2))
    with pytest.raises(accelir.InvalidInputError, match="makes 3 channels of 1"):
        adapt(descriptor(module, input_channels=1))
    with pytest.raises(accelir.InvalidInputError, match="enlarges by 1"):
        adapt(descriptor(module), SuperResolution(2))


def test_files_that_hold_no_model_are_told(tmp_path: Path) -> None:
    (tmp_path / "words.pth").write_text("no network")
    with pytest.raises(accelir.DecodeError, match=r"words\.pth"):
        accelir.network(tmp_path / "words.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "unknown.pth")
    with pytest.raises(accelir.InvalidInputError, match="no architecture"):
        accelir.network(tmp_path / "unknown.pth")
    with pytest.raises(accelir.InvalidInputError, match="There is no network file"):
        accelir.network(tmp_path / "none.pth")


def test_it_goes_to_other_processes_and_is_copied(enlarging: Path) -> None:
    network, image = accelir.network(enlarging), picture(16, 20)
    with torch.no_grad():
        next(network.modules[0].parameters()).mul_(1.5)
    wanted = network.restore(image)
    assert np.array_equal(pickle.loads(pickle.dumps(network)).restore(image), wanted)
    assert np.array_equal(copy.deepcopy(network).restore(image), wanted)


def test_it_is_fine_tuned_and_found_again(enlarging: Path, tmp_path: Path) -> None:
    from PIL import Image

    from accelir.training import Recipe, train_network

    for number in range(2):
        Image.fromarray(picture(96, 96, seed=number)).save(tmp_path / f"{number}.png")
    output = tmp_path / "tuned.safetensors"
    recipe = Recipe(steps=4, batch=2, patch=16)
    done = train_network(tmp_path, network=enlarging, output=output, recipe=recipe, pairs=4, workers=1)
    again = accelir.network(output)
    assert type(again).__name__ == "SpandrelNetwork" and again.task == SuperResolution(2)
    assert again.fingerprint() == done.network.fingerprint() != accelir.network(enlarging).fingerprint()
