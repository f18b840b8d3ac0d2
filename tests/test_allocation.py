"""Allocation against brute force, and the budget loop against codecs whose sizes are known."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelir.allocation import BitsPerPixel, Bytes, LagrangianAllocator, LikeQuality, UniformAllocator, fit_budget
from accelir.allocation.lagrangian import lower_hull
from accelir.codec import Codec, Encoded, Prepared
from accelir.errors import BudgetError, CodecError, InvalidInputError
from accelir.profiling.estimate import Curves, Estimate


def random_estimate(seed: int, groups: int, levels: int, blocks: int) -> Estimate:
    rng = np.random.default_rng(seed)
    size = np.cumsum(rng.integers(1, 20, (groups, levels)), axis=1).astype(float)
    error = np.cumsum(rng.integers(1, 50, (groups, levels))[:, ::-1], axis=1)[:, ::-1].astype(float)
    return Estimate(rng.integers(0, groups, (1, blocks)).astype(np.int32), Curves(size, error))


def totals(estimate: Estimate, levels: np.ndarray) -> tuple[float, float]:
    groups = estimate.groups
    return float(estimate.curves.size[groups, levels].sum()), float(estimate.curves.error[groups, levels].sum())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.0, 1.0))
def test_lagrangian_is_within_one_step_of_the_brute_force_optimum(seed: int, position: float) -> None:
    estimate = random_estimate(seed, groups=3, levels=4, blocks=5)
    smallest = totals(estimate, np.zeros_like(estimate.groups))[0]
    largest = totals(estimate, np.full_like(estimate.groups, 3))[0]
    bits = int(smallest + position * (largest - smallest))
    size, error = totals(estimate, LagrangianAllocator().allocate(estimate, bits))
    assert size <= bits
    best = min(
        total_error
        for choice in itertools.product(range(4), repeat=5)
        for total_size, total_error in [totals(estimate, np.array([choice]))]
        if total_size <= bits
    )
    hulls = [lower_hull(estimate.curves.size[g], estimate.curves.error[g]) for g in np.unique(estimate.groups)]
    step = max(
        estimate.curves.error[g, a] - estimate.curves.error[g, b]
        for g, hull in zip(np.unique(estimate.groups), hulls, strict=True)
        for a, b in itertools.pairwise(hull)
    )
    assert best <= error <= best + step


def test_lower_hull_is_the_convex_minorant() -> None:
    assert lower_hull(np.array([0.0, 1, 2, 3]), np.array([10.0, 9, 2, 1])) == [0, 2, 3]
    assert lower_hull(np.array([1.0, 1, 2]), np.array([5.0, 4, 4])) == [1]
    assert lower_hull(np.array([0.0, 1, 2]), np.array([10.0, 4, 0])) == [0, 1, 2]


def test_uniform_allocator_takes_the_finest_level_that_fits() -> None:
    estimate = Estimate(np.zeros((2, 2), np.int32), Curves(np.array([[1.0, 2, 3]]), np.array([[3.0, 2, 1]])))
    assert (UniformAllocator().allocate(estimate, 11) == 1).all()
    assert (UniformAllocator().allocate(estimate, 0) == 0).all()


class StepCodec(Codec):
    """Blocks of 8 pixels; level n takes n + 1 bytes a block, after ten bytes of header."""

    name = "step"
    media_type = "application/x-step"
    extensions = (".step",)
    signatures = (b"STEP",)
    levels = tuple(f"{n + 1} bytes" for n in range(12))

    def block(self, image):
        return 8

    def prepare(self, image, *, sensitivity=None):
        return StepPrepared(self, image)

    def decode(self, data):
        raise NotImplementedError


class StepPrepared(Prepared):
    def __init__(self, codec, image):
        self.codec, self.image, self.written = codec, image, []

    def write(self, levels, trim=0.0):
        self.written.append((np.array(levels).tobytes(), trim))
        levels = self.codec.level_map(self.image, levels)
        stretch = 2 ** (self.codec.trim_slope / np.log(2) * trim) if self.codec.fine_control else 1.0
        payload = int((levels + 1).sum() * stretch)
        bits = ((levels + 1) * 8 * payload / (levels + 1).sum()).astype(np.float32)
        height, width = self.image.shape[:2]
        data = b"STEP" + bytes(6 + payload)
        return Encoded(data, levels, 8, width, height, 8.0 * len(data) - float(bits.sum()), bits, "exact")


class FineCodec(StepCodec):
    fine_control = True


class ForeseeingCodec(FineCodec):
    fill = 0.98
    trim_slope = 0.15

    def prepare(self, image, *, sensitivity=None):
        return ForeseeingPrepared(self, image)


class ForeseeingPrepared(StepPrepared):
    """Foresees a seventh too much, in steps, and how steep it is only about."""

    foresees = True
    over = 8 / 7

    def __init__(self, codec, image):
        super().__init__(codec, image)
        self.foreseen = []

    def size(self, levels, trim=0.0):
        self.foreseen.append((np.array(levels).tobytes(), trim))
        payload = (self.codec.level_map(self.image, levels) + 1).sum() * np.exp(0.145 * round(trim, 2))
        return float(10 + payload * self.over)


ESTIMATE = Estimate(
    np.arange(64, dtype=np.int32).reshape(8, 8) % 3,
    # Foreseen sizes are wrong on purpose: the loop has to correct them.
    Curves(np.tile(np.arange(1.0, 13) * 5, (3, 1)), np.outer([1, 2, 4], 1000.0 / np.arange(1, 13))),
)


def test_curves_of_other_levels_are_refused() -> None:
    codec = StepCodec()
    other = Estimate(ESTIMATE.groups, Curves(ESTIMATE.curves.size[:, :5], ESTIMATE.curves.error[:, :5]))
    with pytest.raises(InvalidInputError, match="12 levels; got 5"):
        fit_budget(codec, codec.prepare(np.zeros((64, 64), np.uint8)), other, LagrangianAllocator(), 300)


@pytest.mark.parametrize("codec", [StepCodec(), FineCodec()])
@settings(deadline=None, max_examples=60)
@given(budget=st.integers(80, 777))
def test_budget_is_never_exceeded_and_well_used(codec: Codec, budget: int) -> None:
    prepared = codec.prepare(np.zeros((64, 64), np.uint8))
    encoded = fit_budget(codec, prepared, ESTIMATE, LagrangianAllocator(), budget)
    assert len(encoded.data) <= budget
    assert len(encoded.data) >= min(0.95 * budget, 10 + 64 * 12 - 1) - 3
    assert len(prepared.written) <= 13
    # No file is written twice.
    assert len(set(prepared.written)) == len(prepared.written)


@settings(deadline=None, max_examples=60)
@given(budget=st.integers(4_200, 45_000))
def test_with_foresight_few_files_are_written_and_none_is_too_large(budget: int) -> None:
    codec = ForeseeingCodec()
    estimate = Estimate(np.tile(ESTIMATE.groups, (8, 8)), ESTIMATE.curves)
    prepared = codec.prepare(np.zeros((512, 512), np.uint8))
    encoded = fit_budget(codec, prepared, estimate, LagrangianAllocator(), budget)
    assert 0.98 * budget <= len(encoded.data) <= budget
    assert len(prepared.written) <= 4
    assert len(set(prepared.written)) == len(prepared.written)
    assert len(set(prepared.foreseen)) == len(prepared.foreseen)


@pytest.mark.parametrize("over", [0.997, 1.0, 1.003])
@settings(deadline=None, max_examples=20)
@given(budget=st.integers(12_000, 45_000))
def test_where_sizes_are_foreseen_well_one_file_does(over: float, budget: int) -> None:
    codec = ForeseeingCodec()
    estimate = Estimate(np.tile(ESTIMATE.groups, (8, 8)), ESTIMATE.curves)
    prepared = codec.prepare(np.zeros((512, 512), np.uint8))
    prepared.over = over
    encoded = fit_budget(codec, prepared, estimate, LagrangianAllocator(), budget)
    assert 0.985 * budget <= len(encoded.data) <= budget
    assert len(prepared.written) == 1


class JumpingPrepared(StepPrepared):
    """Sizes jump by three per cent, so that few budgets can be met better."""

    def write(self, levels, trim=0.0):
        return super().write(levels, round(trim * self.codec.trim_slope / 0.03) * 0.03 / self.codec.trim_slope)


class JumpingCodec(FineCodec):
    def prepare(self, image, *, sensitivity=None):
        return JumpingPrepared(self, image)


class ImpatientCodec(JumpingCodec):
    patience = 5


def test_without_patience_a_file_that_is_full_enough_ends_the_search() -> None:
    counts = {}
    for codec in (JumpingCodec(), ImpatientCodec()):
        counts[codec.patience] = []
        for budget in range(4_200, 45_000, 1_111):
            prepared = codec.prepare(np.zeros((512, 512), np.uint8))
            estimate = Estimate(np.tile(ESTIMATE.groups, (8, 8)), ESTIMATE.curves)
            encoded = fit_budget(codec, prepared, estimate, LagrangianAllocator(), budget)
            assert codec.fill * budget <= len(encoded.data) <= budget
            counts[codec.patience].append(len(prepared.written))
    assert max(counts[5]) <= 6
    assert max(counts[12]) > max(counts[5]) + 1


class ContinuousPrepared(StepPrepared):
    """Sizes as they are asked for, by level and trim together."""

    def write(self, levels, trim=0.0):
        self.written.append(float(np.max(levels)) + trim)
        size = self.codec.sizes(float(np.max(levels)) + trim)
        height, width = self.image.shape[:2]
        bits = np.full((height // 8, width // 8), 1.0, np.float32)
        level = min(max(round(self.written[-1]), 0), len(self.codec.levels) - 1)
        return Encoded(
            bytes(size), np.full(bits.shape, level), 8, width, height, 8.0 * size - bits.sum(), bits, "exact"
        )


class ContinuousCodec(FineCodec):
    continuous_levels = True
    sizes: Any

    def prepare(self, image, *, sensitivity=None):
        return ContinuousPrepared(self, image)


def _plateau(position: float) -> int:
    """From level 8 on nothing becomes finer, and below 2 nothing coarser."""
    return round(1000 * np.exp(0.15 * min(max(position, 2), 8)))


def _elbow(position: float) -> int:
    return round(1000 * np.exp(0.15 * min(position, 6) + 0.004 * max(position - 6, 0)))


def _stairs(position: float) -> int:
    return round(1000 * np.exp(0.15 * np.floor(position / 0.8) * 0.8))


@pytest.mark.parametrize(
    ("sizes", "budget", "least", "most"),
    [
        # A budget below, on and above where sizes move, and one in the middle of it.
        (_plateau, _plateau(8), 1.0, 5),
        (_plateau, 9_999, 3_320 / 9_999, 6),
        (_plateau, 3_000, 0.95, 5),
        (_plateau, 1_400, 0.95, 6),
        (_elbow, 2_470, 0.95, 5),
        (_elbow, 1_200, 0.95, 5),
        # The largest that fits: the one below is an eighth less.
        (_stairs, 2_400, 0.93, 9),
    ],
)
def test_levels_are_one_line(sizes: Callable[[float], int], budget: int, least: float, most: int) -> None:
    codec = ContinuousCodec()
    codec.sizes = sizes
    prepared = codec.prepare(np.zeros((64, 64), np.uint8))
    encoded = fit_budget(codec, prepared, ESTIMATE, UniformAllocator(), budget)
    assert least * budget <= len(encoded.data) <= budget
    assert len(prepared.written) <= most
    assert len(set(prepared.written)) == len(prepared.written)


def test_an_impossible_budget_is_noticed_where_levels_are_one_line() -> None:
    codec = ContinuousCodec()
    codec.sizes = _plateau
    prepared = codec.prepare(np.zeros((64, 64), np.uint8))
    with pytest.raises(BudgetError, match=str(_plateau(2))):
        fit_budget(codec, prepared, ESTIMATE, UniformAllocator(), 700)
    assert len(prepared.written) <= 8


def test_an_impossible_budget_says_the_smallest_size() -> None:
    codec = StepCodec()
    with pytest.raises(BudgetError, match="takes 74 bytes") as caught:
        fit_budget(codec, codec.prepare(np.zeros((64, 64), np.uint8)), ESTIMATE, LagrangianAllocator(), 60)
    assert (caught.value.asked, caught.value.smallest) == (60, 74)


def test_budgets_resolve_to_bytes() -> None:
    image = np.zeros((100, 40), np.uint8)
    assert Bytes(7).resolve(image, StepCodec()) == 7
    assert BitsPerPixel(0.5).resolve(image, StepCodec()) == 250
    with pytest.raises(CodecError, match="no usual encoder"):
        LikeQuality(75).resolve(image, StepCodec())


@pytest.mark.parametrize(
    "make",
    [
        lambda: Bytes(0),
        lambda: Bytes(True),
        lambda: Bytes("many"),
        lambda: Bytes(float("inf")),
        lambda: BitsPerPixel(-1),
        lambda: BitsPerPixel("one"),
        lambda: LikeQuality(0),
        lambda: LikeQuality(75.5),
        lambda: LikeQuality(None),
    ],
)
def test_bad_budgets_are_refused(make) -> None:
    with pytest.raises(InvalidInputError):
        make()
