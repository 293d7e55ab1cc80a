"""The joint likelihood where numbers leave the range of float64, vanish or are none; its transformations and input."""

from __future__ import annotations

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.nptf_energy.op import joint_log_likelihood
from gammasky.engine.kernels.nptf_energy.plan import JointPlan
from tests.engine.kernels.test_joint_values import Joint, exact, gradient, kernel, make, value

__all__ = ["kernel", "make"]  # fixtures


@cache
def exact_values(*flat: tuple[tuple[int, ...], str, bytes]) -> list[float]:
    """With 50 digits, once for all backends: of the arrays of a problem, each as its shape, type and bytes."""
    counts, region, *point = (np.frombuffer(content, kind).reshape(shape) for shape, kind, content in flat)
    with mpmath.workdps(50):
        return [float(exact(Joint(counts, region, tuple(point)), pixel)) for pixel in range(counts.shape[1])]


def check(joint: Joint, backend: str) -> None:
    """The value, and the gradient by homogeneity: mu_e and phi_e together, and x and T together."""
    arrays = (joint.counts, joint.region, *joint.point)
    expected = exact_values(*((array.shape, array.dtype.str, array.tobytes()) for array in arrays))
    np.testing.assert_allclose(value(joint, backend), expected, rtol=1e-12)
    weights = np.arange(1.0, len(expected) + 1)
    d_mean, d_templates, d_x, d_spectrum = gradient(joint, backend, weights)
    mean, templates, x, spectrum = joint.point
    # P exp(M) is homogeneous of degree k_e in (mu_e, phi_e)
    for e, row in enumerate(joint.counts):
        left = (mean[e] * (d_mean[e] + weights)).sum() + (spectrum[:, e] * d_spectrum[:, e]).sum()
        assert left == pytest.approx((row * weights).sum(), rel=1e-10)
    assert (templates * d_templates).sum() == pytest.approx((x * d_x).sum(), rel=1e-10)
    np.testing.assert_allclose(d_x[:, :, 0].sum(axis=1), templates @ weights, rtol=1e-12)


@pytest.mark.parametrize("mean", [1e-12, 300.0])
def test_many_photons(make: Any, backend: str, mean: float) -> None:
    """With faint smooth emission 700 + 260 + 30 photons are sources', else some of them."""
    photons = 70 if backend == "reference" else 700  # the reference is slow
    check(make(6, [[photons, 3], [260 * photons // 700, 0], [30, 1]], mean=mean, brightness=20.0), backend)


def test_products_below_the_range(kernel: str, make: Any) -> None:
    """Sources so rare that T x_m is no float64, beside smooth emission that is none or as faint."""
    joint = make(17, np.random.default_rng(17).integers(1, 9, (3, 20)))
    mean, templates, x, spectrum = joint.point
    mean = 1e-280 * mean * (np.arange(20) % 2)
    check(Joint(joint.counts, joint.region, (mean, 1e-160 * templates, 1e-160 * x, spectrum)), kernel)


def test_no_photon_and_single_ones(kernel: str, make: Any) -> None:
    check(make(7, [[0, 1, 0, 0], [0, 0, 1, 2]]), kernel)


@pytest.mark.parametrize(
    "share",
    [
        [0.0, 0.4, 0.6],
        [1.0, 0.0, 0.0],
        [1e-300, 0.5, 0.5],
        [0.0, 0.0, 1.0],
        [1e-150, 2e-150, 5e-151],
        [1e-40, 3e-40, 1.0],
    ],
)
def test_bins_that_the_sources_do_not_reach(kernel: str, make: Any, share: list[float]) -> None:
    joint = make(8, np.random.default_rng(8).integers(0, 9, (3, 20)))
    mean, templates, x, _ = joint.point
    check(Joint(joint.counts, joint.region, (mean, templates, x, np.array([share, share]))), kernel)


@pytest.mark.parametrize("small", [0.0, 1e-300, 1e-150, 1e-40, 1e-20])
def test_bins_without_smooth_emission(kernel: str, make: Any, small: float) -> None:
    joint = make(9, np.random.default_rng(9).integers(0, 9, (3, 20)))
    mean, templates, x, spectrum = joint.point
    mean[1] = small
    mean[:, :5] = small
    check(Joint(joint.counts, joint.region, (mean, templates, x, spectrum)), kernel)
    at_zero = gradient(Joint(joint.counts, joint.region, (mean, templates, x, spectrum)), kernel, np.ones(20))
    mean = mean + 1e-9 * (mean == small)
    beside = gradient(Joint(joint.counts, joint.region, (mean, templates, x, spectrum)), kernel, np.ones(20))
    np.testing.assert_allclose(at_zero[0], beside[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(at_zero[3], beside[3], rtol=1e-5)


def test_without_sources_bins_are_poisson(kernel: str, make: Any) -> None:
    joint = make(10, np.random.default_rng(10).integers(0, 9, (3, 20)), populations=0)
    mean = joint.point[0]
    factorial = np.array([[float(mpmath.log(mpmath.factorial(k))) for k in row] for row in joint.counts.tolist()])
    expected = (joint.counts * np.log(mean) - mean - factorial).sum(axis=0)
    np.testing.assert_allclose(value(joint, kernel), expected, rtol=1e-12)


def test_what_cannot_be_is_impossible(kernel: str, make: Any) -> None:
    """Photons in a bin that neither smooth emission nor sources reach."""
    joint = make(11, [[1, 0, 2], [3, 0, 0]])
    mean, _, x, spectrum = joint.point
    mean[0], spectrum[:] = 0.0, [0.0, 1.0]
    found = value(joint, kernel)
    assert (found[[0, 2]] == -np.inf).all()
    assert np.isfinite(found[1])
    np.testing.assert_array_equal(x, joint.point[2])


@pytest.mark.parametrize("bad", [np.nan, -0.5])
def test_a_bad_number_spoils_its_own_pixels(kernel: str, make: Any, bad: float) -> None:
    joint = make(12, np.random.default_rng(12).integers(0, 9, (3, 37)), regions=1)
    good = value(joint, kernel)
    others = np.arange(37) != 20
    joint.point[0][1, 20] = bad
    found = value(joint, kernel)
    assert np.isnan(found[20])
    np.testing.assert_allclose(found[others], good[others], rtol=1e-13)
    joint.point[0][1, 20] = 1.0
    joint.point[3][0, 2] = bad
    assert np.isnan(value(joint, kernel)).all()


def test_mapped_axes_jit_and_threads(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    joint = make(13, np.random.default_rng(13).integers(0, 15, (3, 90)))
    plan, rng = joint.plan, np.random.default_rng(14)
    batch = [np.stack([part * factor for factor in rng.uniform(0.5, 1.5, 5)]) for part in joint.point]

    def total(*point: Any) -> Any:
        return joint_log_likelihood(plan, *point, backend="numba").sum()

    both = jax.value_and_grad(total, argnums=(0, 1, 2, 3))
    together = jax.jit(jax.vmap(both))(*batch)
    for number in range(5):
        alone = both(*(jnp.asarray(part[number]) for part in batch))
        np.testing.assert_allclose(together[0][number], alone[0], rtol=1e-14)
        for a, b in zip(together[1], alone[1], strict=True):
            np.testing.assert_allclose(a[number], b, rtol=1e-12, atol=1e-14)
    some = jax.vmap(both, in_axes=(None, None, 0, None))(batch[0][0], batch[1][0], batch[2], batch[3][0])
    one = both(batch[0][0], batch[1][0], jnp.asarray(batch[2][3]), batch[3][0])
    np.testing.assert_allclose(some[0][3], one[0], rtol=1e-14)
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "1")
    single = jax.jit(jax.vmap(both))(*batch)
    for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(single), strict=True):
        np.testing.assert_array_equal(a, b)


def test_forward_mode_and_second_order_are_refused_by_name(make: Any) -> None:
    joint = make(15, [[1, 2], [0, 3]])
    plan, point = joint.plan, tuple(map(jnp.asarray, joint.point))
    with pytest.raises(TypeError, match="joint_log_likelihood: forward mode"):
        jax.jvp(lambda mean: joint_log_likelihood(plan, mean, *point[1:], backend="numba"), point[:1], point[:1])

    def slope(mean: Any) -> Any:
        return jax.grad(lambda m: joint_log_likelihood(plan, m, *point[1:], backend="numba").sum())(mean).sum()

    with pytest.raises(TypeError, match="joint_log_likelihood: second derivatives"):
        jax.grad(slope)(point[0])


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ([1, 2], r"counts must have shape \(E, P\) with at least one bin, got \(2,\)"),
        (np.zeros((0, 3)), r"got \(0, 3\)"),
        ([[1.0, 2.5], [0, 1]], "counts of bin 0, pixel 1: expected a whole number of at least 0, got 2.5"),
        ([[1, 2], [0, -1]], "counts of bin 1, pixel 1: expected a whole number of at least 0, got -1"),
        ([[1.0, np.nan]], "counts of bin 0, pixel 1: expected a whole number"),
    ],
)
def test_bad_counts(counts: Any, told: str) -> None:
    with pytest.raises(InputError, match=told):
        JointPlan.build(counts, np.zeros(np.shape(counts)[-1], dtype=int), 1)


@pytest.mark.parametrize(("which", "name"), [(0, "mean"), (1, "templates"), (2, "x"), (3, "spectrum")])
def test_shapes_that_do_not_fit(make: Any, which: int, name: str) -> None:
    joint = make(16, [[1, 2, 3], [0, 3, 1]])
    point = list(joint.point)
    point[which] = point[which][..., :-3] if name == "x" else point[which][..., :-1]
    with pytest.raises(InputError, match=f"joint_log_likelihood: '{name}' must end in the axes"):
        joint_log_likelihood(joint.plan, *point)
    point[which] = joint.point[which].astype(np.float32)
    with pytest.raises(TypeError, match=f"'{name}' must be float64"):
        joint_log_likelihood(joint.plan, *point)
