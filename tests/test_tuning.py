"""Tuning: of a codec's options, those that restore best at equal bytes."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, ClassVar

import numpy as np
import pytest
from pydantic import model_validator
from torch import nn

import accelir
from accelir.codec import CodecOptions
from accelir.profiling import tuning
from accelir.profiling.tuning import Example, best_start, best_tuning, middling_sizes
from accelir_plugins.jpeg import JpegCodec
from accelir_plugins.jpeg.codec import JpegOptions

SQUARED_ERROR = {"table": "flat", "rdo": 0.05}
FOR_THE_EYE = {"table": "annex-k", "rdo": 0.0}
WASTEFUL = {"table": "flat", "rdo": 4.0}
SHARPENED = {"table": "flat", "rdo": 0.05, "emphasis": 2.0}


def quietly(done: int, total: int, what: str) -> None:
    pass


class Unsearched(JpegCodec):
    search_space: ClassVar[Mapping[str, Any]] = {}


class Coarse(JpegCodec):
    fine_control: ClassVar[bool] = False
    search_space: ClassVar[Mapping[str, Any]] = {"rdo": (0.05,)}
    tunings = (WASTEFUL, SQUARED_ERROR)


@pytest.fixture(scope="module")
def nothing() -> accelir.TorchNetwork:
    """Restores by leaving the picture as it is: what it wants is least squared error."""
    return accelir.TorchNetwork(nn.Identity(), accelir.Denoise(5), name="nothing", receptive_field=1)


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("china.jpg")
    crops = [np.ascontiguousarray(photo[top : top + 96, 200:296]) for top in (100, 250)]
    return [Example(crop, crop, lambda codec: None) for crop in crops]


@pytest.mark.parametrize("others", [(FOR_THE_EYE,), (WASTEFUL,), (SHARPENED,), (WASTEFUL, SHARPENED, FOR_THE_EYE)])
def test_the_best_wins_wherever_it_stands(nothing, examples, others):
    for tunings in ((*others, SQUARED_ERROR), (SQUARED_ERROR, *others)):
        assert best_start(Unsearched(), nothing, examples, quietly, tunings) == SQUARED_ERROR


def test_progress_counts_the_examples(nothing, examples):
    told = []
    best_start(Unsearched(), nothing, examples, lambda *news: told.append(news), (SQUARED_ERROR, WASTEFUL))
    assert told == [(0, 2, "comparing options"), (1, 2, "comparing options")]


def test_the_first_is_kept_where_nothing_can_be_compared(nothing, examples):
    assert best_start(Coarse(), nothing, examples, quietly, Coarse.tunings) == WASTEFUL
    assert best_tuning(Unsearched(), nothing, [], quietly, (WASTEFUL, SQUARED_ERROR)) == WASTEFUL
    assert best_tuning(Unsearched(), nothing, examples, quietly, (WASTEFUL, WASTEFUL)) == WASTEFUL


def test_what_falls_behind_is_given_up_and_the_best_is_not(nothing, examples):
    prepared = []

    class Watched(JpegCodec):
        search_space: ClassVar[Mapping[str, Any]] = {}
        tunings = (WASTEFUL, {"table": "flat", "rdo": 2.0}, SHARPENED, FOR_THE_EYE, {"table": "flat", "rdo": 1.0},
                   {"table": "flat", "rdo": 0.5}, SQUARED_ERROR)  # fmt: skip

        def prepare(self, image, *, sensitivity=None):
            prepared.append(self.options)
            return super().prepare(image, sensitivity=sensitivity)

    seven = [examples[number % 2] for number in range(7)]
    assert best_start(Watched(), nothing, seven, quietly, Watched.tunings) == SQUARED_ERROR
    # Once more for the first tuning and each picture: its curve. Then 7 for three pictures, and 3 for the rest.
    assert len(prepared) == 7 + 3 * 7 + 4 * 3
    assert prepared.count(Watched(**SQUARED_ERROR).options) == 7


class Searched(JpegCodec):
    tunings = (WASTEFUL,)
    search_space: ClassVar[Mapping[str, Any]] = {"emphasis": (2.0, 1.0), "rdo": (8.0, 2.0, 0.05, 9.0)}


def test_options_take_their_best_values_one_after_the_other(nothing, examples):
    told = []
    found = best_tuning(Searched(), nothing, examples, lambda *news: told.append(news), [WASTEFUL])
    assert found == {"table": "flat", "rdo": 0.05}
    of_search = [(done, total) for done, total, what in told if what == "searching options"]
    assert of_search == sorted(set(of_search)) and {total for _, total in of_search} == {12}


def test_whole_chroma_is_left_open_where_it_restores_better(nothing, examples):
    class Searched(JpegCodec):
        search_space: ClassVar[Mapping[str, Any]] = {"subsampling": ("auto",)}

    def found(example: Example) -> str:
        return best_tuning(Searched(), nothing, [example], quietly, [SQUARED_ERROR]).get("subsampling", "420")

    colours = np.random.default_rng(0).integers(0, 2, (48, 48, 3), dtype=np.uint8).repeat(2, 0).repeat(2, 1) * 200
    assert found(Example(colours, colours, lambda codec: None)) == "auto"
    gray = np.repeat(examples[0].reference[:, :, :1], 3, axis=2)
    assert found(Example(gray, gray, lambda codec: None)) == "420"


def test_what_the_caller_chose_is_not_searched(nothing, examples):
    codec = Searched(rdo=1.0)
    found = best_tuning(codec, nothing, examples, quietly, [WASTEFUL])
    assert codec.tuned(found).options.rdo == 1.0


def test_values_that_fall_behind_are_not_tried_on_every_picture(nothing, examples):
    prepared = []

    class Watched(Searched):
        def prepare(self, image, *, sensitivity=None):
            prepared.append(self.options)
            return super().prepare(image, sensitivity=sensitivity)

    eight = [examples[number % 2] for number in range(8)]
    found = best_tuning(Watched(), nothing, eight, quietly, [WASTEFUL])
    assert prepared.count(Watched(**found).options) == 8
    assert prepared.count(Watched(table="flat", rdo=9.0).options) == 3


def test_sizes_may_be_given(nothing, examples):
    example = examples[0]
    sizes = middling_sizes(Searched(), nothing, example)
    assert (np.diff(sizes) > 0).all()
    written = []

    class Watched(Searched):
        def decode(self, data):
            written.append(len(data))
            return super().decode(data)

    wanted = Example(example.reference, example.image, example.sensitivity, np.log([1000.0, 2000.0]))
    best_tuning(Watched(), nothing, [wanted], quietly, [WASTEFUL])
    of_curve, compared = written[:8], np.array(written[8:])
    assert len(of_curve) == 8 and len(compared)
    assert np.minimum(abs(compared / 1000 - 1), abs(compared / 2000 - 1)).max() < 0.05


def test_a_second_turn_finds_what_the_first_made_better(nothing, examples):
    """What zeroing counts matters to a lambda above 0 alone, which the first turn finds after it."""

    class Twice(JpegCodec):
        search_space: ClassVar[Mapping[str, Any]] = {"zeroing": (1.0,), "rdo": (0.05,)}

    found = best_tuning(Twice(), nothing, examples, quietly, [{"table": "flat", "rdo": 0.0, "zeroing": 2.0}])
    assert found == {"table": "flat", "rdo": 0.05, "zeroing": 1.0}


def test_values_that_change_nothing_are_not_tried_on_every_picture(nothing, examples):
    prepared = []

    class Idle(JpegCodec):
        # No reference guides here.
        search_space: ClassVar[Mapping[str, Any]] = {"guided_rdo": (0.3, 0.5)}

        def prepare(self, image, *, sensitivity=None):
            prepared.append(self.options.guided_rdo)
            return super().prepare(image, sensitivity=sensitivity)

    eight = [examples[number % 2] for number in range(8)]
    assert best_tuning(Idle(), nothing, eight, quietly, [SQUARED_ERROR]) == SQUARED_ERROR
    assert prepared.count(0.3) == prepared.count(0.5) == 3


def test_a_value_is_given_up_for_what_is_beyond_doubt() -> None:
    """Pictures that differ much do not tell so soon as those that agree."""

    class Searched(JpegCodec):
        search_space: ClassVar[Mapping[str, Any]] = {"rdo": (0.3, 0.2)}

    gains = {
        0.05: np.zeros(20),
        # On the first pictures behind by chance, 0.05 dB ahead of the others.
        0.2: np.array([-0.3, 0.15, -0.1, *np.tile([0.2, -0.1], 9)[:17]]),
        # Behind a little, and always.
        0.3: np.full(20, -0.03) + 0.001 * np.arange(20),
    }
    asked: list[tuple[float, int]] = []

    class Course:
        tell = staticmethod(quietly)

        def __len__(self) -> int:
            return 20

        def opens(self, codec: JpegCodec) -> bool:
            return False

        def gain(self, number: int, codec: JpegCodec) -> float:
            asked.append((codec.options.rdo, number))
            return float(gains[codec.options.rdo][number])

    found = tuning._climb(Searched(), {"rdo": 0.05}, gains[0.05], Course(), {tuning._key(Searched(rdo=0.05))})  # type: ignore[arg-type]
    assert found == {"rdo": 0.2}
    assert [number for rdo, number in asked if rdo == 0.3] == [0, 1, 2]


def test_values_that_do_not_go_together_are_left_out(nothing, examples):
    class Kind(Enum):
        FLAT = "flat"

    class Choice(JpegOptions):
        kind: Kind = Kind.FLAT

        @model_validator(mode="after")
        def _together(self):
            if self.emphasis == 1 and self.rdo > 1:
                raise ValueError("too much")
            return self

    class Choosy(JpegCodec):
        Options: ClassVar[type[CodecOptions]] = Choice
        search_space: ClassVar[Mapping[str, Any]] = {"emphasis": (1.0,), "rdo": (0.05,), "kind": (Kind.FLAT,)}

    assert best_tuning(Choosy(), nothing, examples, quietly, [WASTEFUL]) == SQUARED_ERROR


def test_a_crop_that_comes_back_just_as_it_was_ends_nothing(nothing, examples):
    """Its PSNR is infinite."""
    flat = np.full((96, 96, 3), 255, np.uint8)
    mixed = [*examples, Example(flat, flat, lambda codec: None)]
    assert best_start(Unsearched(), nothing, mixed, quietly, (WASTEFUL, SQUARED_ERROR)) == SQUARED_ERROR
