"""A template, a source-count function, a prior, a likelihood term and a spectrum from outside the package, fitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm, poisson

from gammasky.engine.citation import Citation
from gammasky.engine.errors import InputError
from gammasky.engine.infer import Settings, fit
from gammasky.engine.infer.citations import citations
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.model.priors import PRIORS, ScalarPrior
from gammasky.engine.model.source_counts import SOURCE_COUNTS, SourceCounts
from gammasky.engine.model.spectra import SPECTRA, Spectrum
from gammasky.engine.model.spectra.base import Edges
from gammasky.engine.model.templates import TEMPLATES, Profile, Setting, base
from gammasky.engine.model.terms import TERMS, Term, TermKind
from gammasky.engine.model.values import Parameters, Use, Value, uses_of, value_of
from tests.engine.model.bins import EDGES, MEAN_EXPOSURE, uniform, write_bins


class Blob(Profile):
    """exp(-r / scale), r [deg] from the centre."""

    kind = "blob"
    citations = (Citation("the blob", "@misc{Blob2030,\n  title = {Blobs}\n}"),)
    blob: Value

    def shape_uses(self, where: str) -> Iterator[Use]:
        return uses_of(f"{where}, blob", self.blob)

    def intensity(self, setting: Setting) -> Callable[[Parameters], jax.Array]:
        distance = jnp.hypot(setting.pixels.lon_deg, setting.pixels.lat_deg)
        return lambda theta: jnp.exp(-distance / value_of(self.blob, theta))


class Bell(SourceCounts):
    """S dN/dS is a normal distribution of ln S about ln peak, one wide."""

    kind = "bell"
    citations = (Citation("the bell", "@misc{Bell2030,\n  title = {Bells}\n}"),)
    peak: Value

    def uses(self, where: str) -> Iterator[Use]:
        return uses_of(f"{where}, bell", self.peak)

    def shape(self, theta: Parameters, s: jax.Array, tables: Any) -> jax.Array:
        del tables
        return jnp.exp(-0.5 * jnp.log(s / value_of(self.peak, theta)) ** 2) / s


class Exponential(ScalarPrior):
    """Exponential with the given mean."""

    kind = "exponential"
    prior: Literal["exponential"]
    mean: float

    def numbers(self) -> tuple[float, float]:
        return self.mean, 0.0

    @staticmethod
    def quantile(z: jax.Array, mean: jax.Array, _: jax.Array) -> jax.Array:
        return -mean * jax.scipy.special.log_ndtr(-z)

    def support(self) -> tuple[float, float]:
        return 0.0, np.inf


FILES: dict[str, np.ndarray] = {}  #: what the files of terms hold, by name


class Known(TermKind):
    """The flux of one component is known from elsewhere, with a normal error."""

    kind = "known_flux"
    component: str
    mean: float
    sd: float
    table: str | None = None  # the name of a file with more numbers

    def uses(self) -> Iterator[Use]:
        return iter(())

    def build(self, expectation: Any) -> Term:
        return KnownFlux(self, expectation)


class KnownFlux(Term):
    def __init__(self, known: Known, expectation: Any) -> None:
        self.name, self.known, self.expectation = "known_flux", known, expectation
        self.arrays = {} if known.table is None else {"table": FILES[known.table]}

    def log_density(self, sky: Any, theta: Parameters, arrays: Any) -> jax.Array:
        del theta, arrays
        flux = self.expectation.fluxes(sky)[self.known.component]
        return -0.5 * ((flux - self.known.mean) / self.known.sd) ** 2

    def explain(self, sky: Any, theta: Parameters) -> str | None:
        del sky, theta
        return None


class Hump(Spectrum):
    """E dN/dE is a normal distribution of ln E about ln peak [GeV], one wide."""

    kind = "hump"
    hump: Value

    def uses(self, where: str) -> Iterator[Use]:
        return uses_of(f"{where}, hump", self.hump)

    def shares(self, theta: Parameters, edges_gev: Edges) -> jax.Array:
        below = jax.scipy.special.ndtr(jnp.log(edges_gev / value_of(self.hump, theta)))
        return jnp.diff(below) / (below[-1] - below[0])


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry, kind in ((TEMPLATES, Blob), (SOURCE_COUNTS, Bell), (PRIORS, Exponential), (TERMS, Known)):
        monkeypatch.setattr(registry, "kinds", dict(registry.kinds))
        registry.add(kind)


TABLE = {
    "name": "outside",
    "region": {"latitude_min": 2.0, "radius_max": 15.0, "mask": "spot", "exposure_regions": 1},
    "source_grid": {"max": 50.0, "nodes": 60},
    "parameters": {
        "S_flat": {"prior": "exponential", "mean": 4.0},
        "Sps": {"prior": "exponential", "mean": 2.0},
        "scale": {"prior": "uniform", "low": 3.0, "high": 20.0},
        "peak": {"prior": "uniform", "low": 2.0, "high": 20.0},
    },
    "components": [
        {"name": "flat", "norm": "S_flat", "template": "flat"},
        {"name": "blob", "norm": "Sps", "template": {"blob": "scale"}, "source_counts": {"peak": "peak"}},
    ],
    "terms": [{"term": "known_flux", "component": "flat", "mean": 1.25, "sd": 1e-3}],
}


@pytest.mark.usefixtures("registered", "compiled_fast")
def test_a_fit_with_kinds_from_outside(build: Callable[..., SkyModel]) -> None:
    model = build(TABLE)
    result = fit(model, Settings(method="laplace"), n_draws=200)
    assert result.derived["S_flat"].mean() == pytest.approx(1.25, abs=0.01)  # the term decides it, not the counts
    assert np.isfinite(result.log_likelihood).all()
    assert PRIORS.kinds["exponential"](prior="exponential", mean=2.0).cumulative(np.array([2.0])) == pytest.approx(
        1 - np.exp(-1), abs=1e-9
    )
    cited = [work.key for work in citations(model.spec, ())]
    assert cited.count("Blob2030") == cited.count("Bell2030") == 1
    without = build({name: part for name, part in TABLE.items() if name != "terms"})
    assert without.identity != model.identity
    theta = model.parameters(jnp.zeros(model.n_latent))
    pull = (float(model.expectation.fluxes(model.sky(theta))["flat"]) - 1.25) / 1e-3
    np.testing.assert_allclose(model.log_likelihood(theta), without.log_likelihood(theta) - 0.5 * pull**2, rtol=1e-10)


@pytest.mark.usefixtures("registered")
def test_numbers_of_terms_from_files_belong_to_the_identity(
    build: Callable[..., SkyModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model of the same description whose file has changed is another one; it resumes no fit of the first."""
    plain = build(TABLE)
    assert set(plain.identity) == {"model", "observation", "templates"}
    table = TABLE | {"terms": [{**TABLE["terms"][0], "table": "points.csv"}]}
    found = []
    for numbers in ([1.0, 2.0], [1.0, 2.0], [1.0, 2.5], [[1.0], [2.0]]):
        monkeypatch.setitem(FILES, "points.csv", np.array(numbers))
        found.append(build(table).identity)
    first, same, other, reshaped = found
    assert first == same
    assert {name for name in first if first[name] != other[name]} == {"terms"}
    assert first["terms"] != reshaped["terms"]


@pytest.mark.usefixtures("registered")
def test_what_they_say_is_checked_like_what_is_built_in(build: Callable[..., SkyModel]) -> None:
    with pytest.raises(InputError, match="unknown prior 'exponentil'; did you mean 'exponential'"):
        build(TABLE | {"parameters": {**TABLE["parameters"], "Sps": {"prior": "exponentil", "mean": 1.0}}})
    with pytest.raises(InputError, match="unknown term 'known'; did you mean 'known_flux'"):
        build(TABLE | {"terms": [{"term": "known", "component": "flat", "mean": 1.0, "sd": 1.0}]})
    with pytest.raises(ValueError, match="this word already stands for Blob"):
        TEMPLATES.add(type("Other", (Blob,), {}))


@pytest.mark.usefixtures("compiled_fast")
def test_a_fit_with_a_spectrum_from_outside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parameter comes out, and the likelihood is that of Poisson counts with its shares of the photons."""
    monkeypatch.setattr(SPECTRA, "kinds", dict(SPECTRA.kinds))
    SPECTRA.add(Hump)
    photons = np.diff(norm.cdf(np.log(np.array(EDGES) / 4.0))) * MEAN_EXPOSURE
    means = 6.0 * photons / photons.sum()
    counts = np.random.default_rng(1).poisson(means[:, None], (4, 768))
    sky = write_bins(tmp_path / "sky", counts, np.repeat(MEAN_EXPOSURE[:, None], 768, axis=1))
    component = {"name": "flat", "norm": "S", "template": "flat", "spectrum": {"hump": "peak"}}
    parameters = {"S": uniform(1.0, 20.0), "peak": uniform(1.0, 20.0)}
    region = {"latitude_min": 2.0, "radius_max": 40.0, "exposure_regions": 1}
    table = {"name": "hump", "region": region, "parameters": parameters, "components": [component]}
    model = SkyModel(model_from_table(table), sky)
    seen = np.asarray(model.pixels.counts)[: model.pixels.n_fit].reshape(4, -1)
    expected = poisson.logpmf(seen, means[:, None]).sum()
    assert float(model.log_likelihood(model.point({"S": 6.0, "peak": 4.0}))) == pytest.approx(expected, rel=1e-10)
    found = fit(model, Settings(method="laplace"), n_draws=400).derived["peak"]
    assert found.mean() == pytest.approx(4.0, abs=4 * found.std())
    assert found.std() < 0.5


class Stripe(Blob):
    """Constant along the latitude: a kind of an installed package."""

    kind = "stripe"
    stripe: Value


@pytest.mark.parametrize(("offered", "message"), [("Stripe", None), ("Bell", "expected a class of templates whose")])
def test_an_installed_package_offers_a_template(
    offered: str, message: str | None, smooth_table: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = EntryPoint("stripe", f"{__name__}:{offered}", "gammasky.templates")
    monkeypatch.setattr(base, "entry_points", lambda group: [entry] if group == "gammasky.templates" else [])
    monkeypatch.setattr(TEMPLATES, "kinds", dict(TEMPLATES.kinds))
    smooth_table["components"][1]["template"] = {"stripe": 3.0, "blob": 2.0}
    if message:
        with pytest.raises(InputError, match=message):
            model_from_table(smooth_table)
        return
    assert isinstance(model_from_table(smooth_table).components[1].template, Stripe)
    smooth_table["components"][1]["template"] = {"stripes": 3.0}
    with pytest.raises(InputError, match="a template is the name of a map or a table with one of map"):
        model_from_table(smooth_table)
