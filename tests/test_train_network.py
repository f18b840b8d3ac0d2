"""accelir.training.train_network: what goes in, what comes out, what goes on, and what is refused."""

from __future__ import annotations

import json
import os
import pickle
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import nn
from typer.testing import CliRunner

import accelir
from accelir import Denoise, SuperResolution, TorchNetwork
from accelir.cli import app
from accelir.pictures import picture
from accelir.training import Recipe, recipe_for, train_network
from accelir.training.checkpoint import write_together
from accelir.training.compression import RandomFiles
from accelir.training.scores import HeldOut

RECIPE = Recipe(steps=6, batch=2, patch=16)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "more").mkdir()
    for number, name in enumerate(("a.png", "b.png", "more/c.png")):
        Image.fromarray(picture(200, 190, seed=number)).save(folder / name)
    return folder


class Mine(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.last(torch.relu(self.first(x)))


def mine() -> Mine:
    torch.manual_seed(0)
    return Mine()


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Callable[..., Any]:
    def run(**changes: Any) -> Any:
        asked = {
            "network": mine(),
            "task": "denoise-s25",
            "output": tmp_path / "mine.safetensors",
            "recipe": RECIPE,
            "pairs": 6,
            "workers": 1,
        }
        return train_network(changes.pop("folder", folder), **{**asked, **changes})

    return run


def interrupting(told: list[int], at: int) -> Callable[[int, int, str], None]:
    """Progress that notes the steps of training and stops it at one of them."""

    def progress(done: int, total: int, what: str) -> None:
        if what == "training":
            told.append(done)
            if done == at:
                raise KeyboardInterrupt

    return progress


def test_modules_with_a_pyramid_are_trained_by_it(run: Callable[..., Any]) -> None:
    class Stepped(Mine):
        def pyramid(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            whole = self(x)
            return whole, nn.functional.avg_pool2d(whole, 2)

    few: dict[str, Any] = {"steps": 2, "batch": 1, "patch": 16, "loss": None}
    for module, asked, loss in (
        (Stepped(), few, "multiscale"),
        (Stepped(), few | {"loss": "l1"}, "l1"),
        (Mine(), few, "mse"),
    ):
        assert run(network=module, recipe=asked, force=True).network.provenance["recipe"]["loss"] == loss


class TestOutputs:
    def test_weights_log_and_record_are_written_together(self, run: Callable[..., Any], tmp_path: Path) -> None:
        module = mine()
        done = run(network=module, licence="CC0-1.0")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.json", "mine.log.jsonl", "mine.safetensors"]
        with safe_open(done.weights, "pt") as opened:
            stored = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
            header = json.loads(opened.metadata()["accelir"])
        assert all(torch.equal(stored[key], value) for key, value in module.state_dict().items())
        assert not torch.equal(stored["first.weight"], mine().first.weight)
        record = json.loads(done.record.read_text())
        assert header["provenance"] == record == done.network.provenance
        assert record["licence"] == "CC0-1.0" and record["task"] == "denoise-s25"
        assert record["data"]["pictures"] == 2 and record["held_out"]["pictures"] == 1
        assert record["psnr_rgb"]["after"] == done.after
        assert list(done.after) == ["clean", "jpeg q10", "jpeg q20", "jpeg q40"]
        lines = [json.loads(line) for line in done.log.read_text().splitlines()]
        assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
        assert str(tmp_path) not in done.record.read_text()

    def test_the_scores_are_those_of_the_file(self, run: Callable[..., Any], folder: Path) -> None:
        done = run(network="dncnn-s25-f8", held_out=folder / "more", half=True)
        again = accelir.network(done.weights)
        assert again.family == "dncnn-s25" and again.name == "mine"
        image = Denoise(25).degrade(picture(200, 190, seed=2), np.random.default_rng([0, 0]))
        wanted = accelir.metrics.psnr_rgb(again.restore(image), picture(200, 190, seed=2))
        assert done.after["clean"] == pytest.approx(wanted, abs=0.01)
        assert again.fingerprint() == done.network.fingerprint()

    def test_the_same_call_gives_the_same_bytes(self, run: Callable[..., Any], tmp_path: Path) -> None:
        first = run().weights
        second = run(output=tmp_path / "again.safetensors", workers=2).weights
        with safe_open(first, "pt") as one, safe_open(second, "pt") as two:
            assert all(torch.equal(one.get_tensor(key), two.get_tensor(key)) for key in one.keys())  # noqa: SIM118

    def test_another_task_of_the_same_scale_may_be_learned(self, run: Callable[..., Any]) -> None:
        done = run(network="dncnn-s25-f8", task="denoise-s40")
        assert accelir.network(done.weights).task == Denoise(40)
        with pytest.raises(accelir.InvalidInputError, match="enlarges by 1"):
            run(network="dncnn-s25-f8", task="sr-x2", force=True)

    def test_any_codec_and_several(self, run: Callable[..., Any]) -> None:
        done = run(codecs=["jpeg", accelir.codec("jpeg", subsampling="444")], clean=0.1)
        codecs = json.loads(done.record.read_text())["codecs"]
        assert [codec["subsampling"] for codec in codecs] == ["420", "444"]
        assert list(done.after) == ["clean", *(f"jpeg {number} q{q}" for number in (1, 2) for q in (10, 20, 40))]
        assert list(run(codecs=[], force=True).after) == ["clean"]

    def test_an_ir_network_of_ones_own_is_trained_as_it_runs(self, run: Callable[..., Any]) -> None:
        class Own(TorchNetwork):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return super().forward(x) - 0.25

        network = Own(mine(), Denoise(25), "own")
        before = {key: value.clone() for key, value in network.module.state_dict().items()}
        done = run(network=network)
        assert done.network is network
        assert any(not torch.equal(before[key], value) for key, value in network.module.state_dict().items())


class TestGoingOn:
    def test_an_interrupted_training_goes_on_where_it_was(self, run: Callable[..., Any], tmp_path: Path) -> None:
        whole = run(output=tmp_path / "whole.safetensors")
        steps = []

        def interrupt(done: int, total: int, what: str) -> None:
            if what == "training":
                steps.append(done)
                if done == 4 and len(steps) == 4:
                    raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(progress=interrupt)
        assert not (tmp_path / "mine.safetensors").exists()
        done = run(progress=interrupt)
        assert steps == [1, 2, 3, 4, 4, 5, 6]
        assert not (tmp_path / "mine.safetensors.checkpoint").exists()
        assert len(done.log.read_text().splitlines()) == 6
        for first, second in zip(
            whole.network.modules[0].parameters(), done.network.modules[0].parameters(), strict=True
        ):
            assert torch.allclose(first, second, atol=1e-6)
        assert done.before == whole.before

    def test_the_checkpoint_of_another_training_is_kept(self, run: Callable[..., Any], tmp_path: Path) -> None:
        def interrupt(done: int, total: int, what: str) -> None:
            if what == "training" and done == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(progress=interrupt)
        with pytest.raises(accelir.InvalidInputError, match=r"another training \(clean: 0.25 there, 0.5 here\)"):
            run(clean=0.5)
        assert (tmp_path / "mine.safetensors.checkpoint" / "state.pt").exists()
        assert run(clean=0.5, force=True).weights.exists()

    def test_force_begins_anew_and_goes_on_without(self, run: Callable[..., Any], tmp_path: Path) -> None:
        (tmp_path / "mine.json").write_text("kept")
        told: list[int] = []
        with pytest.raises(KeyboardInterrupt):
            run(force=True, progress=interrupting(told, 4))
        with pytest.raises(KeyboardInterrupt):
            run(force=True, progress=interrupting(told, 4))
        run(progress=interrupting(told, 7))
        assert told == [1, 2, 3, 4, 1, 2, 3, 4, 4, 5, 6]
        assert (tmp_path / "mine.json").read_text() != "kept"

    @pytest.mark.parametrize("broken", ["state.pt", "training.json"])
    @pytest.mark.parametrize("content", [b"", b"{}", b"\xff no such thing", None])
    def test_a_damaged_checkpoint_is_told_and_forced_away(
        self, run: Callable[..., Any], tmp_path: Path, broken: str, content: bytes | None
    ) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(progress=interrupting([], 3))
        file = tmp_path / "mine.safetensors.checkpoint" / broken
        file.write_bytes(file.read_bytes()[:-20] if content is None else content)
        with pytest.raises(accelir.DecodeError, match=rf"{broken} is damaged.*--force") as told:
            run()
        assert "\n" not in str(told.value)
        assert run(force=True).weights.exists()
        assert not file.parent.exists()

    def test_what_fails_at_once_leaves_nothing(self, run: Callable[..., Any], tmp_path: Path) -> None:
        class Fails(Mine):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                if self.training:
                    raise RuntimeError("no")
                return super().forward(x)

        with pytest.raises(accelir.InvalidInputError, match="no"):
            run(network=Fails())
        assert list(tmp_path.iterdir()) == []

    def test_a_file_in_the_checkpoint_s_place_is_told_before_anything_else(
        self, run: Callable[..., Any], tmp_path: Path
    ) -> None:
        file = tmp_path / "mine.safetensors.checkpoint"
        file.write_text("mine")
        told: list[str] = []
        with pytest.raises(accelir.SaveError, match="is no folder"):
            run(force=True, progress=lambda done, total, what: told.append(what))
        assert told == [] and file.read_text() == "mine"

    def test_a_checkpoint_in_which_no_step_was_kept_blocks_nothing(
        self, run: Callable[..., Any], tmp_path: Path
    ) -> None:
        folder = tmp_path / "mine.safetensors.checkpoint"
        folder.mkdir()
        (folder / "training.json").write_text("of another")
        assert run().weights.exists()
        assert not folder.exists()

    def test_what_was_good_is_kept_where_the_loss_is_not_finite(self, run: Callable[..., Any], tmp_path: Path) -> None:
        class Bursting(Mine):
            calls = 0

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                self.calls += self.training
                return super().forward(x) * (float("nan") if self.calls > self.lasts else 1)

        def bursting(lasts: int) -> Bursting:
            torch.manual_seed(0)
            module = Bursting()
            module.lasts = lasts
            return module

        with pytest.raises(accelir.InvalidInputError, match=r"loss of step 4 is nan.*state\.pt holds what was good"):
            run(network=bursting(3))
        told: list[int] = []
        done = run(network=bursting(9), progress=interrupting(told, 9))
        assert told == [4, 5, 6]
        assert all(torch.isfinite(value).all() for value in done.network.modules[0].parameters())

    def test_another_module_or_other_weights_do_not_go_on(self, run: Callable[..., Any]) -> None:
        with pytest.raises(KeyboardInterrupt):
            run(progress=interrupting([], 3))
        with pytest.raises(accelir.InvalidInputError, match=r"weights first\.weight: \[4, 3, 3, 3\] there, \[6, 3"):
            run(network=Mine(6))
        torch.manual_seed(1)
        with pytest.raises(accelir.InvalidInputError, match=r"starts_from: \w{16} there, \w{16} here"):
            run(network=Mine())
        assert run().weights.exists()

    def test_a_training_whose_weights_cannot_be_written_is_not_lost(
        self, run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(files: object) -> None:
            raise accelir.SaveError("the disk is full")

        told = []
        with monkeypatch.context() as patched:
            patched.setattr("accelir.training.run.write_together", full)
            with pytest.raises(accelir.SaveError):
                run()
        done = run(progress=lambda done, total, what: told.append(what))
        assert "training" not in told and len(done.log.read_text().splitlines()) == 6

    def test_weights_that_were_written_are_where_the_next_starts(self, run: Callable[..., Any], tmp_path: Path) -> None:
        first = run()
        second = run(start=first.weights, output=tmp_path / "second.safetensors")
        assert second.before == first.after


class TestRefusals:
    def test_an_output_that_exists_is_not_replaced(self, run: Callable[..., Any], tmp_path: Path) -> None:
        (tmp_path / "mine.json").write_text("kept")
        with pytest.raises(accelir.InvalidInputError, match=r"mine\.json exists"):
            run()
        assert (tmp_path / "mine.json").read_text() == "kept"
        run(force=True)
        assert (tmp_path / "mine.json").read_text() != "kept"

    def test_nothing_is_left_where_writing_fails(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a").write_bytes(b"kept")
        write = Path.write_bytes

        def full(path: Path, data: bytes) -> int:
            if data == b"b":
                raise OSError("the disk is full")
            return write(path, data)

        monkeypatch.setattr(Path, "write_bytes", full)
        with pytest.raises(accelir.SaveError, match="full"):
            write_together({tmp_path / "a": b"a", tmp_path / "b": b"b"})
        monkeypatch.undo()
        assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"kept"]
        (tmp_path / "c").mkdir()
        with pytest.raises(accelir.SaveError, match="folder"):
            write_together({tmp_path / "a": b"a", tmp_path / "c": b"c"})
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]
        assert (tmp_path / "a").read_bytes() == b"kept"

    def test_pictures_that_are_missing_or_too_small(
        self, run: Callable[..., Any], folder: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(accelir.InvalidInputError, match="is not a folder"):
            run(folder=tmp_path / "none")
        with pytest.raises(accelir.InvalidInputError, match="holds no picture"):
            run(folder=tmp_path)
        Image.fromarray(picture(40, 300)).save(tmp_path / "small.png")
        with pytest.raises(accelir.InvalidInputError, match="at least two"):
            run(folder=tmp_path)
        with pytest.raises(accelir.InvalidInputError, match=r"1 of 1 .* 128 pixels a side; small\.png \(300x40\)"):
            run(folder=tmp_path, network="edsr-x4-f8", task=None, held_out=folder)
        with pytest.raises(accelir.InvalidInputError, match="none is left"):
            run(held_out=folder)
        (tmp_path / "small.png").write_text("no picture")
        with pytest.raises(accelir.DecodeError, match=r"small\.png"):
            run(folder=tmp_path, held_out=folder)

    @pytest.mark.parametrize(
        ("changes", "error", "words"),
        [
            ({"network": "edsr-x4-f9", "task": None}, accelir.UnknownNameError, "edsr-x4-f9"),
            ({"task": "unblur"}, accelir.UnknownNameError, "unblur"),
            ({"task": None}, accelir.InvalidInputError, "name the task"),
            ({"codecs": ["jepg"]}, accelir.UnknownNameError, "jepg"),
            ({"clean": 2}, accelir.InvalidInputError, "clean share"),
            ({"qualities": (90, 20)}, accelir.InvalidInputError, "lowest"),
            ({"arguments": {"width": 8}}, accelir.InvalidInputError, "factory"),
            ({"recipe": {"steps": 0}}, accelir.InvalidInputError, "1 or more"),
            ({"recipe": {"loss": "l3"}}, accelir.InvalidInputError, "l3"),
            ({"recipe": {"loss": "multiscale"}}, accelir.InvalidInputError, "pyramid"),
            ({"device": "warp"}, accelir.InvalidInputError, "warp"),
            ({"recipe": {"step": 5}}, accelir.InvalidInputError, "steps, batch"),
            ({"output": "mine.pth"}, accelir.InvalidInputError, "safetensors"),
            ({"start": "none.safetensors"}, accelir.DecodeError, "none"),
        ],
    )
    def test_what_does_not_fit_is_told(
        self, run: Callable[..., Any], changes: dict[str, Any], error: type[Exception], words: str
    ) -> None:
        with pytest.raises(error, match=words):
            run(**changes)

    def test_a_module_whose_parameters_are_all_frozen_is_not_trained(self, run: Callable[..., Any]) -> None:
        with pytest.raises(accelir.InvalidInputError, match=r"'mine' has no parameter that may change"):
            run(network=mine().requires_grad_(False))

    @pytest.mark.parametrize("fails", [ValueError, RuntimeError])
    def test_what_fails_in_a_module_is_told(self, run: Callable[..., Any], fails: type[Exception]) -> None:
        class Theirs(Mine):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                if self.training:
                    raise fails("no such\nsize")
                return super().forward(x)

        said = rf"'theirs' failed on float32 \(2, 3, 16, 16\): {fails.__name__}: no such$"
        with pytest.raises(accelir.InvalidInputError, match=said):
            run(network=Theirs())

    def test_a_network_without_gradients_is_not_trained(self, run: Callable[..., Any]) -> None:
        network = TorchNetwork(mine(), Denoise(25))
        network.differentiable = False
        with pytest.raises(accelir.NotDifferentiableError, match="cannot be trained"):
            run(network=network)


class TestCompression:
    def test_files_are_as_the_usual_encoder_makes_them_and_as_ours(self) -> None:
        codec = accelir.codec("jpeg")
        files = RandomFiles.of([codec], SuperResolution(4), clean=0.25)
        low, high, usual = files.levels[0]
        assert usual and 0 < low < high < len(codec.levels) - 1
        sample = picture(128, 128)
        for level, quality in ((low, 30), (high, 95)):
            size = len(codec.usual(sample, quality))
            assert 0.8 < len(codec.encode(sample, level).data) / size < 1.5
        image = picture(32, 32)
        usual_ones = {codec.decode(codec.usual(image, quality)).tobytes() for quality in range(30, 96)}
        results = [files(image, SuperResolution(4), np.random.default_rng(seed)) for seed in range(120)]
        clean = sum(np.array_equal(result, image) for result in results)
        pillow = sum(result.tobytes() in usual_ones for result in results)
        assert 18 <= clean <= 45
        assert 28 <= pillow <= 62
        assert {result.shape for result in results} == {(32, 32, 3)}
        again = pickle.loads(pickle.dumps(files))
        assert np.array_equal(again(image, SuperResolution(4), np.random.default_rng(0)), results[0])

    def test_one_codec_is_as_good_as_a_list_of_one(self) -> None:
        assert [codec.name for codec in RandomFiles.of("jpeg", Denoise(25)).codecs] == ["jpeg"]

    @pytest.mark.parametrize(
        "wrong", [{"qualities": 5}, {"qualities": ("a", 3)}, {"qualities": (1, 2, 3)}, {"clean": "x"}, {"clean": 2}]
    )
    def test_what_is_no_quality_or_share(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(accelir.InvalidInputError, match="got"):
            RandomFiles.of(["jpeg"], Denoise(25), **wrong)

    def test_noisy_pictures_are_stored_at_lower_qualities(self) -> None:
        noisy, clear = (RandomFiles.of(["jpeg"], task).levels[0] for task in (Denoise(25), SuperResolution(4)))
        assert noisy[0] < clear[0] and noisy[1] < clear[1]

    def test_a_codec_without_a_usual_encoder_writes_ours(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        codec = accelir.codec("jpeg")

        def none(image: object, quality: int) -> bytes:
            raise accelir.CodecError("no usual encoder")

        monkeypatch.setattr(codec, "usual", none)
        files = RandomFiles.of([codec], Denoise(25), clean=0)
        assert files.levels == [(0, len(codec.levels) - 1, False)]
        image = picture(32, 32)
        assert not np.array_equal(files(image, Denoise(25), np.random.default_rng(0)), image)
        Image.fromarray(picture(64, 64)).save(tmp_path / "a.png")
        scores = HeldOut([tmp_path / "a.png"], Denoise(25), [codec], 0).score_untouched()
        assert list(scores) == ["clean", "jpeg level 7", "jpeg level 14", "jpeg level 21"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": "l2"},
        {"optimiser": "sgd"},
        {"steps": 0},
        {"batch": 0},
        {"patch": 7},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"decay": 0.0},
        {"decay": 2.0},
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(accelir.InvalidInputError):
        Recipe(**wrong)


def test_recipes_follow_the_task() -> None:
    assert recipe_for(Denoise(25)).loss == "mse"
    assert recipe_for(SuperResolution(2), steps=5, batch=None) == Recipe(steps=5)


class TestCommand:
    def invoke(self, *arguments: Any) -> Any:
        return CliRunner().invoke(app, ["train", *map(str, arguments)])

    def test_a_factory_is_trained_and_found_again(
        self, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        output = tmp_path / "mine.safetensors"
        monkeypatch.setitem(sys.modules, "mine_for_tests", sys.modules[__name__])
        few = ["--steps", 3, "--batch", 2, "--patch", 16, "--pairs", 4, "--workers", 1]
        factory = ["-n", "mine_for_tests:Mine", "--argument", "width=6", "--task", "denoise-s25"]
        result = self.invoke(folder, *factory, "-o", output, *few, "--licence", "MIT")
        assert result.exit_code == 0, result.output
        assert "jpeg q20" in result.stdout and "after" in result.stdout
        assert "training: 3 of 3" in result.stderr
        network = accelir.network(f"mine_for_tests:Mine@{output}")
        assert network.modules[0].first.out_channels == 6
        assert network.provenance["licence"] == "MIT"

    def test_errors_are_one_line(self, folder: Path, tmp_path: Path) -> None:
        output = tmp_path / "mine.safetensors"
        output.touch()
        result = self.invoke(folder, "-n", "dncnn-s25-f8", "-o", output)
        assert result.exit_code == 1
        assert result.stderr.startswith("accelir: ") and "exists" in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert self.invoke(folder, "-n", "any", "-o", output, "--argument", "width").exit_code == 2

    def test_a_named_task_goes_with_a_network_of_another_command(self, tmp_path: Path, folder: Path) -> None:
        result = CliRunner().invoke(
            app,
            ["restore", str(folder / "a.png"), "-n", "edsr-x4-f8", "--task", "sr-x2", "-o", str(tmp_path / "o.png")],
        )
        assert result.exit_code == 1
        assert "sr-x2" in result.stderr


def test_two_processes_train_one_network(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine.safetensors"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "accelir"]
    command += ["train", str(folder), "-n", "dncnn-s25-f8", "-o", str(output), "--steps", "3", "--batch", "2"]
    command += ["--patch", "16", "--pairs", "4", "--workers", "1"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env={**os.environ})
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("after") == 1
    record = json.loads((tmp_path / "mine.json").read_text())
    assert record["processes"] == 2 and record["recipe"]["steps"] == 3
    assert accelir.network(output).task == Denoise(25)


def test_the_example_gains_on_compressed_inputs(tmp_path: Path) -> None:
    example = runpy.run_path(str(Path(__file__).parents[1] / "examples" / "fine_tune.py"))
    longer, tuned = example["fine_tune"](tmp_path, 100)
    stored = [label for label in tuned.after if label != "clean"]
    assert len(stored) == 3
    # More than what as many steps more on clean inputs bring.
    assert np.mean([tuned.after[label] - longer.after[label] for label in stored]) > 0.1
    assert all(tuned.after[label] > tuned.before[label] + 0.1 for label in stored)
    assert longer.before == tuned.before


def test_the_fine_tuning_of_the_page_is_a_call_that_runs(
    run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parents[1] / "docs" / "networks.md").read_text(encoding="utf-8")
    (snippet,) = (one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "train_network(" in one)
    asked: dict[str, Any] = {}

    def few(folder: str, **given: Any) -> Any:
        asked.update(given)
        recipe = recipe_for(Denoise(25), **given["recipe"])
        assert (recipe.steps, recipe.learning_rate, recipe.loss) == (3000, 2e-4, "mse")
        return run(
            **{
                **given,
                "output": tmp_path / given["output"],
                "recipe": {**given["recipe"], "steps": 2, "batch": 2, "patch": 16},
            }
        )

    module = mine()
    with monkeypatch.context() as patched:
        patched.setattr("accelir.training.train_network", few)
        exec(snippet, {"__name__": "__main__", "my_module": module})
    assert asked["recipe"]["learning_rate"] < Recipe().learning_rate and asked["network"] is module
    assert not torch.equal(module.first.weight, mine().first.weight)
