"""What a model expects of the sky at one parameter point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax


class InShells(NamedTuple):
    """A population in J shells, on the U lines of sight that stand for all pixels; S stands for F on a grid of fluxes.

    Attributes:
        norm: mean counts per pixel over the region, of the sources on the grid of S.
        dnds (S,): source-count function [sources per pixel per count], the mean over the region.
        template (U,): expected counts of a pixel over that mean.
        shares (U, J): sources in each shell, over the mean number in a pixel of the region; mean_shares (J,): their
            mean over the region.
        rows (J, S): source-count function of each shell; `shares` times it, added up, is that of a pixel.
        per_pixel: sources per pixel of the region, of any luminosity.
        on_grid: share of the mean counts of all sources that those on the grid of S have.
        per_density: sources per pixel of the region, for the density of the template as it is [kpc^-3].
    """

    norm: jax.Array
    dnds: jax.Array
    template: jax.Array
    shares: jax.Array
    mean_shares: jax.Array
    rows: jax.Array
    per_pixel: jax.Array
    on_grid: jax.Array
    per_density: jax.Array


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, eq=False)
class Sky:
    """What a model expects at one parameter point, by component; maps are worked out when they are asked for.

    A compiled function that returns one has worked all of them out.

    Attributes:
        norms: mean counts per pixel over the region of interest of each component, in all energy bins together.
        dnds: source-count function of each population (S,) [sources per pixel per count], on a grid of fluxes dN/dF.
        shells: of the populations with a luminosity function, what they are in shells by distance.
        shares: of the photon flux of each component with a spectrum, the part in each energy bin (E,).
        template: gives the template of a component in the N pixels (N,), by name: of mean 1 over the region, and of
            several energy bins the sum of their means.
        fitted: gives, in the P fitted pixels, the mean counts of all smooth components together (P,) and the templates
            of the populations and shells (I, P / E), which are the same in every energy bin.
    """

    norms: dict[str, jax.Array]
    dnds: dict[str, jax.Array]
    shells: dict[str, InShells]
    shares: dict[str, jax.Array]
    template: Callable[[str], jax.Array]
    fitted: Callable[[], tuple[jax.Array, jax.Array]]

    @cached_property
    def templates(self) -> dict[str, jax.Array]:
        """The templates of all components."""
        return {name: self.template(name) for name in self.norms}

    @cached_property
    def fitted_maps(self) -> tuple[jax.Array, jax.Array]:
        """What `fitted` gives."""
        return self.fitted()

    def tree_flatten(self) -> tuple[tuple[Any, ...], None]:
        """Give JAX all the numbers that a sky consists of."""
        return (self.norms, self.dnds, self.shells, self.shares, self.templates, self.fitted_maps), None

    @classmethod
    def tree_unflatten(cls, _: None, numbers: tuple[Any, ...]) -> Sky:
        """Make the sky again from the numbers that JAX hands back."""
        norms, dnds, shells, shares, templates, fitted_maps = numbers
        return cls(norms, dnds, shells, shares, lambda name: templates[name], lambda: fitted_maps)
