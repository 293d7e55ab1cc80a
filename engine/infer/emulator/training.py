"""Fits the network to log-likelihoods and their gradients (Czarnecki et al. 2017, arXiv:1706.04859).

    loss = mean over points of weight (h(f - l)^2 / 2 + h(|grad f - grad l|)^2),    gradients in u

with Huber's h, linear beyond 3, so that a few far points do not lead. Adam with a cosine schedule, batches of BATCH
points; weights decay (Loshchilov & Hutter 2019, arXiv:1711.05101), so that inputs that matter little are let go: a few
thousand points teach a smoother function then. One compiled program serves any number of points and steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.infer.clipping import clip_by_norm
from gammasky.engine.infer.emulator import network as networks
from gammasky.engine.infer.emulator.copy import Copy
from gammasky.engine.infer.emulator.design import Design
from gammasky.engine.infer.emulator.network import Network

if TYPE_CHECKING:
    from gammasky.engine.infer.emulator.target import Target

BATCH = 128
MOST_POINTS = 12_288
PIECE = 100  # steps per call: between looks at interrupts
_RATE, _LAST_RATE, _WARM = 6e-3, 0.02, 50  # learning rate, its end as a share of it, steps that it rises in
_DECAY = 0.3  # of the layers' weights, in units of the learning rate
_VALUE = 0.5  # what a squared error of the value [nat] counts beside one of the gradient
_LINEAR = 3.0  # errors above grow the loss linearly


def train(target: Target, copy: Copy, design: Design, key: jax.Array, n_steps: int) -> Iterator[Copy]:
    """The copy after every PIECE of steps."""
    n, columns = design.table(target, copy, MOST_POINTS)
    table = {name: jnp.asarray(column) for name, column in columns.items()}
    # zeros: made by JAX they would be a program for every shape
    state = jax.tree.map(lambda of: np.zeros(of.shape, of.dtype), jax.eval_shape(_optimiser().init, copy.network))
    program = target.model.program(("emulator", "training"), lambda: jax.jit(_run))
    network = copy.network
    for first in range(0, n_steps, PIECE):
        last = min(first + PIECE, n_steps)
        network, state = program(network, state, table, jnp.int32(n), key, jnp.int32(first), jnp.int32(last), n_steps)
        jax.block_until_ready(network)
        yield copy._replace(network=symmetric({**network, "A": np.asarray(network["A"])}))


def _optimiser() -> Any:
    import optax

    decays = lambda network: {name: name.startswith("weights") for name in network}  # noqa: E731
    return optax.chain(clip_by_norm(10.0), optax.scale_by_adam(b2=0.99), optax.add_decayed_weights(_DECAY, decays))


def _run(
    network: Network,
    state: Any,
    table: Any,
    n: jax.Array,
    key: jax.Array,
    first: jax.Array,
    last: jax.Array,
    total: int,
) -> tuple[Network, Any]:
    optimiser = _optimiser()
    highest = _RATE * _plain_share(table) ** 0.5

    def step(number: jax.Array, carry: tuple[Network, Any]) -> tuple[Network, Any]:
        network, state = carry
        rows = jax.random.randint(jax.random.fold_in(key, number), (BATCH,), 0, n)
        slope = jax.grad(loss)(network, jax.tree.map(lambda column: column[rows], table))
        change, state = optimiser.update(slope, state, network)
        rate = (highest * schedule(number, total, _WARM, _LAST_RATE)).astype(jnp.float32)
        return jax.tree.map(lambda weight, part: weight - rate * part, network, change), state

    return jax.lax.fori_loop(first, last, step, (network, state))


def schedule(step: jax.Array, total: jax.Array | int, warm_up: int, last: float) -> jax.Array:
    """The learning rate of a step relative to the highest: a rise of `warm_up` steps, then a cosine down to `last`."""
    rise = jnp.minimum(warm_up, total // 4)
    done = jnp.clip((step - rise) / jnp.maximum(total - rise, 1), 0.0, 1.0)
    cosine = last + (1.0 - last) * 0.5 * (1.0 + jnp.cos(jnp.pi * done))
    return jnp.where(step < rise, (step + 1) / (rise + 1), cosine)


def loss(network: Network, rows: dict[str, jax.Array]) -> jax.Array:
    """The loss of some rows of a design's table."""
    of_inputs = jax.vmap(jax.value_and_grad(networks.value, argnums=1), (None, 0))
    found, slopes = of_inputs(symmetric(network), rows["psi"])
    size = rows["gradients"].shape[1]
    of_features = jnp.einsum("nf,nfd->nd", slopes[:, size:], rows["slopes"])
    if of_features.shape[1] < size:  # features do not depend on the coefficients of fields, which come last
        of_features = jnp.pad(of_features, ((0, 0), (0, size - of_features.shape[1])))
    gradients = slopes[:, :size] + of_features
    of_value = _huber((found - rows["values"]) ** 2)
    of_gradient = _huber(jnp.sum((gradients - rows["gradients"]) ** 2, axis=1))
    of_both = _VALUE * _plain_share(rows) * of_value + of_gradient
    return jnp.sum(rows["weights"] * of_both) / jnp.sum(rows["weights"])


def _plain_share(rows: dict[str, jax.Array]) -> float:
    """Share of the coordinates that are no coefficients of fields: of many hundred numbers, each small, the errors add
    up in a value, which must not lead then, and smaller steps learn more."""
    return rows["slopes"].shape[2] / rows["gradients"].shape[1]


def _huber(square: jax.Array) -> jax.Array:
    """Huber's function of an error, from its square."""
    root = jnp.sqrt(jnp.maximum(square, _LINEAR**2))
    return jnp.where(square < _LINEAR**2, square, 2 * _LINEAR * root - _LINEAR**2)


def symmetric(network: Network) -> Network:
    """The same function with a symmetric quadratic form."""
    return {**network, "A": (network["A"] + network["A"].T) / 2}


def begun(target: Target, copy: Copy, design: Design, key: jax.Array) -> Copy:
    """The copy with a new network, which is the quadratic form of the design."""
    return copy._replace(network=networks.start(key, *design.quadratic(target, copy)))
