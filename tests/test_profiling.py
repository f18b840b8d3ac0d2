"""Profiling: curves, groups, prediction, and the file that keeps them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

import accelir
import accelir_plugins
from accelir.allocation.lagrangian import lower_hull
from accelir.errors import (
    DecodeError,
    InvalidInputError,
    NotDifferentiableError,
    ProfileFormatError,
    ProfileMismatchError,
)
from accelir.image import block_grid
from accelir.profiling import predictor as predictor_module
from accelir.profiling.controls import CONTROLS, control_estimate
from accelir.profiling.curves import BlockSamples, block_errors, fit_curves, harmonise, measure_blocks
from accelir.profiling.estimate import Curves, Estimate
from accelir.profiling.profile import Basis, Profile
from accelir.profiling.profiler import StandardProfiler
from accelir.profiling.sensitivity import measure_sensitivity
from accelir_plugins.jpeg import JpegCodec

SMALL = {"groups": 3, "crops": 4, "side": 64, "probes": 2, "curve_crops": 2, "tuning_crops": 1, "predictor_steps": 30}


@pytest.fixture(scope="module", autouse=True)
def _searched_quickly():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JpegCodec, "search_space", {"rdo": (0.05, 0.14)})
        yield


@pytest.fixture(scope="module")
def photographs() -> list[np.ndarray]:
    from sklearn.datasets import load_sample_image

    return [np.ascontiguousarray(load_sample_image(name)) for name in ("china.jpg", "flower.jpg")]


@pytest.fixture(scope="module")
def network() -> accelir.IRNetwork:
    return accelir.network("dncnn-s25-f8")


@pytest.fixture(scope="module")
def profile(photographs, network) -> Profile:
    return StandardProfiler(**SMALL).fit(accelir.codec("jpeg"), network, photographs)


def test_a_profile_survives_its_file(tmp_path, profile, photographs) -> None:
    codec = accelir.codec("jpeg", **profile.header.codec_options)
    loaded = Profile.load(profile.save(tmp_path / "p.safetensors"))
    assert loaded.header == profile.header
    image = photographs[0][:70, :90]
    before, after = profile.predict(image, codec), loaded.predict(image, codec)
    assert np.array_equal(before.curves.size, after.curves.size)
    assert before.sensitivity.shape == after.sensitivity.shape == (*block_grid(image, 16), 384)
    # The predictor is stored in half precision.
    assert np.abs(np.log(after.sensitivity / before.sensitivity)).max() < 0.05


def test_of_many_photographs_the_one_that_cannot_be_used_is_named(tmp_path, network) -> None:
    path = tmp_path / "clear.png"
    Image.fromarray(np.zeros((80, 80, 4), np.uint8)).save(path)
    with pytest.raises(InvalidInputError, match=r"clear\.png: The picture has transparency"):
        StandardProfiler(**SMALL).fit(accelir.codec("jpeg"), network, [path])


def test_options_for_gray_are_told_where_they_differ(tmp_path, photographs, network) -> None:
    """Noise that is the same in all channels is better left out of the file than to a network of colour."""

    class Choosing(JpegCodec):
        tunings = ({"rdo": 0.05, "shape": 1.0}, {"rdo": 0.8, "shape": 1.5, "trust": 0.0})
        search_space: ClassVar[dict[str, Any]] = {}

    class Alike(JpegCodec):
        tunings = ({"rdo": 0.05, "shape": 1.0},)
        search_space: ClassVar[dict[str, Any]] = {"guided_rdo": (0.15, 0.3)}

    made = StandardProfiler(**{**SMALL, "tuning_crops": 2}).fit(Choosing(), network, photographs)
    assert made.header.codec_options == Choosing.tunings[0]
    assert made.header.gray_options == Choosing.tunings[1]
    assert Profile.load(made.save(tmp_path / "p.safetensors")).header == made.header
    assert made.options(photographs[0]) == Choosing.tunings[0]
    assert made.options(photographs[0][:, :, 0]) == Choosing.tunings[1]
    alike = StandardProfiler(**SMALL).fit(Alike(), network, photographs)
    assert alike.header.gray_options is None
    assert alike.options(photographs[0][:, :, 0]) == alike.header.codec_options


def test_options_are_taken_over_from_another_profile(photographs, network, profile) -> None:
    header = profile.header.model_copy(update={"codec_options": {"rdo": 0.11}, "gray_options": {"rdo": 0.7}})
    other = replace(profile, header=header)
    made = StandardProfiler(**SMALL, options_of=other).fit(accelir.codec("jpeg"), network, photographs)
    assert (made.header.codec_options, made.header.gray_options) == ({"rdo": 0.11}, {"rdo": 0.7})
    assert made.header.provenance["options_of"] == network.name
    with pytest.raises(InvalidInputError, match="of the same codec, webp 1; got one of jpeg"):
        StandardProfiler(**SMALL, options_of=other).fit(accelir.codec("webp"), network, photographs)


def test_the_same_seed_makes_the_same_profile(profile, photographs, network) -> None:
    again = StandardProfiler(**SMALL).fit(accelir.codec("jpeg"), network, photographs)
    assert again.header == profile.header
    assert np.array_equal(again.curves.size, profile.curves.size)
    assert np.array_equal(again.basis.directions, profile.basis.directions)


def test_curves_are_monotone_and_cover_all_levels(profile) -> None:
    assert profile.curves.size.shape == (3, len(accelir.codec("jpeg").levels))
    assert (np.diff(profile.curves.size, axis=1) >= 0).all()
    assert (np.diff(profile.curves.error, axis=1) <= 1e-6).all()


def test_the_predictor_is_light(profile) -> None:
    assert profile.predictor.macs_per_pixel <= 1000


def test_profiles_of_earlier_predictors_are_read(profile, tmp_path) -> None:
    shape = len(profile.predictor.net.sensitivity.bias), len(profile.curves.size)
    earlier = predictor_module.PredictorNet(profile.header.block, *shape, stem="pixels")
    stored = replace(profile, predictor=predictor_module.Predictor(earlier.half().float().eval()))
    read = Profile.load(stored.save(tmp_path / "earlier.safetensors"))
    image = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    for told, again in zip(stored.predictor.predict(image), read.predictor.predict(image), strict=True):
        assert np.array_equal(told, again)
    with pytest.raises(accelir.InvalidInputError, match="patches or pixels"):
        predictor_module.PredictorNet(8, *shape, stem="squares")


def test_prediction_follows_the_measured_sensitivity(photographs, network) -> None:
    shipped = accelir.profile_for("jpeg", network)
    codec = accelir.codec("jpeg", **shipped.header.codec_options)
    image = network.task.degrade(photographs[0][:256, :256], np.random.default_rng(0))
    measured = measure_sensitivity(codec, network, image, probes=8)
    predicted = shipped.predict(image, codec).sensitivity
    blocks = [np.log(values.mean(axis=2)).ravel() for values in (measured, predicted)]
    assert np.corrcoef(*blocks)[0, 1] > 0.7


@pytest.mark.parametrize(("fast", "tolerance"), [(False, 1e-5), (True, 1e-2)])
@pytest.mark.parametrize("block", [4, 8, 16, 32])
@pytest.mark.parametrize(("stem", "values"), [("patches", 3), ("pixels", 12)])
def test_strips_say_what_the_whole_says(block, fast, tolerance, stem, values, monkeypatch) -> None:
    torch.manual_seed(0)
    net = predictor_module.PredictorNet(block, 5, 3, stem=stem)
    pixels = torch.randint(0, 256, (1, 3, 7 * block, 3 * block), dtype=torch.uint8)
    with torch.no_grad():
        whole = net(pixels.float() / 255)
        for rows in (1, 2, 3, 7, 20):
            monkeypatch.setattr(predictor_module, "STRIP_VALUES", values * 3 * block * block * rows)
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                parts = net.in_strips(pixels)
            for part, expected in zip(parts, whole, strict=True):
                assert torch.allclose(part.float(), expected, atol=tolerance)


def test_inputs_may_be_made_by_another_task(photographs, network) -> None:
    class Watching(type(network.task)):
        """Remembers what it is shown."""

        def __init__(self) -> None:
            self.__dict__ |= vars(network.task) | {"name": "watching"}

        def degrade(self, reference: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            seen.append(reference.shape)
            return super().degrade(reference, rng)

    seen: list = []
    made = StandardProfiler(**SMALL, task=Watching()).fit(accelir.codec("jpeg"), network, photographs)
    assert {len(shape) for shape in seen} == {2, 3}, "gray pictures too"
    assert made.header.provenance["task"] == "watching"
    other = accelir.task("denoise-s25" if network.task.scale > 1 else "sr-x4")
    with pytest.raises(InvalidInputError, match="scale"):
        StandardProfiler(**SMALL, task=other).fit(accelir.codec("jpeg"), network, photographs)


def test_what_all_blocks_share_is_told_by_whole_pictures(photographs) -> None:
    module = torch.nn.Conv2d(3, 3, 3, padding=1)
    of_blur = accelir.TorchNetwork(module, task=accelir.Deblur(), name="sharp", receptive_field=3)
    of_noise = accelir.TorchNetwork(module, task=accelir.Denoise(5), name="clean", receptive_field=3)
    profiler = StandardProfiler()
    assert [profiler._crops_and_probes(net) for net in (of_blur, of_noise)] == [(256, 1), (96, 4)]
    codec, random = accelir.codec("jpeg"), np.random.default_rng(0)
    assert [len(profiler._crop(photographs[0], codec, net, random)) for net in (of_blur, of_noise)] == [384, 192]
    few = StandardProfiler(**SMALL | {"tuning_crops": 0})
    shared, local = (few.fit(codec, net, photographs).predictor for net in (of_blur, of_noise))
    assert shared.context is not None and local.context is None


def test_an_interrupted_run_resumes(tmp_path, profile, photographs, network) -> None:
    folder = tmp_path / "checkpoint"

    def interrupt(done: int, total: int, what: str) -> None:
        if what == "measuring curves":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        StandardProfiler(**SMALL).fit(
            accelir.codec("jpeg"), network, photographs, progress=interrupt, checkpoint=folder
        )
    assert len(list(folder.glob("crop-*.npy"))) == SMALL["crops"]
    written = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    resumed = StandardProfiler(**SMALL).fit(accelir.codec("jpeg"), network, photographs, checkpoint=folder)
    assert np.array_equal(resumed.curves.size, profile.curves.size)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == written
    # Other photographs, or another network, do not resume from it.
    StandardProfiler(**SMALL).fit(accelir.codec("jpeg"), network, photographs[::-1], checkpoint=folder)
    assert len(list(folder.iterdir())) == 2 * SMALL["crops"]


def test_a_profile_is_for_its_codec_and_network_only(profile, network) -> None:
    profile.check(accelir.codec("jpeg"), network)
    with pytest.raises(ProfileMismatchError, match="edsr-x4-f8"):
        profile.check(accelir.codec("jpeg"), accelir.network("edsr-x4-f8"))

    class Renamed(type(accelir.codec("jpeg"))):
        name = "other"

    with pytest.raises(ProfileMismatchError, match="codec 'jpeg'"):
        profile.check(Renamed(), network)


def test_what_is_no_profile_is_refused(tmp_path, profile) -> None:
    path = profile.save(tmp_path / "p.safetensors")
    data = path.read_bytes()
    with pytest.raises(ProfileFormatError):
        Profile.load(data[: len(data) // 2])
    with pytest.raises(ProfileFormatError):
        Profile.load(b"nonsense")
    with pytest.raises(DecodeError):
        Profile.load(tmp_path / "missing.safetensors")
    header = json.loads(profile.header.model_dump_json()) | {"version": 99}
    newer = save_tensors(load_tensors(data), {"accelir": json.dumps(header)})
    with pytest.raises(ProfileFormatError, match="version 99"):
        Profile.load(newer)
    tensors = load_tensors(data)
    cut = tensors | {"curves.error": tensors["curves.error"][:, :5]}
    for damaged in (
        save_tensors(cut, {"accelir": profile.header.model_dump_json()}),
        save_tensors(tensors, {"accelir": "[]"}),
    ):
        with pytest.raises(ProfileFormatError):
            Profile.load(damaged)


def test_a_gray_image_gets_a_gray_estimate(profile, photographs) -> None:
    codec = accelir.codec("jpeg", **profile.header.codec_options)
    gray = np.ascontiguousarray(photographs[0][:50, :61, 1])
    estimate = profile.predict(gray, codec)
    assert estimate.groups.shape == (7, 8) and estimate.sensitivity.shape == (7, 8, 64)
    assert codec.prepare(gray, sensitivity=estimate.sensitivity).write(14).levels.shape == (7, 8)


def test_another_subsampling_keeps_the_blocks_but_not_the_coefficients(profile, photographs) -> None:
    codec = accelir.codec("jpeg", **profile.header.codec_options | {"subsampling": "422"})
    image = photographs[0][:50, :61]
    usual, estimate = (profile.predict(image, coder) for coder in (accelir.codec("jpeg"), codec))
    np.testing.assert_array_equal(estimate.groups, usual.groups)
    assert estimate.curves is usual.curves
    assert estimate.sensitivity.shape == (4, 4, 512)
    assert codec.prepare(image, sensitivity=estimate.sensitivity).write(14).levels.shape == (4, 4)


def test_basis_describes_what_it_spans() -> None:
    rng = np.random.default_rng(0)
    directions = np.linalg.qr(rng.standard_normal((6, 2)))[0].T.astype(np.float32)
    basis = Basis(rng.standard_normal(6).astype(np.float32), directions)
    coefficients = rng.standard_normal((3, 4, 2)).astype(np.float32)
    assert np.allclose(basis.describe(basis.restore(coefficients)), coefficients, atol=1e-4)


def test_block_errors_add_up() -> None:
    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 256, (37, 21, 3), dtype=np.uint8) for _ in range(2))
    errors = block_errors(first, second, 16)
    assert errors.shape == (3, 2)
    assert np.isclose(errors.sum(), ((first.astype(float) - second) ** 2).sum())


def test_curves_are_fitted_to_what_was_measured() -> None:
    count = np.array([[1, 0, 1], [1, 0, 1]])
    samples = BlockSamples(np.array([[10.0, 0, 30], [20, 0, 40]]), np.array([[9.0, 0, 1], [7, 0, 3]]), count)
    curves = fit_curves(samples, np.zeros(2, np.int32), 1)
    assert np.allclose(curves.size, [[15, 25, 35]]) and np.allclose(curves.error, [[8, 5, 2]])


def test_harmonised_slopes_are_equal_over_groups_and_trusted_ones_are_kept() -> None:
    rng = np.random.default_rng(1)
    size = np.cumsum(rng.uniform(1, 2, (3, 6)), axis=1)
    error = np.cumsum((rng.uniform(1, 2, (3, 6)) * 0.5 ** np.arange(6))[:, ::-1], axis=1)[:, ::-1]
    curves = Curves(size, error)
    slopes = -np.diff(harmonise(curves, np.ones(3), 0.0).error, axis=1) / np.diff(size, axis=1)
    assert np.allclose(slopes, slopes[:1]) and (np.diff(slopes[0]) < 0).all()
    assert np.allclose(harmonise(curves, np.ones(3), 1.0).error, error)


def test_a_profile_keeps_the_options_that_it_was_made_with(photographs, network) -> None:
    made = StandardProfiler(**SMALL).fit(accelir.codec("jpeg", subsampling="444", rdo=0.3), network, photographs)
    assert made.header.block == 8
    assert {"subsampling": "444", "rdo": 0.3}.items() <= made.header.codec_options.items()
    encoded = accelir.encode(photographs[0][:64, :64], network=network, budget=accelir.Bytes(3000), profile=made)
    assert encoded.block == 8


@pytest.mark.parametrize("bad", [{"groups": 0}, {"crops": 0}, {"probes": 0}, {"groups": 999}])
def test_settings_that_cannot_be_are_refused(bad, photographs, network) -> None:
    with pytest.raises(InvalidInputError, match=next(iter(bad))):
        StandardProfiler(**{**SMALL, **bad}).fit(accelir.codec("jpeg"), network, photographs)


def test_crops_cover_whole_blocks(photographs, network) -> None:
    made = StandardProfiler(**{**SMALL, "side": 50}).fit(accelir.codec("jpeg"), network, photographs)
    assert made.predict(photographs[0][:32, :32], accelir.codec("jpeg")).groups.shape == (2, 2)


@pytest.mark.parametrize(("field", "side"), [(3, 192), (None, 384)])
def test_a_network_that_looks_at_everything_gets_larger_crops(field, side, photographs) -> None:
    network = accelir.TorchNetwork(
        torch.nn.Conv2d(3, 3, 3, padding=1), task=accelir.Denoise(25), name="any", receptive_field=field
    )
    usual = {key: value for key, value in SMALL.items() if key != "side"}
    made = StandardProfiler(**{**usual, "tuning_crops": 0}).fit(accelir.codec("jpeg"), network, photographs)
    assert made.header.provenance["side"] == side


def test_levels_that_measured_alike_stay_apart() -> None:
    """Where noise would turn a curve around, neighbours are pooled, and the curve goes on falling through them."""
    levels = np.arange(12)
    size = 100 * 1.1**levels
    error = 1000 * 0.8**levels
    error[5], error[6] = error[6], error[5]
    count = np.ones((1, 12), np.int64)
    curves = fit_curves(BlockSamples(size[None], error[None], count), np.zeros(1, np.int32), 1)
    assert (np.diff(curves.error[0]) < 0).all() and (np.diff(curves.size[0]) > 0).all()
    true_slopes = (1000 * 0.8 ** levels[:-1] * 0.2) / np.diff(size)
    for trust in (0.0, 1.0):
        made = harmonise(curves, np.ones(1), trust)
        slopes = -np.diff(made.error[0]) / np.diff(made.size[0])
        assert (np.abs(np.log(slopes / true_slopes)) < 1).all()
    flat = harmonise(Curves(size[None], np.full((1, 12), 7.0)), np.ones(1), 0.0)
    assert (np.diff(-np.diff(flat.error[0]) / np.diff(flat.size[0])) < 0).all()


def test_levels_beyond_the_finest_of_a_format_stay_apart() -> None:
    """Where every group's curve ends flat, each level is still the choice at some slope, whatever the units."""
    levels = np.minimum(np.arange(29), 23)
    for units in (1e-3, 1, 1e5):
        curves = Curves(100 * np.outer([1, 30], 1.1**levels), units * np.outer([60, 700], 0.9**levels))
        for trust in (0.0, 0.5, 1.0):
            made = harmonise(curves, np.ones(2), trust)
            for size, error in zip(made.size, made.error, strict=True):
                assert len(lower_hull(size, error)) == 29


@pytest.mark.parametrize("path", sorted(Path(accelir_plugins.__file__).parent.glob("profiles/*.safetensors")), ids=str)
def test_shipped_curves_offer_every_level(path) -> None:
    profile = Profile.load(path)
    curves = profile.curves
    # Levels beyond the finest quantiser of a format are one: VP8's has a step of 2.3.
    beyond = 7 if profile.header.codec == "webp" else 0
    for size, error in zip(curves.size, curves.error, strict=True):
        assert len(lower_hull(size, error)) >= curves.size.shape[1] - beyond


def test_measured_blocks_are_those_of_the_files(photographs) -> None:
    codec = accelir.codec("jpeg")
    image = photographs[1][:48, :64]
    prepared = codec.prepare(image)
    samples = measure_blocks(
        codec, prepared, (3, 4), lambda decoded: block_errors(decoded, image, 16), spacing=7, jitter=0
    )
    level = int(np.flatnonzero(samples.count[0])[1])
    encoded = prepared.write(level)
    assert np.allclose(samples.size[:, level], encoded.block_bits.ravel())
    assert np.isclose(samples.error[:, level].sum(), ((codec.decode(encoded.data).astype(float) - image) ** 2).sum())


@pytest.mark.parametrize("name", CONTROLS)
def test_controls_are_estimates(name, photographs, network) -> None:
    reference = photographs[0][:64, :80]
    image = network.task.degrade(reference, np.random.default_rng(0))
    estimate = control_estimate(name, accelir.codec("jpeg"), network, image, reference)
    assert estimate.groups.shape == (4, 5)
    assert (estimate.sensitivity is not None) == (name == "oracle")


def test_the_oracle_needs_the_reference_and_unknown_names_are_refused(photographs, network) -> None:
    image = photographs[0][:32, :32]
    with pytest.raises(InvalidInputError, match="reference"):
        control_estimate("oracle", accelir.codec("jpeg"), network, image, None)
    with pytest.raises(InvalidInputError, match="plain-mse"):
        control_estimate("guess", accelir.codec("jpeg"), network, image, None)


def test_without_gradients_nothing_is_measured(photographs) -> None:
    network = accelir.network("dncnn-s25-f8")
    network.differentiable = False
    with pytest.raises(NotDifferentiableError, match="profile"):
        measure_sensitivity(accelir.codec("jpeg"), network, photographs[0][:32, :32])
    blind = StandardProfiler(**SMALL).fit(accelir.codec("jpeg"), network, photographs)
    assert blind.basis is None
    # Only blocks whose curve was measured teach the predictor their group.
    assert blind.header.provenance["crops"] == SMALL["curve_crops"]
    assert blind.predict(photographs[0][:32, :32], accelir.codec("jpeg")).sensitivity is None


def test_malformed_estimates_are_refused() -> None:
    curves = Curves(np.array([[1.0, 2]]), np.array([[2.0, 1]]))
    with pytest.raises(InvalidInputError, match="Groups"):
        Estimate(np.ones((2, 2), np.int32), curves)
    with pytest.raises(InvalidInputError, match="Sensitivity"):
        Estimate(np.zeros((2, 2), np.int32), curves, np.full((2, 2, 4), np.nan, np.float32))
    with pytest.raises(InvalidInputError, match="same shape"):
        Curves(np.zeros((1, 2)), np.zeros((1, 3)))
