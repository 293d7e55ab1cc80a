"""Small drawings of prior against posterior: the densities are those of the priors, and the drawing is SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest
from scipy import stats

from gammasky.engine.infer.figures.prior import drawing, panel, panel_of_draws
from gammasky.engine.infer.report.html import rendered
from gammasky.engine.model.priors import Dirichlet, HalfNormal, LogUniform, Normal, Uniform

PAGES = "gammasky.engine.infer.report"  # whose templates are filled in
PRIORS = [
    (Uniform(prior="uniform", low=-1.0, high=3.0), stats.uniform(-1.0, 4.0)),
    (LogUniform(prior="loguniform", low=1e-4, high=10.0), stats.loguniform(1e-4, 10.0)),
    (Normal(prior="normal", mean=2.0, sd=0.5), stats.norm(2.0, 0.5)),
    (HalfNormal(prior="halfnormal", sd=2.0, low=1.0), stats.halfnorm(1.0, 2.0)),
]


@pytest.mark.parametrize(("prior", "reference"), PRIORS, ids=lambda value: type(value).__name__)
def test_prior_against_its_own_draws(prior: Any, reference: Any) -> None:
    draws = reference.rvs(size=20_000, random_state=4)
    x = np.sort(draws)[::50]
    np.testing.assert_allclose(prior.cumulative(x), reference.cdf(x), atol=1e-12)
    shown = panel("x", prior, draws)
    assert shown.log10 is isinstance(prior, LogUniform)
    assert np.sum(shown.histogram * np.diff(shown.edges)) == pytest.approx(1.0)
    assert np.sum(shown.prior * np.diff(shown.prior_edges)) == pytest.approx(1.0, abs=0.01)
    middle = 0.5 * (shown.edges[1:] + shown.edges[:-1])
    expected = np.interp(middle, 0.5 * (shown.prior_edges[1:] + shown.prior_edges[:-1]), shown.prior)
    inner = shown.histogram > 0.2 * shown.histogram.max()
    np.testing.assert_allclose(shown.histogram[inner], expected[inner], rtol=0.2)


def test_dirichlet_elements() -> None:
    prior = Dirichlet(prior="dirichlet", concentration=[0.5, 2.0, 1.0])
    draws = np.random.default_rng(5).dirichlet([0.5, 2.0, 1.0], size=40_000)
    for element in range(3):
        x = np.linspace(0.05, 0.95, 10)
        share = (draws[:, element, None] < x).mean(axis=0)
        np.testing.assert_allclose(prior.cumulative(x, element, 3), share, atol=0.01)


@pytest.mark.parametrize("truth", [None, 0.01, 1e9])
def test_panel_is_svg(truth: float | None) -> None:
    draws = np.random.default_rng(6).lognormal(-3, 0.2, 500)
    drawn = panel("a<b>", LogUniform(prior="loguniform", low=1e-6, high=1.0), draws, truth)
    root = ElementTree.fromstring(rendered("panel.svg", PAGES, it=drawing(drawn)))
    classes = [part.get("class") for part in root if part.get("class")]
    assert ("truth" in classes) is (truth == 0.01)
    assert {"posterior", "prior", "axis"} <= set(classes)
    assert root.get("aria-label", "").startswith("a<b>")


def test_a_prior_that_is_known_by_draws() -> None:
    rng = np.random.default_rng(7)
    share = panel_of_draws("f", "", rng.uniform(size=4000), rng.beta(20, 5, 4000), 0.7, (0.0, 1.0))
    assert (share.log10, share.limits, share.truth) == (False, (0.0, 1.0), 0.7)
    np.testing.assert_allclose(share.prior, 1.0, rtol=0.3)
    assert np.sum(share.histogram * np.diff(share.edges)) == pytest.approx(1.0)
    prior = np.concatenate([10 ** rng.uniform(-3.0, 2.0, 4000), np.full(1000, np.inf)])
    number = panel_of_draws("N", "sources", prior, rng.uniform(1.0, 2.0, 500), 10.0)
    assert number.log10
    assert number.truth == pytest.approx(1.0)
    assert -3.0 < number.limits[0] < -2.9 < 1.9 < number.limits[1] < 2.0
    np.testing.assert_allclose(number.prior, 0.2, rtol=0.4)  # density in decades
    fixed = panel_of_draws("x", "", np.full(9, 2.0), np.full(5, 2.0))
    for shown in (share, number, fixed):
        ElementTree.fromstring(rendered("panel.svg", PAGES, it=drawing(shown)))
        assert np.isfinite(shown.histogram).all()


def test_draws_that_do_not_vary() -> None:
    drawn = panel("x", Uniform(prior="uniform", low=0.0, high=1.0), np.full(10, 0.3))
    ElementTree.fromstring(rendered("panel.svg", PAGES, it=drawing(drawn)))
    assert np.isfinite(drawn.histogram).all()
