"""Tasks make the inputs that they say."""

import numpy as np
import pytest
from PIL import Image

from accelir.errors import InvalidInputError
from accelir.tasks import Deblur, Denoise, SuperResolution, blur, camera_shake_kernel


@pytest.fixture
def reference() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def test_super_resolution_is_pillows_bicubic(reference: np.ndarray) -> None:
    expected = np.asarray(Image.fromarray(reference).resize((16, 12), Image.Resampling.BICUBIC))
    assert np.array_equal(SuperResolution(4).degrade(reference, np.random.default_rng(0)), expected)


def test_crop_leaves_whole_multiples(reference: np.ndarray) -> None:
    assert SuperResolution(5).crop(reference).shape == (45, 60, 3)
    with pytest.raises(InvalidInputError, match="crop"):
        SuperResolution(5).degrade(reference, np.random.default_rng(0))


def test_noise_has_the_sigma_asked_for() -> None:
    gray = np.full((256, 256), 128, np.uint8)
    noisy = Denoise(25).degrade(gray, np.random.default_rng(0)).astype(float)
    assert abs(noisy.std() - 25) < 0.5 and abs(noisy.mean() - 128) < 0.5


def test_blind_noise_draws_its_sigma_from_the_range() -> None:
    gray = np.full((64, 64), 128, np.uint8)
    spread = {round(float(Denoise((5, 50)).degrade(gray, np.random.default_rng(i)).std())) for i in range(12)}
    assert min(spread) >= 4 and max(spread) <= 52 and len(spread) > 6


def test_a_camera_trajectory_is_a_seeded_blur_kernel() -> None:
    for seed in range(20):
        kernel = camera_shake_kernel(np.random.default_rng(seed), (5.0, 23.0))
        assert kernel.shape[0] == kernel.shape[1] and kernel.shape[0] % 2 == 1
        assert kernel.min() >= 0 and np.isclose(kernel.sum(), 1, atol=1e-5)
        offsets = np.arange(len(kernel)) - len(kernel) // 2
        assert abs(kernel.sum(0) @ offsets) < 0.1 and abs(kernel.sum(1) @ offsets) < 0.1
        again = camera_shake_kernel(np.random.default_rng(seed), (5.0, 23.0))
        assert np.array_equal(kernel, again)


def test_blur_is_convolution(reference: np.ndarray) -> None:
    kernel = camera_shake_kernel(np.random.default_rng(3), (5.0, 9.0))
    blurred = blur(reference, kernel)
    radius = len(kernel) // 2
    y, x = 24, 30
    window = reference[y - radius : y + radius + 1, x - radius : x + radius + 1].astype(float)
    assert np.allclose(blurred[y, x], (window * kernel[::-1, ::-1, None]).sum((0, 1)), atol=1e-2)
    assert np.allclose(blur(reference, np.ones((1, 1), np.float32)), reference, atol=1e-3)


def test_deblur_is_deterministic_for_a_seed(reference: np.ndarray) -> None:
    first = Deblur().degrade(reference, np.random.default_rng(5))
    assert first.shape == reference.shape and first.dtype == np.uint8
    assert np.array_equal(first, Deblur().degrade(reference, np.random.default_rng(5)))


def test_kernels_of_ones_own_take_the_place_of_trajectories(reference: np.ndarray) -> None:
    kernels = [np.zeros((3, 3), np.float32) for _ in range(2)]
    kernels[0][1, 1] = kernels[1][0, 1] = 1
    own = Deblur(noise=0, kernels=kernels)
    wanted = [np.rint(blur(reference, kernel)).astype(np.uint8) for kernel in kernels]
    drawn = {own.degrade(reference, np.random.default_rng(seed)).tobytes() for seed in range(12)}
    assert drawn == {image.tobytes() for image in wanted}
    kernels[0][:] = 9
    assert own.kernels[0][1, 1] == 1, "a copy"
    kernels[0][:] = own.kernels[0]
    assert own == Deblur(noise=0, kernels=kernels) != Deblur(noise=0, kernels=kernels[:1]) != Deblur(noise=0)


@pytest.mark.parametrize("kernel", [np.ones((3, 3)), np.full((2, 2), 0.25), np.array([[2.0, -1.0, 0.0]]), np.ones(1)])
def test_what_is_no_blur_kernel_is_refused(kernel: np.ndarray) -> None:
    with pytest.raises(InvalidInputError, match="blur kernel"):
        Deblur(kernels=[kernel])


@pytest.mark.parametrize(
    "make",
    [
        lambda: SuperResolution(1),
        lambda: SuperResolution("4"),
        lambda: Denoise(-1),
        lambda: Denoise(float("inf")),
        lambda: Denoise([0, 55]),
        lambda: Deblur((9, 3)),
        lambda: Deblur(noise=-1),
        lambda: Deblur(noise=float("nan")),
    ],
)
def test_senseless_parameters_are_refused(make) -> None:
    with pytest.raises(InvalidInputError):
        make()


def test_tasks_are_equal_by_name() -> None:
    assert Denoise(25) == Denoise(25.0) != Denoise(15) and len({Denoise(25), Denoise(25)}) == 1


def test_tasks_with_other_parameters_are_other_tasks() -> None:
    assert Deblur() == Deblur((5, 23), 1) and Deblur().name == "deblur"
    assert Deblur((5, 9)) != Deblur((20, 40), noise=9)
    with pytest.raises(InvalidInputError, match="whole"):
        SuperResolution(2.9)
