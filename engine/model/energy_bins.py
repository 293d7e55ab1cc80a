"""The energy bins of a data set, as components see them: how photons are shared out among them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import InputError
from gammasky.engine.model.spec import Component, ModelSpec, PerBin
from gammasky.engine.model.templates import MapTemplate
from gammasky.engine.model.values import Parameters
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.observation import Observation

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EnergyBins:
    """The bins, and the exposures that turn fluxes into counts.

    Attributes:
        edges_gev (E + 1,) [GeV]: edges.
        reference_exposure (E,) [cm^2 s]: of point sources: at which their source counts are expected counts.
        mean_exposure (E,) [cm^2 s]: of smooth emission: the mean over the region.
    """

    edges_gev: Floats
    reference_exposure: Floats
    mean_exposure: Floats

    @classmethod
    def of(cls, pixels: Observation) -> EnergyBins:
        """The bins of an observation."""
        return cls(pixels.energy_edges_gev, pixels.reference_exposure, pixels.mean_exposure)

    @property
    def n(self) -> int:
        """Number of bins E."""
        return len(self.edges_gev) - 1

    def shares(self, component: Component, theta: Parameters) -> jax.Array:
        """The share of a component's photon flux in each bin (E,); that of a component without a spectrum is in one."""
        return jnp.ones(1) if component.spectrum is None else component.spectrum.shares(theta, self.edges_gev)

    def source_exposure(self, component: Component, theta: Parameters) -> jax.Array:
        """Photons in all bins of a source of flux 1 cm^-2 s^-1 at the reference exposure [cm^2 s], a scalar."""
        return self.shares(component, theta) @ self.reference_exposure

    def source_shares(self, component: Component, theta: Parameters) -> jax.Array:
        """The share of the photons of a source in each bin (E,), at the reference exposure."""
        photons = self.shares(component, theta) * self.reference_exposure
        return photons / jnp.sum(photons)


def require_spectra(spec: ModelSpec, dataset: Dataset) -> None:
    """Refuse a model that does not say how the photons of its components are shared out among the energy bins.

    Raises:
        InputError: names the component.
    """
    edges = dataset.energy_edges_gev
    n_bins = len(edges) - 1
    for component in spec.components:
        where = f"component '{component.name}'"
        if isinstance(component.norm, PerBin):
            component.norm.require_bins(where, n_bins)
        elif component.spectrum is not None:
            component.spectrum.require_bins(f"{where}, spectrum", edges)
        elif n_bins > 1:
            _require_own_bins(component, where, dataset)
    if n_bins > 1 and spec.populations:
        _require_two_spectra(spec)


def _require_own_bins(component: Component, where: str, dataset: Dataset) -> None:
    """Refuse what has neither a spectrum nor maps of each bin."""
    n_bins = len(dataset.energy_edges_gev) - 1
    if component.of_sources:
        raise InputError(
            f"{where}: point sources in {n_bins} energy bins need a spectrum, which says how the photons of a source "
            "are shared out among them; such as spectrum = { power_law = { index = 2.4 } }"
        )
    for leaf in component.template.leaves():
        if not (isinstance(leaf, MapTemplate) and dataset.has_own_bins(leaf.map)):
            raise InputError(
                f"{where}: template '{leaf.label()}' is one for {n_bins} energy bins; give the component a spectrum, "
                'or a norm for each bin: norm = { per_bin = "NAME" }'
            )


def _require_two_spectra(spec: ModelSpec) -> None:
    """Refuse populations of more than two different spectra, and a grid that is not one of fluxes."""
    spectra: list[Any] = []
    for population in spec.populations:
        if population.spectrum in spectra:
            continue
        spectra.append(population.spectrum)
        if len(spectra) > 2:
            raise InputError(
                f"component '{population.name}': the third spectrum of point sources; the likelihood of several bins "
                "is there for populations of one or two spectra (each more would cost another power of the counts); "
                "give it the spectrum of another population"
            )
    if not spec.source_grid.in_flux:
        raise InputError(
            "source_grid: in several energy bins dN/dF lives on fluxes; give flux_min and flux_max [cm^-2 s^-1] in "
            "place of min and max, and breaks in that unit"
        )
