"""Independent normals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gammasky.engine.infer.guides.guide import Family, Frame, Guide, Parameters

if TYPE_CHECKING:
    import jax


class Diagonal(Guide):
    """Independent normals in the latent space."""

    name = "diagonal"

    @staticmethod
    def build(size: int) -> Family:
        import jax
        import jax.numpy as jnp

        from gammasky.engine.infer.guides.frame import log_normal

        def init(frame: Frame, _key: jax.Array) -> Parameters:
            # of all independent normals the one nearest to the start, as KL(guide | posterior) measures: 1 / precision
            precision = jnp.square(jnp.linalg.inv(frame["scale_tril"])).sum(axis=0)
            return {"loc": frame["centre"], "log_scale": -0.5 * jnp.log(precision)}

        def sample(parameters: Parameters, _frame: Frame, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            u = jax.random.normal(key, (size,))
            z = parameters["loc"] + jnp.exp(parameters["log_scale"]) * u
            return z, log_normal(u) - jnp.sum(parameters["log_scale"])

        def log_density(parameters: Parameters, _frame: Frame, z: jax.Array) -> jax.Array:
            u = (z - parameters["loc"]) * jnp.exp(-parameters["log_scale"])
            return log_normal(u) - jnp.sum(parameters["log_scale"])

        return Family(init, sample, at_any_cost=log_density)
