"""A multivariate normal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gammasky.engine.infer.guides.guide import Family, Frame, Guide, Parameters

if TYPE_CHECKING:
    import jax


class Mvn(Guide):
    """A multivariate normal, location and Cholesky factor free."""

    name = "mvn"

    @staticmethod
    def build(size: int) -> Family:
        import jax
        import jax.numpy as jnp

        from gammasky.engine.infer.guides.frame import log_normal
        from gammasky.engine.infer.recorded import solve_lower

        def init(frame: Frame, _key: jax.Array) -> Parameters:
            diagonal = jnp.diag(frame["scale_tril"])
            below = jnp.tril(frame["scale_tril"], -1) / diagonal[:, None]
            return {"loc": frame["centre"], "log_scale": jnp.log(diagonal), "below": below}

        def unit_rows(parameters: Parameters) -> jax.Array:
            return jnp.eye(size) + jnp.tril(parameters["below"], -1)  # so that one rate suits all entries

        def sample(parameters: Parameters, _frame: Frame, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            u = jax.random.normal(key, (size,))
            lower = unit_rows(parameters)
            z = parameters["loc"] + jnp.exp(parameters["log_scale"]) * (lower @ u)
            return z, log_normal(u) - jnp.sum(parameters["log_scale"])

        def log_density(parameters: Parameters, _frame: Frame, z: jax.Array) -> jax.Array:
            scaled = (z - parameters["loc"]) * jnp.exp(-parameters["log_scale"])
            u = solve_lower(unit_rows(parameters), scaled, unit_diagonal=True)
            return log_normal(u) - jnp.sum(parameters["log_scale"])

        return Family(init, sample, at_any_cost=log_density)
