"""Two methods that agree, and two that do not."""

from __future__ import annotations

import numpy as np
import pytest

from gammasky.engine.infer.agreement import disagreements
from gammasky.engine.infer.convergence import convergence
from gammasky.engine.infer.importance import Importance, importance

CHAINS, DRAWS = 4, 1000


def guide(n: int = 5000, seed: int = 0) -> tuple[np.ndarray, Importance]:
    """Draws of N(0, 1) with weights for N(0.5, 1)."""
    x = np.random.default_rng(seed).standard_normal(n)
    return x, importance(-0.5 * (x - 0.5) ** 2, -0.5 * x**2)


def test_the_weighted_guide_is_what_is_compared() -> None:
    x, weights = guide()
    chains = 0.5 + np.random.default_rng(1).standard_normal(CHAINS * DRAWS)
    found = {"x": convergence(chains.reshape(CHAINS, DRAWS))}
    assert disagreements({"x": x}, weights, {"x": chains}, found) == []
    (wrong,) = disagreements({"x": x}, weights, {"x": chains - 0.5}, found)
    assert wrong.name == "x"
    assert -0.6 < wrong.shift < -0.4
    assert "x: " in str(wrong)
    assert wrong.size > 2


def test_a_shoulder_that_the_guide_lacks_is_found_by_its_tail() -> None:
    """A tenth of the mass three sd away: the means differ by 0.25 sd only."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal(5000)
    weights = importance(-0.5 * x**2, -0.5 * x**2)
    chains = rng.standard_normal(CHAINS * DRAWS)
    chains[rng.random(chains.size) < 0.1] += 3.0
    found = {"x": convergence(chains.reshape(CHAINS, DRAWS))}
    (wrong,) = disagreements({"x": x}, weights, {"x": chains}, found)
    assert wrong.above > 0.1
    assert "above the guide's 95 % quantile" in str(wrong)


def test_noise_is_no_disagreement() -> None:
    """Chains worth 30 draws: their mean is off by 0.18 sd, and may be."""
    x, weights = guide()
    rng = np.random.default_rng(3)
    steps = np.repeat(0.5 + rng.standard_normal((2, 15)), 40, axis=1)
    found = {"x": convergence(steps)}
    assert found["x"].smallest_ess < 60
    assert disagreements({"x": x}, weights, {"x": steps.ravel()}, found) == []


def test_the_worst_comes_first() -> None:
    x, weights = guide()
    draws = {name: shift + np.random.default_rng(4).standard_normal(CHAINS * DRAWS) for name, shift in
             (("a", 1.0), ("b", 2.0), ("fixed", 0.5))}  # fmt: skip
    draws["constant"] = np.full(CHAINS * DRAWS, 3.0)
    found = {name: convergence(values.reshape(CHAINS, DRAWS)) for name, values in draws.items()}
    told = disagreements(dict.fromkeys(draws, x), weights, draws, found)
    assert [item.name for item in told] == ["b", "a"]


@pytest.mark.parametrize("of_guide", [True, False])
def test_draws_that_are_not_finite_never_agree(of_guide: bool) -> None:
    x, weights = guide()
    draws = 0.5 + np.random.default_rng(4).standard_normal(CHAINS * DRAWS)
    found = {"x": convergence(draws.reshape(CHAINS, DRAWS))}
    assert disagreements({"x": x}, weights, {"x": draws}, found) == []
    (x if of_guide else draws)[3] = np.nan
    (wrong,) = disagreements({"x": x}, weights, {"x": draws}, found)
    assert str(wrong) == "x: draws that are not finite"
