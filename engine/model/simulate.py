"""Simulated skies of a model: photon by photon on the sphere, or drawn from the likelihood itself.

The two answer two questions. Counts from the likelihood's own compound-Poisson distribution test the inference alone:
posteriors of them must be calibrated. Photons on the sphere also hold what a likelihood of single pixels leaves out,
that neighbouring pixels share sources through the point-spread function and that exposure varies within a region.
"""

from __future__ import annotations

import math
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.errors import unknown_name
from gammasky.engine.kernels.simulate.compound import compound_counts
from gammasky.engine.model.latent import Parameters
from gammasky.engine.model.sky_model import SkyModel
from gammasky.engine.model.templates import Arrays, value_of
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.psf import PSF
from gammasky.engine.sky.simulator import SkySimulator, SourceList, SourcePopulation, checked_numbers

CONTAINED = 0.9999  # share of a source's photons that defines how far around the region sources are simulated


class Simulator(Protocol):
    """What draws the counts of a model."""

    def draw(self, theta: Parameters, *, n: int = 1, seed: int = 0, first: int = 0) -> np.ndarray:
        """Counts (n, ...) of n skies at the parameters `theta`, fitted pixels first.

        A sky depends on its number (first, first + 1, ...) and the seed, not on how many are asked for.
        """
        ...


class PhotonSimulator:
    """Photons on the sphere: sources one by one, each photon scattered by the PSF of the dataset.

    Smooth templates already include the PSF; their counts are Poisson. Sources are simulated in the region (masked
    pixels too) and around it as far as the PSF holds 99.99 % of the photons.

    Args:
        model: the model; its spec and dataset are used.
    """

    def __init__(self, model: SkyModel) -> None:
        psf = model.dataset.psf
        around_deg = margin_deg(psf) if model.populations else 0.0
        self.model = SkyModel(model.spec, model.dataset, backend=model.backend, around_deg=around_deg)
        self.pixels = self.model.pixels
        self._sky = SkySimulator(self.pixels, psf)

    def draw(self, theta: Parameters, *, n: int = 1, seed: int = 0, first: int = 0) -> np.ndarray:
        """Counts (n, n_region): fitted, then masked pixels.

        Raises:
            InputError: n, seed or an expected number out of range; names the population or the pixel.
        """
        return self._sky.draw(*self._expectation(theta), n=n, seed=seed, first=first)

    def draw_with_sources(
        self, theta: Parameters, *, n: int = 1, seed: int = 0, first: int = 0
    ) -> tuple[np.ndarray, list[SourceList]]:
        """The same counts, and the true sources of each sky; populations as in `SkyModel.populations`."""
        return self._sky.draw_with_sources(*self._expectation(theta), n=n, seed=seed, first=first)

    def _expectation(self, theta: Parameters) -> tuple[np.ndarray, list[SourcePopulation]]:
        """Smooth mean (n_region,) and the populations."""
        program = self.model.program("expectation", lambda: jax.jit(self._numbers))
        mean, templates, dnds = jax.tree.map(np.asarray, program(theta, self.model.arrays))
        populations = [
            SourcePopulation.from_template(population.name, template, self.model.response.s_grid, counts)
            for population, template, counts in zip(self.model.populations, templates, dnds, strict=True)
            if self.model.response is not None
        ]
        return mean, populations

    def _numbers(self, theta: Parameters, arrays: Arrays) -> tuple[jax.Array, list[jax.Array], list[jax.Array]]:
        model, n_region = self.model, self.pixels.n_region
        mean = jnp.zeros(n_region)
        for component in model.smooth:
            if component.norm is not None:  # which smooth components all have
                template = model.template(component.name, theta, arrays)
                mean = mean + value_of(component.norm, theta) * template[:n_region]
        templates = [model.template(population.name, theta, arrays) for population in model.populations]
        return (
            mean,
            templates,
            [model.source_counts(population.name, theta, arrays) for population in model.populations],
        )


class LikelihoodSimulator:
    """The compound-Poisson distribution that the likelihood assigns to the fitted pixels, each on its own.

    k_p = Poisson(mu_p) + sum_m m Poisson(sum_i T_ip X_{i,r,m}), with m up to where no source reaches.

    Args:
        model: the model; its spec and dataset are used.
    """

    def __init__(self, model: SkyModel) -> None:
        self.model = SkyModel(model.spec, model.dataset, backend=model.backend, max_count=_largest_bunch(model))
        self.pixels = self.model.pixels

    def draw(self, theta: Parameters, *, n: int = 1, seed: int = 0, first: int = 0) -> np.ndarray:
        """Counts (n, P) of the fitted pixels.

        Raises:
            InputError: n, seed or an expected number out of range.
        """
        key, n, first = checked_numbers(n, seed, first)
        program = self.model.program("kernel point", lambda: jax.jit(self.model.ingredients))
        mean, templates, dnds = program(theta, self.model.arrays)
        no_sources = jnp.zeros((0, self.pixels.exposure_ratios.size, 2))
        x = self.model.expected_sources(dnds) if self.model.populations else no_sources
        point = np.asarray(mean), np.asarray(templates), np.asarray(x)
        return compound_counts(*point, self.pixels.region, int(key), n, first)


SIMULATORS: dict[str, type[PhotonSimulator] | type[LikelihoodSimulator]] = {
    "photons": PhotonSimulator,
    "likelihood": LikelihoodSimulator,
}


def build_simulator(name: str, model: SkyModel) -> PhotonSimulator | LikelihoodSimulator:
    """The simulator `name` of a model.

    Raises:
        InputError: unknown simulator (with the nearest match).
    """
    if name not in SIMULATORS:
        raise unknown_name("simulator", name, SIMULATORS)
    return SIMULATORS[name](model)


def margin_deg(psf: PSF) -> float:
    """How far around the region [deg] sources can matter: the radius that holds 99.99 % of a source's photons."""
    return float(np.rad2deg(psf.radius(np.array([CONTAINED]))[0]))


def _largest_bunch(model: SkyModel) -> int:
    """More photons than the brightest source of the grid ever puts in a pixel (12 standard deviations above)."""
    if not model.populations:
        return 0
    brightest = model.spec.source_grid.max * float(model.pixels.exposure_ratios.max())
    return math.ceil(brightest + 12.0 * math.sqrt(brightest) + 40.0)


def with_psf(dataset: Dataset, psf: PSF) -> Dataset:
    """The dataset with another point-spread function, for its likelihood and for simulations alike."""
    from dataclasses import replace

    return replace(dataset, manifest=dataset.manifest.model_copy(update={"psf": psf}))
