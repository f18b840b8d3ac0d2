"""The layers that networks share do the same sums as torch's own."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.utils._python_dispatch import TorchDispatchMode

import accelir
from accelir.network import TorchNetwork
from accelir_plugins import mimounet, nafnet, restormer, swinir
from accelir_plugins._layers import Deconvolution, SlopedReLU, Upsampling, half_of, joined, scaled
from accelir_plugins.fsrcnn import FSRCNN


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [(9, 4, 3), (4, 2, 1), (5, 3, 1), (2, 2, 0), (6, 2, 2), (3, 1, 1), (3, 2, 0), (7, 2, 3)],
)
def test_deconvolution_is_transposed_convolution(kernel: int, stride: int, padding: int) -> None:
    torch.manual_seed(0)
    layer = Deconvolution(5, 3, kernel, stride, padding).double()
    image = torch.randn(2, 5, 6, 7, dtype=torch.float64, requires_grad=True)
    made, plain = layer(image), nn.ConvTranspose2d.forward(layer, image)[..., : 6 * stride, : 7 * stride]
    assert made.shape == (2, 3, 6 * stride, 7 * stride)
    assert torch.allclose(made, plain, atol=1e-12)
    last = image.detach().to(memory_format=torch.channels_last)
    assert torch.allclose(layer(last, 0.5), plain + 0.5, atol=1e-12)
    wanted = torch.randn(made.shape, dtype=torch.float64)
    for ours, theirs in zip(
        torch.autograd.grad(made, [image, *layer.parameters()], wanted),
        torch.autograd.grad(plain, [image, *layer.parameters()], wanted),
        strict=True,
    ):
        assert torch.allclose(ours, theirs, atol=1e-12)


def test_fsrcnn_takes_every_scale() -> None:
    for scale in (2, 3, 4):
        network = TorchNetwork(FSRCNN(16, scale), accelir.SuperResolution(scale))
        assert network.restore(np.zeros((6, 7, 3), np.uint8)).shape == (6 * scale, 7 * scale, 3)
        assert network.cost(6, 7).macs == 42 * (75 * 16 + 16 * 4 + 4 * 9 * 16 + 4 * 16 + 81 * 16 * 3)


def test_an_exported_network_has_the_layers_of_the_paper(tmp_path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    network = TorchNetwork(FSRCNN(16), accelir.SuperResolution(4))
    path = tmp_path / "a.onnx"
    accelir.export_onnx(network, path)
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert "ConvTranspose" in kinds
    assert accelir.network(path).cost(9, 11).macs == network.cost(9, 11).macs
    image = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    exported = accelir.network(path).restore(image).astype(int)
    assert np.abs(exported - network.restore(image, dtype=torch.float32)).max() <= 1


def test_cost_is_known_where_nothing_is_computed() -> None:
    network = TorchNetwork(FSRCNN(16), accelir.SuperResolution(4))
    assert TorchNetwork(FSRCNN(16).to("meta"), network.task).cost(6, 7) == network.cost(6, 7)


def test_sloped_relu_is_prelu() -> None:
    ours, plain = SlopedReLU(3), nn.PReLU(3)
    slopes = torch.tensor([0.25, -0.5, 1.5])
    ours.weight.data = plain.weight.data = slopes
    values = torch.randn(2, 3, 5, 5)
    assert torch.equal(ours(values), plain(values))
    with torch.autocast("cpu", torch.bfloat16):
        made = ours(values.bfloat16())
    assert made.dtype is torch.bfloat16
    assert torch.equal(made, plain(values.bfloat16().float()).bfloat16())


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
def test_halves_of_a_convolution_are_those_of_its_channels_and_compact(form: torch.memory_format) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 6, 5, 7).to(memory_format=form)
    all_channels = nn.Conv2d(6, 8, 3, padding=1).to(memory_format=form)
    by_themselves = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    expected = all_channels(x)
    for which, half in enumerate(by_themselves(expected).chunk(2, dim=1)):
        part = half_of(all_channels, x, which)
        torch.testing.assert_close(part, expected.chunk(2, dim=1)[which])
        assert part.is_contiguous(memory_format=form)
        torch.testing.assert_close(half_of(by_themselves, part, which), half)


def test_factors_go_into_the_weights() -> None:
    torch.manual_seed(0)
    x, factors = torch.randn(2, 6, 5, 7), torch.randn(8, 1, 1)
    for layer in (nn.Conv2d(6, 8, 1), nn.Conv2d(6, 8, 3, padding=1, bias=False), nn.Conv2d(6, 8, 1, groups=2)):
        torch.testing.assert_close(scaled(layer, x, factors), factors * layer(x))


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("activation", [[], [nn.ReLU()]], ids=["bare", "relu"])
@pytest.mark.parametrize(("scale", "groups", "bias"), [(2, 1, True), (3, 1, False), (4, 2, True)])
def test_upsampling_is_what_its_layers_make(
    form: torch.memory_format, activation: list[nn.Module], scale: int, groups: int, bias: bool
) -> None:
    torch.manual_seed(0)
    first, last = (nn.Conv2d(4, 4 * scale**2, 3, padding=1, groups=groups, bias=bias) for _ in range(2))
    layers = [first, *activation, nn.PixelShuffle(scale), last, nn.PixelShuffle(scale)]
    ours, plain = Upsampling(*layers).to(memory_format=form), nn.Sequential(*layers)
    image = torch.randn(2, 4, 5, 7).to(memory_format=form).requires_grad_()
    made, expected = ours(image, 1.5, -0.5), plain(image) * 1.5 - 0.5
    torch.testing.assert_close(made, expected)
    assert made.is_contiguous(memory_format=form)
    wanted = torch.randn(made.shape)
    for mine, theirs in zip(
        torch.autograd.grad(made, [image, *ours.parameters()], wanted),
        torch.autograd.grad(expected, [image, *ours.parameters()], wanted),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "layers",
    [
        [],
        [nn.Conv2d(4, 8, 3)],
        [nn.Conv2d(4, 16, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(4, 4, 1)],
        [nn.Conv2d(4, 16, 3, padding=1, padding_mode="reflect"), nn.PixelShuffle(2)],
        [nn.Conv2d(4, 16, 3, dilation=2), nn.PixelShuffle(2)],
        [nn.Conv2d(4, 16, 3, stride=2), nn.PixelShuffle(2)],
        [nn.Conv2d(4, 16, 3), nn.PReLU(16, 0.3), nn.PixelShuffle(2)],
        [nn.Conv2d(4, 16, 3), nn.ReLU(), nn.PixelShuffle(2)],
        [nn.Sequential(nn.Conv2d(4, 16, 3)), nn.PixelShuffle(2)],
    ],
)
def test_upsampling_of_other_layers_is_what_they_make(layers: list[nn.Module]) -> None:
    torch.manual_seed(0)
    image = torch.randn(2, 4, 6, 7).to(memory_format=torch.channels_last)
    expected = nn.Sequential(*layers)(image) * 1.5 - 0.5
    torch.testing.assert_close(Upsampling(*layers)(image, 1.5, -0.5), expected)


def test_hooks_of_what_enlarges_run() -> None:
    ours = Upsampling(nn.Conv2d(4, 16, 3), nn.PixelShuffle(2))
    seen: list[int] = []
    ours[0].register_forward_hook(lambda _, __, made: seen.append(made.shape[1]))
    image = torch.randn(1, 4, 6, 7).to(memory_format=torch.channels_last)
    prune.random_unstructured(ours[0], "weight", amount=0.5)
    for _ in range(2):
        ours(image).sum().backward()
    assert seen == [16, 16]


@pytest.mark.parametrize("name", ["edsr-x4-f8", "carn-x4-f16", "span-x4-f16"])
def test_a_traced_network_has_the_layers_of_the_paper(name: str) -> None:
    module = accelir.network(name).module
    traced = torch.fx.symbolic_trace(module)
    image = torch.rand(1, 3, 16, 20)
    with torch.no_grad():
        torch.testing.assert_close(traced(image), module(image), atol=1e-5, rtol=1e-5)


def test_a_convolution_of_several_inputs_is_that_of_them_joined() -> None:
    torch.manual_seed(0)
    parts = [torch.randn(2, width, 5, 7) for width in (3, 8, 5)]
    for layer in (nn.Conv2d(16, 6, 1), nn.Conv2d(16, 6, 1, bias=False)):
        torch.testing.assert_close(joined(layer, parts), layer(torch.cat(parts, dim=1)))


@pytest.mark.parametrize("scale", [0, 1])
def test_scales_are_merged_as_if_all_were_resized_before(scale: int) -> None:
    torch.manual_seed(0)
    fusion = mimounet._AsymmetricFusion(4, scale)
    scales = [torch.randn(2, 4 * 2**at, 16 >> at, 24 >> at) for at in range(3)]
    resized = [nn.functional.interpolate(part, size=(16 >> scale, 24 >> scale)) for part in scales]
    expected = nn.Sequential.forward(fusion, torch.cat(resized, dim=1))
    torch.testing.assert_close(fusion(scales), expected)


def test_norms_of_nafnet_and_restormer_are_over_channels() -> None:
    x = torch.randn(2, 8, 5, 7) * 3 + 1
    mean, variance = x.mean(dim=1, keepdim=True), x.var(dim=1, keepdim=True, unbiased=False)
    full, biasless = nafnet._LayerNorm(8), restormer._LayerNorm(8)
    with torch.no_grad():
        for parameter in (*full.parameters(), *biasless.parameters()):
            parameter.copy_(torch.rand_like(parameter))
        torch.testing.assert_close(full(x), (x - mean) / (variance + 1e-6).sqrt() * full.weight + full.bias)
        torch.testing.assert_close(biasless(x), x / (variance + 1e-5).sqrt() * biasless.weight)


def test_attention_in_bfloat16_is_that_in_float32_but_for_rounding() -> None:
    torch.manual_seed(0)
    attention = swinir.WindowAttention(12).eval()
    windows = torch.randn(1, 4, 64, 12)
    regions = torch.randint(0, 2, (4, 64))
    with torch.no_grad():
        whole = attention(windows, regions)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = attention(windows, regions)
    assert (rounded - whole).norm() < 0.02 * whole.norm()


@pytest.mark.parametrize("cell", [8, 4])
def test_channel_attention_is_that_of_vectors_of_length_one(cell: int) -> None:
    """Over all pixels, where no side is more than two cells."""
    attention = _channel_attention(cell)
    x = torch.randn(2, 8, 8, 8, dtype=torch.float64)
    with torch.no_grad():
        expected = attention.project(_likened(attention, attention.qkv(x), attention.qkv(x)))
        torch.testing.assert_close(attention(x), expected, atol=1e-6, rtol=1e-6)
        # A channel that is zero everywhere has no direction, and is like none.
        assert attention(torch.zeros_like(x)).abs().max() == 0


def test_channels_are_likened_over_a_cell_and_those_around_it() -> None:
    attention = _channel_attention(2)
    x = torch.randn(2, 8, 8, 10, dtype=torch.float64)
    with torch.no_grad():
        parts = attention.qkv(x)
        mixed = torch.zeros_like(x)
        for top in range(0, 8, 2):
            for left in range(0, 10, 2):
                around = parts[..., max(top - 2, 0) : top + 4, max(left - 2, 0) : left + 4]
                cell = (..., slice(top, top + 2), slice(left, left + 2))
                mixed[cell] = _likened(attention, around, parts[cell])
        torch.testing.assert_close(attention(x), attention.project(mixed), atol=1e-6, rtol=1e-6)
        assert (attention(x) - attention.project(_likened(attention, parts, parts))).abs().max() > 0.01


def _channel_attention(cell: int) -> restormer._ChannelAttention:
    torch.manual_seed(0)
    attention = restormer._ChannelAttention(8, 2, cell).double()
    attention.temperature.data.copy_(torch.tensor([0.7, 3.0]).reshape(2, 1, 1))
    return attention


def _likened(attention: restormer._ChannelAttention, over: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
    """The paper's formula: channels likened over the pixels of one tensor, and those of another mixed."""
    query, key, _ = (part.reshape(2, 2, 4, -1) for part in over.chunk(3, dim=1))
    value = of.chunk(3, dim=1)[2]
    query, key = (nn.functional.normalize(part, dim=-1) for part in (query, key))
    mixed = (query @ key.mT * attention.temperature).softmax(dim=-1) @ value.reshape(2, 2, 4, -1)
    return mixed.reshape(value.shape)


def test_channel_attention_compares_channels_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    attention = restormer._ChannelAttention(8, 2, 8)
    compare = attention._weights
    seen: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def kept(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        seen.append((query, key, compare(query, key)))
        return seen[-1][2]

    monkeypatch.setattr(attention, "_weights", kept)
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            attention(torch.randn(1, 8, 16, 24))
        ((query, key, weights),) = seen
        assert query.dtype is key.dtype is torch.float32
        assert torch.equal(weights, compare(query, key))


@pytest.mark.parametrize("family", [restormer, nafnet])
def test_a_stream_is_float32_where_convolutions_are_bfloat16(family: Any) -> None:
    torch.manual_seed(0)
    module = {restormer: restormer.Restormer, nafnet: nafnet.NAFNet}[family](8).eval()
    seen: list[torch.dtype] = []
    convolved: list[torch.dtype] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if function is torch.ops.aten.convolution.default:
                convolved.append(args[0].dtype)
            return function(*args, **(kwargs or {}))

    for part in module.modules():
        if isinstance(part, family._Block):
            part.register_forward_hook(lambda _, inputs, made: seen.append(made.dtype))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16), Watch():
        restored = module(torch.rand(1, 3, 16, 24))
    assert set(seen) == {torch.float32} and restored.dtype is torch.float32
    # The first of them is the only one that does not round.
    assert convolved[0] is torch.float32 and set(convolved[1:]) == {torch.bfloat16}
