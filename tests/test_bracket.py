"""The search for a size, against size functions of every kind."""

from collections.abc import Callable

import numpy as np
import pytest

from accelir.bracket import MARGIN, Bracket


def search(
    size: Callable[[float], float], wanted: float, start: float = 0.0, slope: float = 0.15, most: int = 40
) -> tuple[float, int]:
    """The largest part of the wanted size found, and how many positions were looked at until the bracket closed."""
    bracket, position, best = Bracket((-30.0, 34.0)), start, 0.0
    for count in range(1, most + 1):
        found = size(position)
        best = max(best, found / wanted) if found <= wanted else best
        position = bracket.add(position, float(np.log(found / wanted)), slope)
        if bracket.closed:
            return best, count
    return best, most


@pytest.mark.parametrize("steepness", [0.05, 0.15, 0.6, 2.0])
@pytest.mark.parametrize("wanted", [300.0, 1_000.0, 4_321.0])
def test_rising_sizes_are_met(steepness: float, wanted: float) -> None:
    """Also where they are far flatter or steeper than is expected."""
    best, count = search(lambda at: 1000 * np.exp(steepness * at), wanted)
    assert best > 1 - 4 * MARGIN
    assert count <= 13


def test_an_elbow_is_not_crept_along() -> None:
    best, count = search(lambda at: 1000 * np.exp(0.15 * min(at, 6) + 0.004 * max(at - 6, 0)), 2_470, start=34)
    assert best > 0.99
    assert count <= 12


@pytest.mark.parametrize("start", [-20.0, 0.0, 30.0])
def test_a_plateau_is_no_end(start: float) -> None:
    """Sizes that stand still over two levels, and then go on."""
    best, count = search(lambda at: 1000 * np.exp(0.15 * (at if at < 4 else max(at - 2, 4))), 1_500, start)
    assert best > 1 - 4 * MARGIN
    assert count <= 14


def test_what_cannot_be_reached_is_given_up() -> None:
    for wanted, start in ((100.0, 10.0), (9_000.0, 0.0)):
        _, count = search(lambda at: 1000 * np.exp(0.15 * min(max(at, 0), 8)), wanted, start)
        assert count <= 8


def test_between_two_sizes_there_is_none() -> None:
    best, count = search(lambda at: 1000.0 if at < 2.3 else 1500.0, 1_250)
    assert best == 0.8
    assert count <= 12
