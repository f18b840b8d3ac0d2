"""Guidance by the clean original: it pays, it keeps its promises, and it says plainly where it cannot."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

import accelir
from accelir import guidance
from accelir.guidance import restored_error
from accelir.metrics import psnr_rgb
from accelir.pipeline import guidance_asked

SIZE = accelir.LikeQuality(75)


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    from sklearn.datasets import load_sample_image

    return np.ascontiguousarray(load_sample_image("china.jpg")[160:352, 200:456])


@pytest.fixture(scope="module")
def small(clean) -> np.ndarray:
    return accelir.SuperResolution(4).degrade(clean, np.random.default_rng(0))


def gain(guided: bytes, plain: bytes, network: str, reference: np.ndarray) -> float:
    """In dB."""
    after, before = (np.array(accelir.restore(data, network=network)) for data in (guided, plain))
    return psnr_rgb(after, reference) - psnr_rgb(before, reference)


class Linear(accelir.IRNetwork):
    """Doubles contrast: its error and slope are known by hand."""

    name = family = "linear"
    width = 1
    task = accelir.Deblur()
    receptive_field = 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x


@pytest.mark.parametrize("shape", [(20, 30, 3), (20, 30)])
def test_the_slope_of_the_restored_error_is_right(shape) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 128, shape, dtype=np.uint8)
    reference = rng.integers(0, 256, shape, dtype=np.uint8)
    error, slope = restored_error(Linear(), image, reference)
    away = 2.0 * image - reference
    assert error == pytest.approx((away**2).sum(), rel=1e-6)
    np.testing.assert_allclose(slope, 4 * away, rtol=1e-4, atol=1e-2)


class Sideways(accelir.IRNetwork):
    """Takes each pixel from its left neighbour: in a mirror, it takes it from the right one."""

    name = family = "sideways"
    width = 1
    receptive_field = 3

    def __init__(self, task: accelir.Task) -> None:
        self.task = task

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x[..., :1], x[..., :-1]], dim=-1)


def test_every_second_pass_is_of_a_mirror_image() -> None:
    rng = np.random.default_rng(0)
    image, reference = (rng.integers(0, 256, (20, 30, 3), dtype=np.uint8) for _ in range(2))
    network = Sideways(accelir.Denoise(5))
    straight = restored_error(network, image, reference)
    seen = [guidance._seen(network, image, reference, mirror) for mirror in guidance.MIRRORED]
    assert [error == straight[0] for error, _ in seen] == [True, False, True, True, True, False]
    right = np.concatenate([image[:, 1:], image[:, -1:]], axis=1).astype(float)
    assert seen[1][0] == pytest.approx(((right - reference) ** 2).sum(), rel=1e-6)
    for step in (0, 2, 3, 4):
        np.testing.assert_array_equal(seen[step][1], straight[1])
    # The slope of the mirror image's error is turned back: each pixel pays for its left neighbour.
    expected = 2 * (image[:, 1:-1].astype(float) - reference[:, :-2])
    np.testing.assert_allclose(seen[1][1][:, 1:-1], expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize(("task", "mirrored"), [(accelir.Denoise(5), True), (accelir.Deblur(), False)])
def test_what_undoes_a_blur_is_not_asked_of_a_mirror_image(task, mirrored, monkeypatch, clean) -> None:
    asked = []
    seen = guidance._seen
    monkeypatch.setattr(guidance, "_seen", lambda *args: asked.append(any(args[3])) or seen(*args))
    image = clean[:32, :48]
    accelir.encode(image, network=Sideways(task), budget=SIZE, estimate="uniform", reference=image[:, ::-1], passes=10)
    assert asked == ([False, True, False, True] if mirrored else [False] * 4)


def test_a_network_that_minds_mirrors_gains_by_what_it_makes_of_the_picture_itself(clean) -> None:
    """It takes each pixel from the left: the file is to hold the picture moved, of which mirrors tell the contrary."""
    image = clean[:64, :96]
    net = Sideways(accelir.Denoise(5))
    wanted = np.concatenate([image[:, :1], image[:, :-1]], axis=1)
    asked = {"network": net, "budget": accelir.LikeQuality(50), "estimate": "uniform"}
    guided = accelir.encode(image, **asked, reference=wanted, passes=20)
    assert guided.guidance is not None
    restored = np.array(accelir.restore(guided.data, network=net))
    assert guided.guidance.after[0] == pytest.approx(psnr_rgb(restored, wanted), abs=1e-9)
    assert guided.guidance.after[0] >= guided.guidance.before[0]


def test_beyond_black_and_white_nothing_has_a_slope() -> None:
    image = np.full((8, 8, 3), 200, np.uint8)
    error, slope = restored_error(Linear(), image, np.full((8, 8, 3), 250, np.uint8))
    assert error == 25 * image.size
    assert not slope.any()


@pytest.mark.parametrize(
    ("network", "quality", "least"), [("edsr-x4-f8", 50, 0.05), ("edsr-x4-f8", 90, 0.1), ("dncnn-s25-f8", 20, 0.1)]
)
def test_it_pays_at_equal_bytes(network, quality, least, clean) -> None:
    net = accelir.network(network)
    reference = clean if net.task.scale > 1 else clean[:96, :128]
    image = net.task.degrade(reference, np.random.default_rng(0))
    budget = accelir.LikeQuality(quality)
    plain = accelir.encode(image, network=net, budget=budget)
    guided = accelir.encode(image, network=net, budget=budget, reference=reference, passes=16)
    assert len(guided.data) <= budget.resolve(image, accelir.codec("jpeg"))
    assert gain(guided.data, plain.data, network, reference) > least
    with Image.open(io.BytesIO(guided.data)) as opened:
        assert (opened.format, opened.size) == ("JPEG", image.shape[1::-1])
    assert 8 * len(guided.data) == pytest.approx(guided.overhead_bits + guided.block_bits.sum(dtype=float))


def test_what_overshoots_goes_back_in_time(monkeypatch) -> None:
    """A file is far worse here: from there, six passes would not come so far."""
    from sklearn.datasets import load_sample_image

    net = accelir.network("mimounet-deblur-f32")
    reference = np.ascontiguousarray(load_sample_image("flower.jpg")[100:228, 100:260])
    blurred = [net.task.degrade(reference, np.random.default_rng(seed)) for seed in (3, 4)]
    plain = [accelir.encode(image, network=net, budget=SIZE) for image in blurred]

    def gained() -> float:
        guided = [accelir.encode(image, network=net, budget=SIZE, reference=reference, passes=6) for image in blurred]
        return sum(gain(g.data, p.data, net.name, reference) for g, p in zip(guided, plain, strict=True))

    back = gained()
    monkeypatch.setattr(guidance, "FAR_WORSE", np.inf)
    assert back > gained() + 0.1, "without going back"


def test_each_of_several_networks_gains(clean, small) -> None:
    names = ["edsr-x4-f8", "edsr-x4-f16"]
    halved = accelir.codec("jpeg", subsampling="420")
    plain = accelir.encode(small, network=names, codec=halved, budget=SIZE)
    guided = accelir.encode(small, network=names, codec=halved, budget=SIZE, reference=clean, passes=16)
    assert min(gain(guided.data, plain.data, name, clean) for name in names) > 0.05
    assert guided.guidance is not None and plain.guidance is None
    assert guided.guidance.networks == tuple(names)
    assert guided.guidance.passes == 16
    for place, name in enumerate(names):
        for file, told in ((plain, guided.guidance.before), (guided, guided.guidance.after)):
            restored = np.array(accelir.restore(file.data, network=name))
            assert told[place] == pytest.approx(psnr_rgb(restored, clean), abs=1e-9)
        assert guided.guidance.gains[place] == pytest.approx(gain(guided.data, plain.data, name, clean), abs=1e-9)


def test_a_teacher_takes_the_place_of_the_original(clean) -> None:
    """A light network's picture comes nearer to the original by following what a better one makes of the noise."""
    light, heavy = accelir.network("dncnn-s25-f8"), accelir.network("dncnn-s25-f32")
    noisy = light.task.degrade(clean[:96, :128], np.random.default_rng(0))
    budget = accelir.LikeQuality(20)
    plain = accelir.encode(noisy, network=light, budget=budget)
    taught = accelir.encode(noisy, network=light, budget=budget, teacher=heavy, passes=12)
    assert len(taught.data) <= budget.resolve(noisy, accelir.codec("jpeg"))
    assert gain(taught.data, plain.data, light.name, clean[:96, :128]) > 0.1
    followed = accelir.encode(noisy, network=light, budget=budget, reference=heavy.restore(noisy), passes=12)
    assert taught.data == followed.data
    assert taught.guidance is not None and followed.guidance is not None
    assert taught.guidance == replace(followed.guidance, teacher="dncnn-s25-f32")
    assert followed.guidance.teacher is None


def test_a_network_teaches_itself_what_coding_takes(clean) -> None:
    net = accelir.network("dncnn-s25-f8")
    noisy = net.task.degrade(clean[:96, :128], np.random.default_rng(0))
    taught = accelir.encode(noisy, network=net, budget=accelir.LikeQuality(20), teacher=net, passes=12)
    plain = accelir.encode(noisy, network=net, budget=accelir.LikeQuality(20))
    assert gain(taught.data, plain.data, net.name, net.restore(noisy)) > 0.2


def test_a_teacher_that_cannot_teach_is_refused(clean, small) -> None:
    asked = {"network": "edsr-x4-f8", "budget": SIZE}
    with pytest.raises(accelir.InvalidInputError, match="the teacher 'dncnn-s25-f8' for 'denoise-s25'"):
        accelir.encode(small, **asked, teacher="dncnn-s25-f8")
    with pytest.raises(accelir.InvalidInputError, match="for 'deblur'"):
        accelir.encode(clean, network="dncnn-s25-f8", budget=SIZE, teacher="nafnet-deblur-f8")
    with pytest.raises(accelir.InvalidInputError, match="one of reference= and teacher="):
        accelir.encode(small, **asked, teacher="edsr-x4-f16", reference=clean)
    with pytest.raises(accelir.UnknownNameError):
        accelir.encode(small, **asked, teacher="edsr-x4-f1000")
    with pytest.raises(accelir.InvalidInputError, match="needs an image"):
        accelir.encode(**asked, teacher="edsr-x4-f16")


def test_a_teacher_teaches_beside_a_control_too(small) -> None:
    nets = [accelir.network("edsr-x4-f8")]
    assert [
        guidance_asked(nets, "uniform", reference=not name, teacher=name, passes=None)[1]
        for name in ("edsr-x4-f16", None)
    ] == [40, 0]
    asked = {"network": nets, "budget": SIZE, "estimate": "uniform"}
    assert accelir.encode(small, **asked, teacher="edsr-x4-f16", passes=0).guidance is None


class Hidden(accelir.IRNetwork):
    """A teacher without gradients, as a file of another runtime."""

    name = family = "hidden"
    width = 1
    differentiable = False
    task = accelir.SuperResolution(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(x.float(), scale_factor=4, mode="bilinear").to(x)


@pytest.mark.parametrize("gray", [False, True])
def test_a_teacher_of_several_needs_no_gradients_and_may_see_gray(gray, small) -> None:
    image = np.ascontiguousarray(small[:, :, 1]) if gray else small
    names = ["edsr-x4-f8", "edsr-x4-f16"]
    taught = accelir.encode(image, network=names, budget=SIZE, teacher=Hidden(), passes=16)
    assert taught.guidance is not None
    assert (taught.guidance.teacher, taught.guidance.networks) == ("hidden", tuple(names))
    assert min(taught.guidance.gains) > 0.1


@pytest.mark.parametrize(("quality", "wanted"), [(75, (2, 2)), (97, (1, 1))])
def test_guided_files_halve_chroma_where_that_loses_little(quality, wanted, clean, small) -> None:
    """In whole chroma, what the network that guides gains is lost by the others."""
    asked = {"network": "edsr-x4-f8", "budget": accelir.LikeQuality(quality)}
    plain, guided = accelir.encode(small, **asked), accelir.encode(small, **asked, reference=clean, passes=24)
    assert [across(file.data) for file in (plain, guided)] == [(1, 1), wanted]
    assert guided.guidance is not None
    before = psnr_rgb(np.array(accelir.restore(plain.data, network="edsr-x4-f8")), clean)
    assert guided.guidance.before[0] == pytest.approx(before, abs=1e-9)
    assert gain(guided.data, plain.data, "edsr-x4-f8", clean) > 0.03


def across(data: bytes) -> tuple[int, int]:
    """How many samples of luma stand side by side, and one above the other, over one of chroma."""
    with Image.open(io.BytesIO(data)) as opened:
        return opened.layer[0][1:3]


def test_the_reference_alone_makes_the_image_and_guides(clean, small) -> None:
    alone = accelir.encode(reference=clean, network="edsr-x4-f8", budget=SIZE, passes=12)
    both = accelir.encode(small, reference=clean, network="edsr-x4-f8", budget=SIZE, passes=12)
    assert alone.data == both.data
    assert alone.data != accelir.encode(small, network="edsr-x4-f8", budget=SIZE).data


def test_without_passes_nothing_is_followed(clean, small) -> None:
    plain = accelir.encode(small, network="edsr-x4-f8", budget=SIZE).data
    unguided = accelir.encode(small, network="edsr-x4-f8", budget=SIZE, reference=clean, passes=0)
    assert unguided.data == plain and unguided.guidance is None
    control = {"network": "edsr-x4-f8", "budget": SIZE, "estimate": "plain-mse"}
    assert accelir.encode(small, reference=clean, **control).data == accelir.encode(small, **control).data, (
        "a control knows nothing of the reference"
    )


@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
def test_every_subsampling_is_guided(subsampling, clean, small) -> None:
    codec = accelir.codec("jpeg", subsampling=subsampling)
    plain = accelir.encode(small[:41, :50], network="edsr-x4-f8", codec=codec, budget=SIZE)
    guided = accelir.encode(
        small[:41, :50], network="edsr-x4-f8", codec=codec, budget=SIZE, reference=clean[:164, :200], passes=8
    )
    assert gain(guided.data, plain.data, "edsr-x4-f8", clean[:164, :200]) > 0.05


def test_gray_is_guided_and_stays_gray(clean, small) -> None:
    gray, reference = (np.array(Image.fromarray(picture).convert("L")) for picture in (small, clean))
    plain = accelir.encode(gray, network="edsr-x4-f8", budget=SIZE)
    guided = accelir.encode(gray, network="edsr-x4-f8", budget=SIZE, reference=reference, passes=12)
    assert accelir.codec("jpeg").decode(guided.data).ndim == 2
    assert gain(guided.data, plain.data, "edsr-x4-f8", reference) > 0.05


def test_metadata_stays_and_counts(clean, small) -> None:
    picture = Image.fromarray(small)
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture.info["icc_profile"] = icc
    guided = accelir.encode(picture, network="edsr-x4-f8", budget=accelir.Bytes(2500), reference=clean, passes=4)
    assert len(guided.data) <= 2500
    assert Image.open(io.BytesIO(guided.data)).info["icc_profile"] == icc


def test_the_same_call_gives_the_same_bytes_and_tells_its_progress(clean, small) -> None:
    told = []

    def encode(**more) -> bytes:
        return accelir.encode(small, network="edsr-x4-f8", budget=SIZE, reference=clean, passes=5, **more).data

    assert encode(progress=lambda done, total, what: told.append((done, total, what))) == encode()
    assert [done for done, _, _ in told] == [0, 1, 2, 3, 4]
    assert {total for _, total, _ in told} == {4}


def test_a_network_that_nothing_helps_gets_the_plain_file(small) -> None:
    class Constant(Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 0 * x + 0.5

    estimate = accelir.profile_for("jpeg", "edsr-x4-f8").predict(small, accelir.codec("jpeg"))
    call = {"network": Constant(), "budget": SIZE, "estimate": estimate}
    plain = accelir.encode(small, **call)
    guided = accelir.encode(small, reference=255 - small, passes=4, **call)
    assert guided.data == plain.data
    assert guided.guidance is not None and guided.guidance.gains == (0.0,)
    assert guided.guidance.before == guided.guidance.after


def test_what_is_restored_without_error_has_nothing_to_gain(small) -> None:
    class Black(Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 0 * x

    estimate = accelir.profile_for("jpeg", "edsr-x4-f8").predict(small, accelir.codec("jpeg"))
    guided = accelir.encode(
        small, reference=np.zeros_like(small), passes=9, network=Black(), budget=SIZE, estimate=estimate
    ).guidance
    assert guided is not None
    assert (guided.before, guided.after, guided.gains, guided.passes) == ((np.inf,), (np.inf,), (0.0,), 1)


class TestWhereItCannot:
    def test_a_reference_of_another_shape(self, clean, small) -> None:
        with pytest.raises(accelir.InvalidInputError, match=r"reference of shape .* does not belong"):
            accelir.encode(small, network="edsr-x4-f8", budget=SIZE, reference=clean[:-40])

    def test_a_network_without_gradients(self, clean, small) -> None:
        network = accelir.network("edsr-x4-f8")
        network.differentiable = False
        with pytest.raises(accelir.NotDifferentiableError, match="passes=0"):
            accelir.encode(small, network=network, budget=SIZE, reference=clean)
        assert accelir.encode(small, network=network, budget=SIZE, reference=clean, passes=0).data

    def test_networks_of_several_tasks(self, small) -> None:
        with pytest.raises(accelir.InvalidInputError, match="one task"):
            accelir.encode(small, network=["edsr-x4-f8", "dncnn-s25-f8"], budget=SIZE)

    def test_no_network(self, small) -> None:
        with pytest.raises(accelir.InvalidInputError, match="needs a network"):
            accelir.encode(small, network=[], budget=SIZE)

    @pytest.mark.parametrize("passes", [-1, 2.0, True, "many"])
    def test_passes_that_are_no_number(self, passes, clean, small) -> None:
        with pytest.raises(accelir.InvalidInputError, match="passes"):
            accelir.encode(small, network="edsr-x4-f8", budget=SIZE, reference=clean, passes=passes)

    def test_passes_without_a_reference(self, small) -> None:
        with pytest.raises(accelir.InvalidInputError, match="reference="):
            accelir.encode(small, network="edsr-x4-f8", budget=SIZE, passes=10)

    @pytest.mark.parametrize(
        ("network", "codec", "error"),
        [("edsr-x4-f8", "webp", accelir.CodecError), ("edsr-x4-f16", "jpeg", accelir.NotDifferentiableError)],
    )
    def test_it_is_said_before_any_file_is_written(self, network, codec, error, clean, small, monkeypatch) -> None:
        def fit(*arguments: object) -> None:
            raise AssertionError("a file was written for nothing")

        net = accelir.network(network)
        net.differentiable = codec != "jpeg"
        monkeypatch.setattr("accelir.pipeline.fit_budget", fit)
        with pytest.raises(error, match=f"{network if codec == 'jpeg' else codec}.*passes=0"):
            accelir.encode(small, network=net, codec=codec, budget=SIZE, reference=clean)

    @pytest.mark.parametrize(
        ("names", "told", "least"),
        [
            (["edsr-x4-f8"], True, 2),
            (["edsr-x4-f8", "edsr-x4-f16"], True, 4),
            (["edsr-x4-f8"], False, 7),
            (["edsr-x4-f8", "edsr-x4-f16"], False, 14),
        ],
    )
    def test_too_few_passes_to_do_anything(self, names, told, least, clean, small) -> None:
        estimate = accelir.profile_for("jpeg", names[0]).predict(small, accelir.codec("jpeg"))
        if not told:
            estimate = replace(estimate, sensitivity=None)
        call = {"network": names, "budget": SIZE, "reference": clean, "estimate": estimate}
        with pytest.raises(accelir.InvalidInputError, match=f"takes {least} passes or more; got {least - 1}"):
            accelir.encode(small, passes=least - 1, **call)
        guidance = accelir.encode(small, passes=least, **call).guidance
        assert guidance is not None and guidance.passes == least

    @pytest.mark.parametrize("hidden", ["project", "moved"])
    def test_a_codec_that_moves_no_coefficients(self, hidden, clean, small, monkeypatch) -> None:
        codec = accelir.codec("jpeg")
        if hidden == "project":
            monkeypatch.setattr(type(codec), "project", accelir.Codec.project)
        else:
            prepared = type(codec.prepare(small))
            monkeypatch.setattr(prepared, "moved", accelir.Prepared.moved)
        with pytest.raises(accelir.CodecError, match="passes=0"):
            accelir.encode(small, network="edsr-x4-f8", codec=codec, budget=SIZE, reference=clean)


def test_a_jpeg_says_how_far_it_came() -> None:
    """In gray, decoding is an orthonormal transform: what came of the shift can be read from the pixels."""
    codec = accelir.codec("jpeg")
    rng = np.random.default_rng(0)
    image = rng.integers(90, 160, (24, 32), dtype=np.uint8)
    prepared = codec.prepare(image)
    shift = rng.normal(0, 4, codec.project(np.zeros(image.shape, np.float32)).shape).astype(np.float32)
    encoded = prepared.moved(shift).write(12)
    moved = codec.project(codec.decode(encoded.data).astype(np.float32) - image)
    assert encoded.coefficient_error is not None
    # The pixels are rounded.
    np.testing.assert_allclose(moved, shift + encoded.coefficient_error, atol=1.6)
    assert prepared.write(12).coefficient_error is None


@pytest.mark.parametrize("size", [(16, 16), (40, 56), (512, 768)])
@pytest.mark.parametrize("subsampling", ["420", "422", "444"])
def test_pictures_of_any_size_can_be_moved(size, subsampling):
    """Moved by nothing, with a lambda that is not for guided files, the file is the usual one."""
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    codec = accelir.codec("jpeg", subsampling=subsampling, rdo=0.1, guided_rdo=0.1, compensation=0)
    prepared = codec.prepare(image)
    shift = np.zeros_like(codec.project(image.astype(np.float32)))
    assert prepared.moved(shift).write(12).data == prepared.write(12).data
