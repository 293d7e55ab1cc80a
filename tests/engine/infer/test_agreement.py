"""Two methods that agree, and two that do not."""

from __future__ import annotations

import numpy as np
import pytest

from gammasky.engine.infer.agreement import disagreements
from gammasky.engine.infer.convergence import Convergence, convergence

CHAINS, DRAWS = 4, 1000


def emulator(seed: int = 0) -> tuple[np.ndarray, Convergence]:
    """Draws of N(0.5, 1), and their convergence."""
    x = 0.5 + np.random.default_rng(seed).standard_normal(5000)
    return x, convergence(x.reshape(10, -1))


def test_means_and_tails_are_compared() -> None:
    x, known = emulator()
    chains = 0.5 + np.random.default_rng(1).standard_normal(CHAINS * DRAWS)
    found = {"x": convergence(chains.reshape(CHAINS, DRAWS))}
    assert disagreements({"x": x}, {"x": known}, {"x": chains}, found) == []
    (wrong,) = disagreements({"x": x}, {"x": known}, {"x": chains - 0.5}, found)
    assert wrong.name == "x"
    assert -0.6 < wrong.shift < -0.4
    assert "x: " in str(wrong)
    assert wrong.size > 2


def test_a_shoulder_that_the_emulator_lacks_is_found_by_its_tail() -> None:
    """A tenth of the mass three sd away: the means differ by 0.25 sd only."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal(5000)
    known = {"x": convergence(x.reshape(10, -1))}
    chains = rng.standard_normal(CHAINS * DRAWS)
    chains[rng.random(chains.size) < 0.1] += 3.0
    found = {"x": convergence(chains.reshape(CHAINS, DRAWS))}
    (wrong,) = disagreements({"x": x}, known, {"x": chains}, found)
    assert wrong.above > 0.1
    assert "above the emulator's 95 % quantile" in str(wrong)


def test_noise_is_no_disagreement() -> None:
    """Chains worth 30 draws: their mean is off by 0.18 sd, and may be."""
    x, known = emulator()
    rng = np.random.default_rng(3)
    steps = np.repeat(0.5 + rng.standard_normal((2, 15)), 40, axis=1)
    found = {"x": convergence(steps)}
    assert found["x"].smallest_ess < 60
    assert disagreements({"x": x}, {"x": known}, {"x": steps.ravel()}, found) == []


def test_the_worst_comes_first() -> None:
    x, known = emulator()
    draws = {name: shift + np.random.default_rng(4).standard_normal(CHAINS * DRAWS) for name, shift in
             (("a", 1.0), ("b", 2.0), ("fixed", 0.5))}  # fmt: skip
    draws["constant"] = np.full(CHAINS * DRAWS, 3.0)
    found = {name: convergence(values.reshape(CHAINS, DRAWS)) for name, values in draws.items()}
    told = disagreements(dict.fromkeys(draws, x), dict.fromkeys(draws, known), draws, found)
    assert [item.name for item in told] == ["b", "a"]


@pytest.mark.parametrize("of_emulator", [True, False])
def test_draws_that_are_not_finite_never_agree(of_emulator: bool) -> None:
    x, known = emulator()
    draws = 0.5 + np.random.default_rng(4).standard_normal(CHAINS * DRAWS)
    found = {"x": convergence(draws.reshape(CHAINS, DRAWS))}
    assert disagreements({"x": x}, {"x": known}, {"x": draws}, found) == []
    (x if of_emulator else draws)[3] = np.nan
    (wrong,) = disagreements({"x": x}, {"x": known}, {"x": draws}, found)
    assert str(wrong) == "x: draws that are not finite"
