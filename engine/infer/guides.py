"""Guides: families of densities that a variational fit chooses from.

Each starts on a frame, x = centre + L u, u ~ N(0, 1)^D:

- `flow`: a coupling flow of rational-quadratic splines (arXiv:1906.04032; flowjax) on u, started near the identity,
  on an affine map that is free too; its density at any x is as cheap as its draws;
- `iaf`: an inverse autoregressive flow (arXiv:1606.04934; NumPyro's networks) on u, started as the identity: the
  guide of arXiv:2604.08648, 5 flows of [128, 128] tanh;
- `mvn`: a multivariate normal, location and Cholesky factor free;
- `diagonal`: independent normals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular
from numpy.typing import NDArray

from gammasky.engine.errors import unknown_name

Floats = NDArray[np.float64]
Parameters = Any
Frame = dict[str, jax.Array]

N_FLOWS, HIDDEN = 5, (128, 128)
N_LAYERS, WIDTH, KNOTS, INTERVAL = 6, 48, 8, 5.0  # of the coupling flow; splines act on |u| < INTERVAL
_START = 1e-2  # of the last layer's weights: the flow starts near the identity


@dataclass(frozen=True)
class Guide:
    """A family of densities.

    Attributes:
        name: as chosen by the user.
        init: (frame, key) -> parameters, a pytree of arrays.
        sample: (parameters, frame, key) -> one draw x (D,) and its log density; differentiable in the parameters.
            `frame` is where the guide starts, see `frame_of`; it is not fitted.
        log_density: (parameters, frame, x) -> log density at any x; None for a guide that is only cheap to draw from.
    """

    name: str
    init: Callable[[Frame, jax.Array], Parameters]
    sample: Callable[[Parameters, Frame, jax.Array], tuple[jax.Array, jax.Array]]
    log_density: Callable[[Parameters, Frame, jax.Array], jax.Array] | None = None


def frame_of(centre: Floats, covariance: Floats) -> Frame:
    """The frame of a centre (D,) and a covariance (D, D)."""
    return {"centre": jnp.asarray(centre), "scale_tril": jnp.asarray(np.linalg.cholesky(covariance))}


def build_guide(name: str, size: int) -> Guide:
    """The guide of that name over `size` latent dimensions.

    Raises:
        InputError: unknown guide (with the nearest match).
    """
    if name not in GUIDES:
        raise unknown_name("guide", name, GUIDES)
    return GUIDES[name](size)


def _log_normal(u: jax.Array) -> jax.Array:
    return -0.5 * jnp.sum(u**2) - 0.5 * u.size * jnp.log(2 * jnp.pi)


def _mvn(size: int) -> Guide:
    def init(frame: Frame, _key: jax.Array) -> Parameters:
        diagonal = jnp.diag(frame["scale_tril"])
        below = jnp.tril(frame["scale_tril"], -1) / diagonal[:, None]
        return {"loc": frame["centre"], "log_scale": jnp.log(diagonal), "below": below}

    def sample(parameters: Parameters, _frame: Frame, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        u = jax.random.normal(key, (size,))
        lower = jnp.eye(size) + jnp.tril(parameters["below"], -1)  # unit rows, so that one rate suits all entries
        z = parameters["loc"] + jnp.exp(parameters["log_scale"]) * (lower @ u)
        return z, _log_normal(u) - jnp.sum(parameters["log_scale"])

    return Guide("mvn", init, sample)


def _shrunk(leaf: Any) -> Any:
    return _START * leaf if isinstance(leaf, jax.Array) else leaf


def _flow(size: int) -> Guide:
    import equinox
    from flowjax.bijections import RationalQuadraticSpline
    from flowjax.distributions import Normal
    from flowjax.flows import coupling_flow

    if size < 2:
        return replace(_mvn(size), name="flow")  # there is nothing to couple

    def layers(key: jax.Array) -> Any:
        flow = coupling_flow(
            key,
            base_dist=Normal(jnp.zeros(size)),
            transformer=RationalQuadraticSpline(knots=KNOTS, interval=INTERVAL),
            flow_layers=N_LAYERS,
            nn_width=WIDTH,
            nn_activation=jax.nn.silu,
        )
        # small last layers: every spline starts near the identity
        last = lambda bijection: bijection.bijection.bijection.bijections[0].conditioner.layers[-1]  # noqa: E731
        bijection = equinox.tree_at(last, flow.bijection, replace_fn=lambda layer: jax.tree.map(_shrunk, layer))
        return equinox.partition(bijection, equinox.is_inexact_array)

    _, structure = layers(jax.random.key(0))

    def init(_frame: Frame, key: jax.Array) -> Parameters:
        splines = jax.tree.map(lambda weights: weights.astype(float), layers(key)[0])
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
        return z, _log_normal(u) - log_det - log_volume(parameters, frame)

    def log_density(parameters: Parameters, frame: Frame, z: jax.Array) -> jax.Array:
        white = solve_triangular(frame["scale_tril"], z - frame["centre"], lower=True)
        bent = solve_triangular(affine(parameters), white - parameters["loc"], lower=True)
        u, log_det = equinox.combine(parameters["splines"], structure).inverse_and_log_det(bent)
        return _log_normal(u) + log_det - log_volume(parameters, frame)

    return Guide("flow", init, sample, log_density)


def _diagonal(size: int) -> Guide:
    def init(frame: Frame, _key: jax.Array) -> Parameters:
        # of all independent normals the one nearest to the start, as KL(guide | posterior) measures: 1 / precision
        precision = jnp.square(jnp.linalg.inv(frame["scale_tril"])).sum(axis=0)
        return {"loc": frame["centre"], "log_scale": -0.5 * jnp.log(precision)}

    def sample(parameters: Parameters, _frame: Frame, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        u = jax.random.normal(key, (size,))
        z = parameters["loc"] + jnp.exp(parameters["log_scale"]) * u
        return z, _log_normal(u) - jnp.sum(parameters["log_scale"])

    return Guide("diagonal", init, sample)


def _iaf(size: int) -> Guide:
    from jax.example_libraries import stax
    from numpyro.distributions.flows import InverseAutoregressiveTransform
    from numpyro.nn import AutoregressiveNN

    # a hidden layer narrower than the input cannot reach every output
    hidden = [max(width, size) for width in HIDDEN]
    net_init, net = AutoregressiveNN(size, hidden, permutation=jnp.arange(size), nonlinearity=stax.Tanh)

    def init(_frame: Frame, key: jax.Array) -> Parameters:
        layers = [net_init(k, (size,))[1] for k in jax.random.split(key, N_FLOWS)]
        flows = [[*flow[:-1], jax.tree.map(lambda weights: _START * weights, flow[-1])] for flow in layers]
        return jax.tree.map(lambda *weights: jnp.stack(weights), *flows)

    def apply(carry: tuple[jax.Array, jax.Array], flow: Parameters) -> tuple[tuple[jax.Array, jax.Array], None]:
        u, log_q = carry
        transform = InverseAutoregressiveTransform(lambda x: net(flow, x))
        v, log_scale = transform.call_with_intermediates(u)
        return (v[::-1], log_q - jnp.sum(log_scale)), None  # reversed: each flow sees the other end first

    def sample(parameters: Parameters, frame: Frame, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        u = jax.random.normal(key, (size,))
        # a scan, not a Python loop: one flow to compile instead of five
        (u, log_q), _ = jax.lax.scan(apply, (u, _log_normal(u)), parameters)
        return frame["centre"] + frame["scale_tril"] @ u, log_q - jnp.sum(jnp.log(jnp.diag(frame["scale_tril"])))

    return Guide("iaf", init, sample)


GUIDES: dict[str, Callable[[int], Guide]] = {"flow": _flow, "iaf": _iaf, "mvn": _mvn, "diagonal": _diagonal}
