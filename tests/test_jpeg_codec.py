"""The JPEG codec against independent truth: Pillow's encoder and decoder, and brute force."""

from __future__ import annotations

import io
import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import accelir
from accelir.errors import CodecError, DecodeError, InvalidInputError
from accelir_plugins.jpeg import JpegCodec, entropy, trellis
from accelir_plugins.jpeg import tables as quantisation_tables
from accelir_plugins.jpeg.transform import ZIGZAG

SIZES = [(1, 1), (3, 5), (8, 8), (16, 16), (17, 33), (41, 23), (64, 48), (65, 7)]
# By Pillow's numbers.
SUBSAMPLINGS = {"420": 2, "422": 1, "444": 0}
FINEST = len(JpegCodec.levels) - 1


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    from sklearn.datasets import load_sample_image

    return np.ascontiguousarray(load_sample_image("china.jpg")[120:312, 160:416])


def by_pillow(image: np.ndarray, tables: np.ndarray, subsampling: str, restart_interval: int = 0) -> bytes:
    """The file of libjpeg with these tables."""
    row_major = [table[np.argsort(ZIGZAG)].tolist() for table in tables][: 1 if image.ndim == 2 else 2]
    stream = io.BytesIO()
    Image.fromarray(image).save(
        stream, "JPEG", qtables=row_major, subsampling=SUBSAMPLINGS[subsampling], optimize=True,
        restart_marker_rows=restart_interval,
    )  # fmt: skip
    return stream.getvalue()


def squared_error_per_block(decoded: np.ndarray, image: np.ndarray, side: int) -> np.ndarray:
    error = ((decoded.astype(float) - image) ** 2).sum(axis=2)
    height, width = error.shape
    return error.reshape(height // side, side, width // side, side).sum(axis=(1, 3))


def dct_blocks_only_ac(rng: np.random.Generator, positions: int) -> np.ndarray:
    """int16 (64,): a few AC coefficients, eight times their size."""
    block = np.zeros(64, dtype=np.int16)
    block[rng.choice(np.arange(1, 64), positions, replace=False)] = rng.integers(-260, 260, positions)
    return block


@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("size", [*SIZES, (192, 256)])
def test_progressive_files_hold_the_same_pixels(photo, size, gray, subsampling):
    image = np.ascontiguousarray(photo[: size[0], : size[1], 1] if gray else photo[: size[0], : size[1]])
    for level in (0, 14, FINEST):
        files = {
            process: JpegCodec(subsampling=subsampling, process=process).encode(image, level)
            for process in ("baseline", "progressive", "smaller")
        }
        baseline, progressive = files["baseline"], files["progressive"]
        assert "progressive" not in Image.open(io.BytesIO(baseline.data)).info
        assert Image.open(io.BytesIO(progressive.data)).info["progressive"]
        decode = JpegCodec().decode
        np.testing.assert_array_equal(decode(progressive.data), decode(baseline.data))
        assert progressive.overhead_bits + progressive.block_bits.sum() == 8 * len(progressive.data)
        assert len(files["smaller"].data) == min(len(baseline.data), len(progressive.data))


def test_progressive_files_end_long_runs_of_empty_blocks():
    """Over 32767 empty blocks in a row take two symbols; a block between two runs is not lost."""
    image = np.full((8 * 200, 8 * 400), 77, np.uint8)
    image[8 * 100 : 8 * 100 + 8, 8 * 7 : 8 * 7 + 8] = np.random.default_rng(0).integers(0, 256, (8, 8))
    progressive = JpegCodec(process="progressive").encode(image, 14)
    baseline = JpegCodec().encode(image, 14)
    np.testing.assert_array_equal(JpegCodec().decode(progressive.data), JpegCodec().decode(baseline.data))
    assert len(progressive.data) < 0.7 * len(baseline.data)


def test_a_photograph_is_smaller_as_a_progressive_file():
    from sklearn.datasets import load_sample_image

    whole = load_sample_image("china.jpg")
    sizes = [len(JpegCodec(process=process).encode(whole, 14).data) for process in ("baseline", "progressive")]
    assert sizes[1] < 0.99 * sizes[0]


@pytest.mark.parametrize("table", ["shaped", "flat", "annex-k"])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_rounding_gives_the_pixels_of_libjpeg(photo, size, gray, subsampling, table):
    """Without trellis the file decodes to exactly the pixels of libjpeg's, and is no larger."""
    image = np.ascontiguousarray(photo[: size[0], : size[1], 1] if gray else photo[: size[0], : size[1]])
    codec = JpegCodec(rdo=0, subsampling=subsampling, table=table, chroma="average")
    prepared = codec.prepare(image)
    for level in (0, 9, 17, FINEST):
        _, tables = prepared.quantise(codec.level_map(image, level), 0.0)
        theirs = by_pillow(image, tables, subsampling)
        ours = prepared.write(level).data
        np.testing.assert_array_equal(codec.decode(ours), codec.decode(theirs))
        assert len(ours) <= len(theirs)


def restarts_of(data: bytes) -> tuple[list[int], list[int]]:
    """The numbers in the DRI segments, and those of the RST markers."""
    intervals, numbers = [], []
    at = 2
    while data[at + 1] != 0xD9:
        if 0xD0 <= data[at + 1] <= 0xD7:
            numbers.append(data[at + 1] - 0xD0)
            at += 2
        else:
            length = int.from_bytes(data[at + 2 : at + 4], "big")
            if data[at + 1] == 0xDD:
                intervals.append(int.from_bytes(data[at + 4 : at + 6], "big"))
            at += 2 + length
        while data[at] != 0xFF or data[at + 1] == 0:
            at += 1
    return intervals, numbers


@pytest.mark.parametrize("process", ["baseline", "progressive"])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("size", [*SIZES, (192, 256)])
def test_restarts_change_no_pixel(photo, size, gray, subsampling, process):
    """With plain rounding; and a baseline file has the markers of libjpeg's, and is no larger."""
    image = np.ascontiguousarray(photo[: size[0], : size[1], 1] if gray else photo[: size[0], : size[1]])
    options = {"rdo": 0, "subsampling": subsampling, "process": process, "chroma": "average"}
    plain = JpegCodec(**options).encode(image, 14)
    assert restarts_of(plain.data) == ([], [])
    for rows in (1, 2, 100):
        codec = JpegCodec(**options, restart_interval=rows)
        prepared = codec.prepare(image)
        encoded = prepared.write(14)
        np.testing.assert_array_equal(codec.decode(encoded.data), codec.decode(plain.data))
        assert encoded.overhead_bits + encoded.block_bits.sum() == 8 * len(encoded.data)
        if process == "baseline":
            _, tables = prepared.quantise(codec.level_map(image, 14), 0.0)
            theirs = by_pillow(image, tables, subsampling, rows)
            ours, expected = restarts_of(encoded.data), restarts_of(theirs)
            assert ours[1] == expected[1]
            assert not ours[1] or ours[0] == expected[0]
            assert len(encoded.data) <= len(theirs)


@pytest.mark.parametrize("process", ["baseline", "progressive"])
@pytest.mark.parametrize("subsampling", SUBSAMPLINGS)
def test_equal_intervals_are_coded_alike(photo, subsampling, process):
    """Nothing that came before a restart has an influence, neither on the chosen levels nor on their codes."""
    image = np.tile(photo[64:80, 60:], (20, 1, 1))
    rows = 1 if subsampling == "420" else 2
    # A large lambda, so that the first levels of a row depend much on what they are coded as a difference to.
    options = {"chroma": "average", "compensation": 0, "rdo": 2}
    codec = JpegCodec(subsampling=subsampling, process=process, restart_interval=rows, **options)
    prepared = codec.prepare(image)
    for level in (2, 8, 14, 20):
        quantised, _ = prepared.quantise(codec.level_map(image, level), 0.0)
        same = quantised.reshape(20, -1, 64)
        np.testing.assert_array_equal(same, np.broadcast_to(same[0], same.shape))
        bits = prepared.write(level).block_bits.reshape(20, -1)
        np.testing.assert_array_equal(bits, np.broadcast_to(bits[0], bits.shape))


def test_damage_stays_within_its_restart_interval(photo):
    """Bytes in the middle of a file are changed: without restarts all that follows is lost, with them four rows."""
    lost = {}
    for rows in (0, 4):
        codec = JpegCodec(restart_interval=rows, chroma="average", compensation=0)
        encoded = codec.encode(photo, 12)
        middle = len(encoded.data) // 2
        assert b"\xff" not in encoded.data[middle - 1 : middle + 9]
        damaged = encoded.data[:middle] + bytes(value ^ 0x55 for value in encoded.data[middle : middle + 8])
        damaged += encoded.data[middle + 8 :]
        decoded = codec.decode(damaged)
        lost[rows] = np.flatnonzero((decoded != codec.decode(encoded.data)).any(axis=(1, 2)))
    # Chroma is filtered across one row of pixels.
    assert lost[4][0] >= 63 and lost[4][-1] <= 128
    assert lost[0][-1] == len(photo) - 1


def test_a_restart_interval_has_no_more_mcus_than_the_marker_can_say():
    """Eight rows of MCUs where they have 65500 pixels."""
    image = np.zeros((96, 65500), np.uint8)
    image[:, ::9] = 200
    encoded = JpegCodec(restart_interval=10).encode(image, 0)
    assert restarts_of(encoded.data) == ([8 * 8188], [0])
    np.testing.assert_array_equal(
        JpegCodec().decode(encoded.data), JpegCodec().decode(JpegCodec().encode(image, 0).data)
    )


def test_rounding_gives_the_pixels_of_libjpeg_for_extreme_samples():
    """Saturated noise reaches the largest coefficients of a baseline file."""
    image = (np.random.default_rng(3).integers(0, 2, (40, 56, 3)) * 255).astype(np.uint8)
    image[:16] = 255 * (np.indices((16, 56)).sum(axis=0) % 2)[:, :, None]
    for subsampling in SUBSAMPLINGS:
        codec = JpegCodec(rdo=0, subsampling=subsampling, chroma="average")
        prepared = codec.prepare(image)
        _, tables = prepared.quantise(codec.level_map(image, FINEST), 2.0)
        theirs = by_pillow(image, tables, subsampling)
        np.testing.assert_array_equal(codec.decode(prepared.write(FINEST, 2.0).data), codec.decode(theirs))


def test_annex_k_tables_are_those_of_libjpeg():
    """A step of 16 is quality 50, of 8 quality 75."""
    for step, quality in ((16.0, 50), (8.0, 75), (32.0, 25)):
        stream = io.BytesIO()
        Image.new("RGB", (8, 8)).save(stream, "JPEG", quality=quality)
        theirs = Image.open(stream).quantization
        ours = quantisation_tables.annex_k_tables(step)[:, np.argsort(ZIGZAG)]
        assert ours.tolist() == [list(theirs[0]), list(theirs[1])]


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.booleans(),
    st.sampled_from(list(SUBSAMPLINGS)),
    st.integers(0, 2**32 - 1),
    st.floats(-3, 3),
    st.sampled_from(["baseline", "progressive"]),
    st.integers(0, 3),
)
def test_any_size_and_map_opens_and_the_bits_add_up(
    height, width, gray, subsampling, seed, trim, process, restart_interval
):
    """Every size and level map gives a file that opens at its size, with every bit accounted for."""
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (height, width) if gray else (height, width, 3), dtype=np.uint8)
    codec = JpegCodec(subsampling=subsampling, process=process, restart_interval=restart_interval)
    side = codec.block(image)
    grid = -(-height // side), -(-width // side)
    levels = rng.integers(0, FINEST + 1, grid)
    encoded = codec.encode(image, levels, trim=trim)
    assert codec.decode(encoded.data).shape == image.shape
    assert encoded.block_bits.shape == grid
    assert encoded.overhead_bits + float(encoded.block_bits.sum()) == 8 * len(encoded.data)
    assert encoded.overhead_bits > 0
    # One level is worth a trim of 1.
    np.testing.assert_array_equal(encoded.levels, np.clip(np.rint(levels + trim), 0, FINEST))


@pytest.mark.parametrize("rdo", [0, 0.02, 0.05, 0.1])
def test_finer_levels_cost_more_and_err_less(photo, rdo):
    """Along the ladder, and along trim, bytes rise and squared error falls."""
    prepared = JpegCodec(rdo=rdo, subsampling="444").prepare(photo)
    files = [prepared.write(level).data for level in range(0, FINEST + 1, 3)]
    errors = [squared_error_per_block(JpegCodec().decode(data), photo, 16).sum() for data in files]
    assert all(np.diff([len(data) for data in files]) > 0)
    assert all(np.diff(errors) < 0)
    assert len(prepared.write(8, -1.0).data) < len(prepared.write(8, -0.5).data) < len(prepared.write(8).data)
    assert prepared.write(8, 2.0).data == prepared.write(10).data


@pytest.mark.parametrize("rdo", [0, 0.05])
def test_finer_blocks_err_less_in_a_mixed_map(photo, rdo):
    """Raising some blocks in a map lowers their error relative to the others', and gives them the bits."""
    codec = JpegCodec(rdo=rdo)
    prepared = codec.prepare(photo)
    board = np.indices((12, 16)).sum(axis=0) % 2 == 0
    for coarse, fine in ((4, 10), (10, 14), (16, 24)):
        either, other = (prepared.write(np.where(mask, fine, coarse)) for mask in (board, ~board))
        fine_error = squared_error_per_block(codec.decode(either.data), photo, 16)
        coarse_error = squared_error_per_block(codec.decode(other.data), photo, 16)
        assert fine_error[board].sum() < 0.9 * coarse_error[board].sum()
        assert either.block_bits[board].sum() > 1.1 * other.block_bits[board].sum()


def test_a_sensitive_half_gets_the_quality(photo):
    """At one level, blocks that the network is sensitive to err less than when it is not."""
    codec = JpegCodec()
    sensitivity = np.ones((12, 16, 384), dtype=np.float32)
    sensitivity[:, :8] = 30
    left = codec.decode(codec.encode(photo, 8, sensitivity=sensitivity).data)
    right = codec.decode(codec.encode(photo, 8, sensitivity=sensitivity[:, ::-1].copy()).data)
    left_error, right_error = (squared_error_per_block(decoded, photo, 16) for decoded in (left, right))
    assert left_error[:, :8].sum() < 0.8 * right_error[:, :8].sum()
    assert right_error[:, 8:].sum() < 0.8 * left_error[:, 8:].sum()


def test_steps_follow_the_sensitivity(photo):
    """With shape 1 a coefficient four times as sensitive has half the step."""
    codec = JpegCodec()
    sensitivity = np.ones((12, 16, 384), dtype=np.float32)
    sensitivity[:, :, 256:] = 4
    _, tables = codec.prepare(photo, sensitivity=sensitivity).quantise(codec.level_map(photo, 0), 0.0)
    np.testing.assert_allclose(tables[0] / tables[1], 2, rtol=0.02)


@pytest.mark.parametrize("zeroing", [1.0, 0.7, 1.5])
def test_trellis_is_the_optimum_of_brute_force(zeroing):
    """On blocks with few coefficients no choice of smaller levels has a lower cost."""
    rng = np.random.default_rng(7)
    table = rng.integers(8, 14, 64)
    for trial in range(60):
        scaled = dct_blocks_only_ac(rng, 4)
        weights = rng.uniform(0.2, 2, 64).astype(np.float32)
        costs = (rng.uniform(1, 16, 256) + (np.arange(256) & 15)).astype(np.float32)
        lagrangian = float(rng.uniform(1, 60))
        result = np.zeros(64, dtype=np.int16)
        room, places = np.empty((4, 65)), np.empty((5, 65), dtype=np.int64)
        trellis._block(scaled, weights, lagrangian, table, costs, zeroing, room, places, result)

        def cost_of(levels: np.ndarray, scaled=scaled, weights=weights, costs=costs, lagrangian=lagrangian) -> float:
            shares = np.where(levels[1:] == 0, zeroing, 1.0)
            error = (shares * weights[1:] * (scaled[1:] / 8 - levels[1:] * table[1:]) ** 2).sum()
            kept = [0, *(np.flatnonzero(levels[1:]) + 1).tolist()]
            bits = 0.0 if kept[-1] == 63 else costs[0]
            for before, at in itertools.pairwise(kept):
                run = at - before - 1
                bits += costs[0xF0] * (run // 16) + costs[run % 16 * 16 + int(abs(levels[at])).bit_length()]
            return float(error + lagrangian * bits)

        rounded = np.sign(scaled) * ((np.abs(scaled) + 4 * table) // (8 * table))
        places_used = np.flatnonzero(rounded)
        tried = []
        for choice in itertools.product(*(range(abs(int(rounded[k])) + 1) for k in places_used)):
            levels = np.zeros(64, dtype=np.int64)
            levels[places_used] = np.array(choice, dtype=np.int64) * np.sign(scaled[places_used])
            tried.append(cost_of(levels))
        assert cost_of(result.astype(np.int64)) == pytest.approx(min(tried), rel=1e-6), trial


@pytest.mark.parametrize("level", [4, 8, 12])
def test_trellis_beats_rounding_at_equal_bytes(photo, level):
    """At no more bytes than plain rounding takes, the trellis has the lower squared error."""
    rounding, trellis = JpegCodec(rdo=0, subsampling="444"), JpegCodec(rdo=0.1, subsampling="444")
    rounded = rounding.encode(photo, level)
    prepared = trellis.prepare(photo)
    trims = np.linspace(0, 3, 31)
    files = (prepared.write(level, float(trim)).data for trim in trims[::-1])
    optimised = next(data for data in files if len(data) <= len(rounded.data))
    error, before = (np.mean((trellis.decode(data) - photo.astype(float)) ** 2) for data in (optimised, rounded.data))
    assert error < 0.98 * before


def test_bytes_do_not_depend_on_threads(photo):
    """The same input gives the same bytes from many threads at once and from a fresh codec."""
    levels = np.random.default_rng(0).integers(0, FINEST + 1, (12, 16))
    prepared = JpegCodec().prepare(photo)
    expected = prepared.write(levels, 0.3).data
    with ThreadPoolExecutor(4) as pool:
        shared = list(pool.map(lambda _: prepared.write(levels, 0.3).data, range(8)))
        fresh = list(pool.map(lambda _: JpegCodec().encode(photo, levels, trim=0.3).data, range(8)))
    assert set(shared + fresh) == {expected}


@pytest.mark.parametrize("kind", ["one", "two", "geometric", "random"])
def test_code_lengths_are_an_optimal_prefix_code(kind):
    """At most 16 bits, a word left over, and as short as an unlimited Huffman code where that fits."""
    counts = {
        "one": np.array([0, 5, 0]),
        "two": np.array([3, 0, 9]),
        "geometric": 2 ** np.arange(30),
        "random": np.random.default_rng(1).integers(0, 1000, 256),
    }[kind]
    lengths = entropy.code_lengths(counts)
    assert ((lengths > 0) == (counts > 0)).all()
    assert lengths.max() <= 16
    spare = 1 - (0.5 ** lengths[lengths > 0].astype(float)).sum()
    assert spare == 0.5 ** lengths.max()
    if kind == "random":
        heap = sorted([0, *counts[counts > 0].tolist()])
        unlimited = 0
        while len(heap) > 1:
            unlimited += heap[0] + heap[1]
            heap = sorted([heap[0] + heap[1], *heap[2:]])
        assert (counts * lengths).sum() == unlimited


def test_decode_keeps_gray_and_converts_the_rest(photo):
    """Gray stays gray; CMYK becomes RGB; progressive files open."""
    codec = JpegCodec()
    for picture, shape in (
        (Image.fromarray(photo).convert("L"), photo.shape[:2]),
        (Image.fromarray(photo).convert("CMYK"), photo.shape),
        (Image.fromarray(photo), photo.shape),
    ):
        stream = io.BytesIO()
        picture.save(stream, "JPEG", progressive=True)
        decoded = codec.decode(stream.getvalue())
        assert (decoded.dtype, decoded.shape) == (np.uint8, shape)


def test_damaged_files_raise_decode_errors(photo):
    """Nothing, noise, another format and truncated files are errors of our own."""
    codec = JpegCodec()
    data = codec.encode(photo, 10).data
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "PNG")
    for bad in (b"", b"\xff\xd8\xff", b"noise" * 100, stream.getvalue(), data[:40], data[:300], data[: len(data) // 2]):
        with pytest.raises(DecodeError):
            codec.decode(bad)


def test_wrong_arguments_say_what_is_allowed(photo):
    """Levels, sensitivities, options and sizes outside the format's are refused with a reason."""
    codec = JpegCodec()
    prepared = codec.prepare(photo)
    with pytest.raises(CodecError, match=r"levels 0 \(coarsest\) to 28; got 29"):
        prepared.write(29)
    with pytest.raises(CodecError, match="12x16 blocks"):
        prepared.write(np.zeros((2, 2), dtype=int))
    with pytest.raises(CodecError, match="finite"):
        prepared.write(3, float("nan"))
    with pytest.raises(CodecError, match=r"\(12, 16, 384\); got \(12, 16, 64\)"):
        codec.prepare(photo, sensitivity=np.ones((12, 16, 64), dtype=np.float32))
    with pytest.raises(CodecError, match="not negative"):
        codec.prepare(photo, sensitivity=-np.ones((12, 16, 384), dtype=np.float32))
    with pytest.raises(CodecError, match="65500"):
        codec.prepare(np.zeros((1, 65501), dtype=np.uint8))
    with pytest.raises(InvalidInputError, match="subsampling"):
        JpegCodec(subsampling="411")
    with pytest.raises(InvalidInputError, match="restart_interval"):
        JpegCodec(restart_interval=-1)
    for options in JpegCodec.tunings:
        JpegCodec(**options)


def test_the_longest_side_opens():
    """65500 pixels is the most that libjpeg reads."""
    codec = JpegCodec()
    image = np.zeros((1, 65500), dtype=np.uint8)
    assert codec.decode(codec.encode(image, 0).data).shape == image.shape


def test_a_network_that_needs_nothing_still_gets_a_picture(photo):
    """All-zero sensitivity counts as equal sensitivity."""
    zero, one = (np.full((12, 16, 384), value, dtype=np.float32) for value in (0, 1))
    codec = JpegCodec()
    assert codec.encode(photo, 9, sensitivity=zero).data == codec.encode(photo, 9, sensitivity=one).data


@pytest.mark.parametrize(
    ("colour", "budget"), [((90, 140, 30), accelir.LikeQuality(90)), ((200, 0, 0), accelir.Bytes(3000))]
)
def test_a_picture_of_one_colour_is_as_fine_as_it_can_be(colour, budget):
    image = np.full((300, 200, 3), colour, np.uint8)
    encoded = accelir.encode(image, network="edsr-x4-f8", budget=budget)
    assert np.abs(JpegCodec().decode(encoded.data).astype(int) - image).max() <= 2


def across(data: bytes) -> int:
    """How many luma samples a chroma sample is wide."""
    return int(Image.open(io.BytesIO(data)).layer[0][1])


@pytest.fixture(scope="module")
def stripes() -> np.ndarray:
    """Red and green of one luma by turns, which half chroma cannot tell apart."""
    image = np.empty((64, 96, 3), np.uint8)
    image[:, ::2], image[:, 1::2] = (200, 60, 100), (40, 142, 100)
    return image


def test_chroma_is_left_whole_where_that_will_cost_less(photo, stripes):
    auto = {"codec": JpegCodec(subsampling="auto"), "network": "edsr-x4-f16"}
    assert across(accelir.encode(stripes, budget=accelir.Bytes(6000), **auto).data) == 1
    assert across(accelir.encode(photo, budget=accelir.LikeQuality(50), **auto).data) == 2
    assert across(accelir.encode(photo, budget=accelir.LikeQuality(97), **auto).data) == 1


@pytest.mark.parametrize("estimate", ["profile", "uniform"])
def test_of_both_the_one_is_kept_whose_error_costs_less(photo, estimate):
    budget, costs, files = accelir.LikeQuality(85), {}, {}
    judge = JpegCodec(subsampling="444")
    sensitivity = None
    if estimate == "profile":
        profile = accelir.profile_for("jpeg", "edsr-x4-f16")
        judge = judge.tuned(profile.options(photo))
        sensitivity = profile.predict(photo, judge).sensitivity
    for subsampling in ("420", "444", "auto"):
        codec = JpegCodec(subsampling=subsampling)
        files[subsampling] = accelir.encode(
            photo, network="edsr-x4-f16", codec=codec, budget=budget, estimate=estimate
        ).data
        costs[subsampling] = judge.weighted_error(photo, judge.decode(files[subsampling]), sensitivity)
    assert files["auto"] in (files["420"], files["444"])
    assert costs["420"] != costs["444"]
    assert costs["auto"] == min(costs["420"], costs["444"])


def test_what_only_half_chroma_goes_into_is_no_error(stripes):
    least = {}
    for subsampling in ("420", "444"):
        with pytest.raises(accelir.BudgetError) as raised:
            accelir.encode(
                stripes, network="edsr-x4-f16", codec=JpegCodec(subsampling=subsampling), budget=accelir.Bytes(1)
            )
        least[subsampling] = raised.value.smallest
    assert least["420"] < least["444"]
    auto = JpegCodec(subsampling="auto")
    encoded = accelir.encode(stripes, network="edsr-x4-f16", codec=auto, budget=accelir.Bytes(least["420"]))
    assert across(encoded.data) == 2
    with pytest.raises(accelir.BudgetError) as raised:
        accelir.encode(stripes, network="edsr-x4-f16", codec=auto, budget=accelir.Bytes(1))
    assert raised.value.smallest == min(least.values())


def test_gray_has_no_chroma_to_choose(photo):
    gray = np.asarray(Image.fromarray(photo).convert("L"))
    files = [
        accelir.encode(gray, network="edsr-x4-f16", codec=JpegCodec(**options), budget=accelir.LikeQuality(75)).data
        for options in ({}, {"subsampling": "auto"})
    ]
    assert files[0] == files[1]


def test_a_file_with_whole_chroma_can_be_guided(stripes):
    reference = np.repeat(np.repeat(stripes, 4, axis=0), 4, axis=1)
    budget, auto = accelir.Bytes(5000), JpegCodec(subsampling="auto")
    asked = {"network": "edsr-x4-f8", "codec": auto, "budget": budget}
    plain = accelir.encode(stripes, **asked)
    guided = accelir.encode(stripes, reference=reference, passes=8, **asked)
    assert across(plain.data) == across(guided.data) == 1
    errors = [
        ((accelir.restore(auto.decode(file.data), network="edsr-x4-f8").astype(float) - reference) ** 2).mean()
        for file in (plain, guided)
    ]
    assert errors[1] < errors[0] and guided.guidance is not None and guided.guidance.gains[0] > 0
