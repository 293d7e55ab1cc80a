"""Energy spectra of components, and point-source fractions by energy, of fits in several energy bins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.derived import BIN_FLUX
from gammasky.engine.model import SkyModel
from gammasky.engine.model.parameters import bin_labels
from gammasky.engine.model.spec import Component

Floats = NDArray[np.float64]
UNIT = "GeV cm-2 s-1 sr-1"


@dataclass(frozen=True, eq=False)
class EnergySpectra:
    """Draws of the spectra of all components.

    Attributes:
        components: the components.
        edges_gev (E + 1,) [GeV]: edges of the energy bins.
        fluxes (n, C, E) [counts per pixel]: mean over the region of interest in each bin.
        exposures (C, E) [cm^2 s]: what a component's photons are seen with: the mean of the region, of point sources
            the reference exposure.
        pixel_area_sr: mean solid angle of a pixel.
    """

    components: Sequence[Component]
    edges_gev: Floats
    fluxes: Floats
    exposures: Floats
    pixel_area_sr: float

    @classmethod
    def of(cls, model: SkyModel, derived: Mapping[str, Floats]) -> EnergySpectra:
        """The spectra of a model, for what `derive` gave for draws."""
        bins, spec = model.expectation.bins, model.spec
        exposures = exposures_of(spec.components, bins.mean_exposure, bins.reference_exposure)
        return cls(spec.components, bins.edges_gev, derived[BIN_FLUX], exposures, model.pixels.pixel_area_sr)

    @property
    def labels(self) -> tuple[str, ...]:
        """The ranges of the bins, such as 2-5 GeV."""
        return bin_labels(self.edges_gev, "energy spectra")

    @property
    def intensities(self) -> Floats:
        """Intensity (n, C, E) [cm^-2 s^-1 sr^-1] in each bin: a mean over the region, weighted with the exposure."""
        return self.fluxes / (self.exposures * self.pixel_area_sr)

    @property
    def energies_gev(self) -> Floats:
        """Geometric middles of the bins (E,) [GeV]."""
        return np.sqrt(self.edges_gev[1:] * self.edges_gev[:-1])

    @property
    def sed(self) -> Floats:
        """E^2 dN/dE (n, C, E) [GeV cm^-2 s^-1 sr^-1] at the middles.

        E1 E2 / (E2 - E1) times the intensity between E1 and E2, which is exact for an index of 2.
        """
        low, high = self.edges_gev[:-1], self.edges_gev[1:]
        return self.intensities * (low * high / (high - low))

    @property
    def fractions(self) -> dict[str, Floats]:
        """Share of point sources (n, E) in the counts of each group that has both, in each bin."""
        found = {}
        for group in dict.fromkeys(c.group for c in self.components if c.group):
            inside = np.array([c.group == group for c in self.components])
            points = np.array([c.of_sources for c in self.components])
            if (inside & points).any() and (inside & ~points).any():
                found[group] = self.fluxes[:, inside & points].sum(axis=1) / self.fluxes[:, inside].sum(axis=1)
        return found


def exposures_of(components: Sequence[Component], mean: Floats, reference: Floats) -> Floats:
    """The exposures (C, E) of smooth components, the `mean` (E,), and of point sources, the `reference` (E,)."""
    return np.array([reference if c.of_sources else mean for c in components])
