"""The parts of an emulator, each against what is known of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import DivergedFitError
from gammasky.engine.infer.checkpoint import Checkpoint
from gammasky.engine.infer.emulator import network as networks
from gammasky.engine.infer.emulator.chains import CHAINS, ExactChains, weighed
from gammasky.engine.infer.emulator.copy import Copy, framed, moments, placed, reframed, white
from gammasky.engine.infer.emulator.design import KEPT, Design
from gammasky.engine.infer.emulator.emulation import HIGH, SKIPPED, Emulation
from gammasky.engine.infer.emulator.memory import recall, remembered
from gammasky.engine.infer.emulator.mixing import of_short_chains, r_hat, strays
from gammasky.engine.infer.emulator.optima import low_at_optima
from gammasky.engine.infer.emulator.sampling import Sampler
from gammasky.engine.infer.emulator.scouts import CHAINS as N_SCOUTS
from gammasky.engine.infer.emulator.scouts import Forward, Scouts, outermost
from gammasky.engine.infer.emulator.target import Target
from gammasky.engine.infer.emulator.trajectories import MOST_LEAPFROGS, Places, looked_at, trajectory
from gammasky.engine.infer.importance import importance, tempered
from gammasky.engine.infer.optimise import Laplace
from gammasky.engine.model import SkyModel, model_from_table
from tests.engine.infer.emulator.toys import Toy

MIXED = {"name": "dif", "norm": "S_dif", "template": {"mix": ["p6v11", "iso"], "fractions": "share"}}
SIZE, WIDTH, PLACE = 3, 0.4, 0.5


@pytest.fixture(scope="module")
def target() -> Target:
    """A posterior N(PLACE, WIDTH^2) in every coordinate, with log Z = 0."""
    norm = SIZE * (np.log(WIDTH) + 0.5 * np.log(2 * np.pi))
    return Target(Toy(SIZE, lambda z: -0.5 * jnp.sum(((z - PLACE) / WIDTH) ** 2) - norm))


@pytest.fixture(scope="module")
def sampler(target: Target) -> Sampler:
    return Sampler(target)


def quadratic(target: Target, width: float) -> Copy:
    """The copy of a posterior N(PLACE, width^2), log Z = 0."""
    copy = framed(target, np.full(SIZE, PLACE), WIDTH**2 * np.eye(SIZE))
    n_inputs = SIZE + len(np.asarray(copy.middle))
    slope, curvature = np.zeros(n_inputs), np.zeros((n_inputs, n_inputs))
    # l = log posterior - log N(x; 0, 1), with x = PLACE + WIDTH u
    slope[:SIZE] = PLACE * WIDTH
    curvature[:SIZE, :SIZE] = (1 - 1 / width**2) * WIDTH**2 * np.eye(SIZE)
    constant = SIZE * (0.5 * PLACE**2 - np.log(width))
    network = networks.start(jax.random.key(0), constant, slope, curvature)
    return copy._replace(network={**network, "weights_3": jnp.zeros_like(network["weights_3"])})


def last(work: Iterator[Any]) -> Any:
    return deque(work, maxlen=1)[0]


def test_a_copy_is_the_same_in_another_frame(target: Target, sampler: Sampler) -> None:
    copy = quadratic(target, 0.5)
    network = networks.start(jax.random.key(1), 0.3, np.ones(2 * SIZE), np.eye(2 * SIZE))
    copy = copy._replace(network={**network, "weights_3": 100 * network["weights_3"]}, wall=np.float64(1e9))
    x = PLACE + WIDTH * np.random.default_rng(0).standard_normal((50, SIZE))
    new = reframed(target, copy, np.full(SIZE, 0.7), np.diag([0.1, 0.2, 0.3]) + 0.05)
    before, after = (sampler.log_density(one, white(one, x)) for one in (copy, new))
    assert np.ptp(before) > 1.0
    np.testing.assert_allclose(after, before, atol=2e-4)  # single precision
    np.testing.assert_allclose(placed(new, white(new, x)), x, rtol=1e-12)


def test_evidence_of_a_copy_that_is_known(target: Target, sampler: Sampler) -> None:
    """The copy of a normalised density has log Z = 0, and so has the copy scaled by e^3 by its reference."""
    copy = quadratic(target, 0.6)._replace(reference=np.float64(3.0))
    x = PLACE + 0.6 * np.random.default_rng(0).standard_normal((CHAINS, SIZE))
    found = last(sampler.evidence(copy, x, jax.random.key(0), 0.2))
    assert 0 < found.log_z_error < 0.05
    assert abs(found.log_z - 3.0) < 4 * found.log_z_error + 1e-3


def test_scouts_follow_the_likelihood(target: Target) -> None:
    scouts, iterations = Scouts(), 200
    copy, rng = quadratic(target, 0.6), np.random.default_rng(3)
    last(scouts.run(target, copy, np.full((N_SCOUTS, SIZE), PLACE), 0.8, iterations, rng))
    x, independent = np.array(scouts.x), N_SCOUTS * iterations * SIZE / 10
    assert abs(x.mean() - PLACE) < 4 * WIDTH / np.sqrt(independent)
    assert abs(x.std() / WIDTH - 1) < 4 / np.sqrt(2 * independent)
    truth = -0.5 * (((x - PLACE) / WIDTH) ** 2).sum(axis=2) - SIZE * (np.log(WIDTH) + 0.5 * np.log(2 * np.pi))
    np.testing.assert_allclose(np.array(scouts.log_density), truth, rtol=1e-9, atol=1e-9)


def test_a_trajectory_of_tiny_steps_ends(target: Target) -> None:
    copy, seen = quadratic(target, 0.4), []

    def look(u: np.ndarray) -> Places:
        seen.append(u)
        return looked_at(target, copy, u)

    begin = looked_at(target, copy, np.zeros((2, SIZE)))
    at, moved, _ = trajectory(look, begin, 1e-5, np.random.default_rng(0))
    assert len(seen) == MOST_LEAPFROGS
    assert moved.all()  # steps as short as these keep the energy
    assert 0 < np.abs(at.u).max() < 0.01


def test_outermost_points_are_far_from_each_other() -> None:
    u = np.random.default_rng(0).standard_normal((500, 2))
    u[:10] = [9.0, 0.0]
    u[10:13] = [[-8.0, 0.0], [0.0, 8.0], [0.0, -8.0]]
    assert {tuple(u[row]) for row in outermost(u, 4)} == {(9.0, 0.0), (-8.0, 0.0), (0.0, 8.0), (0.0, -8.0)}


@pytest.mark.parametrize(("width", "on_likelihood"), [(0.3, False), (0.5, False), (0.2, True)])
def test_exact_chains_mend_a_wrong_copy(target: Target, sampler: Sampler, width: float, on_likelihood: bool) -> None:
    copy, rng = quadratic(target, width), np.random.default_rng(1)
    pool = weighed(target, sampler, copy, PLACE + width * rng.standard_normal((4 * CHAINS, SIZE)))
    weights = importance(pool["log_weights"], np.zeros(4 * CHAINS))
    assert weights.efficiency < 0.95
    chains = ExactChains(on_likelihood=on_likelihood)
    last(chains.run(target, sampler, copy, pool, 0.3, 60, jax.random.key(2), rng))
    draws = chains.flat("x", 10)
    assert draws.shape == (50 * CHAINS, SIZE)
    independent = CHAINS * 5  # far fewer than draws: chains stay at some, and share the pool
    assert np.abs(draws.mean(axis=0) - PLACE).max() < 4 * WIDTH / np.sqrt(independent)
    assert np.abs(draws.std(axis=0) / WIDTH - 1).max() < 4 / np.sqrt(2 * independent)
    assert 0.2 < min(chains.accepted) < max(chains.accepted) < 1
    truth = target.log_likelihood(chains.kept["x"][-1])
    np.testing.assert_allclose(chains.kept["log_likelihood"][-1], truth, rtol=1e-12)


def test_effective_sizes_are_those_of_single_chains() -> None:
    """Of chains whose draws have a correlation of 0.8 with the next (9 draws are worth one), all in one place.

    Each bound is five standard deviations, or more, from the mean over seeds.
    """
    rng, draws = np.random.default_rng(4), np.zeros((CHAINS, 600))
    draws[:, 0] = rng.standard_normal(CHAINS)
    for number in range(1, 600):
        draws[:, number] = 0.8 * draws[:, number - 1] + 0.6 * rng.standard_normal(CHAINS)
    found = of_short_chains(draws)
    assert 0.8 < found.ess_bulk / (draws.size / 9) < 1.25
    assert 1.0 < found.r_hat < 1.005  # a half of a group is worth 267: the square is 1 + 1 / 267
    apart = draws + np.repeat([0.0, 0.5], CHAINS // 2)[:, None]
    assert of_short_chains(apart).r_hat > 1.02  # the variance of means, 1 / 16, is added: 1.034
    assert of_short_chains(draws + np.linspace(0.0, 1.5, 600)).r_hat > 1.05  # all on their way: 1.071


def test_a_copy_that_is_not_finite_where_the_likelihood_is_has_run_away(target: Target, sampler: Sampler) -> None:
    """Where there is no likelihood, nothing is asked of the copy."""
    x = PLACE + WIDTH * np.random.default_rng(2).standard_normal((5, SIZE))
    good = quadratic(target, 0.5)
    bad = good._replace(network={**good.network, "b": jnp.full_like(good.network["b"], jnp.nan)})
    assert np.isfinite(weighed(target, sampler, good, x)["log_weights"]).all()
    message = "^the copy ran away: it is not finite at 5 of 5 draws at which the likelihood is; use `method='nuts'`$"
    with pytest.raises(DivergedFitError, match=message):
        weighed(target, sampler, bad, x)
    nowhere = Target(Toy(SIZE, lambda z: jnp.nan * jnp.sum(z)))
    assert (weighed(nowhere, sampler, bad, x)["log_weights"] == -np.inf).all()


@pytest.fixture
def pool() -> np.ndarray:
    """Draws (8 * CHAINS, 3) of chains that have mixed."""
    return np.random.default_rng(5).standard_normal((8 * CHAINS, 3))


@pytest.mark.parametrize("coordinate", [0, 1, 2])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_pool_with_a_draw_that_is_not_finite_has_no_r_hat(coordinate: int, bad: float, pool: np.ndarray) -> None:
    assert 0.9 < r_hat(pool) < 1.2
    pool[77, coordinate] = bad
    assert np.isnan(r_hat(pool))


def test_r_hat_of_a_pool_that_hardly_varies(pool: np.ndarray) -> None:
    """One that never varies has no say; where more than half of all values are equal, the others still have."""
    mixed = r_hat(pool[:, [0, 2]])
    pool[:, 1] = 0.25
    assert r_hat(pool) == mixed
    by_chain = np.where(np.arange(CHAINS) < 20, 3.0, 0.25)  # these stay in another place for ever
    pool[:, 1] = np.tile(by_chain, 8)
    assert r_hat(pool) == np.inf
    pool[:, 1] += np.where(np.arange(len(pool)) % 97 == 0, 0.1, 0.0)  # or move a little, now and then
    assert 5.0 < r_hat(pool) < np.inf


def test_draws_stand_chain_after_chain() -> None:
    chains = ExactChains()
    chains.kept = {"x": np.arange(5 * CHAINS * 2.0).reshape(5, CHAINS, 2)}
    flat = chains.flat("x", 2)
    np.testing.assert_array_equal(flat[:3], chains.kept["x"][2:, 0])
    np.testing.assert_array_equal(flat[-3:], chains.kept["x"][2:, -1])


def test_a_design_keeps_what_is_finite_and_near_the_top(target: Target) -> None:
    design = Design.empty(SIZE)
    x, gradients = np.arange(15.0).reshape(5, SIZE), np.ones((5, SIZE))
    gradients[3, 1] = np.nan
    design.add(target, x, np.array([0.0, -np.inf, -KEPT - 1, -1.0, -40.0]), gradients)
    np.testing.assert_array_equal(design.x, x[[0, 4]])
    assert design.weights()[0] == 1.0
    assert 0 < design.weights()[1] <= 1.0
    design.add(target, x, np.full(5, -KEPT - 50), gradients)
    assert len(design.x) == 2
    design.add(target, x[:2], np.full(2, -5 * KEPT), gradients[:2], floor=True)  # where a copy was high by mistake
    np.testing.assert_array_equal(design.values[2:], np.full(2, -0.9 * KEPT))
    np.testing.assert_array_equal(design.gradients[2:], 0.0)
    assert (design.weights()[2:] > 0).all()


def test_draws_that_are_astray() -> None:
    """Those of a copy that is only inaccurate are not, nor are a few, nor those where there is no likelihood."""
    inaccurate = np.random.default_rng(2).normal(0.0, 1.0, 1000)
    assert strays(inaccurate).size == 0
    mode = inaccurate.copy()
    mode[100:160] -= np.linspace(30.0, 900.0, 60)
    np.testing.assert_array_equal(np.sort(strays(mode)), np.arange(100, 160))
    assert strays(mode)[-1] == np.argmin(mode)
    mode[:990] -= 500.0  # nearly all of them: the copy is right nowhere
    assert strays(mode).size == 0
    assert strays(np.linspace(-500.0, 0.0, 1000)).size == 0
    few = inaccurate.copy()
    few[:15] = -700.0
    few[15:200] = -np.inf
    assert strays(few).size == 0


def test_table_of_a_design_holds_gradients_in_the_frame(target: Target) -> None:
    """The derivative along u of everything that it holds, against differences."""
    design, copy = Design.empty(SIZE), quadratic(target, 0.5)
    x = PLACE + WIDTH * np.random.default_rng(3).standard_normal((4, SIZE))
    design.add(target, x, *target.likelihood(x))
    n, table = design.table(target, copy, 10)
    assert n == 4
    assert not table["weights"][4:].any()
    step = 1e-5 * np.asarray(copy.scale_tril)[:, 1]
    middle, spread = np.asarray(copy.middle), np.asarray(copy.spread)

    def features(at: np.ndarray) -> np.ndarray:
        return (target.features_and_slopes(at)[0] - middle) / spread

    columns = ((table["gradients"][:4, 1], target.log_likelihood), (table["slopes"][:4, :, 1], features))
    for found, function in columns:
        difference = (function(x + step) - function(x - step)) / 2e-5
        np.testing.assert_allclose(found, difference, rtol=1e-5, atol=1e-6)


def test_forward_test_counts_what_the_copy_misses() -> None:
    rng = np.random.default_rng(0)
    low = Forward.of(3000.0 + 0.1 * rng.standard_normal((50, 16)))  # no number of float64 is as small as its mean
    np.testing.assert_allclose(low.coverage, -3000.0, atol=0.05)
    assert 0 < low.error < 0.02
    fair = Forward.of(0.1 * rng.standard_normal((50, 16)) + 0.005)
    assert abs(fair.coverage) < 0.02
    assert fair.covered
    ratios = np.zeros((50, 16))
    ratios[:, 0] = 20.0  # a sixteenth of the posterior is where the copy is not
    missed = Forward.of(ratios)
    assert missed.missed == pytest.approx(1 / 16)
    assert missed.coverage == pytest.approx(np.log(15 / 16))
    assert not missed.covered


def test_tempered_weights_have_the_size_that_is_asked_for() -> None:
    log_weights = np.array([0.0, -1.0, -50.0, -np.inf] * 25)
    for least in (0.0, 0.55, 0.6):
        weights = tempered(log_weights, least)
        assert weights.sum() == pytest.approx(1.0)
        assert 1 / (weights**2).sum() >= least * 100
    np.testing.assert_allclose(tempered(log_weights, 0.0)[:2] / tempered(log_weights, 0.0)[0], [1, np.exp(-1)])


def test_one_draw_with_all_the_weight_leaves_the_frame_as_wide_as_it_was(target: Target) -> None:
    copy, x = quadratic(target, 0.5), np.random.default_rng(1).standard_normal((100, SIZE))
    mean, covariance = moments(x, np.eye(100)[3], copy, SIZE)
    share = 1 / (1 + 2 * SIZE)
    np.testing.assert_allclose(mean, share * x[3] + (1 - share) * PLACE, rtol=1e-12)
    np.testing.assert_allclose(covariance, (1 - share) * WIDTH**2 * np.eye(SIZE), atol=1e-12)


@pytest.mark.parametrize("sizes", [[], [3, 2]])
def test_a_design_is_recalled_in_its_batches(sizes: list[int], target: Target) -> None:
    """Also one that holds nothing yet, as that of a model with fields before its first phase has ended."""
    emulation = Emulation(target.model, 0)
    emulation.copy = framed(emulation.target, np.zeros(SIZE), np.eye(SIZE))
    for size in sizes:
        x = np.random.default_rng(size).standard_normal((size, SIZE))
        emulation.design.append(emulation.target, x, np.arange(size, dtype=float), -x)
    again = Emulation(target.model, 0)
    recall(again, Checkpoint(Path("checkpoint"), remembered(emulation)))
    assert [len(features) for features in again.design.features] == sizes
    for name in ("x", "values", "gradients"):
        np.testing.assert_array_equal(getattr(again.design, name), getattr(emulation.design, name))


def test_programs_that_are_shared_hold_no_prior(small_model: SkyModel, small_table: dict[str, Any]) -> None:
    """Features of a model with another prior, by the programs of the first."""

    def model(high: float) -> SkyModel:
        norm = {"prior": "loguniform", "low": 0.01, "high": high}
        share = {"prior": "uniform", "low": 0.0, "high": 1.0}
        parameters = {**small_table["parameters"], "S_dif": norm, "share": share}
        components = [MIXED, *small_table["components"][1:]]
        return SkyModel(model_from_table({**small_table, "parameters": parameters, "components": components}),
                        small_model.dataset)  # fmt: skip

    one, two, alone = model(10.0), model(50.0), model(50.0)
    two.programs = one.programs
    x = 0.3 * np.random.default_rng(0).standard_normal((3, one.n_latent))
    first, shared, expected = (Target(each).features_and_slopes(x) for each in (one, two, alone))
    assert np.abs(first[0] - expected[0]).max() > 0.1
    for found, right in zip(shared, expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-12)


def test_an_optimum_that_the_copy_lacks(target: Target, sampler: Sampler) -> None:
    """Four widths away; it does not count far below the best point, nor where chains on the likelihood have been."""
    z, top = np.full((2, SIZE), PLACE), float(target.model.log_density(jnp.full(SIZE, PLACE)))
    z[1, 0] += 4 * WIDTH
    x, chains = np.repeat(z[:1, None], SKIPPED + 1, axis=0).repeat(CHAINS, axis=1), ExactChains()
    emulated: Any = SimpleNamespace(
        target=target, sampler=sampler, copy=quadratic(target, WIDTH), chains=chains, weights=SimpleNamespace(log_z=0.5)
    )

    def low(below: float) -> float:
        return low_at_optima(emulated, Laplace(z[0], WIDTH * np.eye(SIZE), top, np.array([top, top - below]), z))

    assert low(2.0) == pytest.approx(8 - 2 - 0.5, abs=1e-3)
    assert low(HIGH + 0.1) == 0.0
    chains.on_likelihood, chains.kept = True, {"x": x}
    assert low(2.0) == pytest.approx(8 - 2 - 0.5, abs=1e-3)
    x[-1, 7] = z[1] + 0.1
    assert low(2.0) == 0.0
    chains.on_likelihood = False
    assert low(2.0) > 5
