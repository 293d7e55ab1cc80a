"""A sky model: components over flat pixels, one log density over the latent space."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gammasky.engine.errors import InputError, NonFiniteLikelihoodError, unknown_name
from gammasky.engine.kernels import callbacks
from gammasky.engine.kernels.nptf import op as nptf
from gammasky.engine.kernels.nptf.plan import PixelPlan
from gammasky.engine.kernels.poisson import op as poisson
from gammasky.engine.model.latent import Latent, Parameters, log_standard_normal
from gammasky.engine.model.points import non_finite, point_from_numbers
from gammasky.engine.model.source_counts import absolute_breaks, broken_power_law, free_form, spline_matrix
from gammasky.engine.model.spec import AnySourceCounts, Component, FreeSourceCounts, ModelSpec, read_model
from gammasky.engine.model.templates import Arrays, TemplateBuilder, value_of
from gammasky.engine.model.uses import parameter_labels
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.pixel_fractions import pixel_fractions
from gammasky.engine.sky.response import Response


class SkyModel:
    """The counts of a dataset under a model.

    For pixel p with smooth mean mu_p = sum_j S_j T_jp and populations i of point sources with template T_ip and
    source-count function (dN/dS)_i, the log-likelihood is sum_p log p(k_p | mu_p, T_p, dN/dS) (NPTF; Poisson without
    populations). Templates have mean 1 over the region of interest without its source masks, so every norm is mean
    counts per pixel.

    Args:
        spec: the model, a preset's name or a TOML file.
        dataset: an open dataset.
        backend: of the kernels: "numba", "cuda", "reference" (plain JAX), or "auto": see `callbacks.choose`.
        around_deg [deg]: templates reach that far beyond the region (for simulated sources, whose photons scatter).
        max_count: largest count that `with_counts` may bring, if it is above those of the dataset.

    Attributes:
        pixels: the flat pixels of the region; the first P are fitted.
        latent: layout of the latent space z ~ N(0, 1)^D.
        arrays: every fixed number, counts included; methods that are traced take it as an argument, so that programs
            hold no data.
        response: counts response to source-count functions; None without point sources.
        programs: compiled functions by key (see `program`); models of one structure may share one dictionary.

    Raises:
        InputError: a model that does not fit the dataset; names the component or parameter.
    """

    def __init__(
        self,
        spec: ModelSpec | str | Path,
        dataset: Dataset,
        *,
        backend: str = "auto",
        around_deg: float = 0.0,
        max_count: int = 0,
    ) -> None:
        backend = callbacks.choose(backend)
        if jnp.asarray(0.0).dtype != jnp.float64:
            raise InputError("JAX works in single precision: call gammasky.configure() before anything else")
        self.spec = spec if isinstance(spec, ModelSpec) else read_model(spec)
        self.dataset, self.backend = dataset, backend
        self.latent = Latent(self.spec.parameters, parameter_labels(self.spec))
        self.pixels = self.spec.region.flatten(dataset, around_deg=around_deg)
        self.programs: dict[Hashable, Any] = {}
        self.smooth = [component for component in self.spec.components if component.source_counts is None]
        self._source_counts = {
            component.name: (component, component.source_counts)
            for component in self.spec.components
            if component.source_counts is not None
        }
        self.populations = [component for component, _ in self._source_counts.values()]
        builder = TemplateBuilder(dataset, self.pixels, backend)
        self._templates = {
            component.name: builder.build(
                component.template,
                point_sources=component.source_counts is not None,
                as_is=component.exposure == "as_is",
            )
            for component in self.spec.components
        }
        self.response = self._build_response(max_count) if self.populations else None
        self.arrays: Arrays = jax.tree.map(jnp.asarray, self._all_arrays(builder.arrays))

    def _build_response(self, max_count: int) -> Response:
        grid = self.spec.source_grid
        fractions = pixel_fractions(self.dataset.psf, self.pixels.nside)
        return Response.build(
            np.geomspace(grid.min, grid.max, grid.nodes),
            fractions.fraction,
            fractions.weight,
            self.pixels.exposure_ratios,
            max(max_count, int(self.pixels.counts.max()), 1),
        )

    def _plan(self, counts: np.ndarray) -> PixelPlan:
        return PixelPlan.build(counts, self.pixels.region, self.pixels.exposure_ratios.size)

    def _all_arrays(self, templates: Arrays) -> Arrays:
        plans = (self._plan(self.pixels.counts),)
        arrays: Arrays = {"priors": self.latent.arrays(), "templates": templates, "plans": plans}
        if self.response is not None:
            regions, counts, nodes = self.response.matrix.shape
            arrays["source_grid"] = self.response.s_grid
            arrays["quadrature"] = self.response.quadrature
            arrays["splines"] = {
                component.name: spline_matrix(self.response.s_grid, counts.nodes, counts.degree)
                for component, counts in self._source_counts.values()
                if isinstance(counts, FreeSourceCounts)
            }
            arrays["response"] = self.response.matrix.reshape(regions * counts, nodes)
        return arrays

    @property
    def n_latent(self) -> int:
        """Dimension D of the latent space."""
        return self.latent.n_latent

    def parameters(self, z: jax.Array, arrays: Arrays | None = None) -> Parameters:
        """Parameters by name, from the latent z (D,)."""
        return self.latent.parameters(self._arrays(arrays)["priors"], z)

    def log_density(self, z: jax.Array, arrays: Arrays | None = None, beta: jax.Array | float = 1.0) -> jax.Array:
        """log N(z; 0, 1) + beta log-likelihood, a scalar; beta tempers the likelihood."""
        return log_standard_normal(z) + beta * self.log_likelihood(self.parameters(z, arrays), arrays)

    def log_likelihood(self, theta: Parameters, arrays: Arrays | None = None) -> jax.Array:
        """Log-likelihood of all fitted pixels, a scalar."""
        if not self.populations:
            return self.pixel_log_likelihood(theta, arrays).sum()
        point, plans = self._kernel_point(theta, arrays), self._arrays(arrays)["plans"]
        looks = [nptf.total_log_likelihood(plan, *point, backend=self.backend) for plan in plans]
        return jnp.sum(jnp.stack(looks))

    def pixel_log_likelihood(self, theta: Parameters, arrays: Arrays | None = None) -> jax.Array:
        """Log-likelihood of each fitted pixel (P,)."""
        point, plans = self._kernel_point(theta, arrays), self._arrays(arrays)["plans"]
        of_pixels: Callable[..., jax.Array] = (
            nptf.pixel_log_likelihood if self.populations else poisson.pixel_log_likelihood
        )
        return jnp.sum(jnp.stack([of_pixels(plan, *point, backend=self.backend) for plan in plans]), axis=0)

    def _kernel_point(self, theta: Parameters, arrays: Arrays | None) -> tuple[jax.Array, ...]:
        """What the likelihood of a pixel depends on: smooth mean and, with populations, templates and X."""
        mean, templates, dnds = self.ingredients(theta, arrays)
        return (mean, templates, self.expected_sources(dnds, arrays)) if self.populations else (mean,)

    def with_counts(self, counts: np.ndarray, *more: np.ndarray) -> SkyModel:
        """The same model of other counts; compiled programs are shared, so another sky costs no compilation.

        Args:
            counts (P,): photons in the fitted pixels.
            more (P,): further independent looks at the same sky; the log-likelihood is the sum over all looks.

        Raises:
            InputError: wrong shape, a count that is negative or not whole, or above what the response holds.
        """
        plans = tuple(self._plan(np.asarray(look)) for look in (counts, *more))
        if self.response is not None:
            for plan in plans:
                nptf.require_count_in_range(plan, self.response.max_count)
        other = copy.copy(self)
        other.pixels = replace(self.pixels, counts=plans[0].counts)
        other.arrays = {**self.arrays, "plans": jax.tree.map(jnp.asarray, plans)}
        return other

    def program(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """The compiled function `key`, made by `build()` when first asked for; shared by models `with_counts`.

        It must take the arrays of the model as an argument and hold no data.
        """
        if key not in self.programs:
            self.programs[key] = build()
        return self.programs[key]

    def ingredients(self, theta: Parameters, arrays: Arrays | None = None) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Smooth mean (P,) [counts], point-source templates (I, P) and dN/dS (I, S) [per pixel per count]."""
        n_fit = self.pixels.n_fit
        mean = jnp.zeros(n_fit)
        for component in self.smooth:
            mean = (
                mean + self.mean_counts(component, theta, arrays) * self.template(component.name, theta, arrays)[:n_fit]
            )
        if not self.populations:
            return mean, jnp.zeros((0, n_fit)), jnp.zeros((0, 0))
        templates = jnp.stack([self.template(c.name, theta, arrays)[:n_fit] for c in self.populations])
        dnds = jnp.stack([self.source_counts(c.name, theta, arrays) for c in self.populations])
        return mean, templates, dnds

    def template(self, component: str, theta: Parameters, arrays: Arrays | None = None) -> jax.Array:
        """Template of a component in the N pixels, fitted pixels first."""
        return self._templates[component](self._arrays(arrays)["templates"], theta)

    def source_counts(self, population: str, theta: Parameters, arrays: Arrays | None = None) -> jax.Array:
        """dN/dS (S,) [sources per pixel per count] of a population on `response.s_grid`."""
        if population not in self._source_counts:
            raise unknown_name("population", population, self._source_counts)
        component, counts = self._source_counts[population]
        numbers = self._arrays(arrays)
        dnds = self._shape(component.name, counts, theta, numbers)
        if component.norm is None:
            return dnds if component.amplitude is None else value_of(component.amplitude, theta) * dnds
        per_source = jnp.sum(numbers["quadrature"] * numbers["source_grid"] * dnds)
        return self.mean_counts(component, theta, arrays) / per_source * dnds

    def _shape(self, name: str, counts: AnySourceCounts, theta: Parameters, numbers: Arrays) -> jax.Array:
        """dN/dS (S,), of a broken power law relative to the highest break."""
        grid = numbers["source_grid"]
        if isinstance(counts, FreeSourceCounts):
            values = theta[counts.values] if isinstance(counts.values, str) else jnp.asarray(counts.values)
            return free_form(grid, numbers["splines"][name], values)
        breaks = absolute_breaks([value_of(b, theta) for b in counts.breaks], counts.relative)
        return broken_power_law(grid, [value_of(n, theta) for n in counts.slopes], breaks)

    def mean_counts(self, component: Component, theta: Parameters, arrays: Arrays | None = None) -> jax.Array:
        """Mean counts per pixel of a component, over its template of mean 1."""
        if component.norm is not None:
            return value_of(component.norm, theta)
        numbers, dnds = self._arrays(arrays), self.source_counts(component.name, theta, arrays)
        return jnp.sum(numbers["quadrature"] * numbers["source_grid"] * dnds)

    def fluxes(self, theta: Parameters, arrays: Arrays | None = None) -> dict[str, jax.Array]:
        """Mean counts per pixel of each component over the region of interest, source masks lifted."""
        n_region = self.pixels.n_region
        return {
            component.name: self.mean_counts(component, theta, arrays)
            * jnp.mean(self.template(component.name, theta, arrays)[:n_region])
            for component in self.spec.components
        }

    def point_source_fractions(self, theta: Parameters, arrays: Arrays | None = None) -> dict[str, jax.Array]:
        """Share of point sources in the flux of each group of components that has both kinds."""
        fluxes = self.fluxes(theta, arrays)
        groups = {c.group for c in self.populations if c.group} & {c.group for c in self.smooth if c.group}
        result = {}
        for group in sorted(groups):
            smooth, point_sources = (
                jnp.sum(jnp.stack([fluxes[c.name] for c in components if c.group == group]))
                for components in (self.smooth, self.populations)
            )
            result[group] = point_sources / (smooth + point_sources)
        return result

    def numpyro_model(self, arrays: Arrays | None = None, beta: jax.Array | float = 1.0) -> None:
        """The same density as a NumPyro model: one site `z`, every parameter as a deterministic site."""
        import numpyro
        import numpyro.distributions as dist

        z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([self.n_latent]).to_event(1))
        theta = self.parameters(z, arrays)
        for name, value in theta.items():
            numpyro.deterministic(name, value)
        numpyro.factor("log_likelihood", beta * self.log_likelihood(theta, arrays))

    def point(self, values: Mapping[str, Any]) -> Parameters:
        """Parameters from plain numbers; they may lie outside their priors.

        Raises:
            InputError: a name that is missing or unknown, a wrong length, a value that is not a finite number,
                fractions that do not add up to 1, breaks out of order.
        """
        return point_from_numbers(self.spec, self.latent.slots, values)

    def explain(self, theta: Parameters) -> NonFiniteLikelihoodError:
        """The error for parameters whose likelihood or gradient is not finite: names the pixel and the parameters."""
        log_p = np.asarray(self.pixel_log_likelihood(theta))
        return non_finite(theta, log_p, np.asarray(self.ingredients(theta)[0]), self.pixels)

    def value_and_gradient(self, z: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """Compiled log density and its gradient, for z (D,) or a batch (B, D)."""

        def evaluate(arrays: Arrays, z: jax.Array) -> tuple[jax.Array, jax.Array]:
            single = jax.value_and_grad(lambda point: self.log_density(point, arrays))
            return single(z) if z.ndim == 1 else jax.vmap(single)(z)

        return self.program("value_and_gradient", lambda: jax.jit(evaluate))(self.arrays, jnp.asarray(z))

    def expected_sources(self, dnds: jax.Array, arrays: Arrays | None = None) -> jax.Array:
        """X (I, R, M + 1) = response @ dN/dS: sources that put m photons in a pixel; row 0 is minus their total."""
        x = dnds @ self._arrays(arrays)["response"].T
        return x.reshape(dnds.shape[0], self.pixels.exposure_ratios.size, -1)

    def _arrays(self, arrays: Arrays | None) -> Arrays:
        return self.arrays if arrays is None else arrays
