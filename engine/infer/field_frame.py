"""The normal distribution that a model with fields begins with, in coordinates where its posterior has one width.

In the latent space z the highest point of such a model says little: the prior of a hundred coefficients is highest at
zero, where no draw ever is, and amplitude and coefficients pay for each other. In x (see `field_coordinates`) the
density has the volume dz / dx in it, which is what the coefficients are worth once they are integrated out: its highest
point has amplitudes and lengths as the posterior has them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.climb import climb
from gammasky.engine.infer.optimise import covariance_of, differences, evaluate

if TYPE_CHECKING:
    from gammasky.engine.model import Density

Floats = NDArray[np.float64]
ToLatent = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


def frame_of_fields(model: Density, to_latent: ToLatent, start: Floats) -> tuple[Floats, Floats]:
    """Highest point (D,) of the density in x that a climb from `start` (D,) reaches, and the covariance (D, D) there.

    Args:
        model: the density of z.
        to_latent: from x (D,) to z (D,) and log |dz / dx|.
        start: in x.

    Raises:
        NonFiniteLikelihoodError: the likelihood has no finite curvature there.
    """

    def pulled(point: jax.Array, slope: jax.Array) -> jax.Array:
        return jax.vjp(to_latent, point)[1]((slope, jnp.asarray(1.0)))[0]

    forward: Any = model.program("latent point of fields", lambda: jax.jit(jax.vmap(to_latent)))
    pull: Any = model.program("slope in fields", lambda: jax.jit(jax.vmap(pulled)))

    def in_coordinates(x: Floats) -> tuple[Floats, Floats]:
        z, log_volume = (np.asarray(part) for part in forward(x))
        values, slopes = evaluate(model, z)
        return values + log_volume, np.asarray(pull(x, slopes))

    _, (top,) = climb(in_coordinates, start[None])
    if not np.isfinite(top).all():
        top = start
    bend = differences(in_coordinates, top)
    if not np.isfinite(bend).all():
        raise model.explain(model.parameters(forward(top[None])[0][0]))
    return top, covariance_of(bend)
