"""What a model expects in several energy bins: templates give shapes, norms and spectra the counts of each bin.

A smooth component with a spectrum has in pixel p of bin e the mean counts

    mu_{e,p} = norm w_e T_{e,p} / sum_e' w_e' <T_e'>,      w_e = s_e <eps_e>,

with the share s_e of its photon flux, the mean exposure <eps_e> of the region, and its template T with the exposure of
each pixel over that mean in it; <T_e> is the mean over the region. So the norm is mean counts per pixel in all bins
together. With a norm for each bin mu_{e,p} = norm_e T_{e,p} / <T_e>; maps of each bin have their own mu_{e,p} =
norm T_{e,p} / sum_e' <T_e'>.

A population of point sources is one set of sources for all bins: its template is the mean over bins, and in counts the
share s_e eps_e / sum_e' s_e' eps_e' of its photons is in bin e, with the reference exposures eps_e.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.model.energy_bins import EnergyBins
from gammasky.engine.model.spec import Component, ModelSpec, PerBin, total_norm
from gammasky.engine.model.templates import Function
from gammasky.engine.model.values import Arrays, Parameters
from gammasky.engine.sky.observation import Observation


class SeveralBins:
    """The maps of a model's components in more than one energy bin.

    Args:
        spec: the model.
        templates: the functions of its templates, by component; populations in shells have none.
        bins: the energy bins.
        pixels: the N pixels.
        table: the fixed numbers of the templates.

    Attributes:
        arrays: fixed numbers of its own: functions that are traced take them as an argument.
    """

    def __init__(
        self, spec: ModelSpec, templates: Mapping[str, Function], bins: EnergyBins, pixels: Observation, table: Arrays
    ) -> None:
        self._bins, self._pixels, self._templates = bins, pixels, templates
        self._smooth, self._populations = spec.smooth, [c for c in spec.populations if c.name in templates]
        self._fixed = [c for c in spec.smooth if templates[c.name].moving is None]
        shape = (-1, bins.n, pixels.n_fit // bins.n)
        maps = [templates[c.name].table(table, pixels.n_fit).reshape(shape) for c in self._fixed]
        self.arrays: Arrays = {
            "maps": np.concatenate([*maps, np.zeros((0, *shape[1:]))]),
            "means": {
                name: np.array([self.means(jnp.asarray(table[key])) for key in function.maps]).reshape(-1, bins.n)
                for name, function in templates.items()
            },
            "sources": {
                c.name: templates[c.name].table(table, pixels.n_fit).reshape(shape).mean(axis=1)
                for c in self._populations
            },
        }

    def fitted(self, theta: Parameters, table: Arrays, arrays: Arrays) -> tuple[jax.Array, dict[str, jax.Array]]:
        """In the fitted pixels the smooth mean (E P,), and the template (P,) of each population that has one."""
        shape = (self._bins.n, self._pixels.n_fit // self._bins.n)
        mean, weights = jnp.zeros(shape), [jnp.zeros((0, self._bins.n))]
        for component in self._smooth:
            function = self._templates[component.name]
            if function.moving is None:
                rates = self._rates(component, theta, function.shares(table, theta) @ arrays["means"][component.name])
                weights.append(jnp.outer(function.shares(table, theta), rates))
            else:
                values = function(table, theta, self._pixels.n_pixels)
                rates = self._rates(component, theta, self.means(values))
                mean = mean + rates[:, None] * values[: self._pixels.n_fit].reshape(shape)
        mean = mean + jnp.einsum("me,mep->ep", jnp.concatenate(weights), arrays["maps"])
        return mean.ravel(), {c.name: self._sources(c, theta, table, arrays) for c in self._populations}

    def template(self, component: Component, theta: Parameters, table: Arrays) -> jax.Array:
        """The template (N,) of one component, whose sum over bins of means over the region is 1."""
        values = self._templates[component.name](table, theta, self._pixels.n_pixels)
        if component.of_sources:
            shares = self._bins.source_shares(component, theta)
            return self._over_bins(values) * shares[self._pixels.energy_bin]
        rates, norm = self._rates(component, theta, self.means(values)), self._norm(component, theta)
        even = jnp.ones(self._bins.n) / (self._bins.n * self.means(values))  # of a component without any counts
        return values * jnp.where(norm == 0, even, rates / jnp.where(norm == 0, 1.0, norm))[self._pixels.energy_bin]

    def _sources(self, component: Component, theta: Parameters, table: Arrays, arrays: Arrays) -> jax.Array:
        """The template of a population in the fitted pixels (P,): that of the sky, whatever the bin."""
        function, size = self._templates[component.name], self._pixels.n_fit
        if function.moving is None:
            return function.shares(table, theta) @ arrays["sources"][component.name]
        return function(table, theta, size).reshape(self._bins.n, -1).mean(axis=0)

    def _rates(self, component: Component, theta: Parameters, means: jax.Array) -> jax.Array:
        """Mean counts over value of the template in each bin (E,), given the template's means (E,)."""
        assert component.norm is not None  # the spec has seen to it
        if isinstance(component.norm, PerBin):
            return component.norm.values(theta) / means
        weights = jnp.ones(self._bins.n)
        if component.spectrum is not None:
            weights = self._bins.shares(component, theta) * self._bins.mean_exposure
        return total_norm(component.norm, theta) * weights / (weights @ means)

    @staticmethod
    def _norm(component: Component, theta: Parameters) -> jax.Array:
        assert component.norm is not None  # as above
        return total_norm(component.norm, theta)

    def means(self, values: jax.Array) -> jax.Array:
        """Means (E,) of values (N,) over the region in each bin."""
        parts = values[: self._pixels.n_fit], values[self._pixels.n_fit : self._pixels.n_region]
        sums = [part.reshape(self._bins.n, -1).sum(axis=1) for part in parts]
        return (sums[0] + sums[1]) / (self._pixels.n_region // self._bins.n)

    def _over_bins(self, values: jax.Array) -> jax.Array:
        """The mean over bins of values (N,), in every bin."""
        ends = (0, self._pixels.n_fit, self._pixels.n_region, self._pixels.n_pixels)
        parts = [values[first:last].reshape(self._bins.n, -1) for first, last in pairwise(ends)]
        return jnp.concatenate([jnp.broadcast_to(part.mean(axis=0), part.shape).ravel() for part in parts])
