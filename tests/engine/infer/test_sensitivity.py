"""Power-scaling sensitivity: a conjugate normal model, whose power-scaled posteriors are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.stats import norm, truncnorm, uniform

from gammasky.engine.errors import InputError
from gammasky.engine.infer.importance import importance
from gammasky.engine.infer.sensitivity import SENSITIVE, power_scaling

POWER = 1.01


def scaled(y: float, error: float, prior: float, likelihood: float) -> tuple[float, float]:
    """Mean and sd of the posterior of theta ~ N(0, 1), y ~ N(theta, error), with both factors raised to powers."""
    precision = prior + likelihood / error**2
    return likelihood * y / error**2 / precision, precision**-0.5


def distance(p: tuple[float, float], q: tuple[float, float], low: float, high: float) -> float:
    """Cumulative Jensen-Shannon distance of two normals (arXiv:2107.14054, section 3.2), the larger of both tails'.

    Both are cut off at `low` and `high`, since the distance depends on the lowest and the highest draw.
    """

    def one_way(sign: float) -> float:
        x = np.linspace(*sorted((sign * low, sign * high)), 20_001)
        whole = [norm.cdf(x, sign * mean, sd) for mean, sd in (p, q)]
        x, (a, b) = x[1:], [(cdf[1:] - cdf[0]) / (cdf[-1] - cdf[0]) for cdf in whole]
        middle = 0.5 * (a + b)
        both = a * np.log2(a / middle) + b * np.log2(b / middle)
        return float(trapezoid(both, x) / trapezoid(a + b, x))

    return max(one_way(1.0), one_way(-1.0)) ** 0.5


def expected(y: float, error: float, part: str, low: float, high: float) -> float:
    now = scaled(y, error, 1.0, 1.0)
    ends = [scaled(y, error, **({"prior": 1.0, "likelihood": 1.0} | {part: a})) for a in (1 / POWER, POWER)]
    return sum(distance(now, end, low, high) for end in ends) / (2 * np.log2(POWER))


@pytest.mark.parametrize(("y", "error"), [(3.0, 1.0), (0.5, 0.3), (1.0, 5.0)])
@pytest.mark.parametrize("weighted", [False, True])
def test_conjugate_normal(y: float, error: float, weighted: bool) -> None:
    """Draws are quantiles, which have no scatter, and end at three sd, as in the tails single draws would scatter."""
    mean, sd = scaled(y, error, 1.0, 1.0)
    low, high = mean - 3 * sd, mean + 3 * sd
    theta = truncnorm(-3, 3, mean, sd).ppf((np.arange(10_000) + 0.5) / 10_000)
    if weighted:  # draws of a wider guide, put right by their weights
        guide = uniform(low, high - low)
        theta = guide.ppf((np.arange(40_000) + 0.5) / 40_000)
        found = importance(norm.logpdf(theta) + norm.logpdf(y, theta, error), guide.logpdf(theta))
        theta = theta[found.resampled(10_000, seed=1)]
    log_factors = {"prior": norm.logpdf(theta), "likelihood": norm.logpdf(y, theta, error)}
    for part, log_factor in log_factors.items():
        found = power_scaling({"theta": theta, "shifted": 3 - 2 * theta}, log_factor)
        # steps of 1 / n = 1e-4 leave up to 27 / n and the smoothing of the 300 largest weights 16 / n: about twice that
        assert found["theta"] == pytest.approx(expected(y, error, part, theta.min(), theta.max()), rel=0.01)
        assert found["shifted"] == pytest.approx(found["theta"], rel=1e-6)  # both tails count


def test_a_factor_that_is_the_same_everywhere_moves_nothing() -> None:
    found = power_scaling({"a": np.random.default_rng(0).normal(size=200)}, np.full(200, -3.0))
    assert found["a"] == pytest.approx(0.0, abs=1e-6)


def test_what_a_factor_says_nothing_of_stays() -> None:
    a, b = np.random.default_rng(1).normal(size=(2, 20_000))
    found = power_scaling({"a": a, "b": b, "same": np.ones_like(a)}, norm.logpdf(a))
    assert found["a"] > SENSITIVE > 5 * found["b"]
    assert found["same"] == 0.0


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_what_is_not_finite_has_no_sensitivity(bad: float) -> None:
    a, b = np.random.default_rng(1).normal(size=(2, 500))
    factor = norm.logpdf(a)
    b[3] = bad
    found = power_scaling({"a": a, "b": b}, factor)
    assert found["a"] > SENSITIVE
    assert np.isnan(found["b"])
    factor[3] = bad
    assert np.isnan(power_scaling({"a": a}, factor)["a"])


def test_too_few_draws() -> None:
    with pytest.raises(InputError, match="at least 100 draws, got 20"):
        power_scaling({"a": np.zeros(20)}, np.zeros(20))
