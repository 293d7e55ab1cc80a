"""The order of the work: design, rounds of learning, a pool of weighted draws, exact chains, and the tests of all this.

Work goes on phase by phase. What is known between two phases is a table of plain arrays (see `memory`): a fit that
goes on from them is bit for bit one that was never interrupted.

    first           Student-t draws about the best point; the copy is begun
    round           draws of the copy, at full heat and hotter, teach it; a new frame from their weights
    draw_pool       draws of the copy with their true log-likelihoods
    test_forward    chains on the likelihood: does the copy go where the truth goes?
    refine          learn where copy and truth differ most, and where those chains went
    run_chains      exact chains with proposals from pool and copy
    weigh_evidence  the evidence of the copy
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TYPE_CHECKING

import jax
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import DivergedFitError
from gammasky.engine.infer.convergence import Convergence
from gammasky.engine.infer.derived import derive
from gammasky.engine.infer.emulator import training
from gammasky.engine.infer.emulator.chains import ExactChains, weighed
from gammasky.engine.infer.emulator.copy import Copy, framed, moments, placed, reframed, white
from gammasky.engine.infer.emulator.design import Design
from gammasky.engine.infer.emulator.mixing import MIXED, SLOW, of_short_chains, r_hat, scatter, strays
from gammasky.engine.infer.emulator.sampling import CHAINS, Sampler
from gammasky.engine.infer.emulator.scouts import CHAINS as N_SCOUTS
from gammasky.engine.infer.emulator.scouts import Forward, Scouts, outermost
from gammasky.engine.infer.emulator.target import Target
from gammasky.engine.infer.emulator.timing import timed
from gammasky.engine.infer.evidence import Evidence
from gammasky.engine.infer.importance import Importance, importance, tempered
from gammasky.engine.infer.result import marginals, quoted

if TYPE_CHECKING:
    from gammasky.engine.infer.optimise import Laplace
    from gammasky.engine.model import Density

Floats = NDArray[np.float64]
PHASES = ("first", "round", "draw_pool", "test_forward", "refine", "run_chains", "weigh_evidence", "done")
FIRST = 512  # Student-t draws about the best point
PER_ROUND = 320  # new points of a round at full heat, and as many with the likelihood's power HEAT
HEAT = 0.65
ENOUGH, ENOUGH_WITH_FIELDS, MOST_ROUNDS = 0.4, 0.25, 12  # importance efficiency that ends rounds, and most of these
FIRST_STEPS, ROUND_STEPS, LAST_STEPS = 800, 500, 2000  # of training
MORE_STEPS = 2  # of them, where there are fields
LEAST_STEPS, WELL, SURPRISE = 0.1, 0.3, 3.0  # share of steps where nothing is new; residual, and largest one, for all
EASY, EASY_WORST = 0.9, 1.0  # importance efficiency, and largest residual, of a copy that is tested once
FIRST_POOL, POOL, ASKED = 1024, 2048, 256  # the last of draws that are looked at before chains go on excursions
TESTED = 12  # iterations of chains on the likelihood
HEAVIEST, LIGHTEST = 192, 64  # draws of the pool that a refinement learns from
MOST_TESTS, MOST_WITH_FIELDS, MOST_RETURNS = 4, 2, 3  # the last of pools that went astray
ITERATIONS, MOST_ITERATIONS, SKIPPED = 24, 72, 6  # of the exact chains, and those that they need to settle
HIGH = 10.0  # nat below the best point from which on other optima do not matter
AT_WALL = 0.002  # share of the posterior that may be near the wall
LIGHT = 1e-3  # weight of all draws of a chain, in units of the mean, below which the chain is not where the truth is
_PIECE = 64  # points evaluated between looks at interrupts


class Emulation:
    """One density, learnt and sampled.

    Attributes:
        phase: what comes next, one of PHASES; "done" at the end.
        pieces_done: of work.
        design, copy: what is known of the likelihood, and what was learnt of it.
        pool: draws x (n, D) of the copy, with log_weights and log_likelihood (n,); chains: the exact chains.
        rounds: diagnostics of each round; tests: of each test by chains on the likelihood.
        log_z: log of the copy's evidence, and its error.
        found: convergence of the exact chains in every number that is quoted.
        walkers: where the chains on the copy are; step: of their leapfrogs; ticks: random numbers used so far.
        returns: how often the pool went astray and the copy was taught where.
        seconds: spent by kind of work.
    """

    copy: Copy  # set by `begin`

    def __init__(self, model: Density, seed: int) -> None:
        self.model, self.seed = model, seed
        self.target = Target(model)
        self.sampler = Sampler(self.target)
        self._fields = fields = self.target.has_fields
        self._enough, self._most_tests = (ENOUGH_WITH_FIELDS, MOST_WITH_FIELDS) if fields else (ENOUGH, MOST_TESTS)
        self.phase, self.pieces_done, self.ticks, self.returns = "first", 0, 0, 0
        self.design = Design.empty(model.n_latent, model.n_latent - model.latent.n_plain)
        self.walkers = {"cold": np.zeros((CHAINS, model.n_latent)), "hot": np.zeros((CHAINS, model.n_latent))}
        self.step = 0.2
        self.pool: dict[str, Floats] = {}
        self.chains = ExactChains()
        self.rounds: list[dict[str, float]] = []
        self.tests: list[Forward] = []
        self.log_z = Evidence(np.nan, np.nan)
        self.found: dict[str, Convergence] = {}
        self._posterior: tuple[Floats, Floats, dict[str, Floats]] | None = None
        self.seconds = {"likelihood": 0.0, "training": 0.0, "sampling": 0.0}

    @property
    def cost(self) -> int:
        """Evaluations of the likelihood with its gradient; one without counts half."""
        return self.target.n_gradients + self.target.n_values // 2

    @property
    def weights(self) -> Importance:
        """Importance weights of the pool; their log Z is that of the posterior over the copy's."""
        return importance(self.pool["log_weights"], np.zeros(len(self.pool["x"])))

    @property
    def mixed(self) -> float:
        """Largest R-hat of the copy's own chains, which the pool was drawn by, over all coordinates.

        Of ranks, and of the values themselves: a few chains that never leave a small mode far away hardly change ranks.
        Values count up to some widths from the middle (`mixing`), so that one chain in a long tail is no alarm.
        """
        n = len(self.pool["x"]) // CHAINS * CHAINS
        # a chain where the truth is not has found a mode of the copy alone
        weighs = self.weights.weights[:n].reshape(-1, CHAINS).max(axis=0) * n > LIGHT
        return r_hat(self.pool["x"], weighs)

    def begin(self, start: Laplace, recorded: Iterable[tuple[Floats, Floats, Floats]]) -> None:
        """Set the frame by the Laplace approximation; what its climbs met comes first in the design.

        Args:
            start: best point and curvature.
            recorded: points z (n, D), log densities (n,) and gradients (n, D) of the climbs.
        """
        for z, values, gradients in recorded:
            self.target.n_gradients += len(z)
            if self.target.has_fields:
                continue  # where the density of z is highest no draw of the posterior is
            known = np.isfinite(values) & np.isfinite(gradients).all(axis=1)
            if known.any():
                x = self.target.from_latent(z[known])
                self.design.add(self.target, x, *self.target.of_latent(z[known], values[known], gradients[known], x))
        centre, covariance = self.target.coordinates.frame(self.model, start)
        high = start.optima > start.log_density - HIGH
        if self.target.has_fields:
            self.walkers["hot"] = np.tile(centre, (CHAINS, 1))
        elif high.any():  # the frame holds all optima, and walkers begin at each
            optima, heights = self.target.from_latent(start.optima_z[high]), start.optima[high]
            shares = np.exp(heights - heights.max()) / np.exp(heights - heights.max()).sum()
            away = optima - shares @ optima
            centre = centre + shares @ optima - optima[np.argmax(heights)]
            covariance = covariance + away.T @ (away * shares[:, None])
            self.walkers["hot"] = optima[np.arange(CHAINS) // 4 % len(optima)]
        self.copy = framed(self.target, centre, covariance)

    def run_phase(self) -> Iterator[str]:
        """Do the next phase; yields what it is doing, twice a second or so."""
        for text in getattr(self, f"_{self.phase}")():
            self.pieces_done += 1
            yield text

    def posterior(self) -> tuple[Floats, Floats, dict[str, Floats]]:
        """Draws z (n, D) of the exact chains, one after another, log-likelihoods (n,) and derived numbers."""
        if self._posterior is None:
            z = self.target.latent(self.chains.flat("x", SKIPPED))
            self._posterior = z, self.chains.flat("log_likelihood", SKIPPED), derive(self.model, z)
        return self._posterior

    # --- phases
    def _first(self) -> Iterator[str]:
        rng, size = self._rng(), self.target.size
        t, n_plain = rng.standard_normal((FIRST, size)), self.target.n_plain
        t[:, :n_plain] /= np.sqrt(rng.chisquare(6, (FIRST, 1)) / 6)  # many dimensions together leave no room for tails
        x = placed(self.copy, t)
        values = yield from self._learn(x)
        _exists(values)
        self.copy = self.copy._replace(reference=np.float64(self.design.top))
        self.copy = training.begun(self.target, self.copy, self.design, self._key())
        yield from self._train(FIRST_STEPS)
        weights = tempered(values + self.target.prior(x)[0], 0.15)
        drawn, optima = x[rng.choice(FIRST, CHAINS, p=weights)], self.walkers["hot"]
        at_optima = (np.arange(CHAINS) % 4 == 0) & optima.any(axis=1)
        self.walkers = {which: np.where(at_optima[:, None], optima, drawn) for which in self.walkers}
        self.phase = "round"

    def _round(self) -> Iterator[str]:
        self.step = step = float(np.clip(self.step, 0.05, 0.5))
        yield from self._move("hot", 10, HEAT)
        hot = yield from self._draw("hot", PER_ROUND, 6, HEAT)
        self.step = step
        yield from self._move("cold", 12)
        cold = yield from self._draw("cold", PER_ROUND, 8)
        log_copy = self.sampler.log_density(self.copy, white(self.copy, cold))
        values = yield from self._learn(cold)
        yield from self._learn(hot)
        log_weights = values + self.target.prior(cold)[0] - log_copy
        log_weights = np.where(np.isfinite(log_weights), log_weights, -np.inf)
        _exists(log_weights)
        found = importance(log_weights, np.zeros(len(cold)))
        residual, radii = scatter(log_weights), (white(self.copy, cold) ** 2).sum(axis=1)
        wall = float(self.copy.wall)
        self.rounds.append({
            "efficiency": found.efficiency, "k_hat": found.k_hat, "residual": residual, "cost": self.cost,
            "points": len(self.design.x), "radius2": float(radii.max()), "wall": wall,
        })  # fmt: skip
        pressed = self._pressed(cold, found.weights)
        at_wall = log_weights[radii > 0.7 * wall] - np.median(log_weights)
        if pressed or (radii.max() > 0.8 * wall and residual < 1.5 and at_wall.max() > -3):
            wall *= 1.4
        self._reframe(cold, log_weights, wall)
        enough = found.efficiency > self._enough and not found.heavy and not pressed
        enough |= len(self.rounds) >= MOST_ROUNDS
        yield from self._train(self._steps(LAST_STEPS if enough else ROUND_STEPS), anew=residual > 5)
        self.phase = "draw_pool" if enough else "round"

    def _draw_pool(self) -> Iterator[str]:
        yield from self._move("cold", 20)
        x = yield from self._draw("cold", POOL if self.tests else FIRST_POOL, 10)
        # between modes that chains hardly leave excursions may lead, but for those of the copy alone; with fields never
        for excursions, least in ((0, SLOW),) if self._fields else ((1, SLOW), (4, MIXED)):
            if r_hat(x) < least or strays((yield from self._weigh(x[:ASKED]))["log_weights"]).size:
                break
            x = yield from self._draw("cold", len(x), 60 if self._fields else 10, excursions=excursions)
        self.pool = yield from self._weigh(x)
        _exists(self.pool["log_weights"])
        self.returns += (back := strays(self.pool["log_weights"]).size > 0 and self.returns < MOST_RETURNS)
        self.phase = "refine" if back else "test_forward"

    def _test_forward(self) -> Iterator[str]:
        weights = self.weights
        known = np.isfinite(self.pool["log_weights"])
        begin = self.pool["x"][weights.resampled(N_SCOUTS, self._seed())]
        if not self.tests:  # the first teaches above all: half of its chains begin where the copy knows least
            x = self.pool["x"][known]
            begin[::2] = x[outermost(white(self.copy, x), N_SCOUTS // 2)]
        scouts = Scouts()
        work = scouts.run(self.target, self.copy, begin, 0.8 * self.step, TESTED, self._rng())
        for number, _ in enumerate(timed(self.seconds, "likelihood", work)):
            yield f"chains on the likelihood, {number + 1} of {TESTED}"
        u = white(self.copy, np.concatenate(scouts.x))
        copied = self.sampler.log_density(self.copy, u).reshape(TESTED, N_SCOUTS)
        # what the copy has where there is no truth, a chain on the likelihood never tells
        test = Forward.of(np.array(scouts.log_density) - copied - weights.log_z + np.log(known.mean()))
        self.tests.append(test)
        pressed = self._pressed(self.pool["x"], weights.weights)
        easy = weights.efficiency > EASY and test.worst < EASY_WORST
        learnt = (easy or len(self.tests) > 1) and test.covered and not weights.heavy and not pressed
        if learnt or len(self.tests) >= self._most_tests:
            self.chains = ExactChains(on_likelihood=not learnt)
            self.phase = "run_chains"
            return
        for point, value, gradient in zip(scouts.points, scouts.values, scouts.gradients, strict=True):
            self.design.add(self.target, point, value, gradient)
        wall = max((1.4 if pressed else 1.0) * float(self.copy.wall), 1.2 * (u**2).sum(axis=1).max())
        self.copy = self.copy._replace(wall=np.float64(wall))
        self.phase = "round" if pressed and len(self.rounds) < MOST_ROUNDS else "refine"

    def _refine(self) -> Iterator[str]:
        x, order, astray = self.pool["x"], np.argsort(-self.pool["log_weights"]), strays(self.pool["log_weights"])
        light, surprise = order[-LIGHTEST:], self.tests[-1].worst / SURPRISE if self.tests else 1.0
        if astray.size:  # some of all depths; and walkers go on from draws of weight
            light, surprise = astray[:: -(-astray.size // HEAVIEST)], 1.0
            self.walkers = {**self.walkers, "cold": x[self.weights.resampled(CHAINS, self._seed())]}
        yield from self._learn(x[np.concatenate([order[:HEAVIEST], light])], floor=astray.size > 0)
        yield from self._train(self._steps(LAST_STEPS, surprise))
        self.phase = "draw_pool"

    def _run_chains(self) -> Iterator[str]:
        work = self.chains.run(
            self.target, self.sampler, self.copy, self.pool, self.step, ITERATIONS, self._key(), self._rng()
        )
        for number, _ in enumerate(timed(self.seconds, "likelihood", work)):
            yield f"exact chains, {number + 1} of {ITERATIONS}"
        self._posterior = None
        self._judge()
        if all(of.good for of in self.found.values()):
            self.phase = "weigh_evidence"
        elif len(self.chains.kept["x"]) < MOST_ITERATIONS:
            self.phase = "run_chains"
        elif self.chains.on_likelihood:
            self.phase = "weigh_evidence"
        elif len(self.tests) >= self._most_tests:
            self.chains = ExactChains(on_likelihood=True)
            self.phase = "run_chains"
        else:  # a draw of great weight has not let go: the copy is too low there
            kept = {name: values.reshape(-1, *values.shape[2:]) for name, values in self.chains.kept.items()}
            every = {name: np.concatenate([self.pool[name], kept[name]]) for name in self.pool}
            _, rows = np.unique(every["x"], axis=0, return_index=True)
            self.pool, self.chains = {name: values[rows] for name, values in every.items()}, ExactChains()
            self.phase = "refine"

    def _judge(self) -> None:
        numbers = quoted(self.model, marginals(self.model, self.posterior()[2]))
        self.found = {name: of_short_chains(values.reshape(CHAINS, -1)) for name, values in numbers.items()}

    def _weigh_evidence(self) -> Iterator[str]:
        x = self.pool["x"][self._rng().permutation(len(self.pool["x"]))[:CHAINS]]
        for found in timed(self.seconds, "sampling", self.sampler.evidence(self.copy, x, self._key(), 0.2)):
            self.log_z = found
            yield "the evidence of the copy"
        self.phase = "done"

    # --- parts of phases
    def _learn(self, x: Floats, *, floor: bool = False) -> Generator[str, None, Floats]:
        """Evaluate x (n, D) and add it to the design, see there; returns log-likelihoods (n,)."""
        found: list[tuple[Floats, Floats]] = []
        work = (self.target.likelihood(x[first : first + _PIECE]) for first in range(0, len(x), _PIECE))
        for part in timed(self.seconds, "likelihood", work):
            found.append(part)
            yield self._told()
        values, gradients = (np.concatenate(parts) for parts in zip(*found, strict=True))
        self.design.add(self.target, x, values, gradients, floor=floor)
        return values

    def _weigh(self, x: Floats) -> Generator[str, None, dict[str, Floats]]:
        """Draws x (n, D) of the copy with their log weights and log-likelihoods (n,)."""
        parts: list[dict[str, Floats]] = []
        work = (weighed(self.target, self.sampler, self.copy, x[at : at + _PIECE]) for at in range(0, len(x), _PIECE))
        for part in timed(self.seconds, "likelihood", work):
            parts.append(part)
            yield f"likelihood of the copy's draws, {len(parts) * _PIECE} of {len(x)}"
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    def _steps(self, most: int, surprise: float = 0.0) -> int:
        """The number of training steps: the better the copy has foretold the points that it learns now, the fewer."""
        share = max(self.rounds[-1]["residual"] / WELL, surprise)
        return int(np.ceil(most * np.clip(share, LEAST_STEPS, 1.0) / training.PIECE)) * training.PIECE

    def _train(self, n_steps: int, *, anew: bool = False) -> Iterator[str]:
        if anew:
            self.copy = training.begun(self.target, self.copy, self.design, self._key())
        if self.target.has_fields:
            n_steps *= MORE_STEPS
            self.copy = self.copy._replace(reach=self.design.reach(self.target, self.copy))
        work = training.train(self.target, self.copy, self.design, self._key(), n_steps)
        for number, copy in enumerate(timed(self.seconds, "training", work)):
            self.copy = copy
            yield f"learning, step {(number + 1) * training.PIECE} of {n_steps}"

    def _move(self, which: str, transitions: int, heat: float = 1.0) -> Iterator[str]:
        """Move the walkers `which`; their step is tuned on the way."""

        def moved(u: Floats) -> Floats:
            u, self.step, _ = self.sampler.move(self.copy, u, self._key(), self.step, transitions, 14, heat=heat)
            return u

        yield from self._walk(which, moved)

    def _walk(self, which: str, moved: Callable[[Floats], Floats]) -> Iterator[str]:
        """Take the walkers `which` from u to moved(u)."""
        began = time.perf_counter()
        u = moved(white(self.copy, self.walkers[which]))
        self.walkers = {**self.walkers, which: placed(self.copy, u)}
        self.seconds["sampling"] += time.perf_counter() - began
        yield self._told()

    def _draw(
        self, which: str, n: int, thinning: int, heat: float = 1.0, *, excursions: int = 0
    ) -> Generator[str, None, Floats]:
        """n draws of the copy, from as many chains as there are walkers, each after so many excursions."""
        draws: list[Floats] = []
        while len(draws) * CHAINS < n:
            for _ in range(max(excursions, 1)):
                if excursions:
                    yield from self._walk(which, lambda u: self.sampler.excursion(self.copy, u, self._key(), self.step))
                yield from self._move(which, thinning, heat)
            draws.append(self.walkers[which])
        return np.concatenate(draws)[:n]

    def _reframe(self, x: Floats, log_weights: Floats, wall: float) -> None:
        """The frame of weighted draws x (n, D); walkers go on from draws of weight."""
        weights = tempered(log_weights, 0.4)
        mean, covariance = moments(x, weights, self.copy, self.target.n_plain)
        self.walkers = {**self.walkers, "cold": x[self._rng().choice(len(x), CHAINS, p=weights)]}
        self.copy = reframed(self.target, self.copy, mean, covariance)._replace(wall=np.float64(wall))

    def _pressed(self, x: Floats, weights: Floats) -> bool:
        """Whether the posterior, by weighted draws x (n, D), reaches the wall."""
        near = (white(self.copy, x) ** 2).sum(axis=1) > 0.8 * float(self.copy.wall)
        return bool(weights[near].sum() > AT_WALL)

    def _told(self) -> str:
        """What the numbers say so far."""
        efficiency = f", efficiency {self.rounds[-1]['efficiency']:.0%}" if self.rounds else ""
        return f"{self.cost} gradients{efficiency}"

    def _key(self) -> jax.Array:
        self.ticks += 1
        return jax.random.fold_in(jax.random.key(self.seed), self.ticks)

    def _seed(self) -> int:
        return int(self._rng().integers(2**31))

    def _rng(self) -> np.random.Generator:
        self.ticks += 1
        return np.random.default_rng((self.seed, self.ticks))


def _exists(log_weights: Floats) -> None:
    """Raise a DivergedFitError if there is no likelihood at any of the draws."""
    if not np.isfinite(log_weights).any():
        raise DivergedFitError("the likelihood exists at none of the draws of its copy; use `method='nuts'`")
