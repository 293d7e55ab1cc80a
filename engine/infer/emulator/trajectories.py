"""Trajectories of Hamiltonian Monte Carlo on the likelihood itself, many chains in step.

Each leapfrog is one batch of gradients, in the frame of a copy, which makes the posterior about one wide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.emulator.copy import Copy, placed
from gammasky.engine.infer.emulator.sampling import SHORT, SHORTER
from gammasky.engine.infer.emulator.target import Target

Floats = NDArray[np.float64]
_LENGTH = 1.2  # of a trajectory in u, jittered between half and one and a half of it
MOST_LEAPFROGS = 64  # of one: where steps must be far shorter than the frame is wide, minutes would go into one


class Places(NamedTuple):
    """n places, and the density there.

    Attributes:
        u (n, D): in the frame; x (n, D): the same.
        log_density (n,): of prior times likelihood in x, -inf where it does not exist; slope (n, D): its gradient in u.
        log_likelihood (n,), gradient (n, D): of the likelihood alone in x, as they were found.
    """

    u: Floats
    x: Floats
    log_density: Floats
    slope: Floats
    log_likelihood: Floats
    gradient: Floats

    def where(self, taken: NDArray[np.bool_], other: Places) -> Places:
        """These places where `taken` (n,), those of `other` elsewhere."""
        return Places(
            *(
                np.where(taken[:, None] if mine.ndim > 1 else taken, mine, theirs)
                for mine, theirs in zip(self, other, strict=True)
            )
        )


def looked_at(target: Target, copy: Copy, u: Floats) -> Places:
    """The places u (n, D) in the frame of a copy."""
    x = placed(copy, u)
    values, gradients = target.likelihood(x)
    log_prior, slopes = target.prior(x)
    known = np.isfinite(values + log_prior) & np.isfinite(gradients + slopes).all(axis=1)
    total = np.where(known[:, None], gradients + slopes, 0.0) @ np.asarray(copy.scale_tril)
    return Places(u, x, np.where(known, values + log_prior, -np.inf), total, values, gradients)


def trajectory(
    look: Callable[[Floats], Places], begin: Places, step: float, rng: np.random.Generator
) -> tuple[Places, NDArray[np.bool_], float | None]:
    """One trajectory of all chains.

    Args:
        look: finds the density at places u (n, D).
        begin: where the chains are.
        step: of leapfrogs; now and then a shorter one is used, for places where the density is far narrower.
        rng: of momenta, lengths and choices.

    Returns:
        where the chains are then, which of them moved (n,), and the mean chance of moving; None after a shorter step,
        which says nothing of the step.
    """
    short = rng.uniform() < SHORT
    size, momentum = step * (SHORTER if short else 1.0), rng.standard_normal(begin.u.shape)
    energy = begin.log_density - 0.5 * (momentum**2).sum(axis=1)
    there = begin
    for _ in range(min(MOST_LEAPFROGS, max(1, int(np.ceil(_LENGTH * rng.uniform(0.5, 1.5) / step))))):
        momentum = momentum + 0.5 * size * there.slope
        there = look(there.u + size * momentum)
        momentum = momentum + 0.5 * size * there.slope
    with np.errstate(over="ignore", invalid="ignore"):  # a trajectory that ran away is not taken
        change = there.log_density - 0.5 * (momentum**2).sum(axis=1) - energy
    chance = np.exp(np.where(np.isnan(change), -np.inf, np.minimum(0.0, change)))
    taken = rng.uniform(size=len(chance)) < chance
    return there.where(taken, begin), taken, None if short else float(chance.mean())
