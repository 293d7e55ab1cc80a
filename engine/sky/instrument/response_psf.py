"""The point-spread function from response files: the mean over inclinations, weighted by expected photons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gammasky.engine.sky.instrument.effective_area import EffectiveArea
from gammasky.engine.sky.instrument.energies import energy_nodes
from gammasky.engine.sky.instrument.king_tables import KingTables, radii_deg
from gammasky.engine.sky.products.psf_table import PSFTable

Inclinations = tuple[np.ndarray, np.ndarray, np.ndarray]


def uniform_inclinations(cos_min: float = 0.2, n: int = 64) -> Inclinations:
    """Livetime that is the same for all directions the instrument sees: what a survey gives on average over the sky.

    Returns:
        as `inclination_profile`, for a livetime of 1 s that is 90 % of the time.
    """
    edges = np.linspace(cos_min, 1.0, n + 1)
    return np.full(n, 1.0 / n), np.full(n, 0.9 / n), (edges[1:] + edges[:-1]) / 2


def response_psf(
    tables: Sequence[KingTables],
    areas: Sequence[EffectiveArea],
    inclinations: Inclinations,
    energy_edges_gev: Sequence[float] | np.ndarray,
) -> PSFTable:
    """A table of the PSF at energies in bins: sum eps PSF / sum eps over event types and inclinations.

    Its `in_bins` weighs the energies of a bin: int s eps PSF dE / int s eps dE.

    Args:
        tables, areas: PSF and effective area of each event type.
        inclinations: as `inclination_profile` gives them.
        energy_edges_gev (E + 1,) [GeV]: edges of the bins.

    Raises:
        InputError: an energy outside of a response.
    """
    seconds, weighted, cos_theta = inclinations
    nodes, radius = energy_nodes(np.asarray(energy_edges_gev, dtype=np.float64)), radii_deg()
    density, exposure = np.zeros((len(nodes), len(radius))), np.zeros(len(nodes))
    for number, energy in enumerate(1e3 * nodes):
        for table, area in zip(tables, areas, strict=True):
            a, b = area.livetime_factors(float(energy))
            share = area.at(float(energy), cos_theta) * (a * seconds + b * weighted)
            density[number] += share @ table.density(float(energy), cos_theta, radius)
            exposure[number] += share.sum()
    density /= np.where(exposure > 0, exposure, 1.0)[:, None]
    return PSFTable("; ".join(table.label for table in tables), nodes, radius, density, exposure)
