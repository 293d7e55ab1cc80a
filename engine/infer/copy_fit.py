"""A guide fitted to the copy of a likelihood, by both Kullback-Leibler divergences at once.

The reverse divergence, of the guide q from the posterior p, is that of the ELBO: E_q[log q - log p] falls where the
guide is like p, wherever it goes, and says nothing of where it does not go. On the Fermi data it drops a shoulder that
holds a seventh of the mass. The forward one, -E_p[log q] but for a constant, is maximum likelihood on draws of p: it
misses nothing that p has, but learns a finite number of draws by heart. Draws and gradients of a copy cost no
likelihood, so both are at hand, and half of each is the loss: the first keeps the second from overfitting.

The guide works in the coordinates of the copy, on the frame of its draws, in single precision until it is done. The
random key of step i is fold_in(seed, i), so that a fit is the same wherever it was cut.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from gammasky.engine.errors import DivergedFitError
from gammasky.engine.infer.clipping import clip_by_norm, norm_of
from gammasky.engine.infer.emulator.copy import Copy, log_density
from gammasky.engine.infer.emulator.target import Target
from gammasky.engine.infer.emulator.training import schedule
from gammasky.engine.infer.guide_draws import GuideDraws
from gammasky.engine.infer.guides import GUIDES
from gammasky.engine.infer.guides.frame import frame_of
from gammasky.engine.infer.guides.guide import Frame
from gammasky.engine.infer.recorded import solve_lower
from gammasky.engine.infer.settings import Settings
from gammasky.engine.model.values import Arrays

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
State = dict[str, Any]
MAX_CHUNK = 200
REVERSE = 0.5  # share of the loss that is the reverse divergence
_FINAL_RATE, _WARM_UP = 0.01, 100  # of the cosine schedule: relative to its highest, and steps before that
_LARGEST_NORM = 1.0  # of a gradient
_MEMORY = 0.99  # of Adam for squared gradients
_BAD, _FEW_BAD = 0.01, 10  # share of steps without a finite gradient, and their number, that are not yet a diverged fit


class CopyFit:
    """Compiled steps over a state that is plain arrays: the guide and its frame, the optimiser, and the steps done.

    Besides, the latest bound and the number of steps that had no finite gradient.
    """

    def __init__(self, target: Target, settings: Settings) -> None:
        self.target, self._used = target, settings.resolved()
        self.guide = GUIDES[settings.guide].sized(target.size, self._used)
        self._key = jax.random.key(settings.seed)
        self._adam = optax.chain(clip_by_norm(_LARGEST_NORM), optax.scale_by_adam(b2=_MEMORY))
        shape = tuple(self._used.get(name) for name in ("guide", "layers", "width", "particles"))
        self.draws = GuideDraws(target.model, shape[:3], self.guide, target.coordinates, self._key)
        self._steps = target.model.program(("svi on the copy", shape), lambda: jax.jit(self._run_steps))

    def start(self, x: Singles) -> State:
        """The state before the first step, on the frame of draws x (n, D) of the copy."""
        frame = _single(frame_of(x.mean(axis=0, dtype=np.float64), np.atleast_2d(np.cov(x.T, dtype=np.float64))))
        guide = _single(self.guide.init(frame, jax.random.fold_in(self._key, 2**31)))
        return {
            "guide": guide, "frame": frame, "optimiser": self._adam.init(guide), "step": jnp.int32(0),
            "bad": jnp.int32(0), "bound": jnp.zeros(()),
        }  # fmt: skip

    def advance(self, copy: Copy, state: State, x: Singles, n_steps: int) -> tuple[State, Floats]:
        """Do `n_steps`, at most MAX_CHUNK.

        Args:
            x (n, D): draws of the copy, the same in every call.

        Returns:
            the new state, and the ELBO of the copy's log Z in each step.

        Raises:
            DivergedFitError: many steps had no finite gradient.
        """
        total, rate = self._used["steps"], self._used["learning_rate"]
        state, elbo = self._steps(
            self.target.arrays, copy, self._key, state, x, jnp.int32(n_steps), jnp.int32(total), jnp.float32(rate)
        )
        if int(state["bad"]) > max(_FEW_BAD, _BAD * int(state["step"])):
            raise DivergedFitError(
                f"the guide's fit to the copy diverged by step {int(state['step'])}: {int(state['bad'])} steps have no "
                f"finite gradient; start again with a lower learning rate (it is {rate:g})"
            )
        return state, np.asarray(elbo)[:n_steps]

    def fitted(self, state: State) -> tuple[Any, Frame]:
        """Guide and frame in double precision, for draws and densities."""
        return jax.tree.map(lambda leaf: leaf.astype(float), (state["guide"], state["frame"]))

    def _loss(
        self, guide: Any, arrays: Arrays, copy: Copy, frame: Frame, x: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """The loss of some draws x (n, D) of the copy and as many of the guide; and the ELBO of the latter."""
        of_x, density = self.guide.at_any_cost, self.guide.log_density
        drawn, log_q = jax.vmap(partial(self.guide.sample, guide, frame))(jax.random.split(key, len(x)))
        if density is not None:  # a gradient through the points alone: its scatter vanishes at the posterior
            log_q = jax.vmap(partial(density, jax.lax.stop_gradient(guide), frame))(drawn)
        u = solve_lower(copy.scale_tril, (drawn.astype(float) - copy.centre).T).T
        one: Callable[[jax.Array], jax.Array] = partial(log_density, self.target, arrays, copy, jnp.asarray(1.0))
        elbo = jnp.mean(jax.vmap(one)(u) - log_q)
        if of_x is None:
            return -elbo, elbo
        forward = -jnp.mean(jax.vmap(partial(of_x, guide, frame))(x))
        return REVERSE * -elbo + (1.0 - REVERSE) * forward, elbo

    def _run_steps(
        self, arrays: Arrays, copy: Copy, key: jax.Array, state: State, x: jax.Array, n_steps: jax.Array,
        total: jax.Array, rate: jax.Array,
    ) -> tuple[State, jax.Array]:  # fmt: skip
        """A loop whose length is an argument. A step without a finite gradient leaves guide and bound as they were."""
        particles = self._used["particles"]

        def step(number: jax.Array, carry: tuple[State, jax.Array]) -> tuple[State, jax.Array]:
            state, trace = carry
            of_rows, of_draws = jax.random.split(jax.random.fold_in(key, state["step"]))
            rows = jax.random.randint(of_rows, (particles,), 0, len(x))
            of_guide = jax.value_and_grad(self._loss, has_aux=True)
            (_, elbo), slope = of_guide(state["guide"], arrays, copy, state["frame"], x[rows], of_draws)
            finite = jnp.isfinite(norm_of(slope)) & jnp.isfinite(elbo)
            change, optimiser = self._adam.update(slope, state["optimiser"])
            size = rate * schedule(state["step"], total, _WARM_UP, _FINAL_RATE)
            guide = jax.tree.map(lambda part, by: part - size.astype(part.dtype) * by, state["guide"], change)
            moved = {**state, "guide": guide, "optimiser": optimiser, "bound": elbo + copy.reference}
            new = jax.tree.map(lambda a, b: jnp.where(finite, a, b), moved, state)
            new |= {"step": state["step"] + 1, "bad": state["bad"] + ~finite}
            return new, trace.at[number].set(new["bound"])

        return jax.lax.fori_loop(0, n_steps, step, (state, jnp.zeros(MAX_CHUNK)))


def _single(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree)
