"""Power-scaling sensitivity: a conjugate normal model, whose power-scaled posteriors are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import trapezoid
from scipy.stats import norm

from gammasky.engine.errors import InputError
from gammasky.engine.infer.importance import importance
from gammasky.engine.infer.sensitivity import SENSITIVE, power_scaling

POWER = 1.01


def scaled(y: float, error: float, prior: float, likelihood: float) -> tuple[float, float]:
    """Mean and sd of the posterior of theta ~ N(0, 1), y ~ N(theta, error), with both factors raised to powers."""
    precision = prior + likelihood / error**2
    return likelihood * y / error**2 / precision, precision**-0.5


def distance(p: tuple[float, float], q: tuple[float, float]) -> float:
    """Cumulative Jensen-Shannon distance of two normals (arXiv:2107.14054, section 3.2), the larger of both tails'."""

    def one_way(sign: float) -> float:
        x = np.linspace(-12, 12, 200_001)
        a, b = (norm.cdf(x, sign * mean, sd) for mean, sd in (p, q))
        middle = 0.5 * (a + b)
        tiny = np.finfo(float).tiny
        both = a * np.log2(np.maximum(a, tiny) / np.maximum(middle, tiny))
        both += b * np.log2(np.maximum(b, tiny) / np.maximum(middle, tiny))
        # ArviZ integrates between the lowest and the highest draw; where both are 1 the bound would grow without end
        inside = (x > sign * p[0] - 3.7 * p[1]) & (x < sign * p[0] + 3.7 * p[1])
        return float(trapezoid(both[inside], x[inside]) / trapezoid((a + b)[inside], x[inside]))

    return max(one_way(1.0), one_way(-1.0)) ** 0.5


def expected(y: float, error: float, part: str) -> float:
    now = scaled(y, error, 1.0, 1.0)
    ends = [scaled(y, error, **({"prior": 1.0, "likelihood": 1.0} | {part: a})) for a in (1 / POWER, POWER)]
    return sum(distance(now, end) for end in ends) / (2 * np.log2(POWER))


@pytest.mark.parametrize(("y", "error"), [(3.0, 1.0), (0.5, 0.3), (1.0, 5.0)])
@pytest.mark.parametrize("weighted", [False, True])
def test_conjugate_normal(y: float, error: float, weighted: bool) -> None:
    mean, sd = scaled(y, error, 1.0, 1.0)
    theta = np.random.default_rng(7).normal(mean, sd, 10_000)
    if weighted:  # draws of a wider guide, put right by their weights
        guide = norm(mean + 0.3 * sd, 1.5 * sd)
        theta = guide.rvs(40_000, random_state=8)
        found = importance(norm.logpdf(theta) + norm.logpdf(y, theta, error), guide.logpdf(theta))
        theta = theta[found.resampled(10_000, seed=1)]
    log_factors = {"prior": norm.logpdf(theta), "likelihood": norm.logpdf(y, theta, error)}
    for part, log_factor in log_factors.items():
        found = power_scaling({"theta": theta, "shifted": 3 - 2 * theta}, log_factor)
        assert found["theta"] == pytest.approx(expected(y, error, part), rel=0.1)
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
