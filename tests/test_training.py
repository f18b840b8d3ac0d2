"""The training recipe: pairs, growing, resuming, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from accelir.errors import InvalidInputError
from accelir.tasks import Deblur, Denoise, SuperResolution
from accelir.training.data import Pairs, compress_randomly, make_pairs, photographs
from accelir.training.recipe import Recipe, grow, train
from accelir.training.shake import ShakePairs
from accelir_plugins.dncnn import DnCNN
from accelir_plugins.edsr import EDSR


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sklearn.datasets import load_sample_image

    folder = tmp_path_factory.mktemp("photographs")
    for name in ("china", "flower"):
        Image.fromarray(load_sample_image(f"{name}.jpg")).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def pairs(folder: Path) -> Pairs:
    return make_pairs(photographs(folder), Denoise(25), count=24, side=48, seed=0, workers=1)


def test_pairs_have_the_sides_asked_for(folder: Path) -> None:
    pairs = make_pairs(photographs(folder), SuperResolution(2), count=5, side=32, seed=0, workers=1)
    assert pairs.inputs.shape == (5, 32, 32, 3) and pairs.references.shape == (5, 64, 64, 3)
    small = np.stack(
        [np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BOX)) for one in pairs.references]
    ).astype(float)
    assert np.abs(small - pairs.inputs).mean() < 12


def test_pairs_do_not_depend_on_the_number_of_workers(folder: Path, pairs: Pairs) -> None:
    again = make_pairs(photographs(folder), Denoise(25), count=24, side=48, seed=0, workers=2)
    assert np.array_equal(again.inputs, pairs.inputs) and np.array_equal(again.references, pairs.references)


def test_inputs_are_clean_and_compressed_alike() -> None:
    image = np.asarray(Image.effect_mandelbrot((64, 64), (-2, -1.5, 1, 1.5), 80).convert("RGB"))
    task = SuperResolution(4)
    results = [compress_randomly(image, task, np.random.default_rng(seed)) for seed in range(80)]
    clean = sum(np.array_equal(result, image) for result in results)
    assert 8 <= clean <= 35
    assert all(result.shape == image.shape and result.dtype == np.uint8 for result in results)


@pytest.mark.parametrize(("build", "side"), [(lambda w: EDSR(w), 4), (lambda w: DnCNN(w), 1)])
def test_a_grown_network_starts_as_the_narrow_one(build, side: int) -> None:
    torch.manual_seed(0)
    narrow, x = build(8), torch.rand(1, 3, 12, 10)
    wide = grow(narrow, build(16))
    with torch.no_grad():
        assert torch.allclose(wide(x), narrow(x), atol=1e-5)
    assert wide(x).shape[-2:] == (12 * side, 10 * side)


def test_training_removes_noise(pairs: Pairs) -> None:
    torch.manual_seed(0)
    losses: list[float] = []
    trained = train(
        DnCNN(8, 4), pairs, Recipe(400, 4, 24, 3e-3, "mse"), report=lambda step, steps, loss: losses.append(loss)
    )
    inputs, references = (
        torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 for images in (pairs.inputs, pairs.references)
    )
    with torch.no_grad():
        remaining = ((trained(inputs) - references) ** 2).mean() / ((inputs - references) ** 2).mean()
    assert len(losses) == 4 and losses[-1] < losses[0]
    assert remaining < 0.9


def test_an_interrupted_training_ends_as_if_it_had_not_been(tmp_path: Path, pairs: Pairs) -> None:
    recipe = Recipe(200, 2, 16, 1e-3, "l1")

    def fresh() -> DnCNN:
        torch.manual_seed(0)
        return DnCNN(8, 3)

    whole = train(fresh(), pairs, recipe)
    checkpoint = tmp_path / "run.checkpoint"

    def stop(step: int, steps: int, loss: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(fresh(), pairs, recipe, checkpoint=checkpoint, checkpoint_every=50, report=stop)
    assert checkpoint.exists()
    resumed = train(fresh(), pairs, recipe, checkpoint=checkpoint, checkpoint_every=50)
    assert not checkpoint.exists()
    for first, second in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.allclose(first, second, atol=1e-4)


def kernel_of(*taps: tuple[int, int], side: int = 5) -> np.ndarray:
    kernel = np.zeros((side, side), np.float32)
    for y, x in taps:
        kernel[y, x] = 1 / len(taps)
    return kernel


@pytest.fixture
def shake() -> ShakePairs:
    references = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    kernels = [kernel_of((2, 2)), kernel_of((2, 0), (2, 4)), kernel_of((0, 2), (4, 2)), kernel_of((0, 0), (4, 4))]
    return ShakePairs(references, kernels, Deblur(noise=0), compress=lambda image, task, rng: image)


def test_the_curriculum_of_kernels_begins_with_the_first(shake: ShakePairs) -> None:
    inputs, references = shake.batch(np.random.default_rng(0), 8, 16)
    assert inputs.shape == references.shape == (8, 16, 16, 3)
    assert np.array_equal(inputs, references), "the first kernel is that of no blur"


def test_kernels_join_only_when_the_network_undoes_those_before(shake: ShakePairs) -> None:
    for _ in range(1000):
        shake.feedback(0.1)
    assert shake.known == 1 and not shake.opened
    for _ in range(400):
        shake.feedback(2.0)
    assert shake.known > 1
    inputs, references = shake.batch(np.random.default_rng(0), 16, 16)
    assert not np.array_equal(inputs, references)
    for _ in range(2000):
        shake.feedback(2.0)
    assert shake.known == 4 and shake.opened


def test_the_curriculum_is_kept_with_a_checkpoint(shake: ShakePairs) -> None:
    for _ in range(200):
        shake.feedback(2.0)
    again = ShakePairs(shake.references, shake.kernels, shake.task)
    again.restore_state(shake.state())
    for source in (shake, again):
        source.feedback(2.0)
    assert again.state() == shake.state() and again.known > 1


def test_kernels_beyond_the_margin_are_refused(shake: ShakePairs) -> None:
    with pytest.raises(InvalidInputError, match="49 pixels"):
        ShakePairs(shake.references, [kernel_of((0, 0), side=51)], Deblur())


def test_training_follows_a_curriculum(shake: ShakePairs) -> None:
    class Sharpener(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x)

    shake.kernels = [kernel_of((2, 1), (2, 2)), *shake.kernels]
    shake.threshold = -100.0
    train(Sharpener(), shake, Recipe(200, 2, 16, 1e-2))
    assert shake.known > 1, "the training told the source its gain"
