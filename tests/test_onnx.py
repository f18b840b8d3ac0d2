"""ONNX: files run as networks, whatever sizes they take, and ours are written with the same output."""

from __future__ import annotations

import json
import pickle
import re
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import accelir
from accelir import Denoise, SuperResolution, TorchNetwork
from accelir.cli import app
from accelir.pictures import picture
from accelir.testing import network_checks
from accelir_plugins._layers import half_of
from accelir_plugins.carn import CARN
from accelir_plugins.dncnn import DnCNN
from accelir_plugins.edsr import EDSR
from accelir_plugins.fsrcnn import FSRCNN
from accelir_plugins.mimounet import MIMOUNet
from accelir_plugins.nafnet import NAFNet
from accelir_plugins.restormer import Restormer
from accelir_plugins.span import SPAN
from accelir_plugins.swinir import SwinIR
from modules import Halving

onnx = pytest.importorskip("onnx", reason="the extra onnx is not installed")
pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
pytest.importorskip("onnxscript", reason="the extra onnx is not installed")

FIELD = 9


class Small(nn.Module):
    """Four convolutions, grouped and transposed ones among them, that halve and double again."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.middle = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.up = nn.ConvTranspose2d(8, 3, 2, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = nn.functional.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))
        change = self.up(torch.relu(self.middle(torch.relu(self.down(padded)))))
        return x + change[..., : x.shape[-2], : x.shape[-1]]


class Plain(nn.Module):
    """Enlarges by two, with a receptive field of five."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 6, 3, padding=1)
        self.tail = nn.Conv2d(6, 12, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.pixel_shuffle(self.tail(torch.relu(self.body(x))), 2)


@pytest.fixture(scope="module")
def plain() -> TorchNetwork:
    torch.manual_seed(0)
    return TorchNetwork(Plain(), SuperResolution(2), "plain", family="plains", width=6, receptive_field=5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx")


@pytest.fixture(scope="module")
def dynamic(folder: Path, plain: TorchNetwork) -> Path:
    return accelir.export_onnx(plain, folder / "plain-any.onnx").path


@pytest.fixture(scope="module")
def fixed(folder: Path, plain: TorchNetwork) -> Path:
    return accelir.export_onnx(plain, folder / "plain-fixed.onnx", size=(32, 48)).path


@pytest.mark.parametrize(("name", "check"), network_checks())
def test_an_onnx_file_of_any_size_keeps_the_contract(dynamic: Path, name: str, check) -> None:
    check_or_skip(check, accelir.network(dynamic))


@pytest.mark.parametrize(("name", "check"), network_checks())
def test_an_onnx_file_of_one_size_keeps_the_contract(fixed: Path, name: str, check) -> None:
    if name == "check_cost":
        pytest.skip("the cost of fixed windows grows in steps")
    check_or_skip(check, accelir.network(fixed))


def check_or_skip(check, network) -> None:
    from unittest import SkipTest

    try:
        check(network)
    except SkipTest as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("size", [(32, 48), (70, 90), (20, 100), (33, 48), (5, 7)])
def test_both_restore_what_the_module_restores(
    size: tuple[int, int], plain: TorchNetwork, dynamic: Path, fixed: Path
) -> None:
    image = picture(*size)
    wanted = plain.restore(image, dtype=torch.float32).astype(int)
    assert np.abs(accelir.network(dynamic).restore(image) - wanted).max() <= 1
    got = accelir.network(fixed).restore(image)
    seen = np.s_[:, :]
    if size[0] < 32 or size[1] < 48:
        # Where the picture is padded, the network sees a reflection instead of its own padding.
        seen = np.s_[: 2 * (size[0] - 2), : 2 * (size[1] - 2)]
    assert np.abs(got[seen] - wanted[seen]).max() <= 1


def test_the_file_says_what_it_is(dynamic: Path, fixed: Path, plain: TorchNetwork) -> None:
    model = onnx.load(dynamic)
    facts = json.loads({entry.key: entry.value for entry in model.metadata_props}["accelir"])
    assert facts["task"] == "sr-x2" and facts["scale"] == 2 and facts["receptive_field"] == 5
    assert facts["fingerprint"] == plain.fingerprint() and facts["opset"] == 18
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [18]
    network = accelir.network(str(dynamic))
    assert (network.name, network.family, network.width) == ("plain-any", "plains", 6)
    sides = [dim.dim_value for dim in onnx.load(fixed).graph.input[0].type.tensor_type.shape.dim]
    assert sides == [1, 3, 32, 48]


def test_the_cost_is_that_of_the_module(folder: Path, plain: TorchNetwork, dynamic: Path, fixed: Path) -> None:
    assert accelir.network(dynamic).cost(24, 40) == plain.cost(24, 40)
    assert accelir.network(fixed).cost(32, 48) == plain.cost(32, 48)
    small = TorchNetwork(Small(), Denoise(25), "small", receptive_field=FIELD, multiple=2)
    path = accelir.export_onnx(small, folder / "small.onnx").path
    assert accelir.network(path).cost(24, 40) == small.cost(24, 40)


def test_constants_are_no_parameters(folder: Path) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.unused = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 1)
            self.register_buffer("mask", torch.rand(1, 3, 8, 8))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x) * torch.nn.functional.interpolate(self.mask, x.shape[-2:])

    masked = TorchNetwork(Masked(), Denoise(25), "masked")
    path = accelir.export_onnx(masked, folder / "masked.onnx", size=(16, 16)).path
    assert accelir.network(path).cost(16, 16) == masked.cost(16, 16)
    # Nothing else is known of a file that does not say it.
    model = onnx.load(path)
    (entry,) = model.metadata_props
    entry.value = json.dumps({key: value for key, value in json.loads(entry.value).items() if key != "params"})
    onnx.save(model, folder / "older.onnx")
    assert accelir.network(folder / "older.onnx").cost(16, 16).params >= 84 + 3 * 8 * 8


def test_weights_that_are_made_of_others_are_made_for_the_file(folder: Path) -> None:
    class Halved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.last = nn.Conv2d(3, 128, 9, padding=4), nn.Conv2d(64, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.last(half_of(self.wide, x, 0) * half_of(self.wide, x, 1))

    path = accelir.export_onnx(TorchNetwork(Halved(), Denoise(25), "halved"), folder / "halved.onnx").path
    model = onnx.load(path)
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 3
    assert {node.input[1] for node in convolutions} <= {constant.name for constant in model.graph.initializer}


def test_what_takes_more_room_when_made_for_the_file_is_not(folder: Path) -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            at = torch.arange(x.shape[-1])
            return self.conv(x) * (at[:, None] > at) * torch.sin(at[:, None] * at / 9)

    # Larger than what torch folds of itself.
    path = accelir.export_onnx(TorchNetwork(Masked(), Denoise(25)), folder / "room.onnx", size=(600, 600)).path
    assert path.stat().st_size < 100_000


def test_windows_of_one_size_show_each_pixel_once(fixed: Path) -> None:
    """For coarse strides too, beside which a window has no room."""
    network = accelir.network(fixed)
    for multiple, side in ((1, 8), (4, 4), (4, 7), (8, 8), (16, 24), (16, 31), (16, 64)):
        network.multiple = multiple
        for length in (1, side, side + 1, 3 * side + 5):
            shown = []
            for window in network._windows(length, side):
                assert window.first <= window.start < window.stop <= window.last
                shown += range(window.start, window.stop)
            assert shown == list(range(length)), (multiple, side, length)


def test_devices_are_told_by_their_names(fixed: Path) -> None:
    network = accelir.network(fixed)
    assert network.to("cpu") is network
    for device in ("foo", "meta"):
        with pytest.raises(accelir.InvalidInputError, match=device):
            network.to(device)


def test_provenance_of_shipped_weights_goes_along(folder: Path) -> None:
    exported = accelir.export_onnx("edsr-x4-f8", folder / "edsr.onnx")
    assert exported.max_difference < 1e-5
    network = accelir.network(exported.path)
    assert network.fingerprint() == accelir.network("edsr-x4-f8").fingerprint()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        accelir.encode(picture(40, 40), network=network, budget=accelir.BitsPerPixel(2))
    assert network.provenance["licence"] == "Apache-2.0"
    assert network.family == "edsr-x4" and network.task == SuperResolution(4)


FAMILIES = {
    "carn": (lambda: CARN(8), "sr-x4", 1),
    "dncnn": (lambda: DnCNN(4, 3), "denoise-s25", 1),
    "edsr": (lambda: EDSR(4, blocks=1), "sr-x4", 1),
    "fsrcnn": (lambda: FSRCNN(16), "sr-x4", 1),
    "mimounet": (lambda: MIMOUNet(4, 1), "deblur", 4),
    "nafnet": (lambda: NAFNet(4, (1, 0, 0, 0), 1, (0, 0, 0, 1)), "deblur", 16),
    "restormer": (lambda: Restormer(8, (1, 0, 0, 1), 0), "denoise-s25", 32),
    "span": (lambda: SPAN(8).fused(), "sr-x4", 1),
    "swinir": (lambda: SwinIR(6), "sr-x4", 8),
    "a stranger's": (Halving, "denoise-s25", 2),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_restores_the_same_as_onnx(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("accelir_plugins.swinir.GROUPS", 1)
    monkeypatch.setattr("accelir_plugins.swinir.BLOCKS", 2)
    torch.manual_seed(0)
    build, task, multiple = FAMILIES[family]
    network = TorchNetwork(build(), task, "small", multiple=multiple)
    with torch.no_grad():
        for parameter in network.module.parameters():
            parameter += 0.05 * torch.randn(parameter.shape)
    exported = accelir.network(accelir.export_onnx(network, tmp_path / "small.onnx").path)
    image = picture(33, 41)
    wanted = network.restore(image, dtype=torch.float32).astype(int)
    assert wanted.std() > 5
    assert np.abs(exported.restore(image) - wanted).max() <= 1


def test_a_foreign_file_needs_a_task_and_may_be_gray(tmp_path: Path) -> None:
    path = tmp_path / "foreign.onnx"
    foreign(path, ["n", 1, "h", "w"])
    with pytest.raises(accelir.InvalidInputError, match="name the task"):
        accelir.network(path)
    network = accelir.network(path, task="denoise-s15")
    assert network.task == Denoise(15)
    image = picture(16, 20)
    assert np.array_equal(network.restore(image), image // 2 + (image % 4 == 3))
    assert network.fingerprint() != "0" * 16
    with pytest.raises(accelir.InvalidInputError, match="promises"):
        accelir.network(path, task="sr-x2").restore(image)


@pytest.mark.parametrize("task", ["deblur", "sr-x4"])
def test_the_task_of_an_exported_file_is_not_another(dynamic: Path, task: str) -> None:
    with pytest.raises(accelir.InvalidInputError, match=rf"is for task 'sr-x2', not for '{task}'"):
        accelir.network(dynamic, task=task)
    assert accelir.network(dynamic, task="sr-x2").task == SuperResolution(2)


@pytest.mark.parametrize("task", ["denoise-s25", "sr-x4"])
def test_an_output_of_another_scale_is_no_crop(dynamic: Path, tmp_path: Path, task: str) -> None:
    model = onnx.load(dynamic)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "unnamed.onnx")
    with pytest.raises(accelir.InvalidInputError, match="promises"):
        accelir.network(tmp_path / "unnamed.onnx", task=task).restore(picture(17, 23))


@pytest.mark.parametrize("shape", [["n", 4, "h", "w"], [2, 3, "h", "w"], ["n", 3, "h"]])
def test_other_inputs_are_refused(tmp_path: Path, shape: list[int | str]) -> None:
    foreign(tmp_path / "foreign.onnx", shape)
    with pytest.raises(accelir.InvalidInputError, match="a network takes one float"):
        accelir.network(tmp_path / "foreign.onnx", task="deblur")


def foreign(path: Path, shape: list[int | str]) -> None:
    """A file that halves its input."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "half"], ["y"])],
        "halves",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info("y", kind, shape)],
        [helper.make_tensor("half", kind, [], [0.5])],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)


def test_weights_beside_the_file_count(tmp_path: Path) -> None:
    """The graph alone says nothing of what the network does: profiles are bound to weights."""
    prints = []
    for number, factor in enumerate((0.5, 0.25)):
        path = tmp_path / f"net{number}" / "beside.onnx"
        path.parent.mkdir()
        weights = np.full((3, 1, 1), factor, np.float32)
        helper, kind = onnx.helper, onnx.TensorProto.FLOAT
        ends = [helper.make_tensor_value_info(name, kind, ["n", 3, "h", "w"]) for name in "xy"]
        graph = helper.make_graph(
            [helper.make_node("Mul", ["x", "by"], ["y"])], "scales", ends[:1], ends[1:],
            [onnx.numpy_helper.from_array(weights, "by")],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        onnx.save(model, path, save_as_external_data=True, location="weights.data", size_threshold=0)
        assert (path.parent / "weights.data").exists()
        network = accelir.network(path, task="deblur")
        assert network.restore(np.full((8, 8, 3), 200, np.uint8)).max() == 200 * factor
        prints.append(network.fingerprint())
    assert (tmp_path / "net0/beside.onnx").read_bytes() == (tmp_path / "net1/beside.onnx").read_bytes()
    assert prints[0] != prints[1]


def test_what_breaks_its_task_s_promise_is_not_exported(tmp_path: Path) -> None:
    class Narrower(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x[..., 1:]

    network = TorchNetwork(Narrower(), Denoise(5), name="narrower")
    with pytest.raises(accelir.InvalidInputError, match="promises"):
        accelir.export_onnx(network, tmp_path / "narrower.onnx")
    with pytest.raises(accelir.SaveError, match="nowhere"):
        accelir.export_onnx("fsrcnn-x4-f16", tmp_path / "nowhere" / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_what_is_no_onnx_is_told(tmp_path: Path) -> None:
    (tmp_path / "words.onnx").write_text("no network")
    with pytest.raises(accelir.DecodeError, match=r"words\.onnx"):
        accelir.network(tmp_path / "words.onnx", task="deblur")


def test_it_encodes_without_gradients_and_says_so(dynamic: Path) -> None:
    network, budget = accelir.network(dynamic), accelir.Bytes(1500)
    image = picture(48, 48)
    assert len(accelir.encode(image, network=network, budget=budget, estimate="uniform").data) <= 1500
    with pytest.raises(accelir.NotDifferentiableError):
        accelir.encode(image, network=network, budget=budget, estimate="measured")


def test_without_gradients_nobody_is_sent_to_measure(tmp_path: Path) -> None:
    foreign(tmp_path / "foreign.onnx", ["n", 3, "h", "w"])
    network = accelir.network(tmp_path / "foreign.onnx", task="deblur")
    with pytest.raises(accelir.ProfileNotFoundError) as raised:
        accelir.encode(picture(48, 48), network=network, budget=accelir.Bytes(1500))
    assert "measured" not in str(raised.value) and "profiler" in str(raised.value)


def test_it_goes_to_other_processes(dynamic: Path) -> None:
    network = accelir.network(dynamic)
    image = picture(20, 30)
    again = pickle.loads(pickle.dumps(network))
    assert np.array_equal(again.restore(image), network.restore(image))
    with pytest.raises(accelir.InvalidInputError, match="provider"):
        network.to("meta")


def test_a_wrong_export_writes_nothing(tmp_path: Path) -> None:
    class Shifty(nn.Module):
        """Is not traced as it runs."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if torch.compiler.is_compiling() or torch.onnx.is_in_onnx_export() else x + 0.1

    with pytest.raises(accelir.ExportError, match="differs"):
        accelir.export_onnx(TorchNetwork(Shifty(), Denoise(25)), tmp_path / "wrong.onnx")
    assert list(tmp_path.iterdir()) == []


def test_what_onnxruntime_does_not_run_is_told(
    tmp_path: Path, plain: TorchNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refusing:
        def __init__(self, *_: object, **__: object) -> None:
            raise RuntimeError("no kernel\nfor this node")

    monkeypatch.setattr("onnxruntime.InferenceSession", Refusing)
    with pytest.raises(accelir.ExportError, match=r"'plain' cannot be run: no kernel; nothing") as told:
        accelir.export_onnx(plain, tmp_path / "wrong.onnx")
    assert isinstance(told.value.__cause__, RuntimeError)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("opset", [3, 13, 99])
def test_an_opset_that_the_converter_does_not_reach_is_told(opset: int, tmp_path: Path) -> None:
    with pytest.raises(accelir.ExportError, match=rf"opset {opset}; opset=18 is possible"):
        accelir.export_onnx(TorchNetwork(EDSR(4, blocks=1), "sr-x4", "small"), tmp_path / "small.onnx", opset=opset)
    assert list(tmp_path.iterdir()) == []


def test_another_opset_is_that_of_the_file(plain: TorchNetwork, tmp_path: Path) -> None:
    exported = accelir.export_onnx(plain, tmp_path / "plain.onnx", opset=20)
    model = onnx.load(exported.path)
    facts = json.loads({entry.key: entry.value for entry in model.metadata_props}["accelir"])
    assert [entry.version for entry in model.opset_import if entry.domain == ""] == [20]
    assert exported.opset == facts["opset"] == 20


def test_nothing_is_said_on_the_way(tmp_path: Path) -> None:
    code = """
import logging, sys
from torch import nn
import accelir
network = accelir.TorchNetwork(nn.Conv2d(3, 3, 3, padding=1), accelir.Denoise(25))
try:
    accelir.export_onnx(network, sys.argv[1], opset=3)
except accelir.ExportError:
    pass
logging.getLogger("torch.onnx").error("heard again")
"""
    result = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "small.onnx")], capture_output=True, text=True, check=True
    )
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1 and "heard again" in result.stderr


@pytest.mark.parametrize("size", [32, (32,), (32, 0), (32.5, 32), "64"])
def test_what_is_no_size_is_told(plain: TorchNetwork, tmp_path: Path, size: object) -> None:
    with pytest.raises(accelir.InvalidInputError, match=r"height|width"):
        accelir.export_onnx(plain, tmp_path / "plain.onnx", size=size)  # type: ignore[arg-type]


@pytest.mark.parametrize("module", [lambda: EDSR(4, blocks=1), Halving])
def test_the_client_of_the_page_needs_no_torch(module, tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "networks.md").read_text(encoding="utf-8")
    (client,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "InferenceSession" in block)
    torch.manual_seed(0)
    made = module()
    network = TorchNetwork(made, "sr-x4" if isinstance(made, EDSR) else "denoise-s25", multiple=2)
    accelir.export_onnx(network, tmp_path / "edsr.onnx")
    Image.fromarray(picture(33, 41)).save(tmp_path / "small.jpg")
    without = "import sys\nsys.modules['torch'] = sys.modules['accelir'] = None\n"
    subprocess.run([sys.executable, "-c", without + client], cwd=tmp_path, check=True)
    wanted = accelir.restore(tmp_path / "small.jpg", network=network, dtype=torch.float32)
    restored = np.asarray(Image.open(tmp_path / "restored.png"))
    assert np.abs(restored - np.asarray(wanted).astype(int)).max() <= 1


def test_what_cannot_be_traced_is_told(tmp_path: Path) -> None:
    class Undecided(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1 if float(x.mean()) > 0.5 else x

    with pytest.raises(accelir.ExportError, match="cannot be traced"):
        accelir.export_onnx(TorchNetwork(Undecided(), Denoise(25)), tmp_path / "wrong.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_command_writes_what_the_function_does(tmp_path: Path) -> None:
    def run(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["export", *map(str, arguments)])
        return result.exit_code, result.output

    path, other = tmp_path / "ours.onnx", tmp_path / "other.onnx"
    code, said = run("-n", "edsr-x4-f8", "-o", path)
    assert code == 0 and re.fullmatch(
        r".*ours\.onnx: edsr-x4-f8 for sr-x4, opset 18, differs by \S+ of 1 at most\n", said
    )
    assert accelir.network(path).fingerprint() == accelir.network("edsr-x4-f8").fingerprint()
    image = picture(24, 32, seed=2)
    assert np.array_equal(accelir.restore(image, network=path), accelir.network(path).restore(image))
    code, said = run("-n", "edsr-x4-f8", "-o", other, "--size", 24, 32)
    assert code == 0
    assert onnx.load(str(other)).graph.input[0].type.tensor_type.shape.dim[2].dim_value == 24
    assert run("-n", "nobody", "-o", other)[0] == 1
    # What a network is read from is not written over, nor anything that is no ONNX file by its name.
    kept = path.read_bytes()
    assert run("-n", path, "-o", path)[0] == run("-n", f"modules:Halving@{path}", "-o", path)[0] == 2
    assert run("-n", "edsr-x4-f8", "-o", tmp_path / "mine.safetensors")[0] == 2
    assert run("-n", "edsr-x4-f8", "-o", other, "--size", 10**7, 10**7)[0] == 1
    assert path.read_bytes() == kept and not (tmp_path / "mine.safetensors").exists()
