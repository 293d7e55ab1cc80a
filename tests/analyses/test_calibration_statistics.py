"""Calibration statistics: exact small cases, and bands that hold what they promise under simulation."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from gammasky.analyses.calibration.statistics import (
    Band,
    CoverageTable,
    clopper_pearson,
    coverage_markdown,
    coverage_table,
    default_bins,
    ecdf_band,
    histogram_band,
    pit,
    pp_curve,
    rank_histogram,
    ranks,
)
from gammasky.engine.errors import InputError

BY_CHANCE = 1e-5  # a p-value that no seed is expected to have: as 4.4 standard errors


def conjugate(
    n_skies: int, n_draws: int, n_parameters: int, scale: float = 1.0, shift: float = 0.0, seed: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Truth ~ N(0, 1), datum ~ N(truth, 1), posterior N(datum / 2, 1 / 2): exact for scale 1 and shift 0.

    Args:
        scale: of the posterior sd.
        shift: of the posterior mean, in units of the true posterior sd.
    """
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(n_skies, n_parameters))
    datum = truth + rng.normal(size=truth.shape)
    noise = rng.normal(size=(n_skies, n_draws, n_parameters))
    return truth, datum[:, None] / 2 + math.sqrt(0.5) * (shift + scale * noise)


def inside(counts: np.ndarray, band: Band) -> np.ndarray:
    """Whether all counts (m, n) of each simulation are within the band."""
    return ((counts >= band.low) & (counts <= band.high)).all(axis=1)


# --- ranks


def test_ranks_count_the_draws_below() -> None:
    truth = np.array([[0.5, -1.0], [10.0, 2.5]])
    draws = [[[0.0, 0.0], [0.4, 1.0], [0.6, 2.0]], [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]]
    expected = [[2, 0], [3, 2]]
    np.testing.assert_array_equal(ranks(truth, draws), expected)
    np.testing.assert_array_equal(ranks(truth, np.array(draws)), expected)
    np.testing.assert_array_equal(ranks(truth, [np.array(sky) for sky in draws]), expected)


def test_ties_are_broken_evenly_and_by_seed() -> None:
    truth = np.zeros((20_000, 1))
    draws = np.tile([[-1.0], [0.0], [0.0], [0.0], [1.0]], (20_000, 1, 1))
    rank = ranks(truth, draws, seed=5)
    values, counts = np.unique(rank, return_counts=True)
    np.testing.assert_array_equal(values, [1, 2, 3, 4])
    assert stats.chisquare(counts).pvalue > BY_CHANCE
    np.testing.assert_array_equal(rank, ranks(truth, draws, seed=5))
    assert (rank != ranks(truth, draws, seed=6)).any()


def test_ranks_of_an_exact_posterior_are_uniform() -> None:
    rank = ranks(*conjugate(12_000, 19, 1))[:, 0]
    assert stats.chisquare(np.bincount(rank, minlength=20)).pvalue > BY_CHANCE
    narrow = ranks(*conjugate(3000, 19, 1, scale=0.8))[:, 0]
    assert stats.chisquare(np.bincount(narrow, minlength=20)).pvalue < 1e-6


def test_pit_is_uniform_within_each_rank() -> None:
    rank = np.repeat([0, 3, 9], 20_000)
    u = pit(rank, 9, seed=2)
    for value in (0, 3, 9):
        assert stats.kstest(u[rank == value] * 10 - value, "uniform").pvalue > BY_CHANCE
    np.testing.assert_array_equal(u, pit(rank, 9, seed=2))


@pytest.mark.parametrize(
    ("truth", "draws", "message"),
    [
        ([[1.0]], [], r"expected 1 skies of one shape"),
        ([[1.0]], [[[1.0]], [[1.0]]], r"expected 1 skies of one shape"),
        ([[1.0], [2.0]], [[[1.0]], [[1.0], [2.0]]], r"of one shape \(L, K\).*got \[\(1, 1\), \(2, 1\)\]"),
        ([1.0], [[1.0]], r"one shape \(L, K\) for truths \(1,\)"),
        ([[1.0]], np.zeros((1, 0, 1)), r"one shape \(L, K\)"),
        ([[1.0, 2.0]], [[[1.0]]], r"expected 2 parameters as in the truths, got 1"),
        ([[0.0], [np.nan]], np.zeros((2, 3, 1)), r"truth of sky 1: expected finite numbers"),
        ([[0.0], [1.0]], [[[0.0]], [[np.inf]]], r"draws of sky 1: expected finite numbers"),
    ],
)
def test_bad_truths_and_draws(truth: object, draws: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        ranks(truth, draws)  # type: ignore[arg-type]


# --- histograms and bands


@pytest.mark.parametrize(("n_draws", "bins"), [(9, 10), (9, 5), (9, 3), (10, 4), (99, 7), (4, 1)])
def test_expected_counts_are_those_of_the_ranks_in_each_bin(n_draws: int, bins: int) -> None:
    every_rank = np.repeat(np.arange(n_draws + 1), 3)
    histogram = rank_histogram(every_rank, n_draws, bins)
    np.testing.assert_array_equal(histogram.counts, histogram.expected)  # each rank thrice: as uniform as can be
    assert histogram.counts.sum() == every_rank.size
    assert histogram.counts.max() - histogram.counts.min() <= 3
    for low, high, count in zip(histogram.edges, histogram.edges[1:], histogram.counts, strict=False):
        assert count == sum(low <= rank < high for rank in every_rank)
    assert histogram.p_value() == pytest.approx(1.0, abs=1e-12) or bins == 1


def test_bad_bins_and_ranks() -> None:
    with pytest.raises(InputError, match=r"bins: expected 1 to 10, the number of ranks of 9 draws, got 11"):
        rank_histogram([1, 2], 9, 11)
    with pytest.raises(InputError, match=r"ranks: expected 0 to 9 for 9 draws, got 3 to 10"):
        rank_histogram([3, 10], 9, 5)


def test_containment_by_listing_every_outcome() -> None:
    """Five skies in bins of unequal probability: the sum of the multinomial probability over all outcomes inside."""
    p = np.array([0.2, 0.5, 0.3])
    histogram = rank_histogram([0, 1, 2, 3, 4], 9, 3)
    object.__setattr__(histogram, "expected", 5 * p)
    for confidence in (0.5, 0.8, 0.95):
        band, ecdf = histogram_band(histogram, confidence), ecdf_band(5, np.cumsum(p), confidence)
        total = total_ecdf = 0.0
        for outcome in itertools.product(range(6), repeat=3):
            if sum(outcome) == 5:
                probability = stats.multinomial.pmf(outcome, 5, p)
                total += probability * inside(np.array([outcome]), band)[0]
                total_ecdf += probability * inside(np.cumsum([outcome], axis=1), ecdf)[0]
        assert band.containment == pytest.approx(total, abs=1e-12)
        assert ecdf.containment == pytest.approx(total_ecdf, abs=1e-12)
        assert min(total, total_ecdf) >= confidence - 1e-12


@pytest.mark.parametrize("n_skies", [32, 200])
@pytest.mark.parametrize("n_points", [20, 99])
def test_the_ecdf_band_holds_the_whole_curve(n_skies: int, n_points: int) -> None:
    points = np.arange(1, n_points + 1) / (n_points + 1)
    band = ecdf_band(n_skies, points)
    u = np.sort(np.random.default_rng(n_skies + n_points).random((8000, n_skies)), axis=1)
    counts = np.stack([np.searchsorted(row, points, side="right") for row in u])
    contained = inside(counts, band).mean()
    assert contained == pytest.approx(0.95, abs=0.01)
    assert contained == pytest.approx(band.containment, abs=4 * math.sqrt(0.05 * 0.95 / 8000))
    pointwise = stats.binom.ppf([[0.025], [0.975]], n_skies, points)
    naive = Band(pointwise[0], pointwise[1], math.nan)
    assert inside(counts, naive).mean() < 0.85  # what the adjustment is for


def test_the_ecdf_band_holds_discrete_ranks() -> None:
    """Ranks of 9 draws, seen at every rank: the last point is 1, where every count is inside."""
    points = np.arange(1, 11) / 10
    band = ecdf_band(100, points)
    assert band.low[-1] == band.high[-1] == 100
    rank = np.random.default_rng(4).integers(0, 10, (8000, 100))
    counts = np.stack([(rank <= value).sum(axis=1) for value in range(10)], axis=1)
    assert inside(counts, band).mean() == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize(("n_skies", "n_draws", "bins"), [(200, 999, 20), (200, 999, 10), (32, 99, 3), (100, 10, 4)])
def test_the_histogram_band_holds_all_bins(n_skies: int, n_draws: int, bins: int) -> None:
    histogram = rank_histogram(np.zeros(n_skies, dtype=int), n_draws, bins)
    band = histogram_band(histogram)
    rank = np.random.default_rng(bins).integers(0, n_draws + 1, (8000, n_skies))
    counts = np.stack([np.histogram(row, histogram.edges - 0.5)[0] for row in rank])
    contained = inside(counts, band).mean()
    assert 0.945 < contained < 0.975  # equal bins step all at once, so the band is a little wide
    assert contained == pytest.approx(band.containment, abs=4 * math.sqrt(0.05 * 0.95 / 8000))


def test_bands_of_biased_and_narrow_posteriors_are_left() -> None:
    for options in ({"scale": 0.6}, {"scale": 1.7}, {"shift": 0.6}):
        rank = ranks(*conjugate(200, 99, 1, **options))[:, 0]
        histogram = rank_histogram(rank, 99, 10)
        assert not inside(histogram.counts[None], histogram_band(histogram))[0]
        counts = np.searchsorted(np.sort(rank), np.arange(99), side="right")
        assert not inside(counts[None], ecdf_band(200, np.arange(1, 100) / 100))[0]


def test_bad_bands() -> None:
    for points in ([], [0.5, 0.5], [0.0, 0.5], [0.5, 1.1]):
        with pytest.raises(InputError, match=r"points of the ECDF band: expected cumulative probabilities that rise"):
            ecdf_band(10, points)
    with pytest.raises(InputError, match=r"band: expected at least 1 sky and a confidence within \(0, 1\), got 0 and"):
        ecdf_band(0, [0.5])
    with pytest.raises(InputError, match=r"confidence within \(0, 1\), got 10 and 1\.0"):
        ecdf_band(10, [0.5], 1.0)


# --- coverage


def test_clopper_pearson_inverts_the_binomial_tails() -> None:
    low, high = clopper_pearson([0, 3, 10], 10, 0.9)
    assert (low[0], high[2]) == (0.0, 1.0)
    assert high[0] == pytest.approx(1 - 0.05 ** (1 / 10), rel=1e-12)
    assert low[2] == pytest.approx(0.05 ** (1 / 10), rel=1e-12)
    assert stats.binom.sf(2, 10, low[1]) == pytest.approx(0.05, rel=1e-9)
    assert stats.binom.cdf(3, 10, high[1]) == pytest.approx(0.05, rel=1e-9)


def test_pp_curve_counts_truths_in_central_intervals() -> None:
    shares = pp_curve([0.5, 0.3, 0.74, 0.01], [0.1, 0.45, 0.5, 0.97, 0.99])
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.75, 0.75, 1.0])
    with pytest.raises(InputError, match=r"levels of credible intervals: expected numbers between 0 and 1"):
        pp_curve([0.5], [0.5, 1.0])


def test_pp_coverage_is_that_of_the_quantiles_of_the_draws() -> None:
    truth, draws = conjugate(500, 1999, 1, scale=0.8, shift=0.3)
    levels = (0.5, 0.9)
    shares = pp_curve(pit(ranks(truth, draws)[:, 0], 1999), levels)
    for level, coverage in zip(levels, shares, strict=True):
        # of 1999 draws these quantiles are draws themselves, the 100th or 500th from either end: the shares are equal
        low, high = np.quantile(draws[..., 0], [(1 - level) / 2, (1 + level) / 2], axis=1, method="weibull")
        assert coverage == pytest.approx(np.mean((low <= truth[:, 0]) & (truth[:, 0] <= high)), abs=1e-12)


def table_of(n_skies: int = 400, **options: float) -> CoverageTable:
    truth, draws = conjugate(n_skies, 199, 3, **options)
    return coverage_table(truth, draws, ["a", "b", "c"])


def covered(level: float, scale: float) -> float:
    """Probability that the central interval of 199 draws holds the truth: not fewer than `end` draws on either side."""
    end = round((1 - level) / 2 * 200)
    return 1 - 2 * stats.norm.expect(lambda truth: stats.binom.cdf(end - 1, 199, stats.norm.cdf(truth / scale)))


def is_covered(fraction: float, n_skies: int, probability: float) -> bool:
    """Whether a share of skies is that of a probability, but for chance."""
    return bool(stats.binomtest(round(n_skies * fraction), n_skies, probability).pvalue > BY_CHANCE)


def test_the_table_of_an_exact_posterior() -> None:
    """Cells are "ok" but for 5 % by chance: each is where its share may be, and says of its own interval what is so."""
    table = table_of(1600)
    assert (table.n_skies, table.n_draws) == (1600, 199)
    assert [row.name for row in table.parameters] == ["a", "b", "c"]
    for row in table.parameters:
        assert [cell.level for cell in row.coverage] == [0.5, 0.68, 0.9, 0.95]
        for cell in row.coverage:
            assert is_covered(cell.fraction, 1600, covered(cell.level, 1.0))
            assert cell.verdict == ("under" if cell.high < cell.level else "over" if cell.low > cell.level else "ok")
        assert abs(row.bias) < 4.5 * row.bias_error
        assert row.bias_error == pytest.approx(row.spread / 40, rel=1e-12)
        assert row.spread == pytest.approx(1.0, rel=4.5 / math.sqrt(2 * 1600))  # standard error of an sd
        assert row.p_uniform > BY_CHANCE


def test_the_table_of_posteriors_too_narrow_too_wide_and_biased() -> None:
    """For a posterior of sd `scale` times the exact one, z has sd 1 / scale."""
    for scale, verdict in ((0.6, "under"), (1.6, "over")):
        for row in table_of(scale=scale).parameters:
            assert row.spread == pytest.approx(1 / scale, rel=4.5 / math.sqrt(2 * 400))  # standard error of an sd
            assert row.p_uniform < 1e-3
            for cell in row.coverage:
                assert cell.verdict == verdict
                assert is_covered(cell.fraction, 400, covered(cell.level, scale))
    for row in table_of(shift=1.0).parameters:  # 47 % are within the 68 % interval, six standard errors from "ok"
        assert row.bias == pytest.approx(1.0, abs=4.5 * row.bias_error)
        assert row.coverage[1].verdict == "under"
        assert row.p_uniform < 1e-6


def test_calibrated_cells_are_seldom_called_off() -> None:
    truth, draws = conjugate(60, 49, 200, seed=8)
    table = coverage_table(truth, draws, [str(k) for k in range(200)])
    off = [cell.verdict != "ok" for row in table.parameters for cell in row.coverage]
    assert 0 < np.mean(off) < 0.05
    assert stats.kstest([row.p_uniform for row in table.parameters], "uniform").pvalue > BY_CHANCE


def test_the_table_as_json_and_markdown() -> None:
    table = table_of(scale=0.6)
    read = json.loads(json.dumps(asdict(table)))
    assert read["parameters"][1]["coverage"][0]["verdict"] == "under"
    assert read["parameters"][2]["bias"] == table.parameters[2].bias
    lines = coverage_markdown(table).splitlines()
    assert lines[0] == "| parameter | 50 % | 68 % | 90 % | 95 % | bias [sd] | spread | p(uniform) |"
    assert {line.count("|") for line in lines[:5]} == {9}
    cell = table.parameters[0].coverage[0]
    shown = f"**{100 * cell.fraction:.1f} ({100 * cell.low:.0f}-{100 * cell.high:.0f}) under**"
    assert lines[2].startswith(f"| a | {shown} |")
    assert "12 of 12 intervals miss the level (12 under, 0 over; up to 0.6 expected by chance)" in lines[-1]
    plain = table_of()
    off = sum(cell.verdict != "ok" for row in plain.parameters for cell in row.coverage)
    assert coverage_markdown(plain).count("**") == 2 * off < 24


def test_the_number_of_bins_follows_the_skies() -> None:
    assert [default_bins(n, 999) for n in (4, 32, 100, 200, 5000)] == [2, 3, 10, 20, 20]
    assert default_bins(200, 4) == 5


def test_bad_tables() -> None:
    truth, draws = conjugate(5, 4, 2)
    with pytest.raises(InputError, match=r"names: expected one for each of 2 parameters, got 1"):
        coverage_table(truth, draws, ["a"])
    with pytest.raises(InputError, match=r"expected at least 2 skies and 2 draws, got 1 and 4"):
        coverage_table(truth[:1], draws[:1], ["a", "b"])
    draws[1:, :, 1] = 0.25
    with pytest.raises(InputError, match=r"draws of 'b': they vary on 1 of 5 skies; leave fixed parameters out"):
        coverage_table(truth, draws, ["a", "b"])


def test_a_sky_on_which_one_draw_has_all_weight() -> None:
    truth, draws = conjugate(5, 40, 2)
    without = coverage_table(np.delete(truth, 3, 0), np.delete(draws, 3, 0), ["a", "b"])
    draws[3, :, 1] = truth[3, 1] - 0.1
    found = coverage_table(truth, draws, ["a", "b"])
    assert [row.points for row in found.parameters] == [0, 1]
    a, b = found.parameters
    assert (b.bias, b.bias_error, b.spread) == pytest.approx(
        [getattr(without.parameters[1], name) for name in ("bias", "bias_error", "spread")]
    )
    assert all(cell.fraction <= 0.8 for cell in b.coverage if cell.level < 0.95)  # that sky is missed
    text = coverage_markdown(found)
    assert "Skies on which all draws are the same, so that there is no sd: b on 1." in text
    assert a.points == 0
    assert "all draws are the same" not in coverage_markdown(without)
