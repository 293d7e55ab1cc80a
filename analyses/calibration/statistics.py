"""Statistics of simulation-based calibration: ranks, bands, P-P curves and coverage.

For each of J simulated skies there is a truth, drawn from the prior, and L independent posterior draws. If simulator
and inference agree, the rank of the truth among the draws is uniform on 0 ... L for every parameter (Cook, Gelman &
Rubin 2006; Talts et al. 2018, arXiv:1804.06788). A posterior that is too narrow gives a histogram with horns and
coverage below the level, one that is too wide a hump and coverage above it, a biased one a slope.

Draws of a Markov chain are to be thinned until they are independent; weighted draws are to be resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta, binom, chisquare, poisson

from gammasky.engine.errors import InputError

LEVELS = (0.5, 0.68, 0.9, 0.95)
CONFIDENCE = 0.95  # of every band and interval, unless told
PER_BIN = 10  # expected counts per bin of a rank histogram, so that chi-square holds
MOST_BINS = 20

Verdict = Literal["ok", "under", "over"]


@dataclass(frozen=True)
class RankHistogram:
    """Counts (bins,) of the ranks, the expected counts (bins,), and the first rank (bins + 1,) of each bin."""

    edges: np.ndarray
    counts: np.ndarray
    expected: np.ndarray

    def p_value(self) -> float:
        """Chi-square p-value of uniform ranks."""
        return float(chisquare(self.counts, self.expected).pvalue)


@dataclass(frozen=True)
class Band:
    """Counts `low` to `high` (n,), both inside, that contain all n counts at once with probability `containment`."""

    low: np.ndarray
    high: np.ndarray
    containment: float


@dataclass(frozen=True)
class LevelCoverage:
    """The share `fraction` of the truths in the central interval of a level; its binomial interval [`low`, `high`]."""

    level: float
    fraction: float
    low: float
    high: float
    verdict: Verdict


@dataclass(frozen=True)
class ParameterCalibration:
    """Coverage of one parameter; mean `bias` and standard deviation `spread` of (posterior mean - truth) / sd.

    Attributes:
        points: skies on which all draws are the same point, as where one of them has all the weight. Such a posterior
            counts in the coverage, where it is wrong; without an sd it does not in `bias` and `spread`.
    """

    name: str
    coverage: tuple[LevelCoverage, ...]
    bias: float
    bias_error: float
    spread: float
    p_uniform: float
    points: int = 0


@dataclass(frozen=True)
class CoverageTable:
    """Calibration of every parameter over `n_skies` skies with `n_draws` posterior draws each."""

    n_skies: int
    n_draws: int
    parameters: tuple[ParameterCalibration, ...]


def ranks(truth: ArrayLike, draws: Sequence[ArrayLike] | np.ndarray, seed: int = 0) -> np.ndarray:
    """Number of posterior draws below the truth; ties are broken at random.

    Args:
        truth (J, K): true value of each parameter on each sky.
        draws (J, L, K): posterior draws, an array or a list of J arrays.
        seed: of the ties.

    Returns:
        ranks (J, K), from 0 to L.

    Raises:
        InputError: shapes that do not agree, or values that are not finite.
    """
    truths, posterior = _checked(truth, draws)
    below = (posterior < truths[:, None, :]).sum(axis=1)
    ties = (posterior == truths[:, None, :]).sum(axis=1)
    return below + np.random.default_rng(seed).integers(0, ties + 1)


def pit(rank: ArrayLike, n_draws: int, seed: int = 0) -> np.ndarray:
    """Probability integral transform u = (rank + v) / (L + 1), v ~ Uniform(0, 1): uniform if the rank is, for any L.

    Args:
        rank (...): ranks from 0 to L.
        n_draws: L.
        seed: of v.
    """
    values = _checked_ranks(rank, n_draws)
    return (values + np.random.default_rng(seed).random(values.shape)) / (n_draws + 1)


def default_bins(n_skies: int, n_draws: int) -> int:
    """Number of bins for J ranks from 0 to L: about ten counts in each, at most twenty bins."""
    return max(2, min(MOST_BINS, n_skies // PER_BIN, n_draws + 1))


def rank_histogram(rank: ArrayLike, n_draws: int, bins: int) -> RankHistogram:
    """Counts of the ranks in `bins` bins; a bin with more of the L + 1 ranks expects more.

    Args:
        rank (J,): ranks from 0 to L.
        n_draws: L.
        bins: 1 to L + 1; where it does not divide L + 1, bins differ by one rank and the expectation follows.
    """
    values = _checked_ranks(rank, n_draws)
    if not 1 <= bins <= n_draws + 1:
        raise InputError(f"bins: expected 1 to {n_draws + 1}, the number of ranks of {n_draws} draws, got {bins}")
    edges = -(-np.arange(bins + 1) * (n_draws + 1) // bins)  # rounded up
    counts = np.histogram(values, edges - 0.5)[0]
    return RankHistogram(edges, counts, values.size * np.diff(edges) / (n_draws + 1))


def histogram_band(histogram: RankHistogram, confidence: float = CONFIDENCE) -> Band:
    """Counts per bin that contain the whole histogram of uniform ranks with at least probability `confidence`."""
    total = histogram.expected.sum()
    return _simultaneous(round(total), tuple(histogram.expected / total), False, confidence)


def ecdf_band(n_skies: int, points: ArrayLike, confidence: float = CONFIDENCE) -> Band:
    """Counts <= each point that contain the whole empirical distribution with at least probability `confidence`.

    Pointwise binomial intervals of one common level gamma; gamma is the largest for which the joint probability,
    computed exactly, is at least the confidence (Saeilynoja, Buerkner & Vehtari 2022, arXiv:2103.10522, section 2.2).
    Divide by `n_skies` for fractions. Since counts are whole, the containment is a little above the confidence.

    Args:
        n_skies: J, number of ranks or PIT values.
        points (n,): true cumulative probabilities, rising, within (0, 1]; for ranks, multiples of 1 / (L + 1).
        confidence: of the band.
    """
    at = np.asarray(points, dtype=float)
    if at.ndim != 1 or not at.size or at[0] <= 0 or at[-1] > 1 or (np.diff(at) <= 0).any():
        raise InputError("points of the ECDF band: expected cumulative probabilities that rise within (0, 1]")
    return _simultaneous(n_skies, tuple(np.diff(at, prepend=0.0)), True, confidence)


def pp_curve(u: ArrayLike, levels: ArrayLike) -> np.ndarray:
    """Share (n,) of the truths inside the central credible interval of each level: |2 u - 1| <= level.

    The share over all levels is an empirical distribution: `ecdf_band(J, levels)` is its simultaneous band.

    Args:
        u (J,): PIT of the truths, from `pit`.
        levels (n,): posterior masses.
    """
    at = np.asarray(levels, dtype=float)
    if at.size and not (at.min() > 0 and at.max() < 1):
        raise InputError(
            f"levels of credible intervals: expected numbers between 0 and 1, got {at.min()} to {at.max()}"
        )
    mass = np.abs(2 * np.asarray(u, dtype=float) - 1)  # of the central interval that just reaches the truth
    return np.asarray((mass[None, :] <= at[:, None]).mean(axis=1))


def clopper_pearson(successes: ArrayLike, n: int, confidence: float = CONFIDENCE) -> tuple[np.ndarray, np.ndarray]:
    """Exact binomial interval of a share (Clopper & Pearson 1934): covers it with at least probability `confidence`."""
    k, tail = np.asarray(successes, dtype=float), (1 - confidence) / 2
    low = np.where(k > 0, beta.ppf(tail, np.maximum(k, 1), n - k + 1), 0.0)
    high = np.where(k < n, beta.ppf(1 - tail, k + 1, np.maximum(n - k, 1)), 1.0)
    return low, high


def coverage_table(
    truth: ArrayLike,
    draws: Sequence[ArrayLike] | np.ndarray,
    names: Sequence[str],
    levels: Sequence[float] = LEVELS,
    seed: int = 0,
) -> CoverageTable:
    """Coverage, bias and spread of every parameter.

    The verdict is "under" where the binomial interval of the observed share ends below the level (the posterior is too
    narrow or biased), "over" where it begins above, else "ok". Of calibrated cells up to 5 % are not "ok" by chance.

    Args:
        truth (J, K): true value of each parameter on each sky.
        draws (J, L, K): posterior draws.
        names (K,): names of the parameters.
        levels: posterior masses of the central intervals.
        seed: of ties and of the PIT.

    Raises:
        InputError: shapes that do not agree, fewer than two skies or draws, or draws that vary on fewer than two skies.
    """
    truths, posterior = _checked(truth, draws)
    n_skies, n_draws, n_parameters = posterior.shape
    if len(names) != n_parameters:
        raise InputError(f"names: expected one for each of {n_parameters} parameters, got {len(names)}")
    if n_skies < 2 or n_draws < 2:
        raise InputError(f"calibration: expected at least 2 skies and 2 draws, got {n_skies} and {n_draws}")
    spreads = np.ptp(posterior, axis=1) > 0
    for name, varied in zip(names, spreads.sum(axis=0), strict=True):
        if varied < 2:
            raise InputError(f"draws of '{name}': they vary on {varied} of {n_skies} skies; leave fixed parameters out")
    sd = np.where(spreads, posterior.std(axis=1, ddof=1), np.nan)
    z = (posterior.mean(axis=1) - truths) / sd
    rank = ranks(truths, posterior, seed)
    u = pit(rank, n_draws, seed + 1)
    bins = default_bins(n_skies, n_draws)
    rows = [
        ParameterCalibration(
            name=name,
            coverage=_levels(u[:, k], levels),
            bias=float(np.nanmean(z[:, k])),
            bias_error=float(np.nanstd(z[:, k], ddof=1) / np.sqrt(spreads[:, k].sum())),
            spread=float(np.nanstd(z[:, k], ddof=1)),
            p_uniform=rank_histogram(rank[:, k], n_draws, bins).p_value(),
            points=int((~spreads[:, k]).sum()),
        )
        for k, name in enumerate(names)
    ]
    return CoverageTable(n_skies, n_draws, tuple(rows))


def coverage_markdown(table: CoverageTable) -> str:
    """The table in Markdown: a row per parameter, coverage with its 95 % binomial interval, in per cent."""
    levels = [cell.level for cell in table.parameters[0].coverage] if table.parameters else []
    heads = ["parameter", *(f"{100 * level:g} %" for level in levels), "bias [sd]", "spread", "p(uniform)"]
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * (len(heads) - 1)}"]
    for row in table.parameters:
        cells = [row.name, *map(_cell, row.coverage), f"{row.bias:+.2f} ± {row.bias_error:.2f}", f"{row.spread:.2f}"]
        lines.append(f"| {' | '.join([*cells, f'{row.p_uniform:.2g}'])} |")
    verdicts = [cell.verdict for row in table.parameters for cell in row.coverage]
    lines += [
        "",
        f"{table.n_skies} skies, {table.n_draws} posterior draws each. Coverage in per cent with its 95 % binomial"
        f" interval; {len(verdicts) - verdicts.count('ok')} of {len(verdicts)} intervals miss the level"
        f" ({verdicts.count('under')} under, {verdicts.count('over')} over; up to"
        f" {0.05 * len(verdicts):.1f} expected by chance). Bias and spread: mean and standard deviation of (posterior"
        " mean - truth) / posterior sd.",
    ]
    if points := {row.name: row.points for row in table.parameters if row.points}:
        told = ", ".join(f"{name} on {number}" for name, number in points.items())
        lines += [
            "",
            f"Skies on which all draws are the same, so that there is no sd: {told}. They count as coverage alone.",
        ]
    return "\n".join(lines) + "\n"


def _cell(cell: LevelCoverage) -> str:
    text = f"{100 * cell.fraction:.1f} ({100 * cell.low:.0f}-{100 * cell.high:.0f})"
    return text if cell.verdict == "ok" else f"**{text} {cell.verdict}**"


def _levels(u: np.ndarray, levels: Sequence[float]) -> tuple[LevelCoverage, ...]:
    """Coverage of each level with its verdict."""
    shares = pp_curve(u, levels)
    cells = []
    for level, fraction, low, high in zip(
        levels, shares, *clopper_pearson(np.rint(shares * u.size), u.size), strict=True
    ):
        verdict: Verdict = "under" if high < level else "over" if low > level else "ok"
        cells.append(LevelCoverage(float(level), float(fraction), float(low), float(high), verdict))
    return tuple(cells)


@lru_cache(maxsize=64)  # the panels of a figure share their band
def _simultaneous(n: int, steps: tuple[float, ...], cumulative: bool, confidence: float) -> Band:
    """The narrowest band of pointwise binomial intervals that contains all counts with probability `confidence`.

    Args:
        n: number of ranks.
        steps (k,): probability of each bin, or between one point of the ECDF and the next.
        cumulative: the band is of cumulative counts, not of the counts of the bins.
        confidence: of the band.
    """
    if n < 1 or not 0 < confidence < 1:
        raise InputError(f"band: expected at least 1 sky and a confidence within (0, 1), got {n} and {confidence}")
    p = np.minimum(np.cumsum(steps) if cumulative else np.asarray(steps), 1.0)
    # outside probability gamma of each interval: Bonferroni's is wide enough, and 1 leaves nothing but the medians
    wide, narrow = (1 - confidence) / len(p), 1.0
    band = _pointwise(n, p, wide)
    contained = _containment(n, np.asarray(steps), cumulative, *band)
    while narrow > 1.001 * wide:
        gamma = float(np.sqrt(wide * narrow))
        trial = _pointwise(n, p, gamma)
        containment = _containment(n, np.asarray(steps), cumulative, *trial)
        if containment >= confidence:
            wide, band, contained = gamma, trial, containment
        else:
            narrow = gamma
    return Band(*band, contained)


def _pointwise(n: int, p: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Binomial counts outside of which there is at most probability gamma / 2 on either side."""
    return binom.ppf(gamma / 2, n, p).astype(int), binom.ppf(1 - gamma / 2, n, p).astype(int)


def _containment(n: int, steps: np.ndarray, cumulative: bool, low: np.ndarray, high: np.ndarray) -> float:
    """Probability that every multinomial count (or cumulative count) is within its limits.

    Multinomial counts are independent Poisson counts, given their sum: the distribution of the running sum is convolved
    with one bin after the other, and cut to the limits on the way.
    """
    rest = max(1.0 - float(steps.sum()), 0.0)  # beyond the last point
    counts = np.arange(n + 1)
    running = np.zeros(n + 1)
    running[0] = 1.0
    for step, least, most in zip(steps, low, high, strict=True):
        bin_counts = poisson.pmf(counts, n * step)
        allowed = (counts >= least) & (counts <= most)
        if cumulative:
            running = np.convolve(running, bin_counts)[: n + 1] * allowed
        else:
            running = np.convolve(running, bin_counts * allowed)[: n + 1]
    running = np.convolve(running, poisson.pmf(counts, n * rest))[: n + 1]
    return min(float(running[n] / poisson.pmf(n, n)), 1.0)


def _checked(truth: ArrayLike, draws: Sequence[ArrayLike] | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Truths (J, K) and draws (J, L, K) as arrays of finite numbers."""
    truths = np.asarray(truth, dtype=float)
    shapes = sorted({np.shape(sky) for sky in draws})
    if truths.ndim != 2 or len(shapes) != 1 or len(shapes[0]) != 2 or len(draws) != len(truths) or 0 in shapes[0]:
        raise InputError(
            f"draws: expected {len(truths)} skies of one shape (L, K) for truths {truths.shape}, got {shapes}"
        )
    posterior = np.asarray(draws, dtype=float)
    if posterior.shape[2] != truths.shape[1]:
        raise InputError(f"draws: expected {truths.shape[1]} parameters as in the truths, got {posterior.shape[2]}")
    for name, values in (("truth", truths), ("draws", posterior)):
        if not np.isfinite(values).all():
            sky = int(np.argwhere(~np.isfinite(values))[0, 0])
            raise InputError(f"{name} of sky {sky}: expected finite numbers; leave a failed fit out, and report it")
    return truths, posterior


def _checked_ranks(rank: ArrayLike, n_draws: int) -> np.ndarray:
    values = np.asarray(rank)
    if values.size and (values.min() < 0 or values.max() > n_draws):
        raise InputError(f"ranks: expected 0 to {n_draws} for {n_draws} draws, got {values.min()} to {values.max()}")
    return values
