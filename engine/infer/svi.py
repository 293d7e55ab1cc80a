"""Variational inference: maximise the ELBO of a guide by stochastic gradients, whole chunks of steps per call.

ELBO = E_q[log p(data, z) - log q(z)], estimated with `particles` draws per step and differentiated through the draws
(Kingma & Welling, arXiv:1312.6114); where the guide's density at a point is cheap, log q is differentiated through the
point alone, "sticking the landing" (Roeder et al., arXiv:1703.09194): the gradient's scatter then vanishes as the guide
approaches the posterior. The random key of step i is fold_in(seed, i), so a fit that goes on from a
checkpoint repeats an uninterrupted one bit for bit, wherever it was cut.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.infer.guides import GUIDES, Guide, build_guide, frame_of
from gammasky.engine.infer.optimise import Laplace

if TYPE_CHECKING:
    from gammasky.engine.model import SkyModel

Floats = NDArray[np.float64]
State = dict[str, Any]
SCHEDULES = ("constant", "cosine")
MAX_CHUNK = 1000
MAX_SEED = 2**63 - 1  # what JAX takes
_FINAL_RATE = 0.01  # of a cosine schedule, relative to its highest
_WARM_UP = 100  # steps of a cosine schedule before that
_FIRST_BETA = 0.05  # weight of the likelihood at the first step of tempering


@dataclass(frozen=True)
class Settings:
    """How a variational fit runs.

    Attributes:
        guide: flow, iaf, mvn or diagonal.
        steps, particles: optimiser steps; draws per step.
        learning_rate, schedule: of Adam; constant, or a cosine down to 1 % after a warm-up.
        clip: largest absolute value of a gradient entry.
        temper: steps over which the weight of the likelihood rises from 0.05 to 1.
        early_stop: end when the ELBO is flat, see `is_flat`.
        seed: of every random number of the fit.
    """

    guide: str = "iaf"
    steps: int = 5000
    particles: int = 8
    learning_rate: float = 3e-4
    schedule: str = "constant"
    clip: float = 1.0
    temper: int = 0
    early_stop: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.guide not in GUIDES:
            raise unknown_name("guide", self.guide, GUIDES)
        if self.schedule not in SCHEDULES:
            raise unknown_name("schedule", self.schedule, SCHEDULES)
        for name, low in (("steps", 1), ("particles", 1), ("temper", 0), ("seed", 0)):
            if getattr(self, name) < low:
                raise InputError(f"{name}: expected a whole number of at least {low}, got {getattr(self, name)}")
        if self.seed > MAX_SEED:
            raise InputError(f"seed: expected a whole number of at most {MAX_SEED}, got {self.seed}")
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < float("inf"):
                raise InputError(f"{name}: expected a positive number, got {getattr(self, name)}")


class VariationalFit:
    """One variational fit: compiled steps over a state that is plain arrays.

    The state holds the guide's parameters, the optimiser's state, the number of steps done, and whether every step
    so far was finite; `advance` moves it.
    """

    def __init__(self, model: SkyModel, settings: Settings) -> None:
        self.model, self.settings = model, settings
        self.guide: Guide = build_guide(settings.guide, model.n_latent)
        self._optimiser = optax.chain(optax.clip(settings.clip), optax.adam(self._rate()))
        self._key = jax.random.key(settings.seed)
        # all settings but the seed shape the program; data, start and key are its arguments
        shape = replace(settings, seed=0)
        self._steps = model.program(("svi steps", shape), lambda: jax.jit(self._run_steps))
        self._draws = model.program(("svi draws", shape), lambda: jax.jit(self._run_draws))

    def _rate(self) -> Any:
        if self.settings.schedule == "cosine":
            rate, steps = self.settings.learning_rate, self.settings.steps
            warm_up = min(_WARM_UP, steps // 10)
            return optax.warmup_cosine_decay_schedule(rate * _FINAL_RATE, rate, warm_up, steps, rate * _FINAL_RATE)
        return self.settings.learning_rate

    def start(self, laplace: Laplace) -> State:
        """The state before the first step."""
        guide = self.guide.init(laplace, jax.random.fold_in(self._key, 2**31))
        return {
            "guide": guide,
            "optimiser": self._optimiser.init(guide),
            "step": jnp.asarray(0),
            "finite": jnp.asarray(True),
        }

    def advance(self, state: State, laplace: Laplace, n_steps: int) -> tuple[State, Floats]:
        """Do up to `n_steps` (at most MAX_CHUNK) steps.

        Returns:
            the new state and the ELBO of each step that was done.

        Raises:
            NonFiniteLikelihoodError: a draw had a non-finite likelihood or gradient; names the pixel and the
                parameters. The state before that step is lost to the caller only if it was not kept.
        """
        n_steps = min(n_steps, MAX_CHUNK)
        new, elbo = self._steps(self.model.arrays, frame_of(laplace), self._key, state, jnp.asarray(n_steps))
        if not bool(new["finite"]):
            raise self._explain(new, laplace)
        return new, np.asarray(elbo)[:n_steps]

    def draw(self, state: State, laplace: Laplace, n_draws: int) -> tuple[Floats, Floats]:
        """Draws z (n, D) from the guide and their log density log q (n,)."""
        keys = jax.random.split(jax.random.fold_in(self._key, 2**31 + 1), n_draws)
        z, log_q = self._draws(state["guide"], frame_of(laplace), keys)
        return np.asarray(z), np.asarray(log_q)

    def _run_draws(self, guide: Any, frame: Any, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jax.lax.map(lambda key: self.guide.sample(guide, frame, key), keys, batch_size=250)

    def _beta(self, step: jax.Array) -> jax.Array:
        ramp = _FIRST_BETA + (1.0 - _FIRST_BETA) * step / max(self.settings.temper, 1)
        return jnp.where(step < self.settings.temper, ramp, 1.0)

    def _draws_of_step(self, guide: Any, frame: Any, key: jax.Array, step: jax.Array) -> tuple[jax.Array, jax.Array]:
        keys = jax.random.split(jax.random.fold_in(key, step), self.settings.particles)
        return jax.vmap(lambda key: self.guide.sample(guide, frame, key))(keys)

    def _negative_elbo(self, guide: Any, arrays: Any, frame: Any, key: jax.Array, step: jax.Array) -> jax.Array:
        z, log_q = self._draws_of_step(guide, frame, key, step)
        if self.guide.log_density is not None:
            log_q = jax.vmap(partial(self.guide.log_density, jax.lax.stop_gradient(guide), frame))(z)
        log_p = jax.vmap(partial(self.model.log_density, arrays=arrays, beta=self._beta(step)))(z)
        return jnp.mean(log_q - log_p)

    def _run_steps(
        self, arrays: Any, frame: Any, key: jax.Array, state: State, n_steps: jax.Array
    ) -> tuple[State, jax.Array]:
        """A loop whose length is an argument: one compiled program for chunks of any size."""

        def unfinished(carry: tuple[jax.Array, State, jax.Array]) -> jax.Array:
            done, current, _ = carry
            return (done < n_steps) & current["finite"]

        def step(carry: tuple[jax.Array, State, jax.Array]) -> tuple[jax.Array, State, jax.Array]:
            done, current, elbo = carry
            new, value = self._one_step(arrays, frame, key, current)
            return done + 1, new, elbo.at[done].set(value)

        _, state, elbo = jax.lax.while_loop(unfinished, step, (jnp.asarray(0), state, jnp.zeros(MAX_CHUNK)))
        return state, elbo

    def _one_step(self, arrays: Any, frame: Any, key: jax.Array, state: State) -> tuple[State, jax.Array]:
        """One optimiser step; a step that is not finite leaves everything as it was but the flag."""
        loss, gradient = jax.value_and_grad(self._negative_elbo)(state["guide"], arrays, frame, key, state["step"])
        finite = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(gradient))
        updates, optimiser = self._optimiser.update(gradient, state["optimiser"], state["guide"])
        new = {
            "guide": optax.apply_updates(state["guide"], updates),
            "optimiser": optimiser,
            "step": state["step"] + 1,
            "finite": finite,
        }
        kept = {**state, "finite": finite}
        return jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, kept), -loss

    def _explain(self, state: State, laplace: Laplace) -> Exception:
        """The error for the draw that made the step after `state` non-finite."""
        z, _ = self._draws_of_step(state["guide"], frame_of(laplace), self._key, state["step"])
        values, gradients = (np.asarray(part) for part in self.model.value_and_gradient(z))
        bad = ~(np.isfinite(values) & np.isfinite(gradients).all(axis=1))
        return self.model.explain(self.model.parameters(z[int(np.argmax(bad))]))


Status = Literal["converged", "stopped"]


def is_flat(elbo: Floats, window: int) -> bool:
    """Whether the mean ELBO of the last `window` steps is no better than that of the window before.

    "No better" is less than 0.1 nat or twice the standard error of the difference, whichever is larger.
    """
    if elbo.size < 2 * window:
        return False
    last, before = elbo[-window:], elbo[-2 * window : -window]
    error = np.hypot(last.std(), before.std()) / np.sqrt(window)
    return bool(last.mean() - before.mean() < max(0.1, 2.0 * error))
