"""The Poisson pixel likelihood: 50 digits, gradients, edges, transformations, refused input. Both backends."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.poisson.op import poisson_log_likelihood

COUNTS = np.array([0, 1, 2, 17, 103, 5000])
MEAN = np.array([0.3, 1e-12, 4.0, 12.5, 1e4, 3e3])


def exact(count: int, mean: float) -> float:
    with mpmath.workdps(50):
        rate = mpmath.mpf(mean)
        return float(count * mpmath.log(rate) - rate - mpmath.log(mpmath.factorial(count)))


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(pixels=st.lists(st.tuples(st.integers(0, 6000), st.floats(-12.0, 4.0)), min_size=1, max_size=6))
def test_against_50_digits(pixels: list[tuple[int, float]]) -> None:
    counts, mean = np.array([k for k, _ in pixels]), 10.0 ** np.array([m for _, m in pixels])
    expected = [exact(int(k), float(m)) for k, m in zip(counts, mean, strict=True)]
    for backend in ("numba", "reference"):
        np.testing.assert_allclose(poisson_log_likelihood(counts, mean, backend=backend), expected, rtol=1e-10)


def test_probabilities_sum_to_one(backend: str) -> None:
    log_p = poisson_log_likelihood(np.arange(200), np.full(200, 40.0), backend=backend)
    assert float(jnp.exp(log_p).sum()) == pytest.approx(1.0, abs=1e-13)


def test_gradient(backend: str) -> None:
    """Weighted pixels; d log p / d mean = k / mean - 1, in 50 digits rounded once."""
    weights = np.array([1.0, -2.0, 0.5, 0.0, 3.0, 1e-3])
    total = jax.grad(lambda mean: (weights * poisson_log_likelihood(COUNTS, mean, backend=backend)).sum())
    expected = [w * float(mpmath.mpf(int(k)) / m - 1) for w, k, m in zip(weights, COUNTS, MEAN, strict=True)]
    np.testing.assert_allclose(total(jnp.asarray(MEAN)), expected, rtol=1e-13)
    step = 1e-6 * MEAN
    up, down = (poisson_log_likelihood(COUNTS, MEAN + s, backend=backend) for s in (step, -step))
    np.testing.assert_allclose(expected, weights * (up - down) / (2 * step), rtol=1e-5, atol=1e-5)


def test_edges(backend: str) -> None:
    """No counts from no mean; an impossible count; a negative mean; NaN in its pixel alone."""
    counts, mean = np.array([0, 3, 0, 3, 0, 3, 2]), np.array([0.0, 0.0, -0.1, -0.1, np.nan, np.nan, 2.0])
    found = np.asarray(poisson_log_likelihood(counts, mean, backend=backend))
    assert found[:2].tolist() == [0.0, -np.inf]
    assert np.isnan(found).tolist() == [False, False, True, True, True, True, False]
    assert found[6] == pytest.approx(exact(2, 2.0))
    slope = jax.grad(lambda mean: poisson_log_likelihood(counts, mean, backend=backend).sum())(jnp.asarray(mean))
    assert float(slope[6]) == 0.0
    assert float(slope[0]) == -1.0


def test_no_pixel_and_no_point(backend: str) -> None:
    assert poisson_log_likelihood(np.zeros(0, int), jnp.zeros((3, 0)), backend=backend).shape == (3, 0)
    assert poisson_log_likelihood(COUNTS, jnp.zeros((0, 6)), backend=backend).shape == (0, 6)


def test_vmap_scan_and_jit_equal_a_loop(backend: str) -> None:
    points = jnp.asarray(MEAN * np.linspace(0.5, 2.0, 4)[:, None])
    function = jax.value_and_grad(lambda mean: poisson_log_likelihood(COUNTS, mean, backend=backend).sum())
    one_by_one = [function(mean) for mean in points]
    expected = [np.stack([np.asarray(result[part]) for result in one_by_one]) for part in range(2)]
    for found in (
        jax.vmap(function)(points),
        jax.jit(jax.vmap(function))(points),
        jax.jit(jax.vmap(function, in_axes=1))(points.T),
        jax.jit(lambda points: jax.lax.scan(lambda c, mean: (c, function(mean)), 0, points)[1])(points),
    ):
        for part, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(part, other, rtol=1e-14)


def test_threads_and_concurrent_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(30)
    counts, points = rng.poisson(8.0, 2000), jnp.asarray(rng.uniform(1.0, 20.0, (5, 2000)))
    function = jax.jit(jax.vmap(jax.grad(lambda mean: poisson_log_likelihood(counts, mean).sum())))
    expected = np.array(function(points))
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("GAMMASKY_NUM_THREADS", threads)
        np.testing.assert_array_equal(np.asarray(function(points)), expected)
    with ThreadPoolExecutor(8) as pool:
        for found in pool.map(lambda _: [np.array(function(points)) for _ in range(20)], range(8)):
            for one in found:
                np.testing.assert_array_equal(one, expected)


def test_forward_mode_and_second_order_say_so() -> None:
    def total(mean: jax.Array) -> jax.Array:
        return poisson_log_likelihood(COUNTS, mean).sum()

    mean = jnp.asarray(MEAN)
    with pytest.raises(TypeError, match=r"poisson_log_likelihood: forward mode .* is not available"):
        jax.jvp(total, (mean,), (mean,))
    for refused in (jax.jacrev(jax.grad(total)), jax.hessian(total), jax.jit(jax.hessian(total))):
        with pytest.raises(TypeError, match=r"poisson_log_likelihood: second derivatives .* central differences"):
            refused(mean)


@pytest.mark.parametrize(
    ("counts", "mean", "message"),
    [
        ([0, -2], np.ones(2), "counts of pixel 1: expected at least 0, got -2"),
        ([0.5, 1], np.ones(2), "counts of pixel 0: expected a whole number, got 0.5"),
        ([0, np.nan], np.ones(2), "counts of pixel 1: expected a whole number, got nan"),
        ([0, np.inf], np.ones(2), "counts of pixel 1: expected a whole number, got inf"),
        ([0, 1], np.ones(3), r"'mean' must end in the axes \(2,\), got shape \(3,\)"),
        ([0, 1], np.ones((2, 1)), r"'mean' must end in the axes \(2,\), got shape \(2, 1\)"),
        ([0, 1], np.float64(1.0), r"'mean' must end in the axes \(2,\), got shape \(\)"),
    ],
)
def test_refused(counts: Any, mean: Any, message: str, backend: str) -> None:
    with pytest.raises(InputError, match=message):
        poisson_log_likelihood(counts, mean, backend=backend)


def test_unknown_backend_and_precision(backend: str) -> None:
    with pytest.raises(InputError, match=r"unknown backend 'numbaa'; did you mean 'numba'\?"):
        poisson_log_likelihood(COUNTS, MEAN, backend="numbaa")
    with pytest.raises(TypeError, match="poisson_log_likelihood: 'mean' must be float64, got float32"):
        poisson_log_likelihood(COUNTS, MEAN.astype(np.float32), backend=backend)
