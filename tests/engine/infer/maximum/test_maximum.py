"""Maxima of the likelihood within the supports of priors, and of nested models, against closed forms."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import gammaln

from gammasky.engine.errors import InputError
from gammasky.engine.infer.maximum.climbs import theta_of
from gammasky.engine.infer.maximum.likelihood_ratio import likelihood_ratio
from gammasky.engine.infer.maximum.nested_model import nested_spec
from gammasky.engine.infer.maximum.null import Null, read_null
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.model.priors import PRIORS, Slot
from gammasky.engine.sky.dataset import Dataset

pytestmark = pytest.mark.usefixtures("compiled_fast")
SMOOTH: dict[str, Any] = {
    "name": "two",
    "region": {"latitude_min": 2.0, "radius_max": 20.0, "mask": "spot", "exposure_regions": 1},
    "parameters": {
        "S_flat": {"prior": "uniform", "low": 0.5, "high": 20.0},
        "S_peak": {"prior": "uniform", "low": 0.01, "high": 8.0},
    },
    "components": [
        {"name": "flat", "norm": "S_flat", "template": "flat"},
        {"name": "peak", "norm": "S_peak", "template": "peak"},
    ],
}


@pytest.fixture(scope="module")
def smooth(tiny_files: Path) -> SkyModel:
    """Two smooth components."""
    return SkyModel(model_from_table(SMOOTH), Dataset.open(tiny_files / "sky"))


@cache
def templates(model: SkyModel) -> np.ndarray:
    sky = model.sky({name: jnp.asarray(1.0) for name in model.latent.slots})
    return np.stack([np.asarray(sky.templates[name])[: model.pixels.n_fit] for name in ("flat", "peak")])


def loss(model: SkyModel, norms: np.ndarray) -> float:
    """Minus the Poisson log-likelihood, as in a textbook."""
    mean, counts = norms @ templates(model), np.asarray(model.pixels.counts)
    return float(np.sum(mean - counts * np.log(mean) + gammaln(counts + 1.0)))


def highest(model: SkyModel, limits: list[tuple[float, float]]) -> float:
    """The highest Poisson log-likelihood of the two norms, by another optimiser on another formula.

    It is concave in the norms, so its maxima along lines are, too: Brent's search within Brent's search misses none.
    """

    def lowest(of: Callable[[float], float], low: float, high: float) -> float:
        if low == high:
            return of(low)
        return float(minimize_scalar(of, bounds=(low, high), method="bounded", options={"xatol": 1e-9}).fun)

    flat, peak = limits
    return -lowest(lambda first: lowest(lambda second: loss(model, np.array([first, second])), *peak), *flat)


@pytest.mark.parametrize(
    ("null", "limits_null", "limits_full"),
    [
        ("S_peak = 4", [(0.5, 20.0), (4.0, 4.0)], [(0.5, 20.0), (0.01, 8.0)]),
        ("S_flat = 20", [(20.0, 20.0), (0.01, 8.0)], [(0.5, 20.0), (0.01, 8.0)]),
        ("without peak", [(0.5, 20.0), (0.0, 0.0)], [(0.5, 20.0), (0.0, 8.0)]),
    ],
)
def test_the_test_statistic_is_that_of_an_independent_optimiser(
    null: str, limits_null: list[tuple[float, float]], limits_full: list[tuple[float, float]], smooth: SkyModel
) -> None:
    read = read_null([null], smooth)
    found = likelihood_ratio(smooth, read.plane, read.full, seed=3)
    expected = 2 * (highest(smooth, limits_full) - highest(smooth, limits_null))
    assert expected > 0.5
    np.testing.assert_allclose(found.ts, expected, rtol=1e-5)
    assert found.full.n_reached > 1
    assert found.null.n_reached > 1


def test_two_parameters_of_different_supports_are_set_equal(smooth: SkyModel) -> None:
    """Along the line S_flat = S_peak the closed form of one norm holds: sum of counts over sum of templates."""
    read = read_null(["S_peak = S_flat"], smooth)
    found = likelihood_ratio(smooth, read.plane, read.full, seed=0)
    theta = theta_of(smooth, found.null.x)
    both = templates(smooth).sum(axis=0)
    expected = np.sum(smooth.pixels.counts) / both.sum()
    assert 0.5 < expected < 8.0
    np.testing.assert_allclose([theta["S_flat"], theta["S_peak"]], expected, rtol=1e-5)
    assert read.degrees == 1
    free = highest(smooth, [(0.5, 20.0), (0.01, 8.0)])
    np.testing.assert_allclose(found.ts, 2 * (free + loss(smooth, np.full(2, expected))), rtol=1e-4)


def test_a_norm_of_zero_is_within_the_model_that_it_is_compared_with(smooth: SkyModel) -> None:
    """On a sky that has less of a component than none, both maxima are the same point and the statistic is 0."""
    counts = np.round(30 - 25 * templates(smooth)[1] / templates(smooth)[1].max()).astype(int)
    model = smooth.with_counts(counts)
    read = read_null(["S_peak = 0"], model)
    found = likelihood_ratio(model, read.plane, read.full, seed=1)
    assert found.ts == 0.0
    assert theta_of(model, found.full.x)["S_peak"] == 0.0
    low, _ = read.full.at_ends(found.full.y)
    assert low[model.latent.slots["S_peak"].start]


def test_a_norm_between_zero_and_its_prior_is_within_that_model_too(tiny_files: Path) -> None:
    """The prior begins at 5, the sky has 2 or 3: the model that a null of 0 is compared with reaches down to it."""
    parameters = {**SMOOTH["parameters"], "S_peak": {"prior": "uniform", "low": 5.0, "high": 8.0}}
    model = SkyModel(model_from_table({**SMOOTH, "parameters": parameters}), Dataset.open(tiny_files / "sky"))
    read = read_null(["S_peak = 0"], model)
    found = likelihood_ratio(model, read.plane, read.full, seed=1)
    expected = 2 * (highest(model, [(0.5, 20.0), (0.0, 8.0)]) - highest(model, [(0.5, 20.0), (0.0, 0.0)]))
    np.testing.assert_allclose(found.ts, expected, rtol=1e-5)
    assert 0.0 < theta_of(model, found.full.x)["S_peak"] < 5.0


@pytest.mark.parametrize("null", ["without sources", "mix = [0.25, 0.75]", "S_flat = 2.5"])
def test_the_plane_of_a_null_is_the_model_without_its_parameters(null: str, tiny_model: SkyModel) -> None:
    read = read_null([null], tiny_model)
    nested = SkyModel(nested_spec(tiny_model.spec, read), tiny_model.dataset)
    assert nested.n_latent == read.plane.free.sum() - len(read.loose_axes)
    y = read.plane.random(3, (7,))
    for row in y:
        theta = theta_of(tiny_model, read.plane.points(row))
        inside = {name: theta[name] for name in nested.latent.slots}
        np.testing.assert_allclose(
            tiny_model.log_likelihood(theta), nested.log_likelihood(inside), rtol=1e-12, err_msg=null
        )


def test_the_gradient_in_the_box_is_that_of_finite_differences(tiny_model: SkyModel) -> None:
    x = np.array([[0.3, 0.6, 0.4], [0.9, 0.1, 0.8]])
    _, gradient = tiny_model.likelihood_in_box(x)
    for axis, step in enumerate(1e-5 * np.eye(3)):
        above, _ = tiny_model.likelihood_in_box(x + step)
        below, _ = tiny_model.likelihood_in_box(x - step)
        np.testing.assert_allclose(gradient[:, axis], (above - below) / 2e-5, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(
    ("prior", "value"),
    [
        ({"prior": "uniform", "low": -1.0, "high": 3.0}, 0.5),
        ({"prior": "loguniform", "low": 1e-3, "high": 10.0}, 0.2),
        ({"prior": "normal", "mean": 2.0, "sd": 0.5}, 2.7),
        ({"prior": "halfnormal", "sd": 2.0, "low": 1.0}, 1.5),
        ({"prior": "dirichlet"}, [0.5, 0.2, 0.3]),
        ({"prior": "smooth", "mean": 1.0, "level_sd": 2.0, "slope_sd": 0.5, "curvature_sd": 0.3}, [1.0, 2.0, 0.5, 0.1]),
    ],
)
def test_a_value_goes_into_the_box_and_back(prior: dict[str, Any], value: Any) -> None:
    described = PRIORS.described(prior)
    labels = tuple(map(str, range(len(value)))) if isinstance(value, list) else ()
    slot = Slot("it", described, labels, 0)
    x = described.to_box(np.asarray(value))
    assert x.shape == (slot.n_latent,)
    low, high = described.box(len(labels))
    assert (x > low).all()
    assert (x < high).all()
    tables = type(described).tables([slot])
    np.testing.assert_allclose(type(described).in_box(tables, jnp.asarray(x), [slot])["it"], value, rtol=1e-12)


@pytest.mark.parametrize("right", ['"S_flot"', "true"])
def test_what_is_neither_a_number_nor_a_parameter_is_refused(right: str, smooth: SkyModel) -> None:
    with pytest.raises(InputError, match=f"null 'S_peak = {right}': unknown parameter '{right}'"):
        read_null([f"S_peak = {right}"], smooth)


@pytest.fixture(scope="module")
def of_sources(tiny_model: SkyModel) -> Null:
    return read_null(["Sps = 0"], tiny_model)


def test_what_means_nothing_without_its_component_is_known(tiny_files: Path) -> None:
    gamma = {"prior": "uniform", "low": 0.2, "high": 2.0}
    flat, peak = SMOOTH["components"]
    profile = {**peak, "template": {"nfw": {"gamma": "gamma"}}}
    table = {**SMOOTH, "parameters": {**SMOOTH["parameters"], "gamma": gamma}, "components": [flat, profile]}
    model = SkyModel(model_from_table(table), Dataset.open(tiny_files / "sky"))
    read = read_null(["without peak"], model)
    assert read.loose == ("gamma",)
    assert read.texts == ("S_peak = 0",)
    assert list(nested_spec(model.spec, read).parameters) == ["S_flat"]


@pytest.mark.parametrize(
    ("fractions", "null", "loose"),
    [
        ("f", "f = 1", ("gamma",)),
        ("f", "f = 0", ("inner",)),
        ("f", "f = 0.5", ()),
        ("1 - f", "f = 0", ("gamma",)),
        ("1 - f", "f = 1", ("inner",)),
    ],
)
def test_what_means_nothing_where_its_share_is_zero_is_known(
    fractions: str, null: str, loose: tuple[str, ...], tiny_files: Path
) -> None:
    """Parameters of a part of a mixture, and of a mixture in it; the null without them is a model of its own."""
    inner = {"mix": ["flat", "peak"], "fractions": "inner"}
    mixture = {"mix": [inner, {"nfw": {"gamma": "gamma"}}], "fractions": fractions}
    parameters = {"f": {"prior": "uniform", "low": 0.0, "high": 1.0}, "inner": {"prior": "dirichlet"}}
    parameters["gamma"] = {"prior": "uniform", "low": 0.2, "high": 2.0}
    flat, peak = SMOOTH["components"]
    table = {**SMOOTH, "parameters": {**SMOOTH["parameters"], **parameters}}
    table["components"] = [flat, {**peak, "template": mixture}]
    model = SkyModel(model_from_table(table), Dataset.open(tiny_files / "sky"))
    read = read_null([null], model)
    assert read.loose == loose
    theta = theta_of(model, read.plane.points(read.plane.random(1, (3,))[0]))
    nested = SkyModel(nested_spec(model.spec, read), model.dataset)
    inside = {name: theta[name] for name in nested.latent.slots}
    np.testing.assert_allclose(model.log_likelihood(theta), nested.log_likelihood(inside), rtol=1e-12)


def test_what_is_used_elsewhere_or_has_a_share_of_a_list_keeps_its_meaning(tiny_files: Path) -> None:
    """Of three parts one has no share; its parameter stands in another component, too, in one of two models."""
    template = {"mix": ["flat", "peak", {"nfw": {"gamma": "gamma"}}], "fractions": "shares"}
    gamma = {"prior": "uniform", "low": 0.2, "high": 2.0}
    flat, peak = SMOOTH["components"]
    parameters = {**SMOOTH["parameters"], "gamma": gamma, "shares": {"prior": "dirichlet"}}
    for other, loose in (("flat", ("gamma",)), ({"nfw": {"gamma": "gamma"}}, ())):
        components = [{**flat, "template": other}, {**peak, "template": template}]
        table = {**SMOOTH, "parameters": parameters, "components": components}
        model = SkyModel(model_from_table(table), Dataset.open(tiny_files / "sky"))
        assert read_null(["shares = [0.5, 0.5, 0]"], model).loose == loose
        assert read_null(["shares = [0.5, 0.25, 0.25]"], model).loose == ()


def test_one_seed_gives_one_result(tiny_model: SkyModel, of_sources: Null) -> None:
    first, second = (likelihood_ratio(tiny_model, of_sources.plane, of_sources.full, seed=5) for _ in range(2))
    np.testing.assert_array_equal(first.full.x, second.full.x)
    assert first.ts == second.ts


def test_the_truth_is_one_of_the_starts(
    tiny_model: SkyModel, of_sources: Null, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A start that is told is used, in the smaller model and in the larger one."""
    from gammasky.engine.infer.maximum import likelihood_ratio as module

    seen: list[Any] = []
    climb_all = module.climb_all

    def noting(model: Any, starts: Any) -> Any:
        seen.extend(starts)
        return climb_all(model, starts)

    monkeypatch.setattr(module, "climb_all", noting)
    near = of_sources.plane.nearest(np.array([0.31, 0.0, 0.62]))
    likelihood_ratio(tiny_model, of_sources.plane, of_sources.full, seed=5, near=near)
    assert any(start.plane is of_sources.plane and np.array_equal(start.y, near) for start in seen)
    assert sum(start.y[0] == 0.31 for start in seen if start.plane is of_sources.full) == 1
