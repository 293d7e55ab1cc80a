"""Simulated skies of a model, photon by photon on the sphere.

Photons on the sphere hold what a likelihood of single pixels leaves out: that neighbouring pixels share sources through
the point-spread function and that exposure varies within a region. Counts from the likelihood's own distribution, which
test the inference alone, are drawn by `CountsTerm.draw`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import jax
import numpy as np

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.model.expected_sky import Sky
from gammasky.engine.model.sky_model import SkyModel
from gammasky.engine.model.values import Arrays, Parameters
from gammasky.engine.sky.psf import PSF
from gammasky.engine.sky.simulator import SkySimulator, SourceList, SourcePopulation

CONTAINED = 0.9999  # share of a source's photons that defines how far around the region sources are simulated


class PhotonSimulator:
    """Photons on the sphere: sources one by one, each photon scattered by the PSF of its energy bin.

    Smooth templates already include the PSF; their counts are Poisson. Sources are simulated in the region (masked
    pixels too) and around it as far as the widest PSF holds 99.99 % of the photons.

    Args:
        model: the model.
    """

    def __init__(self, model: SkyModel) -> None:
        around_deg = margin_deg(model.dataset.psfs) if model.spec.populations else 0.0
        self.pixels = model.spec.region.flatten(model.dataset, around_deg=around_deg, maps=model.spec.maps)
        self._expectation = model.expectation.on(self.pixels)
        self._sky, self._in_flux = SkySimulator(self.pixels), model.spec.source_grid.in_flux
        self._program = jax.jit(self._numbers)

    def draw(self, theta: Parameters, *, n: int = 1, seed: int = 0, first: int = 0) -> np.ndarray:
        """Counts (n, n_region) of n skies: fitted, then masked pixels.

        A sky depends on its number (first, first + 1, ...) and the seed, not on how many are asked for.

        Raises:
            InputError: n, seed or an expected number out of range; names the population or the pixel.
        """
        return self._sky.draw(*self._expected(theta), n=n, seed=seed, first=first)

    def draw_with_sources(
        self, theta: Parameters, *, n: int = 1, seed: int = 0, first: int = 0
    ) -> tuple[np.ndarray, list[SourceList]]:
        """Draw the same counts as `draw`, and give the true sources of each sky; populations as in the model."""
        counts, lists = self._sky.draw_with_sources(*self._expected(theta), n=n, seed=seed, first=first)
        populations = self._expectation.populations
        owner = np.array([populations.names.index(row.name) for row in populations.rows], dtype=np.int64)
        if len(owner):
            lists = [replace(found, population=owner[found.population]) for found in lists]
        return counts, lists

    def expected(self, theta: Parameters) -> np.ndarray:
        """Expected counts (n_region,), fitted pixels first: Asimov data (arXiv:1007.1727).

        Raises:
            InputError: a model with point sources, of which expected counts are no data: their likelihood knows how
                photons come together, and that is lost.
        """
        names = ", ".join(f"'{component.name}'" for component in self._expectation.populations.components)
        if names:
            raise InputError(
                f"`asimov`: the likelihood of point sources ({names}) is of whole photons, and expected counts are no "
                "data for it; for expected limits simulate skies, as `gammasky profile` does"
            )
        return self._expected(theta)[0]

    def _expected(self, theta: Parameters) -> tuple[np.ndarray, list[SourcePopulation]]:
        """Smooth mean (n_region,) and the populations."""
        arrays = self._expectation.arrays
        mean, sky = jax.tree.map(np.asarray, self._program(theta, arrays))
        grid, reference = self._expectation.populations.s_grid, self.pixels.reference_exposure
        found = []
        for name, dnds in sky.dnds.items():
            # photons in each bin of a source of S = 1: one, or what spectrum and exposure make of a flux of 1
            photons = sky.shares.get(name, np.ones(1)) * reference if self._in_flux else np.ones(1)
            if name in sky.shells:  # of which each is a population of its own
                shares = self._expectation.shares(name, sky.shells[name], arrays, self.pixels.n_pixels)
                templates = self.pixels.by_bin(np.asarray(shares))[:, 0]
                rows = zip(templates, sky.shells[name].rows, strict=True)
            else:  # the template of the sky: its shares of the bins add up to 1
                rows = zip([self.pixels.by_bin(sky.templates[name]).sum(axis=0)], [dnds], strict=True)
            found += [SourcePopulation.from_template(name, template, grid, row, photons) for template, row in rows]
        return mean, found

    def _numbers(self, theta: Parameters, arrays: Arrays) -> tuple[jax.Array, Sky]:
        sky = self._expectation.sky(theta, arrays)
        return self._expectation.smooth_mean(sky, self.pixels.n_region), sky


class LikelihoodSimulator:
    """Counts of the fitted pixels, each on its own, as the likelihood has them.

    Args:
        model: the model.
    """

    def __init__(self, model: SkyModel) -> None:
        self.pixels, self._model = model.pixels, model

    def draw(self, theta: Parameters, *, n: int = 1, seed: int = 0, first: int = 0) -> np.ndarray:
        """Counts (n, P) of n skies; see `CountsTerm.draw`."""
        program = self._model.program("sky", lambda: jax.jit(self._model.sky))
        return self._model.counts_term.draw(program(theta, self._model.arrays), n=n, seed=seed, first=first)


SIMULATORS: dict[str, type[PhotonSimulator] | type[LikelihoodSimulator]] = {
    "photons": PhotonSimulator,
    "likelihood": LikelihoodSimulator,
}


def build_simulator(name: str, model: SkyModel) -> PhotonSimulator | LikelihoodSimulator:
    """Make the simulator `name` of a model.

    Raises:
        InputError: unknown simulator (with the nearest match).
    """
    if name not in SIMULATORS:
        raise unknown_name("simulator", name, SIMULATORS)
    return SIMULATORS[name](model)


def margin_deg(psfs: Sequence[PSF]) -> float:
    """How far around the region [deg] sources can matter: the largest radius that holds 99.99 % of a bin's photons."""
    return max(float(np.rad2deg(psf.radius(np.array([CONTAINED]))[0])) for psf in psfs)
