"""Variational inference: maximise a bound on log Z by stochastic gradients, whole chunks of steps per call.

The bound is the ELBO, E_q[log p(data, z) - log q(z)], or one nearer to log Z (see `objective`), estimated with
`particles` draws per step and differentiated through the draws (Kingma & Welling, arXiv:1312.6114). The random key of
step i is fold_in(seed, i), so a fit that goes on from a checkpoint repeats an uninterrupted one bit for bit, wherever
it was cut.

The flow works in flux coordinates (see `coordinates`), and in windows: it starts on an affine frame, at first that of
the Laplace approximation; at the end of each window but the last, mean and covariance of its draws become the next
frame, and the flow begins again. Where the posterior is a bent valley, the curvature of the best point is ten times
narrower than the valley is long, and a flow that starts there ends, after thousands of steps, with sharp edges at two
thirds of its length: where the guide equals the posterior but for a factor the gradient is zero, so only the few draws
at the edges push outwards. A few short windows widen the frame until it fits.

Where the guide's density at a point is cheap, the bound's gradient has two estimates of the same mean. One takes log q
as each draw made it: its scatter is the same everywhere, and each draw pushes a guide that is too narrow outwards. The
other differentiates log q through the point alone (see `objective`): its scatter vanishes as the guide approaches the
posterior, but is wild far from there, the more so the higher the learning rate, and a few draws may throw the flow
out. So the ELBO is climbed by the first in the windows that widen the frame; in what follows the share of the second
grows from 0 to 1 until half of that is done. Other bounds take the second throughout.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from gammasky.engine.errors import DivergedFitError
from gammasky.engine.infer.coordinates import flux_coordinates, latent_coordinates
from gammasky.engine.infer.fitted_guide import FittedGuide
from gammasky.engine.infer.guide_draws import BLOCK, GuideDraws
from gammasky.engine.infer.guides import GUIDES, Family
from gammasky.engine.infer.guides.frame import frame_of
from gammasky.engine.infer.guides.guide import Frame
from gammasky.engine.infer.objective import Objective
from gammasky.engine.infer.optimise import Laplace
from gammasky.engine.infer.settings import Settings
from gammasky.engine.memory import bytes_of, require_memory

if TYPE_CHECKING:
    from gammasky.engine.model import Density

Floats = NDArray[np.float64]
State = dict[str, Any]
MAX_CHUNK = 1000
FEWEST_FLAT = 200  # steps that two windows must each have before an ELBO may be called flat
FLAT_EVERY = 500  # steps between looks at a flat ELBO: a fixed number, so that resuming changes nothing
_FINAL_RATE = 0.01  # of a cosine schedule, relative to its highest
_WARM_UP = 100  # steps of a cosine schedule before that
_SETTLED = 0.5  # share of the steps after the last window by which the gradient is that through the points alone
# Adam's memory of squared gradients that vanish at the posterior: where most are tiny, a single large one
# is a step of at most one learning rate; with 0.999, of three, and such steps have taken a bound from 0 to -40
_MEMORY = 0.99
_FEW = 10  # steps over which the bound is averaged at the beginning and at the end of a window
_FRAME_DRAWS = 4000  # that the next frame is measured on
_WINDOW = 5  # steps whose median the bound is judged by: few, since a fit may run away within the first twenty
_LATEST = 100  # steps that must all be bad, by their median, before a fit counts as diverged
_FALL = 50.0  # nat that the bound may fall from its best window, or as many times that window's scatter
_FAR = 8.0  # prior standard deviations from 0, and the start's own from its mode: no posterior is there
_SHARE = 0.1  # of the guide's draws that must be that far out
_NOWHERE = 1e100
# settings that programs hold as constants
_SHAPING = ("guide", "layers", "width", "steps", "particles", "learning_rate", "schedule", "clip", "alpha")
_NAMED = 3  # parameters that the error names


class VariationalFit:
    """One variational fit: compiled steps over a state that is plain arrays.

    The state holds the guide's parameters and its frame, the optimiser's state, the number of steps done, the bound at
    the window's beginning and lately, and whether every step so far was finite; `advance` moves it.
    """

    def __init__(self, model: Density, settings: Settings) -> None:
        self.model, self.settings = model, settings
        self._used = settings.resolved()
        guide = GUIDES[settings.guide]
        self.guide: Family = guide.sized(model.n_latent, self._used)
        self.coordinates = flux_coordinates(model) if guide.flux_coordinates else latent_coordinates()
        self._objective = Objective(settings.alpha)
        self._windows = sorted({int(share * self._used["steps"]) for share in guide.windows} - {0})
        memory = _MEMORY if guide.has_density and settings.alpha == 1.0 else 0.999
        self._adam = optax.chain(optax.clip(settings.clip), optax.scale_by_adam(b2=memory))
        self._rate = self._schedule()
        self._key = jax.random.key(settings.seed)
        # data, start and key are arguments of the programs
        shape = tuple(self._used.get(name) for name in _SHAPING)
        self._steps = model.program(("svi steps", shape), lambda: jax.jit(self._run_steps))
        self.draws = GuideDraws(model, shape[:3], self.guide, self.coordinates, self._key)

    def _schedule(self) -> Callable[[jax.Array], jax.Array]:
        """The learning rate of a step: constant, or in each window a warm-up and a cosine."""
        rate = self._used["learning_rate"]
        if self._used["schedule"] == "constant":
            return optax.constant_schedule(rate)
        lengths = np.diff([0, *self._windows, self._used["steps"]])
        parts = [
            optax.warmup_cosine_decay_schedule(
                rate * _FINAL_RATE, rate, min(_WARM_UP, length // 4), length, rate * _FINAL_RATE
            )
            for length in map(int, lengths)
        ]
        return optax.join_schedules(parts, self._windows)

    def window_start(self, step: int) -> int:
        """The step at which the window of `step` steps done began."""
        return max([0, *(end for end in self._windows if end < step)])

    def start(self, laplace: Laplace, number: int = 0) -> State:
        """The state before the first step; each `number` has its own random first parameters of the guide."""
        centre, covariance = self.coordinates.frame(self.model, laplace)
        return self._begin(frame_of(centre, covariance), number, 0)

    def _begin(self, frame: Frame, number: int, step: int) -> State:
        """The state at the beginning of a window."""
        key = jax.random.fold_in(self._key, 2**31 + number)
        guide = self.guide.init(frame, jax.random.fold_in(key, step) if step else key)
        return {
            "guide": guide,
            "frame": frame,
            "optimiser": self._adam.init(guide),
            "number": jnp.asarray(number),
            "step": jnp.asarray(step),
            "begin": jnp.asarray(step),
            "first": jnp.zeros(()),
            "last": jnp.zeros(()),
            "finite": jnp.asarray(True),
        }

    def require_memory(self) -> None:
        """Refuse more particles than the GPU has memory for; members side by side are refused where they are gathered.

        Raises:
            InputError: says how many there is memory for.
        """
        if self.model.programs.width == 1:
            require_memory("particles", self._used["particles"], self._memory)

    def _memory(self, particles: int) -> int:
        """What steps with so many particles take [bytes]."""
        settings, size = self.settings, self.model.n_latent
        fit = VariationalFit(self.model, Settings(settings.method, options=settings.options, particles=particles))
        state = fit._begin(frame_of(np.zeros(size), np.eye(size)), 0, 0)
        return bytes_of(fit._steps, self.model.arrays, self._key, state, jnp.asarray(1))

    def advance(self, state: State, n_steps: int) -> tuple[State, Floats]:
        """Do up to `n_steps` (at most MAX_CHUNK) steps, none beyond the end of the window.

        Returns:
            the new state and the estimate of the bound (the ELBO, or that of `alpha`) in each step that was done.

        Raises:
            NonFiniteLikelihoodError: a draw had a non-finite likelihood or gradient; names the pixel and the
                parameters. The state before that step is lost to the caller only if it was not kept.
        """
        done = int(state["step"])
        ends = [end for end in self._windows if end > done]
        n_steps = min(n_steps, MAX_CHUNK, ends[0] - done if ends else n_steps)
        new, elbo = self._steps(self.model.arrays, self._key, state, jnp.asarray(n_steps))
        if not bool(new["finite"]):
            raise self._explain(new)
        if done + n_steps in self._windows:
            fresh = self._begin(self._next_frame(new), int(new["number"]), done + n_steps)
            # Adam goes on: it knows how large gradients get. Near the posterior they are tiny but for a few, and a new
            # Adam would take those few for steps that throw the flow out
            new = {**fresh, "optimiser": new["optimiser"]}
        return new, np.asarray(elbo)[:n_steps]

    def _next_frame(self, state: State) -> Frame:
        """That of the draws; a window that has made the bound worse leaves the frame as it was."""
        if float(state["last"]) <= float(state["first"]):
            return dict(state["frame"])
        x = self.draws.draw(state["guide"], state["frame"], _FRAME_DRAWS)[2]
        return frame_of(x.mean(axis=0), np.atleast_2d(np.cov(x.T)))

    def draw(self, state: State, n_draws: int) -> tuple[Floats, Floats]:
        """Draws z (n, D) from the guide and their log density log q (n,)."""
        z, log_q, _ = self.draws.draw(state["guide"], state["frame"], n_draws)
        return z, log_q

    def fitted(self, state: State) -> FittedGuide:
        """The guide as it is now, to be kept."""
        coordinates = "flux" if GUIDES[self.settings.guide].flux_coordinates else "latent"
        return FittedGuide.of(self.model, self._used, coordinates, state["guide"], state["frame"])

    def log_density(self, state: State, z: Floats) -> Floats:
        """log q (n,) of the guide at any points z (n, D).

        Raises:
            ValueError: a guide that has a density at its own draws only.
        """
        found = self.draws.log_density(state["guide"], state["frame"], z)
        if found is None:
            raise ValueError(f"guide '{self.settings.guide}' has no density at any point; use the flow")
        return found

    def _draws_of_step(self, guide: Any, frame: Any, key: jax.Array, step: jax.Array) -> tuple[jax.Array, jax.Array]:
        keys = jax.random.split(jax.random.fold_in(key, step), self._used["particles"])
        return jax.vmap(lambda key: self.guide.sample(guide, frame, key))(keys)

    def _loss(self, guide: Any, arrays: Any, frame: Any, key: jax.Array, step: jax.Array) -> jax.Array:
        x, as_drawn = self._draws_of_step(guide, frame, key, step)
        log_q, doubly = as_drawn, self.guide.log_density is not None
        if self.guide.log_density is not None:
            log_q = jax.vmap(partial(self.guide.log_density, jax.lax.stop_gradient(guide), frame))(x)
        z, log_volume = jax.vmap(self.coordinates.to_latent)(x)
        log_p = jax.vmap(partial(self.model.log_density, arrays=arrays))(z) + log_volume
        loss = self._objective.loss(log_p - log_q, doubly=doubly)
        if not doubly or self.settings.alpha < 1.0:
            return loss
        widened = max(self._windows, default=0)
        share = jnp.clip((step - widened) / (_SETTLED * (self._used["steps"] - widened)), 0.0, 1.0)
        return (1.0 - share) * self._objective.loss(log_p - as_drawn, doubly=False) + share * loss

    def _run_steps(self, arrays: Any, key: jax.Array, state: State, n_steps: jax.Array) -> tuple[State, jax.Array]:
        """A loop whose length is an argument: one compiled program for chunks of any size."""

        def unfinished(carry: tuple[jax.Array, State, jax.Array]) -> jax.Array:
            done, current, _ = carry
            return (done < n_steps) & current["finite"]

        def step(carry: tuple[jax.Array, State, jax.Array]) -> tuple[jax.Array, State, jax.Array]:
            done, current, elbo = carry
            new, value = self._one_step(arrays, key, current)
            return done + 1, new, elbo.at[done].set(value)

        _, state, elbo = jax.lax.while_loop(unfinished, step, (jnp.asarray(0), state, jnp.zeros(MAX_CHUNK)))
        return state, elbo

    def _one_step(self, arrays: Any, key: jax.Array, state: State) -> tuple[State, jax.Array]:
        """Do one step of the optimiser; one that is not finite leaves everything as it was but the flag."""
        loss, gradient = jax.value_and_grad(self._loss)(state["guide"], arrays, state["frame"], key, state["step"])
        finite = jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(gradient))
        updates, optimiser = self._adam.update(gradient, state["optimiser"], state["guide"])
        updates = optax.tree.scale(-self._rate(state["step"]), updates)
        begin = state["step"] - state["begin"] < _FEW
        new = {
            **state,
            "first": state["first"] + jnp.where(begin, -loss / _FEW, 0.0),
            "last": jnp.where(begin, state["first"], state["last"] - (loss + state["last"]) / _FEW),
            "guide": optax.apply_updates(state["guide"], updates),
            "optimiser": optimiser,
            "step": state["step"] + 1,
            "finite": finite,
        }
        kept = {**state, "finite": finite}
        return jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, kept), -loss

    def _explain(self, state: State) -> Exception:
        """The error for the draw that made the step after `state` non-finite."""
        x, _ = self._draws_of_step(state["guide"], state["frame"], self._key, state["step"])
        z, _ = jax.vmap(self.coordinates.to_latent)(x)
        values, gradients = (np.asarray(part) for part in self.model.value_and_gradient(z))
        bad = ~(np.isfinite(values) & np.isfinite(gradients).all(axis=1))
        return self.model.explain(self.model.parameters(z[int(np.argmax(bad))]))


Status = Literal["converged", "stopped"]


def is_flat(elbo: Floats, window: int) -> bool:
    """Whether the ELBO neither rises nor falls any more, and has not fallen before.

    The mean of the last `window` steps is above that of the window before by less than 0.1 nat or twice the standard
    error of the difference, whichever is larger; and it is below that of no earlier window by more than 1 nat and four
    standard errors.
    """
    if elbo.size < 2 * window:
        return False
    windows = elbo[elbo.size % window :].reshape(-1, window)
    means, errors = windows.mean(axis=1), windows.std(axis=1) / np.sqrt(window)
    rises = means[-1] - means[-2] >= max(0.1, 2.0 * np.hypot(errors[-1], errors[-2]))
    best = int(np.argmax(means))
    fallen = means[best] - means[-1] > max(1.0, 4.0 * np.hypot(errors[-1], errors[best]))
    return not (rises or fallen)


def status_of(elbo: Floats) -> Status:
    """Whether the ELBO of all steps has become flat."""
    window = min(FLAT_EVERY, max(elbo.size // 4, FEWEST_FLAT))
    return "converged" if is_flat(elbo, window) else "stopped"


def check_diverged(svi: VariationalFit, state: State, start: Laplace, elbo: Floats) -> None:
    """Refuse a fit that has run away, so that no checkpoint of it is kept.

    It has if, counted from the beginning of the window, the median of the latest 100 steps is
    below that of the best 5 in a row by more than 50 nat and 50 times the scatter within those 5; or if a tenth of the
    guide's draws are more than 8 from 0 on some axis of z (of prior N(0, 1)), and 8 standard deviations of the start
    from its mode.

    Args:
        svi: the fit.
        state: after the latest step.
        start: where the fit began.
        elbo (steps,): the bound in each step so far.

    Raises:
        DivergedFitError: names the parameters that went furthest, and what to change.
    """
    fall = _fall(elbo[svi.window_start(elbo.size) :])
    z, _ = svi.draw(state, BLOCK)
    z = np.clip(np.nan_to_num(z, nan=np.inf), -_NOWHERE, _NOWHERE)  # a draw that is no number is nowhere near
    moved = np.abs(z - start.mode) / np.linalg.norm(start.scale_tril, axis=1)
    far = ((np.abs(z) > _FAR) & (moved > _FAR)).mean(axis=0) > _SHARE
    if not fall and not far.any():
        return
    distance = np.median(moved, axis=0)
    furthest = np.lexsort((-distance, ~far))[:_NAMED]
    named = ", ".join(f"'{svi.model.latent.names[i]}' ({distance[i]:.3g} sd)" for i in furthest)
    used = svi.settings.resolved()
    remedy = f"start again with a lower learning rate (it is {used['learning_rate']:g})"
    if used["schedule"] == "constant":
        remedy += " or with a cosine schedule"
    reason = fall or f"its draws are beyond |z| = {_FAR:g}"
    raise DivergedFitError(
        f"the fit diverged by step {elbo.size}: {reason}; furthest from where they started: {named}; {remedy}"
    )


def _fall(elbo: Floats) -> str:
    """Say how far the bound has fallen; "" for one that has not."""
    if elbo.size < _LATEST + _WINDOW:
        return ""
    windows = elbo[: elbo.size // _WINDOW * _WINDOW].reshape(-1, _WINDOW)
    medians, latest = np.median(windows, axis=1), float(np.median(elbo[-_LATEST:]))
    best = int(np.argmax(medians))
    scatter = float(windows[best].std())
    if medians[best] - latest <= _FALL * max(1.0, scatter):
        return ""
    return f"the bound fell from {medians[best]:.1f} to {latest:.1f}"
