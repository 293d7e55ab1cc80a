"""An inverse autoregressive flow (arXiv:1606.04934): the guide of arXiv:2604.08648."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gammasky.engine.citation import Citation
from gammasky.engine.infer.guides.guide import Family, Frame, Guide, Parameters

if TYPE_CHECKING:
    import jax

_HIDDEN_LAYERS = 2  # of the network of a flow
_START = 1e-2  # of the last layers' weights: the flow starts near the identity


class Iaf(Guide):
    """An inverse autoregressive flow of NumPyro's networks, started as the identity."""

    name = "iaf"
    steps_on_copy = 4000
    layers, width = 5, 128  # as in arXiv:2604.08648, with tanh
    citations = (
        Citation(
            "inverse autoregressive flows",
            r"""
            @misc{Kingma2016,
              author        = {Kingma, Diederik P. and Salimans, Tim and Jozefowicz, Rafal and Chen, Xi and Sutskever, Ilya and Welling, Max},
              title         = {Improving Variational Inference with Inverse Autoregressive Flow},
              year          = {2016},
              eprint        = {1606.04934},
              archivePrefix = {arXiv}
            }
            """,  # noqa: E501
        ),
        Citation(
            "the networks of these flows",
            r"""
            @misc{Phan2019,
              author        = {Phan, Du and Pradhan, Neeraj and Jankowiak, Martin},
              title         = {Composable Effects for Flexible and Accelerated Probabilistic Programming in {NumPyro}},
              year          = {2019},
              eprint        = {1912.11554},
              archivePrefix = {arXiv}
            }
            """,
        ),
    )

    @staticmethod
    def build(size: int, layers: int | None = None, width: int | None = None) -> Family:
        import jax
        import jax.numpy as jnp
        from jax.example_libraries import stax
        from numpyro.distributions.flows import InverseAutoregressiveTransform
        from numpyro.nn import AutoregressiveNN

        from gammasky.engine.infer.guides.frame import log_normal
        from gammasky.engine.infer.guides.triangular import inverse
        from gammasky.engine.infer.recorded import recorded, solve_lower

        # a hidden layer narrower than the input cannot reach every output
        hidden = [max(width or Iaf.width, size)] * _HIDDEN_LAYERS
        net_init, net = AutoregressiveNN(size, hidden, permutation=jnp.arange(size), nonlinearity=stax.Tanh)

        def init(_frame: Frame, key: jax.Array) -> Parameters:
            nets = [net_init(k, (size,))[1] for k in jax.random.split(key, layers or Iaf.layers)]
            flows = [[*net[:-1], jax.tree.map(lambda weights: _START * weights, net[-1])] for net in nets]
            return jax.tree.map(lambda *weights: jnp.stack(weights), *flows)

        def forward(flow: Parameters, u: jax.Array) -> tuple[jax.Array, jax.Array]:
            transform = InverseAutoregressiveTransform(lambda x: net(flow, x))
            return transform.call_with_intermediates(u)

        def apply(carry: tuple[jax.Array, jax.Array], flow: Parameters) -> tuple[tuple[jax.Array, jax.Array], None]:
            u, log_q = carry
            v, log_scale = forward(flow, u)
            return (v[::-1], log_q - jnp.sum(log_scale)), None  # reversed: each flow sees the other end first

        def sample(parameters: Parameters, frame: Frame, key: jax.Array) -> tuple[jax.Array, jax.Array]:
            u = jax.random.normal(key, (size,))
            # a scan, not a Python loop: one flow to compile instead of five, but where a loop costs more than that
            (u, log_q), _ = jax.lax.scan(apply, (u, log_normal(u)), parameters, unroll=recorded() or 1)
            return frame["centre"] + frame["scale_tril"] @ u, log_q - jnp.sum(jnp.log(jnp.diag(frame["scale_tril"])))

        def undo(carry: tuple[jax.Array, jax.Array], flow: Parameters) -> tuple[tuple[jax.Array, jax.Array], None]:
            v, log_det = carry
            u = inverse(forward, flow, v[::-1])
            return (u, log_det + jnp.sum(forward(flow, u)[1])), None

        def log_density(parameters: Parameters, frame: Frame, x: jax.Array) -> jax.Array:
            white = solve_lower(frame["scale_tril"], x - frame["centre"])
            log_det = jnp.sum(jnp.log(jnp.diag(frame["scale_tril"])))
            (u, log_det), _ = jax.lax.scan(undo, (white, log_det), parameters, reverse=True, unroll=recorded() or 1)
            return log_normal(u) - log_det

        return Family(init, sample, at_any_cost=log_density)
