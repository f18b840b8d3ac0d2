"""The example plugins, built and installed as a stranger would, work and keep their contracts."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PACKAGES = ("accelir-codec-posterise", "accelir-task-gamma")

USE = """
import io, json, sys
import numpy as np
import accelir
from accelir import testing
from PIL import Image

records = {r.name: [r.distribution, r.version, r.state] for r in accelir.plugins()}
image = testing.picture(90, 70)
codec, gamma = accelir.codec("posterise"), accelir.task("gamma")
network = accelir.network("gamma-repair")
answer = {
    "records": records,
    "codec": testing.check_codec(codec),
    "task": testing.check_task(gamma),
    "network": testing.check_network(network),
}

lossless = codec.encode(image, 7)
answer["lossless"] = bool(np.array_equal(codec.decode(lossless.data), image))

dark = gamma.degrade(image, np.random.default_rng(0))
psnr = lambda a: float(10 * np.log10(255**2 / ((a.astype(float) - image) ** 2).mean()))
answer["psnr"] = [psnr(dark), psnr(network.restore(dark))]

encoded = accelir.encode(dark, network="gamma-repair", codec="posterise", estimate="uniform",
                         budget=accelir.BitsPerPixel(9))
restored = np.asarray(accelir.restore(encoded.data, network="gamma-repair"))
answer["posterised"] = [encoded.bits_per_pixel, psnr(restored)]
encoded = accelir.encode(dark, network="gamma-repair", codec="jpeg", estimate="uniform", budget=accelir.Bytes(3000))
answer["jpeg"] = [len(encoded.data), psnr(np.asarray(accelir.restore(encoded.data, network="gamma-repair")))]
print(json.dumps(answer))
"""


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Both packages installed into a folder, and what a program that uses them found out."""
    pytest.importorskip("setuptools", minversion="77")
    folder = tmp_path_factory.mktemp("examples")
    target = folder / "installed"
    for package in PACKAGES:
        # A build leaves files beside the source: build a copy.
        shutil.copytree(EXAMPLES / package, folder / package, ignore=shutil.ignore_patterns("build", "*.egg-info"))
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
        command += ["--disable-pip-version-check", "--target", str(target), str(folder / package)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr
    path = os.pathsep.join([str(target), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "PYTHONPATH": path, "ACCELIR_STRICT_PLUGINS": "1"}
    result = subprocess.run(
        [sys.executable, "-W", "error::accelir.registry.PluginWarning", "-c", USE],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return found


def test_both_are_found(answer: dict[str, Any]) -> None:
    assert answer["records"]["posterise"] == ["accelir-codec-posterise", "0.1.0", "loaded"]
    assert answer["records"]["gamma"] == ["accelir-task-gamma", "0.1.0", "loaded"]


@pytest.mark.parametrize(
    ("kind", "skipped"),
    [("codec", ["check_project", "check_moved"]), ("task", []), ("network", [])],
    ids=["codec", "task", "network"],
)
def test_both_keep_their_contracts(answer: dict[str, Any], kind: str, skipped: list[str]) -> None:
    results = answer[kind]
    assert [name for name, result in results.items() if result != "passed"] == skipped


def test_the_finest_level_of_the_codec_is_lossless(answer: dict[str, Any]) -> None:
    assert answer["lossless"]


def test_the_network_undoes_the_task(answer: dict[str, Any]) -> None:
    before, after = answer["psnr"]
    assert before < 20
    assert after > 35


def test_files_keep_their_budget_and_are_restored(answer: dict[str, Any]) -> None:
    bits, psnr = answer["posterised"]
    assert bits <= 9
    assert psnr > 25
    size, psnr = answer["jpeg"]
    assert size <= 3000
    assert psnr > 20
