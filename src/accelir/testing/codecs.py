"""What every codec promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any
from unittest import SkipTest

import numpy as np
import numpy.typing as npt

from accelir.codec import Codec, Encoded
from accelir.errors import CodecError, DecodeError, InvalidInputError
from accelir.image import ImageArray, block_grid
from accelir.pictures import picture
from accelir.testing.suite import Suite, raises, require

__all__ = ["check_codec", "codec_checks"]

SIZES = ((1, 1), (1, 17), (9, 7), (16, 16), (33, 50))

MONOTONE_TOLERANCE = 1.03
"""A finer level may have this many times the squared error: rate-distortion optimisation trades it for bits."""

_suite: Suite[[Codec]] = Suite()


def check_codec(codec: Codec, *, expected_failed_checks: Mapping[str, str] | None = None) -> dict[str, str]:
    """Run all checks on a codec.

    Args:
        codec: An instance.
        expected_failed_checks: Names of checks that fail, each with the reason.

    Returns:
        For each check ``"passed"``, ``"skipped: ..."`` or ``"failed as expected: ..."``.

    Raises:
        ConformanceError: The contract is not kept.
    """
    return _suite.run(repr(codec), expected_failed_checks, codec)


def codec_checks() -> list[tuple[str, Callable[[Codec], None]]]:
    """The checks as (name, callable that takes a codec)."""
    return list(_suite)


@_suite.check
def check_attributes(codec: Codec) -> None:
    """The class says what it is."""
    require(codec.name and codec.name == codec.name.lower(), f"name is a lower-case word; got {codec.name!r}")
    require("/" in codec.media_type, f"media_type is like 'image/jpeg'; got {codec.media_type!r}")
    require(
        codec.extensions and all(e.startswith(".") and e == e.lower() for e in codec.extensions),
        f"extensions are lower-case and have their dot; got {codec.extensions}",
    )
    require(codec.signatures and all(codec.signatures), "signatures names at least one run of leading bytes")
    require(len(codec.levels) >= 2, "levels has a label for each of at least two levels")
    require(len(set(codec.levels)) == len(codec.levels), "the labels in levels differ from each other")
    require(0 < codec.fill <= 1, f"fill is above 0 and at most 1; got {codec.fill}")
    require(codec.version >= 1, f"version is 1 or more; got {codec.version}")


@_suite.check
def check_options(codec: Codec) -> None:
    """Options are checked, and the tunings and the search space are options."""
    raises(InvalidInputError, "an unknown option", lambda: type(codec)(no_such_option=1))
    require(codec.tunings, "tunings holds at least one set of options")
    for options in codec.tunings:
        require(isinstance(codec.tuned(options), type(codec)), f"tuned({options}) is a codec of the same class")
    require(codec.fine_control or not codec.search_space, "a search_space needs fine_control")
    for name, values in codec.search_space.items():
        for value in values:
            made = type(codec)(**{name: value})
            require(
                made.block(picture(1, 1)) == type(codec)().block(picture(1, 1)),
                f"{name}={value!r} of search_space leaves the size of blocks as it is",
            )


@_suite.check
def check_roundtrip(codec: Codec) -> None:
    """Pictures of any size come back in their shape, near to what they were."""
    for gray in (False, True):
        for height, width in SIZES:
            image = picture(height, width, gray=gray)
            decoded = codec.decode(codec.encode(image, len(codec.levels) - 1).data)
            require(decoded.dtype == np.uint8, f"decode returns uint8; got {decoded.dtype}")
            require(
                decoded.shape == image.shape, f"decode returns {image.shape} for {image.shape}; got {decoded.shape}"
            )
            if min(height, width) >= 16:
                error = _squared_error(image, decoded) / image.size
                require(
                    error < 400,
                    f"the finest level of a {width}x{height} picture has a mean squared error of {error:.0f}",
                )


@_suite.check
def check_encoded(codec: Codec) -> None:
    """What is said of a file is true of it."""
    for gray in (False, True):
        for height, width in SIZES:
            image = picture(height, width, gray=gray)
            encoded = codec.encode(image, len(codec.levels) // 2)
            block = codec.block(image)
            grid = block_grid(image, block)
            require(encoded.block == block, f"block is codec.block(image), {block}; got {encoded.block}")
            require((encoded.width, encoded.height) == (width, height), "width and height are the image's")
            require(encoded.media_type == codec.media_type, "media_type is the codec's")
            require(codec.claims(encoded.data), "the file starts with one of the codec's signatures")
            require(
                encoded.levels.shape == grid, f"levels has the shape of the blocks, {grid}; got {encoded.levels.shape}"
            )
            require(encoded.levels.dtype == np.int32, f"levels is int32; got {encoded.levels.dtype}")
            _require_bits_add_up(encoded, grid)


@_suite.check
def check_continuous_levels(codec: Codec) -> None:
    """One level is worth a trim of 1, where the codec says so."""
    if not codec.continuous_levels:
        return
    require(codec.fine_control, "continuous_levels needs fine_control")
    prepared = codec.prepare(picture(70, 90))
    level = len(codec.levels) // 2
    trimmed, plain = prepared.write(level, 1.0), prepared.write(level + 1)
    require(
        trimmed.data == plain.data, f"write({level}, 1.0) and write({level + 1}) are one file: levels are continuous"
    )
    require(np.array_equal(trimmed.levels, plain.levels), "levels says the same of one file, however it was asked for")


@_suite.check
def check_mixed_levels(codec: Codec) -> None:
    """A map of levels is written as asked, or as nearly as the format can, and its bits add up."""
    for gray in (False, True):
        image = picture(70, 90, gray=gray)
        levels = _mixed_map(codec, image)
        encoded = codec.encode(image, levels)
        if codec.merges_levels:
            away, apart = np.abs(encoded.levels - levels), np.abs(np.median(levels) - levels)
            require(away.mean() < apart.mean(), "a map that was asked for is followed better than by one level for all")
        else:
            require(np.array_equal(encoded.levels, levels), "levels says the map that was asked for")
        _require_bits_add_up(encoded, levels.shape)
        require(codec.decode(encoded.data).shape == image.shape, "a file of mixed levels decodes to the image's shape")


@_suite.check
def check_levels_matter_where_they_are(codec: Codec) -> None:
    """A finer level in one half of the picture lowers the error of that half."""
    image = picture(128, 128)
    block = codec.block(image)
    rows, columns = block_grid(image, block)
    if columns < 2:
        raise SkipTest(f"a picture of {image.shape[1]} pixels is one block of this codec")
    half = columns // 2
    last = len(codec.levels) - 1
    levels = np.full((rows, columns), last // 4, np.int32)
    levels[:, :half] = last
    mixed = codec.decode(codec.encode(image, levels).data)
    coarse = codec.decode(codec.encode(image, last // 4).data)
    part = np.s_[:, : half * block]
    fine, plain = _squared_error(image[part], mixed[part]), _squared_error(image[part], coarse[part])
    require(
        fine < plain, f"the half with level {last} has a squared error of {fine:.0f}, at level {last // 4} {plain:.0f}"
    )


@_suite.check
def check_finer_is_better(codec: Codec) -> None:
    """A finer level for all blocks does not raise the error."""
    image = picture(96, 112)
    count = len(codec.levels)
    chosen = np.unique(np.linspace(0, count - 1, min(count, 8)).round().astype(int))
    errors = [_squared_error(image, codec.decode(codec.encode(image, int(level)).data)) for level in chosen]
    for (low, coarse), (high, fine) in pairwise(zip(chosen, errors, strict=True)):
        require(
            fine <= coarse * MONOTONE_TOLERANCE + 1,
            f"level {high} has a squared error of {fine:.0f}, the coarser level {low} one of {coarse:.0f}",
        )
    require(errors[-1] < errors[0], "the finest level has less error than the coarsest")


@_suite.check
def check_levels_out_of_range(codec: Codec) -> None:
    """Levels that do not exist are refused."""
    image = picture(33, 50)
    rows, columns = block_grid(image, codec.block(image))
    cases: dict[str, Any] = {
        "a level below 0": -1,
        "a level beyond the finest": len(codec.levels),
        "a level map of another shape": np.zeros((rows + 1, columns), np.int32),
        "a level map of floats": np.zeros((rows, columns), np.float32),
    }
    for what, levels in cases.items():
        raises(CodecError, what, partial(codec.encode, image, levels))


@_suite.check
def check_invalid_images(codec: Codec) -> None:
    """What is no image is refused."""
    arrays: tuple[Any, ...] = (
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((0, 8), np.uint8),
    )
    for array in arrays:
        raises(InvalidInputError, f"an image of {array.dtype} {array.shape}", partial(codec.encode, array, 0))


@_suite.check
def check_bad_bytes(codec: Codec) -> None:
    """Bytes that are no file of the format raise DecodeError, and damaged ones nothing else."""
    data = codec.encode(picture(33, 50), len(codec.levels) // 2).data
    for what, bad in {
        "no bytes": b"",
        "other bytes": b"not a picture at all",
        "a signature alone": codec.signatures[0].replace(b"?", b"\0"),
        "half a file": data[: len(data) // 2],
    }.items():
        raises(DecodeError, f"decoding {what}", partial(codec.decode, bad))
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(data), 24):
        damaged = data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]
        try:
            codec.decode(damaged)
        except DecodeError:
            continue
        except Exception as error:
            require(False, f"a file damaged at byte {place} raised {type(error).__name__}: {error}")


@_suite.check
def check_input_unmodified(codec: Codec) -> None:
    """Encoding changes neither the image nor the map; both may be read-only, and any layout in memory."""
    image = picture(40, 56)
    levels = _mixed_map(codec, image)
    kept_image, kept_levels = image.copy(), levels.copy()
    image.setflags(write=False)
    levels.setflags(write=False)
    data = codec.encode(image, levels).data
    require(np.array_equal(image, kept_image) and np.array_equal(levels, kept_levels), "encode changed its arguments")
    strided = np.asfortranarray(kept_image)
    require(codec.encode(strided, levels).data == data, "a Fortran-ordered image gives other bytes")
    decoded = codec.decode(data)
    require(decoded.flags.writeable, "decoded pixels are writable")


@_suite.check
def check_deterministic(codec: Codec) -> None:
    """The same input gives the same bytes, and writing leaves no trace in what was prepared."""
    image = picture(70, 90)
    levels = _mixed_map(codec, image)
    prepared = codec.prepare(image)
    first = prepared.write(levels).data
    prepared.write(0)
    prepared.write(len(codec.levels) - 1)
    require(prepared.write(levels).data == first, "writing other levels in between changes the bytes")
    require(codec.encode(image, levels).data == first, "preparing anew changes the bytes")
    require(type(codec)(**_set_options(codec)).encode(image, levels).data == first, "a new instance changes the bytes")


@_suite.check
def check_threads(codec: Codec) -> None:
    """One codec, and one prepared image, may be used by many threads."""
    images = [picture(64, 80, seed=seed) for seed in range(4)]
    middle = len(codec.levels) // 2
    alone = [codec.encode(image, middle).data for image in images]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda image: codec.encode(image, middle).data, images))
        require(together == alone, "encoding in four threads changes the bytes")
        prepared = codec.prepare(images[0])
        shared = list(pool.map(lambda level: prepared.write(level).data, [0, middle, 0, middle]))
        require(
            shared[0] == shared[2] and shared[1] == shared[3] == alone[0], "sharing a prepared image changes the bytes"
        )
        pixels = list(pool.map(codec.decode, alone))
    for data, decoded in zip(alone, pixels, strict=True):
        require(np.array_equal(codec.decode(data), decoded), "decoding in four threads changes the pixels")


@_suite.check
def check_trim(codec: Codec) -> None:
    """A trim moves the size where the codec has fine control, and does nothing where it has not."""
    prepared = codec.prepare(picture(96, 112))
    middle = len(codec.levels) // 2
    low, plain, high = (len(prepared.write(middle, trim).data) for trim in (-1.0, 0.0, 1.0))
    if codec.fine_control:
        require(low < plain < high, f"trims of -1, 0 and 1 give {low}, {plain} and {high} bytes")
    else:
        same = prepared.write(middle, 1.0).data == prepared.write(middle).data
        require(same, "a codec without fine_control ignores trim")


@_suite.check
def check_size(codec: Codec) -> None:
    """A foreseen size is near that of the file, moves as it does, and changes nothing; without foresight it is that."""
    small = codec.prepare(picture(96, 112))
    middle = len(codec.levels) // 2
    large = codec.prepare(picture(1472, 1440))
    if not small.foresees:
        require(small.size(middle) == len(small.write(middle).data), "without foresight size is what write takes")
    if not large.foresees:
        return
    before = large.write(middle).data
    trims = (0.0, 1.0) if codec.fine_control else (0.0, 0.0)
    foreseen = [large.size(middle, trim) for trim in trims]
    real = [len(large.write(middle, trim).data) for trim in trims]
    require(foreseen == [large.size(middle, trim) for trim in trims], "the same levels and trim have the same size")
    require(real[0] == len(before) and large.write(middle).data == before, "foreseeing a size changes the bytes")
    require(abs(foreseen[0] / real[0] - 1) < 0.2, f"size says {foreseen[0]:.0f} bytes of a file of {real[0]}")
    moved = (foreseen[1] / foreseen[0]) / (real[1] / real[0])
    require(abs(moved - 1) < 0.02, f"a trim of 1 moves size by {moved:.3f} of what it moves the file")


@_suite.check
def check_project(codec: Codec) -> None:
    """The adjoint is linear and has the shape that `prepare` takes."""
    for gray in (False, True):
        image = picture(40, 56, gray=gray)
        rng = np.random.default_rng(0)
        first, second = (rng.standard_normal(image.shape).astype(np.float32) for _ in range(2))
        projected = codec.project(first)
        if projected is None:
            raise SkipTest("this codec has no coefficients")
        grid = block_grid(image, codec.block(image))
        require(
            projected.ndim == 3 and projected.shape[:2] == grid,
            f"project returns (rows, cols, K) with {grid} blocks; got {projected.shape}",
        )
        require(projected.dtype == np.float32, f"project returns float32; got {projected.dtype}")
        other = codec.project(second)
        combined = codec.project(2 * first - 3 * second)
        require(
            other is not None and combined is not None and np.allclose(combined, 2 * projected - 3 * other, atol=1e-2),
            "project is linear",
        )
        encoded = codec.encode(image, len(codec.levels) // 2, sensitivity=projected**2)
        _require_bits_add_up(encoded, grid)
        # A single weight for all is the plain squared error of the coefficients, whatever the weight.
        small, large = (
            codec.encode(image, len(codec.levels) // 2, sensitivity=np.full_like(projected, value)).data
            for value in (0.5, 2.0)
        )
        require(small == large, "only the ratios of sensitivities count")


@_suite.check
def check_moved(codec: Codec) -> None:
    """Coefficients that are moved along a gradient move the pixels along it; the prepared image stays as it was."""
    for gray in (False, True):
        image = picture(40, 56, gray=gray)
        gradient = np.random.default_rng(0).standard_normal(image.shape).astype(np.float32)
        middle = len(codec.levels) // 2
        prepared = codec.prepare(image)
        usual = prepared.write(middle)
        require(usual.coefficient_error is None, "coefficient_error is only said of what moved() writes")
        shift = codec.project(gradient)
        if shift is None:
            raises(
                CodecError,
                "moved() of a codec without coefficients",
                partial(prepared.moved, np.zeros((1, 1, 1), np.float32)),
            )
            raise SkipTest("this codec has no coefficients")
        try:
            unmoved = prepared.moved(np.zeros_like(shift))
        except CodecError as error:
            raise SkipTest("this codec cannot be guided") from error
        still = unmoved.write(middle)
        moved = prepared.moved(40 * shift).write(middle)
        for encoded in (still, moved):
            _require_bits_add_up(encoded, shift.shape[:2])
            away = encoded.coefficient_error
            require(away is not None and away.shape == shift.shape, f"coefficient_error has the shape {shift.shape}")
            require(away is not None and away.dtype == np.float32, "coefficient_error is float32")
        before, after = (codec.decode(encoded.data).astype(np.float32) for encoded in (still, moved))
        require(float(((after - before) * gradient).sum()) > 0, "pixels move against the coefficients that are wanted")
        require(prepared.write(middle).data == usual.data, "moved() changes what the prepared image writes")
        raises(CodecError, "a shift of another shape", partial(prepared.moved, shift[:-1]))
        raises(CodecError, "a shift that is not finite", partial(prepared.moved, np.full_like(shift, np.nan)))


def _require_bits_add_up(encoded: Encoded, grid: tuple[int, ...]) -> None:
    bits = encoded.block_bits
    require(bits.shape == grid, f"block_bits has the shape of the blocks, {grid}; got {bits.shape}")
    require(bits.dtype == np.float32, f"block_bits is float32; got {bits.dtype}")
    require(np.isfinite(bits).all() and bits.min() >= 0, "block_bits are finite and at least 0")
    require(encoded.overhead_bits >= 0, f"overhead_bits is at least 0; got {encoded.overhead_bits}")
    require(encoded.block_bits_kind in ("exact", "estimated"), "block_bits_kind is 'exact' or 'estimated'")
    total, size = encoded.overhead_bits + float(bits.sum(dtype=np.float64)), 8 * len(encoded.data)
    require(
        abs(total - size) <= 1e-5 * size, f"overhead_bits and block_bits add up to {total}; the file has {size} bits"
    )


def _mixed_map(codec: Codec, image: ImageArray) -> npt.NDArray[np.int32]:
    grid = block_grid(image, codec.block(image))
    return np.random.default_rng(1).integers(0, len(codec.levels), grid).astype(np.int32)


def _set_options(codec: Codec) -> dict[str, object]:
    return {name: getattr(codec.options, name) for name in codec.options.model_fields_set}


def _squared_error(image: ImageArray, decoded: ImageArray) -> float:
    return float(((image.astype(np.float64) - decoded) ** 2).sum())
