"""From draws of the latent z to what a physicist reads: parameters, fluxes, fractions, maps and dN/dS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.model import SkyModel
from gammasky.engine.model.templates import Arrays, value_of
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.flat_pixels import FlatPixels

BATCH = 64  # draws that are evaluated side by side

FLUX = "flux"
POINT_SOURCE_FRACTION = "point_source_fraction"
INTENSITY, INTENSITY_UNIT = "intensity", "cm-2 s-1 sr-1"


def derive(model: SkyModel, z: np.ndarray) -> dict[str, np.ndarray]:
    """Every parameter and every derived number of each draw.

    Args:
        model: the model.
        z (n, D): draws on the latent space.

    Returns:
        each parameter by name (n, ...); "flux" (n, components) [counts/pixel], the mean of each component over the
        region of interest; "point_source_fraction" (n, groups), the share of point sources in the flux of a group.
    """

    def one(point: jax.Array, arrays: Arrays) -> dict[str, jax.Array]:
        theta = model.parameters(point, arrays)
        fluxes = model.fluxes(theta, arrays)
        fractions = model.point_source_fractions(theta, arrays)
        shares = {POINT_SOURCE_FRACTION: _stacked(fractions)} if fractions else {}  # lax.map knows no empty output
        return {**theta, FLUX: _stacked(fluxes), **shares}

    found = {POINT_SOURCE_FRACTION: np.zeros((len(z), 0)), **_mapped("derive", one, model, z)}
    return {name: np.asarray(found[name]) for name in (*model.latent.slots, FLUX, POINT_SOURCE_FRACTION)}


def intensity_scale(pixels: FlatPixels, dataset: Dataset) -> float | None:
    """Intensity [cm^-2 s^-1 sr^-1] of one count per pixel: over the mean exposure of the fitted pixels and the solid
    angle of a pixel; None with several energy bins, whose exposures are not one number."""
    if pixels.n_energy > 1:
        return None
    exposure = float(pixels.values(dataset.exposure)[: pixels.n_fit].mean())
    return 3 * pixels.nside**2 / (np.pi * exposure)


def mean_exposure(pixels: FlatPixels, dataset: Dataset) -> float | None:
    """Exposure [cm^2 s] at which S is counted: the mean over the exposure regions of their means; None as above."""
    if pixels.n_energy > 1:
        return None
    exposure = pixels.values(dataset.exposure)[: pixels.n_fit]
    return float(np.mean([exposure[pixels.region == region].mean() for region in np.unique(pixels.region)]))


def group_names(model: SkyModel) -> list[str]:
    """Groups with smooth emission and point sources, in the order of the columns of "point_source_fraction"."""
    smooth, populations = ({c.group for c in kind if c.group} for kind in (model.smooth, model.populations))
    return sorted(smooth & populations)


def predicted_maps(model: SkyModel, z: np.ndarray) -> dict[str, np.ndarray]:
    """Expected counts per pixel of each component, averaged over the draws.

    Smooth components: norm * template. Point sources: (int S dN/dS dS) * template * exposure ratio of the pixel's
    region, as in the likelihood; masked pixels belong to no region and take their own exposure.

    Args:
        model: the model.
        z (k, D): draws on the latent space.

    Returns:
        component -> counts (N,), fitted pixels first.
    """
    pixels = model.pixels
    masked = pixels.source_exposure[pixels.n_fit :]
    exposure = jnp.asarray(np.concatenate([pixels.exposure_ratios[pixels.region], masked]))

    def one(point: jax.Array, arrays: Arrays, exposure: jax.Array) -> dict[str, jax.Array]:
        theta = model.parameters(point, arrays)
        norms = {c.name: c.norm for c in model.smooth if c.norm is not None}  # which smooth components all have
        maps = {name: value_of(norm, theta) * model.template(name, theta, arrays) for name, norm in norms.items()}
        for population in model.populations:
            dnds = model.source_counts(population.name, theta, arrays)
            counts = jnp.sum(arrays["quadrature"] * arrays["source_grid"] * dnds)
            maps[population.name] = counts * model.template(population.name, theta, arrays) * exposure
        return maps

    def mean(points: jax.Array, arrays: Arrays, exposure: jax.Array) -> dict[str, jax.Array]:
        def add(sums: dict[str, jax.Array], point: jax.Array) -> tuple[dict[str, jax.Array], None]:
            return jax.tree.map(jnp.add, sums, one(point, arrays, exposure)), None

        start = {component.name: jnp.zeros(pixels.n_pixels) for component in model.spec.components}
        sums, _ = jax.lax.scan(add, start, points)
        return jax.tree.map(lambda total: total / len(points), sums)

    found = model.program("predicted maps", lambda: jax.jit(mean))(jnp.asarray(z), model.arrays, exposure)
    return {component.name: np.asarray(found[component.name]) for component in model.spec.components}


def dnds_draws(model: SkyModel, z: np.ndarray) -> np.ndarray:
    """dN/dS (k, I, S) [sources per pixel per count] of every population, for draws z (k, D).

    The source counts S [counts at mean exposure] are `model.response.s_grid`; I is 0 for a model without populations.
    """
    if not model.populations:
        return np.zeros((len(z), 0, 0))

    def one(point: jax.Array, arrays: Arrays) -> jax.Array:
        theta = model.parameters(point, arrays)
        return jnp.stack([model.source_counts(c.name, theta, arrays) for c in model.populations])

    return np.asarray(_mapped("dnds", one, model, z))


def _mapped(name: str, one: Callable[[jax.Array, Arrays], Any], model: SkyModel, z: np.ndarray) -> Any:
    """`one` for each draw, in the program `name` of the model."""

    def run(points: jax.Array, arrays: Arrays) -> Any:
        return jax.lax.map(lambda point: one(point, arrays), points, batch_size=min(BATCH, len(points)))

    return model.program(name, lambda: jax.jit(run))(jnp.asarray(z), model.arrays)


def _stacked(values: dict[str, jax.Array]) -> jax.Array:
    return jnp.stack(list(values.values()))
