"""The HEIC codec against pillow-heif's decoder and, where it is installed, heif-convert."""

import io
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import ImageCms

from accelir import testing
from accelir.errors import CodecError, InvalidInputError, MissingDependencyError
from accelir.metadata import Metadata
from accelir_plugins import isobmff
from strangers import by_program

pillow_heif = pytest.importorskip("pillow_heif")
pytest.importorskip("av")

from accelir_plugins.heic import HeicCodec, TilesWarning, hevc  # noqa: E402
from accelir_plugins.heic.planes import repeated_planes  # noqa: E402

SIZES = [(1, 1), (3, 5), (32, 32), (33, 31), (64, 48), (65, 7), (130, 97)]
FINEST = len(HeicCodec.levels) - 1


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    from sklearn.datasets import load_sample_image

    return np.ascontiguousarray(load_sample_image("china.jpg")[120:312, 160:416])


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / max(1e-3, np.mean((first.astype(float) - second) ** 2))))


def squared_error(decoded: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Of each block of 32 pixels."""
    error = (decoded.astype(float) - image) ** 2
    error = error.sum(axis=2) if error.ndim == 3 else error
    height, width = (side // 32 * 32 for side in error.shape)
    return error[:height, :width].reshape(height // 32, 32, width // 32, 32).sum(axis=(1, 3))


@pytest.mark.parametrize(("name", "check"), testing.codec_checks())
@pytest.mark.parametrize(
    "options",
    [{}, {"chroma": "average", "chroma_offset": 5, "shape": 0.6}, {"layout": "tiles"}],
    ids=["default", "other", "tiles"],
)
def test_contract(name, check, options):
    if options.get("layout") == "tiles" and name == "check_mixed_levels":
        pytest.skip("its picture is one tile")
    check(HeicCodec(**options))


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_every_size_opens_as_what_it_is(photo, size, gray):
    """Odd sizes and those below a block are cropped by whoever opens them."""
    height, width = size
    image = np.ascontiguousarray(photo[:height, :width, 1] if gray else photo[:height, :width])
    data = HeicCodec().encode(image, 24).data
    opened = pillow_heif.open_heif(io.BytesIO(data))
    assert (opened.size, opened.mode) == ((width, height), "L" if gray else "RGB")
    assert psnr(np.asarray(opened.to_pillow()), image) > 30


@pytest.mark.parametrize("gray", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_heif_convert_opens_every_size(photo, size, gray, tmp_path):
    height, width = size
    image = np.ascontiguousarray(photo[:height, :width, 1] if gray else photo[:height, :width])
    converted = by_program("heif-convert", HeicCodec().encode(image, 24).data, "heic", tmp_path)
    assert converted.shape[:2] == size
    assert psnr(converted, image if gray == (converted.ndim == 2) else np.stack([image] * 3, axis=2)) > 28


def test_files_are_of_the_profile_that_every_reader_has(photo):
    """Main Still Picture in colour, 4:2:0, 8 bits; nothing in the stream but the picture."""
    item = isobmff.read(HeicCodec().encode(photo, 14).data).items[0]
    configuration = next(entry for entry in item.properties if entry.box[4:8] == b"hvcC")
    assert configuration.essential
    assert configuration.box[9] & 31 == 3
    assert configuration.box[24] & 3 == 1
    assert int.from_bytes(item.data[:4], "big") == len(item.data) - 4


def test_blocks_have_the_quantisers_asked_for():
    """Of noise, the error of a block tells its quantiser: that of the uniform picture whose error is nearest."""
    noise = np.clip(np.random.default_rng(1).normal(128, 60, (160, 224)), 0, 255).astype(np.uint8)
    codec = HeicCodec()

    def error(quantisers: np.ndarray) -> np.ndarray:
        stream = hevc.encode([noise], quantisers.astype(np.int32))
        return squared_error(codec.decode(hevc.still(stream, 224, 160, monochrome=True)), noise)

    asked = np.random.default_rng(2).integers(22, 32, (5, 7))
    candidates = np.arange(20, 34)
    uniform = np.stack([error(np.full((5, 7), each)) for each in candidates])
    nearest = candidates[np.abs(np.log(uniform / error(asked))).argmin(axis=0)]
    np.testing.assert_array_equal(nearest, asked)


def test_finer_blocks_err_less_than_coarser_ones_in_one_file(photo):
    """Without sensitivity; and where the coarse and the fine blocks are exchanged, so are their errors."""
    codec = HeicCodec()
    prepared = codec.prepare(photo)
    board = np.indices((6, 8)).sum(axis=0) % 2 == 0
    for coarse, fine in ((4, 8), (10, 14), (16, 24)):
        either, other = (prepared.write(np.where(mask, fine, coarse)) for mask in (board, ~board))
        finer, coarser = (squared_error(codec.decode(file.data), photo) for file in (either, other))
        assert finer[board].sum() < 0.9 * coarser[board].sum()
        assert coarser[~board].sum() < 0.9 * finer[~board].sum()
        np.testing.assert_array_equal(either.levels, np.where(board, fine, coarse))


def test_sizes_move_smoothly_with_trim(photo):
    prepared = HeicCodec().prepare(photo)
    sizes = np.array([len(prepared.write(14, trim).data) for trim in np.linspace(0, 0.4, 11)])
    steps = np.diff(np.log(sizes))
    assert steps.min() > -0.005 and steps.max() < 0.025
    assert sizes[-1] > 1.04 * sizes[0]


def test_one_block_has_no_finer_control_than_its_quantiser():
    steps = np.float32([[4.0]])
    assert hevc.written(hevc.quantisers(steps))[0, 0] == pytest.approx(4, abs=1 / 12 + 1e-6)
    extreme = hevc.quantisers(np.float32([[-9, 20]]))
    assert extreme.tolist() == [[hevc.FINEST, hevc.COARSEST]]
    whole = np.float32(np.linspace(-0.6, 7.8, 60)).reshape(6, 10)
    assert np.abs(hevc.written(hevc.quantisers(whole)) - whole).max() <= 1 / 6


def test_uniform_files_beat_pillow_heif_at_equal_bytes(photo):
    """RGB-PSNR of the decoded picture, at no more bytes than each of three qualities takes."""
    codec = HeicCodec(chroma="average")
    prepared = codec.prepare(photo)
    for quality in (40, 60):
        usual = codec.usual(photo, quality)
        low, high = -10.0, 10.0
        for _ in range(7):
            middle = (low + high) / 2
            low, high = (middle, high) if len(prepared.write(14, middle).data) <= len(usual) else (low, middle)
        data = prepared.write(14, low).data
        assert len(data) <= len(usual)
        assert psnr(codec.decode(data), photo) > psnr(codec.decode(usual), photo) + 0.1


def test_luma_takes_back_what_chroma_loses(photo):
    """Where libheif repeats the halved chroma, a sharp conversion comes nearer to the picture than the mean does."""
    codec = HeicCodec()
    errors = {}
    for chroma in ("average", "sharp"):
        planes = repeated_planes(photo, chroma)
        stream = hevc.encode([planes.luma, *planes.chroma], np.zeros((6, 8), np.int32))
        errors[chroma] = np.mean((codec.decode(hevc.still(stream, 256, 192)) - photo.astype(float)) ** 2)
    assert errors["sharp"] < 0.97 * errors["average"]


def test_scaling_lists_shape_the_error(photo):
    """High frequencies err more than low ones."""
    gray = np.ascontiguousarray(photo[:, :, 1])
    spectra = []
    for shape in (0.0, 2.0):
        codec = HeicCodec(shape=shape)
        error = codec.decode(codec.encode(gray, 20).data).astype(float) - gray
        spectra.append(np.abs(np.fft.rfft2(error)) ** 2)
    low, high = np.s_[1:12, 1:12], np.s_[60:130, 60:120]
    flat, shaped = (spectrum[high].sum() / spectrum[low].sum() for spectrum in spectra)
    assert shaped > 1.3 * flat


def test_metadata_comes_back(photo):
    metadata = Metadata(
        icc=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        exif=b"II*\0\x08\0\0\0\x01\0\x3b\x01\x02\0\x09\0\0\0\x1a\0\0\0\0\0\0\0somebody\0",
        xmp=b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
    )
    codec = HeicCodec()
    image = np.ascontiguousarray(photo[:33, :51])
    plain = codec.encode(image, 14).data
    data = codec.embed(plain, metadata)
    information = pillow_heif.open_heif(io.BytesIO(data)).to_pillow().info
    assert (information["icc_profile"], information["exif"], information["xmp"]) == (
        metadata.icc,
        metadata.exif,
        metadata.xmp,
    )
    np.testing.assert_array_equal(codec.decode(data), codec.decode(plain))


def test_bytes_do_not_depend_on_threads(monkeypatch):
    """Whether or not rows of blocks are coded at the same time."""
    # As large ones are coded.
    monkeypatch.setattr(hevc, "_LARGE", 1 << 15)
    small, large = testing.picture(64, 80), testing.picture(200, 210)
    codec = HeicCodec()
    expected = codec.encode(large, 6).data, codec.encode(small, 6).data
    for limit in ("1", "3"):
        monkeypatch.setenv("ACCELIR_THREADS", limit)
        with ThreadPoolExecutor(3) as pool:
            assert set(pool.map(lambda _: codec.encode(large, 6).data, range(4))) == {expected[0]}
            assert set(pool.map(lambda _: codec.encode(small, 6).data, range(6))) == {expected[1]}


def test_nothing_is_printed(photo, capfd):
    codec = HeicCodec(shape=0.5)
    codec.decode(codec.encode(photo, np.random.default_rng(0).integers(0, 29, (6, 8))).data)
    assert capfd.readouterr() == ("", "")


def test_limits_say_what_is_allowed():
    with pytest.raises(CodecError, match="16384"):
        HeicCodec().prepare(np.zeros((1, 16385), np.uint8))
    with pytest.raises(InvalidInputError, match="chroma_offset"):
        HeicCodec(chroma_offset=13)


@pytest.mark.parametrize("gray", [False, True])
def test_tiles_differ_and_are_put_together(monkeypatch, gray, tmp_path):
    """Without PyAV: four tiles, the last of them cut off, each of its own quantiser."""
    monkeypatch.setitem(sys.modules, "av", None)
    image = testing.picture(301, 411, gray=gray)
    codec = HeicCodec(layout="tiles")
    levels = np.full((10, 13), 6)
    levels[8:, 8:] = 26
    levels[:8, :4] = 10
    encoded = codec.encode(image, levels)
    decoded = codec.decode(encoded.data)
    assert decoded.shape == image.shape
    error = (decoded.astype(float) - image) ** 2
    assert error[256:, 256:].mean() < 0.3 * error[256:, :256].mean()
    # A tile has what its blocks want on average; as everywhere, rounded to a quantiser.
    assert {tuple(np.unique(part)) for part in np.split(encoded.levels, [8])} == {(6, 8), (6, 26)}


def test_heif_convert_puts_tiles_together(tmp_path):
    image = testing.picture(301, 411)
    data = HeicCodec(layout="tiles").encode(image, 12).data
    assert by_program("heif-convert", data, "heic", tmp_path).shape == image.shape


@pytest.mark.parametrize(("module", "use"), [("av", "encode"), ("pillow_heif", "decode")])
def test_what_is_missing_says_how_to_install_it(photo, monkeypatch, module, use):
    data = HeicCodec().encode(photo, 4).data
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingDependencyError, match=r"^HEIC is .*pip install 'accelir\[heif\]'"):
        HeicCodec().decode(data) if use == "decode" else HeicCodec(layout="picture").encode(photo, 4)


def test_without_pyav_tiles_take_the_place_of_a_picture(photo, monkeypatch):
    picture, tiles = HeicCodec(layout="picture").encode(photo, 8), HeicCodec(layout="tiles").encode(photo, 8)
    assert HeicCodec().encode(photo, 8).data == picture.data
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.warns(TilesWarning, match=r"^HEIC is written with PyAV, .*pip install 'accelir\[heif\]'; until then"):
        assert HeicCodec().encode(photo, 8).data == tiles.data
    assert tiles.data != picture.data
