"""The joint likelihood of sources with two spectra: values by other ways, gradients entry by entry, edges, input."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.nptf_energy.op import joint_log_likelihood
from gammasky.engine.kernels.nptf_energy.plan import JointPlan
from gammasky.engine.kernels.nptf_two_spectra.op import total_two_spectra_log_likelihood, two_spectra_log_likelihood

KINDS = (0, 1, 0)


class Two(NamedTuple):
    """Counts (E, P) and regions (P,); mean (E, P), templates (I, P), x (I, R, M + 1), spectra (2, R, E)."""

    counts: np.ndarray
    region: np.ndarray
    point: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    kinds: tuple[int, ...] = KINDS

    @property
    def plan(self) -> JointPlan:
        return JointPlan.build(self.counts, self.region, self.point[3].shape[1])

    def value(self, backend: str = "numba") -> np.ndarray:
        return np.array(two_spectra_log_likelihood(self.plan, self.kinds, *self.point, backend=backend))

    def gradient(self, weights: np.ndarray, backend: str = "numba") -> list[np.ndarray]:
        def total(*point: jax.Array) -> jax.Array:
            return (two_spectra_log_likelihood(self.plan, self.kinds, *point, backend=backend) * weights).sum()

        slopes = jax.jit(jax.grad(total, argnums=(0, 1, 2, 3)))  # one program, not hundreds of small ones
        return [np.array(part) for part in slopes(*map(jnp.asarray, self.point))]


@pytest.fixture
def make(make_problem: Any) -> Any:
    """A random problem with these counts (E, P)."""

    def two(seed: int, counts: Any, **options: Any) -> Two:
        counts = np.asarray(counts, dtype=np.int64)
        problem = make_problem(seed, counts.sum(axis=0), populations=len(KINDS), **options)
        rng = np.random.default_rng(seed + 100)
        spectra = rng.dirichlet(np.ones(len(counts)), (2, problem.n_regions))
        mean = problem.mean * rng.lognormal(0.0, 0.5, counts.shape)
        return Two(counts, problem.region, (mean, problem.templates, problem.x, spectra))

    return two


def several_variables(two: Two, pixel: int) -> Any:
    """P of one pixel by the recursion of its generating function in E variables, which knows nothing of two sums.

    log G = sum_e mu_e (t_e - 1) + sum over kinds of x_0 + sum_m x_m (sum_e phi_e t_e)^m has the coefficients b(n), and
    n_e P(n) = sum_{0 < j <= n} j_e b(j) P(n - j).
    """
    mean, templates, x, spectra = two.point
    region, counts = two.region[pixel], [int(k) for k in two.counts[:, pixel]]
    x_of = [
        [
            mpmath.fsum(
                mpmath.mpf(float(templates[i, pixel])) * mpmath.mpf(float(x[i, region, m]))
                for i in range(len(two.kinds))
                if two.kinds[i] == kind
            )
            for m in range(sum(counts) + 1)
        ]
        for kind in (0, 1)
    ]

    def b(n: tuple[int, ...]) -> Any:
        single = [mpmath.mpf(float(mean[e, pixel])) for e in range(len(n)) if sum(n) == 1 and n[e] == 1]
        of_sources = [
            x_of[kind][sum(n)]
            * mpmath.factorial(sum(n))
            * mpmath.fprod(
                mpmath.mpf(float(spectra[kind, region, e])) ** n[e] / mpmath.factorial(n[e]) for e in range(len(n))
            )
            for kind in (0, 1)
        ]
        return mpmath.fsum(of_sources + single)

    found: dict[tuple[int, ...], Any] = {}
    for n in itertools.product(*(range(k + 1) for k in counts)):
        axis = next((e for e, k in enumerate(n) if k), None)
        if axis is None:
            smooth = mpmath.fsum(float(mu) for mu in mean[:, pixel])
            found[n] = mpmath.exp(x_of[0][0] + x_of[1][0] - smooth)
            continue
        steps = (j for j in itertools.product(*(range(k + 1) for k in n)) if j[axis])
        total = mpmath.fsum(j[axis] * b(j) * found[tuple(a - c for a, c in zip(n, j, strict=True))] for j in steps)
        found[n] = total / n[axis]
    return found[tuple(counts)]


@pytest.mark.parametrize("backend", ["numba", "reference"])
@pytest.mark.parametrize("bins", [1, 2, 3])
def test_values_are_those_of_the_generating_function_in_all_bins(make: Any, bins: int, backend: str) -> None:
    two = make(bins, np.random.default_rng(bins).integers(0, 12 // bins, (bins, 6)))
    with mpmath.workdps(40):
        expected = [float(mpmath.log(several_variables(two, pixel))) for pixel in range(6)]
    np.testing.assert_allclose(two.value(backend), expected, rtol=1e-12)


def check_slopes(two: Two, pixel: int, digits: int = 40) -> None:
    """Hold one entry of each kind of the gradient of a pixel against differences with that many digits."""
    step, of_region = 1e-12, two.region[pixel]
    alone = two.gradient(np.eye(two.counts.shape[1])[pixel])
    entries = (0, (1, pixel)), (1, (1, pixel)), (2, (0, of_region, 2)), (3, (1, of_region, len(two.counts) - 1))
    for part, index in entries:
        sides = []
        for sign in (1.0, -1.0):
            point = [np.array(array) for array in two.point]
            point[part][index] += sign * step * point[part][index]
            with mpmath.workdps(digits):
                moved = Two(two.counts, two.region, tuple(point))
                sides.append((mpmath.log(several_variables(moved, pixel)), point[part][index]))
        with mpmath.workdps(digits):
            slope = float((sides[0][0] - sides[1][0]) / (mpmath.mpf(sides[0][1]) - mpmath.mpf(sides[1][1])))
        assert alone[part][index] == pytest.approx(slope, rel=1e-8, abs=1e-9)


def test_gradient_entry_by_entry(make: Any) -> None:
    """By JAX through the reference, and by differences of 40 digits for one pixel of all kinds of entries."""
    two, weights = make(4, np.random.default_rng(4).integers(0, 6, (3, 9))), np.linspace(0.5, 2.0, 9)
    for found, expected in zip(two.gradient(weights), two.gradient(weights, "reference"), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-11)
    check_slopes(two, 3)


def assert_joint_slopes(same: Two) -> None:
    """The gradient of a problem whose two spectra are one is that of the joint likelihood."""

    def joint(*point: jax.Array) -> jax.Array:
        return joint_log_likelihood(same.plan, *point, backend="numba").sum()

    mean, templates, x, spectra = same.point
    slopes = jax.grad(joint, argnums=(0, 1, 2, 3))(*map(jnp.asarray, (mean, templates, x, spectra[0])))
    found = same.gradient(np.ones(same.counts.shape[1]))
    for part, slope in zip((*found[:3], found[3].sum(axis=0)), slopes, strict=True):
        np.testing.assert_allclose(part, slope, rtol=1e-9, atol=1e-11 * np.abs(slope).max())


@pytest.mark.parametrize("photons", [5, 90, 900])
def test_one_spectrum_twice_is_the_joint_likelihood(make: Any, photons: int) -> None:
    two = make(5, [[photons, 2, 0], [photons // 9, 0, 1], [0, 7, 3]], brightness=0.1 * photons)
    mean, templates, x, spectra = two.point
    same = Two(two.counts, two.region, (mean, templates, x, np.stack([spectra[0], spectra[0]])))
    expected = joint_log_likelihood(two.plan, mean, templates, x, spectra[0], backend="numba")
    np.testing.assert_allclose(same.value(), expected, rtol=1e-12)

    assert_joint_slopes(same)


def test_kinds_may_be_exchanged_and_one_may_have_no_sources(make: Any) -> None:
    two = make(6, np.random.default_rng(6).integers(0, 9, (4, 12)))
    mean, templates, x, spectra = two.point
    other = Two(two.counts, two.region, (mean, templates, x, spectra[::-1]), tuple(1 - kind for kind in KINDS))
    np.testing.assert_allclose(other.value(), two.value(), rtol=1e-13)
    alone = Two(two.counts, two.region, (mean, templates, x, spectra), (0, 0, 0))
    expected = joint_log_likelihood(two.plan, mean, templates, x, spectra[0], backend="numba")
    np.testing.assert_allclose(alone.value(), expected, rtol=1e-12)
    assert not alone.gradient(np.ones(12))[3][1].any()  # nothing hangs on a spectrum that no source has


@pytest.mark.parametrize("scale", [1e-12, 1e-150, 1.0, 1e3])
def test_numbers_stay_in_range(make: Any, scale: float) -> None:
    """Against the joint likelihood, whose fallback carries a power of 2: hundreds of photons, any means and sources."""
    two = make(7, [[300, 0, 1], [2, 400, 0], [30, 1, 500]], brightness=20.0)
    mean, templates, x, spectra = two.point
    for point in ((scale * mean, templates, x), (mean, scale * templates, x), (scale * mean, scale * templates, x)):
        same = Two(two.counts, two.region, (*point, np.stack([spectra[1], spectra[1]])))
        expected = joint_log_likelihood(two.plan, *point, spectra[1], backend="numba")
        np.testing.assert_allclose(same.value(), expected, rtol=1e-11)
        for part in same.gradient(np.ones(3)):
            assert np.isfinite(part).all()


@pytest.mark.parametrize(("mean", "faint"), [(100.0, 1.0), (100.0, 1e-6), (1.0, 0.0)])
def test_a_thousand_photons_of_usual_sources(make: Any, mean: float, faint: float) -> None:
    """Each term of S is a product of a thousand shares of a half or a third."""
    two = make(16, [[1000]], mean=mean)
    mean_of_bins, templates, x, spectra = two.point
    point = (mean_of_bins, faint * templates, x)
    same = Two(two.counts, two.region, (*point, np.stack([spectra[1], spectra[1]])))
    expected = joint_log_likelihood(two.plan, *point, spectra[1], backend="numba")
    np.testing.assert_allclose(same.value(), expected, rtol=1e-12)
    if faint:
        assert_joint_slopes(same)


@pytest.mark.parametrize("counts", [[[3, 1, 4], [2, 4, 0]], [[1, 2], [2, 2], [2, 3]]])
def test_far_beyond_the_range(make: Any, counts: Any) -> None:
    """Sources of 1e-400, whose kinds shine apart but for 1e-200: by powers of 2, with spectra that differ."""
    two = make(17, counts)
    mean, templates, x, spectra = two.point
    spectra = spectra * np.where(np.arange(len(counts)) == 0, [[1.0], [1e-200]], [[1e-200], [1.0]])[:, None]
    rare = Two(two.counts, two.region, (1e-200 * mean, 1e-200 * templates, 1e-200 * x, spectra))
    for pixel in range(two.counts.shape[1]):
        with mpmath.workdps(40):
            expected = float(mpmath.log(several_variables(rare, pixel)))
        assert rare.value()[pixel] == pytest.approx(expected, rel=1e-12)
        check_slopes(rare, pixel, digits=1000)  # what moves may be 1e-500 of the whole


@pytest.mark.parametrize("share", [0.0, 1e-300, 1e-40])
def test_kinds_that_never_meet(make: Any, share: float) -> None:
    """Each kind shines in bins of its own, without smooth emission: a product of two one-bin distributions."""
    two = make(8, [[200, 3, 0], [150, 0, 2]], brightness=20.0)
    mean, templates, x, _ = two.point
    spectra = np.array([[[1.0, share]] * 2, [[share, 1.0]] * 2])
    apart = Two(two.counts, two.region, (share * mean, templates, x, spectra))
    expected = 0.0
    for kind in (0, 1):
        plan = JointPlan.build(two.counts[kind : kind + 1], two.region, 2)
        own = [i for i in range(len(KINDS)) if KINDS[i] == kind]
        one = (share * mean[kind : kind + 1], templates[own], x[own], np.ones((2, 1)))
        expected = expected + np.array(joint_log_likelihood(plan, *one, backend="numba"))
    np.testing.assert_allclose(apart.value(), expected, rtol=1e-11)


def test_what_cannot_be_is_impossible_and_what_is_no_number_stays_none(make: Any) -> None:
    two = make(9, [[1, 0, 2, 1], [3, 0, 0, 1]])
    mean, templates, x, spectra = (np.array(array) for array in two.point)
    dark = Two(two.counts, two.region, (0.0 * mean, templates, x, spectra * [1.0, 0.0]))
    assert np.isneginf(dark.value()).tolist() == [True, False, False, True]
    entries = (0, (1, 0)), (3, (1, two.region[0], 0)), (2, (1, two.region[0], 1)), (2, (1, two.region[0], 2))
    for part, index in entries:
        for bad in (np.nan, -1.0, -1e-9):
            point = [np.array(array) for array in two.point]
            point[part][index] = bad
            found = Two(two.counts, two.region, tuple(point)).value()
            assert np.isnan(found[0])
            assert np.isfinite(found[two.region != two.region[0]]).all()


def test_mapped_and_total(make: Any) -> None:
    two = make(10, np.random.default_rng(10).integers(0, 6, (2, 20)))
    points = [jnp.stack([array, 1.1 * array, 0.9 * array]) for array in map(jnp.asarray, two.point)]

    def total(*point: jax.Array) -> jax.Array:
        return total_two_spectra_log_likelihood(two.plan, two.kinds, *point, backend="numba")

    values, slopes = jax.vmap(jax.value_and_grad(total, argnums=(0, 1, 2, 3)))(*points)
    mapped = jax.jit(jax.vmap(total, in_axes=(0, None, None, 0)))(points[0], *two.point[1:3], points[3])
    for b in range(3):
        own = Two(two.counts, two.region, tuple(np.asarray(array[b]) for array in points))
        np.testing.assert_allclose(values[b], own.value().sum(), rtol=1e-13)
        for found, expected in zip(slopes, own.gradient(np.ones(20)), strict=True):
            np.testing.assert_array_equal(found[b], expected)
        some = Two(two.counts, two.region, (own.point[0], *two.point[1:3], own.point[3]))
        np.testing.assert_allclose(mapped[b], some.value().sum(), rtol=1e-13)


def test_the_same_on_any_number_of_threads(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    two = make(11, np.random.default_rng(11).integers(0, 6, (2, 40)))
    found = two.gradient(np.ones(40))
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "1")
    for part, again in zip(found, two.gradient(np.ones(40)), strict=True):
        np.testing.assert_array_equal(part, again)


def test_too_many_photons_and_wrong_shapes_are_refused(make: Any) -> None:
    two = make(12, [[999, 0], [2, 1]])
    with pytest.raises(InputError, match="1001 photons in all energy bins, expected at most 1000"):
        two.value()
    two = make(13, [[3, 0], [2, 1]])
    mean, templates, x, spectra = two.point
    with pytest.raises(InputError, match="'spectra' must end in the axes"):
        Two(two.counts, two.region, (mean, templates, x, spectra[:1])).value()
    with pytest.raises(InputError, match="'x' must end in the axes"):
        Two(two.counts, two.region, (mean, templates, x[:, :, :4], spectra)).value()

    def slope(mean: jax.Array) -> jax.Array:
        return two_spectra_log_likelihood(two.plan, KINDS, mean, templates, x, spectra, backend="numba").sum()

    with pytest.raises(TypeError, match="two_spectra_log_likelihood: second derivatives are not available"):
        jax.grad(lambda mean: jax.grad(slope)(mean).sum())(jnp.asarray(mean))
