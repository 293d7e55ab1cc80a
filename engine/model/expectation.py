"""What a model expects of the sky: the one place where counts, templates and source-count functions are put together.

Likelihoods, simulators, predictive checks, fluxes and maps all read the `Sky` that `Expectation.sky` gives for a
parameter point.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gammasky.engine.model.expected_sky import Sky
from gammasky.engine.model.populations import Populations
from gammasky.engine.model.spec import Component, ModelSpec
from gammasky.engine.model.templates import Function, Setting
from gammasky.engine.model.values import Arrays, Parameters, value_of
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.observation import Observation


class Expectation:
    """The expected sky of a model in given pixels.

    Templates have mean 1 over the region of interest without its source masks, so every norm is mean counts per pixel.

    Args:
        spec: the model.
        dataset: where its maps come from.
        pixels: the N pixels.
        backend: of the kernels.

    Attributes:
        smooth: the components without point sources.
        populations: the source-count functions of the others.
        arrays: every fixed number; functions that are traced take it as an argument.

    Raises:
        InputError: a template that does not fit the data set; names it.
    """

    def __init__(self, spec: ModelSpec, dataset: Dataset, pixels: Observation, backend: str) -> None:
        self.spec, self.pixels, self.backend = spec, pixels, backend
        self._dataset = dataset
        self.smooth, self.populations = spec.smooth, Populations(spec)
        setting = Setting(dataset, pixels, backend)
        self._templates = {}
        for component in spec.components:
            setting.point_sources = component.source_counts is not None
            setting.as_is = component.exposure == "as_is"
            self._templates[component.name] = component.template.build(setting)
        fixed = {"templates": setting.arrays, "populations": {}, "source_exposure": pixels.likelihood_exposure}
        if spec.populations:
            fixed["populations"] = self.populations.arrays
        # what every likelihood takes: all smooth components in one product of matrices, and the populations
        self._smooth_mean = Function.sum(
            lambda theta: [_norm(component, theta) for component in self.smooth],
            [self._templates[component.name] for component in self.smooth],
        )
        fitted = [self._smooth_mean, *(self._templates[name] for name in self.populations.names)]
        fixed["fitted_maps"] = [function.table(setting.arrays, pixels.n_fit) for function in fitted]
        self.arrays: Arrays = jax.tree.map(jnp.asarray, fixed)

    def on(self, pixels: Observation) -> Expectation:
        """The same expectation in other pixels of the same region."""
        return Expectation(self.spec, self._dataset, pixels, self.backend)

    def sky(self, theta: Parameters, arrays: Arrays) -> Sky:
        """The sky at `theta`."""
        norms, dnds = {}, {}
        for component in self.spec.components:
            if component.source_counts is None:
                norms[component.name] = _norm(component, theta)
            else:
                norms[component.name], dnds[component.name] = self.populations.evaluate(
                    component, theta, arrays["populations"]
                )
        return Sky(norms, dnds, lambda name: self.template(name, theta, arrays), lambda: self._fitted(theta, arrays))

    def _fitted(self, theta: Parameters, arrays: Arrays) -> tuple[jax.Array, jax.Array]:
        """In the fitted pixels the smooth mean (P,), and the templates of the populations (I, P)."""
        (smooth, *sources), table = arrays["fitted_maps"], arrays["templates"]
        templates = [
            self._templates[name].from_maps(maps, table, theta)
            for name, maps in zip(self.populations.names, sources, strict=True)
        ]
        return self._smooth_mean.from_maps(smooth, table, theta), stacked(templates, (0, self.pixels.n_fit))

    def template(self, component: str, theta: Parameters, arrays: Arrays) -> jax.Array:
        """The template (N,) of one component, of mean 1 over the region; reads the parameters in it alone."""
        return self._templates[component](arrays["templates"], theta, self.pixels.n_pixels)

    def smooth_mean(self, sky: Sky, size: int) -> jax.Array:
        """Mean counts (size,) of all smooth components together in the first pixels."""
        if size == self.pixels.n_fit:
            return sky.fitted_maps[0]
        mean = jnp.zeros(size)
        for component in self.smooth:
            mean = mean + sky.norms[component.name] * sky.templates[component.name][:size]
        return mean

    def source_templates(self, sky: Sky, size: int) -> jax.Array:
        """Templates (I, size) of the populations in the first pixels."""
        if size == self.pixels.n_fit:
            return sky.fitted_maps[1]
        return stacked([sky.templates[component.name][:size] for component in self.populations.components], (0, size))

    def source_functions(self, sky: Sky) -> jax.Array:
        """dN/dS (I, S) of the populations."""
        return stacked(
            [sky.dnds[component.name] for component in self.populations.components], (0, len(self.populations.s_grid))
        )

    def counts(self, sky: Sky, arrays: Arrays) -> dict[str, jax.Array]:
        """Expected counts (N,) of each component.

        Point sources: norm * template * exposure ratio of the pixel's region, as in the likelihood; pixels that are
        not fitted belong to no region and take their own exposure.
        """
        found = {name: norm * sky.templates[name] for name, norm in sky.norms.items()}
        for component in self.populations.components:
            found[component.name] = found[component.name] * arrays["source_exposure"]
        return found

    def fluxes(self, sky: Sky) -> dict[str, jax.Array]:
        """Mean counts per pixel of each component over the region of interest, source masks lifted."""
        n_region = self.pixels.n_region
        return {name: norm * jnp.mean(sky.templates[name][:n_region]) for name, norm in sky.norms.items()}

    @property
    def groups(self) -> list[str]:
        """Groups that have both smooth emission and point sources."""
        smooth, populations = (
            {c.group for c in kind if c.group} for kind in (self.smooth, self.populations.components)
        )
        return sorted(smooth & populations)

    def point_source_fractions(self, sky: Sky) -> dict[str, jax.Array]:
        """Share of point sources in the flux of each group."""
        fluxes, result = self.fluxes(sky), {}
        for group in self.groups:
            smooth, point_sources = (
                jnp.sum(jnp.stack([fluxes[c.name] for c in components if c.group == group]))
                for components in (self.smooth, self.populations.components)
            )
            result[group] = point_sources / (smooth + point_sources)
        return result


def _norm(component: Component, theta: Parameters) -> jax.Array:
    """The norm of a smooth component."""
    assert component.norm is not None  # the spec has seen to it
    return value_of(component.norm, theta)


def stacked(parts: list[jax.Array], empty: tuple[int, ...]) -> jax.Array:
    """The parts on a new first axis; without any, zeros of the shape `empty`."""
    return jnp.stack(parts) if parts else jnp.zeros(empty)
