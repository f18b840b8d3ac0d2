"""The figures of the pages are those of the committed measurements."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


@pytest.mark.parametrize("script", ["tables.py", "zoo_cards.py"])
def test_the_pages_hold_the_committed_figures(script: str) -> None:
    subprocess.run([sys.executable, str(ROOT / "benchmarks" / script), "--check"], check=True)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_say_how_they_were_made(path: Path) -> None:
    found = json.loads(path.read_text())
    assert f"--output benchmarks/results/{path.name}" in found["command"]
    assert found["commit"]
    assert found["versions"]["torch"]


@pytest.mark.parametrize(
    "path",
    [path for path in RESULTS if not path.stem.startswith(("flops", "speed", "restore_speed", "optimisers"))],
    ids=lambda p: p.stem,
)
def test_no_file_is_larger_than_the_one_it_is_compared_with(path: Path) -> None:
    for record in json.loads(path.read_text())["records"]:
        for row in record.get("qualities", [record]):
            assert max(row["bytes"].values()) <= row.get("budget", row["bytes"].get("pillow"))
