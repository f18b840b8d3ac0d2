"""In which shares inputs are clean or compressed."""

import numpy as np
import pytest

from accelir.tasks import Denoise, SuperResolution, Task
from accelir.training.data import compress_randomly
from accelir.training.mixture import MIXTURE


def test_more_clean_inputs_leave_the_others_their_shares() -> None:
    half = MIXTURE.with_clean(0.5)
    assert half.clean == 0.5 and half.usual == pytest.approx(MIXTURE.usual * 0.5 / 0.75)
    assert MIXTURE.with_clean(1).usual == 0 and MIXTURE.with_clean(MIXTURE.clean) == MIXTURE


@pytest.mark.parametrize("task", [SuperResolution(4), Denoise(25)])
@pytest.mark.parametrize(("asked", "expected"), [(None, 0.25), (0.5, 0.5), (0, 0), (1, 1)])
def test_the_clean_share_is_what_is_asked_for(task: Task, asked: float | None, expected: float) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
    clean = np.mean([compress_randomly(image, task, rng, clean=asked) is image for _ in range(400)])
    assert clean == pytest.approx(expected, abs=0.06 if 0 < expected < 1 else 0)
