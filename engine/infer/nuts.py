"""The No-U-Turn sampler (Hoffman & Gelman, arXiv:1111.4246; BlackJAX), many chains in step.

Every leapfrog of all chains is one call of the model's kernels, with the chains as its leading axis. The mass matrix
starts at the curvature of the best point and is learnt from all chains together, as is the step size: four chains give
four times the draws to learn from. They move in the coordinates of `coordinates`, where one step size suits all places,
and start at dispersed places, so that chains that agree have found the posterior from far apart. The random key of
iteration i is fold_in(seed, i): a run that goes on from a checkpoint repeats an uninterrupted one bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import InputError
from gammasky.engine.infer.coordinates import Coordinates, flux_coordinates
from gammasky.engine.infer.optimise import Laplace

if TYPE_CHECKING:
    from gammasky.engine.model import Density

Floats = NDArray[np.float64]
State = dict[str, Any]
MAX_CHUNK = 50  # iterations per call, at most
_TARGET_ACCEPTANCE = 0.8
_FIRST_STEP = 0.1  # in units of the mass matrix
_LAST_WINDOW = 0.2  # share of the warm-up that only tunes the step size, after the mass matrix is settled
_FIRST_WINDOW = 0.1  # and before it is first learnt, while the chains are still on their way
_SHRINK = 5  # draws per dimension that the mass matrix so far is worth


@dataclass(frozen=True)
class ChainSettings:
    """Settings of the chains.

    Attributes:
        chains: number of chains, all in step.
        warmup: iterations to learn the mass matrix and the step size from.
        max_doublings: a trajectory has at most 2^max_doublings - 1 leapfrogs.
        seed: of every random number.
    """

    chains: int = 4
    warmup: int = 400
    max_doublings: int = 7
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("chains", 2), ("warmup", 50), ("max_doublings", 1), ("seed", 0)):
            if getattr(self, name) < low:
                raise InputError(f"{name}: expected a whole number of at least {low}, got {getattr(self, name)}")


@dataclass(frozen=True)
class Chunk:
    """Draws and statistics of some iterations: arrays (iterations, chains, ...).

    Attributes:
        z: positions; log_density: of z, there.
        divergent: trajectories whose energy ran away; leapfrogs: gradients of each trajectory.
    """

    z: Floats
    log_density: Floats
    divergent: NDArray[np.bool_]
    leapfrogs: NDArray[np.int64]

    @staticmethod
    def joined(chunks: list[Chunk], chains: int, size: int) -> Chunk:
        """Chunks one after another; of no chunks, one of no iterations."""
        empty = Chunk(
            np.zeros((0, chains, size)), np.zeros((0, chains)), np.zeros((0, chains), bool), np.zeros((0, chains), int)
        )
        names = ("z", "log_density", "divergent", "leapfrogs")
        return Chunk(*(np.concatenate([getattr(chunk, name) for chunk in (empty, *chunks)]) for name in names))


class Chains:
    """Compiled iterations of all chains over a state that is plain arrays.

    Args:
        model: the model.
        settings: how the chains run.
        coordinates: that they move in; None: those of the model's fluxes.
    """

    def __init__(self, model: Density, settings: ChainSettings, coordinates: Coordinates | None = None) -> None:
        from blackjax.adaptation.step_size import dual_averaging_adaptation
        from blackjax.mcmc import nuts

        self.model, self.settings = model, settings
        self.coordinates = flux_coordinates(model) if coordinates is None else coordinates
        self._tuning = dual_averaging_adaptation(_TARGET_ACCEPTANCE)
        self._kernel = nuts.build_kernel()
        self._key = jax.random.key(settings.seed)
        shape = (settings.chains, settings.max_doublings)
        self._iterations = model.program(("nuts iterations", shape), lambda: jax.jit(self._run))
        self._values = model.program("nuts values", lambda: jax.jit(jax.vmap(self._value_and_gradient, (None, 0))))

    def start(self, starts: Floats, laplace: Laplace) -> State:
        """The state before the first iteration.

        Args:
            starts (chains, D): z where the chains begin.
            laplace: whose width, in the coordinates of the chains, is the first mass matrix.
        """
        x = jax.vmap(self.coordinates.from_latent)(jnp.asarray(starts))
        values, gradients = self._values(self.model.arrays, x)
        return {
            **self.blank(),
            "x": x,
            "log_density": values,
            "gradient": gradients,
            "metric": jnp.asarray(self.coordinates.frame(self.model, laplace)[1]),
        }

    def blank(self) -> State:
        """A state of the right shapes, to read a saved one into; evaluates nothing."""
        chains, size = self.settings.chains, self.model.n_latent
        return {
            "x": jnp.zeros((chains, size)),
            "log_density": jnp.zeros(chains),
            "gradient": jnp.zeros((chains, size)),
            "tuning": jnp.asarray(self._tuning[0](_FIRST_STEP), dtype=float),
            "metric": jnp.eye(size),
            "count": jnp.asarray(0.0),
            "sum": jnp.zeros(size),
            "squares": jnp.zeros((size, size)),
            "iteration": jnp.asarray(0),
        }

    def advance(self, state: State, n_iterations: int) -> tuple[State, Chunk]:
        """Run up to `n_iterations` (at most MAX_CHUNK), none beyond the next change of the mass matrix."""
        done = int(state["iteration"])
        ends = [end for end in (*self._windows(), self.settings.warmup) if end > done]
        n_iterations = min(n_iterations, MAX_CHUNK, ends[0] - done if ends else n_iterations)
        phases = jnp.asarray([self._first_window(), self._windows()[-1], self.settings.warmup])
        state, kept = self._iterations(self.model.arrays, self._key, state, jnp.asarray(n_iterations), phases)
        done += n_iterations
        if done in self._windows():
            state = self._learn(state)
        if done == self.settings.warmup:
            state = {**state, "tuning": state["tuning"].at[0].set(state["tuning"][1])}  # the averaged step
        return state, Chunk(*(np.asarray(part)[:n_iterations] for part in kept))

    def step_size(self, state: State) -> float:
        """The current step, in units of the mass matrix."""
        return float(jnp.exp(state["tuning"][0]))

    def _first_window(self) -> int:
        return int(_FIRST_WINDOW * self.settings.warmup)

    def _windows(self) -> list[int]:
        """Iterations at which the mass matrix is learnt anew, each from twice as many draws as the one before."""
        first, last = self._first_window(), int((1 - _LAST_WINDOW) * self.settings.warmup)
        span = last - first
        return [first + span // 7, first + 3 * span // 7, last]

    def _learn(self, state: State) -> State:
        """A mass matrix from the draws of a window, shrunk towards the one so far; tuning starts again."""
        count, total = float(state["count"]), np.asarray(state["sum"])
        # x is of order one: nothing large cancels
        covariance = (np.asarray(state["squares"]) - np.outer(total, total) / count) / (count - 1)
        weight = count / (count + _SHRINK * total.size)
        metric = weight * covariance + (1 - weight) * np.asarray(state["metric"])
        fresh = jnp.asarray(self._tuning[0](self.step_size(state)), dtype=float)
        zero = {name: jnp.zeros_like(state[name]) for name in ("count", "sum", "squares")}
        return {**state, **zero, "metric": jnp.asarray((metric + metric.T) / 2), "tuning": fresh}

    def _run(self, arrays: Any, key: jax.Array, state: State, n_iterations: jax.Array, phases: jax.Array) -> Any:
        """A loop whose length is an argument: one compiled program for chunks of any size."""
        chains, size = state["x"].shape
        kept = (
            jnp.zeros((MAX_CHUNK, chains, size)),
            jnp.zeros((MAX_CHUNK, chains)),
            jnp.zeros((MAX_CHUNK, chains), bool),
            jnp.zeros((MAX_CHUNK, chains), int),
        )

        def iteration(number: jax.Array, carry: Any) -> Any:
            state, kept = carry
            state, row = self._one(arrays, key, state, phases)
            return state, tuple(part.at[number].set(entry) for part, entry in zip(kept, row, strict=True))

        return jax.lax.fori_loop(0, n_iterations, iteration, (state, kept))

    def _one(self, arrays: Any, key: jax.Array, state: State, phases: jax.Array) -> tuple[State, Any]:
        """Do one iteration of all chains: a mass matrix is learnt from `first` to `last`, a step until `warmup`."""
        from blackjax.adaptation.step_size import DualAveragingAdaptationState
        from blackjax.mcmc.hmc import HMCState

        first, last, warmup = phases
        learning, tuning = (state["iteration"] >= first) & (state["iteration"] < last), state["iteration"] < warmup
        log_density = lambda x: self._log_density(arrays, x)  # noqa: E731
        step_size = jnp.exp(state["tuning"][0])

        def transition(key: jax.Array, before: HMCState) -> Any:
            return self._kernel(key, before, log_density, step_size, state["metric"], self.settings.max_doublings)

        keys = jax.random.split(jax.random.fold_in(key, state["iteration"]), self.settings.chains)
        before = HMCState(state["x"], state["log_density"], state["gradient"])
        after, info = jax.vmap(transition)(keys, before)
        acceptance = jnp.nan_to_num(info.acceptance_rate).mean()
        tuned = jnp.stack(self._tuning[1](DualAveragingAdaptationState(*state["tuning"]), acceptance)).astype(float)
        moved = after.position
        new = {
            **state,
            "x": moved,
            "log_density": after.logdensity,
            "gradient": after.logdensity_grad,
            "tuning": jnp.where(tuning, tuned, state["tuning"]),
            "count": state["count"] + learning * self.settings.chains,
            "sum": state["sum"] + learning * moved.sum(axis=0),
            "squares": state["squares"] + learning * moved.T @ moved,
            "iteration": state["iteration"] + 1,
        }
        z, log_volume = jax.vmap(self.coordinates.to_latent)(moved)
        return new, (z, after.logdensity - log_volume, info.is_divergent, info.num_integration_steps)

    def _log_density(self, arrays: Any, x: jax.Array) -> jax.Array:
        z, log_volume = self.coordinates.to_latent(x)
        return self.model.log_density(z, arrays) + log_volume

    def _value_and_gradient(self, arrays: Any, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.value_and_grad(self._log_density, argnums=1)(arrays, x)
