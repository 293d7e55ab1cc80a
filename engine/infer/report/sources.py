"""Point sources of a posterior file: dN/dS, numbers of sources, exposure and thresholds, without building the model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from gammasky.engine.infer.derived import FLUX, spread
from gammasky.engine.infer.report.fit_folder import Posterior
from gammasky.engine.sky.response import trapezoid_weights

Floats = NDArray[np.float64]
MOST_DRAWS = 1000  # of dN/dS: what the quantiles of a figure need


def thinned(draws: Mapping[str, Floats], most: int = MOST_DRAWS) -> dict[str, Floats]:
    """At most `most` of the draws, evenly spread."""
    chosen = spread(len(next(iter(draws.values()))), most)
    return {name: values[chosen] for name, values in draws.items()}


def sources_above(grid: Floats, values: Floats, threshold: float) -> Floats:
    """int_threshold dN/dS dS (n,) [sources per pixel], for dN/dS values (n, S) on the grid (S,)."""
    if threshold >= grid[-1]:
        return np.zeros(len(values))
    cell = int(np.clip(np.searchsorted(grid, threshold, side="right") - 1, 0, len(grid) - 2))
    start = float(np.clip(threshold, grid[cell], grid[cell + 1]))
    share = (start - grid[cell]) / (grid[cell + 1] - grid[cell])
    at_start = (1 - share) * values[:, cell] + share * values[:, cell + 1]
    nodes = np.concatenate([[start], grid[cell + 1 :]])
    tail = np.concatenate([at_start[:, None], values[:, cell + 1 :]], axis=1)
    return np.asarray(tail @ trapezoid_weights(nodes))


def number_of_sources(posterior: Posterior, name: str, flux: Floats, values: Floats, threshold: float) -> Floats:
    """Expected sources brighter than `threshold` [photons at mean exposure] over the whole region (n,).

    N = sum_p T_p int dN/dS dS; the sum over the template follows from the flux F [counts per pixel],

        N = (pixels of the region) F int_threshold dN/dS dS / int S dN/dS dS.

    Args:
        posterior: of the fit.
        name: of the population.
        flux (n, components): draws of the fluxes [counts per pixel]; on a grid of fluxes `photon_fluxes` of them.
        values (n, S): dN/dS of the population, of the same draws.
        threshold: S above which sources count; on a grid of fluxes F.
    """
    if posterior.spec.source_grid.in_flux:
        return _number_by_flux(posterior, name, flux, values, threshold)
    grid = posterior.spec.source_grid.points()
    column = [component.name for component in posterior.spec.components].index(name)
    per_count = sources_above(grid, values, threshold) / (values @ (trapezoid_weights(grid) * grid))
    return np.asarray(pixels_of_region(posterior) * flux[:, column] * per_count)


def _number_by_flux(posterior: Posterior, name: str, flux: Floats, values: Floats, threshold: float) -> Floats:
    """The same from fluxes [cm^-2 s^-1 per pixel] and dN/dF."""
    grid = posterior.spec.source_grid.points()
    column = [component.name for component in posterior.spec.components].index(name)
    per_flux = sources_above(grid, values, threshold) / (values @ (trapezoid_weights(grid) * grid))
    return np.asarray(pixels_of_region(posterior) * flux[:, column] * per_flux)


def photon_fluxes(posterior: Posterior) -> Floats:
    """Draws of the fluxes of point sources in all energy bins [cm^-2 s^-1 per pixel], (n, components).

    Only those of populations mean anything: their counts are those at the reference exposure of each bin.
    """
    reference = np.asarray(posterior.pixels["reference_exposure"].values)
    if posterior.bin_fluxes is None:
        return np.asarray(posterior.draws[FLUX] / reference[0])
    return np.asarray((posterior.bin_fluxes / reference).sum(axis=2))


def true_photon_fluxes(posterior: Posterior, flux: Floats) -> Floats:
    """The true ones of simulated counts (1, components), given `flux`, those of the draws whose dN/dF is known.

    A template's mean over the region is the ratio of such a flux to int F dN/dF dF, whatever the draw.
    """
    names, grid = [component.name for component in posterior.spec.components], posterior.spec.source_grid.points()
    found, weights = np.zeros((1, len(names))), trapezoid_weights(grid) * grid
    for name, truth in (posterior.true_dnds or {}).items():
        column = names.index(name)
        found[0, column] = flux[0, column] / (posterior.dnds[name][0] @ weights) * (truth @ weights)
    return found


def source_exposure_cm2_s(posterior: Posterior) -> float:
    """Photons in all energy bins of a source of flux 1 cm^-2 s^-1 at the reference exposure [cm^2 s], the median."""
    column = [component.of_sources for component in posterior.spec.components].index(True)
    return float(np.median(posterior.draws[FLUX][:, column] / photon_fluxes(posterior)[:, column]))


def pixels_of_region(posterior: Posterior) -> int:
    """Pixels of the sky in the region of interest, source masks lifted."""
    return int(posterior.pixels.attrs["n_region"]) // n_energy(posterior)


def pixel_area_sr(posterior: Posterior) -> float:
    """Solid angle of a pixel [sr]."""
    return float(posterior.pixels.attrs["pixel_area_sr"])


def n_energy(posterior: Posterior) -> int:
    """Number of energy bins."""
    return len(np.unique(posterior.pixels["energy_bin"].values))


def exposure_cm2_s(posterior: Posterior) -> Floats | None:
    """Exposure (P,) [cm^2 s] of the fitted pixels, where the file holds it and there is one energy bin."""
    if "exposure" not in posterior.pixels or n_energy(posterior) > 1:
        return None
    return np.asarray(posterior.pixels["exposure"].values, dtype=np.float64)


def reference_exposure_cm2_s(posterior: Posterior) -> float | None:
    """Exposure at which source counts S are expected counts; on a grid of fluxes `source_exposure_cm2_s`."""
    if posterior.spec.source_grid.in_flux and posterior.spec.populations:
        return source_exposure_cm2_s(posterior)
    values = posterior.pixels["reference_exposure"].values
    return float(values[0]) if len(values) == 1 else None


def detectable_counts(background: float, sigma: float = 5.0) -> float:
    """Photons S that one source must put into a pixel of mean counts b to stand out by `sigma`:

        2 [(b + S) log(1 + S / b) - S] = sigma^2,

    the median test statistic of a Poisson count (Cowan et al., arXiv:1007.1727, eq. 97). A real source spreads over
    several pixels and needs more; a catalogue made from more photons reaches deeper.
    """
    excess = lambda s: 2 * ((background + s) * np.log1p(s / background) - s) - sigma**2  # noqa: E731
    return float(brentq(excess, 1e-9, 10 * (sigma * np.sqrt(background) + sigma**2)))
