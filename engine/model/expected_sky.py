"""What a model expects of the sky at one parameter point."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, eq=False)
class Sky:
    """What a model expects at one parameter point, by component; maps are worked out when they are asked for.

    A compiled function that returns one has worked all of them out.

    Attributes:
        norms: mean counts per pixel over the region of interest of each component, in all energy bins together.
        dnds: source-count function of each population (S,) [sources per pixel per count], on a grid of fluxes dN/dF.
        shares: of the photon flux of each component with a spectrum, the part in each energy bin (E,).
        template: gives the template of a component in the N pixels (N,), by name: of mean 1 over the region, and of
            several energy bins the sum of their means.
        fitted: gives, in the P fitted pixels, the mean counts of all smooth components together (P,) and the templates
            of the populations (I, P / E), which are the same in every energy bin.
    """

    norms: dict[str, jax.Array]
    dnds: dict[str, jax.Array]
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
        """For JAX: all numbers."""
        return (self.norms, self.dnds, self.shares, self.templates, self.fitted_maps), None

    @classmethod
    def tree_unflatten(cls, _: None, numbers: tuple[Any, ...]) -> Sky:
        """For JAX: the sky of these numbers."""
        norms, dnds, shares, templates, fitted_maps = numbers
        return cls(norms, dnds, shares, lambda name: templates[name], lambda: fitted_maps)
