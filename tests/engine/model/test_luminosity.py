"""Luminosity functions: normalised, with the mean and the shares above that quadrature gives."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from pydantic import TypeAdapter
from scipy import integrate

from gammasky.engine.errors import InputError
from gammasky.engine.model.luminosity import AnyLuminosity, BrokenLuminosity, LogNormalLuminosity, Luminosity

NORMAL = {"median": 3e34, "sigma_dex": 0.5}
BROKEN = {"slopes": [2.9, 1.0, 0.4], "breaks": [2e35, 3e34], "min": 1e33, "max": 1e36}
LIMITS = {"median": (1e26, 1e42), "slopes": (1e33, 1e36)}


def read(table: dict[str, Any]) -> Luminosity:
    found: Luminosity = TypeAdapter(AnyLuminosity).validate_python(table)
    return found


def quadrature(table: dict[str, Any], power: float, lowest: float = 0.0) -> float:
    """int_lowest L^power dN/dL dL, with the laws written down anew."""
    low, high = LIMITS["median" if "median" in table else "slopes"]

    def density(log_l: float) -> float:
        if "median" in table:
            width = table["sigma_dex"] * np.log(10)
            return float(np.exp(-0.5 * ((log_l - np.log(table["median"])) / width) ** 2))
        first, second = (np.log(b) for b in table["breaks"])
        n1, n2, n3 = table["slopes"]
        at_second = n2 * (first - second)
        if log_l > first:
            value = -n1 * (log_l - first)
        else:
            value = n2 * (first - log_l) if log_l > second else at_second + n3 * (second - log_l)
        return float(np.exp(value + log_l))

    points = [np.log(b) for b in table.get("breaks", [table.get("median")])]

    def integral(power: float, lowest: float) -> float:
        start = np.log(max(low, lowest))
        ends = sorted({start, np.log(high), *(p for p in points if p > start)})
        scale = points[0]  # of L, so that no power overflows
        parts = [
            integrate.quad(lambda x: density(x) * np.exp(power * (x - scale)), a, b, epsabs=0, epsrel=1e-12, limit=400)
            for a, b in pairwise(ends)
        ]
        return float(sum(part[0] for part in parts) * np.exp(power * scale))

    return integral(power, lowest) / integral(0.0, low)


@pytest.mark.parametrize("table", [NORMAL, BROKEN, BROKEN | {"slopes": [3.0, 2.0, 1.0]}])
def test_moments_are_those_of_quadrature(table: dict[str, Any]) -> None:
    """A slope of 1 or 2 is nothing special."""
    function = read(table)
    assert float(function.mean({})) == pytest.approx(quadrature(table, 1.0), rel=1e-10)
    for luminosity in (2e33, 3e34, 5e34, 4e35):
        found = float(function.above({}, jnp.asarray(luminosity)))
        assert found == pytest.approx(quadrature(table, 0.0, luminosity), rel=1e-9)


@pytest.mark.parametrize("table", [NORMAL, BROKEN])
def test_the_density_is_normalised(table: dict[str, Any]) -> None:
    grid = np.geomspace(1e30, 1e39, 40_001)
    density = np.exp(np.asarray(read(table).log_density({}, jnp.asarray(grid))))
    assert np.trapezoid(density * grid, np.log(grid)) == pytest.approx(1.0, rel=1e-6)
    assert np.trapezoid(density * grid**2, np.log(grid)) == pytest.approx(float(read(table).mean({})), rel=1e-6)


def test_shares_above_reach_from_all_to_none() -> None:
    broken = read(BROKEN)
    found = np.asarray(broken.above({}, jnp.asarray([1e20, 1e33, 1e36, 1e40])))
    np.testing.assert_allclose(found, [1.0, 1.0, 0.0, 0.0], atol=1e-14)


def test_gradients_are_finite_where_a_slope_is_one() -> None:
    function = read(BROKEN | {"slopes": ["a", "b", "c"], "breaks": ["x", "y"]})
    theta = {"a": 2.0, "b": 1.0, "c": 1.0, "x": 2e35, "y": 3e34}
    point = {name: jnp.asarray(value) for name, value in theta.items()}

    def numbers(theta: Any) -> jax.Array:
        density = function.log_density(theta, jnp.geomspace(1e34, 1e35, 5))
        return (
            jnp.log(function.mean(theta)) + jnp.sum(function.above(theta, jnp.asarray([2e33, 1.5e35]))) + density.sum()
        )

    slopes = jax.grad(numbers)(point)
    for name, value in theta.items():
        step = 1e-6 * abs(value)
        up, down = (float(numbers(point | {name: jnp.asarray(value + s)})) for s in (step, -step))
        assert float(slopes[name]) * value == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-6)


def test_the_kind_follows_from_the_keys() -> None:
    assert isinstance(read(NORMAL), LogNormalLuminosity)
    assert isinstance(read(BROKEN), BrokenLuminosity)
    assert isinstance(read({"slopes": [2.0, 1.0], "breaks": [1e34], "min": 1e33, "max": 1e35}), BrokenLuminosity)


def test_a_point_with_breaks_out_of_order_is_refused() -> None:
    function = read(BROKEN | {"breaks": ["x", "y"]})
    with pytest.raises(InputError, match="breaks of the luminosity out of order: expected falling ones between max"):
        function.require_point("component 'a'", {"x": jnp.asarray(3e34), "y": jnp.asarray(2e35)})
