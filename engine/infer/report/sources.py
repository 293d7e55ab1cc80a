"""Point sources of a posterior file: dN/dS, numbers of sources, exposure and thresholds, without building the model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import healpy
import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from gammasky.engine.infer.report.fit_folder import Posterior
from gammasky.engine.model.source_counts import absolute_breaks, broken_power_law, spline_matrix
from gammasky.engine.model.spec import AnySourceCounts, Component, FreeSourceCounts, ModelSpec, Value
from gammasky.engine.sky.response import trapezoid_weights

Floats = NDArray[np.float64]
MOST_DRAWS = 1000  # of dN/dS: what the quantiles of a figure need


def populations(spec: ModelSpec) -> list[Component]:
    """The components that are point sources."""
    return [component for component in spec.components if component.source_counts is not None]


def source_grid(spec: ModelSpec) -> Floats:
    """Source counts S (S,) [photons at mean exposure] on which dN/dS lives."""
    return np.geomspace(spec.source_grid.min, spec.source_grid.max, spec.source_grid.nodes)


def thinned(draws: Mapping[str, Floats], most: int = MOST_DRAWS) -> dict[str, Floats]:
    """At most `most` of the draws, evenly spread."""
    size = len(next(iter(draws.values())))
    chosen = np.linspace(0, size - 1, min(most, size)).astype(int)
    return {name: values[chosen] for name, values in draws.items()}


def dnds(spec: ModelSpec, component: Component, draws: Mapping[str, Floats]) -> Floats:
    """dN/dS (n, S) [sources per pixel per count] of one population, as in `SkyModel.source_counts`.

    Args:
        spec: the model.
        component: one of its populations.
        draws: its parameters by name (n,).

    Raises:
        ValueError: a component without source counts.
    """
    if component.source_counts is None:
        raise ValueError(f"dnds: component '{component.name}' is no population of point sources")
    counts, grid, n = component.source_counts, source_grid(spec), len(next(iter(draws.values())))
    shape = _relative(counts, grid, draws, n)
    if component.amplitude is not None:
        return _column(component.amplitude, draws, n)[:, None] * shape
    if component.norm is None:
        return shape
    per_source = shape @ (trapezoid_weights(grid) * grid)
    return (_column(component.norm, draws, n) / per_source)[:, None] * shape


def _relative(counts: AnySourceCounts, grid: Floats, draws: Mapping[str, Floats], n: int) -> Floats:
    """dN/dS (n, S), of a broken power law relative to the highest break."""
    if isinstance(counts, FreeSourceCounts):
        values = draws[counts.values] if isinstance(counts.values, str) else np.tile(counts.values, (n, 1))
        return np.asarray(10.0 ** (values @ spline_matrix(grid, counts.nodes, counts.degree).T) / grid**2)
    slopes = np.stack([_column(value, draws, n) for value in counts.slopes])
    breaks = np.stack([_column(value, draws, n) for value in counts.breaks])
    return np.asarray(_shapes(grid, slopes, breaks, counts.relative))


@partial(jax.jit, static_argnames="relative")
def _shapes(grid: Floats, slopes: Floats, breaks: Floats, relative: bool) -> jax.Array:
    """Broken power laws (n, S) with slopes (k + 1, n) and breaks (k, n), as one compiled program."""

    def one(slopes: jax.Array, breaks: jax.Array) -> jax.Array:
        return broken_power_law(jnp.asarray(grid), list(slopes), absolute_breaks(list(breaks), relative))

    return jax.vmap(one, in_axes=(1, 1))(jnp.asarray(slopes), jnp.asarray(breaks))


def _column(value: Value, draws: Mapping[str, Floats], n: int) -> Floats:
    """A number n times, or the draws (n,) of the parameter in its place."""
    return np.asarray(draws[value]) if isinstance(value, str) else np.full(n, float(value))


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
        posterior: of one energy bin: with several, a source has photons in each of them.
        name: of the population.
        flux (n, components): draws of the fluxes.
        values (n, S): dN/dS of the population, of the same draws.
        threshold: S above which sources count.
    """
    grid = source_grid(posterior.spec)
    column = [component.name for component in posterior.spec.components].index(name)
    per_count = sources_above(grid, values, threshold) / (values @ (trapezoid_weights(grid) * grid))
    return np.asarray(pixels_of_region(posterior) * flux[:, column] * per_count)


def pixels_of_region(posterior: Posterior) -> int:
    """Pixels of the region of interest, source masks lifted: as the file says, or else by their centres."""
    told = posterior.pixels.attrs.get("n_region")
    if told is not None:
        return int(told)
    nside = int(posterior.pixels.attrs["nside"])
    lon, lat = healpy.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)
    return int(posterior.spec.region.contains(np.where(lon > 180, lon - 360, lon), lat).sum())


def pixel_area_sr(posterior: Posterior) -> float:
    """Solid angle of a pixel [sr]."""
    return float(np.pi / (3 * int(posterior.pixels.attrs["nside"]) ** 2))


def n_energy(posterior: Posterior) -> int:
    """Number of energy bins."""
    return len(np.unique(posterior.pixels["energy_bin"].values))


def exposure_cm2_s(posterior: Posterior) -> Floats | None:
    """Exposure (P,) [cm^2 s] of the fitted pixels, where the file holds it and there is one energy bin."""
    if "exposure" not in posterior.pixels or n_energy(posterior) > 1:
        return None
    return np.asarray(posterior.pixels["exposure"].values, dtype=np.float64)


def mean_source_exposure_cm2_s(posterior: Posterior) -> float | None:
    """Exposure at which source counts S are expected counts: the mean over the exposure regions of their means."""
    exposure, region = exposure_cm2_s(posterior), posterior.pixels["region"].values
    if exposure is None:
        return None
    return float(np.mean([exposure[region == number].mean() for number in np.unique(region)]))


def detectable_counts(background: float, sigma: float = 5.0) -> float:
    """Photons S that one source must put into a pixel of mean counts b to stand out by `sigma`:

        2 [(b + S) log(1 + S / b) - S] = sigma^2,

    the median test statistic of a Poisson count (Cowan et al., arXiv:1007.1727, eq. 97). A real source spreads over
    several pixels and needs more; a catalogue made from more photons reaches deeper.
    """
    excess = lambda s: 2 * ((background + s) * np.log1p(s / background) - s) - sigma**2  # noqa: E731
    return float(brentq(excess, 1e-9, 10 * (sigma * np.sqrt(background) + sigma**2)))
