"""Whole fits by an emulator, of densities whose posterior is known: right, or found out."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm, truncnorm
from scipy.stats import t as student_t

from gammasky.engine.errors import DivergedFitError, InputError, NonFiniteLikelihoodError
from gammasky.engine.infer.emulator import chains, emulation
from gammasky.engine.infer.emulator.emulation import Emulation
from gammasky.engine.infer.emulator.mixing import strays
from gammasky.engine.infer.emulator.sampling import CHAINS, GROUPS
from gammasky.engine.infer.gradients import check_gradients
from gammasky.engine.infer.optimise import Laplace, laplace
from gammasky.engine.infer.result import Fit
from gammasky.engine.infer.run import fit
from gammasky.engine.infer.settings import Settings
from tests.engine.infer.emulator import toys


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few parameters are learnt in fewer steps."""
    for name, value in {"FIRST_STEPS": 400, "ROUND_STEPS": 200, "LAST_STEPS": 400, "FIRST": 256}.items():
        monkeypatch.setattr(emulation, name, value)


def by_emulator(model: toys.Toy, seed: int = 0) -> Fit:
    return fit(model, Settings(method="emulator", seed=seed))


@pytest.mark.slow
def test_a_posterior_that_is_the_prior() -> None:
    found = by_emulator(toys.prior())
    assert found.verdict.level == "reliable"
    assert abs(found.diagnostics["log_z"] - 1.5) < 4 * found.diagnostics["log_z_error"] + 0.01
    ess = found.diagnostics["ess_bulk_min"]
    assert np.abs(found.z.mean(axis=0)).max() < 4 / np.sqrt(ess)
    assert np.abs(found.z.std(axis=0) - 1).max() < 4 / np.sqrt(ess)
    assert found.chains == GROUPS
    np.testing.assert_allclose(found.log_likelihood, 1.5, rtol=1e-9)


@pytest.mark.slow
def test_modes_that_chains_hardly_leave_have_their_shares() -> None:
    """They are six widths apart: a chain goes from one to the other by flatter likelihoods only."""
    found = by_emulator(toys.two_modes(1.8))
    assert found.verdict.level == "reliable"
    ess = found.diagnostics["ess_bulk_min"]
    assert abs((found.z[:, 0] < 0).mean() - 0.7) < 4 * np.sqrt(0.21 / ess) + 0.02
    assert abs(found.diagnostics["log_z"]) < 4 * found.diagnostics["log_z_error"] + 0.03


@pytest.mark.slow
def test_modes_far_apart_are_found_out() -> None:
    """No chain goes from one to the other, so that their shares are not known."""
    found = by_emulator(toys.two_modes(6.0))
    assert found.verdict.level == "unreliable"
    assert any("several modes" in reason for reason in found.verdict.reasons)
    assert found.verdict.remedy == {"method": "auto"}


@pytest.mark.slow
def test_a_mode_that_was_not_learnt_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy, chains and tests know one of two modes ten widths apart, and agree; the climbs know the other one."""
    toys.see_one_mode(monkeypatch)
    found = by_emulator(toys.two_modes(3.0))
    assert (found.z[:, 0] < 0).all()
    assert found.verdict.level == "preview"
    (reason,) = found.verdict.reasons
    assert reason.startswith("at an optimum that the climbs found the copy is too low by ")


def shares_off(values: np.ndarray, truth: Any, found: Fit, shares: tuple[float, ...]) -> float:
    """How far the shares of draws below quantiles of the truth are from these, at most, in standard errors."""
    below, expected = (values[:, None] < truth.ppf(shares)).mean(axis=0), np.array(shares)
    errors = np.sqrt(expected * (1 - expected) / found.diagnostics["ess_bulk_min"])
    return float(np.abs((below - expected) / errors).max())


MIDDLE = (0.05, 0.25, 0.5, 0.75, 0.95)


@pytest.mark.slow
def test_long_tails_are_right() -> None:
    found = by_emulator(toys.heavy())
    assert found.verdict.level == "reliable"
    assert abs(found.diagnostics["log_z"]) < 4 * found.diagnostics["log_z_error"] + 0.01
    for z in found.z.T:
        assert shares_off(z / 0.5, student_t(4.0), found, (0.01, *MIDDLE, 0.99)) < 5


@pytest.mark.slow
def test_a_banana_is_right_but_for_its_ends() -> None:
    """The ends of its arms, a twentieth of the probability each, are lost in part; no check tells, but the docs do."""
    found = by_emulator(toys.banana())
    first, second, third, fourth = found.z.T
    quartiles = (0.25, 0.5, 0.75)
    np.testing.assert_allclose([(first < norm.ppf(share)).mean() for share in quartiles], quartiles, atol=0.07)
    assert (np.abs(first) < 2.0).mean() > 0.9
    assert shares_off((second - 0.8 * (first**2 - 1.0)) / 0.3, norm(), found, MIDDLE) < 5
    for rest in (third, fourth):
        assert shares_off(rest / 0.5, norm(), found, MIDDLE) < 5
    assert abs(found.diagnostics["log_z"]) < 0.15


@pytest.mark.slow
def test_parameters_that_are_the_same_and_one_that_nothing_depends_on() -> None:
    found = by_emulator(toys.degenerate())
    assert found.verdict.level == "reliable"
    log_z = norm.logpdf(1.0, scale=np.sqrt(2.01)) + norm.logpdf(0.5, scale=np.sqrt(1.01))
    assert abs(found.diagnostics["log_z"] - log_z) < 4 * found.diagnostics["log_z_error"] + 0.01
    z0, z1, z2, z3 = found.z.T
    assert shares_off(z0 + z1, norm(1 / 1.005, np.sqrt(1 / 100.5)), found, MIDDLE) < 5
    assert shares_off(z0 - z1, norm(0, np.sqrt(2)), found, MIDDLE) < 5
    assert shares_off(z2, norm(0.5 / 1.01, np.sqrt(1 / 101)), found, MIDDLE) < 5
    assert shares_off(z3, norm(), found, MIDDLE) < 5


@pytest.mark.slow
def test_modes_at_the_edge_of_a_prior_and_beyond() -> None:
    found = by_emulator(toys.edges())
    assert found.verdict.level == "reliable"
    truths = [truncnorm(-at / toys.EDGE_WIDTH, np.inf, at, toys.EDGE_WIDTH) for at in toys.EDGES]  # 1 is 10 widths off
    log_z = sum(norm.logsf(0.0, at, toys.EDGE_WIDTH) for at in toys.EDGES)
    assert abs(found.diagnostics["log_z"] - log_z) < 4 * found.diagnostics["log_z_error"] + 0.01
    for z, truth in zip(found.z.T, truths, strict=True):
        assert shares_off(norm.cdf(z), truth, found, MIDDLE) < 5


@pytest.mark.slow
def test_a_funnel_is_found_out() -> None:
    """No frame fits its neck and its mouth: chains on the likelihood do not agree, and say so."""
    found = by_emulator(toys.funnel())
    assert found.verdict.level != "reliable"
    assert any("the chains disagree" in reason or "effective sample size" in reason for reason in found.verdict.reasons)


@pytest.mark.parametrize(
    ("r_hats", "draws"),
    [([1.04], [0]), ([1.08, 1.08], [0, 1]), ([1.3, 1.15], [0, 1, 4])],
)
def test_a_pool_is_drawn_anew_until_its_chains_mix(
    r_hats: list[float], draws: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By excursions to flatter likelihoods, and by several for each draw if one does not suffice."""
    emulated, left, asked = emulation.Emulation(toys.prior(), 0), [*r_hats, r_hats[-1]], []

    def drawn(which: str, n: int, _thinning: int, *, excursions: int = 0) -> Iterator[str]:
        asked.append(excursions)
        yield which
        return np.zeros((n, 1))

    nothing: dict[str, object] = {"log_weights": np.zeros(1)}
    monkeypatch.setattr(emulated, "copy", None, raising=False)
    monkeypatch.setattr(emulated, "_move", lambda *_: iter(()))
    monkeypatch.setattr(emulated, "_draw", drawn)
    monkeypatch.setattr(emulation, "weighed", lambda *_: nothing)
    monkeypatch.setattr(emulation, "r_hat", lambda _: left.pop(0))
    list(emulated._draw_pool())
    assert asked == draws


@pytest.mark.slow
def test_chains_on_the_likelihood_make_up_for_a_copy_that_is_spoiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The copy that pools are drawn from is bent after every training, so that it lacks a half of the posterior."""
    toys.spoil_copies(monkeypatch, 4.0)
    monkeypatch.setattr(emulation, "MOST_ROUNDS", 2)
    monkeypatch.setattr(emulation, "MOST_TESTS", 2)
    found = by_emulator(toys.prior())
    assert found.verdict.level == "reliable"
    assert "the copy alone would not do" in found.verdict.reasons[0]
    assert abs(found.diagnostics["log_z"] - 1.5) < 4 * found.diagnostics["log_z_error"] + 0.01
    ess = found.diagnostics["ess_bulk_min"]
    assert np.abs(found.z.mean(axis=0)).max() < 4 / np.sqrt(ess)
    assert np.abs(found.z.std(axis=0) - 1).max() < 4 / np.sqrt(ess)


@pytest.mark.slow
def test_a_copy_that_is_spoiled_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As above, with trajectories that do not move."""
    toys.spoil_copies(monkeypatch, 4.0)
    monkeypatch.setattr(emulation, "MOST_ROUNDS", 2)
    monkeypatch.setattr(emulation, "MOST_TESTS", 2)
    monkeypatch.setattr(chains, "trajectory", lambda _look, at, _step, _rng: (at, np.zeros(len(at.u), bool), None))
    assert by_emulator(toys.prior()).verdict.level == "unreliable"


@pytest.mark.slow
def test_a_copy_that_goes_astray_is_taught_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the first pool a third lies where the truth is lower by hundreds of nat: it is learnt, and drawn again."""
    draw, pools = Emulation._draw_pool, []

    def astray(self: Emulation) -> Iterator[str]:
        if not pools:  # a normal distribution, which knows of no cliff
            form = {"b": jnp.zeros_like(self.copy.network["b"]), "A": jnp.zeros_like(self.copy.network["A"])}
            flat = {**self.copy.network, **form, "weights_3": jnp.zeros_like(self.copy.network["weights_3"])}
            self.copy = self.copy._replace(network=flat)
            self.walkers["cold"] = np.random.default_rng(1).normal(0.5, 1.0, (CHAINS, 4))
        yield from draw(self)
        pools.append((self.phase, strays(self.pool["log_weights"]).size / len(self.pool["x"])))

    monkeypatch.setattr(Emulation, "_draw_pool", astray)
    found = by_emulator(toys.cliff())
    assert pools[0][0] == "refine"  # before any test
    assert pools[0][1] > 0.05
    assert pools[1][1] < pools[0][1] / 4
    assert pools[-1] == ("test_forward", 0.0)
    assert found.verdict.level == "reliable"
    assert abs(found.diagnostics["log_z"] - norm.logcdf(1.5)) < 0.05


@pytest.mark.slow
def test_a_likelihood_that_does_not_exist_everywhere() -> None:
    """Draws are right where it does, and the verdict says that it does not elsewhere."""
    found = by_emulator(toys.cut())
    assert found.verdict.level == "preview"
    assert any("does not exist at" in reason for reason in found.verdict.reasons)
    assert abs(found.diagnostics["log_z"] - norm.logcdf(0.3)) < 4 * found.diagnostics["log_z_error"]
    first, mean = found.z[:, 0], -norm.pdf(0.3) / norm.cdf(0.3)
    assert first.max() < 0.3
    assert abs(first.mean() - mean) < 4 / np.sqrt(found.diagnostics["ess_bulk_min"])


def test_a_wrong_gradient_is_found_before_anything_is_learnt() -> None:
    with pytest.raises(InputError, match=r"^gradient of the density along z2: .* but its values differ by"):
        by_emulator(toys.wrong_gradient())


def test_a_gradient_that_is_missing_is_found_before_anything_is_learnt() -> None:
    """It is where the density is finite: what is learnt without these points would not know of the region."""
    message = r"^gradient of the density along z2 is nan, although the density is finite there: .*; mend the derivative"
    with pytest.raises(InputError, match=message):
        by_emulator(toys.missing_gradient())


def test_where_the_likelihood_ends_no_gradient_is_missing() -> None:
    model = toys.cut()
    start = Laplace(np.array([0.2, 0.0, 0.0, 0.0]), 0.8 * np.eye(4), 0.0, np.zeros(1))
    assert check_gradients(model, start, 0) == 3 * (1 + 2 * 4)


def test_a_likelihood_that_exists_nowhere() -> None:
    with pytest.raises(NonFiniteLikelihoodError):
        by_emulator(toys.nowhere())


def test_a_likelihood_that_exists_at_the_best_point_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def learnt(x: np.ndarray) -> Iterator[str]:
        yield "likelihood"
        return np.full(len(x), -np.inf)

    emulated = emulation.Emulation(toys.prior(), 0)
    monkeypatch.setattr(emulated, "copy", None, raising=False)
    monkeypatch.setattr(emulated, "_learn", learnt)
    monkeypatch.setattr(emulation, "placed", lambda _, t: t)
    with pytest.raises(DivergedFitError, match="exists at none of the draws"):
        list(emulated._first())


def test_a_kink_is_no_wrong_gradient() -> None:
    model = toys.Toy(3, lambda z: -8.0 * jnp.sum(jnp.abs(z - 0.2)))
    start = laplace(model, 0)
    assert check_gradients(model, start, 0) == 3 * (1 + 2 * 3)
