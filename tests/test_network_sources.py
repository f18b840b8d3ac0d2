"""Networks named by a file or by a factory."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import accelir
from accelir import Deblur, Denoise, NetworkFileSpec, NetworkSpec, SuperResolution, TorchNetwork, hookimpl
from accelir.pictures import picture
from accelir.training import load_weights
from accelir.weights import WeightsRecord, pack_weights, read_record

MODULE = """
import torch
from torch import nn
import accelir

class Gain(nn.Module):
    def __init__(self, gain=1.0):
        super().__init__()
        self.gain = nn.Parameter(torch.full((1,), float(gain)))

    def forward(self, x):
        return self.gain * x

def network():
    return accelir.TorchNetwork(Gain(0.5), accelir.Deblur(), "halves")

def nothing():
    return 5

def fails():
    raise OSError("no luck today")
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "gains_for_tests.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield "gains_for_tests"
    sys.modules.pop("gains_for_tests", None)


def halved(network: accelir.IRNetwork) -> bool:
    image = picture(8, 9)
    return np.array_equal(network.restore(image, dtype=torch.float32), np.rint(image / 2).astype(np.uint8))


def test_a_factory_makes_a_network(module: str) -> None:
    network = accelir.network(f"{module}:Gain", task="denoise-s25")
    assert (network.name, network.task) == ("gain", Denoise(25))
    assert accelir.network(f"{module}:network").task == Deblur()
    assert halved(accelir.network(f"{module}:network"))
    restored = accelir.restore(picture(8, 8), network=f"{module}:network")
    assert restored.shape == (8, 8, 3)


@pytest.mark.parametrize(
    ("factory", "error", "words"),
    [
        ("gains_for_tests:Gain", accelir.InvalidInputError, "name the task"),
        ("gains_for_tests:nothing", accelir.InvalidInputError, "made a int"),
        ("gains_for_tests:fails", accelir.InvalidInputError, "no luck today"),
        ("accelir_plugins.edsr:EDSR", accelir.InvalidInputError, "'width'.*--argument NAME=VALUE.*a function of yours"),
        ("gains_for_tests:Absent", accelir.UnknownNameError, "Absent"),
        ("no_such_module_anywhere:Absent", accelir.UnknownNameError, "no_such_module_anywhere"),
        ("gains_for_tests:Gain@none.safetensors", accelir.InvalidInputError, "no weights none"),
    ],
)
def test_a_factory_that_makes_none_is_told(module: str, factory: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        accelir.network(factory)


def weights(path: Path, tensors: dict[str, torch.Tensor], **record: object) -> Path:
    path.write_bytes(pack_weights(tensors, WeightsRecord.model_validate({"task": "denoise-s15", **record})))
    return path


def test_a_factory_takes_weights_and_their_file_says_the_task(module: str, tmp_path: Path) -> None:
    file = weights(tmp_path / "half.safetensors", {"gain": torch.full((1,), 0.5)}, network=f"{module}:Gain")
    network = accelir.network(f"{module}:Gain@{file}")
    assert (network.name, network.family, network.task) == ("half", "half", Denoise(15))
    assert halved(network)
    assert accelir.network(f"{module}:Gain@{file}", task="deblur").task == Deblur()


def test_a_file_runs_no_code_that_only_it_names(module: str, tmp_path: Path) -> None:
    file = weights(tmp_path / "half.safetensors", {"gain": torch.ones(1)}, network=f"{module}:fails")
    with pytest.raises(accelir.InvalidInputError, match=f"{module}:fails@"):
        accelir.network(file)
    assert module not in sys.modules


def test_weights_of_an_installed_network_are_a_network(tmp_path: Path) -> None:
    original = accelir.network("edsr-x4-f8")
    tensors = {key: 0.5 * value for key, value in original.modules[0].state_dict().items()}
    file = weights(
        tmp_path / "mine.safetensors", tensors, network="edsr-x4-f8", task="sr-x4", provenance={"licence": "mine"}
    )
    network = accelir.network(str(file))
    assert (network.name, network.family, network.width) == ("mine", "edsr-x4", 8)
    assert network.receptive_field == original.receptive_field
    assert network.provenance == {"licence": "mine"}
    assert network.fingerprint() != original.fingerprint()
    with pytest.raises(accelir.InvalidInputError, match="sr-x2"):
        accelir.network("edsr-x4-f8", task="sr-x2")


def test_weights_that_fit_nothing_installed_are_told(tmp_path: Path) -> None:
    tensors = {"gain": torch.ones(1)}
    with pytest.raises(accelir.InvalidInputError, match="'gone', which is not installed"):
        accelir.network(weights(tmp_path / "a.safetensors", tensors, network="gone"))
    with pytest.raises(accelir.InvalidInputError, match="load_weights"):
        accelir.network(weights(tmp_path / "b.safetensors", tensors))
    with pytest.raises(accelir.InvalidInputError, match="not for a EDSR"):
        accelir.network(weights(tmp_path / "c.safetensors", tensors, network="edsr-x4-f8"))
    (tmp_path / "d.safetensors").write_bytes(b"words")
    with pytest.raises(accelir.DecodeError, match=r"d\.safetensors"):
        accelir.network(tmp_path / "d.safetensors")


def test_weights_are_loaded_whole_or_not_at_all(tmp_path: Path) -> None:
    module = nn.Conv2d(1, 2, 1)
    kept = module.weight.clone()
    wrong = {"weight": torch.zeros(2, 1, 1, 1), "bias": torch.zeros(3)}
    with pytest.raises(accelir.InvalidInputError, match="'bias' is"):
        load_weights(module, weights(tmp_path / "wrong.safetensors", wrong))
    assert torch.equal(module.weight, kept)
    right = {"weight": torch.full((2, 1, 1, 1), 3.0).half(), "bias": torch.zeros(2)}
    load_weights(module, weights(tmp_path / "right.safetensors", right, provenance={"licence": "mine"}))
    assert module.weight.dtype is torch.float32 and module.weight[0, 0, 0, 0].item() == 3
    assert TorchNetwork(module, Denoise(25)).provenance == {"licence": "mine"}


def test_weights_in_half_precision_take_half(tmp_path: Path) -> None:
    tensors, record = {"a": torch.rand(1000)}, WeightsRecord(task="deblur")
    whole, half = pack_weights(tensors, record), pack_weights(tensors, record, half=True)
    assert len(whole) - len(half) == 2000
    (tmp_path / "half.safetensors").write_bytes(half)
    assert read_record(tmp_path / "half.safetensors") == record


def test_a_plugin_reads_files_of_its_own(tmp_path: Path) -> None:
    class Plugin:
        @hookimpl
        def accelir_network_files(self) -> list[NetworkFileSpec]:
            return [
                NetworkFileSpec(
                    name="gains", factory=f"{__name__}:read_gain", summary="A gain as text", extensions=(".gain",)
                )
            ]

    (tmp_path / "Half.GAIN").write_text("0.5")
    with pytest.raises(accelir.UnknownNameError):
        accelir.network("half.gain")
    accelir.register(Plugin(), "gains")
    try:
        assert "gains" in accelir.network_files()
        network = accelir.network(tmp_path / "Half.GAIN", task="denoise-s25")
        assert (network.name, network.file_kind) == ("Half", "gains")
        assert halved(network)
        with pytest.raises(accelir.InvalidInputError, match="no network file"):
            accelir.network("none.gain")
    finally:
        accelir.unregister("gains")


def read_gain(path: Path, name: str, task: accelir.Task | None) -> accelir.IRNetwork:
    class Gain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(float(path.read_text())))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.gain * x

    return TorchNetwork(Gain(), task or Deblur(), name)


def test_an_ending_that_nothing_reads_is_told(tmp_path: Path) -> None:
    (tmp_path / "net.xyz").touch()
    with pytest.raises(accelir.UnknownNameError, match=r"\.onnx, \.pt, \.pth, \.safetensors"):
        accelir.network(tmp_path / "net.xyz")


def test_names_that_carry_their_parameters_are_tasks() -> None:
    assert accelir.task("sr-x3") == SuperResolution(3)
    assert accelir.task("denoise-s0to55").sigma == (0, 55)
    assert accelir.task("denoise-s12.5") == Denoise(12.5)
    for task in (Deblur((2, 9), 0.5), Denoise((5, 50)), SuperResolution(8), Deblur()):
        assert accelir.task(task.name) == task
    with pytest.raises(accelir.UnknownNameError):
        accelir.task("denoise")


def test_a_reader_that_is_not_there_is_told_with_the_file_and_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelir.hookspecs._is_installed", lambda module: module != "spandrel")
    (tmp_path / "foo.pth").touch()
    with pytest.raises(accelir.MissingDependencyError) as told:
        accelir.network(tmp_path / "foo.pth")
    assert str(told.value) == "Reading foo.pth needs spandrel: pip install 'accelir[spandrel]'"


def test_an_unknown_network_lists_the_families_by_their_widths() -> None:
    with pytest.raises(accelir.UnknownNameError) as told:
        accelir.network("edsr-x4-f12")
    listed, _, guess = str(told.value).partition(" Did you mean ")
    assert "edsr-x4-f{8,16,32,64}, " in listed and "edsr-x2-f{16,64}, " in listed
    assert "'edsr-x4-f16'" in guess
    assert len(listed.split(", ")) < len(accelir.networks()) / 2


def test_widths_are_set_apart_only_where_names_end_in_them() -> None:
    class Plugin:
        @hookimpl
        def accelir_networks(self) -> list[NetworkSpec]:
            return [
                NetworkSpec(name=name, factory=f"{__name__}:no", summary="None", family="f", width=width, task="deblur")
                for name, width in (("zz-small", 8), ("zz-large", 64), ("zz10", 0), ("zz9", 9), ("zz11", 11))
            ]

    accelir.register(Plugin(), "zz")
    try:
        with pytest.raises(accelir.UnknownNameError, match=r", zz\{9,11\}, zz-large, zz-small, zz10\."):
            accelir.network("none-of-them")
    finally:
        accelir.unregister("zz")
