"""The populations of point sources of a model: their source-count functions, which no data are needed for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import InputError
from gammasky.engine.model.energy_bins import EnergyBins
from gammasky.engine.model.expected_sky import InShells
from gammasky.engine.model.in_shells import in_shells
from gammasky.engine.model.shells import Shells
from gammasky.engine.model.spec import Component, ModelSpec, total_norm
from gammasky.engine.model.values import Arrays, Parameters, value_of
from gammasky.engine.sky.response import trapezoid_weights

BATCH = 64  # draws that are evaluated side by side


class Populations:
    """The source-count functions of a model on its grid of S.

    Args:
        spec: the model.
        bins: the energy bins; only a grid of fluxes and luminosities ask for their exposures and spectra.
        shells: of the populations with a luminosity function, by name.

    Attributes:
        components: the populations, in the order of the model.
        rows: the component of each source-count function that the likelihood takes: one for each population, and of
            those in shells one for each shell.
        s_grid: nodes (S,): S [counts at the reference exposure] or, of a grid of fluxes, F [cm^-2 s^-1] in all energy
            bins together; `quadrature` (S,) integrates over them.
        arrays: every fixed number; functions that are traced take it as an argument.
    """

    def __init__(
        self, spec: ModelSpec, bins: EnergyBins | None = None, shells: Mapping[str, Shells] | None = None
    ) -> None:
        self.components, self._bins, self._in_flux = spec.populations, bins, spec.source_grid.in_flux
        self.shells = {} if shells is None else shells
        self.rows = [c for c in self.components for _ in range(1 if c.luminosity is None else c.luminosity.shells)]
        self.s_grid = spec.source_grid.points()
        self.quadrature = trapezoid_weights(self.s_grid)
        tables = {c.name: c.source_counts.tables(self.s_grid) for c in self.components if c.source_counts is not None}
        self.arrays: Arrays = {"s_grid": self.s_grid, "quadrature": self.quadrature, "tables": tables}
        self.arrays |= {"shells": {name: of.arrays for name, of in self.shells.items()}} if self.shells else {}

    @property
    def names(self) -> list[str]:
        """Names of the populations."""
        return [component.name for component in self.components]

    def evaluate(self, component: Component, theta: Parameters, arrays: Arrays) -> tuple[jax.Array, jax.Array]:
        """Mean counts per pixel of a population, and its dN/dS (S,) [sources per pixel per count], or of a grid of
        fluxes dN/dF [sources per pixel per cm^-2 s^-1].

        Raises:
            InputError: a grid of fluxes or a luminosity function, and no data set whose exposure and pixels turn them
                into counts.
        """
        if component.luminosity is not None:
            found = self.in_shells(component, theta, arrays)
            return found.norm, found.dnds
        return self.evaluate_together([component], theta, arrays)[component.name]

    def evaluate_together(
        self, components: Sequence[Component], theta: Parameters, arrays: Arrays
    ) -> dict[str, tuple[jax.Array, jax.Array]]:
        """What `evaluate` gives, by name, of populations with a source-count function.

        Source-count functions of one form are worked out in one operation: see `SourceCounts.shapes`.
        """
        if not components:
            return {}
        shapes = self._shapes(components, theta, arrays)
        totals = jnp.unstack(jnp.sum(arrays["quadrature"] * arrays["s_grid"] * shapes, axis=-1))
        norms, factors = [], []
        for component, total in zip(components, totals, strict=True):
            exposure = self._exposure(component, theta) if self._in_flux else jnp.asarray(1.0)
            if component.norm is not None:
                norms.append(total_norm(component.norm, theta))
                factors.append(norms[-1] / exposure / total)
            else:
                amplitude = component.amplitude
                factors.append(jnp.asarray(1.0) if amplitude is None else value_of(amplitude, theta))
                norms.append(factors[-1] * total * exposure)
        dnds = jnp.unstack(jnp.stack(factors)[:, None] * shapes)
        return {c.name: (norm, own) for c, norm, own in zip(components, norms, dnds, strict=True)}

    def _shapes(self, components: Sequence[Component], theta: Parameters, arrays: Arrays) -> jax.Array:
        """dN/dS (components, S) up to factors."""
        found: dict[str, jax.Array] = {}
        given = {c.name: c.source_counts for c in components if c.source_counts is not None}  # all of them
        for kind in dict.fromkeys(type(counts) for counts in given.values()):
            own = {name: counts for name, counts in given.items() if type(counts) is kind}
            tables = [arrays["tables"][name] for name in own]
            found |= zip(own, kind.shapes(list(own.values()), theta, arrays["s_grid"], tables), strict=True)
        return jnp.stack([found[component.name] for component in components])

    def in_shells(self, component: Component, theta: Parameters, arrays: Arrays) -> InShells:
        """What a population with a luminosity function is in the pixels.

        Raises:
            InputError: no data set; see `evaluate`.
        """
        if component.name not in self.shells:
            raise InputError(
                f"component '{component.name}': luminosities become counts in the pixels of a data set, and there is "
                "none here"
            )
        exposure = self._exposure(component, theta)
        return in_shells(component, self.shells[component.name], theta, arrays, exposure, in_flux=self._in_flux)

    def _exposure(self, component: Component, theta: Parameters) -> jax.Array:
        """Photons of a source of flux 1 cm^-2 s^-1."""
        if self._bins is None:
            raise InputError("source_grid: fluxes become counts by the exposure of a data set, and there is none here")
        return self._bins.source_exposure(component, theta)

    def dnds(self, draws: Mapping[str, NDArray[np.float64]], program: Any = None) -> NDArray[np.float64]:
        """dN/dS (n, I, S) [sources per pixel per count] of all populations, for draws (n, ...) of the parameters.

        Draws of other names are ignored. Models of one structure may share the compiled `program` of one of them.
        """
        n = len(next(iter(draws.values())))
        if not self.components:
            return np.zeros((n, 0, len(self.s_grid)))
        used = {use.parameter for component in self.components for use in component.uses()}
        return np.asarray(
            (program or self.program)({name: jnp.asarray(draws[name]) for name in sorted(used)}, self.arrays)
        )

    @cached_property
    def program(self) -> Any:
        """The compiled program that `dnds` runs; it takes draws and `arrays`."""

        def one(theta: Parameters, arrays: Arrays) -> jax.Array:
            return jnp.stack([self.evaluate(component, theta, arrays)[1] for component in self.components])

        def run(draws: Parameters, arrays: Arrays) -> jax.Array:
            n = len(next(iter(draws.values())))
            return jax.lax.map(lambda theta: one(theta, arrays), draws, batch_size=min(BATCH, n))

        return jax.jit(run)
