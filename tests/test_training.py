"""The training recipe: pairs, growing, resuming, and that it learns."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from accelir.errors import InvalidInputError
from accelir.files import pictures_in
from accelir.tasks import Deblur, Denoise, SuperResolution
from accelir.training import muon as muon_module
from accelir.training import recipe as recipe_module
from accelir.training.data import Batch, Pairs, compress_randomly, make_pairs
from accelir.training.growth import grow
from accelir.training.muon import Optimiser, orthogonalised
from accelir.training.recipe import Recipe, train
from accelir.training.shake import KernelNaming, ShakePairs
from accelir_plugins.dncnn import DnCNN
from accelir_plugins.edsr import EDSR
from accelir_plugins.mimounet import MIMOUNet


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from sklearn.datasets import load_sample_image

    folder = tmp_path_factory.mktemp("photographs")
    for name in ("china", "flower"):
        Image.fromarray(load_sample_image(f"{name}.jpg")).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def pairs(folder: Path) -> Pairs:
    return make_pairs(pictures_in(folder), Denoise(25), count=24, side=48, seed=0, workers=1)


def test_whole_floats_are_whole():
    assert repr(Recipe(steps=4.0)) == repr(Recipe(steps=4))


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": "a"},
        {"steps": 2.5},
        {"batch": True},
        {"patch": 4},
        {"seed": -1},
        {"learning_rate": None},
        {"decay": "x"},
        {"loss": "l3"},
        {"optimiser": "sgd"},
    ],
)
def test_what_is_no_recipe(wrong):
    with pytest.raises(InvalidInputError, match="got"):
        Recipe(**wrong)


def test_pairs_have_the_sides_asked_for(folder: Path) -> None:
    pairs = make_pairs(pictures_in(folder), SuperResolution(2), count=5, side=32, seed=0, workers=1)
    assert pairs.inputs.shape == (5, 32, 32, 3) and pairs.references.shape == (5, 64, 64, 3)
    small = np.stack(
        [np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.BOX)) for one in pairs.references]
    ).astype(float)
    assert np.abs(small - pairs.inputs).mean() < 12


def test_pairs_do_not_depend_on_the_number_of_workers(folder: Path, pairs: Pairs) -> None:
    again = make_pairs(pictures_in(folder), Denoise(25), count=24, side=48, seed=0, workers=2)
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


def test_what_is_told_after_an_interruption_is_the_mean_of_the_steps_since(tmp_path: Path, pairs: Pairs) -> None:
    recipe, checkpoint = Recipe(8, 2, 16, 1e-3, "l1"), tmp_path / "run.checkpoint"
    torch.manual_seed(0)
    module = DnCNN(8, 3)
    each: dict[int, float] = {}

    def stop(step: int, steps: int, loss: float) -> None:
        if step == 4:
            raise KeyboardInterrupt

    train(copy.deepcopy(module), pairs, recipe, report=lambda step, _, loss: each.update({step: loss}), report_every=1)
    with pytest.raises(KeyboardInterrupt):
        train(
            copy.deepcopy(module), pairs, recipe, checkpoint=checkpoint, checkpoint_every=3, report=stop, report_every=4
        )
    told: dict[int, float] = {}
    train(
        copy.deepcopy(module),
        pairs,
        recipe,
        checkpoint=checkpoint,
        checkpoint_every=100,
        report=lambda step, _, loss: told.update({step: loss}),
        report_every=4,
    )
    assert told == pytest.approx({4: each[4], 8: sum(each[step] for step in range(5, 9)) / 4}, rel=1e-3)


def test_a_checkpoint_of_another_recipe_is_not_written_over(tmp_path: Path, pairs: Pairs) -> None:
    checkpoint = tmp_path / "run.checkpoint"
    train(DnCNN(8, 3), pairs, Recipe(2, 2, 16, 1e-3), checkpoint=checkpoint, keep_checkpoint=True)
    kept = checkpoint.read_bytes()
    with pytest.raises(InvalidInputError, match="another recipe"):
        train(DnCNN(8, 3), pairs, Recipe(3, 2, 16, 1e-3), checkpoint=checkpoint)
    assert checkpoint.read_bytes() == kept


def test_photographs_are_read_as_everywhere_else(tmp_path: Path) -> None:
    deep, clear, gray = (tmp_path / f"{name}.png" for name in ("deep", "clear", "gray"))
    Image.fromarray(np.full((96, 96), 40000, np.uint16)).save(deep)
    Image.new("RGBA", (96, 96), (9, 9, 9, 0)).save(clear)
    Image.linear_gradient("L").save(gray)
    for path in (deep, clear):
        with pytest.raises(InvalidInputError, match=path.name):
            make_pairs([path], Denoise(25), count=1, side=48, seed=0, workers=1)
    assert make_pairs([gray], Denoise(25), count=1, side=48, seed=0, workers=1).inputs.shape == (1, 48, 48, 3)


def kernel_of(*taps: tuple[int, int], side: int = 5) -> np.ndarray:
    kernel = np.zeros((side, side), np.float32)
    for y, x in taps:
        kernel[y, x] = 1 / len(taps)
    return kernel


@pytest.fixture
def shake() -> ShakePairs:
    references = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    kernels = [kernel_of((2, 2)), kernel_of((2, 0), (2, 4)), kernel_of((0, 2), (4, 2)), kernel_of((0, 0), (4, 4))]
    return ShakePairs(references, kernels, Deblur(noise=0), compress=lambda image, task, rng: image, sharp=0)


def test_batches_name_the_kernel_that_blurred_them(shake: ShakePairs) -> None:
    shake.lights = 0.0
    inputs, references, labels = shake.batch(np.random.default_rng(0), 32, 16)
    assert inputs.shape == references.shape == (32, 16, 16, 3)
    sharp = [np.array_equal(image, reference) for image, reference in zip(inputs, references, strict=True)]
    assert sharp == (labels == 0).tolist(), "kernel 0 is that of no blur, the others are not"
    assert set(labels) == {0, 1, 2, 3}


def test_point_lights_show_the_kernel_and_fall_away(shake: ShakePairs) -> None:
    shake.references = np.full_like(shake.references, 100)

    def lit(progress: float) -> float:
        references = shake.batch(np.random.default_rng(1), 60, 48, progress).references
        return float(np.mean([(reference != 100).any() for reference in references]))

    assert lit(0.0) == pytest.approx(0.7, abs=0.15)
    assert lit(0.0) > lit(0.9) > lit(0.9999) == 0


def test_unseen_trajectories_and_compression_join_when_the_training_opens(shake: ShakePairs) -> None:
    calls = []
    shake.compress = lambda image, task, rng: calls.append(1) or image
    before = shake.batch(np.random.default_rng(0), 40, 16, 0.59)
    assert not calls and (before.labels >= 0).all()
    after = shake.batch(np.random.default_rng(0), 200, 16, 0.61)
    assert 90 <= len(calls) <= 150
    assert 75 <= (after.labels < 0).sum() <= 125


def test_trajectories_blur_as_large_a_share_as_is_asked_for(shake: ShakePairs) -> None:
    for unseen in (0.0, 1.0):
        pairs = ShakePairs(shake.references, shake.kernels, Deblur(), opening=0, unseen=unseen, compressed=0, sharp=0)
        assert ((pairs.batch(np.random.default_rng(0), 40, 16, 0.5).labels < 0) == unseen).all()


def test_kernels_beyond_the_margin_are_refused(shake: ShakePairs) -> None:
    with pytest.raises(InvalidInputError, match="is a share"):
        ShakePairs(shake.references, shake.kernels, Deblur(), lights=2)
    with pytest.raises(InvalidInputError, match="49 pixels"):
        ShakePairs(shake.references, [kernel_of((0, 0), side=51)], Deblur())
    with pytest.raises(InvalidInputError, match="a photograph has"):
        shake.batch(np.random.default_rng(0), 1, 4096)


@pytest.mark.parametrize("loss", ["l1", "multiscale"])
def test_a_compiled_training_goes_through_the_compiler(monkeypatch, shake: ShakePairs, loss: str) -> None:
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda function: compiled.append(function) or function)
    module = MIMOUNet(4)
    train(module, shake, Recipe(steps=1, batch=1, patch=16, loss=loss), compiled=True)
    assert compiled == [module if loss == "l1" else module.pyramid]


def test_naming_the_kernel_teaches_to_tell_it(shake: ShakePairs) -> None:
    class Differences(torch.nn.Module):
        """The energy of differences over two and four pixels along rows and columns: what tells these kernels apart."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            gray = x.mean(dim=1, keepdim=True)
            shifts = [(distance, axis) for distance in (2, 4) for axis in (2, 3)]
            return torch.cat([(gray - gray.roll(*shift)).square() * 30 for shift in shifts], dim=1)

    class Network(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features, self.tail = Differences(), torch.nn.Conv2d(4, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.tail(self.features(x)) + x

    shake.lights, shake.opening = 0.0, 1.0
    module = Network()
    naming = KernelNaming("features", 4, 4, weight=1.0)
    train(module, shake, Recipe(250, 16, 32, 2e-2), auxiliary=naming)
    batch = shake.batch(np.random.default_rng(9), 64, 32)
    with naming.watching(module):
        module(torch.from_numpy(batch.inputs).permute(0, 3, 1, 2).float() / 255)
        assert float(naming.loss(batch).detach()) < 0.7, "chance is log 4 = 1.39"
    with pytest.raises(InvalidInputError, match="no part"):
        naming.loss(batch)


@pytest.mark.parametrize("drawers", [1, 3])
def test_batches_drawn_ahead_are_those_drawn_in_turn(shake: ShakePairs, drawers: int) -> None:
    wanted = Recipe(9, 2, 16)
    pace = recipe_module._Pace(wanted.steps, None)
    in_turn, ahead = (list(recipe_module._drawn(shake, wanted, pace, 2, (), threads)) for threads in (0, drawers))
    assert [step for step, _ in ahead] == [step for step, _ in in_turn] == list(range(2, 9))
    for (_, one), (_, other) in zip(in_turn, ahead, strict=True):
        assert all(np.array_equal(first, second) for first, second in zip(one, other, strict=True))


def test_numbers_of_drawers_and_of_kernels_are_checked(shake: ShakePairs) -> None:
    with pytest.raises(InvalidInputError, match="0 threads or more; got -1"):
        train(torch.nn.Conv2d(3, 3, 1), shake, Recipe(3, 2, 16), drawers=-1)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1))
    with pytest.raises(InvalidInputError, match="knows 1 kernels"):
        train(module, shake, Recipe(3, 16, 16), auxiliary=KernelNaming("0", 3, 1))


def test_what_fails_in_drawing_ends_the_training() -> None:
    class Broken:
        def batch(self, rng: np.random.Generator, count: int, patch: int, progress: float = 0.0) -> Batch:
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        train(torch.nn.Conv2d(3, 3, 1), Broken(), Recipe(3, 2, 16))


@pytest.mark.parametrize(("rows", "rounding"), [(8, 1e-5), (64, 0.04)])
def test_orthogonalised_matrices_have_singular_values_of_about_one(rows: int, rounding: float, monkeypatch):
    monkeypatch.setattr(muon_module, "fast_dtype", lambda place: torch.bfloat16)
    matrices = torch.randn(3, rows, 5 * rows, generator=torch.Generator().manual_seed(0))
    for given in (matrices, matrices.mT):
        values = torch.linalg.svdvals(orthogonalised(given))
        assert values.min() > 0.6 and values.max() < 1.3
        # With the same singular vectors: the product with the matrix itself is symmetric and not negative.
        product = orthogonalised(given).mT @ given
        assert (product - product.mT).norm() < rounding * product.norm()


def test_muon_takes_inner_matrices_and_adam_the_rest():
    """A step of Muon moves a matrix by its learning rate, however small the gradient; one of one colour it leaves."""
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 3, 3))
    optimiser = Optimiser([module], matrices=True)
    inner = {id(parameter) for group in optimiser._parts[1].param_groups for parameter in group["params"]}
    assert inner == {id(module[1].weight)}
    assert len(optimiser.parameters) == 8
    before = module[1].weight.detach().clone()
    (1e-3 * module(torch.rand(2, 3, 16, 16)).square().sum()).backward()
    optimiser.step(0.01)
    moved = torch.linalg.svdvals((module[1].weight.detach() - before).reshape(8, -1)) / (0.01 * 0.2 * 72**0.5)
    assert moved.min() > 0.6 and moved.max() < 1.3
    assert len(Optimiser([module], matrices=False)._parts) == 1


@pytest.mark.parametrize(("device", "backend"), [("cpu", "gloo"), ("cuda", "nccl"), ("cuda:1", "nccl")])
def test_processes_talk_as_the_device_that_is_wanted_needs_it(monkeypatch, device: str, backend: str) -> None:
    from accelir.training import team

    asked = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(team.distributed, "is_initialized", lambda: False)
    monkeypatch.setattr(team.distributed, "init_process_group", asked.append)
    monkeypatch.setattr(team.distributed, "get_rank", lambda: 1)
    assert team.Team.of_this_process(device) == team.Team(1, 2)
    assert asked == [backend]
