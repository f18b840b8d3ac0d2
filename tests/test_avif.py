"""The AVIF codec against Pillow's decoder and, where they are installed, avifdec and Chromium."""

import io
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL
import pytest
from PIL import Image, ImageCms, features

from accelir import testing
from accelir.errors import CodecError, DecodeError, InvalidInputError, MissingDependencyError
from accelir.metadata import Metadata
from accelir_plugins.avif import AvifCodec, encoder
from accelir_plugins.avif.codec import is_guided
from accelir_plugins.avif.headers import read_quantiser
from accelir_plugins.avif.plan import Plan, plan
from accelir_plugins.avif.survey import Survey, survey
from accelir_plugins.avif.tables import AC, DC, LOG_STEPS
from strangers import by_browser, by_pillow, by_program

if not features.check("avif"):
    pytest.skip("Pillow has no AVIF", allow_module_level=True)

SIZES = [(1, 1), (3, 5), (64, 64), (65, 63), (200, 17), (9, 201), (130, 97)]


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    from sklearn.datasets import load_sample_image

    return np.ascontiguousarray(load_sample_image("china.jpg")[100:356, 160:480])


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-3, np.mean((first.astype(float) - second) ** 2))))


def squared_error(decoded: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Of each block of 64 pixels."""
    error = (decoded.astype(float) - image) ** 2
    error = error.sum(axis=2) if error.ndim == 3 else error
    height, width = (side // 64 * 64 for side in error.shape)
    return error[:height, :width].reshape(height // 64, 64, width // 64, 64).sum(axis=(1, 3))


def mixed(photo: np.ndarray, size: tuple[int, int], kind: str) -> tuple[np.ndarray, bytes]:
    """A part of a photograph, and its file with blocks of several levels."""
    height, width = size
    image = np.ascontiguousarray(photo[:height, :width, 1] if kind == "gray" else photo[:height, :width])
    codec = AvifCodec(subsampling="444" if kind == "gray" else kind)
    levels = np.random.default_rng(0).integers(18, 24, codec.level_map(image, 0).shape)
    return image, codec.encode(image, levels).data


@pytest.mark.parametrize(("name", "check"), testing.codec_checks())
@pytest.mark.parametrize("options", [{}, {"subsampling": "420", "chroma": "average"}], ids=["444", "420"])
def test_contract(name, check, options):
    check(AvifCodec(**options))


@pytest.mark.parametrize("kind", ["gray", "420", "444"])
@pytest.mark.parametrize("size", SIZES)
def test_every_size_opens_as_what_it_is(photo, size, kind):
    height, width = size
    image, data = mixed(photo, size, kind)
    with Image.open(io.BytesIO(data)) as opened:
        assert (opened.format, opened.size) == ("AVIF", (width, height))
        assert opened.mode == ("L" if kind == "gray" else "RGB")
        assert psnr(np.asarray(opened), image) > 30


@pytest.mark.parametrize("kind", ["gray", "420", "444"])
@pytest.mark.parametrize("size", SIZES)
def test_avifdec_opens_every_size(photo, size, kind, tmp_path):
    image, data = mixed(photo, size, kind)
    seen = by_program("avifdec", data, "avif", tmp_path)
    seen = seen if seen.ndim == 3 else np.stack([seen] * 3, axis=2)
    assert psnr(seen[:, :, :3], image if image.ndim == 3 else np.stack([image] * 3, axis=2)) > 30


@pytest.mark.parametrize("kind", ["gray", "420", "444"])
def test_a_browser_shows_it(photo, kind, tmp_path):
    _, data = mixed(photo, (130, 97), kind)
    (shown,) = by_browser([data], "image/avif", tmp_path)
    assert psnr(shown, by_pillow(data)) > 38


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("size", [(256, 320), (130, 97), (75, 320), (256, 33)])
def test_shares_like_the_estimates_are_no_shares(photo, size, gray):
    """What the survey finds is what libaom estimates: by those shares all blocks get the base."""
    image = np.ascontiguousarray(photo[: size[0], : size[1]])
    image = np.ascontiguousarray(image[:, :, 1]) if gray else image
    planes = AvifCodec().planes(image)
    costs = planes.survey.costs
    for base in (60, 152):
        even = np.full(costs.shape, base)
        told = Plan(base, np.rint(costs * (10**6 / costs.max())).astype(np.int64), even)
        without, shared = (
            encoder.encode(image, each, subsampling="4:4:4", speed=6, cdef=True)
            for each in (Plan(base, None, even), told)
        )
        assert read_quantiser(shared)[0] == base
        assert abs(len(shared) / len(without) - 1) < 0.01


def test_blocks_have_the_quantisers_that_were_planned():
    """Of noise, the error of a block tells its quantiser: that of the uniform picture whose error is nearest."""
    noise = np.clip(np.random.default_rng(1).normal(128, 60, (192, 256)), 0, 255).astype(np.uint8)
    codec = AvifCodec()
    planes = codec.planes(noise)

    def error(chosen: Plan) -> np.ndarray:
        return squared_error(
            codec.decode(encoder.encode(noise, chosen, subsampling="4:0:0", speed=6, cdef=True)), noise
        )

    wanted = 132 + 4 * np.random.default_rng(2).integers(0, 9, (3, 4))
    wanted[1, 1] = 168
    chosen = plan(LOG_STEPS[wanted].astype(np.float32), planes.survey)
    np.testing.assert_array_equal(chosen.indices, wanted)
    candidates = np.arange(124, 177, 4)
    uniform = np.stack([error(Plan(each, None, np.full((3, 4), each))) for each in candidates])
    nearest = candidates[np.abs(np.log(uniform / error(chosen))).argmin(axis=0)]
    assert np.abs(nearest - wanted).max() <= 4
    assert (nearest == wanted).mean() > 0.7


def test_finer_blocks_err_less_than_coarser_ones_in_one_file(photo):
    """Without sensitivity; and where the coarse and the fine blocks are exchanged, so are their errors."""
    codec = AvifCodec()
    prepared = codec.prepare(photo)
    board = np.indices((4, 5)).sum(axis=0) % 2 == 0
    for coarse, fine in ((3, 6), (8, 10), (16, 18)):
        either, other = (prepared.write(np.where(mask, fine, coarse)) for mask in (board, ~board))
        finer, coarser = (squared_error(codec.decode(file.data), photo) for file in (either, other))
        assert finer[board].sum() < 0.9 * coarser[board].sum()
        assert coarser[~board].sum() < 0.9 * finer[~board].sum()
        # Quantisers lie on a grid, which is coarse where steps are small.
        assert np.abs(either.levels - np.where(board, fine, coarse)).max() <= 1


def test_what_libaom_cannot_do_is_said(photo):
    """Two octaves and a half between blocks are too much; what is written is within what was asked for."""
    levels = np.where(np.indices((4, 5)).sum(axis=0) % 2, 6, 16)
    written = AvifCodec().encode(photo, levels).levels
    assert written.min() >= 6 and written.max() <= 16
    assert written.max() - written.min() in range(3, 10)


def test_two_halves_cost_what_two_files_do(photo):
    """At equal error of each half, with three quarters of an octave between them."""
    codec = AvifCodec()
    levels = np.repeat([[11] * 2 + [8] * 3], 4, axis=0)
    mixed = codec.encode(photo, levels).data
    decoded = codec.decode(mixed).astype(float)
    total = 0.0
    for part in (np.s_[:, :128], np.s_[:, 128:]):
        own, error = np.ascontiguousarray(photo[part]), np.mean((decoded[part] - photo[part]) ** 2)
        prepared = codec.prepare(own)
        files = [prepared.write(9, trim).data for trim in np.linspace(-3, 5, 17)]
        errors = [np.mean((codec.decode(file) - own.astype(float)) ** 2) for file in files]
        sizes = np.log([len(file) - codec.header for file in files])
        total += float(np.exp(np.interp(-np.log(error), -np.log(errors), sizes)))
    assert len(mixed) - codec.header < 1.03 * total


@pytest.mark.parametrize("subsampling", ["444", "420"])
def test_sizes_move_smoothly_with_trim(photo, subsampling):
    prepared = AvifCodec(subsampling=subsampling).prepare(photo)
    sizes = np.array([len(prepared.write(9, trim).data) for trim in np.linspace(0, 0.8, 17)])
    steps = np.diff(np.log(sizes))
    assert steps.min() > -0.005 and steps.max() < 0.035
    assert sizes[-1] > 1.07 * sizes[0]


def test_uniform_files_beat_pillow_at_equal_bytes(photo):
    """RGB-PSNR of the decoded picture, at no more bytes than each of three qualities takes."""
    for options, gain in (({}, 0.3), ({"subsampling": "420"}, 0.2)):
        codec = AvifCodec(**options)
        prepared = codec.prepare(photo)
        for quality in (40, 60, 80):
            usual = codec.usual(photo, quality)
            low, high = -12.0, 12.0
            for _ in range(8):
                middle = (low + high) / 2
                low, high = (middle, high) if len(prepared.write(10, middle).data) <= len(usual) else (low, middle)
            data = prepared.write(10, low).data
            assert len(data) <= len(usual)
            assert psnr(codec.decode(data), photo) > psnr(codec.decode(usual), photo) + gain


def test_halved_chroma_is_what_the_planes_say(photo):
    """RGB is made so that libavif finds the sharp planes again: nearer to the picture than the mean of four."""
    errors = [
        np.mean((codec.decode(codec.encode(photo, 22).data) - photo.astype(float)) ** 2)
        for codec in (AvifCodec(subsampling="420", chroma=chroma) for chroma in ("average", "sharp"))
    ]
    assert errors[1] < 0.9 * errors[0]


def test_a_plan_keeps_within_what_libaom_does():
    """Multiples of four, within forty of the base, and no coarser than there is room."""
    rng = np.random.default_rng(5)
    for _ in range(200):
        shape = tuple(rng.integers(1, 7, 2))
        look = Survey(rng.uniform(64, 400, shape), np.where(rng.random(shape) < 0.7, 1.0, 10.0))
        steps = (rng.uniform(-1, 7) + rng.normal(0, rng.choice([0, 0.1, 0.5, 2]), shape)).astype(np.float32)
        made = plan(steps, look)
        assert made.indices.shape == shape
        assert made.indices.min() >= 1 and made.indices.max() <= 255
        if made.shares is not None:
            ahead = made.indices - made.base
            assert (ahead % 4 == 0).all() and np.abs(ahead).max() <= 40
            assert (ahead[look.room == 1] <= 0).all()
            assert made.shares.sum() > 0


def test_tables_are_those_of_the_specification():
    assert (DC[[0, 1, 255]] == [4, 8, 1336]).all() and (AC[[0, 1, 255]] == [4, 8, 1828]).all()
    assert (np.diff(DC) >= 0).all() and (np.diff(AC) > 0).all()
    assert len(DC) == len(AC) == 256


def test_the_survey_finds_nothing_where_nothing_is():
    look = survey(np.full((100, 150), 77, np.uint8))
    # Of 13x19 blocks, the first by the constants that stand for what is around.
    np.testing.assert_array_equal(look.costs[1], [40, 40, 15])
    np.testing.assert_array_equal(look.costs[0, 1:], [64, 24])
    assert (look.room == 10).all()


@pytest.mark.parametrize(
    ("size", "guided"), [((1, 1), False), ((64, 64), True), ((8, 300), False), ((300, 8), True), ((65, 40), True)]
)
def test_small_pictures_do_not_lead_libaom_beyond_its_arrays(size, guided):
    assert is_guided(*size) == guided


def test_metadata_comes_back(photo):
    metadata = Metadata(
        icc=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        exif=b"II*\0\x08\0\0\0\x01\0\x3b\x01\x02\0\x09\0\0\0\x1a\0\0\0\0\0\0\0somebody\0",
        xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
    )
    codec = AvifCodec()
    image = np.ascontiguousarray(photo[:90, :75])
    plain = codec.encode(image, 14).data
    data = codec.embed(plain, metadata)
    with Image.open(io.BytesIO(data)) as opened:
        assert Metadata.of(opened, colour=True) == metadata
    np.testing.assert_array_equal(codec.decode(data), codec.decode(plain))


def test_bytes_depend_neither_on_threads_nor_on_the_folder_for_files(photo, tmp_path, monkeypatch):
    """And no file is left behind."""
    codec = AvifCodec()
    levels = np.random.default_rng(0).integers(8, 12, (4, 5))
    expected = codec.encode(photo, levels).data
    folder = tmp_path / "a folder, é"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    for count in (1, 3, 7):
        monkeypatch.setattr(encoder, "allowed", lambda count=count: count)
        with ThreadPoolExecutor(3) as pool:
            assert set(pool.map(lambda _: codec.encode(photo, levels).data, range(3))) == {expected}
    assert not list(folder.iterdir())


def test_nothing_is_printed(photo, capfd):
    codec = AvifCodec()
    codec.decode(codec.encode(photo, np.random.default_rng(0).integers(0, 29, (4, 5))).data)
    assert capfd.readouterr() == ("", "")


def test_an_encoder_that_heeds_nothing_is_found_out(photo, monkeypatch):
    codec = AvifCodec()
    levels = np.repeat([[12] * 2 + [8] * 3], 4, axis=0)
    monkeypatch.setitem(encoder._GUIDED, "enable-rate-guide-deltaq", "0")
    monkeypatch.setitem(encoder._GUIDED, "deltaq-mode", "0")
    with pytest.raises(CodecError, match=r"does not heed quantisers.*pip install 'accelir\[avif\]'"):
        codec.encode(photo, levels)
    monkeypatch.setitem(encoder._GUIDED, "no-such-option", "1")
    with pytest.raises(CodecError, match="libaom cannot write this picture"):
        codec.encode(photo, levels)


def test_what_is_missing_says_how_to_install_it(photo, monkeypatch):
    from PIL import _avif

    data = AvifCodec().encode(photo, 4).data
    monkeypatch.setattr(_avif, "encoder_codec_available", lambda name: False)
    with pytest.raises(MissingDependencyError, match=r"without libaom.*pip install 'accelir\[avif\]'"):
        AvifCodec().encode(photo, 4)
    monkeypatch.delattr(PIL, "_avif")
    monkeypatch.setitem(sys.modules, "PIL._avif", None)
    for use in (
        lambda: AvifCodec().encode(photo, 4),
        lambda: AvifCodec().usual(photo, 50),
        lambda: AvifCodec().decode(data),
    ):
        with pytest.raises(MissingDependencyError, match=r"Pillow 11.3.*pip install 'accelir\[avif\]'"):
            use()


def test_no_quantiser_is_read_from_damaged_files(photo):
    data = AvifCodec().encode(photo, 10).data
    stream = io.BytesIO()
    Image.fromarray(photo).save(stream, "PNG")
    for bad in (b"", data[:12], b"noise" * 100, stream.getvalue(), data[:300], data[: len(data) // 2]):
        with pytest.raises(DecodeError):
            read_quantiser(bad)


def test_limits_say_what_is_allowed():
    codec = AvifCodec()
    with pytest.raises(CodecError, match="32768"):
        codec.prepare(np.zeros((1, 32769), np.uint8))
    with pytest.raises(CodecError, match="178956970 pixels"):
        codec.prepare(np.broadcast_to(np.uint8(0), (16385, 16385)))
    with pytest.raises(InvalidInputError, match="speed"):
        AvifCodec(speed=7)


def test_the_longest_side_opens():
    codec = AvifCodec()
    image = np.tile(np.arange(0, 256, 8, dtype=np.uint8), (1, 1024))
    assert codec.decode(codec.encode(image, 12).data).shape == image.shape


def test_the_filter_along_edges_is_an_option(photo):
    """It is to the good of squared error, which without it stays as quantising leaves it."""
    files = [AvifCodec(cdef=cdef).encode(photo, 4) for cdef in (True, False)]
    decoded = [AvifCodec().decode(file.data) for file in files]
    assert (decoded[0] != decoded[1]).mean() > 0.01
    assert psnr(decoded[0], photo) > psnr(decoded[1], photo) > 20
