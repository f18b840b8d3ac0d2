"""Networks: counting, tiling, kinds of images, and the Jacobian that sensitivity is taken from."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import accelir
from accelir.errors import InvalidInputError, UnknownNameError
from accelir.network import TorchNetwork, _pixels
from accelir.profiling.sensitivity import _pull_back, pull_back, pull_backs, smooth_over_blocks
from accelir.tasks import Denoise, SuperResolution
from accelir.tiles import at_once, side_for, tiles
from accelir_plugins.dncnn import DnCNN
from accelir_plugins.edsr import EDSR
from accelir_plugins.mimounet import MIMOUNet
from modules import Halving

PHOTO = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)


def test_edsr_counts_what_its_layers_take_by_hand() -> None:
    width = 32
    per_pixel = (
        3 * width * 9  # head
        + 8 * 2 * width * width * 9  # body
        + width * width * 9  # fuse
        + width * 4 * width * 9 * (1 + 4)  # sub-pixel stages, at one and at four positions per input pixel
        + 16 * width * 3 * 9  # tail, at sixteen
    )
    cost = TorchNetwork(EDSR(width), SuperResolution(4)).cost(20, 30)
    assert per_pixel == 355_680
    assert cost.macs == 600 * per_pixel and cost.flops == 2 * cost.macs
    assert cost.params == sum(p.numel() for p in EDSR(width).parameters())


def test_dncnn_counts_what_its_layers_take_by_hand() -> None:
    width, depth = 16, 12
    per_pixel = 9 * (3 * width * 2 + (depth - 2) * width * width)
    assert TorchNetwork(DnCNN(width, depth), Denoise(25)).cost(11, 7).macs == 77 * per_pixel


def test_a_gpu_gets_larger_tiles_where_they_change_nothing() -> None:
    assert side_for("cpu", 41, 4, 32, 900) is None and side_for("cuda", None, 1, 64, 900) is None
    sides = side_for("cuda", 25, 1, 64, 900), side_for("cuda", 41, 4, 8, 90), side_for("mps", 41, 8, 8, 900)
    assert sides == (2048, 512, 512)


def test_tiles_that_change_the_result_are_few_and_alike() -> None:
    def parts(height: int, width: int) -> list[tuple[int, int]]:
        found = tiles(height, width, None, receptive_field=None, multiple=8)
        return [(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in found]

    assert parts(1024, 1024) == [(1024, 1024)] and parts(700, 1400) == [(700, 1400)]
    assert parts(1080, 1280) == [(544, 640), (544, 640), (536, 640), (536, 640)]
    assert parts(900, 2100) == [(900, 704), (900, 696), (900, 700)]


@pytest.mark.parametrize("multiple", [1, 8, 24, 32, 48, 96, 1000])
def test_no_tile_of_a_network_without_end_is_too_large_or_a_sliver(multiple: int) -> None:
    for width in (1025, 2047, 2049, 3073, 5000, 15361):
        columns = [span for _, span in tiles(1025, width, None, receptive_field=None, multiple=multiple)]
        columns = list(dict.fromkeys(columns))
        sides = [span.stop - span.start for span in columns]
        assert sum(sides) == width and all(span.start % multiple == 0 for span in columns)
        assert max(sides) <= max(1024, multiple)
        assert min(sides) >= max(max(sides) - 1.5 * multiple, 1)


def test_a_cpu_gets_larger_tiles_for_narrow_networks_that_do_not_enlarge() -> None:
    for itemsize in (2, 4):
        for field, width in ((25, 8), (147, 16), (147, 32), (147, 48)):
            side = side_for("cpu", field, 1, width, 900, itemsize) or 0
            seen = side + 2 * (field // 2 + 1)
            assert side == 512 or (side > 512 and 0.99 * 2**25 < seen**2 * width * itemsize <= 2**25)
    assert (side_for("cpu", 25, 1, 8, 900) or 0) > 1024 and side_for("cpu", 25, 4, 8, 900) is None


def test_a_batch_of_small_images_takes_the_memory_of_a_usual_tile() -> None:
    narrow = TorchNetwork(DnCNN(8, 3), Denoise(25), width=8, receptive_field=7)
    seen: list[int] = []
    narrow.module.register_forward_hook(lambda _, inputs, __: seen.append(len(inputs[0])))
    narrow.restore_batch([PHOTO[:64, :64]] * 130)
    assert seen == [64, 64, 2]


def test_a_cpu_gets_smaller_tiles_of_large_images_for_wide_networks() -> None:
    # Unless most of a tile would be margin, or the whole image is one.
    assert [side_for("cpu", field, 1, 64, 900) for field in (25, 207, None)] == [224, None, None]
    assert [side_for("cpu", 25, 1, *asked) for asked in ((64, 512), (0, 900))] == [None, None]
    torch.manual_seed(0)
    wide = TorchNetwork(DnCNN(64, 3), Denoise(25), width=64, receptive_field=7)
    large = np.tile(PHOTO, (2, 8, 1))
    seen: list[tuple[int, ...]] = []
    wide.module.register_forward_hook(lambda _, inputs, __: seen.append(tuple(inputs[0].shape[-2:])))
    tiled = wide.restore(large, dtype=torch.float32).astype(int)
    assert seen == [(180, 228), (180, 232), (180, 116)]
    usual = TorchNetwork(wide.module, Denoise(25), receptive_field=7).restore(large, dtype=torch.float32)
    assert len(seen) == 5
    assert np.abs(tiled - usual).max() <= 1


def test_small_inputs_are_seen_together() -> None:
    # As many small inputs together as make up a tile.
    assert (at_once(256, 256), at_once(256, 256, 2048), at_once(3000, 3000, 2048)) == (4, 64, 1)


def test_mimounet_counts_what_its_layers_take_by_hand() -> None:
    w, blocks = 8, 4
    full = 9 * 3 * w + 2 * blocks * 2 * 9 * w * w + (7 * w * w + 9 * w * w) + 2 * w * w + 9 * w * 3
    v = 2 * w
    shallow = 9 * 3 * (v // 4) + (v // 4) * (v // 2) + 9 * (v // 2) ** 2 + (v // 2) * (v - 3) + v * v
    half = 9 * w * v + shallow + 9 * v * v + 2 * blocks * 2 * 9 * v * v + (7 * w * v + 9 * v * v) + 2 * v * v
    u = 4 * w
    shallow = 9 * 3 * (u // 4) + (u // 4) * (u // 2) + 9 * (u // 2) ** 2 + (u // 2) * (u - 3) + u * u
    quarter = 9 * v * u + shallow + 9 * u * u + 2 * blocks * 2 * 9 * u * u
    up = 16 * u * v + 4 * 16 * v * w  # transposed convolutions: 16 products per input position and channel pair
    expected = 256 * full + 64 * half + 16 * quarter + 16 * up
    cost = TorchNetwork(MIMOUNet(w, blocks), Denoise(25)).cost(16, 16)
    # The outputs at half and quarter resolution are for training only.
    assert cost.macs == expected


@pytest.mark.parametrize(
    ("module", "task", "field", "multiple"),
    [
        (EDSR(8), SuperResolution(4), 41, 1),
        (DnCNN(8), Denoise(25), 25, 1),
        (MIMOUNet(8), Denoise(25), 147, 4),
    ],
)
def test_tiles_give_the_whole_image_result(monkeypatch, module, task, field, multiple) -> None:
    torch.manual_seed(0)
    # Larger than a tile with its margins, so that tiles really see less than the whole.
    photo = PHOTO if field < 100 else np.random.default_rng(1).integers(0, 256, (24, 200, 3), dtype=np.uint8)
    assert max(photo.shape) > 16 + 2 * (field // 2 + multiple)
    net = TorchNetwork(module, task, receptive_field=field, multiple=multiple)
    whole = net.restore(photo, dtype=torch.float32).astype(int)
    monkeypatch.setattr(sys.modules["accelir.tiles"], "TILE", 16)
    assert len(list(net.tiles(*photo.shape[:2]))) > 1
    tiled = net.restore(photo, dtype=torch.float32).astype(int)
    assert np.abs(tiled - whole).max() <= 1


@pytest.mark.parametrize("size", [(33, 41), (32, 41), (1, 1)])
def test_a_network_with_strides_takes_any_size(size) -> None:
    torch.manual_seed(0)
    net = TorchNetwork(Halving(), Denoise(25), multiple=2)
    image = np.ascontiguousarray(PHOTO[: size[0], : size[1]])
    edged = np.pad(image, ((0, size[0] % 2), (0, size[1] % 2), (0, 0)), mode="edge")
    restored = net.restore(image, dtype=torch.float32)
    assert np.array_equal(restored, net.restore(edged, dtype=torch.float32)[: size[0], : size[1]])
    gradients = pull_backs(net, image, probes=1)
    assert gradients.shape == (1, *image.shape)
    assert (gradients[0, -1] != 0).all() and (gradients[0, :, -1] != 0).all()
    assert net.cost(*size) == net.cost(*edged.shape[:2])


def test_a_network_with_strides_that_enlarges_wrongly_is_told() -> None:
    with pytest.raises(InvalidInputError, match="promises"):
        TorchNetwork(Halving(), SuperResolution(4), multiple=2).restore(PHOTO[:33, :41])


class Less(nn.Module):
    """Returns two rows for every two, and so less of an odd number."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(x[..., ::2, ::2][..., : x.shape[-2] // 2, :], scale_factor=2)


class Sums(Less):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + super().forward(x)


class Joins(Less):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, super().forward(x)], dim=1)[:, :3]


class Unshuffles(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.pixel_shuffle(nn.functional.pixel_unshuffle(x, 2), 2)


class Windows(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(*x.shape[:2], x.shape[2] // 2, 2, x.shape[3]).reshape(x.shape)


@pytest.mark.parametrize("module", [Less(), Sums(), Joins(), Unshuffles(), Windows()])
def test_a_network_with_strides_that_are_not_said_is_told_to_say_them(module: nn.Module) -> None:
    with pytest.raises(InvalidInputError, match=r"\. If .* accelir\.TorchNetwork\(module, task, multiple=8\)"):
        TorchNetwork(module, Denoise(25)).restore(PHOTO[:33, :40])
    assert TorchNetwork(module, Denoise(25), multiple=2).restore(PHOTO[:33, :40]).shape == (33, 40, 3)


@pytest.mark.parametrize(
    "network",
    [
        TorchNetwork(nn.Conv2d(3, 5, 1), Denoise(25)),
        TorchNetwork(EDSR(8), Denoise(25)),
    ],
    ids=["channels", "size"],
)
def test_strides_are_not_thought_of_where_something_else_is_wrong(network: TorchNetwork) -> None:
    with pytest.raises(InvalidInputError) as told:
        network.restore(PHOTO[:33, :40])
    assert "multiple" not in str(told.value)


def test_a_stride_that_was_said_is_not_asked_for_again() -> None:
    with pytest.raises(InvalidInputError, match=r"\. It was said to take multiples of 3") as told:
        TorchNetwork(Sums(), Denoise(25), multiple=3).restore(PHOTO[:33, :40])
    assert "multiple=" not in str(told.value)


def test_strides_are_not_thought_of_where_channels_differ() -> None:
    class Widens(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + torch.cat([x, x[:, :2]], dim=1)

    class Groups(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.group_norm(x, 2)

    for module, said in ((Widens(), "must match"), (Groups(), "divisible")):
        with pytest.raises(InvalidInputError, match=said) as told:
            TorchNetwork(module, Denoise(25)).restore(PHOTO[:33, :40])
        assert "multiple=" not in str(told.value)


def test_restore_returns_what_came_in() -> None:
    net = TorchNetwork(EDSR(8), SuperResolution(4))
    assert net.restore(PHOTO).shape == (360, 280, 3)
    assert net.restore(PHOTO[:, :, 0]).shape == (360, 280)
    assert net.restore(Image.fromarray(PHOTO[:, :, 0])).mode == "L"
    assert net.restore(Image.fromarray(PHOTO)).size == (280, 360)
    with pytest.raises(InvalidInputError, match="uint8"):
        net.restore(PHOTO.astype(np.float32))


def test_bfloat16_costs_little() -> None:
    torch.manual_seed(0)
    net = TorchNetwork(DnCNN(8), Denoise(25))
    exact = net.restore(PHOTO, dtype=torch.float32).astype(float)
    fast = net.restore(PHOTO, dtype=torch.bfloat16).astype(float)
    assert np.mean((exact - fast) ** 2) < 0.5


def test_only_modules_are_wrapped() -> None:
    with pytest.raises(InvalidInputError, match=r"torch\.nn\.Module"):
        TorchNetwork(lambda x: x, Denoise(25))  # type: ignore[arg-type]


def test_the_fingerprint_follows_the_weights() -> None:
    torch.manual_seed(0)
    first, second = DnCNN(8), DnCNN(8)
    fingerprints = [TorchNetwork(module, Denoise(25), family="f").fingerprint() for module in (first, second)]
    second.load_state_dict(first.state_dict())
    assert fingerprints[0] != fingerprints[1]
    assert TorchNetwork(second, Denoise(25), family="f").fingerprint() == fingerprints[0]
    # Profiles of what the same weights computed before fit no longer.
    assert TorchNetwork(second, Denoise(25), family="f", revision="2").fingerprint() != fingerprints[0]

    class Later(TorchNetwork):
        revision = "2"

    later = Later(second, Denoise(25), family="f").fingerprint()
    assert later == TorchNetwork(second, Denoise(25), family="f", revision="2").fingerprint()
    assert later != TorchNetwork(second, Denoise(25), family="f2").fingerprint()


def test_what_torch_has_compiled_keeps_its_fingerprint_and_so_its_profile() -> None:
    network = TorchNetwork(DnCNN(8), Denoise(25))
    before = network.fingerprint()
    network.module = torch.compile(network.module)
    assert network.fingerprint() == before


def test_squared_pull_backs_estimate_the_diagonal_of_jtj() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 3, 3, padding=1)
    net = TorchNetwork(conv, Denoise(25), receptive_field=3)
    image = np.zeros((7, 8, 3), np.uint8)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: conv(x.permute(2, 0, 1)[None])[0], torch.zeros(7, 8, 3)
    ).reshape(-1, 7 * 8 * 3)
    exact = (jacobian**2).sum(0).reshape(7, 8, 3).numpy()
    estimated = (pull_backs(net, image, probes=1000, seed=1) ** 2).mean(axis=0)
    assert np.abs(estimated / exact - 1).max() < 0.25


@pytest.mark.parametrize(("module", "field", "multiple"), [(DnCNN(8, 4), 9, 1), (MIMOUNet(8, 1), 83, 4)])
def test_large_images_are_differentiated_in_parts(monkeypatch, module, field, multiple) -> None:
    """The energy of the gradients is where the whole image has it, row by row and column by column."""
    from accelir.profiling import sensitivity

    torch.manual_seed(0)
    net = TorchNetwork(module, Denoise(25), receptive_field=field, multiple=multiple)
    image = np.zeros((40, 130, 3), np.uint8)
    image[10:30, 20:60] = PHOTO[:20, :40]
    whole = (pull_backs(net, image, probes=60) ** 2).mean(axis=(0, 3))
    monkeypatch.setattr(sensitivity, "PATCH", 22)
    parts = (pull_backs(net, image, probes=60) ** 2).mean(axis=(0, 3))
    for axis in (0, 1):
        assert np.abs(np.log(parts.mean(axis=axis) / whole.mean(axis=axis))).max() < 0.4
    assert abs(parts.mean() / whole.mean() - 1) < 0.05


class Gray(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x)


def cost_of(net, image):
    return net.cost(*image.shape[:2])


@pytest.mark.parametrize("module", [Gray(), nn.Conv2d(3, 3, 3, padding=1).double(), Halving()])
@pytest.mark.parametrize("act", [lambda net, image: net.restore(image, dtype=torch.float32), pull_backs, cost_of])
def test_what_fails_in_a_module_is_told_in_one_line(module, act) -> None:
    net = TorchNetwork(module, Denoise(25), "theirs")
    with pytest.raises(InvalidInputError, match=r"'theirs' failed on float32 \(1, 3, 33, 41\): \w+: ") as told:
        act(net, np.ascontiguousarray(PHOTO[:33, :41]))
    assert "\n" not in str(told.value) and isinstance(told.value.__cause__, Exception)


def test_modules_that_change_their_input_in_place_are_measured() -> None:
    class Shifting(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x -= 0.5
            return 2 * x

    image = PHOTO[:16, :16]
    net = TorchNetwork(Shifting(), Denoise(25))
    assert np.array_equal(np.abs(pull_backs(net, image, probes=2)), np.full((2, *image.shape), 2, np.float32))


def test_measuring_sensitivity_leaves_the_module_trainable() -> None:
    net = TorchNetwork(DnCNN(8, 4), Denoise(25))
    pull_backs(net, PHOTO[:16, :16], probes=1)
    assert all(parameter.requires_grad for parameter in net.module.parameters())


def test_an_output_that_is_not_the_tasks_is_refused() -> None:
    for module, task in ((EDSR(8), Denoise(25)), (DnCNN(8), SuperResolution(4))):
        with pytest.raises(InvalidInputError, match="promises"):
            TorchNetwork(module, task).restore(PHOTO)


@pytest.mark.parametrize("task", [Denoise(25)])
def test_a_forward_that_returns_no_numbers_is_refused(task) -> None:
    class Returning(nn.Module):
        def __init__(self, make) -> None:
            super().__init__()
            self.make = make

        def forward(self, x: torch.Tensor):
            return self.make(x)

    for make, said in ((lambda x: (x, x), "tuple"), (lambda x: x / 0, "finite"), (lambda x: x[:, :1], "promises")):
        with pytest.raises(InvalidInputError, match=said):
            TorchNetwork(Returning(make), task).restore(PHOTO)
    with pytest.raises(InvalidInputError, match="Task"):
        TorchNetwork(nn.Identity(), 25)  # type: ignore[arg-type]


def test_a_task_is_named_as_anywhere() -> None:
    assert TorchNetwork(nn.Identity(), "denoise-s30").task == Denoise(30)
    with pytest.raises(UnknownNameError, match="denoise-s25"):
        TorchNetwork(nn.Identity(), "denoise")


@pytest.mark.parametrize("device", ["warp", "meta"])
def test_a_device_that_is_not_there_is_named(device) -> None:
    with pytest.raises(InvalidInputError, match=device):
        TorchNetwork(nn.Identity(), Denoise(25)).restore(PHOTO, device=device)


def test_attention_counts_what_its_products_take_by_hand() -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(12, 3, batch_first=True)
            self.read, self.write = nn.Conv2d(3, 12, 1), nn.Conv2d(12, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            tokens = self.read(x).flatten(2).transpose(1, 2)
            mixed, _ = self.attention(tokens, tokens, tokens, need_weights=False)
            return self.write(mixed.transpose(1, 2).reshape(*x.shape[:1], 12, *x.shape[2:]))

    pixels = 20
    projections = pixels * (3 * 12 * 12 + 12 * 12)
    products = 2 * pixels * pixels * 12
    cost = TorchNetwork(Attending(), Denoise(25)).cost(4, 5)
    assert cost.macs == pixels * 2 * 3 * 12 + projections + products


def test_nothing_depends_on_the_callers_torch_settings() -> None:
    image = np.ascontiguousarray(PHOTO[:32, :32])
    arguments = {"network": "dncnn-s25-f8", "budget": accelir.BitsPerPixel(2)}
    expected = accelir.encode(image, **arguments).data
    with torch.autocast("cpu", torch.bfloat16):
        assert accelir.encode(image, **arguments).data == expected
    torch.set_default_dtype(torch.float64)
    try:
        encoded = accelir.encode(image, **arguments).data
        restored = accelir.restore(image, network="dncnn-s25-f8", dtype=torch.float32)
    finally:
        torch.set_default_dtype(torch.float32)
    assert encoded == expected
    assert np.array_equal(restored, accelir.restore(image, network="dncnn-s25-f8", dtype=torch.float32))


def test_weights_of_any_shape_are_welcome() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 1)
            self.volume = nn.Conv3d(1, 1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.volume(self.conv(x)[:, None])[:, 0]

    assert TorchNetwork(Odd(), Denoise(25)).restore(PHOTO).shape == PHOTO.shape


def test_smoothing_keeps_constants_and_sums_inside() -> None:
    flat = np.full((4, 5, 2), 3.0, np.float32)
    assert np.allclose(smooth_over_blocks(flat), flat)
    spike = np.zeros((5, 5, 1), np.float32)
    spike[2, 2] = 16
    assert np.array_equal(smooth_over_blocks(spike)[1:4, 1:4, 0], [[1, 2, 1], [2, 4, 2], [1, 2, 1]])


def test_a_batch_is_what_its_images_are_one_by_one(monkeypatch):
    monkeypatch.setattr(sys.modules["accelir.tiles"], "TILE", 40)
    net = accelir.network("edsr-x4-f8")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 24, 20, 3)).astype(np.uint8)
    restored = net.restore_batch(images, dtype=torch.float32)
    for image, got in zip(images, restored, strict=True):
        apart = np.abs(got.astype(int) - net.restore(image, dtype=torch.float32))
        assert apart.max() <= 1 and (apart > 0).mean() < 0.001
    gray = net.restore_batch([image[:, :, 0] for image in images[:2]])
    assert [image.shape for image in gray] == [(96, 80), (96, 80)]
    assert net.restore_batch([]) == []
    pictures = net.restore_batch([Image.fromarray(image) for image in images], dtype=torch.float32)
    assert all(np.array_equal(picture, got) for picture, got in zip(pictures, restored, strict=True))
    assert pictures[0].size == (80, 96)


def test_a_batch_of_several_sizes_is_refused():
    with pytest.raises(InvalidInputError, match="one size"):
        accelir.network("edsr-x4-f8").restore_batch([PHOTO, PHOTO[:-1]])


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_bright_outputs_of_any_type_are_finite(dtype):
    class Bright(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (torch.ones_like(x) + 0 * x).to(dtype) * (1 if dtype is torch.float16 else 1e38)

    net = TorchNetwork(Bright(), Denoise(5), receptive_field=1)
    assert (net.restore(np.zeros((300, 300, 3), np.uint8)) == 255).all()


@pytest.mark.parametrize("values", [[float("nan")], [float("inf")], [float("inf"), float("-inf")]])
def test_outputs_that_are_not_finite_are_refused(values):
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = x.clone()
            x[0, 0, 0, : len(values)] = torch.tensor(values)
            return x

    with pytest.raises(InvalidInputError, match="not finite"):
        TorchNetwork(Broken(), Denoise(5)).restore(np.zeros((8, 8, 3), np.uint8), dtype=torch.float32)


def test_rounding_by_bands_is_rounding(monkeypatch):
    monkeypatch.setattr(sys.modules["accelir.network"], "BAND", 50)
    values = torch.rand(2, 3, 11, 9, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2
    wanted = (255 * values).round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
    for given in (values, values.double(), values.to(memory_format=torch.channels_last)):
        assert np.array_equal(_pixels(given), wanted)
    whole = torch.zeros(1, 1, 1, 1).expand(1, 3, 30, 30)
    assert _pixels(whole).shape == (1, 30, 30, 3) and float(whole.sum()) == 0


def test_several_probes_are_as_many_single_ones(monkeypatch):
    monkeypatch.setattr(sys.modules["accelir.profiling.sensitivity"], "PATCH", 32)
    net = TorchNetwork(EDSR(8), SuperResolution(4), receptive_field=41)
    image = PHOTO[:40, :30]
    signs = {}

    def cotangent(restored, rows, columns):
        asked = signs.setdefault((rows.start, columns.start), [])
        asked.append(torch.randint(0, 2, restored.shape).float() * 2 - 1)
        return asked[-1]

    several = _pull_back(net, image, cotangent, 3)
    assert len(signs) > 1
    for number, gradient in enumerate(several):
        alone = pull_back(net, image, lambda _, rows, columns, n=number: signs[rows.start, columns.start][n])
        assert np.array_equal(alone, gradient)


def test_one_image_is_no_batch():
    net = TorchNetwork(nn.Identity(), Denoise(5))
    with pytest.raises(InvalidInputError, match=r"\(90, 70, 3\) goes as \[image\]"):
        net.restore_batch(PHOTO)
    with pytest.raises(InvalidInputError, match=r"one Image, which goes as \[image\]"):
        net.restore_batch(Image.fromarray(PHOTO))
    with pytest.raises(InvalidInputError):
        net.restore_batch(PHOTO[:, :, 0])
    narrow = [PHOTO[:, :3, 0], PHOTO[:, 3:6, 0]]
    assert np.array_equal(net.restore_batch(narrow, dtype=torch.float32), narrow)
    assert np.array_equal(net.restore_batch(PHOTO[None], dtype=torch.float32), PHOTO[None])


def test_a_generator_is_a_batch():
    net = TorchNetwork(nn.Identity(), Denoise(5))
    images = [PHOTO, PHOTO[::-1].copy()]
    assert np.array_equal(net.restore_batch((image for image in images), dtype=torch.float32), images)
    assert net.restore_batch(iter(())) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"multiple": 0},
        {"multiple": 1.5},
        {"receptive_field": -5},
        {"receptive_field": 0},
        {"width": -1},
        {"width": "8"},
    ],
)
def test_numbers_of_a_network_that_cannot_be_are_told(wrong):
    (name,) = wrong
    with pytest.raises(InvalidInputError, match=rf"{name} is a whole number, [01] or more; got"):
        TorchNetwork(nn.Identity(), Denoise(5), **wrong)
    assert TorchNetwork(nn.Identity(), Denoise(5), multiple=np.int64(2)).multiple == 2


@pytest.mark.parametrize("size", [(3.5, 3), (3, 0), (-1, 3), (None, 3)])
def test_the_cost_of_what_is_no_size_is_told(size):
    with pytest.raises(InvalidInputError, match=r"The (height|width) is a whole number, 1 or more; got"):
        TorchNetwork(nn.Conv2d(3, 3, 1), Denoise(5)).cost(*size)
