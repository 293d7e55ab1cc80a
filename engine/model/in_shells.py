"""A population with a luminosity function at one parameter point: dN/dS shell by shell, and numbers of sources."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gammasky.engine.errors import InputError
from gammasky.engine.model.expected_sky import InShells
from gammasky.engine.model.luminosity import Luminosity
from gammasky.engine.model.shells import Shells
from gammasky.engine.model.source_counts import Limits
from gammasky.engine.model.spec import Component, total_norm
from gammasky.engine.model.values import Arrays, Parameters, value_of

#: The numbers that are told of every such population, with their units.
NUMBERS = {
    "mean luminosity": "s-1", "sources": "sources", "sources in the region": "sources",
    "share of the flux on the source grid": "1",
}  # fmt: skip


LEAST_ON_GRID = 0.01  # of the flux of a population


def in_shells(
    component: Component, shells: Shells, theta: Parameters, arrays: Arrays, exposure: jax.Array, *, in_flux: bool
) -> InShells:
    """The population of a component.

    A source of luminosity L in shell j has S = L eps / (4 pi d_j^2), so that its S has the distribution

        p_j(S) = (4 pi d_j^2 / eps) p(L = 4 pi d_j^2 S / eps);      of fluxes, eps = 1.

    Args:
        component: with a luminosity function.
        shells: of its template.
        theta: the parameters.
        arrays: of `Populations`.
        exposure [cm^2 s]: photons of a source of flux 1 cm^-2 s^-1.
        in_flux: whether the grid is one of fluxes.
    """
    luminosity = component.luminosity
    assert luminosity is not None  # of such components only
    fixed = arrays["shells"][component.name]
    numbers = shells.numbers(theta, fixed)
    in_region = fixed["share_of_region"] @ numbers
    per_density = jnp.sum(in_region)
    shares, mean_shares = numbers / per_density, in_region / per_density
    per_luminosity = jnp.asarray(shells.per_luminosity) * (1.0 if in_flux else exposure)
    s, weights = arrays["s_grid"], arrays["quadrature"] * arrays["s_grid"]
    log_p = luminosity.log_density(theta, s / per_luminosity[:, None]) - jnp.log(per_luminosity)[:, None]
    largest = jax.lax.stop_gradient(jnp.max(log_p))  # far from the grid a log-normal has nothing that float64 can hold
    p = jnp.exp(log_p - largest)
    mean_s = p @ weights
    if component.norm is not None:
        norm = total_norm(component.norm, theta)
        scale = (norm / exposure if in_flux else norm) / (mean_shares @ mean_s)
        per_pixel = scale * jnp.exp(-largest)
    else:
        assert component.amplitude is not None  # the spec has seen to it
        per_pixel = value_of(component.amplitude, theta) / shells.volume(theta) * per_density
        scale = per_pixel * jnp.exp(largest)
        norm = scale * (mean_shares @ mean_s) * (exposure if in_flux else 1.0)
    rows = scale * p
    template = shares @ mean_s / (mean_shares @ mean_s)
    on_grid = (mean_shares @ mean_s) / (mean_shares @ per_luminosity) * jnp.exp(largest) / luminosity.mean(theta)
    return InShells(norm, mean_shares @ rows, template, shares, mean_shares, rows, per_pixel, on_grid, per_density)


def numbers_of(
    found: InShells,
    luminosity: Luminosity,
    shells: Shells,
    theta: Parameters,
    threshold: float | None,
) -> dict[str, jax.Array]:
    """Mean luminosity and numbers of sources of a population.

    Args:
        found: what the population is.
        luminosity: its luminosity function.
        shells: of its template.
        theta: the parameters.
        threshold [cm^-2 s^-1]: flux above which sources are counted; None: they are not.

    Returns:
        `NUMBERS`, in their order, and "sources brighter than ... cm-2 s-1" in the region, whether or not the grid of S
        reaches that far.
    """
    in_region = found.per_pixel * shells.pixels_of_region
    in_space = found.per_pixel / found.per_density * shells.volume(theta)
    told = dict(zip(NUMBERS, (luminosity.mean(theta), in_space, in_region, found.on_grid), strict=True))
    if threshold is not None:
        above = luminosity.above(theta, threshold / jnp.asarray(shells.per_luminosity))
        told[brighter(threshold)] = in_region * (found.mean_shares @ above)
    return told


def brighter(threshold: float) -> str:
    """What the number of sources above a flux [cm^-2 s^-1] is called."""
    return f"sources in the region above {threshold:.3g} cm-2 s-1"


def names_of(threshold: float | None) -> dict[str, str]:
    """The names of what `numbers_of` gives, with their units."""
    return NUMBERS | ({} if threshold is None else {brighter(threshold): "sources"})


def require_on_grid(component: Component, share: float, limits: Limits) -> None:
    """Refuse a source grid that holds next to nothing of a population where its parameters are in the middle.

    Args:
        component: with a luminosity function.
        share: of its flux that is on the grid.
        limits: of the grid.

    Raises:
        InputError: names the component and the remedy.
    """
    if not share >= LEAST_ON_GRID:
        raise InputError(
            f"component '{component.name}': luminosity: in the middle of the priors a part of {share:.2g} of the flux "
            f"of its sources is on the source grid of {limits.low:g} to {limits.high:g} {limits.unit}; luminosities "
            "are photons s^-1 in the energy band: change their priors, or widen source_grid"
        )
