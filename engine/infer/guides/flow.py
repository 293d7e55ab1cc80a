"""A coupling flow of rational-quadratic splines (arXiv:1906.04032; flowjax)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gammasky.engine.citation import Citation
from gammasky.engine.infer.guides.guide import Family, Frame, Guide, Parameters
from gammasky.engine.infer.guides.mvn import Mvn

if TYPE_CHECKING:
    import jax

KNOTS, INTERVAL = 8, 5.0  # splines act on |u| < INTERVAL
_START = 1e-2  # of the last layers' weights: the flow starts near the identity


class Flow(Guide):
    """Splines on u, started near the identity, on an affine map that is free too; its density at any x is cheap."""

    name = "flow"
    learning_rate = 3e-3
    schedule = "cosine"
    windows = (0.1, 0.2, 0.4)
    layers, width = 6, 48
    flux_coordinates = True
    has_density = True
    citations = (
        Citation(
            "spline flows",
            r"""
            @misc{Durkan2019,
              author        = {Durkan, Conor and Bekasov, Artur and Murray, Iain and Papamakarios, George},
              title         = {Neural Spline Flows},
              year          = {2019},
              eprint        = {1906.04032},
              archivePrefix = {arXiv}
            }
            """,
        ),
        Citation(
            "the implementation of the flows",
            r"""
            @misc{FlowJAX,
              author = {Ward, Daniel},
              title  = {{FlowJAX}: Distributions and Normalizing Flows in {Jax}},
              doi    = {10.5281/zenodo.10402073},
              url    = {https://github.com/danielward27/flowjax}
            }
            """,
        ),
        Citation(
            "gradients of the ELBO that vanish at the optimum",
            r"""
            @misc{Roeder2017,
              author        = {Roeder, Geoffrey and Wu, Yuhuai and Duvenaud, David},
              title         = {Sticking the Landing: Simple, Lower-Variance Gradient Estimators for Variational Inference},
              year          = {2017},
              eprint        = {1703.09194},
              archivePrefix = {arXiv}
            }
            """,  # noqa: E501
        ),
    )

    @staticmethod
    def build(size: int, layers: int | None = None, width: int | None = None) -> Family:
        import equinox
        import jax
        import jax.numpy as jnp
        from flowjax.bijections import RationalQuadraticSpline
        from flowjax.distributions import Normal
        from flowjax.flows import coupling_flow

        from gammasky.engine.infer.guides.frame import log_normal
        from gammasky.engine.infer.guides.unrolled import Layers, Spline
        from gammasky.engine.infer.recorded import recorded, solve_lower

        if size < 2:
            return Mvn.build(size)  # there is nothing to couple

        unrolled = recorded()
        spline: Any = Spline if unrolled else RationalQuadraticSpline
        in_turn: Any = Layers

        def shrunk(leaf: Any) -> Any:
            return _START * leaf if isinstance(leaf, jax.Array) else leaf

        def splines_of(key: jax.Array) -> Any:
            flow = coupling_flow(
                key,
                base_dist=Normal(jnp.zeros(size)),
                transformer=spline(knots=KNOTS, interval=INTERVAL),
                flow_layers=layers or Flow.layers,
                nn_width=width or Flow.width,
                nn_activation=jax.nn.silu,
            )
            # small last layers: every spline starts near the identity
            last = lambda bijection: bijection.bijection.bijection.bijections[0].conditioner.layers[-1]  # noqa: E731
            bijection = equinox.tree_at(last, flow.bijection, replace_fn=lambda layer: jax.tree.map(shrunk, layer))
            if unrolled:
                layers_of = lambda bijection: bijection.bijection  # noqa: E731
                one_by_one = in_turn(layers_of(bijection).bijection, (size,), None)
                bijection = equinox.tree_at(layers_of, bijection, one_by_one)
            return equinox.partition(bijection, equinox.is_inexact_array)

        _, structure = splines_of(jax.random.key(0))

        def init(_frame: Frame, key: jax.Array) -> Parameters:
            splines = jax.tree.map(lambda weights: weights.astype(float), splines_of(key)[0])
            zeros = jnp.zeros(size)
            return {"splines": splines, "loc": zeros, "log_scale": zeros, "below": jnp.zeros((size, size))}

        def affine(parameters: Parameters) -> jax.Array:
            lower = jnp.eye(size) + jnp.tril(parameters["below"], -1)
            return jnp.exp(parameters["log_scale"])[:, None] * lower

        def log_volume(parameters: Parameters, frame: Frame) -> jax.Array:
            return jnp.sum(parameters["log_scale"]) + jnp.sum(jnp.log(jnp.diag(frame["scale_tril"])))

        def sample(parameters: Parameters, frame: Frame, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            u = jax.random.normal(key, (size,))
            bent, log_det = equinox.combine(parameters["splines"], structure).transform_and_log_det(u)
            z = frame["centre"] + frame["scale_tril"] @ (parameters["loc"] + affine(parameters) @ bent)
            return z, log_normal(u) - log_det - log_volume(parameters, frame)

        def log_density(parameters: Parameters, frame: Frame, z: jax.Array) -> jax.Array:
            white = solve_lower(frame["scale_tril"], z - frame["centre"])
            bent = solve_lower(affine(parameters), white - parameters["loc"])
            u, log_det = equinox.combine(parameters["splines"], structure).inverse_and_log_det(bent)
            return log_normal(u) + log_det - log_volume(parameters, frame)

        return Family(init, sample, log_density)
