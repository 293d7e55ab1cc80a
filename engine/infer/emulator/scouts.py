"""Hamiltonian Monte Carlo on the likelihood itself: it goes where the truth goes, not where the copy goes.

The points teach the copy its tails, and fresh ones test it: over draws of the posterior, the mean of copy / truth times
Z must be 1, and is less where the copy misses mass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.emulator.copy import Copy, white
from gammasky.engine.infer.emulator.target import Target
from gammasky.engine.infer.emulator.trajectories import Places, looked_at, trajectory

Floats = NDArray[np.float64]
CHAINS = 16
MISSED, MOST_MISSED, LARGEST_GAP = 3.0, 0.02, 0.1  # [nat], share of draws, [nat]
_ACCEPTANCE = 0.75


@dataclass
class Scouts:
    """What chains on the likelihood found.

    Attributes:
        x (iterations, CHAINS, D), log_density (iterations, CHAINS): places, and prior times likelihood there.
        points, values, gradients: every point that was evaluated, with log-likelihood and gradient.
    """

    x: list[Floats] = field(default_factory=list)
    log_density: list[Floats] = field(default_factory=list)
    points: list[Floats] = field(default_factory=list)
    values: list[Floats] = field(default_factory=list)
    gradients: list[Floats] = field(default_factory=list)

    def run(
        self, target: Target, copy: Copy, x: Floats, step: float, iterations: int, rng: np.random.Generator
    ) -> Iterator[None]:
        """Chains from x (CHAINS, D), in the frame of `copy`; yields after every trajectory."""

        def look(u: Floats) -> Places:
            found = looked_at(target, copy, u)
            self.points.append(found.x)
            self.values.append(found.log_likelihood)
            self.gradients.append(found.gradient)
            return found

        at, tuning = look(white(copy, x)), _DualAveraging(step)
        for _ in range(iterations):
            at, _, acceptance = trajectory(look, at, tuning.step, rng)
            if acceptance is not None:
                tuning.learn(acceptance)
            self.x.append(at.x)
            self.log_density.append(at.log_density)
            yield


@dataclass(frozen=True)
class Forward:
    """How well the copy covers where chains on the likelihood went.

    Attributes:
        coverage: log of the mean of copy / truth, each normalised; 0 where the copy covers all, less where it misses
            mass. error: its standard error, from the scatter between chains.
        missed: share of the places where the truth is more than e^MISSED times the copy.
        worst: largest log(truth / copy).
    """

    coverage: float
    error: float
    missed: float
    worst: float

    @classmethod
    def of(cls, log_ratios: Floats) -> Forward:
        """From log(truth / copy) (iterations, chains), normalised."""
        highest = float(-log_ratios.min())  # in units of which a copy that is low everywhere is still a number
        by_chain = np.exp(-log_ratios - highest).mean(axis=0)
        mean = float(by_chain.mean())
        error = float(by_chain.std(ddof=1) / np.sqrt(len(by_chain)) / mean)
        return cls(float(np.log(mean)) + highest, error, float((log_ratios > MISSED).mean()), float(log_ratios.max()))

    def doubts(self, of: str, most_missed: float) -> tuple[list[str], list[str]]:
        """Say what this holds against `of`, the copy or a guide: why not to trust its draws, and why to doubt them.

        Args:
            most_missed: largest share of the posterior that may lie where it is low by MISSED.
        """
        trouble: list[str] = []
        doubts: list[str] = []
        if self.lacking > LARGEST_GAP:
            trouble.append(
                f"the posterior goes where the {of} does not: log of the mean of {of} / posterior is "
                f"{self.coverage:.2f} +- {self.error:.2f}, below {-LARGEST_GAP:g} by more than its error"
            )
        if self.missed >= most_missed:
            doubts.append(
                f"{self.missed:.1%} of the posterior, not below {most_missed:.0%}, lie where the {of} is low by more "
                f"than {MISSED:g} nat"
            )
        return trouble, doubts

    @property
    def covered(self) -> bool:
        """Whether no more is missed than exact chains make up for."""
        return bool(self.lacking < LARGEST_GAP and self.missed < MOST_MISSED)

    @property
    def lacking(self) -> float:
        """Log of the mass that the copy lacks, beyond the error of the test [nat]."""
        return -(self.coverage + self.error)


class _DualAveraging:
    """The step size (Nesterov 2009; Hoffman & Gelman, arXiv:1111.4246)."""

    def __init__(self, step: float) -> None:
        self.step, self._aim = step, np.log(2 * step)
        self._bias, self._count = 0.0, 0

    def learn(self, acceptance: float) -> None:
        self._count += 1
        share = 1 / (self._count + 10)
        self._bias = (1 - share) * self._bias + share * (_ACCEPTANCE - acceptance)
        self.step = float(np.exp(self._aim - np.sqrt(self._count) / 0.05 * self._bias))


def outermost(u: Floats, n: int) -> NDArray[np.int64]:
    """n rows of u (N, D) that are far out, and far from each other: of the 8 n of largest radius the next is always
    the one farthest from those taken.
    """
    rows = np.argsort(-(u**2).sum(axis=1), kind="stable")[: 8 * n]
    taken = [0]
    while len(taken) < n:
        distances = ((u[rows, None] - u[rows[taken]][None]) ** 2).sum(axis=2).min(axis=1)
        taken.append(int(np.argmax(distances)))
    return rows[taken]
