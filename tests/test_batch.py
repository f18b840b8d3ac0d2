"""Many pictures, encoded side by side."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import accelir
from accelir.batch import encode_many
from accelir.cli import app
from accelir.errors import InvalidInputError, UnknownNameError
from accelir.pictures import picture

NETWORK = "edsr-x4-f16"
BUDGET = accelir.BitsPerPixel(1.5)


@pytest.fixture
def photographs(tmp_path):
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    for index, name in enumerate(("a.png", "b.png", "deep/a.png")):
        Image.fromarray(picture(48 + 8 * index, 64, seed=index)).save(folder / name)
    return folder


@pytest.mark.parametrize("workers", [1, 2])
def test_the_files_are_those_of_encode_whatever_the_workers(photographs, tmp_path, workers):
    told = []
    results = encode_many(
        photographs,
        tmp_path / "out",
        network=NETWORK,
        budget=BUDGET,
        workers=workers,
        progress=lambda done, total: told.append((done, total)),
    )
    assert [result.target.relative_to(tmp_path / "out").as_posix() for result in results] == [
        "a.jpg",
        "b.jpg",
        "deep/a.jpg",
    ]
    for result in results:
        data = result.target.read_bytes()
        assert data == accelir.encode(result.source, network=NETWORK, budget=BUDGET).data
        assert (result.size, result.error) == (len(data), "")
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_teacher_teaches_every_picture(photographs, tmp_path):
    asked = {"network": "edsr-x4-f8", "budget": BUDGET, "teacher": "edsr-x4-f16", "passes": 3}
    for result in encode_many(photographs, tmp_path / "out", **asked, workers=1):
        alone = accelir.encode(result.source, **asked)
        assert result.target.read_bytes() == alone.data
        assert result.guidance == alone.guidance is not None
    with pytest.raises(InvalidInputError, match="passes="):
        encode_many(photographs, tmp_path / "out", network=NETWORK, budget=BUDGET, passes=3)
    with pytest.raises(UnknownNameError):
        encode_many(photographs, tmp_path / "out", network=NETWORK, budget=BUDGET, teacher="nobody")
    with pytest.raises(accelir.CodecError, match="webp"):
        encode_many(photographs, tmp_path / "out", codec="webp", **asked)
    with pytest.raises(InvalidInputError, match="2 passes or more"):
        encode_many(photographs, tmp_path / "out", **asked | {"passes": 1})


@pytest.mark.parametrize("workers", [1, 2])
def test_a_broken_picture_spoils_no_other(photographs, tmp_path, workers):
    (photographs / "b.png").write_bytes(b"no picture")
    sources = [photographs / name for name in ("b.png", "missing.png", "a.png")]
    results = encode_many(sources, tmp_path / "out", network=NETWORK, budget=BUDGET, workers=workers)
    assert [bool(result.error) for result in results] == [True, True, False]
    assert "missing.png" in results[1].error
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.jpg"]


def test_a_budget_that_is_too_small_for_one_picture_is_that_picture_s_error(photographs, tmp_path):
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (800, 800, 3), dtype=np.uint8)).save(
        photographs / "b.png"
    )
    results = encode_many(photographs, tmp_path / "out", network=NETWORK, budget=accelir.Bytes(1300), workers=1)
    assert [bool(result.error) for result in results] == [False, True, False]
    assert "1300" in results[1].error


def test_what_is_wrong_with_all_pictures_is_raised_at_once(photographs, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnknownNameError):
        encode_many(photographs, tmp_path / "out", network="no-such", budget=BUDGET)
    with pytest.raises(InvalidInputError, match="No picture"):
        encode_many(tmp_path / "empty", tmp_path / "out", network=NETWORK, budget=BUDGET)
    with pytest.raises(InvalidInputError, match="not a folder"):
        encode_many(tmp_path / "nowhere", tmp_path / "out", network=NETWORK, budget=BUDGET)
    with pytest.raises(InvalidInputError, match="worker"):
        encode_many(photographs, tmp_path / "out", network=NETWORK, budget=BUDGET, workers=0)
    assert not (tmp_path / "out").exists()


def test_no_two_pictures_share_a_file_and_no_picture_is_written_over(photographs, tmp_path):
    Image.fromarray(picture(32, 32)).save(photographs / "a.bmp")
    with pytest.raises(InvalidInputError, match="would both be written"):
        encode_many(photographs, tmp_path / "out", network=NETWORK, budget=BUDGET)
    jpeg = tmp_path / "c.jpg"
    Image.fromarray(picture(32, 32)).save(jpeg)
    with pytest.raises(InvalidInputError, match="another folder"):
        encode_many([jpeg], tmp_path, network=NETWORK, budget=BUDGET)


def test_the_command_line_takes_a_folder(photographs, tmp_path):
    (photographs / "b.png").write_bytes(b"no picture")
    command = ["encode", photographs, "--network", NETWORK, "--bpp", 1.5, "--workers", 1]
    assert CliRunner().invoke(app, [str(word) for word in command]).exit_code == 2
    result = CliRunner().invoke(app, [str(word) for word in [*command, "--output", tmp_path / "out"]])
    assert result.exit_code == 1
    assert "b.png" in result.stderr
    assert "2 of 3 pictures" in result.stdout
    assert sorted(path.name for path in (tmp_path / "out").rglob("*.jpg")) == ["a.jpg", "a.jpg"]


def test_a_worker_that_dies_fails_its_pictures_and_ends(photographs, tmp_path):
    code = f"""
import os, accelir
from accelir.batch import encode_many

class Deadly(accelir.Bytes):
    def resolve(self, *rest):
        os._exit(3)

if __name__ == "__main__":
    source, target = {str(photographs)!r}, {str(tmp_path / "out")!r}
    results = encode_many(source, target, network={NETWORK!r}, budget=Deadly(1), workers=2)
    print([result.error for result in results])
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.stdout.count("A worker has died") == 3, done.stderr


def test_where_no_worker_can_start_it_is_said_once(photographs, tmp_path):
    script = tmp_path / "unguarded.py"
    script.write_text(f"""
import accelir
source, target = {str(photographs)!r}, {str(tmp_path / "out")!r}
accelir.encode_many(source, target, network={NETWORK!r}, budget=accelir.Bytes(2000), workers=2)
""")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    # Python may add lines of its own on what the workers left behind.
    said = [line for line in done.stderr.splitlines() if "InvalidInputError: No worker could start" in line]
    assert done.returncode == 1 and len(said) == 1 and "__main__" in said[0], done.stderr


def test_a_picture_that_kills_its_worker_spoils_no_other(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name, side in (("a", 32), ("b", 33), ("c", 32), ("d", 32)):
        Image.fromarray(np.random.default_rng(side).integers(0, 256, (side, 32, 3), dtype=np.uint8)).save(
            folder / f"{name}.png"
        )
    code = f"""
import os, accelir

class Deadly(accelir.Bytes):
    def resolve(self, image, *rest):
        if image.shape[0] == 33:
            os._exit(3)
        return super().resolve(image, *rest)

if __name__ == "__main__":
    results = accelir.encode_many(
        {str(folder)!r}, {str(tmp_path / "out")!r}, network={NETWORK!r}, budget=Deadly(2000), workers=2
    )
    for result in results:
        print(result.source.stem, result.error or "written")
"""
    script = tmp_path / "script.py"
    script.write_text(code)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.endswith("written")] == ["a written", "c written", "d written"], done.stderr
    assert len(lines) == 4
    assert lines[1].startswith("b A worker has died")


def test_what_other_processes_cannot_get_is_said_at_once(photographs, tmp_path):
    module = torch.nn.Identity()
    module.told = lambda: None
    network = accelir.TorchNetwork(module, accelir.Denoise(5), name="local", receptive_field=1)
    with pytest.raises(accelir.InvalidInputError, match="handed to other processes"):
        accelir.encode_many(
            photographs, tmp_path, network=network, budget=accelir.Bytes(9000), estimate="plain-mse", workers=2
        )


def test_the_folder_of_an_earlier_call_is_known_by_any_path(tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(folder / "a.png")
    monkeypatch.chdir(tmp_path)
    for target in (folder / "out", Path("in/out")):
        asked = {"network": NETWORK, "budget": accelir.Bytes(9000), "workers": 1}
        assert [result.source.name for result in accelir.encode_many("in", target, **asked)] == ["a.png"]
