"""Says how far a posterior can be trusted: one word, the reasons, and what to do about it.

Here is what the verdicts of all methods have in common; the rule of each method is the `verdict` of its class.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from gammasky.engine.infer.convergence import LARGEST_R_HAT, SMALLEST_ESS, Convergence
from gammasky.engine.infer.derived import quoted_numbers
from gammasky.engine.infer.importance import RELIABLE_K_HAT, Importance

if TYPE_CHECKING:
    from gammasky.engine.model import Density

Level = Literal["reliable", "preview", "unreliable"]
LARGEST_GAP = 1.0  # log Z - ELBO [nat]
SPLIT_R_HAT = 1.05  # chains are in different places
LARGEST_SHIFT = 0.2  # of a mean by the weights [sd]
LARGEST_ERROR = 0.2  # of a log Z that is quoted [nat]
STOPPED = "the optimiser stopped before the ELBO was flat"

Remedy = Mapping[str, Any]  # names of settings -> values


@dataclass(frozen=True)
class Verdict:
    """How far to trust a posterior.

    Attributes:
        level: reliable, preview (good enough to look at, not to quote) or unreliable.
        reasons: for the level, the gravest first.
        remedy: settings of a fit that would do better; empty where none is needed.
    """

    level: Level
    reasons: tuple[str, ...]
    remedy: Remedy

    def as_dict(self, told: Callable[[Remedy], str]) -> dict[str, Any]:
        """Plain text, with the remedy as `told` says it, "" where none is needed."""
        return {"level": self.level, "reasons": list(self.reasons), "remedy": told(self.remedy) if self.remedy else ""}


def in_python(remedy: Remedy) -> str:
    """Write a remedy as a call of `fit`."""
    return f"fit(model, Settings({', '.join(f'{name}={value!r}' for name, value in remedy.items())}))"


def judged(
    numbers: Mapping[str, float], trouble: Sequence[str], doubts: Sequence[str], fine: str, remedy: Remedy
) -> Verdict:
    """Give a verdict. Every verdict is made here, so that none overlooks a number that is not finite.

    Args:
        numbers: all that the verdict rests on, by the name that its reader knows.
        trouble: reasons not to trust the draws.
        doubts: reasons not to quote them yet.
        fine: what to say where there is neither.
        remedy: settings of a fit that would do better.
    """
    unknown = _not_finite(numbers)
    reasons = (*unknown, *trouble, *doubts)
    if not reasons:
        return Verdict("reliable", (fine,), {})
    return Verdict("unreliable" if unknown or trouble else "preview", reasons, remedy)


def unless_finite(verdict: Verdict, numbers: Mapping[str, ArrayLike]) -> Verdict:
    """Return the verdict, or *unreliable* where one of the fit's own numbers is not finite.

    Args:
        verdict: without them.
        numbers: draws, what belongs to each of them, and diagnostics, by the name that a reader knows.
    """
    new = [reason for reason in _not_finite(numbers) if reason not in verdict.reasons]
    old = verdict.reasons if verdict.level != "reliable" else ()
    return Verdict("unreliable", (*new, *old), verdict.remedy) if new else verdict


def _not_finite(numbers: Mapping[str, ArrayLike]) -> list[str]:
    """Give one reason for each number, or array of numbers, that is not finite throughout."""
    told = []
    for name, value in numbers.items():
        values = np.asarray(value, dtype=np.float64)
        wrong = int((~np.isfinite(values)).sum())
        if wrong:
            told.append(
                f"{name}: {wrong} of {values.size} numbers are not finite"
                if values.ndim
                else f"{name} is {float(values)}, not a finite number"
            )
    return told


def verdict_on_approximation(
    weights: Importance, shifts: Mapping[str, float], more_doubts: Sequence[str] = ()
) -> Verdict:
    """Judge one approximation by itself, which is never *reliable*.

    Its draws cannot tell of mass where it never goes: on the Fermi data a k-hat of 0.5 goes with a missing shoulder of
    the posterior. Only a second method, started elsewhere, could have seen it.

    Args:
        weights: importance weights of the draws.
        shifts: by parameter, how far the weights move its mean [sd].
        more_doubts: reasons of the method's own not to quote the draws yet.
    """
    trouble, doubts = weight_doubts(weights, shifts)
    doubts += [*more_doubts, "no second method has looked for mass that the guide misses"]
    moved = {f"the shift of the mean of {name} by the weights": shift for name, shift in shifts.items()}
    return judged(weight_numbers(weights) | moved, trouble, doubts, "", {"method": "auto"})


def weight_numbers(weights: Importance) -> dict[str, float]:
    """The numbers that a verdict on weighted draws rests on, by the name that its reader knows."""
    names = {"k_hat": "k-hat", "ess": "the effective sample size of the weights", "log_z": "log Z", "elbo": "the ELBO"}
    return {told: getattr(weights, name) for name, told in names.items()}


def weight_doubts(weights: Importance, shifts: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Say what importance weights hold against the draws: why not to trust them, and why to doubt them.

    Args:
        weights: of the draws.
        shifts: by parameter, how far the weights move its mean [sd].
    """
    name, shift = max(shifts.items(), key=lambda item: abs(item[1]), default=("", 0.0))
    gap = weights.log_z - weights.elbo
    trouble: list[str] = []
    doubts: list[str] = []
    if RELIABLE_K_HAT < weights.k_hat < math.inf:
        trouble.append(f"k-hat {weights.k_hat:.2f} is above {RELIABLE_K_HAT}: the importance weights have a heavy tail")
    if LARGEST_GAP < gap < math.inf:
        doubts.append(f"log Z - ELBO is {gap:.2f}, above {LARGEST_GAP:g} nat: the guide misses a part of the posterior")
    if abs(shift) > LARGEST_SHIFT:
        doubts.append(f"weights move the mean of {name} by {shift:+.2f} sd, more than {LARGEST_SHIFT}")
    return trouble, doubts


def chain_numbers(found: Mapping[str, Convergence]) -> dict[str, float]:
    """The numbers that a verdict on chains rests on, by the name that its reader knows."""
    numbers = {f"R-hat of {name}": of.r_hat for name, of in found.items()}
    numbers |= {f"the effective sample size of {name}": of.ess_bulk for name, of in found.items()}
    return numbers | {f"the effective sample size of the tails of {name}": of.ess_tail for name, of in found.items()}


def chain_doubts(found: Mapping[str, Convergence]) -> tuple[list[str], list[str]]:
    """Say what is held against chains: why not to trust them, and why to doubt them.

    Args:
        found: convergence of every number that is quoted, by name.
    """
    worst = max(found, key=lambda name: found[name].r_hat)
    slowest = min(found, key=lambda name: found[name].smallest_ess)
    r_hat, size = found[worst].r_hat, found[slowest].smallest_ess
    trouble: list[str] = []
    doubts: list[str] = []
    if r_hat >= LARGEST_R_HAT:
        told = doubts if r_hat < SPLIT_R_HAT else trouble
        told.append(f"R-hat of {worst} is {r_hat:.3f}, not below {LARGEST_R_HAT}: the chains disagree")
    if size < SMALLEST_ESS:
        doubts.append(f"{slowest} has an effective sample size of {size:.0f}, below {SMALLEST_ESS:.0f}")
    return trouble, doubts


def evidence_doubts(log_z_error: float) -> list[str]:
    """Say why not to quote a log Z yet, by its error [nat]; nothing where the error is small."""
    if log_z_error > LARGEST_ERROR:
        return [f"log Z has an error of {log_z_error:.2f}, above {LARGEST_ERROR}"]
    return []


def shifts(model: Density, derived: Mapping[str, np.ndarray], weights: Importance) -> dict[str, float]:
    """Measure how far the weights move the mean of each parameter that is no block, and of each derived number that
    results are quoted with, in standard deviations."""
    found: dict[str, float] = {}
    for name, slot in model.latent.slots.items():
        if not slot.block:
            found |= dict(zip(slot.names, np.atleast_1d(weights.shift(derived[name])).tolist(), strict=True))
    return found | {name: float(weights.shift(draws)) for name, draws in quoted_numbers(model, derived).items()}
