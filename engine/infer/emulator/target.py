"""A density in the coordinates of its fluxes, in which the copy learns and all samplers move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine import interrupt
from gammasky.engine.infer.coordinates import flux_coordinates
from gammasky.engine.infer.optimise import evaluate
from gammasky.engine.infer.result import log_likelihoods, log_prior
from gammasky.engine.model.latent import log_standard_normal
from gammasky.engine.model.values import Arrays
from gammasky.engine.normal import normal_cdf

if TYPE_CHECKING:
    from gammasky.engine.model import Density

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
BATCH = 128  # points whose prior, coordinates and features are worked out at once


class Target:
    """The log-likelihood l(x) and the prior density p(x) of coordinates x (D,); see `coordinates`.

    The likelihood is only asked for by the programs that climbs and final draws use too: nothing large is compiled
    here. All evaluations are counted.

    Args:
        model: the density.

    Attributes:
        arrays: the numbers of the priors.
        size, n_plain: dimension D, and how many of the first coordinates are no coefficients of a field.
        n_gradients, n_values: points at which the likelihood was evaluated, with its gradient and without.
    """

    def __init__(self, model: Density) -> None:
        self.model, self.size, self.n_plain = model, model.n_latent, model.latent.n_plain
        self.coordinates = flux_coordinates(model)
        self.arrays = {name: part for name, part in model.arrays.items() if name == "priors"}
        self.n_gradients = self.n_values = 0

    @property
    def has_fields(self) -> bool:
        """Whether some coordinates are coefficients of fields."""
        return self.n_plain < self.size

    def likelihood(self, x: Floats) -> tuple[Floats, Floats]:
        """Log-likelihood (n,) and its gradient (n, D) at x (n, D); not finite where the likelihood does not exist."""
        z = self.latent(x)
        self.n_gradients += len(x)
        return self.of_latent(z, *evaluate(self.model, z), x=x)

    def of_latent(self, z: Floats, values: Floats, gradients: Floats, x: Floats) -> tuple[Floats, Floats]:
        """The same from log densities (n,) and gradients (n, D) at z = z(x)."""
        pull = lambda _, point, slope: jax.vjp(lambda at: self.coordinates.to_latent(at)[0], point)[1](slope)[0]  # noqa: E731
        with np.errstate(over="ignore", invalid="ignore"):  # points that ran away: what is not finite is told
            return values - log_prior(z), self._mapped("pull", pull, x, gradients + z)

    def log_likelihood(self, x: Floats) -> Floats:
        """Log-likelihood (n,) without its gradient, at half the cost; not finite where it does not exist."""
        self.n_values += len(x)
        return log_likelihoods(self.model, self.latent(x), checked=False)

    def latent(self, x: Floats) -> Floats:
        """z (n, D) of x (n, D)."""
        return self._mapped("latent", lambda _, point: self.coordinates.to_latent(point)[0], x)

    def from_latent(self, z: Floats) -> Floats:
        """x (n, D) of z (n, D)."""
        return self._mapped("from latent", lambda _, point: self.coordinates.from_latent(point), z)

    def log_prior(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """log p of one x (D,), and its z."""
        z, log_volume = self.coordinates.to_latent(x)
        return log_standard_normal(z) + log_volume, z

    def prior(self, x: Floats) -> tuple[Floats, Floats]:
        """log p (n,) and its gradient (n, D) at x (n, D)."""
        log_prior = jax.value_and_grad(lambda point: self.log_prior(point)[0])
        return self._mapped("prior", lambda _, point: log_prior(point), x)

    def learnt(self, x: Floats, gradients: Floats) -> tuple[Floats, Floats]:
        """Points and gradients as a copy learns them, with weights of fields, of x (n, D) and gradients (n, D)."""
        if not self.has_fields:
            return x, gradients

        def one(_: Arrays, point: jax.Array, slope: jax.Array) -> tuple[jax.Array, jax.Array]:
            moved = self.coordinates.with_weights(point)
            return moved, jax.vjp(self.coordinates.without_weights, moved)[1](slope)[0]

        return self._mapped("weights of fields", one, x, gradients)

    def features(self, z: jax.Array, arrays: Arrays) -> jax.Array:
        """Smooth functions (F,) of one z (D,) in which the likelihood is nearly simple.

        They are the quantiles of the priors, and the fluxes of templates that free shares mix; all follow from the
        plain coordinates. `arrays` are those of the target: models that share programs may differ in them.
        """
        fluxes = self.model.mixture_fluxes(self.model.parameters(z, arrays))
        quantiles = normal_cdf(z[: self.n_plain] if self.has_fields else z)
        return jnp.concatenate([quantiles, jnp.stack(fluxes)] if fluxes else [quantiles])

    def features_and_slopes(self, x: Floats) -> tuple[Floats, Singles]:
        """Features (n, F) of x (n, D), and their derivatives (n, F, P) by the plain coordinates: others have none."""

        def one(arrays: Arrays, point: jax.Array) -> tuple[jax.Array, jax.Array]:
            found, push = jax.linearize(lambda at: self.features(self.coordinates.to_latent(at)[0], arrays), point)
            directions = jnp.eye(self.size)
            if self.has_fields:
                directions = directions[: self.n_plain]
            return found, jax.vmap(push)(directions).T.astype(jnp.float32)

        return self._mapped("features", one, x)

    def _mapped(self, name: str, one: Any, *points: Floats) -> Any:
        """`one` of the arrays and every row, BATCH rows at a time; the last batch is filled up."""
        axes = (None, *(0 for _ in points))
        program = self.model.program(("emulator", name), lambda: jax.jit(jax.vmap(one, axes)))
        parts = []
        for first in range(0, len(points[0]), BATCH):
            interrupt.check()
            rows = np.minimum(np.arange(first, first + BATCH), len(points[0]) - 1)
            kept = min(BATCH, len(points[0]) - first)
            found = program(self.arrays, *(array[rows] for array in points))
            parts.append(jax.tree.map(lambda part: np.asarray(part)[:kept], found))  # noqa: B023
        return jax.tree.map(lambda *rows: np.concatenate(rows), *parts)
