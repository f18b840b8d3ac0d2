"""Large photographs: sizes foreseen from a sample, few files written, the same bytes whatever the threads."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import accelir
from accelir.codec import PreparedWithMetadata
from accelir.metadata import Metadata
from accelir.threads import LIMIT
from accelir_plugins.jpeg import JpegCodec
from accelir_plugins.jpeg.codec import JpegPrepared
from accelir_plugins.jpeg.entropy import count_symbols
from accelir_plugins.jpeg.quantise import round_all
from accelir_plugins.jpeg.sample import ENOUGH, take_sample

NETWORK = "edsr-x4-f16"


@pytest.fixture(scope="module")
def large() -> np.ndarray:
    from sklearn.datasets import load_sample_images

    china, flower = load_sample_images().images
    rows = [np.concatenate([china, flower[:, ::-1], china[::-1]], axis=1), np.concatenate([flower] * 3, axis=1)]
    return np.ascontiguousarray(np.concatenate([*rows, rows[0][:, ::-1]])[:1277, :1913])


@pytest.fixture(scope="module")
def prepared(large) -> JpegPrepared:
    return JpegCodec().prepare(large)


def sensitivity_of(codec: JpegCodec, image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(image.shape).astype(np.float32)
    return codec.project(noise) ** 2 + 0.1


def test_only_large_pictures_are_foreseen(large, prepared):
    assert prepared.foresees
    small = JpegCodec().prepare(large[:300, :400])
    assert not small.foresees
    assert small.size(12) == len(small.write(12).data)


@pytest.mark.parametrize("options", [{}, {"rdo": 0.0}, {"subsampling": "444"}, {"restart_interval": 2}])
@pytest.mark.parametrize("weighted", [False, True])
def test_foreseen_sizes_are_near_and_move_as_the_files_do(large, options, weighted):
    codec = JpegCodec(**options)
    found = codec.prepare(large, sensitivity=sensitivity_of(codec, large) if weighted else None)
    mixed = np.random.default_rng(1).integers(10, 20, codec.level_map(large, 0).shape)
    for levels in (8, 16, mixed):
        ratios = [found.size(levels, trim) / len(found.write(levels, trim).data) for trim in (0.0, 0.4)]
        assert ratios[0] == pytest.approx(1, abs=0.03)
        assert ratios[1] == pytest.approx(ratios[0], rel=0.01)


@pytest.mark.parametrize(
    "options", [{}, {"rdo": 0.0}, {"subsampling": "444"}, {"subsampling": "422"}, {"restart_interval": 1}]
)
def test_foreseen_sizes_are_nearest_about_the_first_one(large, options):
    """Its file is what the sample is taken for; headers, stuffing and restart markers are counted."""
    codec = JpegCodec(**options)
    near = 0.013 if options.get("subsampling") == "444" else 0.008
    for level in (4, 8, 14):
        found = codec.prepare(large, sensitivity=sensitivity_of(codec, large))
        for trim in (0.0, 0.5):
            assert found.size(level, trim) == pytest.approx(len(found.write(level, trim).data), rel=near)


def test_what_luma_makes_up_for_is_foreseen(large):
    foreseen, written = {}, {}
    for share in (0.0, 1.0):
        found = JpegCodec(compensation=share).prepare(large)
        foreseen[share], written[share] = found.size(3), len(found.write(3).data)
    assert written[1.0] < 0.995 * written[0.0]
    assert foreseen[1.0] / foreseen[0.0] == pytest.approx(written[1.0] / written[0.0], abs=0.002)


def test_a_sample_is_taken_anew_for_files_of_another_size(large):
    fresh = {level: JpegCodec().prepare(large).size(level) for level in (3, 20)}
    found = JpegCodec().prepare(large)
    assert [found.size(level) for level in (20, 3, 20)] == [fresh[20], fresh[3], fresh[20]]


def test_moved_coefficients_are_foreseen_anew(large):
    found = JpegCodec().prepare(large)
    before = found.size(14), len(found.write(14).data)
    noise = np.random.default_rng(0).normal(0, 12, (*JpegCodec().level_map(large, 0).shape, 384))
    moved = found.moved(noise.astype(np.float32))
    after = moved.size(14), len(moved.write(14).data)
    assert after[1] > 1.2 * before[1]
    assert after[0] / before[0] == pytest.approx(after[1] / before[1], rel=0.02)


def test_what_is_learned_of_costs_is_of_all_columns():
    """Also where a sample of every so many runs would have the same columns in every row."""
    generator = np.random.default_rng(0)
    tall = np.full((4080, 512, 3), 128, np.uint8)
    tall[:, 256:] = generator.integers(0, 256, (4080, 256, 3))
    prepared = JpegCodec().prepare(tall)
    sample = take_sample(prepared.coefficients, prepared.weights, prepared.form)
    half = (sample.units % prepared.form.columns >= prepared.form.columns // 2).mean()
    assert half == pytest.approx(0.5, abs=0.05)


def test_foreseeing_leaves_no_trace(large, prepared):
    other = JpegCodec().prepare(large)
    expected = other.write(14, 0.2).data
    assert prepared.size(3) < prepared.size(20)
    assert prepared.write(14, 0.2).data == expected


def test_a_sample_is_of_whole_runs_and_of_all_kinds(prepared):
    file = np.full((2, 64), 24), np.full(len(prepared.coefficients), 10.0)
    sample = take_sample(prepared.coefficients, prepared.weights, prepared.form, file)
    assert 2 * len(sample.units) == ENOUGH
    assert (np.diff(sample.units.reshape(-1, 16), axis=1) == 1).all()
    assert len(np.unique(sample.units)) == len(sample.units)
    assert sample.share == len(sample.units) / len(prepared.coefficients)
    energy = np.abs(prepared.coefficients[:, :, 1:].astype(float)).mean()
    assert np.abs(sample.coefficients[:, :, 1:].astype(float)).mean() == pytest.approx(energy, rel=0.05)


@pytest.mark.parametrize("quality", [10, 50, 92])
def test_a_budget_takes_few_files_and_is_filled(large, quality, monkeypatch):
    written = []
    write = JpegPrepared.write

    def counted(self, levels, trim=0.0):
        # Those of the small sample that tells whether chroma is halved take no time.
        if self._image.shape == large.shape:
            written.append((np.array(levels).tobytes(), trim))
        return write(self, levels, trim)

    monkeypatch.setattr(JpegPrepared, "write", counted)
    stream = io.BytesIO()
    Image.fromarray(large).save(stream, "JPEG", quality=quality, optimize=True)
    budget = len(stream.getvalue())
    encoded = accelir.encode(large, network=NETWORK, budget=accelir.LikeQuality(quality))
    assert 0.98 * budget <= len(encoded.data) <= budget
    assert len(written) <= 2
    assert len(set(written)) == len(written)


@pytest.mark.parametrize("budget", [400, 10_000_000])
def test_budgets_out_of_reach(large, budget):
    if budget == 400:
        with pytest.raises(accelir.BudgetError, match="400"):
            accelir.encode(large, network=NETWORK, budget=accelir.Bytes(budget))
    else:
        encoded = accelir.encode(large, network=NETWORK, budget=accelir.Bytes(budget))
        assert np.mean((JpegCodec().decode(encoded.data).astype(float) - large) ** 2) < 25


def test_metadata_counts_in_what_is_foreseen(large, prepared):
    metadata = Metadata(exif=b"MM\0*\0\0\0\x08\0\0\0\0\0\0" + bytes(3000))
    with_metadata = PreparedWithMetadata(JpegCodec(), prepared, metadata)
    assert with_metadata.foresees
    more = len(with_metadata.write(9).data) - len(prepared.write(9).data)
    assert more > 3000
    assert with_metadata.size(9) - prepared.size(9) == more


def test_bytes_do_not_depend_on_the_number_of_threads(large, monkeypatch):
    import torch

    found, before = set(), torch.get_num_threads()
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            monkeypatch.setenv(LIMIT, str(threads))
            found.add(accelir.encode(large, network=NETWORK, budget=accelir.BitsPerPixel(1)).data)
    finally:
        torch.set_num_threads(before)
    assert len(found) == 1


@pytest.mark.parametrize("options", [{}, {"restart_interval": 70}])
def test_large_files_hold_the_pixels_whatever_the_process(large, options):
    """Symbols are counted in pieces: none is missed where one piece ends."""
    tall = np.concatenate([large, large[::-1]])
    files = [JpegCodec(process=process, **options).encode(tall, 13).data for process in ("baseline", "progressive")]
    first, second = (JpegCodec().decode(data) for data in files)
    assert np.array_equal(first, second)


def test_a_sample_has_as_many_dc_bits_as_the_image(prepared) -> None:
    """Though each of its runs begins far from where the one before ended."""
    sample = take_sample(prepared.coefficients, prepared.weights, prepared.form)
    tables = np.full((2, 64), 40, np.int64)
    bits = {}
    for name, coefficients, form in (
        ("image", prepared.coefficients, prepared.form),
        ("sample", sample.coefficients, sample.form),
        ("joints", sample.coefficients, replace(sample.form, run=0)),
    ):
        (luma, chroma), _ = count_symbols(round_all(coefficients, tables, form), form)
        # What is told of the differences is their sizes, in as many bits.
        bits[name] = np.array([(counts * np.arange(256)).sum() / counts.sum() for counts in (luma, chroma)])
    assert np.abs(bits["sample"] / bits["image"] - 1).max() < 0.04
    assert (bits["joints"] > bits["sample"]).all()
