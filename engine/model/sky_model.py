"""A sky model: components over flat pixels, one log density over the latent space."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.errors import InputError, NonFiniteLikelihoodError, unknown_name
from gammasky.engine.kernels.bridge import BACKENDS
from gammasky.engine.kernels.nptf import op as nptf
from gammasky.engine.kernels.nptf.plan import PixelPlan
from gammasky.engine.kernels.poisson import op as poisson
from gammasky.engine.model.latent import Latent, Parameters, log_standard_normal
from gammasky.engine.model.source_counts import absolute_breaks, broken_power_law
from gammasky.engine.model.spec import Component, ModelSpec, read_model
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
        backend: "numba", or "reference" for plain JAX.

    Attributes:
        pixels: the flat pixels of the region; the first P are fitted.
        latent: layout of the latent space z ~ N(0, 1)^D.
        arrays: every fixed number; methods that are traced take it as an argument, so that programs hold no data.
        plan: layout of the fitted pixels for the kernels.
        response: counts response to source-count functions; None without point sources.

    Raises:
        InputError: a model that does not fit the dataset; names the component or parameter.
    """

    def __init__(self, spec: ModelSpec | str | Path, dataset: Dataset, *, backend: str = "numba") -> None:
        if backend not in BACKENDS:
            raise unknown_name("backend", backend, BACKENDS)
        self.spec = spec if isinstance(spec, ModelSpec) else read_model(spec)
        self.dataset, self.backend = dataset, backend
        self.latent = Latent(self.spec.parameters, parameter_labels(self.spec))
        self.pixels = self.spec.region.flatten(dataset)
        self.plan = PixelPlan.build(self.pixels.counts, self.pixels.region, self.pixels.exposure_ratios.size)
        self.smooth = [component for component in self.spec.components if component.source_counts is None]
        self.populations = [component for component in self.spec.components if component.source_counts is not None]
        builder = TemplateBuilder(dataset, self.pixels, backend)
        self._templates = {
            component.name: builder.build(
                component.template,
                point_sources=component.source_counts is not None,
                as_is=component.exposure == "as_is",
            )
            for component in self.spec.components
        }
        self.response = self._build_response() if self.populations else None
        self.arrays: Arrays = jax.tree.map(jnp.asarray, self._all_arrays(builder.arrays))

    def _build_response(self) -> Response:
        grid = self.spec.source_grid
        fractions = pixel_fractions(self.dataset.psf, self.pixels.nside)
        return Response.build(
            np.geomspace(grid.min, grid.max, grid.nodes),
            fractions.fraction,
            fractions.weight,
            self.pixels.exposure_ratios,
            max(self.plan.max_count, 1),
        )

    def _all_arrays(self, templates: Arrays) -> Arrays:
        arrays: Arrays = {"priors": self.latent.arrays(), "templates": templates}
        if self.response is not None:
            regions, counts, nodes = self.response.matrix.shape
            arrays["source_grid"] = self.response.s_grid
            arrays["quadrature"] = self.response.quadrature
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
        mean, templates, dnds = self.ingredients(theta, arrays)
        if not self.populations:
            return poisson.pixel_log_likelihood(self.plan, mean, backend=self.backend).sum()
        x = self._x(dnds, arrays)
        return nptf.total_log_likelihood(self.plan, mean, templates, x, backend=self.backend)

    def pixel_log_likelihood(self, theta: Parameters, arrays: Arrays | None = None) -> jax.Array:
        """Log-likelihood of each fitted pixel (P,)."""
        mean, templates, dnds = self.ingredients(theta, arrays)
        if not self.populations:
            return poisson.pixel_log_likelihood(self.plan, mean, backend=self.backend)
        return nptf.pixel_log_likelihood(self.plan, mean, templates, self._x(dnds, arrays), backend=self.backend)

    def ingredients(self, theta: Parameters, arrays: Arrays | None = None) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Smooth mean (P,) [counts], point-source templates (I, P) and dN/dS (I, S) [per pixel per count]."""
        n_fit = self.pixels.n_fit
        mean = jnp.zeros(n_fit)
        for component in self.smooth:
            mean = mean + value_of(component.norm, theta) * self.template(component.name, theta, arrays)[:n_fit]
        if not self.populations:
            return mean, jnp.zeros((0, n_fit)), jnp.zeros((0, 0))
        templates = jnp.stack([self.template(c.name, theta, arrays)[:n_fit] for c in self.populations])
        dnds = jnp.stack([self.source_counts(c.name, theta, arrays) for c in self.populations])
        return mean, templates, dnds

    def template(self, component: str, theta: Parameters, arrays: Arrays | None = None) -> jax.Array:
        """Template of a component in the N pixels of the region, fitted pixels first."""
        return self._templates[component](self._arrays(arrays)["templates"], theta)

    def source_counts(self, population: str, theta: Parameters, arrays: Arrays | None = None) -> jax.Array:
        """dN/dS (S,) [sources per pixel per count] of a population on `response.s_grid`."""
        component = self._population(population)
        counts = component.source_counts
        numbers = self._arrays(arrays)
        breaks = absolute_breaks([value_of(b, theta) for b in counts.breaks], counts.relative)
        slopes = [value_of(slope, theta) for slope in counts.slopes]
        dnds = broken_power_law(numbers["source_grid"], slopes, breaks)
        if component.amplitude is not None:
            return value_of(component.amplitude, theta) * dnds
        per_source = jnp.sum(numbers["quadrature"] * numbers["source_grid"] * dnds)
        return value_of(component.norm, theta) / per_source * dnds

    def fluxes(self, theta: Parameters, arrays: Arrays | None = None) -> dict[str, jax.Array]:
        """Mean counts per pixel of each component over the region of interest, source masks lifted."""
        numbers = self._arrays(arrays)
        result = {}
        for component in self.spec.components:
            scale = (
                value_of(component.norm, theta)
                if component.norm is not None
                else jnp.sum(
                    numbers["quadrature"] * numbers["source_grid"] * self.source_counts(component.name, theta, arrays)
                )
            )
            result[component.name] = scale * jnp.mean(self.template(component.name, theta, arrays))
        return result

    def point_source_fractions(self, theta: Parameters, arrays: Arrays | None = None) -> dict[str, jax.Array]:
        """Share of point sources in the flux of each group of components that has both kinds."""
        fluxes = self.fluxes(theta, arrays)
        groups = {c.group for c in self.populations if c.group} & {c.group for c in self.smooth if c.group}
        result = {}
        for group in sorted(groups):
            total = sum(fluxes[c.name] for c in self.spec.components if c.group == group)
            result[group] = sum(fluxes[c.name] for c in self.populations if c.group == group) / total
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
        """Parameters from plain numbers.

        Raises:
            InputError: a name that is missing or unknown, a wrong length, a value that is not a finite number.
        """
        for name in values:
            if name not in self.latent.slots:
                raise unknown_name("parameter", name, self.latent.slots)
        theta = {}
        for name, slot in self.latent.slots.items():
            if name not in values:
                raise InputError(f"parameter '{name}' is missing; give all of {', '.join(self.latent.slots)}")
            theta[name] = jnp.asarray(_numbers(name, values[name], slot.shape))
        return theta

    def explain(self, theta: Parameters) -> NonFiniteLikelihoodError:
        """The error for parameters whose likelihood or gradient is not finite: names the pixel and the parameters."""
        log_p = np.asarray(self.pixel_log_likelihood(theta))
        at = ", ".join(f"{name}={np.array2string(np.asarray(v), precision=8)}" for name, v in theta.items())
        if np.isfinite(log_p).all():
            return NonFiniteLikelihoodError(f"the gradient of the log-likelihood is not finite at {at}")
        pixel = int(np.argmin(np.isfinite(log_p)))
        mean = float(self.ingredients(theta)[0][pixel])
        lon, lat = self.pixels.lon_deg[pixel], self.pixels.lat_deg[pixel]
        healpix = int(self.pixels.index[pixel] % (12 * self.pixels.nside**2))
        return NonFiniteLikelihoodError(
            f"log-likelihood is {log_p[pixel]} in pixel {healpix} (nside {self.pixels.nside}, l={lon:.2f}, b={lat:.2f}, "
            f"count {self.pixels.counts[pixel]}, smooth mean {mean:.6g}) at {at}; narrow the priors of the norms"
        )

    @cached_property
    def value_and_gradient(self) -> Callable[[jax.Array], tuple[jax.Array, jax.Array]]:
        """Compiled log density and its gradient, for z (D,) or a batch (B, D)."""

        @jax.jit
        def evaluate(arrays: Arrays, z: jax.Array) -> tuple[jax.Array, jax.Array]:
            single = jax.value_and_grad(lambda point: self.log_density(point, arrays))
            return single(z) if z.ndim == 1 else jax.vmap(single)(z)

        return lambda z: evaluate(self.arrays, z)

    def _x(self, dnds: jax.Array, arrays: Arrays | None) -> jax.Array:
        """X (I, R, M + 1) = response @ dN/dS."""
        x = dnds @ self._arrays(arrays)["response"].T
        return x.reshape(dnds.shape[0], self.plan.n_regions, -1)

    def _population(self, name: str) -> Component:
        for component in self.populations:
            if component.name == name:
                return component
        raise unknown_name("population", name, [component.name for component in self.populations])

    def _arrays(self, arrays: Arrays | None) -> Arrays:
        return self.arrays if arrays is None else arrays


def _numbers(name: str, value: Any, shape: tuple[int, ...]) -> np.ndarray:
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"parameter '{name}': expected numbers, got {value!r:.60}") from None
    if numbers.shape != shape:
        expected = f"a list of {shape[0]} numbers" if shape else "one number"
        raise InputError(f"parameter '{name}': expected {expected}, got {value!r:.60}")
    if not np.isfinite(numbers).all():
        raise InputError(f"parameter '{name}': expected finite numbers, got {value!r:.60}")
    return numbers
