"""What a model expects of the sky: the one place where counts, templates and source-count functions are put together.

Likelihoods, simulators, predictive checks, fluxes and maps all read the `Sky` that `Expectation.sky` gives for a
parameter point.
"""

from __future__ import annotations

from functools import cached_property

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.model.energy_bins import EnergyBins, require_spectra
from gammasky.engine.model.expected_sky import InShells, Sky
from gammasky.engine.model.in_shells import names_of, numbers_of, require_on_grid
from gammasky.engine.model.latent import Latent
from gammasky.engine.model.parameters import parameter_labels
from gammasky.engine.model.populations import Populations
from gammasky.engine.model.several_bins import SeveralBins
from gammasky.engine.model.shells import Shells
from gammasky.engine.model.spec import Component, ModelSpec, PerBin, total_norm
from gammasky.engine.model.templates import Function, Setting
from gammasky.engine.model.templates.field import BuiltField, named
from gammasky.engine.model.values import Arrays, Parameters
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.observation import Observation

_POINTS = 5  # of the priors, where what stands for shells is compared with them


class Expectation:
    """The expected sky of a model in given pixels.

    Templates have mean 1 over the region of interest without its source masks, so every norm is mean counts per pixel;
    in several energy bins, of all bins together (`several_bins`).

    Args:
        spec: the model.
        dataset: where its maps come from.
        pixels: the N pixels.
        backend: of the kernels.

    Attributes:
        bins: the energy bins.
        smooth: the components without point sources.
        populations: the source-count functions of the others.
        fields: on the templates, by name; see `named`.
        arrays: every fixed number; functions that are traced take it as an argument.

    Raises:
        InputError: a template that does not fit the data set; names it.
    """

    def __init__(self, spec: ModelSpec, dataset: Dataset, pixels: Observation, backend: str) -> None:
        self.spec, self.pixels, self.backend = spec, pixels, backend
        self._dataset, self.bins = dataset, EnergyBins.of(pixels)
        require_spectra(spec, dataset)
        self.smooth, in_space = spec.smooth, [c for c in spec.populations if c.luminosity is not None]
        shells = {component.name: Shells(component, pixels, self._points) for component in in_space}
        self.populations = Populations(spec, self.bins, shells)
        setting = Setting(dataset, pixels, backend, priors=spec.parameters)
        self._templates = {}
        for component in spec.components:
            if component.luminosity is not None:
                continue
            says = component.spectrum is not None or isinstance(component.norm, PerBin)
            setting.per_bin = says and self.bins.n > 1
            setting.point_sources = component.of_sources
            setting.as_is = component.exposure == "as_is"
            self._templates[component.name] = component.template.build(setting)
        self.fields, self._of_fields = named(setting.fields), setting.fields
        fixed = {"templates": setting.arrays, "populations": {}, "source_exposure": pixels.likelihood_exposure}
        if spec.populations:
            fixed["populations"] = self.populations.arrays
        for component in in_space:
            self._require_on_grid(component)
        # what every likelihood takes: all smooth components in one product of matrices, and the populations
        if self.bins.n > 1:
            self._several = SeveralBins(spec, self._templates, self.bins, pixels, setting.arrays)
            self.arrays: Arrays = jax.tree.map(jnp.asarray, {**fixed, "bins": self._several.arrays})
            return
        self._smooth_mean = Function.sum(
            lambda theta: [_norm(component, theta) for component in self.smooth],
            [self._templates[component.name] for component in self.smooth],
        )
        on_sky = [self._templates[name] for name in self.populations.names if name in self._templates]
        fitted = [self._smooth_mean, *on_sky]
        fixed["fitted_maps"] = [function.table(setting.arrays, pixels.n_fit) for function in fitted]
        self.arrays = jax.tree.map(jnp.asarray, fixed)

    @property
    def middle(self) -> Parameters:
        """The parameters in the middle of their priors."""
        return self._points[0]

    @cached_property
    def _points(self) -> list[Parameters]:
        """The parameters in the middle of their priors, and a few draws of these."""
        latent = Latent(self.spec.parameters, parameter_labels(self.spec, self.bins.edges_gev))
        draws = np.random.default_rng(0).standard_normal((_POINTS, latent.n_latent))
        draws[0] = 0.0
        return [latent.parameters(latent.arrays(), jnp.asarray(z)) for z in draws]

    def on(self, pixels: Observation) -> Expectation:
        """The same expectation in other pixels of the same region."""
        return Expectation(self.spec, self._dataset, pixels, self.backend)

    def sky(self, theta: Parameters, arrays: Arrays) -> Sky:
        """The sky at `theta`."""
        norms, dnds, shells = {}, {}, {}
        counted = [c for c in self.populations.components if c.luminosity is None]
        of_sources = self.populations.evaluate_together(counted, theta, arrays["populations"])
        for component in self.spec.components:
            name = component.name
            if component.luminosity is not None:
                shells[name] = self.populations.in_shells(component, theta, arrays["populations"])
                norms[name], dnds[name] = shells[name].norm, shells[name].dnds
            elif component.of_sources:
                norms[name], dnds[name] = of_sources[name]
            else:
                norms[name] = _norm(component, theta)
        shares = {c.name: self.bins.shares(c, theta) for c in self.spec.components if c.spectrum is not None}

        def template(name: str) -> jax.Array:
            if name in shells:
                return self._in_bins(name, shells[name], theta, arrays)
            return self.template(name, theta, arrays)

        return Sky(norms, dnds, shells, shares, template, lambda: self._fitted(theta, arrays, shells))

    def _fitted(self, theta: Parameters, arrays: Arrays, shells: dict[str, InShells]) -> tuple[jax.Array, jax.Array]:
        """In the fitted pixels the smooth mean (P,), and the templates of the populations and shells (I, P / E)."""
        size = self.pixels.n_fit // self.bins.n
        if self.bins.n > 1:
            mean, parts = self._several.fitted(theta, arrays["templates"], arrays["bins"])
        else:
            (smooth, *sources), table = arrays["fitted_maps"], arrays["templates"]
            on_sky = [name for name in self.populations.names if name in self._templates]
            mean = self._smooth_mean.from_maps(smooth, table, theta)
            parts = {
                name: self._templates[name].from_maps(maps, table, theta)
                for name, maps in zip(on_sky, sources, strict=True)
            }
        return mean, self._by_row(parts, shells, arrays, size)

    def _by_row(
        self, on_sky: dict[str, jax.Array], shells: dict[str, InShells], arrays: Arrays, size: int
    ) -> jax.Array:
        """Templates (I, size) of the populations and, of those with a luminosity function, of their shells."""
        rows = [
            self.shares(name, shells[name], arrays, size) if name in shells else on_sky[name][None, :size]
            for name in self.populations.names
        ]
        return jnp.concatenate(rows) if rows else jnp.zeros((0, size))

    def shares(self, name: str, found: InShells, arrays: Arrays, size: int) -> jax.Array:
        """Sources (J, size) of a population in each shell and pixel, over their mean number in one of the region."""
        of_shells = arrays["populations"]["shells"][name]
        return self.populations.shells[name].in_pixels(found.shares, of_shells, size)

    def _in_bins(self, name: str, found: InShells, theta: Parameters, arrays: Arrays) -> jax.Array:
        """The template (N,) of a population in shells, as `template` has it."""
        of_shells = arrays["populations"]["shells"][name]
        template = self.populations.shells[name].in_pixels(found.template, of_shells, self.pixels.n_pixels)
        if self.bins.n == 1:
            return template
        component = next(c for c in self.spec.components if c.name == name)
        return template * self.bins.source_shares(component, theta)[self.pixels.energy_bin]

    def _require_on_grid(self, component: Component) -> None:
        """Refuse luminosities that give no counts of the source grid."""
        arrays = jax.tree.map(jnp.asarray, self.populations.arrays)
        found = self.populations.in_shells(component, self.middle, arrays)
        require_on_grid(component, float(found.on_grid), self.spec.source_grid.limits)

    def numbers_of_sources(self, sky: Sky, theta: Parameters) -> dict[str, dict[str, jax.Array]]:
        """Mean luminosity and numbers of sources of the populations with a luminosity function; see `numbers_of`."""
        found = self.populations.components
        return {c.name: self._numbers(c, sky.shells[c.name], theta) for c in found if c.name in sky.shells}

    @property
    def names_of_numbers(self) -> dict[str, dict[str, str]]:
        """The names of what `numbers_of_sources` gives, with their units."""
        return {c.name: names_of(self._threshold(c)) for c in self.populations.components if c.luminosity is not None}

    def _numbers(self, component: Component, found: InShells, theta: Parameters) -> dict[str, jax.Array]:
        luminosity, shells = component.luminosity, self.populations.shells[component.name]
        assert luminosity is not None  # of such components only
        return numbers_of(found, luminosity, shells, theta, self._threshold(component))

    def _threshold(self, component: Component) -> float | None:
        """The flux above which a catalogue has a source [cm^-2 s^-1]: as the component or the data set states it."""
        assert component.luminosity is not None  # as above
        of_data = [high for _, high in self._dataset.manifest.thresholds_cm2_s.values()]
        return component.luminosity.threshold_cm2_s or (of_data[0] if of_data else None)

    def template(self, component: str, theta: Parameters, arrays: Arrays) -> jax.Array:
        """The template (N,) of one component, of mean 1 over the region (of several energy bins, the sum of means);
        reads the parameters in it and of its spectrum alone, and those of a luminosity function."""
        if component in self.populations.shells:
            described = next(c for c in self.spec.components if c.name == component)
            found = self.populations.in_shells(described, theta, arrays["populations"])
            return self._in_bins(component, found, theta, arrays)
        if self.bins.n > 1:
            described = next(c for c in self.spec.components if c.name == component)
            return self._several.template(described, theta, arrays["templates"])
        return self._templates[component](arrays["templates"], theta, self.pixels.n_pixels)

    def field(self, name: str, theta: Parameters, arrays: Arrays) -> jax.Array:
        """g (n_region / E,) of one field in the pixels of the region, about its mean there: what is left of it once a
        template is normalised."""
        g = self.built_field(name)(arrays["templates"], theta)[: self.pixels.n_region // self.bins.n]
        return g - jnp.mean(g)

    def built_field(self, name: str) -> BuiltField:
        """One of the fields, with its basis."""
        built: BuiltField = self._of_fields[self.fields[name]]
        return built

    def smooth_mean(self, sky: Sky, size: int) -> jax.Array:
        """Mean counts (size,) of all smooth components together in the first pixels."""
        if size == self.pixels.n_fit:
            return sky.fitted_maps[0]
        mean = jnp.zeros(size)
        for component in self.smooth:
            mean = mean + sky.norms[component.name] * sky.templates[component.name][:size]
        return mean

    def source_templates(self, sky: Sky, size: int) -> jax.Array:
        """Templates (I, size / E) of the populations, and shells, in the first pixels, which are the same in every
        energy bin."""
        if size == self.pixels.n_fit:
            return sky.fitted_maps[1]
        return self._by_row(sky.templates, sky.shells, self.arrays, size)

    def source_functions(self, sky: Sky) -> jax.Array:
        """dN/dS (I, S) of the populations, and shells, on a grid of fluxes dN/dF."""
        rows = [sky.shells[n].rows if n in sky.shells else sky.dnds[n][None] for n in self.populations.names]
        return jnp.concatenate(rows) if rows else jnp.zeros((0, len(self.populations.s_grid)))

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
        """Mean counts per pixel of each component over the region of interest, source masks lifted; in all energy bins
        together."""
        return {name: jnp.sum(fluxes) for name, fluxes in self.bin_fluxes(sky).items()}

    def bin_fluxes(self, sky: Sky) -> dict[str, jax.Array]:
        """Mean counts per pixel of each component over the region in each energy bin (E,), source masks lifted."""
        if self.bins.n > 1:
            return {name: norm * self._several.means(sky.templates[name]) for name, norm in sky.norms.items()}
        n_region = self.pixels.n_region
        return {name: (norm * jnp.mean(sky.templates[name][:n_region]))[None] for name, norm in sky.norms.items()}

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
    return total_norm(component.norm, theta)
