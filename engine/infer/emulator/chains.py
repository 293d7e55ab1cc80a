"""Exact chains from the copy's proposals, accepted by the likelihood.

Moves in turn, each of which leaves the posterior as it is:

- a draw of the copy, from a pool whose likelihoods are known: w' / w decides, w = truth / copy (an independence
  proposal; it costs nothing);
- trajectories on the copy, which the copy has accepted: w' / w decides again (Liu 2001, "surrogate transition"); they
  cost one value of the likelihood. Several long ones bring draws that the pool does not have; now and then a short one
  frees chains that sit at a draw of large weight, which pools rarely beat;
- where the copy alone would not do, trajectories on the likelihood itself, some ten gradients each: they go where the
  copy is too low, whence no draw of it is accepted for long.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import DivergedFitError
from gammasky.engine.infer.emulator.copy import Copy, placed, white
from gammasky.engine.infer.emulator.sampling import CHAINS, Sampler
from gammasky.engine.infer.emulator.target import Target
from gammasky.engine.infer.emulator.trajectories import looked_at, trajectory

Floats = NDArray[np.float64]
EVERY = 3  # one move in so many is a short one
FAR = (4, 14)  # transitions and leapfrogs of the others
_SHARE = 0.8  # of the copy's step, which a trajectory on the likelihood begins with
_ACCEPTANCE = 0.75  # of these


class ExactChains:
    """CHAINS chains, started at draws of the copy that are not weighted: dispersed by what the copy does not know.

    Args:
        on_likelihood: whether they move on the likelihood itself, too.

    Attributes:
        kept: x (iterations, CHAINS, D), log_weights and log_likelihood (iterations, CHAINS) after each round of moves.
        accepted: share of the copy's draws, of its trajectories, and of those on the likelihood, that were accepted in
            the latest run.
        step: of trajectories on the likelihood; 0 before the first.
    """

    def __init__(self, *, on_likelihood: bool = False) -> None:
        self.on_likelihood = on_likelihood
        self.kept: dict[str, Floats] = {}
        self.accepted = [0.0] * (3 if on_likelihood else 2)
        self.step = 0.0

    def run(
        self, target: Target, sampler: Sampler, copy: Copy, pool: dict[str, Floats], step: float, iterations: int,
        key: jax.Array, rng: np.random.Generator,
    ) -> Iterator[None]:  # fmt: skip
        """Go on for some iterations; yields after each.

        Args:
            pool: x (n, D), log_weights and log_likelihood (n,) of draws of the copy.
            step: of trajectories on the copy.
        """
        pool = {name: values[np.isfinite(pool["log_weights"])] for name, values in pool.items()}
        order = _shuffled(pool, rng)
        if self.kept:
            state = {name: values[-1] for name, values in self.kept.items()}
        else:
            state, order = {name: values[order[:CHAINS]] for name, values in pool.items()}, order[CHAINS:]
        self.accepted = [0.0] * len(self.accepted)
        for number in range(iterations):
            if len(order) < CHAINS:
                order = _shuffled(pool, rng)
            proposed, order = {name: values[order[:CHAINS]] for name, values in pool.items()}, order[CHAINS:]
            state, share = _decided(state, proposed, np.ones(CHAINS, dtype=bool), rng)
            self.accepted[0] += share / iterations
            transitions, leapfrogs = (1, int(rng.integers(2, 9))) if number % EVERY == 0 else FAR
            here, size = white(copy, state["x"]), step * rng.uniform(0.6, 1.1)
            u, _, _ = sampler.move(
                copy, here, jax.random.fold_in(key, number), size, transitions, leapfrogs, tuning=0.0
            )
            moved = (u != here).any(axis=1)
            state, share = _decided(state, weighed(target, sampler, copy, placed(copy, u)), moved, rng)
            self.accepted[1] += share / iterations
            if self.on_likelihood:
                state, share = self._along_likelihood(target, sampler, copy, state, _SHARE * step, rng)
                self.accepted[2] += share / iterations
            before = self.kept or {name: np.zeros((0, *values.shape)) for name, values in state.items()}
            self.kept = {name: np.concatenate([before[name], values[None]]) for name, values in state.items()}
            yield

    def _along_likelihood(
        self,
        target: Target,
        sampler: Sampler,
        copy: Copy,
        state: dict[str, Floats],
        first_step: float,
        rng: np.random.Generator,
    ) -> tuple[dict[str, Floats], float]:
        """The state after a trajectory on the likelihood of all chains, and the share of them that moved.

        The step follows the acceptance, less and less.
        """
        self.step = self.step or first_step
        begin = looked_at(target, copy, white(copy, state["x"]))
        at, moved, acceptance = trajectory(lambda u: looked_at(target, copy, u), begin, self.step, rng)
        if acceptance is not None:
            done = len(self.kept["x"]) if self.kept else 0
            self.step *= float(np.exp((acceptance - _ACCEPTANCE) / np.sqrt(1.0 + done)))
        log_weights = at.log_density - sampler.log_density(copy, at.u)
        found = {"x": at.x, "log_weights": log_weights, "log_likelihood": at.log_likelihood}
        for name, values in found.items():
            values[~moved] = state[name][~moved]
        return found, float(moved.mean())

    def flat(self, name: str, skipped: int) -> Floats:
        """What was kept of all but the first iterations (n, ...), chain after chain."""
        values = np.swapaxes(self.kept[name][skipped:], 0, 1)
        return values.reshape(-1, *values.shape[2:])


def _shuffled(pool: dict[str, Floats], rng: np.random.Generator) -> NDArray[np.int64]:
    """All rows of a pool in any order; some of a small one again, so that each chain has one."""
    n = len(pool["x"])
    return np.concatenate([rng.permutation(n) for _ in range(-(-CHAINS // n))])


def weighed(target: Target, sampler: Sampler, copy: Copy, x: Floats) -> dict[str, Floats]:
    """x (n, D) with the log of truth over copy, up to a constant, and log-likelihood there.

    Raises:
        DivergedFitError: the copy is not finite where the truth is; no weight would tell of such a point.
    """
    log_likelihood = target.log_likelihood(x)
    truth = log_likelihood + target.prior(x)[0]
    copied, exists = sampler.log_density(copy, white(copy, x)), np.isfinite(truth)
    lost = int((exists & ~np.isfinite(copied)).sum())
    if lost:
        raise DivergedFitError(
            f"the copy ran away: it is not finite at {lost} of {len(x)} draws at which the likelihood is; use "
            "`method='nuts'`"
        )
    return {"x": x, "log_weights": np.where(exists, truth - copied, -np.inf), "log_likelihood": log_likelihood}


def _decided(
    state: dict[str, Floats], proposed: dict[str, Floats], moved: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[dict[str, Floats], float]:
    """The state after proposals, each taken with probability w' / w, and the share taken of those that move."""
    taken = np.log(rng.uniform(size=CHAINS)) < proposed["log_weights"] - state["log_weights"]
    taken &= moved
    new = {name: values.copy() for name, values in state.items()}
    for name, values in new.items():
        values[taken] = proposed[name][taken]
    return new, float(taken.sum() / max(moved.sum(), 1))
