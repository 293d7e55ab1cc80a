"""Free source-count functions: splines in log S, their prior, and the broken power laws that they hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from gammasky.engine.errors import InputError
from gammasky.engine.model import SkyModel
from gammasky.engine.model.populations import Populations
from gammasky.engine.model.priors import Smooth
from gammasky.engine.model.source_counts import broken_power_law, free_form, spline_matrix

Build = Callable[..., SkyModel]
S = np.geomspace(0.1, 50.0, 120)
NODES = [0.3, 2.0, 10.0, 30.0]
PRIOR = {"prior": "smooth", "mean": -1.0, "level_sd": 1.0, "slope_sd": 0.5, "curvature_sd": 0.3}


@pytest.fixture
def free_table(population_table: dict[str, Any]) -> dict[str, Any]:
    """The model with one population, its dN/dS free and absolute."""
    table = population_table
    for name in ("Sps", "n1", "n2", "sb"):
        del table["parameters"][name]
    table["parameters"]["y"] = dict(PRIOR)
    del table["components"][2]["norm"]
    table["components"][2]["source_counts"] = {"nodes": NODES, "values": "y"}
    return table


def test_straight_lines_are_broken_power_laws() -> None:
    """Breaks at the inner nodes, slopes beyond the outer ones those of the last pieces."""
    law = broken_power_law(jnp.asarray(S), [4.0, 1.5, -0.5], [10.0, 2.0])
    at_nodes = broken_power_law(jnp.asarray(NODES), [4.0, 1.5, -0.5], [10.0, 2.0])
    values = jnp.log10(jnp.asarray(NODES) ** 2 * at_nodes)
    found = free_form(jnp.asarray(S), jnp.asarray(spline_matrix(S, NODES, 1)), values)
    np.testing.assert_allclose(found, law, rtol=1e-12)


def test_cubic_splines_against_scipy_and_a_single_power_law() -> None:
    values, inside = np.array([0.3, 1.0, 0.2, -2.0]), np.clip(S, NODES[0], NODES[-1]) == S
    matrix = spline_matrix(S, NODES, 3)
    spline = CubicSpline(np.log(NODES), values, bc_type="natural")
    np.testing.assert_allclose((matrix @ values)[inside], spline(np.log(S[inside])), rtol=1e-12, atol=1e-12)
    above = np.log(S[-1] / NODES[-1]) * spline(np.log(NODES[-1]), 1) + values[-1]
    assert (matrix @ values)[-1] == pytest.approx(above, abs=1e-9)
    np.testing.assert_allclose(matrix @ np.log(NODES), np.log(S), atol=1e-12)
    np.testing.assert_allclose(matrix @ np.ones(4), 1.0, atol=1e-12)


def test_the_likelihood_of_a_broken_power_law_that_it_holds(build: Build, free_table: dict[str, Any]) -> None:
    """The same counts, mean counts per pixel and gradient by the smooth norms."""
    free_table["components"][2]["source_counts"]["degree"] = 1
    free = build(free_table)
    table = dict(free_table)
    table["parameters"] = {name: prior for name, prior in free_table["parameters"].items() if name != "y"}
    table["parameters"] |= {"Sps": {"prior": "uniform", "low": 0.1, "high": 4.0}}
    counts = {"slopes": [3.5, 1.2, -0.5], "breaks": [10.0, 2.0]}
    points = free_table["components"][2] | {"norm": "Sps", "source_counts": counts}
    table["components"] = [*free_table["components"][:2], points]
    broken = build(table)
    point = {"S_flat": 2.0, "S_peak": 3.0}
    at = broken.point(point | {"Sps": 1.5})
    law = broken.sky(at).dnds["peak_ps"]
    shape = lambda s: broken_power_law(jnp.asarray(s), *counts.values())  # noqa: E731
    amplitude = law[0] / shape(broken.expectation.populations.s_grid[:1])
    theta = free.point(point | {"y": jnp.log10(jnp.array(NODES) ** 2 * amplitude * shape(NODES)).tolist()})
    np.testing.assert_allclose(free.sky(theta).dnds["peak_ps"], law, rtol=1e-11)
    assert float(free.sky(theta).norms["peak_ps"]) == pytest.approx(1.5, rel=1e-11)
    np.testing.assert_allclose(free.pixel_log_likelihood(theta), broken.pixel_log_likelihood(at), rtol=1e-10)


def test_each_entry_of_the_gradient(build: Build, free_table: dict[str, Any]) -> None:
    model = build(free_table)
    theta = model.point({"S_flat": 2.0, "S_peak": 3.0, "y": [-1.0, -0.5, -0.8, -2.0]})
    total = jax.jit(lambda theta: model.log_likelihood(theta))
    slope = jax.jit(jax.grad(total))(theta)["y"]
    for j in range(4):
        step = 1e-3 * np.eye(4)[j]
        values = [float(total(theta | {"y": theta["y"] + k * step})) for k in (-2, -1, 1, 2)]
        expected = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / 12e-3
        assert float(slope[j]) == pytest.approx(expected, rel=1e-7, abs=1e-8)


def test_with_a_norm_only_the_shape_counts(build: Build, free_table: dict[str, Any]) -> None:
    free_table["components"][2]["norm"] = "Sps"
    free_table["parameters"]["Sps"] = {"prior": "uniform", "low": 0.1, "high": 4.0}
    model = build(free_table)
    point = {"S_flat": 2.0, "S_peak": 3.0, "Sps": 1.5}
    low, high = (model.point(point | {"y": [v + shift for v in (0.0, 0.5, 0.2, -2.0)]}) for shift in (-3.0, 4.0))
    np.testing.assert_allclose(model.sky(low).dnds["peak_ps"], model.sky(high).dnds["peak_ps"], rtol=1e-12)
    assert float(model.sky(low).norms["peak_ps"]) == 1.5


def test_source_counts_without_data(build: Build, free_table: dict[str, Any]) -> None:
    model = build(free_table)
    y = np.array([[-1.0, -0.5, -0.8, -2.0], [0.0, 0.1, 0.2, 0.3]])
    found = Populations(model.spec).dnds({"y": y, "another": y})[:, 0]
    point = model.point({"S_flat": 2.0, "S_peak": 3.0, "y": y[0].tolist()})
    expected = [model.sky({**point, "y": jnp.asarray(row)}).dnds["peak_ps"] for row in y]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_the_smooth_prior(build: Build, free_table: dict[str, Any]) -> None:
    """Level and slope at the middle, second differences: their means and spreads, from the latent draws."""
    model = build(free_table)
    slot = model.latent.slots["y"]
    assert slot.labels == ("0.3", "2", "10", "30")
    draws = jax.random.normal(jax.random.key(0), (20_000, model.n_latent))
    y = np.asarray(jax.jit(jax.vmap(lambda z: model.parameters(z)["y"]))(draws))
    middle, slope, bends = y[:, 1:3].mean(axis=1), y[:, 2] - y[:, 1], np.diff(y, 2, axis=1)
    for values, mean, sd in ((middle, -1.0, 1.0), (slope, 0.0, 0.5), (bends[:, 0], 0.0, 0.3), (bends[:, 1], 0.0, 0.3)):
        assert abs(values.mean() - mean) < 4 * sd / np.sqrt(20_000)
        assert values.std() == pytest.approx(sd, rel=0.03)
    assert abs(np.corrcoef(np.column_stack([middle, slope, bends]).T) - np.eye(4)).max() < 0.03
    prior = Smooth(**PRIOR)
    for j in range(4):
        assert y[:, j].std() == pytest.approx(prior.marginal(j, 4).sd, rel=0.03)
    assert prior.cumulative(np.array([-1.0]), 0, 4)[0] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nodes": [1.0, 3.0]}, "nodes.*at least 3"),
        ({"nodes": [1.0, 3.0, 2.0]}, "nodes must rise"),
        ({"values": [1.0, 2.0]}, "4 nodes need as many values, got 2"),
        ({"degree": 2}, "degree"),
        ({"slopes": [1.0]}, "unknown field .*slopes"),
    ],
)
def test_tables_that_are_refused(build: Build, free_table: dict[str, Any], change: Any, message: str) -> None:
    free_table["components"][2]["source_counts"] |= change
    with pytest.raises(InputError, match=message):
        build(free_table)


def test_an_amplitude_and_a_misplaced_smooth_prior_are_refused(build: Build, free_table: dict[str, Any]) -> None:
    free_table["parameters"]["S_flat"] = dict(PRIOR)
    with pytest.raises(InputError, match="'S_flat' has a smooth prior, which is for the values of a free dN/dS"):
        build(free_table)
    free_table["components"][2]["amplitude"] = 1.0
    with pytest.raises(InputError, match="the values of a free dN/dS are its amplitude; leave it out"):
        build(free_table)
