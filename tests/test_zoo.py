"""The families: what they promise, what they cost by hand, and what their papers say they weigh."""

import importlib
import itertools
import json
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_sample_image
from torch import nn

import accelir
from accelir import testing
from accelir.metrics import psnr_rgb
from accelir.network import TorchNetwork
from accelir.profiling.profile import Profile
from accelir.training.growth import grow, grow_by_copies
from accelir.weights import read_record
from accelir_plugins import builtin
from accelir_plugins._weights import load_weights
from accelir_plugins.carn import CARN
from accelir_plugins.edsr import EDSR
from accelir_plugins.fsrcnn import FSRCNN
from accelir_plugins.nafnet import NAFNet
from accelir_plugins.restormer import Restormer
from accelir_plugins.span import SPAN
from accelir_plugins.swinir import SwinIR

FAMILIES = {row[0]: row for row in builtin.FAMILIES}
CONVOLUTIONAL = ("edsr-x4", "edsr-x2", "fsrcnn-x4", "carn-x4", "span-x4", "dncnn-blind")
"""Those whose receptive field is the same at every pixel."""


def untrained(family: str, width: int | None = None) -> TorchNetwork:
    """What the plugin would hand over if the weights were there."""
    _, module, _, options, widths, _ = FAMILIES[family]
    width = width or widths[0]
    loaded = importlib.import_module(f"accelir_plugins.{module}")
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loaded, "load_weights", lambda net, name: net.eval())
        made: TorchNetwork = loaded.load(f"{family}-f{width}", width, **options)
    return made


def stirred(network: TorchNetwork, by: float = 0.05) -> TorchNetwork:
    """With other parameters than the first: layers that start at zero would hide those behind them."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.module.parameters():
            parameter += by * torch.randn(parameter.shape, generator=generator)
    return network


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_what_its_row_says(family: str) -> None:
    _, _, task, _, widths, _ = FAMILIES[family]
    assert list(widths) == sorted(widths)
    costs = []
    for width in widths:
        network = untrained(family, width)
        assert (network.name, network.family, network.width) == (f"{family}-f{width}", family, width)
        assert network.task == accelir.task(task)
        costs.append(network.cost(64, 64))
    assert [cost.macs for cost in costs] == sorted({cost.macs for cost in costs})
    assert [cost.params for cost in costs] == sorted({cost.params for cost in costs})


@pytest.mark.parametrize(("name", "check"), testing.network_checks())
@pytest.mark.parametrize("family", [family for family in FAMILIES if f"{family}-f16" not in accelir.networks()])
def test_the_lightest_of_each_family_keeps_the_contract(
    family: str, name: str, check: Callable[[TorchNetwork], None]
) -> None:
    check(untrained(family))


def test_every_shipped_profile_is_of_the_shipped_weights() -> None:
    found = {network: accelir.network(network).fingerprint() for network in accelir.networks()}
    for (_, network), spec in accelir.profiles().items():
        package, _, path = spec.path.partition(":")
        assert Profile.load(files(package).joinpath(path).read_bytes()).header.fingerprint == found[network], path
    assert {network for codec, network in accelir.profiles() if codec == "jpeg"} == set(found), "each has its own"


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_learns(family: str) -> None:
    network = stirred(untrained(family))
    network.module.train()
    restored = network.forward(torch.rand(2, 3, 17, 23, generator=torch.Generator().manual_seed(0)))
    if hasattr(network.module, "pyramid"):
        restored = torch.cat([part.flatten() for part in network.module.pyramid(torch.rand(1, 3, 17, 23))])
    (restored**2).mean().backward()
    for name, parameter in network.module.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all() and parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("family", CONVOLUTIONAL)
def test_the_receptive_field_is_no_larger_than_it_must_be(family: str) -> None:
    network = stirred(untrained(family), 0.02)
    field, scale = network.receptive_field, network.task.scale
    assert field is not None
    middle = field // 2 + 4
    rows, columns = influence(network, 2 * middle + 1, 2 * middle + 1, middle, middle)
    assert (rows[0], rows[-1]) == (columns[0], columns[-1]) == (middle - field // 2, middle + field // 2), scale


def test_the_receptive_field_of_shifted_windows_is_what_they_reach() -> None:
    network = untrained("swinir-x4")
    reach, pixel = max((max(p - first, last - p), p) for p in range(80, 88) for first, last in [windows_reach(p)])
    assert network.receptive_field == 2 * reach + 1
    rows, _ = influence(network, 240, 16, pixel + 32, 8)
    assert (rows[0] - 32, rows[-1] - 32) == windows_reach(pixel)


def influence(network: TorchNetwork, height: int, width: int, row: int, column: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows and the columns of the input that have a part in what one of its pixels becomes."""
    image = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0)).double().requires_grad_()
    scale = network.task.scale
    made = network.module.double()(image)[..., row * scale : (row + 1) * scale, column * scale : (column + 1) * scale]
    weights = torch.rand(made.shape, generator=torch.Generator().manual_seed(1))
    (gradient,) = torch.autograd.grad((made * weights).sum(), image)
    touched = gradient.abs().sum(dim=(0, 1)) > 0
    return touched.any(dim=1).nonzero().numpy().ravel(), touched.any(dim=0).nonzero().numpy().ravel()


def windows_reach(pixel: int) -> tuple[int, int]:
    """First and last pixel of a line that a pixel of SwinIR's output depends on, far from all borders."""
    first, last = pixel - 2, pixel + 2  # the last two convolutions
    for _ in range(4):
        first, last = first - 1, last + 1
        for block in range(5, -1, -1):
            shift = 4 * (block % 2)
            first, last = (first - shift) // 8 * 8 + shift, (last - shift) // 8 * 8 + shift + 7
    return first - 1, last + 1


@pytest.mark.parametrize("family", [*CONVOLUTIONAL, "swinir-x4"])
def test_tiles_give_the_whole_image_result(monkeypatch: pytest.MonkeyPatch, family: str) -> None:
    network = stirred(untrained(family), 0.02)
    assert network.receptive_field is not None
    side = 21 + 2 * (network.receptive_field // 2 + network.multiple)
    photo = np.random.default_rng(1).integers(0, 256, (19, side, 3), dtype=np.uint8)
    whole = network.restore(photo, dtype=torch.float32).astype(int)
    assert whole.std() > 1
    monkeypatch.setattr(sys.modules["accelir.tiles"], "TILE", 16 if side < 150 else 120)
    assert len(list(network.tiles(*photo.shape[:2]))) > 1
    tiled = network.restore(photo, dtype=torch.float32).astype(int)
    assert np.abs(tiled - whole).max() <= 1


@pytest.mark.parametrize("width", [16, 48])
def test_span_fused_is_span(width: int) -> None:
    network = stirred(TorchNetwork(SPAN(width), accelir.SuperResolution(4)), 0.02)
    image = torch.rand(2, 3, 17, 23, generator=torch.Generator().manual_seed(0)).double()
    fused = network.module.double().fused()
    with torch.no_grad():
        expected = network.module(image)
        made = fused.double()(image)
    assert expected.std() > 0.01
    assert (made - expected).abs().max() < 1e-5
    again = fused.fused()
    assert all(torch.equal(a, b) for a, b in zip(fused.state_dict().values(), again.state_dict().values(), strict=True))


def test_span_unfused_is_span_and_trains_all_it_has() -> None:
    torch.manual_seed(0)
    fused, module = stirred(TorchNetwork(SPAN(16).fused(), accelir.SuperResolution(4)), 0.02).module, SPAN(16)
    module.unfuse(fused)
    image = torch.rand(2, 3, 9, 11)
    with torch.no_grad():
        assert (module(image) - fused(image)).abs().max() < 1e-4
    for _ in range(2):
        optimiser = torch.optim.Adam(module.parameters(), lr=1e-3)
        optimiser.zero_grad()
        (module(image) ** 2).mean().backward()
        optimiser.step()
    assert all((parameter.grad != 0).any() for parameter in module.parameters())


@pytest.mark.parametrize(("build", "narrow", "wide"), [(FSRCNN, 16, 32), (CARN, 16, 24), (SPAN, 16, 24)])
def test_a_grown_network_starts_as_the_narrow_one(build: Callable[[int], nn.Module], narrow: int, wide: int) -> None:
    torch.manual_seed(0)
    small = stirred(TorchNetwork(build(narrow), accelir.SuperResolution(4))).module
    image = torch.rand(1, 3, 9, 11)
    with torch.no_grad():
        assert (grow(small, build(wide))(image) - small(image)).abs().max() < 1e-4


@pytest.mark.parametrize(("build", "narrow", "wide"), [(NAFNet, 8, 16), (NAFNet, 8, 24), (EDSR, 8, 12)])
def test_a_network_grown_by_copies_starts_as_the_narrow_one(
    build: Callable[[int], nn.Module], narrow: int, wide: int
) -> None:
    torch.manual_seed(0)
    small, large = build(narrow), build(wide)
    with torch.no_grad():
        for parameter in small.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
        image = torch.rand(2, 3, 32, 48)
        restored = small(image)
        assert restored.std() > 0.01
        assert (grow_by_copies(small, large)(image) - restored).abs().max() < 1e-4
    # Copies that were read alike would learn alike.
    large(image).square().mean().backward()
    gradients = max((p.grad for p in large.parameters() if p.dim() == 4), key=lambda gradient: gradient.numel())
    assert (gradients[0] - gradients[1]).abs().max() > 1e-3 * gradients.abs().max()


def test_what_cannot_grow_by_copies_is_refused() -> None:
    for narrow, wide in ((Restormer(8), Restormer(16)), (NAFNet(16), NAFNet(8)), (EDSR(8), NAFNet(16))):
        with pytest.raises(accelir.AccelIRError, match="grow"):
            grow_by_copies(narrow, wide)


def test_networks_with_normalisation_take_no_further_channels() -> None:
    for build in (SwinIR, Restormer, NAFNet):
        with pytest.raises(accelir.AccelIRError, match="Norm"):
            grow(build(24), build(48))
    with pytest.raises(accelir.AccelIRError, match="groups"):
        grow(nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(16, 16, 3, groups=16))


def test_attention_in_parts_is_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    network = stirred(untrained("swinir-x4"))
    image = torch.rand(2, 3, 40, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = network.forward(image)
        monkeypatch.setattr("accelir_plugins.swinir.AT_ONCE", 4)
        parts = network.forward(image)
    assert (whole - parts).abs().max() < 1e-4


@pytest.mark.parametrize("family", ["fsrcnn-x4", "span-x4"])
def test_upsampling_starts_as_bilinear_interpolation(family: str) -> None:
    network = untrained(family)
    image = torch.rand(1, 3, 9, 11, generator=torch.Generator().manual_seed(0))
    bilinear = nn.functional.interpolate(image, scale_factor=4, mode="bilinear")
    with torch.no_grad():
        made = network.forward(image)
    # Not at the border, where the one repeats pixels and the other has none.
    assert (made - bilinear)[..., 8:-8, 8:-8].abs().max() < 0.05


def test_fsrcnn_by_hand() -> None:
    d, s, m = 56, 12, 4
    macs = 25 * 3 * d + d * s + m * 9 * s * s + s * d + 81 * d * 3
    slopes_and_biases = 2 * (d + s + m * s + d) + 3
    cost = TorchNetwork(FSRCNN(d), accelir.SuperResolution(4)).cost(17, 23)
    assert (cost.macs, cost.params) == (17 * 23 * macs, macs + slopes_and_biases)
    # Published: 12,464, for the Y channel and without biases and slopes. Two more channels go in and come out here.
    assert macs - 2 * (25 + 81) * d == 12_464


def test_carn_by_hand() -> None:
    w, groups = 64, 4
    grouped = 9 * w * w // groups
    merges = (2 + 3 + 4) * w * w
    efficient = 2 * grouped + w * w
    # Each block runs its one residual block three times.
    body = 3 * (3 * efficient + merges) + merges
    macs = 27 * w + body + (1 + 4) * 4 * grouped + 16 * 27 * w
    weights = 2 * 27 * w + 3 * (efficient + merges) + merges + 2 * 4 * grouped
    biases = w + 3 * (3 * w + 3 * w) + 3 * w + 2 * 4 * w + 3
    network = TorchNetwork(CARN(w), accelir.SuperResolution(4))
    cost = network.cost(17, 23)
    assert (cost.macs, cost.params) == (17 * 23 * macs, weights + biases)
    # Published: 412K, with upsampling by 2 and by 3 too and without biases; 32.5G for an output of 1280x720.
    assert weights + (4 + 9) * grouped == 412_032
    assert round(network.cost(180, 320).macs / 1e9, 1) == 32.5


@pytest.mark.parametrize(("w", "published"), [(48, 426), (52, 498)])
def test_span_by_hand(w: int, published: int) -> None:
    macs = 27 * w + (6 * 3 + 1) * 9 * w * w + 4 * w * w + 9 * w * 48
    biases = (1 + 6 * 3 + 1 + 1) * w + 48
    network = TorchNetwork(SPAN(w).fused(), accelir.SuperResolution(4))
    cost = network.cost(17, 23)
    assert (cost.macs, cost.params) == (17 * 23 * macs, macs + biases)
    # In thousands, folded.
    assert round(cost.params / 1000) == published


def test_swinir_by_hand() -> None:
    w = 60
    products = 2 * 64 * w  # of attention: each pixel with the 64 of its window, twice
    block = 3 * w * w + w * w + 2 * 2 * w * w
    convolutions = 27 * w + (4 + 1) * 9 * w * w + 9 * w * 48
    macs = convolutions + 24 * (block + products)
    params = convolutions + 24 * (block + 6 * 15 * 15 + 3 * w + w + 2 * w + w + 4 * w) + (1 + 5) * w + 48 + 2 * 2 * w
    cost = TorchNetwork(SwinIR(w), accelir.SuperResolution(4)).cost(17, 23)
    # Sides are padded to multiples of 8.
    assert (cost.macs, cost.params) == (24 * 24 * macs, params)
    # Published: 897K, but the paper's own code has one 3x3 convolution more than that: 929,628.
    assert (cost.params, round((cost.params - 9 * w * w) / 1000)) == (929_628, 897)


def restormer_block(c: int, heads: int) -> np.ndarray:
    """Multiply-accumulates per pixel but for the attention's products, those, and parameters."""
    hidden = int(2.66 * c)
    layers = 3 * c * c + 9 * 3 * c + c * c + 2 * hidden * c + 9 * 2 * hidden + hidden * c
    return np.array([layers, 2 * c * c // heads, layers + heads + 2 * c])


@pytest.mark.parametrize(
    ("w", "blocks", "refinement"), [(8, (1, 2, 2, 3), 1), (48, (4, 6, 6, 8), 4)], ids=["ours", "the paper's"]
)
def test_restormer_by_hand(w: int, blocks: tuple[int, int, int, int], refinement: int) -> None:
    total = np.zeros(3)
    for scale, width, heads, count in [
        *((scale, w << scale, 1 << scale, blocks[scale]) for scale in range(4)),
        (2, 4 * w, 4, blocks[2]),
        (1, 2 * w, 2, blocks[1]),
        (0, 2 * w, 1, blocks[0] + refinement),
    ]:
        total += count * restormer_block(width, heads) * [4.0**-scale, 4.0**-scale, 1]
    for scale in range(3):
        c = w << scale
        down, up = 9 * c * c // 2, 9 * 2 * c * 4 * c
        total += np.array([down + up / 4, 0, (down + up) * 4**scale]) / 4**scale
    for scale in (1, 2):
        merge = 2 * (w << scale) ** 2
        total += np.array([merge / 4**scale, 0, merge])
    total += np.array([27 * w + 27 * 2 * w, 0, 27 * w + 27 * 2 * w])
    network = TorchNetwork(Restormer(w, blocks, refinement), accelir.Denoise(25))
    cost = network.cost(57, 63)
    # Sides are padded to multiples of 32.
    assert (cost.macs, cost.params) == (64 * 64 * (total[0] + total[1]), total[2])
    if w == 48:
        # Published: 26.1M (26.13 with the biases of normalisation that denoising does without), and 140.99G for
        # 256x256, in which the products of the attention are not counted.
        assert round(cost.params / 1e6, 1) == 26.1
        assert round(total[0] * 256 * 256 / 1e9, 2) == 140.99


@pytest.mark.parametrize(("w", "lowest"), [(8, 4), (32, 28)], ids=["ours", "the paper's"])
def test_nafnet_by_hand(w: int, lowest: int) -> None:
    per_pixel = params = per_image = 0.0
    for scale, count in enumerate((2, 2, 2, lowest + 1, 1)):
        c = w << scale
        layers = 2 * c * c + 9 * 2 * c + c * c + 2 * c * c + c * c
        biases = 2 * c + 2 * c + c + 2 * c + c
        per_pixel += count * layers / 4**scale
        # The channels' weights are made of their means: one product for each image.
        per_image += count * c * c
        params += count * (layers + biases + c * c + c + 4 * c + 2 * c)
    for scale in range(4):
        c = w << scale
        per_pixel += (2 * 4 * c * c + 2 * c * 4 * c) / 4 ** (scale + 1)
        params += 2 * 4 * c * c + 2 * c + 2 * c * 4 * c
    per_pixel += 2 * 27 * w
    params += 2 * 27 * w + w + 3
    network = TorchNetwork(NAFNet(w, (1, 1, 1, lowest)), accelir.Deblur())
    cost = network.cost(17, 23)
    # Sides are padded to multiples of 16.
    assert (cost.macs, cost.params) == (32 * 32 * per_pixel + per_image, params)
    if w == 32:
        # Published: 17.1M, and 16G for 256x256.
        assert (round(cost.params / 1e6, 1), round(network.cost(256, 256).macs / 1e9)) == (17.1, 16)


def test_edsr_by_2_by_hand() -> None:
    w = 16
    per_pixel = 27 * w + (8 * 2 + 1) * 9 * w * w + 9 * w * 4 * w + 4 * 27 * w
    assert untrained("edsr-x2", w).cost(17, 23).macs == 17 * 23 * per_pixel


def test_what_cannot_grow_is_told_and_left_as_it_was() -> None:
    wide = EDSR(8)
    before = {key: value.clone() for key, value in wide.state_dict().items()}
    for growing in (grow, grow_by_copies):
        for narrow, words in (
            (EDSR(16), r"head\.weight of the narrow network is \(16, 3, 3, 3\) and \(8, 3, 3, 3\)"),
            (EDSR(8, scale=2), r"narrow network has no upsample\.2\.bias"),
            (EDSR(4, scale=8), r"wide network has no upsample\.4\.weight"),
            (accelir.network("edsr-x4-f8"), r"TorchNetwork; .*its \.module"),
            ("edsr-x4-f8", "got str"),
        ):
            with pytest.raises(accelir.InvalidInputError, match=words):
                growing(narrow, wide)
    with pytest.raises(accelir.InvalidInputError, match=r"its \.module"):
        grow(EDSR(4), accelir.network("edsr-x4-f8"))
    assert all(torch.equal(value, before[key]) for key, value in wide.state_dict().items())


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripts beside the package, as modules."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "benchmarks")


def stored(folder: Path, name: str) -> Path:
    """Shipped weights and their record in a folder, without a header."""
    source = PLUGINS / "weights" / name
    path = folder / f"{name}.safetensors"
    save_file(load_file(source.with_suffix(".safetensors")), path)
    path.with_suffix(".json").write_text(source.with_suffix(".json").read_text())
    return path


def test_headers_are_written_once_and_change_no_weights(benchmarks: None, tmp_path: Path) -> None:
    from zoo_headers import write_header

    path = stored(tmp_path, "edsr-x4-f8")
    assert read_record(path) is None
    tensors, size = load_file(path), path.stat().st_size
    assert write_header(path) and not write_header(path)
    provenance = json.loads(path.with_suffix(".json").read_text())
    record = read_record(path)
    assert record is not None
    assert (record.network, record.task) == ("edsr-x4-f8", "sr-x4")
    assert record.provenance["recipe"] == provenance["recipe"] and record.provenance["licence"] == "Apache-2.0"
    again = load_file(path)
    assert again.keys() == tensors.keys()
    assert all(again[key].dtype is torch.float16 and torch.equal(again[key], tensors[key]) for key in tensors)
    assert path.stat().st_size < size + 2 * len(json.dumps(provenance)) + 1000
    path.with_suffix(".json").write_text(json.dumps({**provenance, "kodak24_psnr_rgb": "scored again"}))
    assert not write_header(path)
    path.with_suffix(".json").write_text(json.dumps({**provenance, "seconds": 7}))
    assert write_header(path)
    assert read_record(path).provenance["seconds"] == 7


@pytest.mark.parametrize("name", ["edsr-x4-f8", "span-x4-f16", "swinir-x4-f30"])
def test_weights_load_alike_with_and_without_a_header(
    benchmarks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    import train_zoo
    from zoo_headers import write_header

    expected = accelir.network(name)
    (tmp_path / "weights").mkdir()
    path = stored(tmp_path / "weights", name)
    monkeypatch.setattr("accelir_plugins._weights.files", lambda package: tmp_path)
    monkeypatch.setattr(train_zoo, "WEIGHTS", path.parent)
    for header in (False, True):
        assert write_header(path) is header if header else read_record(path) is None
        network = accelir.network(name)
        assert network.fingerprint() == expected.fingerprint() and network.provenance == expected.provenance
        module = train_zoo.shipped(name, train_zoo.ZOO[name]).module
        assert all(torch.equal(value, module.state_dict()[key]) for key, value in expected.module.state_dict().items())
    again = accelir.network(str(path))
    assert (again.name, again.family, again.width) == (name, expected.family, expected.width)
    assert again.fingerprint() == expected.fingerprint()
    assert again.provenance == {key: value for key, value in expected.provenance.items() if "psnr" not in key}


def test_weights_that_the_zoo_trains_have_their_header(
    benchmarks: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import train_zoo

    monkeypatch.setattr(train_zoo, "WEIGHTS", tmp_path)
    monkeypatch.setattr(train_zoo, "material", lambda *_, **__: (None, None))
    monkeypatch.setattr(train_zoo, "train", lambda module, *_, **__: module)
    monkeypatch.setattr(sys, "argv", ["train_zoo.py", str(tmp_path), "edsr-x4-f8"])
    train_zoo.main()
    record = read_record(tmp_path / "edsr-x4-f8.safetensors")
    assert record is not None
    assert (record.network, record.task) == ("edsr-x4-f8", "sr-x4")
    written = json.loads((tmp_path / "edsr-x4-f8.json").read_text())
    assert record.provenance == {key: value for key, value in written.items() if "psnr" not in key}
    assert {value.dtype for value in load_file(tmp_path / "edsr-x4-f8.safetensors").values()} == {torch.float16}


def test_a_network_narrowed_to_its_own_width_is_itself(benchmarks: None) -> None:
    from zoo_narrowing import narrow_nafnet

    wide, narrow = (stirred(untrained("nafnet-deblur", 8)).module for _ in range(2))
    with torch.no_grad():
        for parameter in narrow.parameters():
            parameter.zero_()
    inputs = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    narrow_nafnet(wide, narrow, [(wide(inputs) - inputs).abs().mean()])
    assert all(torch.equal(a, b) for a, b in zip(wide.parameters(), narrow.parameters(), strict=True))


def test_narrowing_keeps_what_matters(benchmarks: None) -> None:
    from zoo_narrowing import narrow_nafnet

    wide, narrow = stirred(untrained("nafnet-deblur", 16)).module, untrained("nafnet-deblur", 8).module
    with torch.no_grad():
        # Of the gates of one block, the odd channels are read by nothing.
        wide.encoders[0][0].conv5.weight[:, 1::2] = 0
    inputs = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    narrow_nafnet(wide, narrow, [(wide(inputs) - inputs).abs().mean()])
    assert (narrow.encoders[0][0].conv5.weight != 0).all()


def test_a_swinir_twice_as_wide_starts_as_the_same_function(benchmarks: None) -> None:
    from zoo_jobs import grow_swinir

    narrow, wide = stirred(untrained("swinir-x4", 30)).module, untrained("swinir-x4", 60).module
    grow_swinir(narrow, wide)
    inputs = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(wide(inputs), narrow(inputs), atol=1e-4)


PLUGINS = Path(builtin.__file__).parent
RECORDS = [json.loads(path.read_text()) for path in sorted((PLUGINS / "weights").glob("*.json"))]


@pytest.mark.parametrize("family", sorted({record["name"].rsplit("-f", 1)[0] for record in RECORDS}))
def test_wider_is_better(family: str) -> None:
    members = sorted((r for r in RECORDS if r["name"].rsplit("-f", 1)[0] == family), key=lambda r: r["width"])
    scores = [record["kodak24_psnr_rgb"] for record in members]
    middling = [score.get("q75", score.get("q20")) for score in scores]
    assert all(narrow < wide for narrow, wide in itertools.pairwise(middling))
    assert all(score["clean"] > score["untouched"] for score in scores)


def test_the_widest_restore_what_is_asked_of_them() -> None:
    scores = {record["name"]: record for record in RECORDS}
    assert scores["fsrcnn-x4-f56"]["set5_psnr_y"]["clean"] >= 30.0
    for name in ("edsr-x4-f64", "carn-x4-f64"):
        assert scores[name]["set5_psnr_y"]["clean"] >= 31.2
    for name in ("dncnn-s25-f64", "restormer-s25-f24"):
        assert scores[name]["kodak24_psnr_rgb"]["clean"] >= 31.3
    for name in ("nafnet-deblur-f32", "mimounet-deblur-f32"):
        assert scores[name]["kodak24_psnr_rgb"]["clean"] >= scores[name]["kodak24_psnr_rgb"]["untouched"] + 3


def test_the_zoo_is_small() -> None:
    """60 MB, the weights in half precision and a profile for JPEG beside each."""
    weights = sum(path.stat().st_size for path in (PLUGINS / "weights").glob("*.safetensors"))
    profiles = sum(path.stat().st_size for path in (PLUGINS / "profiles").glob("jpeg--*"))
    assert weights + profiles <= 60e6


@pytest.mark.parametrize("name", sorted(record["name"] for record in RECORDS))
def test_half_precision_costs_next_to_nothing(name: str) -> None:
    """What rounding weights to float16 once more would lose; as much was lost when they were stored."""
    network = accelir.network(name)
    reference = load_sample_image("china.jpg")[200:296, 200:296]
    image = network.task.degrade(reference, np.random.default_rng(0))

    def score(dtype: torch.dtype) -> float:
        return psnr_rgb(network.restore(image, dtype=dtype), reference)

    stored, generator = score(torch.float32), torch.Generator().manual_seed(0)
    assert stored - score(torch.bfloat16) < 0.02
    with torch.no_grad():
        for parameter in network.module.parameters():
            half = parameter.half().float()
            assert torch.equal(half, parameter), "stored in half precision"
            # Rounding is by up to half of what lies between a number and the next one.
            step = torch.nextafter(parameter.abs().half(), torch.tensor(torch.inf).half()).float() - parameter.abs()
            parameter += step * (torch.rand(parameter.shape, generator=generator) - 0.5)
    assert abs(stored - score(torch.float32)) < 0.01


def test_restormer_restores_more_where_channels_are_likened_nearby() -> None:
    reference = load_sample_image("china.jpg")[:256, :512]
    image = accelir.Denoise(25).degrade(reference, np.random.default_rng(0))

    def score(cell: int) -> float:
        module = load_weights(Restormer(8, cell=cell), "restormer-s25-f8")
        return psnr_rgb(TorchNetwork(module, accelir.Denoise(25)).restore(image, dtype=torch.float32), reference)

    assert accelir.network("restormer-s25-f8").module.cell == 32
    assert score(32) > score(256) + 0.05


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["name"])
def test_scores_are_of_the_shipped_weights(record: dict[str, Any]) -> None:
    assert record["psnr_of"]["fingerprint"] == accelir.network(record["name"]).fingerprint()


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record["name"])
def test_shipped_weights_say_where_they_come_from(record: dict[str, Any]) -> None:
    header = read_record(PLUGINS / "weights" / f"{record['name']}.safetensors")
    assert header is not None
    assert (header.network, header.task) == (record["name"], record["task"])
    assert header.provenance == {key: value for key, value in record.items() if "psnr" not in key}
