"""The joint likelihood of several energy bins against other ways to work it out, on every backend."""

from __future__ import annotations

import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gammasky.engine.kernels.nptf.op import pixel_log_likelihood
from gammasky.engine.kernels.nptf.plan import PixelPlan
from gammasky.engine.kernels.nptf_energy.op import joint_log_likelihood
from gammasky.engine.kernels.nptf_energy.plan import JointPlan


class Joint(NamedTuple):
    """Counts (E, P) and regions (P,); mean (E, P), templates (I, P), x (I, R, M + 1), spectrum (R, E)."""

    counts: np.ndarray
    region: np.ndarray
    point: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]

    @property
    def plan(self) -> JointPlan:
        return JointPlan.build(self.counts, self.region, len(self.point[3]))


@pytest.fixture(params=["numba", "cuda"])
def kernel(request: pytest.FixtureRequest) -> str:
    """The backends that are fast; the CUDA source as it is built for the host."""
    if request.param == "cuda":
        request.getfixturevalue("cupy")
    return str(request.param)


@pytest.fixture
def make(make_problem: Any) -> Any:
    """A random problem with these counts (E, P)."""

    def joint(seed: int, counts: Any, **options: Any) -> Joint:
        counts = np.asarray(counts, dtype=np.int64)
        problem, rng = make_problem(seed, counts.sum(axis=0), **options), np.random.default_rng(seed + 100)
        spectrum = rng.dirichlet(np.ones(len(counts)), problem.n_regions)
        mean = problem.mean * rng.lognormal(0.0, 0.5, counts.shape)
        return Joint(counts, problem.region, (mean, problem.templates, problem.x, spectrum))

    return joint


def value(joint: Joint, backend: str) -> np.ndarray:
    return np.array(joint_log_likelihood(joint.plan, *joint.point, backend=backend))


def gradient(joint: Joint, backend: str, weights: np.ndarray) -> list[np.ndarray]:
    def total(*point: jax.Array) -> jax.Array:
        return (joint_log_likelihood(joint.plan, *point, backend=backend) * weights).sum()

    slopes = jax.jit(jax.grad(total, argnums=(0, 1, 2, 3)))  # one program, not hundreds of small ones
    return [np.array(part) for part in slopes(*map(jnp.asarray, joint.point))]


def terms_of(joint: Joint, pixel: int) -> tuple[list[Any], list[Any], list[Any]]:
    """x_m, mu_e and phi_e of a pixel with 50 digits."""
    mean, templates, x, spectrum = joint.point
    region, k = joint.region[pixel], int(joint.counts[:, pixel].sum())
    factors = [mpmath.mpf(float(t)) for t in templates[:, pixel]]
    found = [mpmath.fdot(factors, [float(v) for v in x[:, region, m]]) for m in range(k + 1)]
    return found, *([mpmath.mpf(float(v)) for v in row] for row in (mean[:, pixel], spectrum[region]))


def several_variables(joint: Joint, pixel: int) -> Any:
    """P of one pixel from its generating function in E variables, by the recursion in the first one that is not 0.

    log G = sum_e mu_e (t_e - 1) + x_0 + sum_m x_m (sum_e phi_e t_e)^m has the coefficients b(n) = x_|n| |n|! prod phi^n
    / n! (and mu_e for single photons), and n_e P(n) = sum_{0 < j <= n} j_e b(j) P(n - j).
    """
    x, mean, shares = terms_of(joint, pixel)
    counts = [int(k) for k in joint.counts[:, pixel]]

    def b(n: tuple[int, ...]) -> Any:
        single = [mean[e] for e in range(len(n)) if sum(n) == 1 and n[e] == 1]
        factors = [shares[e] ** n[e] / mpmath.factorial(n[e]) for e in range(len(n))]
        return x[sum(n)] * mpmath.factorial(sum(n)) * mpmath.fprod(factors) + sum(single)

    found: dict[tuple[int, ...], Any] = {}
    for n in itertools.product(*(range(k + 1) for k in counts)):
        axis = next((e for e, k in enumerate(n) if k), None)
        if axis is None:
            found[n] = mpmath.exp(x[0] - mpmath.fsum(mean))
            continue
        steps = (j for j in itertools.product(*(range(k + 1) for k in n)) if j[axis])
        total = mpmath.fsum(j[axis] * b(j) * found[tuple(a - c for a, c in zip(n, j, strict=True))] for j in steps)
        found[n] = total / n[axis]
    return found[tuple(counts)]


def shared_out(x: list[Any], mean: list[Any], shares: list[Any], counts: list[int]) -> Any:
    """log P of one pixel: the sources' photons, however many, are thrown into the bins one by one."""
    k = sum(counts)
    q = [mpmath.mpf(1)]
    for n in range(1, k + 1):
        q.append(mpmath.fsum(m * x[m] * q[n - m] for m in range(1, n + 1)) / n)
    c = [mpmath.mpf(1)]
    for mu, phi, number in zip(mean, shares, counts, strict=True):
        for _ in range(number):
            c = [mu * a + phi * b for a, b in zip([*c, 0], [0, *c], strict=True)]
    total = mpmath.fsum(mpmath.factorial(n) * q[n] * c[n] for n in range(k + 1))
    scale = mpmath.fprod([mpmath.factorial(number) for number in counts])
    return x[0] - mpmath.fsum(mean) + mpmath.log(total / scale) if total else -mpmath.inf


def exact(joint: Joint, pixel: int) -> Any:
    return shared_out(*terms_of(joint, pixel), [int(k) for k in joint.counts[:, pixel]])


def test_one_bin_is_the_likelihood_of_one_bin(backend: str, make: Any) -> None:
    joint = make(1, [np.random.default_rng(1).integers(0, 30, 70)])
    mean, templates, x, _ = joint.point
    joint = Joint(joint.counts, joint.region, (mean, templates, x, np.ones((2, 1))))
    plan, weights = PixelPlan.build(joint.counts[0], joint.region, 2), np.random.default_rng(2).normal(size=70)

    def alone(mean: Any, templates: Any, x: Any) -> Any:
        return (pixel_log_likelihood(plan, mean, templates, x, backend="numba") * weights).sum()

    expected = pixel_log_likelihood(plan, mean[0], templates, x, backend="numba")
    np.testing.assert_allclose(value(joint, backend), expected, rtol=1e-12)
    slopes = jax.jit(jax.grad(alone, argnums=(0, 1, 2)))(*map(jnp.asarray, (mean[0], templates, x)))
    found = gradient(joint, backend, weights)
    np.testing.assert_allclose(found[0][0], slopes[0], rtol=1e-11, atol=1e-12)
    for part, slope in zip(found[1:3], slopes[1:], strict=True):
        np.testing.assert_allclose(part, slope, rtol=1e-11, atol=1e-12 * np.abs(slope).max())


def test_bins_of_one_spectrum_are_one_bin_times_a_multinomial(backend: str, make: Any) -> None:
    """Smooth emission with the sources' spectrum: the bins say nothing about what is a source."""
    joint = make(3, np.random.default_rng(3).integers(0, 8, (4, 40)))
    mean, templates, x, spectrum = joint.point
    shares, total = spectrum[joint.region].T, joint.counts.sum(axis=0)
    joint = Joint(joint.counts, joint.region, (mean.sum(axis=0) * shares, templates, x, spectrum))
    plan = PixelPlan.build(total, joint.region, 2)
    alone = pixel_log_likelihood(plan, mean.sum(axis=0), templates, x, backend="numba")
    log_factorial = np.vectorize(math.lgamma)
    multinomial = log_factorial(total + 1.0) - log_factorial(joint.counts + 1.0).sum(axis=0)
    multinomial += (joint.counts * np.log(shares)).sum(axis=0)
    np.testing.assert_allclose(value(joint, backend), alone + multinomial, rtol=1e-12)


@pytest.mark.parametrize("counts", [[[0, 1, 3, 2, 5], [2, 0, 4, 1, 3]], [[1, 3, 0], [2, 2, 1], [3, 1, 2]]])
def test_the_recursion_in_several_variables(backend: str, make: Any, counts: Any) -> None:
    joint = make(4, counts)
    with mpmath.workdps(50):
        expected = [float(mpmath.log(several_variables(joint, p))) for p in range(joint.counts.shape[1])]
        assert [float(exact(joint, p)) for p in range(len(expected))] == pytest.approx(expected, rel=1e-14)
    np.testing.assert_allclose(value(joint, backend), expected, rtol=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(0, 10**6), st.floats(-8.0, 2.0), st.floats(-3.0, 1.0))
def test_any_counts_means_and_brightness(make_problem: Any, bins: int, seed: int, mean: float, bright: float) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 12, (bins, 9))
    problem = make_problem(seed, counts.sum(axis=0), mean=10.0**mean, brightness=10.0**bright)
    spectrum = rng.dirichlet(np.full(bins, 0.3), 2)
    point = (problem.mean * rng.lognormal(0, 1, counts.shape), problem.templates, problem.x, spectrum)
    joint = Joint(counts, problem.region, point)
    with mpmath.workdps(50):
        expected = [float(exact(joint, pixel)) for pixel in range(9)]
    np.testing.assert_allclose(value(joint, "numba"), expected, rtol=1e-12, atol=1e-12)


def test_the_gradient_entry_by_entry(backend: str, make: Any) -> None:
    """Against differences of the exact value with 50 digits, one entry at a time."""
    joint, weights = make(5, [[3, 0, 7], [1, 0, 0], [0, 4, 2]]), np.array([1.0, -0.7, 0.4])

    def total(point: tuple[Any, ...]) -> Any:
        mean, templates, x, spectrum = point
        found = mpmath.mpf(0)
        for pixel in range(3):
            region, counts = joint.region[pixel], [int(k) for k in joint.counts[:, pixel]]
            terms = [mpmath.fsum(templates[:, pixel] * x[:, region, m]) for m in range(sum(counts) + 1)]
            log_p = shared_out(terms, list(mean[:, pixel]), list(spectrum[region]), counts)
            found += mpmath.mpf(float(weights[pixel])) * log_p
        return found

    with mpmath.workdps(50):
        point = tuple(np.vectorize(mpmath.mpf, otypes=[object])(part) for part in joint.point)
        for part, found in zip(point, gradient(joint, backend, weights), strict=True):
            scale = np.abs(found).max()
            for place in np.ndindex(part.shape):
                kept, ends = part[place], []
                for step in (mpmath.mpf("1e-18"), -mpmath.mpf("1e-18")):
                    part[place] = kept + step
                    ends.append(total(point))
                part[place] = kept
                slope = float((ends[0] - ends[1]) / mpmath.mpf("2e-18"))
                assert found[place] == pytest.approx(slope, rel=1e-11, abs=1e-13 * scale)


def without_one_photon(joint: Joint, pixel: int) -> tuple[list[float], list[float]]:
    """d log P / d mu_e and d log P / d phi_e of a pixel: k_e of the sums of c(t) / (mu_e + phi_e t), multiplied out."""
    x, mean, shares = terms_of(joint, pixel)
    counts = [int(k) for k in joint.counts[:, pixel]]
    q = [mpmath.mpf(1)]
    for n in range(1, sum(counts) + 1):
        q.append(mpmath.fsum(m * x[m] * q[n - m] for m in range(1, n + 1)) / n)
    z = [mpmath.factorial(n) * value for n, value in enumerate(q)]

    def product(counts: list[int]) -> list[Any]:
        c = [mpmath.mpf(1)]
        for mu, phi, number in zip(mean, shares, counts, strict=True):
            factor = [mpmath.binomial(number, j) * mu ** (number - j) * phi**j for j in range(number + 1)]
            terms = [[mpmath.mpf(0)] for _ in range(len(c) + number)]
            for (i, a), (j, b) in itertools.product(enumerate(c), enumerate(factor)):
                terms[i + j].append(a * b)
            c = [mpmath.fsum(group) for group in terms]
        return c

    total = mpmath.fdot(z, product(counts))
    by_mean, by_share = [], []
    for e, number in enumerate(counts):
        fewer = product([k - (i == e) for i, k in enumerate(counts)]) if number else []
        by_mean.append(float(number * mpmath.fdot(z[: len(fewer)], fewer) / total) - 1)
        by_share.append(float(number * mpmath.fdot(z[1 : len(fewer) + 1], fewer) / total))
    return by_mean, by_share


@pytest.mark.parametrize("mean", [0.02, 5.0, 40.0])
def test_the_gradient_by_means_and_shares_of_many_photons(kernel: str, make: Any, mean: float) -> None:
    """The division of the product by its factors loses no digits, whichever part of a coefficient is the larger."""
    counts = [[70, 9, 0, 30], [20, 40, 31, 0], [1, 3, 0, 30], [0, 2, 60, 30], [4, 0, 1, 30]]
    joint = make(6, counts, regions=1, mean=mean, brightness=8.0)
    point = joint.point
    joint = Joint(joint.counts, np.arange(4), (point[0], point[1], np.repeat(point[2], 4, axis=1), point[3][[0] * 4]))
    found = gradient(joint, kernel, np.ones(4))
    with mpmath.workdps(50):
        expected = [without_one_photon(joint, pixel) for pixel in range(4)]
    np.testing.assert_allclose(found[0].T, [by_mean for by_mean, _ in expected], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(found[3], [by_share for _, by_share in expected], rtol=1e-12)
