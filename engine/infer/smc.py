"""Tempered sequential Monte Carlo (Del Moral, Doucet & Jasra 2006): particles walk from the prior to the posterior.

The densities on the way are N(z; 0, 1) times the likelihood to the power beta. Each next beta is chosen so that the
weights that it gives to the particles keep a set share of their effective sample size; the particles are then
resampled, and moved by Hamiltonian Monte Carlo (BlackJAX) until they no longer remember where they were. Nothing is
known beforehand: mass matrix and step size are learnt from the particles, and modes that lie far apart keep the shares
that they have of the evidence, which comes out of the same run.

The particles are cut into parts, each of which moves as one batch through the model's kernels, with a mass matrix that
the other parts teach. Were it learnt from the particles that it moves, these would not be draws of the tempered density
given their mass matrix: with 256 particles of a Gaussian in 37 dimensions, log Z came out too low by 16.

One piece of work is one trajectory of one part. The random key of move m at temperature t is fold_in(seed, t, m): a run
that goes on from a checkpoint repeats an uninterrupted one bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from numpy.typing import NDArray

from gammasky.engine.errors import InputError
from gammasky.engine.infer.settings import MAX_SEED
from gammasky.engine.model.latent import log_standard_normal

if TYPE_CHECKING:
    from gammasky.engine.model import SkyModel

Floats = NDArray[np.float64]
State = dict[str, Any]
MAX_TEMPERATURES = 1000
PARTS = 8  # of the particles: seven teach the eighth, and one is a second of work of the largest models
_TARGET_ACCEPTANCE = 0.8
_GAIN = 1.0  # change of log step size per unit of acceptance too much
_LENGTH = np.pi / 2  # of a trajectory, in units of the mass matrix: a quarter of a Gaussian's period forgets the start
_JITTER = 0.25  # relative, of that length: no coordinate is in step with it for long
_MAX_STEPS = 32  # of a trajectory
_SHRINK = 0.5  # particles per dimension that the mass matrix so far is worth
_FORGOTTEN = 0.5  # correlation with the start of the moves, in the slowest coordinate, at which they may end


@dataclass(frozen=True)
class SmcSettings:
    """How the particles run.

    Attributes:
        particles: their number; log Z has an error of about sqrt(temperatures * (1 / target_ess - 1) / particles).
        target_ess: effective sample size after a step of the temperature, as a share of the particles.
        moves: trajectories per temperature, at most; they end when the particles have forgotten where they began.
        seed: of every random number.
    """

    particles: int = 512
    target_ess: float = 0.65
    moves: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low in (("particles", 16), ("moves", 1), ("seed", 0)):
            if getattr(self, name) < low:
                raise InputError(f"{name}: expected a whole number of at least {low}, got {getattr(self, name)}")
        if self.seed > MAX_SEED:
            raise InputError(f"seed: expected a whole number of at most {MAX_SEED}, got {self.seed}")
        if self.particles % PARTS:
            raise InputError(f"particles: expected a multiple of {PARTS}, got {self.particles}")
        if not 0.1 <= self.target_ess <= 0.99:
            raise InputError(f"target_ess: expected a share between 0.1 and 0.99, got {self.target_ess}")


@dataclass(frozen=True)
class SmcResult:
    """Particles of equal weight, and what the run says of itself.

    Attributes:
        z (n, D), log_likelihood (n,): draws of the posterior.
        log_z, log_z_error: log evidence; the error is infinite if all particles descend from one.
        families: prior draws that have descendants.
        beta (T,), acceptance (T,), moves (T,), jump (T,): of each temperature; `jump` is the mean squared distance
            that the moves took the particles in the slowest coordinate, relative to that of independent draws.
        gradients: of one particle each.
    """

    z: Floats
    log_likelihood: Floats
    log_z: float
    log_z_error: float
    families: int
    beta: Floats
    acceptance: Floats
    moves: NDArray[np.int64]
    jump: Floats
    gradients: int

    @property
    def temperatures(self) -> int:
        """Steps from the prior to the posterior."""
        return int(self.beta.size)


class TemperedSmc:
    """Compiled pieces of work over a state that is plain arrays."""

    def __init__(self, model: SkyModel, settings: SmcSettings) -> None:
        from blackjax.mcmc import hmc, integrators

        self.model, self.settings = model, settings
        self._kernel = hmc.build_kernel(integrators.velocity_verlet)
        self._key = jax.random.key(settings.seed)
        self._values = model.program("smc likelihoods", lambda: jax.jit(self._likelihoods))
        self._trajectories = model.program("smc trajectories", lambda: jax.jit(self._move))

    def start(self) -> State:
        """Particles drawn from the prior.

        Raises:
            NonFiniteLikelihoodError: one has a likelihood or gradient that is not finite; names the pixel and the
                parameters.
        """
        count, size = self.settings.particles, self.model.n_latent
        z = jax.random.normal(jax.random.fold_in(self._key, 0), (count, size))
        parts = [self._values(self.model.arrays, part) for part in jnp.split(z, PARTS)]
        values, gradients = (jnp.concatenate(part) for part in zip(*parts, strict=True))
        bad = ~(np.isfinite(values) & np.isfinite(gradients).all(axis=1))
        if bad.any():
            raise self.model.explain(self.model.parameters(z[int(np.argmax(bad))]))
        return {**self.blank(), "z": z, "log_likelihood": values, "gradient": gradients, "origin": z}

    def blank(self) -> State:
        """A state of the right shapes, to read a saved one into; evaluates nothing."""
        count, size = self.settings.particles, self.model.n_latent
        zeros, history = jnp.zeros((count, size)), jnp.full(MAX_TEMPERATURES, jnp.nan)
        state = {
            "z": zeros,
            "log_likelihood": jnp.zeros(count),
            "gradient": zeros,
            "origin": zeros,
            "acceptance": jnp.zeros(count),
            "eve": jnp.arange(count),
            "metric": jnp.tile(jnp.eye(size), (PARTS, 1, 1)),
            "beta": jnp.asarray(0.0),
            "log_z": jnp.asarray(0.0),
            "log_pairs": jnp.log(count / (count - 1)),
            "log_step": -0.25 * jnp.log(size),
            "temperature": jnp.asarray(0),
            "move": jnp.asarray(0),
            "part": jnp.asarray(0),
            "resting": jnp.asarray(True),
            "gradients": jnp.asarray(count),
            "beta_history": history,
            "acceptance_history": history,
            "moves_history": history,
            "jump_history": history,
        }
        # no weak types: a state that comes from a file must not be compiled for anew
        return {name: jnp.asarray(value, dtype=value.dtype) for name, value in state.items()}

    def done(self, state: State) -> bool:
        """Whether the particles are draws of the posterior."""
        return bool(state["resting"]) and float(state["beta"]) == 1.0

    def advance(self, state: State) -> State:
        """One piece of work: the next temperature, or one trajectory of one part of the particles.

        Raises:
            InputError: the posterior is not reached in MAX_TEMPERATURES.
        """
        if self.done(state):
            return state
        if bool(state["resting"]):
            return self._next_temperature(state)
        state = self._trajectories(self.model.arrays, self._key, state)
        return _end_move(state, self.settings.moves) if int(state["part"]) == PARTS else state

    def progress(self, state: State) -> tuple[int, int, str]:
        """Per mille of the way, as the fourth root of the temperature goes, 1000, and what the numbers say.

        The steps of the temperature grow about in proportion to it: its fourth root moves nearly evenly.
        """
        beta = float(state["beta"])
        text = f"temperature {int(state['temperature'])}, beta {beta:.2g}, log Z {float(state['log_z']):.2f}"
        return round(1000 * beta**0.25), 1000, text

    def result(self, state: State) -> SmcResult:
        """What a run that is done found."""
        n_temperatures = int(state["temperature"])
        beta, acceptance, moves, jump = (
            np.asarray(state[f"{name}_history"])[:n_temperatures] for name in ("beta", "acceptance", "moves", "jump")
        )
        return SmcResult(
            z=np.asarray(state["z"]),
            log_likelihood=np.asarray(state["log_likelihood"]),
            log_z=float(state["log_z"]),
            log_z_error=log_z_error(np.asarray(state["eve"]), float(state["log_pairs"])),
            families=int(np.unique(state["eve"]).size),
            beta=beta,
            acceptance=acceptance,
            moves=moves.astype(int),
            jump=jump,
            gradients=int(state["gradients"]),
        )

    def _next_temperature(self, state: State) -> State:
        number = int(state["temperature"])
        if number == MAX_TEMPERATURES:
            raise InputError(
                f"{MAX_TEMPERATURES} temperatures reached beta = {float(state['beta']):.3g} only, expected 1; "
                "lower target_ess, or narrow the priors"
            )
        key = jax.random.fold_in(jax.random.fold_in(self._key, number + 1), 0)
        return {**state, **_temper(key, state, self.settings.target_ess)}

    def _likelihood(self, z: jax.Array, arrays: Any) -> jax.Array:
        return self.model.log_likelihood(self.model.parameters(z, arrays), arrays)

    def _likelihoods(self, arrays: Any, z: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Log-likelihood (B,) and its gradient (B, D) at z (B, D)."""
        return jax.vmap(jax.value_and_grad(lambda point: self._likelihood(point, arrays)))(z)

    def _move(self, arrays: Any, key: jax.Array, state: State) -> State:
        """One trajectory of each particle of the next part.

        The log-likelihood is carried from one temperature to the next, and read off the tempered density after a
        trajectory: nothing is evaluated twice. An energy that is not finite rejects the trajectory.
        """
        from blackjax.mcmc.hmc import HMCState

        count, beta = state["z"].shape[0] // PARTS, state["beta"]
        key = jax.random.fold_in(jax.random.fold_in(key, state["temperature"]), state["move"] + 1)
        # one length for all particles: none waits for the longest
        length = _LENGTH * jax.random.uniform(key, minval=1 - _JITTER, maxval=1 + _JITTER)
        step_size, metric = jnp.exp(state["log_step"]), state["metric"][state["part"]]
        n_steps = jnp.clip(jnp.round(length / step_size), 1, _MAX_STEPS).astype(int)

        def tempered(point: jax.Array) -> jax.Array:
            return log_standard_normal(point) + beta * self._likelihood(point, arrays)

        def trajectory(key: jax.Array, z: jax.Array, value: jax.Array, gradient: jax.Array) -> tuple[jax.Array, ...]:
            before = HMCState(z, log_standard_normal(z) + beta * value, beta * gradient - z)
            after, info = self._kernel(key, before, tempered, step_size, metric, n_steps)
            there = (
                after.position,
                (after.logdensity - log_standard_normal(after.position)) / beta,
                (after.logdensity_grad + after.position) / beta,
            )
            kept = (jnp.where(info.is_accepted, new, old) for new, old in zip(there, (z, value, gradient), strict=True))
            return (*kept, info.acceptance_rate)

        first = state["part"] * count
        of_part = lambda values: jax.lax.dynamic_slice_in_dim(values, first, count)  # noqa: E731
        names = ("z", "log_likelihood", "gradient", "acceptance")
        keys = jax.random.split(key, state["z"].shape[0])
        moved = jax.vmap(trajectory)(of_part(keys), *(of_part(state[name]) for name in names[:3]))
        return {
            **state,
            **{
                name: jax.lax.dynamic_update_slice_in_dim(state[name], part, first, axis=0)
                for name, part in zip(names, moved, strict=True)
            },
            "part": state["part"] + 1,
            "gradients": state["gradients"] + n_steps * count,
        }


@jax.jit
def _end_move(state: State, most: int) -> State:
    """Tune the step size, and see whether the particles have moved enough."""
    row, move = state["temperature"] - 1, state["move"] + 1
    acceptance = state["acceptance"].mean()
    before = jnp.where(move == 1, 0.0, state["acceptance_history"][row] * (move - 1))
    distance = ((state["z"] - state["origin"]) ** 2).mean(axis=0)
    jump = jnp.min(distance / (2 * state["z"].var(axis=0)))
    return {
        **state,
        "move": move,
        "part": jnp.zeros_like(state["part"]),
        "resting": (jump >= 1 - _FORGOTTEN) | (move == most),
        "log_step": state["log_step"] + _GAIN * (acceptance - _TARGET_ACCEPTANCE),
        "beta_history": state["beta_history"].at[row].set(state["beta"]),
        "acceptance_history": state["acceptance_history"].at[row].set((before + acceptance) / move),
        "moves_history": state["moves_history"].at[row].set(move),
        "jump_history": state["jump_history"].at[row].set(jump),
    }


@jax.jit
def _temper(key: jax.Array, state: State, target_ess: float) -> State:
    """What the next temperature changes: weights, their sum, ancestors, mass matrix."""
    from blackjax.smc.ess import ess, ess_solver
    from blackjax.smc.resampling import systematic
    from blackjax.smc.solver import dichotomy

    z, values, eve = state["z"], state["log_likelihood"], state["eve"]
    count, size = z.shape
    rest = 1.0 - state["beta"]
    delta = ess_solver(lambda _: values, z, target_ess, rest, dichotomy)
    log_weights = delta * values
    log_sum = logsumexp(log_weights)
    weights = jnp.exp(log_weights - log_sum)
    trust = ess(log_weights) / (ess(log_weights) + _SHRINK * size)
    chosen = systematic(key, weights, count)
    return {
        "z": z[chosen],
        "origin": z[chosen],
        "log_likelihood": values[chosen],
        "gradient": state["gradient"][chosen],
        "eve": eve[chosen],
        "metric": trust * _covariances_of_others(z[chosen]) + (1 - trust) * state["metric"],
        "beta": jnp.where(delta < rest, state["beta"] + delta, 1.0),
        "log_z": state["log_z"] + log_sum - jnp.log(count),
        "log_pairs": state["log_pairs"] + _log_correction(weights, eve),
        "temperature": state["temperature"] + 1,
        "move": jnp.zeros_like(state["move"]),
        "resting": jnp.asarray(False),
    }


def _covariances_of_others(z: jax.Array) -> jax.Array:
    """For each part of the particles z (N, D), the covariance of the other parts (PARTS, D, D)."""
    parts = (z - z.mean(axis=0)).reshape(PARTS, -1, z.shape[1])
    sums, squares = parts.sum(axis=1), jnp.einsum("pni,pnj->pij", parts, parts)
    count = z.shape[0] - parts.shape[1]
    means = (sums.sum(axis=0) - sums) / count
    return (squares.sum(axis=0) - squares) / count - jnp.einsum("pi,pj->pij", means, means)


def _log_correction(weights: jax.Array, eve: jax.Array) -> jax.Array:
    """Log of how much more often than after resampling two particles were of different families before it.

    Q = 1 - sum_f W_f^2, with W_f the weight of the descendants of the prior draw f, is the probability that two
    particles drawn by weight are of different families. Systematic resampling keeps families in order and gives each
    its N W_f particles rounded up or down at random: its noise alone takes sum_f r_f (1 - r_f) / N^2 from Q, with r_f
    the fraction of N W_f beyond a whole number. (For multinomial resampling the ratio is N / (N - 1).)
    """
    count = weights.size
    share = jax.ops.segment_sum(weights, eve, num_segments=count)
    apart = 1.0 - jnp.sum(share**2)
    fraction = count * share - jnp.floor(count * share)
    noise = jnp.sum(fraction * (1.0 - fraction)) / count**2
    return jnp.where(apart > noise, jnp.log(apart) - jnp.log(apart - noise), 0.0)


def log_z_error(eve: NDArray[np.int64], log_pairs: float) -> float:
    """Standard error of log Z from the genealogy of one run.

    Lee & Whiteley (arXiv:1509.00394, eq. 8): V = 1 - c Q estimates the relative variance of Z, with Q the probability
    that two particles do not descend from the same prior draw, and c undoing what resampling takes from Q by itself;
    c is theirs for the draws from the prior, and `_log_correction` for each systematic resampling. 1 - V estimates
    Z^2 / E[Z_N^2], which is exp(-s^2) for a log-normal Z_N: the error is s.

    Args:
        eve (N,): prior draw that each particle descends from; log_pairs: log c.

    Returns:
        the error; infinite if all particles descend from one.
    """
    _, sizes = np.unique(eve, return_counts=True)
    if sizes.size == 1:
        return float("inf")
    return float(np.sqrt(max(-np.log(1.0 - np.sum((sizes / eve.size) ** 2)) - log_pairs, 0.0)))
