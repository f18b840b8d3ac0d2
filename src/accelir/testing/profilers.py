"""What every profiler promises."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from accelir.codec import Codec
from accelir.errors import InvalidInputError
from accelir.image import ImageArray, block_grid
from accelir.network import IRNetwork
from accelir.pictures import picture
from accelir.profiling.profile import Profile
from accelir.profiling.profiler import Profiler
from accelir.testing.suite import Suite, raises, require

__all__ = ["check_profiler", "profiler_checks"]

_suite: Suite[[Profiler, Codec, IRNetwork]] = Suite()


def check_profiler(
    profiler: Profiler,
    codec: Codec,
    network: IRNetwork,
    *,
    expected_failed_checks: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Run all checks on a profiler.

    Args:
        profiler: An instance, with settings that make it quick: it fits three times.
        codec: To profile with.
        network: To profile with, a light one.
        expected_failed_checks: Names of checks that fail, each with the reason.

    Returns:
        For each check ``"passed"``, ``"skipped: ..."`` or ``"failed as expected: ..."``.

    Raises:
        ConformanceError: The contract is not kept.
    """
    return _suite.run(type(profiler).__name__, expected_failed_checks, profiler, codec, network)


def profiler_checks() -> list[tuple[str, Callable[[Profiler, Codec, IRNetwork], None]]]:
    """The checks as (name, callable that takes a profiler, a codec and a network)."""
    return list(_suite)


@_suite.check
def check_fit(profiler: Profiler, codec: Codec, network: IRNetwork) -> None:
    """A profile says whose it is and foretells any image, progress is told, and a saved profile foretells the same."""
    told: list[tuple[int, int, str]] = []
    profile = profiler.fit(
        codec, network, _references(network), progress=lambda done, total, what: told.append((done, total, what))
    )
    require(told, "progress is told at least once")
    require(
        all(0 <= done <= total and what for done, total, what in told),
        "progress goes from 0 to total and says of what",
    )
    tuned = codec.tuned(profile.header.codec_options)
    profile.check(tuned, network)
    curves = profile.curves
    require(
        curves.size.shape[1] == len(codec.levels), f"curves have {len(codec.levels)} levels; got {curves.size.shape}"
    )
    require((np.diff(curves.size, axis=1) >= -1e-6).all(), "sizes do not fall with the level")
    require((np.diff(curves.error, axis=1) <= 1e-6).all(), "errors do not rise with the level")
    with tempfile.TemporaryDirectory() as folder:
        loaded = Profile.load(profile.save(Path(folder) / "profile.safetensors"))
    for height, width in ((1, 1), (33, 50), (70, 41)):
        for gray in (False, True):
            image = picture(height, width, gray=gray)
            _check_prediction(profile, loaded, codec.tuned(profile.options(image)), image)


@_suite.check
def check_deterministic(profiler: Profiler, codec: Codec, network: IRNetwork) -> None:
    """The same photographs give the same profile."""
    first, second = (profiler.fit(codec, network, _references(network)) for _ in range(2))
    require(np.array_equal(first.curves.size, second.curves.size), "fitting twice gives other sizes")
    require(np.array_equal(first.curves.error, second.curves.error), "fitting twice gives other errors")
    require(first.header == second.header, "fitting twice gives other options")
    image = picture(70, 41)
    tuned = codec.tuned(first.header.codec_options)
    one, two = first.predict(image, tuned), second.predict(image, tuned)
    require(np.array_equal(one.groups, two.groups), "fitting twice gives other groups")


@_suite.check
def check_no_images(profiler: Profiler, codec: Codec, network: IRNetwork) -> None:
    """Without photographs there is nothing to learn."""
    raises(InvalidInputError, "fitting without images", lambda: profiler.fit(codec, network, []))


def _references(network: IRNetwork) -> Sequence[ImageArray]:
    side = 128 * network.task.scale
    return [picture(side, side + 24, seed=seed) for seed in range(2)]


def _check_prediction(profile: Profile, loaded: Profile, codec: Codec, image: ImageArray) -> None:
    grid = block_grid(image, codec.block(image))
    estimate, same = profile.predict(image, codec), loaded.predict(image, codec)
    require(estimate.groups.shape == grid, f"groups has the shape of the blocks, {grid}; got {estimate.groups.shape}")
    require(np.array_equal(same.groups, estimate.groups), "a profile that was saved and loaded tells other groups")
    if estimate.sensitivity is None or same.sensitivity is None:
        require(same.sensitivity is estimate.sensitivity, "a saved profile that was loaded tells as much as before")
        return
    require(
        np.array_equal(same.sensitivity, estimate.sensitivity),
        "a profile that was saved and loaded tells another sensitivity",
    )
    codec.encode(image, 0, sensitivity=estimate.sensitivity)
