"""The arithmetic of the measurements, against closed forms."""

from __future__ import annotations

import json

import numpy as np
import pytest

from accelir.bench.measure import at_budget, bytes_saved, flops_saved, interval, make_input, straddle, summarise
from accelir.bench.results import ResultFile
from accelir.errors import InvalidInputError
from accelir.tasks import Deblur, Denoise, SuperResolution


class TestBytesSaved:
    def test_a_file_on_the_usual_curve_saves_nothing(self):
        curve = [(1000, 30.0), (2000, 31.0), (4000, 32.0)]
        for size, psnr in [*curve, (int(2000 * 2**0.5), 31.5)]:
            assert bytes_saved(size, psnr, curve).share == pytest.approx(0, abs=1e-3)

    def test_half_the_size_at_equal_quality_saves_half(self):
        assert bytes_saved(1000, 31.0, [(1000, 30.0), (2000, 31.0)]) == (pytest.approx(0.5), False)

    def test_the_curve_may_come_unsorted(self):
        assert bytes_saved(500, 30.0, {2000: 31.0, 1000: 30.0}).share == pytest.approx(0.5)

    def test_beyond_the_curve_its_cheapest_best_point_counts_and_is_marked(self):
        saturated = [(1000, 30.0), (2000, 31.0), (4000, 30.9)]
        assert bytes_saved(1000, 31.5, saturated) == (pytest.approx(0.5), True)

    def test_below_the_curve_its_start_counts_and_is_marked(self):
        assert bytes_saved(1100, 29.0, [(1000, 30.0), (2000, 31.0)]) == (pytest.approx(-0.1), True)

    def test_one_point_is_no_curve(self):
        with pytest.raises(InvalidInputError, match="at least two sizes"):
            bytes_saved(1, 1.0, [(1000, 30.0)])


class TestFlopsSaved:
    def test_halfway_in_psnr_is_halfway_in_log_flops(self):
        assert flops_saved([1, 4, 16], [30.0, 31.0, 32.0], 31.5) == pytest.approx(1 - 8 / 16)

    def test_nothing_below_the_narrowest_width_is_claimed(self):
        assert flops_saved([1, 4, 16], [30.0, 31.0, 32.0], 20.0) == pytest.approx(1 - 1 / 16)

    def test_a_target_that_no_width_reaches_saves_nothing(self):
        assert flops_saved([1, 4, 16], [30.0, 31.0, 32.0], 32.1) == 0

    def test_the_heavy_network_at_its_own_quality_saves_nothing(self):
        assert flops_saved([1, 4, 16], [30.0, 31.0, 32.0], 32.0) == pytest.approx(0)

    def test_psnr_is_made_monotone_over_width(self):
        assert flops_saved([1, 4, 16], [30.0, 32.0, 31.0], 32.0) == pytest.approx(1 - 4 / 16)

    def test_widths_may_come_in_any_order(self):
        assert flops_saved([16, 1, 4], [32.0, 30.0, 31.0], 31.0) == pytest.approx(1 - 4 / 16)

    def test_unequal_lengths_are_refused(self):
        with pytest.raises(InvalidInputError, match="FLOPs and a PSNR"):
            flops_saved([1, 2], [30.0], 30.0)


class TestSummary:
    def test_spread_and_share(self):
        summary = summarise([-1.0, 1.0, 3.0])
        assert (summary.mean, summary.min, summary.max) == (1.0, -1.0, 3.0)
        assert summary.std == pytest.approx(2.0)
        assert summary.share_better == pytest.approx(2 / 3)
        assert summary.low < summary.mean < summary.high

    def test_the_interval_agrees_with_the_normal_one_for_many_values(self):
        values = np.random.default_rng(1).normal(5, 2, 400)
        low, high = interval(list(values))
        half = 1.96 * values.std(ddof=1) / 20
        assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.03)

    def test_one_image_has_no_spread(self):
        assert summarise([0.5]).std == 0

    def test_no_image_is_an_error(self):
        with pytest.raises(InvalidInputError, match="no image"):
            summarise([])


class TestInput:
    reference = np.random.default_rng(0).integers(0, 256, (30, 41, 3), dtype=np.uint8)

    def test_super_resolution_crops_to_the_scale(self):
        image, reference = make_input(SuperResolution(4), self.reference, 0)
        assert image.shape == (7, 10, 3)
        assert reference.shape == (28, 40, 3)

    def test_the_index_is_the_seed(self):
        first, second = (make_input(Denoise(25), self.reference, index)[0] for index in (0, 1))
        again = make_input(Denoise(25), self.reference, 0)[0]
        assert np.array_equal(first, again)
        assert not np.array_equal(first, second)

    def test_deblurring_takes_the_kernels_in_turn(self):
        same, shift = np.zeros((2, 3, 3), np.float32)
        same[1, 1] = shift[1, 2] = 1
        task = Deblur(noise=0)
        assert np.array_equal(make_input(task, self.reference, 2, [same, shift])[0], self.reference)
        shifted = make_input(task, self.reference, 3, [same, shift])[0]
        assert np.array_equal(shifted[:, 1:], self.reference[:, :-1])


class TestResultFile:
    def test_it_resumes_with_equal_settings(self, tmp_path):
        path = tmp_path / "results" / "job.json"
        ResultFile(path, {"quality": (1, 2)}, "command").add({"image": "a", "network": "n"})
        again = ResultFile(path, {"quality": (1, 2)}, "command")
        assert again.has(image="a", network="n")
        assert not again.has(image="a", network="other")
        stored = json.loads(path.read_text())
        assert stored["command"] == "command"
        assert {"date", "commit", "versions"} <= stored.keys()

    def test_the_commit_is_that_of_the_start_and_a_resumed_file_names_the_earlier_ones(self, tmp_path, monkeypatch):
        path, head = tmp_path / "job.json", ["first"]
        monkeypatch.setattr("accelir.bench.results._git", lambda *arguments: head[0])
        results = ResultFile(path, {}, "command")
        head[0] = "second"
        results.add({"image": "a"})
        assert json.loads(path.read_text())["commit"] == "first"
        ResultFile(path, {}, "command").add({"image": "b"})
        stored = json.loads(path.read_text())
        assert (stored["commit"], stored["earlier_commits"]) == ("second", ["first"])

    def test_it_takes_over_what_another_process_measured(self, tmp_path):
        for name, image in (("a.json", "a"), ("b.json", "b"), ("other.json", "c")):
            settings = {"quality": 2 if name == "other.json" else 1}
            ResultFile(tmp_path / name, settings, "command").add({"image": image})
        results = ResultFile(tmp_path / "a.json", {"quality": 1}, "command")
        for _ in range(2):
            results.take_over(tmp_path / "b.json")
        assert results.records == [{"image": "a"}, {"image": "b"}]
        with pytest.raises(InvalidInputError, match="other settings"):
            results.take_over(tmp_path / "other.json")

    def test_it_refuses_other_settings_and_other_files(self, tmp_path):
        path = tmp_path / "job.json"
        ResultFile(path, {"quality": 1}, "command").write()
        with pytest.raises(InvalidInputError, match="other settings"):
            ResultFile(path, {"quality": 2}, "command")
        path.write_text("[]")
        with pytest.raises(InvalidInputError, match="not a file of results"):
            ResultFile(path, {"quality": 2}, "command")


class TestStraddle:
    @pytest.mark.parametrize("budget", [0, 1, 50, 101, 333, 9_999, 10_000, 20_000])
    def test_finds_the_settings_next_to_the_budget(self, budget):
        found = straddle(lambda setting: setting * setting, budget, 1, 100)
        inside = [setting for setting in range(1, 101) if setting**2 <= budget]
        if budget in {setting**2 for setting in range(1, 101)} or not inside or len(inside) == 100:
            assert found == (max(inside, default=1),)
        else:
            assert found == (len(inside), len(inside) + 1)

    def test_the_budget_lies_between_sizes_that_do_not_always_grow(self):
        sizes = [10, 30, 20, 40, 35, 60]
        low, high = straddle(lambda setting: sizes[setting], 25, 0, 5)
        assert high == low + 1
        assert sizes[low] < 25 < sizes[high]


class TestAtBudget:
    def test_is_linear_in_the_logarithm_of_the_size(self):
        assert at_budget(2000, [(4000, 32.0), (1000, 30.0)]) == pytest.approx(31.0)

    def test_measured_sizes_keep_their_scores(self):
        assert at_budget(1000, [(1000, 30.0), (4000, 32.0)]) == 30.0

    def test_beyond_the_ends_nothing_is_extrapolated(self):
        assert at_budget(10, [(1000, 30.0), (4000, 32.0)]) == 30.0
        assert at_budget(9000, [(1000, 30.0)]) == 30.0

    def test_needs_a_size(self):
        with pytest.raises(InvalidInputError, match="no size"):
            at_budget(10, [])
