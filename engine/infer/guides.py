"""Guides: families of densities over the latent z that a variational fit chooses from.

Each starts at the Laplace approximation z = mode + L u, u ~ N(0, 1)^D:

- `iaf`: an inverse autoregressive flow (arXiv:1606.04934; NumPyro's networks) on u, started as the identity: the
  guide of arXiv:2604.08648, 5 flows of [128, 128] tanh;
- `mvn`: a multivariate normal, location and Cholesky factor free;
- `diagonal`: independent normals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.errors import unknown_name
from gammasky.engine.infer.optimise import Laplace

Parameters = Any
Frame = dict[str, jax.Array]

N_FLOWS, HIDDEN = 5, (128, 128)
_START = 1e-2  # of the last layer's weights: the flow starts near the identity


@dataclass(frozen=True)
class Guide:
    """A family of densities.

    Attributes:
        name: as chosen by the user.
        init: (start, key) -> parameters, a pytree of arrays.
        sample: (parameters, frame, key) -> one draw z (D,) and its log density; differentiable in the parameters.
            `frame` is the start as arrays, see `frame_of`; it is not fitted.
    """

    name: str
    init: Callable[[Laplace, jax.Array], Parameters]
    sample: Callable[[Parameters, Frame, jax.Array], tuple[jax.Array, jax.Array]]


def frame_of(start: Laplace) -> Frame:
    """The arrays of the start that a guide's draws need."""
    return {"mode": jnp.asarray(start.mode), "scale_tril": jnp.asarray(start.scale_tril)}


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
    def init(start: Laplace, _key: jax.Array) -> Parameters:
        log_diagonal = np.log(np.diag(start.scale_tril))
        below = np.tril(start.scale_tril, -1) / np.diag(start.scale_tril)[:, None]
        return {"loc": jnp.asarray(start.mode), "log_scale": jnp.asarray(log_diagonal), "below": jnp.asarray(below)}

    def sample(parameters: Parameters, _frame: Frame, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        u = jax.random.normal(key, (size,))
        lower = jnp.eye(size) + jnp.tril(parameters["below"], -1)  # unit rows, so that one rate suits all entries
        z = parameters["loc"] + jnp.exp(parameters["log_scale"]) * (lower @ u)
        return z, _log_normal(u) - jnp.sum(parameters["log_scale"])

    return Guide("mvn", init, sample)


def _diagonal(size: int) -> Guide:
    def init(start: Laplace, _key: jax.Array) -> Parameters:
        # of all independent normals the one nearest to the start, as KL(guide | posterior) measures: 1 / precision
        precision = np.square(np.linalg.inv(start.scale_tril)).sum(axis=0)
        return {"loc": jnp.asarray(start.mode), "log_scale": jnp.asarray(-0.5 * np.log(precision))}

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

    def init(_start: Laplace, key: jax.Array) -> Parameters:
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
        return frame["mode"] + frame["scale_tril"] @ u, log_q - jnp.sum(jnp.log(jnp.diag(frame["scale_tril"])))

    return Guide("iaf", init, sample)


GUIDES: dict[str, Callable[[int], Guide]] = {"iaf": _iaf, "mvn": _mvn, "diagonal": _diagonal}
