"""The copy of a log-likelihood, in a frame that is as wide as the posterior, within a wall.

The likelihood alone is copied: the prior and the volume of the coordinates are known and stay exact. Beyond the wall,
where no point has taught the copy anything, its log density falls by |u|^2 / 2 more, so that no sampler runs away.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.emulator import network as networks
from gammasky.engine.infer.emulator.network import Network
from gammasky.engine.infer.emulator.target import BATCH, Target
from gammasky.engine.infer.field_coordinates import spread_over_blocks
from gammasky.engine.model.values import Arrays

Floats = NDArray[np.float64]


class Copy(NamedTuple):
    """What is known of the likelihood l(x), as arrays.

    Attributes:
        centre (D,), scale_tril (D, D): the frame, x = centre + scale_tril @ u.
        middle, spread (F,): mean and standard deviation of the features, by which they are standardised.
        wall: radius^2 in u from which on the density falls faster.
        reference: log-likelihood that the network's function is counted from.
        block_inverse (Q, Q): inverse of the frame's block of the Q coefficients of fields: a triangular system to be
            solved for each chain would take four fifths of the time.
        network: see `network`; its inputs are u, that of a field's weights where there are fields, and the standardised
            features.
        reach: the wall in a network's u, which has no width of its own where weights of fields vary: as far as points
            have taught it.
    """

    centre: jax.Array
    scale_tril: jax.Array
    middle: jax.Array
    spread: jax.Array
    wall: np.float64
    reference: np.float64
    block_inverse: jax.Array
    network: Network
    reach: np.float64 = np.float64(np.inf)


def white(copy: Copy, x: Floats) -> Floats:
    """u (n, D) of x (n, D)."""
    return np.linalg.solve(np.asarray(copy.scale_tril), (x - np.asarray(copy.centre)).T).T


def placed(copy: Copy, u: Floats) -> Floats:
    """x (n, D) of u (n, D)."""
    return np.asarray(copy.centre) + u @ np.asarray(copy.scale_tril).T


def log_volume(copy: Copy) -> float:
    """log |dx / du|."""
    return float(np.log(np.diag(np.asarray(copy.scale_tril))).sum())


def log_density(target: Target, arrays: Arrays, copy: Copy, heat: jax.Array, u: jax.Array) -> jax.Array:
    """Log density of one u (D,): prior + heat (copy of l - reference) - wall; in x, without |dx / du|.

    `arrays` are those of the target.
    """
    x = copy.centre + copy.scale_tril @ u
    log_prior, z = target.log_prior(x)
    features = (target.features(z, arrays) - copy.middle) / copy.spread
    known = _inputs(target, copy, u, x)
    learnt = networks.value(copy.network, jnp.concatenate([known, features]).astype(jnp.float32))
    beyond = jnp.maximum(0.0, u @ u - copy.wall)
    if target.has_fields:
        beyond += jnp.maximum(0.0, known @ known - copy.reach)
    return log_prior + heat * learnt.astype(float) - 0.5 * beyond


def _inputs(target: Target, copy: Copy, u: jax.Array, x: jax.Array) -> jax.Array:
    """u (D,) of x (D,), of fields that of their weights."""
    if not target.has_fields:
        return u
    block = slice(target.n_plain, None)
    return u.at[block].add(copy.block_inverse @ (target.coordinates.with_weights(x) - x)[block])


def framed(target: Target, centre: Floats, covariance: Floats) -> Copy:
    """A copy that has learnt nothing, in the frame of a centre (D,) and a covariance (D, D)."""
    scale_tril, size = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64), len(centre)
    middle, spread = _standard(target, centre, scale_tril)
    wall = size + 8 * np.sqrt(2 * size)  # hardly any of N(0, 1)^D is beyond
    parts = [jnp.asarray(part) for part in (centre, scale_tril, middle, spread, _block_inverse(target, scale_tril))]
    return Copy(parts[0], parts[1], parts[2], parts[3], np.float64(wall), np.float64(0.0), parts[4], {})


def moments(x: Floats, weights: Floats, copy: Copy, n_plain: int) -> tuple[Floats, Floats]:
    """Mean (D,) and covariance (D, D) of weighted draws x (n, D), shrunk to those of the copy's frame.

    Of more than the first `n_plain` coordinates the others follow the first as they do in the frame.
    """
    effective = 1 / (weights**2).sum()
    plain, centre, scale_tril = x[:, :n_plain], np.asarray(copy.centre), np.asarray(copy.scale_tril)
    mean = weights @ plain
    lost = max(1 - 1 / effective, 1e-12)  # 0 where one draw has all the weight, and so is its covariance
    covariance = (plain - mean).T @ ((plain - mean) * weights[:, None]) / lost
    share = effective / (effective + 2 * n_plain)
    before = scale_tril @ scale_tril.T
    mean, covariance = (
        share * new + (1 - share) * old
        for new, old in ((mean, centre[:n_plain]), (covariance, before[:n_plain, :n_plain]))
    )
    return (mean, covariance) if n_plain == len(centre) else spread_over_blocks(mean, covariance, centre, before)


def reframed(target: Target, copy: Copy, centre: Floats, covariance: Floats) -> Copy:
    """The same copy in another frame."""
    scale_tril, size = np.asarray(np.linalg.cholesky(covariance), dtype=np.float64), len(centre)
    old, old_spread = np.asarray(copy.scale_tril), np.asarray(copy.spread)
    middle, spread = _standard(target, centre, scale_tril)
    spread = np.maximum(spread, 0.2 * old_spread)  # a narrow round shall not blow up what others have seen
    matrix = np.zeros((size + len(middle),) * 2)
    matrix[:size, :size] = np.linalg.solve(old, scale_tril)
    matrix[size:, size:] = np.diag(spread / old_spread)
    in_u = np.linalg.solve(old, centre - np.asarray(copy.centre))
    shift = np.concatenate([in_u, (middle - np.asarray(copy.middle)) / old_spread])
    return copy._replace(
        centre=jnp.asarray(centre), scale_tril=jnp.asarray(scale_tril), middle=jnp.asarray(middle),
        spread=jnp.asarray(spread), block_inverse=jnp.asarray(_block_inverse(target, scale_tril)),
        network=networks.moved(copy.network, matrix, shift),
    )  # fmt: skip


def _block_inverse(target: Target, scale_tril: Floats) -> Floats:
    block = slice(target.n_plain, None)
    return np.asarray(np.linalg.inv(scale_tril[block, block]), dtype=np.float64)


def _standard(target: Target, centre: Floats, scale_tril: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation (F,) of the features over a frame; those that do not vary keep a finite scale."""
    u = np.random.default_rng(0).standard_normal((BATCH, len(centre)))
    features = target.features_and_slopes(centre + u @ scale_tril.T)[0]
    return features.mean(axis=0), features.std(axis=0) + 1e-9
