"""Profile likelihoods of parameters and of what follows from them, against closed forms and another optimiser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize, minimize_scalar
from scipy.special import gammaln
from scipy.stats import chi2

from gammasky.engine.errors import InputError
from gammasky.engine.infer.maximum.climbs import Maximum, theta_of
from gammasky.engine.infer.maximum.plane import Plane
from gammasky.engine.infer.maximum.profile import DEEP, Profile, _Search, held_at, profile, whole_plane
from gammasky.engine.infer.maximum.quantity import read_quantity
from gammasky.engine.infer.maximum.scan import scan
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.sky.dataset import Dataset

pytestmark = pytest.mark.usefixtures("compiled_fast")
TABLE: dict[str, Any] = {
    "name": "two",
    "region": {"latitude_min": 2.0, "radius_max": 20.0, "mask": "spot", "exposure_regions": 1},
    "parameters": {
        "S_flat": {"prior": "uniform", "low": 0.5, "high": 20.0},
        "S_peak": {"prior": "uniform", "low": 0.01, "high": 8.0, "unit": "counts/pixel"},
        "shares": {"prior": "dirichlet"},
    },
    "components": [
        {"name": "flat", "norm": "S_flat", "template": {"mix": ["flat", "peak"], "fractions": "shares"}},
        {"name": "peak", "norm": "S_peak", "template": "peak"},
    ],
}


@pytest.fixture(scope="module")
def smooth(tiny_files: Path) -> SkyModel:
    """Two smooth components, one of them flat."""
    table = {**TABLE, "parameters": {**TABLE["parameters"]}}
    del table["parameters"]["shares"]
    table["components"] = [{**TABLE["components"][0], "template": "flat"}, TABLE["components"][1]]
    return SkyModel(model_from_table(table), Dataset.open(tiny_files / "sky"))


def by_hand(model: SkyModel, values: Sequence[float]) -> np.ndarray:
    """The profile of S_peak: for each value the highest Poisson log-likelihood in S_flat, from the textbook formula."""
    sky = model.sky({name: jnp.asarray(1.0) for name in model.latent.slots})
    flat, peak = (np.asarray(sky.templates[name])[: model.pixels.n_fit] for name in ("flat", "peak"))
    counts = np.asarray(model.pixels.counts)

    def loss(norm: float, value: float) -> float:
        mean = norm * flat + value * peak
        return float(np.sum(mean - counts * np.log(mean) + gammaln(counts + 1.0)))

    options = {"xatol": 1e-9}
    return np.array([
        -minimize_scalar(loss, args=(value,), bounds=(0.5, 20.0), method="bounded", options=options).fun
        for value in values
    ])  # fmt: skip


@pytest.fixture(scope="module")
def found(smooth: SkyModel) -> Profile:
    return profile(smooth, read_quantity("S_peak", smooth), seed=1, points=14)


def test_every_point_is_the_highest_for_its_value(smooth: SkyModel, found: Profile) -> None:
    np.testing.assert_allclose(found.log_likelihood, by_hand(smooth, found.values), atol=1e-5)
    assert (found.below < DEEP).sum() >= 14
    assert found.below[0] > DEEP
    assert found.below[-1] > DEEP


def test_an_interval_ends_where_the_profile_has_fallen(smooth: SkyModel, found: Profile) -> None:
    for level in (0.68, 0.95):
        ends = found.interval(level)
        assert ends[0] is not None
        assert ends[1] is not None
        fallen = 2 * (found.best.log_likelihood - by_hand(smooth, [ends[0], ends[1]]))
        np.testing.assert_allclose(fallen, chi2.ppf(level, 1), rtol=0.01)
    limit = found.upper_limit(0.95)
    assert limit is not None
    fallen = 2 * (found.best.log_likelihood - by_hand(smooth, [limit]))
    np.testing.assert_allclose(fallen, 1.6448536**2, rtol=0.01)  # one-sided: 1.64 standard deviations


def test_the_flux_of_a_component_has_the_profile_of_its_norm(smooth: SkyModel, found: Profile) -> None:
    """A number that the penalty draws to its values, and that is a parameter in truth."""
    flux = profile(smooth, read_quantity("flux[peak]", smooth), seed=2, points=10)
    assert flux.quantity.axis is None
    np.testing.assert_allclose(flux.log_likelihood, by_hand(smooth, flux.values), atol=1e-4)
    np.testing.assert_allclose(flux.interval(0.95), found.interval(0.95), rtol=0.01)


def test_a_support_without_ends_is_profiled_on_both_sides(smooth: SkyModel, found: Profile) -> None:
    """The first steps, a few per cent of the value, are short beside the width: it is that of the next ones."""
    table = smooth.spec.model_dump(mode="json", exclude_none=True)
    table["parameters"]["S_peak"] = {"prior": "normal", "mean": 3.0, "sd": 2.0}
    model = SkyModel(model_from_table(table), smooth.dataset)
    endless = profile(model, read_quantity("S_peak", model), seed=1, points=14)
    assert endless.below[[0, -1]].min() > DEEP
    np.testing.assert_allclose(endless.interval(0.95), found.interval(0.95), rtol=0.01)


def test_of_two_points_of_one_value_the_highest_is_kept(smooth: SkyModel) -> None:
    search = _Search(smooth, read_quantity("S_peak", smooth), seed=1)
    search.values, search.y = np.append(search.values, search.value), np.repeat(search.y, 2, axis=0)
    search.heights = np.array([search.best.log_likelihood - 1.0, search.best.log_likelihood])
    assert search.found().below.tolist() == [0.0]


def test_a_fraction_is_profiled_through_all_that_it_depends_on(tiny_model: SkyModel) -> None:
    """Each point against a maximum under the constraint, by sequential quadratic programming."""
    quantity = read_quantity("point_source_fraction[all]", tiny_model)
    found = profile(tiny_model, quantity, seed=0, points=8)
    plane = whole_plane(tiny_model, quantity)
    chosen = np.flatnonzero(found.below < DEEP)[[1, -2]]
    for at in chosen:
        target = found.values[at]

        def both(x: np.ndarray) -> tuple[np.ndarray, ...]:
            return quantity.evaluate(tiny_model, x[None])

        constraint = {
            "type": "eq",
            "fun": lambda x, both=both, target=target: both(x)[2][0] - target,
            "jac": lambda x, both=both: both(x)[3][0],
        }
        best = minimize(
            lambda x, both=both: -both(x)[0][0],
            np.clip(found.y[at] + 0.02, 0.01, 0.99),
            jac=lambda x, both=both: -both(x)[1][0],
            bounds=plane.limits,
            constraints=[constraint],
            method="SLSQP",
            options={"ftol": 1e-12, "maxiter": 300},
        )
        np.testing.assert_allclose(found.log_likelihood[at], -best.fun, atol=2e-3)
    assert found.values[0] >= 0.0
    assert found.values[-1] <= 1.0


def test_a_norm_is_profiled_down_to_zero(tiny_model: SkyModel) -> None:
    """The tiny sky has no sources: the likelihood is highest without them, below the prior's own lower end."""
    found = profile(tiny_model, read_quantity("Sps", tiny_model), seed=0, points=8)
    assert found.values[0] == 0.0
    assert found.value == pytest.approx(0.0, abs=1e-12)
    assert found.interval(0.95)[0] is None
    assert (np.diff(found.below) >= 0).all()


def test_a_value_is_held_exactly(smooth: SkyModel, found: Profile) -> None:
    values = [2.7, 3.3]
    heights, y = held_at(smooth, found, values)
    np.testing.assert_allclose(heights, by_hand(smooth, values), atol=1e-5)
    for value, place in zip(values, y, strict=True):
        held = found.plane.fixed({found.quantity.axis: place[found.quantity.axis]})
        np.testing.assert_allclose(theta_of(smooth, held.points(place))["S_peak"], value, rtol=1e-12)


def test_a_scan_of_another_sky_is_its_profile(smooth: SkyModel, found: Profile) -> None:
    sky = smooth.with_counts(np.random.default_rng(3).poisson(np.asarray(smooth.pixels.counts)))
    values = [2.0, 3.0, 4.5]
    quantity = found.quantity
    assert quantity.axis is not None
    assert quantity.to_box is not None
    _, near = held_at(smooth, found, values)
    result = scan(sky, found.plane, quantity.axis, [quantity.to_box(value) for value in values], 5, list(near))
    best = by_hand(sky, np.linspace(0.5, 6.0, 300)).max()
    np.testing.assert_allclose(result.ts, 2 * (best - by_hand(sky, values)), atol=2e-3)
    np.testing.assert_allclose(result.log_likelihood, best, atol=1e-3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("S_peek", "unknown number 'S_peek'; did you mean 'S_peak'?"),
        ("flux[peek]", "unknown component 'peek'; did you mean 'peak'?"),
        ("flux", "unknown component ''"),
        ("point_source_fraction[gce]", "unknown group of smooth emission and point sources 'gce'"),
        ("S_peak[0]", "'S_peak\\[0\\]': expected 'S_peak'"),
        ("S_peak]", "expected a parameter, NAME or NAME\\[ELEMENT\\]"),
    ],
)
def test_a_number_that_is_none(text: str, message: str, smooth: SkyModel) -> None:
    with pytest.raises(InputError, match=message):
        read_quantity(text, smooth)


def test_an_element_is_named(tiny_model: SkyModel) -> None:
    with pytest.raises(InputError, match=r"'mix': expected one of mix\[flat\], mix\[peak\]"):
        read_quantity("mix", tiny_model)
    quantity = read_quantity("mix[peak]", tiny_model)
    theta = {"S_flat": jnp.asarray(1.0), "Sps": jnp.asarray(1.0), "mix": jnp.asarray([0.3, 0.7])}
    assert quantity.value(theta, tiny_model.arrays) == 0.7


def test_crossings_of_a_parabola() -> None:
    """Between points the signed root is a straight line, which it is for a parabola: every crossing is exact."""
    values = np.array([-2.0, -0.5, 1.0, 1.7, 3.0, 6.0])
    below = 0.5 * ((values - 1.0) / 0.8) ** 2
    best = Maximum(0.0, np.zeros(1), np.zeros(1), 1, 1)
    plane = Plane.whole(np.array([[0.0, 1.0]]))
    parabola = Profile(SimpleNamespace(), plane, best, 1.0, values, -below, np.zeros((6, 1)))  # type: ignore[arg-type]
    np.testing.assert_allclose(parabola.interval(0.6826894921), [0.2, 1.8], rtol=1e-6)
    np.testing.assert_allclose(parabola.upper_limit(0.95), 1.0 + 0.8 * 1.6448536, rtol=1e-6)
    np.testing.assert_allclose(parabola.ts(2.2), (1.2 / 0.8) ** 2, rtol=1e-9)
    assert parabola.interval(1 - 1e-12)[0] is None


def test_an_interval_ends_outside_the_second_of_two_maxima() -> None:
    """A dip between them ends nothing: what lies beyond is not excluded."""
    values = np.arange(-2.0, 9.0)
    below = 0.5 * np.array([16.0, 9.0, 1.0, 9.0, 0.0, 4.0, 9.0, 1.0, 0.64, 9.0, 16.0])  # maxima at 0, 2 and 6
    best, plane = Maximum(0.0, np.zeros(1), np.zeros(1), 1, 1), Plane.whole(np.array([[0.0, 1.0]]))
    found = Profile(SimpleNamespace(), plane, best, 2.0, values, -below, np.zeros((11, 1)))  # type: ignore[arg-type]
    np.testing.assert_allclose(found.interval(float(chi2.cdf(4.0 - 1e-9, 1))), [-0.5, 6 + 1.2 / 2.2], rtol=1e-6)
    np.testing.assert_allclose(found.interval(float(chi2.cdf(0.25, 1))), [2 - 0.5 / 3, 2.25], rtol=1e-6)
    np.testing.assert_allclose(found.upper_limit(float(0.5 + chi2.cdf(4.0, 1) / 2)), 6 + 1.2 / 2.2, rtol=1e-6)
