"""The WebP codec against independent truth: decoders that did not learn from it, Pillow's encoder, and brute force."""

from __future__ import annotations

import io
import itertools
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from accelir.errors import CodecError, InvalidInputError
from accelir.metadata import Metadata
from accelir.testing import codec_checks, picture
from accelir_plugins.planar.planes import LUMA_FOR_CHROMA, to_planes
from accelir_plugins.webp import WebpCodec, container, quantise, segments, transform
from accelir_plugins.webp.codec import _LOG_STEPS
from accelir_plugins.webp.coder import FIXED, code
from accelir_plugins.webp.frame import encode
from accelir_plugins.webp.tables import (
    AC_STEPS,
    BANDS,
    BIT_COSTS,
    COEFFICIENT_PROBABILITIES,
    TOKEN_TREE,
    UPDATE_PROBABILITIES,
    ZIGZAG,
)
from strangers import by_browser, by_pillow

FINEST = len(WebpCodec.levels) - 1
SIZES = [(1, 1), (1, 17), (16, 16), (17, 33), (40, 23), (96, 112)]
METADATA = Metadata(
    icc=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    # A tag, Artist, and where its text stands.
    exif=b"II*\0\x08\0\0\0\x01\0\x3b\x01\x02\0\x09\0\0\0\x1a\0\0\0\0\0\0\0somebody\0",
    xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    from sklearn.datasets import load_sample_image

    return np.ascontiguousarray(load_sample_image("china.jpg")[120:312, 160:416])


@pytest.mark.parametrize(("name", "check"), codec_checks())
@pytest.mark.parametrize("options", [{}, {"rdo": 0}], ids=["default", "rounding"])
def test_conformance(name, check, options):
    check(WebpCodec(**options))


def psnr(decoded: np.ndarray, image: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((decoded.astype(float) - image) ** 2)))


class Reader:
    """The bits of a partition (RFC 6386, section 7)."""

    def __init__(self, data: bytes) -> None:
        self.value, self.width, self.data, self.at, self.shifted = int.from_bytes(data[:2], "big"), 255, data, 2, 0

    def bit(self, probability: int = 128) -> int:
        split = 1 + ((self.width - 1) * probability >> 8)
        bit = int(self.value >= split << 8)
        self.value -= bit * split << 8
        self.width = self.width - split if bit else split
        while self.width < 128:
            self.value, self.width, self.shifted = self.value << 1, self.width << 1, self.shifted + 1
            if self.shifted == 8:
                self.value |= self.data[self.at] if self.at < len(self.data) else 0
                self.at, self.shifted = self.at + 1, 0
        return bit

    def number(self, bits: int) -> int:
        return sum(self.bit() << shift for shift in range(bits - 1, -1, -1))

    def optional(self, bits: int) -> int:
        if not self.bit():
            return 0
        magnitude = self.number(bits)
        return -magnitude if self.bit() else magnitude


def quantisers_of(data: bytes) -> list[int]:
    """The quantiser indices of the segments, or that of all, read from the header of a frame (section 19.2)."""
    frame = data[data.index(b"VP8 ") + 8 :]
    bits = Reader(frame[10:])
    assert bits.number(2) == 0
    segmented, found = bits.bit(), []
    if segmented:
        assert bits.number(3) == 0b111
        found = [bits.optional(7) for _ in range(4)]
        [bits.optional(6) for _ in range(4)]
        [bits.bit() and bits.number(8) for _ in range(3)]
    bits.number(10)
    assert bits.bit() == 0
    bits.number(2)
    return found if segmented else [bits.number(7)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("gray", [False, True])
def test_any_size_opens_near_to_the_picture(size, gray):
    """And other decoders see a gray picture as R = G = B, to one step."""
    image = picture(*size, gray=gray)
    data = WebpCodec().encode(image, FINEST).data
    assert np.array_equal(WebpCodec().decode(data).shape, image.shape)
    seen = by_pillow(data).astype(int)
    assert seen.shape == (*size, 3)
    # Half of the colours of a single pixel is chroma that it does not share.
    assert psnr(WebpCodec().decode(data), image) > 38
    if gray:
        assert np.ptp(seen, axis=2).max() <= 1


def test_a_picture_in_colours_that_are_gray_comes_back_in_colours():
    image = np.repeat(picture(40, 40, gray=True)[:, :, None], 3, axis=2)
    assert WebpCodec().decode(WebpCodec().encode(image, 12).data).shape == image.shape


def test_decoders_make_the_samples_that_the_encoder_went_by(photo):
    """Luma by FFmpeg, without the loop filter, to the last bit: blocks, quantisers and modes of all kinds."""
    av = pytest.importorskip("av", reason="PyAV is not installed", exc_type=ImportError)
    rng = np.random.default_rng(0)
    for image in (photo, rng.integers(0, 256, (50, 70, 3)).astype(np.uint8), picture(33, 97)):
        planes = to_planes(image, "limited", "sharp")
        grid = tuple(-(-side // 16) for side in image.shape[:2])
        for quantisers in ((0, 3, 5, 9), (20, 30, 40, 50), (70, 90, 110, 127), (0, 40, 80, 127), (25,)):
            indices = rng.choice(quantisers, grid)
            frame = encode(planes.luma, planes.chroma, indices, 0.02 * AC_STEPS[indices].astype(float) ** 2)
            context = av.CodecContext.create("vp8", "r")
            context.options = {"skip_loop_filter": "all"}
            (decoded,) = [*context.decode(av.Packet(frame.data)), *context.decode(None)]
            height, width = image.shape[:2]
            luma = np.frombuffer(decoded.planes[0], np.uint8).reshape(-1, decoded.planes[0].line_size)[:height, :width]
            np.testing.assert_array_equal(luma, frame.luma[:height, :width])
            assert frame.bits.sum() / 8 == pytest.approx(len(frame.data), rel=0.03, abs=600)


def test_the_quantisers_written_are_those_chosen(photo):
    """One for a uniform map, four at most, and the nearest to what is wanted."""
    codec = WebpCodec()
    planes = to_planes(photo, "limited", "sharp")
    for step in (4.0, 11.3, 50.0):
        data, written, _ = codec.picture(planes, np.full((12, 16), np.log2(step), np.float32))
        (index,) = quantisers_of(data)
        assert abs(_LOG_STEPS[index] - np.log2(step)) == np.abs(_LOG_STEPS - np.log2(step)).min()
        assert np.allclose(written, np.log2(step), atol=1e-4)
    wanted = np.repeat(np.float32([3, 3.7, 4.6, 5]), 48).reshape(12, 16)
    data, *_ = codec.picture(planes, wanted)
    assert np.allclose(_LOG_STEPS[quantisers_of(data)], [3, 3.7, 4.6, 5], atol=0.05)
    # Beyond the quantisers of the format nothing happens.
    coarsest, written, _ = codec.picture(planes, np.full((12, 16), 12, np.float32))
    assert quantisers_of(coarsest) == [127]
    assert np.allclose(written, _LOG_STEPS[-1])


@pytest.mark.parametrize("seed", range(6))
def test_segments_are_the_cheapest_of_all(seed):
    """Against all sets of up to three quantisers, on few blocks; four are no dearer."""
    rng = np.random.default_rng(seed)
    logs = np.linspace(2, 6, 25)
    wanted = rng.normal(4, rng.uniform(0.1, 1.2), (8, 9)).astype(np.float32)
    weights = rng.uniform(1, 200, (8, 9)).astype(np.float32)

    def cost(chosen: np.ndarray) -> float:
        counts = np.unique(chosen, return_counts=True)[1] / chosen.size
        error = (weights.astype(float) * (wanted - logs[chosen]) ** 2).sum()
        return float(
            segments._EXCESS * error
            + (len(counts) > 1) * (segments._HEADER - chosen.size * (counts * np.log2(counts)).sum())
        )

    def nearest(some: tuple[int, ...]) -> np.ndarray:
        return np.array(some)[np.abs(wanted[:, :, None] - logs[list(some)]).argmin(axis=2)]

    found = segments.cluster(wanted, logs, weights)
    assert len(np.unique(found)) <= 4
    within = [i for i in range(25) if wanted.min() - 0.2 < logs[i] < wanted.max() + 0.2]
    errors = {
        count: min(
            itertools.combinations(within, count),
            key=lambda some: (weights.astype(float) * (wanted - logs[nearest(some)]) ** 2).sum(),
        )
        for count in (1, 2, 3)
    }
    assert cost(found) <= min(cost(nearest(some)) for some in errors.values()) + 1e-6


def test_the_coder_is_what_a_decoder_expects():
    """Long runs of carries among them."""
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, FIXED + 256, 20000)
    numbers[5000:9000] = FIXED + 255
    numbers[numbers == FIXED] = FIXED + 1
    table = np.concatenate([COEFFICIENT_PROBABILITIES.ravel(), np.arange(256)])
    bits = (rng.random(20000) * 256 >= table[numbers]).astype(int)
    bits[5000:9000] = rng.random(4000) < 0.3
    data = code((2 * numbers + bits).astype(np.uint16), COEFFICIENT_PROBABILITIES)
    reader = Reader(data)
    assert [reader.bit(int(table[number])) for number in numbers] == bits.tolist()
    assert 8 * len(data) == pytest.approx(BIT_COSTS[table[numbers], bits].sum(), rel=0.03)


def test_tables_are_those_of_the_standard():
    """Sums and ends, as RFC 6386 has them."""
    assert (len(AC_STEPS), AC_STEPS[0], AC_STEPS[-1], AC_STEPS[64]) == (128, 4, 284, 78)
    assert COEFFICIENT_PROBABILITIES[1, 0, 0].tolist() == [198, 35, 237, 223, 193, 187, 162, 160, 145, 155, 62]
    assert UPDATE_PROBABILITIES[0, 1, 0, :2].tolist() == [176, 246]


def test_transforms_come_back():
    """Forwards and as decoders do it backwards: to rounding."""
    rng = np.random.default_rng(0)
    for _ in range(50):
        tile = rng.integers(0, 256, (1, 16)).astype(np.float32)
        prediction = rng.integers(0, 256, 16).astype(np.float32)
        lanes = (tile[0] - prediction)[:, None].copy()
        coefficients = np.zeros((17, 16), np.float32)
        transform.forward(lanes, 0, coefficients, 0)
        assert (coefficients[0] ** 2).sum() == pytest.approx(4 * (lanes**2).sum(), rel=1e-4)
        plane = np.zeros((4, 4), np.uint8)
        transform.inverse(np.rint(coefficients[0]).astype(np.int64), tile, 0, lanes, 0, plane, 0, 0)
        assert np.abs(plane.ravel() - tile[0]).max() <= 1
        coefficients[:16, 0] = rng.normal(0, 200, 16)
        transform.forward_walsh(coefficients)
        block = np.rint(coefficients[16]).astype(np.int64)
        transform.inverse_walsh(block)
        assert np.abs(block - coefficients[:16, 0]).max() <= 1.5


def bits_of(levels: np.ndarray, start: int, kind: int, context: int) -> float:
    """By hand, with the probabilities that frames start from."""
    last = max((place for place in range(start, 16) if levels[place]), default=-1)
    bits, follows = 0.0, True
    for place in range(start, last + 1):
        p = COEFFICIENT_PROBABILITIES[kind, BANDS[place], context]
        bits += BIT_COSTS[p[0], 1] * follows
        size = abs(int(levels[place]))
        assert size <= 4
        bits += sum(BIT_COSTS[p[where], bit] for where, bit in TOKEN_TREE[size] if where >= 0) + (size > 0)
        follows, context = size > 0, min(size, 2)
    if last < 15:
        bits += BIT_COSTS[COEFFICIENT_PROBABILITIES[kind, BANDS[max(last + 1, start)], context, 0], 0]
    return bits


def test_levels_are_the_optimum_of_brute_force():
    """On blocks with few coefficients no choice of smaller levels costs less, and what is said of it is true."""
    rng = np.random.default_rng(5)
    costs = quantise.costs_of(COEFFICIENT_PROBABILITIES)
    levels, ways = np.zeros((1, 16), np.int16), np.zeros((16, 3), np.int64)
    for _ in range(150):
        kind, context = int(rng.integers(4)), int(rng.integers(3))
        start, share = int(kind == quantise.SQUARE), (1 / 16 if kind == quantise.COARSE_DC else 1 / 4)
        block = np.zeros((1, 16), np.float32)
        places = rng.choice(np.arange(start, 16), 4, replace=False)
        block[0, ZIGZAG[places]] = rng.normal(0, 40, 4)
        dc_step, step, lagrangian = 17, 23, float(rng.uniform(1, 60))
        weights = np.exp(rng.normal(0, 0.7, 16)).astype(np.float32)
        counts = np.full(16, weights[0]) if kind == quantise.COARSE_DC else weights[ZIGZAG]
        error, bits, some = quantise.optimise(
            block, 0, kind, context, dc_step, step, lagrangian, costs, weights, levels, ways
        )
        steps = np.where(np.arange(16) == 0, dc_step, step)
        scan = block[0, ZIGZAG].astype(float)

        def cost_of(
            chosen,
            scan=scan,
            steps=steps,
            kind=kind,
            context=context,
            share=share,
            lagrangian=lagrangian,
            counts=counts,
        ):
            start = int(kind == quantise.SQUARE)
            miss = (counts * (scan - chosen * steps) ** 2)[start:].sum() * share
            bits = bits_of(chosen, start, kind, context)
            return miss, bits, miss + lagrangian * bits

        nearest = np.rint(np.abs(scan) / steps).astype(int)
        if nearest.max() > 4:
            continue
        least = np.inf
        for choice in itertools.product(*(range(max(nearest[place] - 1, 0), nearest[place] + 1) for place in places)):
            chosen = np.zeros(16, int)
            chosen[places] = np.array(choice) * np.sign(scan[places])
            # A block may also end early.
            least = min(least, *(cost_of(np.where(np.arange(16) < end, chosen, 0))[2] for end in range(17)))
        told = cost_of(levels[0].astype(int))
        assert told[2] == pytest.approx(least, rel=1e-5)
        assert (error, bits) == pytest.approx(told[:2], rel=1e-4, abs=1e-3)
        assert bool(some) == levels[0].any()


def test_uniform_quality_is_smaller_than_pillows():
    """At equal PSNR of RGB, against method 6, on both sample photographs at two sizes."""
    from sklearn.datasets import load_sample_image

    for name, side in itertools.product(("china.jpg", "flower.jpg"), (1, 3)):
        whole = Image.fromarray(load_sample_image(name))
        image = np.asarray(whole.resize((whole.width // side, whole.height // side), Image.Resampling.BICUBIC))
        ours = []
        for level in range(4, 21, 2):
            data = WebpCodec().encode(image, level).data
            ours.append((psnr(by_pillow(data), image), np.log(len(data))))
        for quality in (40, 70, 85):
            stream = io.BytesIO()
            Image.fromarray(image).save(stream, "WEBP", quality=quality, method=6)
            theirs = psnr(by_pillow(stream.getvalue()), image)
            size = np.exp(np.interp(theirs, *zip(*ours, strict=True)))
            assert size < 0.95 * len(stream.getvalue()), (name, side, quality)


def squared_error_per_block(decoded: np.ndarray, image: np.ndarray) -> np.ndarray:
    error = ((decoded.astype(float) - image) ** 2).sum(axis=2)
    return error.reshape(error.shape[0] // 16, 16, error.shape[1] // 16, 16).sum(axis=(1, 3))


@pytest.mark.parametrize(("coarse", "fine"), [(4, 8), (8, 14), (12, 20)])
def test_finer_blocks_err_less_in_a_mixed_map(photo, coarse, fine):
    """Raising some blocks in a map lowers their error relative to the others', and gives them the bits."""
    codec = WebpCodec()
    prepared = codec.prepare(photo)
    board = np.indices((12, 16)).sum(axis=0) % 2 == 0
    either, other = (prepared.write(np.where(mask, fine, coarse)) for mask in (board, ~board))
    assert len(quantisers_of(either.data)) > 1
    fine_error = squared_error_per_block(codec.decode(either.data), photo)
    coarse_error = squared_error_per_block(codec.decode(other.data), photo)
    assert fine_error[board].sum() < 0.85 * coarse_error[board].sum()
    assert fine_error[~board].sum() > 1.1 * coarse_error[~board].sum()


def test_a_mixed_file_is_as_good_as_two(photo):
    """Halves of different levels: no larger than two files that have the same error there."""
    codec = WebpCodec()
    levels = np.full((12, 16), 8)
    levels[:, 8:] = 14
    mixed = codec.encode(photo, levels)
    decoded = codec.decode(mixed.data)
    apart = 0.0
    for half in (np.s_[:, :128], np.s_[:, 128:]):
        part = np.ascontiguousarray(photo[half])
        files = [codec.encode(part, level).data for level in range(5, 18)]
        quality = [psnr(codec.decode(data), part) for data in files]
        apart += np.interp(psnr(decoded[half], part), quality, [len(data) for data in files])
    assert len(mixed.data) < 1.01 * apart


def test_a_sensitive_half_gets_the_quality(photo):
    """At one level, blocks that the network is sensitive to err less than when it is not."""
    codec = WebpCodec()
    sensitivity = np.ones((12, 16, 192), dtype=np.float32)
    sensitivity[:, :8] = 16
    left = codec.decode(codec.encode(photo, 10, sensitivity=sensitivity).data)
    right = codec.decode(codec.encode(photo, 10, sensitivity=sensitivity[:, ::-1].copy()).data)
    left_error, right_error = (squared_error_per_block(decoded, photo) for decoded in (left, right))
    assert left_error[:, :8].sum() < 0.5 * right_error[:, :8].sum()
    assert right_error[:, 8:].sum() < 0.5 * left_error[:, 8:].sum()


def test_frequencies_that_are_needed_err_less(photo):
    """At about the same size, the lower half of the frequencies of luma against the higher one."""
    codec, grey = WebpCodec(), photo.mean(axis=2)
    sensitivity = np.ones((12, 16, 3, 8, 8), np.float32)
    errors, sizes = [], []
    for low, high in ((9, 1), (1, 9)):
        sensitivity[:, :, 0] = high
        sensitivity[:, :, 0, :4, :4] = low
        data = codec.encode(photo, 12, sensitivity=sensitivity.reshape(12, 16, 192)).data
        error = np.abs(np.fft.fft2(codec.decode(data).mean(axis=2) - grey)) ** 2
        is_low = np.add.outer(np.abs(np.fft.fftfreq(192)), np.abs(np.fft.fftfreq(256))) < 0.25
        errors.append(error[is_low].sum() / error[~is_low].sum())
        sizes.append(len(data))
    assert errors[0] < 0.8 * errors[1]
    assert 0.7 < sizes[0] / sizes[1] < 1.4


def test_luma_takes_back_what_chroma_lost(photo):
    """Chroma that comes out too high or low is made up for, in part: R, G and B err less than by luma as it was."""
    planes = to_planes(photo, "limited", "sharp")
    frame = encode(planes.luma, planes.chroma, np.full((12, 16), 20), np.full((12, 16), 20.0))
    made = np.asarray(Image.open(io.BytesIO(container.wrap(frame.data))).convert("YCbCr"), float)
    lost = np.asarray(Image.fromarray(photo).convert("YCbCr"), float) - made
    back = lost[..., 1:] @ LUMA_FOR_CHROMA
    assert np.corrcoef(-lost[..., 0].ravel(), back.ravel())[0, 1] > 0.1


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_sizes_move_smoothly(photo, spread):
    """A twentieth of a level at a time: no jump of much more than a per cent, and hardly ever back."""
    planes = to_planes(photo, "limited", "sharp")
    spread = np.random.default_rng(0).normal(0, spread, (12, 16))
    sizes = [
        len(WebpCodec().picture(planes, (4.2 - trim / 4 + spread).astype(np.float32))[0])
        for trim in np.arange(0, 2, 0.05)
    ]
    moves = np.diff(np.log(sizes))
    assert moves.max() < 0.02
    assert moves.min() > -0.006
    assert sizes[-1] > 1.15 * sizes[0]


def test_more_weight_of_bits_means_smaller_files(photo):
    sizes = [len(WebpCodec(rdo=rdo).encode(photo, 12).data) for rdo in (0, 0.05, 0.09, 0.2)]
    assert sizes == sorted(sizes, reverse=True)
    with pytest.raises(InvalidInputError, match="rdo"):
        WebpCodec(rdo=-1)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 50), st.integers(1, 50), st.booleans(), st.integers(0, 2**32 - 1), st.floats(-3, 3))
def test_any_map_opens_and_the_bits_add_up(height, width, gray, seed, trim):
    """Noise included: the largest coefficients and all modes."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width) if gray else (height, width, 3), dtype=np.uint8)
    if seed % 3 == 0:
        image = image // 128 * 255
    codec = WebpCodec()
    levels = rng.integers(0, FINEST + 1, (-(-height // 16), -(-width // 16)))
    encoded = codec.encode(image, levels, trim=trim)
    assert codec.decode(encoded.data).shape == image.shape
    assert encoded.overhead_bits + float(encoded.block_bits.sum(dtype=float)) == pytest.approx(8 * len(encoded.data))


def test_bytes_do_not_depend_on_threads(photo):
    levels = np.random.default_rng(0).integers(0, FINEST + 1, (12, 16))
    prepared = WebpCodec().prepare(photo)
    expected = prepared.write(levels, 0.3).data
    with ThreadPoolExecutor(4) as pool:
        shared = list(pool.map(lambda _: prepared.write(levels, 0.3).data, range(8)))
        fresh = list(pool.map(lambda _: WebpCodec().encode(photo, levels, trim=0.3).data, range(8)))
    assert set(shared + fresh) == {expected}


def test_a_large_picture_learns_from_a_sample():
    """Where not all rows are looked at twice, the file is about as small as when they are."""
    image = picture(1040, 1040)
    codec = WebpCodec()
    large = codec.encode(image, 8)
    assert psnr(codec.decode(large.data), image) > 33
    half = codec.encode(np.ascontiguousarray(image[:512]), 8), codec.encode(np.ascontiguousarray(image[512:]), 8)
    assert len(large.data) < 1.02 * sum(len(part.data) for part in half)


@pytest.mark.parametrize("size", [(16, 16), (17, 33)])
@pytest.mark.parametrize("parts", [("icc",), ("exif",), ("xmp",), ("icc", "exif", "xmp")])
def test_metadata_is_found_by_pillow(size, parts):
    """In files of odd and even size, alone and all together; the pixels stay as they were."""
    codec = WebpCodec()
    bare = codec.encode(picture(*size), 10).data
    metadata = Metadata(**{part: getattr(METADATA, part) for part in parts})
    data = codec.embed(bare, metadata)
    assert int.from_bytes(data[4:8], "little") == len(data) - 8
    with Image.open(io.BytesIO(data)) as opened:
        assert opened.size == (size[1], size[0])
        assert Metadata.of(opened, colour=True) == metadata
    np.testing.assert_array_equal(codec.decode(data), codec.decode(bare))
    gray = codec.embed(codec.encode(picture(*size, gray=True), 10).data, metadata)
    assert codec.decode(gray).ndim == 2


def test_the_longest_side_opens_and_no_longer_one():
    codec = WebpCodec()
    image = np.zeros((1, 16383), np.uint8)
    assert codec.decode(codec.encode(image, 0).data).shape == image.shape
    with pytest.raises(CodecError, match="16383x16383"):
        codec.prepare(np.zeros((1, 16384), np.uint8))


def test_a_strangers_file_that_bears_our_mark_of_gray_keeps_its_colours(photo):
    """libwebp writes it where its loop filter is the simple one."""
    codec = WebpCodec()
    data = bytearray(codec.encode(photo, 12).data)
    data[data.index(b"VP8 ") + 8] |= 0x02
    assert codec.decode(bytes(data)).shape == photo.shape
    # Nor does a profile with the name of the chunk in it mislead.
    gray = codec.encode(np.ascontiguousarray(photo[:, :, 1]), 12).data
    assert codec.decode(codec.embed(gray, Metadata(icc=b"VP8 " * 30))).ndim == 2


def test_a_gray_profile_is_not_put_into_a_file_that_is_read_as_rgb(photo):
    codec = WebpCodec()
    data = codec.encode(np.ascontiguousarray(photo[:, :, 1]), 12).data
    assert codec.embed(data, Metadata(icc=b"0" * 16 + b"GRAY")) == data


def test_the_loop_filter_is_on_where_the_finest_segment_needs_none(photo):
    """Coarse blocks beside very fine ones are filtered as those of a file of their own are."""
    av = pytest.importorskip("av", reason="PyAV is not installed", exc_type=ImportError)
    wanted = np.full((12, 16), _LOG_STEPS[60], np.float32)
    wanted[:, :8] = _LOG_STEPS[4]
    data = WebpCodec().picture(to_planes(photo, "limited", "sharp"), wanted).data
    decoded = []
    for skipped in ("none", "all"):
        context = av.CodecContext.create("vp8", "r")
        context.options = {"skip_loop_filter": skipped}
        (frame,) = [*context.decode(av.Packet(container.frame(data))), *context.decode(None)]
        decoded.append(np.frombuffer(frame.planes[0], np.uint8).reshape(-1, frame.planes[0].line_size)[:192, 144:256])
    assert (decoded[0] != decoded[1]).any()


def test_dwebp_sees_what_pillow_sees(photo, tmp_path: Path):
    """Both are libwebp, but of different versions, perhaps."""
    path = shutil.which("dwebp")
    if path is None:
        pytest.skip("no dwebp on PATH")
    codec = WebpCodec()
    levels = np.random.default_rng(0).integers(0, FINEST + 1, (12, 16))
    for data in (codec.encode(photo, levels).data, codec.embed(codec.encode(photo, levels).data, METADATA)):
        source, target = tmp_path / "a.webp", tmp_path / "a.ppm"
        source.write_bytes(data)
        subprocess.run([path, "-quiet", "-ppm", source, "-o", target], check=True, timeout=120)
        np.testing.assert_array_equal(np.asarray(Image.open(target)), by_pillow(data))


@pytest.mark.parametrize("gray", [False, True])
def test_a_browser_shows_it(photo, gray, tmp_path):
    """Its libwebp may be of another version; what it shows is the same but for a step of rounding."""
    image = np.ascontiguousarray(photo[:, :, 1]) if gray else photo
    codec = WebpCodec()
    data = codec.encode(image, np.random.default_rng(0).integers(0, FINEST + 1, (12, 16))).data
    (shown,) = by_browser([data], "image/webp", tmp_path)
    assert np.abs(shown.astype(int) - by_pillow(data)).max() <= 1
