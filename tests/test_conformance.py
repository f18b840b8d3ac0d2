"""Everything that is built in keeps its contract, and the kit finds those who do not."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import accelir
from accelir import testing
from accelir.image import ImageArray

Check = Callable[..., None]


def lightest_of_each_family() -> list[str]:
    chosen: dict[str, str] = {}
    for name, spec in sorted(accelir.networks().items(), key=lambda item: item[1].width):
        chosen.setdefault(spec.family, name)
    return list(chosen.values())


@pytest.mark.parametrize(("name", "check"), testing.codec_checks())
@pytest.mark.parametrize(
    "options",
    [{}, {"subsampling": "422"}, {"subsampling": "444"}, {"process": "progressive", "restart_interval": 1}],
    ids=["default", "422", "444", "restarts"],
)
def test_jpeg(name: str, check: Check, options: dict[str, Any]) -> None:
    check(accelir.codec("jpeg", **options))


@pytest.mark.parametrize(("name", "check"), testing.task_checks())
@pytest.mark.parametrize("task", list(accelir.tasks()))
def test_task(name: str, check: Check, task: str) -> None:
    check(accelir.task(task))


@pytest.mark.parametrize(("name", "check"), testing.network_checks())
@pytest.mark.parametrize("network", lightest_of_each_family())
def test_network(name: str, check: Check, network: str) -> None:
    check(accelir.network(network))


@pytest.mark.parametrize(("name", "check"), testing.allocator_checks())
@pytest.mark.parametrize("allocator", list(accelir.allocators()))
def test_allocator(name: str, check: Check, allocator: str) -> None:
    check(accelir.allocator(allocator))


@pytest.mark.parametrize(("name", "check"), testing.profiler_checks())
def test_standard_profiler(name: str, check: Check) -> None:
    profiler = accelir.profiler(
        "standard",
        groups=3,
        coefficients=4,
        crops=3,
        side=48,
        probes=1,
        curve_crops=2,
        tuning_crops=0,
        predictor_steps=5,
    )
    torch.manual_seed(0)
    network = accelir.TorchNetwork(nn.Conv2d(3, 3, 3, padding=1), accelir.Denoise(25), name="light", receptive_field=3)
    check(profiler, accelir.codec("jpeg"), network)


class Grayish(accelir.Task):
    """A task that breaks its contract in two ways."""

    name = "grayish"
    scale = 1

    def degrade(self, reference: ImageArray, rng: np.random.Generator) -> ImageArray:
        return np.random.default_rng().integers(0, 256, reference.shape).astype(np.float32)  # type: ignore[return-value]


def test_all_failures_are_told_at_once() -> None:
    with pytest.raises(testing.ConformanceError) as caught:
        testing.check_task(Grayish())
    message = str(caught.value)
    assert message.startswith("<Grayish grayish> does not keep its contract:")
    assert "check_degrade: degrade gives uint8; got float32" in message
    assert "check_seeded: the same seed gives two images" in message
    assert "check_crop" not in message


def test_expected_failures_are_excused_by_name_and_reported() -> None:
    expected = {"check_degrade": "floats are wanted here", "check_seeded": "real randomness"}
    results = testing.check_task(Grayish(), expected_failed_checks=expected)
    assert results["check_degrade"] == "failed as expected: floats are wanted here"
    assert results["check_crop"] == "passed"


def test_an_expected_failure_that_passes_is_a_failure() -> None:
    with pytest.raises(testing.ConformanceError, match="check_crop: passed, although expected to fail"):
        testing.check_task(accelir.task("deblur"), expected_failed_checks={"check_crop": "not yet"})
    with pytest.raises(testing.ConformanceError, match="names no check: check_typo"):
        testing.check_task(accelir.task("deblur"), expected_failed_checks={"check_typo": "not yet"})


def test_a_network_with_a_false_receptive_field_is_found() -> None:
    module = nn.Sequential(nn.Conv2d(3, 3, 9, padding=4), nn.Conv2d(3, 3, 9, padding=4))
    honest = accelir.TorchNetwork(module, accelir.Denoise(25), name="honest", receptive_field=17)
    testing.check_network(honest, expected_failed_checks={})
    honest.receptive_field = 5
    with pytest.raises(testing.ConformanceError, match="pixels farther away have an influence"):
        testing.check_network(honest)


def test_a_codec_that_writes_other_levels_is_found() -> None:
    jpeg = accelir.codec("jpeg")

    class Flat(type(jpeg)):  # type: ignore[misc]
        def prepare(self, image: ImageArray, *, sensitivity: Any = None) -> Any:
            prepared = super().prepare(image, sensitivity=sensitivity)

            class Flattened(accelir.Prepared):
                def write(self, levels: Any, trim: float = 0.0) -> accelir.Encoded:
                    return prepared.write(int(np.max(levels)), trim)

            return Flattened()

    with pytest.raises(testing.ConformanceError, match="check_mixed_levels: levels says the map that was asked for"):
        testing.check_codec(Flat())


def test_pictures_are_the_same_every_time() -> None:
    assert np.array_equal(testing.picture(9, 7), testing.picture(9, 7))
    assert testing.picture(9, 7, gray=True).shape == (9, 7)
