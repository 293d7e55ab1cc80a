"""The log density of a model over its latent space: all that methods and guides see of it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Hashable, Sequence
from functools import cached_property
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gammasky.engine.errors import NonFiniteLikelihoodError
from gammasky.engine.model.expectation import Expectation
from gammasky.engine.model.expected_sky import Sky
from gammasky.engine.model.expressions import is_name
from gammasky.engine.model.flux_axes import FluxAxes, flux_axes
from gammasky.engine.model.latent import Latent, log_standard_normal
from gammasky.engine.model.main_parameters import MOST, main_parameters
from gammasky.engine.model.programs import Programs
from gammasky.engine.model.spec import ModelSpec, total_norm
from gammasky.engine.model.terms import CountsTerm, Term
from gammasky.engine.model.values import Arrays, Parameters


class Density:
    """log N(z; 0, 1) plus the log-likelihood, a sum of terms, as a function of the latent z (D,).

    Args:
        latent: layout of the latent space.
        expectation: what is expected of the sky at a parameter point.
        counts_term: the likelihood of the counts.
        more_terms: further terms of the likelihood.

    Attributes:
        arrays: every fixed number, counts included; methods that are traced take it as an argument, so that programs
            hold no data.
        programs: compiled functions by key (see `program`); densities of one structure may share them.
    """

    def __init__(
        self, latent: Latent, expectation: Expectation, counts_term: CountsTerm, more_terms: Sequence[Term] = ()
    ) -> None:
        self.latent, self.expectation = latent, expectation
        self.counts_term, self._more_terms = counts_term, tuple(more_terms)
        self.programs = Programs()
        priors = jax.tree.map(jnp.asarray, latent.arrays())
        self.arrays: Arrays = {"priors": priors, "sky": expectation.arrays} | self._arrays_of_terms()

    def _arrays_of_terms(self) -> Arrays:
        more = tuple(jax.tree.map(jnp.asarray, term.arrays) for term in self._more_terms)
        return {"counts": self.counts_term.arrays, "terms": more}

    @property
    def n_latent(self) -> int:
        """Dimension D of the latent space."""
        return self.latent.n_latent

    @cached_property
    def flux_axes(self) -> FluxAxes:
        """The axes of the latent space on which norms lie."""
        return flux_axes(self.expectation.spec, self.latent)

    def mixture_fluxes(self, theta: Parameters) -> list[jax.Array]:
        """Mean counts per pixel of all templates that free shares mix, and of components whose norm is an expression;
        the likelihood is smooth in them."""
        found: list[jax.Array] = []
        for component in self.expectation.spec.components:
            if component.norm is None:
                continue
            norm = total_norm(component.norm, theta)
            alone = is_name(component.norm) or not isinstance(component.norm, str)
            found += [] if alone else [norm]
            found += component.template.fluxes(norm, theta)
        return found

    def main_parameters(self, most: int = MOST) -> list[str]:
        """Names of the parameters to show first, at most so many."""
        return main_parameters(self.expectation.spec, self.latent, most)

    @property
    def identity(self) -> dict[str, str]:
        """Digests of all that the density depends on: with one identity, settings and seed, fits are the same."""
        digest = hashlib.sha256()
        for leaf in jax.tree.leaves(self.arrays):
            digest.update(np.asarray(leaf).tobytes())
        return {"model": digest_of(self.expectation.spec), "arrays": digest.hexdigest()}

    def parameters(self, z: jax.Array, arrays: Arrays | None = None) -> Parameters:
        """Parameters by name, from the latent z (D,)."""
        return self.latent.parameters(self._of(arrays)["priors"], z)

    def sky(self, theta: Parameters, arrays: Arrays | None = None) -> Sky:
        """Work out what the model expects of the sky at the parameters `theta`."""
        return self.expectation.sky(theta, self._of(arrays)["sky"])

    def log_density(self, z: jax.Array, arrays: Arrays | None = None) -> jax.Array:
        """log N(z; 0, 1) + log-likelihood, a scalar."""
        return log_standard_normal(z) + self.log_likelihood(self.parameters(z, arrays), arrays)

    def log_likelihood(self, theta: Parameters, arrays: Arrays | None = None) -> jax.Array:
        """The log-likelihood, a scalar: the sum of all terms."""
        numbers, sky = self._of(arrays), self.sky(theta, arrays)
        total = self.counts_term.log_density(sky, theta, numbers["counts"])
        for term, of_term in zip(self._more_terms, numbers["terms"], strict=True):
            total = total + term.log_density(sky, theta, of_term)
        return total

    def pixel_log_likelihood(self, theta: Parameters, arrays: Arrays | None = None) -> jax.Array:
        """Log-likelihood of the counts in each fitted pixel (P,); further terms belong to no pixel."""
        return self.counts_term.per_pixel(self.sky(theta, arrays), self._of(arrays)["counts"])

    def with_counts(self, counts: np.ndarray, *more: np.ndarray) -> Self:
        """The same density for other counts.

        Compiled programs are shared, so another sky costs no compilation, unless it has a larger count than any before.

        Args:
            counts (P,): photons in the fitted pixels.
            more (P,): further independent looks at the same sky; the log-likelihood is the sum over all looks.

        Raises:
            InputError: wrong shape, or a count that is negative or not whole; names the pixel.
        """
        other = copy.copy(self)
        other.counts_term = self.counts_term.with_counts(counts, *more)
        other.arrays = {**self.arrays, **other._arrays_of_terms()}
        return other

    def value_and_gradient(self, z: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """Compiled log density and its gradient, for z (D,) or a batch (B, D)."""

        def evaluate(arrays: Arrays, z: jax.Array) -> tuple[jax.Array, jax.Array]:
            single = jax.value_and_grad(lambda point: self.log_density(point, arrays))
            return single(z) if z.ndim == 1 else jax.vmap(single)(z)

        return self.program("value_and_gradient", lambda: jax.jit(evaluate))(self.arrays, jnp.asarray(z))

    def likelihood_in_box(self, x: ArrayLike) -> tuple[jax.Array, jax.Array]:
        """Compiled log-likelihood (B,) and its gradient (B, D), at coordinates x (B, D) in the box of the priors."""

        def one(arrays: Arrays, x: jax.Array) -> jax.Array:
            return self.log_likelihood(self.latent.in_box(self._of(arrays)["priors"], x), arrays)

        def evaluate(arrays: Arrays, x: jax.Array) -> tuple[jax.Array, jax.Array]:
            return jax.vmap(jax.value_and_grad(lambda point: one(arrays, point)))(x)

        return self.program("likelihood in a box", lambda: jax.jit(evaluate))(self.arrays, jnp.asarray(x))

    def share(self, programs: Programs) -> None:
        """Use the programs of another density of the same structure, and where it has the same arrays, those."""
        counts = {name: part for name, part in self.arrays["counts"].items() if name != "plans"}
        fixed = programs.adopt({"sky": self.arrays["sky"], "counts": counts, "terms": self.arrays["terms"]})
        plans = {"plans": self.arrays["counts"]["plans"]}
        self.arrays = {**self.arrays, **fixed, "counts": {**fixed["counts"], **plans}}
        self.programs = programs

    def program(self, key: Hashable, build: Callable[[], Any]) -> Any:
        """The compiled function `key`, made by `build()` when first asked for; shared by densities `with_counts`.

        It must take the arrays of the density as an argument and hold no data.
        """
        return self.programs.find(key, build)

    def explain(self, theta: Parameters) -> NonFiniteLikelihoodError:
        """The error for parameters whose likelihood or gradient is not finite: names the term and the parameters."""
        at = ", ".join(f"{name}={_text(value)}" for name, value in theta.items())
        sky = self.sky(theta)
        reasons = [term.explain(sky, theta) for term in (self.counts_term, *self._more_terms)]
        reason = next((reason for reason in reasons if reason), None)
        if reason is None:
            return NonFiniteLikelihoodError(
                f"the gradient of the log-likelihood is not finite at {at}; lower the learning rate or narrow the "
                "priors"
            )
        return NonFiniteLikelihoodError(f"{reason} at {at}; correct the values, or narrow the priors")

    def numpyro_model(self, arrays: Arrays | None = None) -> None:
        """The same density as a NumPyro model: one site `z`, every parameter as a deterministic site."""
        import numpyro
        import numpyro.distributions as dist

        z = numpyro.sample("z", dist.Normal(0.0, 1.0).expand([self.n_latent]).to_event(1))
        theta = self.parameters(z, arrays)
        for name, value in theta.items():
            numpyro.deterministic(name, value)
        numpyro.factor("log_likelihood", self.log_likelihood(theta, arrays))

    def _of(self, arrays: Arrays | None) -> Arrays:
        return self.arrays if arrays is None else arrays


def digest_of(spec: ModelSpec) -> str:
    """SHA-256 of a model's description."""
    return hashlib.sha256(spec.model_dump_json().encode()).hexdigest()


def _text(value: Any) -> str:
    return np.array2string(np.asarray(value), precision=8, max_line_width=10_000)
