"""What a posterior says of a field: maps of its mean and standard deviation, and its power by the length of waves."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.model import SkyModel
from gammasky.engine.model.values import Arrays

Floats = NDArray[np.float64]
EDGES_DEG = (0.0, 10.0, 20.0, 40.0, np.inf)  # of the lengths of waves
BANDS = ("below 10 deg", "10 to 20 deg", "20 to 40 deg", "above 40 deg")
BATCH = 32  # draws side by side
QUANTILES = (0.16, 0.5, 0.84)


@dataclass(frozen=True, eq=False)
class FieldPosterior:
    """One field, by draws of the posterior.

    Attributes:
        components: names of the components whose templates have it.
        mean, sd (n_region / E,) [per cent]: of exp(g) over its mean in the region, minus 1, in each pixel of the sky.
        power (BANDS, 3): variance over the region of the part of g whose waves have these lengths: quantiles 16, 50 and
            84 per cent. Parts of different lengths may cancel in g, so that its own variance is not their sum.
        prior_power (BANDS,): the mean of that variance by the prior of the coefficients, at the amplitude and length of
            the draws; 0 where the field has no such waves.
    """

    components: tuple[str, ...]
    mean: Floats
    sd: Floats
    power: Floats
    prior_power: Floats


def field_posterior(model: SkyModel, name: str, z: Floats) -> FieldPosterior:
    """Work out one field of a model from draws z (n, D) of the latent space."""
    expectation = model.expectation
    field, built = expectation.fields[name], expectation.built_field(name)
    n_region = expectation.pixels.n_region // expectation.bins.n
    which = np.digitize(built.wavelengths_deg, EDGES_DEG) - 1
    in_band = jnp.stack([jnp.asarray(which == band, dtype=float) for band in range(len(BANDS))])

    def one(point: jax.Array, arrays: Arrays) -> tuple[jax.Array, jax.Array, jax.Array]:
        theta, table = model.parameters(point, arrays), arrays["sky"]["templates"]
        factor = jnp.exp(expectation.field(name, theta, arrays["sky"]))
        roots, basis = built.roots(table, theta), table[built.basis][:, :n_region]
        # by the prior coefficients are independent, and variances of modes add up; by the posterior they are not
        expected = in_band @ (roots**2 * jnp.var(basis, axis=1))
        found = jnp.var((in_band * (roots * theta[built.coefficients])) @ basis, axis=1)
        return 100.0 * (factor / jnp.mean(factor) - 1.0), found, expected

    def run(points: jax.Array, arrays: Arrays) -> tuple[jax.Array, jax.Array, jax.Array]:
        return jax.lax.map(lambda point: one(point, arrays), points, batch_size=min(BATCH, len(points)))

    program = model.program(("field", name), lambda: jax.jit(run))
    per_cent, found, expected = (np.asarray(part) for part in program(jnp.asarray(z), model.arrays))
    owners = [c.name for c in model.spec.components if field in list(c.template.fields())]
    return FieldPosterior(
        tuple(owners),
        per_cent.mean(axis=0),
        per_cent.std(axis=0),
        np.quantile(found, QUANTILES, axis=0).T,
        expected.mean(axis=0),
    )
