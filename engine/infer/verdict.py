"""Says how far a posterior can be trusted: one word, the reasons, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from gammasky.engine.infer.agreement import Disagreement
from gammasky.engine.infer.convergence import LARGEST_R_HAT, MOST_DIVERGENT, SMALLEST_ESS, Convergence
from gammasky.engine.infer.importance import RELIABLE_K_HAT, Importance
from gammasky.engine.infer.settings import Settings

if TYPE_CHECKING:
    from gammasky.engine.model import Density

Level = Literal["reliable", "preview", "unreliable"]
LARGEST_GAP = 1.0  # log Z - ELBO [nat]
LARGEST_SHIFT = 0.2  # of a mean by the weights [sd]
LARGEST_DISAGREEMENT = 0.3  # between two methods' log Z [nat]
_SPLIT_R_HAT = 1.05  # above: the chains are in different places
_BROKEN = 0.02  # share of divergent trajectories above which draws are biased


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
    """The remedy as a call."""
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
    """One reason for each number, or array of numbers, that is not finite throughout."""
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


def verdict_on_guide(weights: Importance, shifts: Mapping[str, float], status: str) -> Verdict:
    """Judge one approximation by itself, which is never *reliable*.

    Its draws cannot tell of mass where the guide never goes: on the Fermi data a k-hat of 0.5 goes with a missing
    shoulder of the posterior. Only a second method, started elsewhere, could have seen it.

    Args:
        weights: importance weights of the guide's draws.
        shifts: by parameter, how far the weights move its mean [sd].
        status: of the optimiser, "converged" or "stopped"; "finished" where there is none.
    """
    trouble, doubts = weight_doubts(weights, shifts)
    if status == "stopped":
        doubts.append("the optimiser stopped before the ELBO was flat")
    doubts.append("no second method has looked for mass that the guide misses")
    moved = {f"the shift of the mean of {name} by the weights": shift for name, shift in shifts.items()}
    return judged(_numbers(weights) | moved, trouble, doubts, "", {"method": "auto"})


def _numbers(weights: Importance) -> dict[str, float]:
    """What a verdict on weighted draws rests on."""
    names = {"k_hat": "k-hat", "ess": "the effective sample size of the weights", "log_z": "log Z", "elbo": "the ELBO"}
    return {told: getattr(weights, name) for name, told in names.items()}


def weight_doubts(weights: Importance, shifts: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """Say what importance weights hold against the draws: why not to trust them, and why to doubt them.

    Args:
        weights: of the draws.
        shifts: by parameter, how far the weights move its mean [sd]; none where the draws are drawn again by them.
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


def verdict_on_chains(found: Mapping[str, Convergence], divergent: float, settings: Settings) -> Verdict:
    """Judge Markov chains from dispersed starts: they are reliable if they agree and have moved enough.

    Args:
        found: convergence of every number that is quoted, by name.
        divergent: share of divergent trajectories.
        settings: of the chains.
    """
    trouble: list[str] = []
    doubts: list[str] = []
    numbers = {"the share of divergent trajectories": divergent}
    numbers |= {f"R-hat of {name}": of.r_hat for name, of in found.items()}
    numbers |= {f"the effective sample size of {name}": of.ess_bulk for name, of in found.items()}
    numbers |= {f"the effective sample size of the tails of {name}": of.ess_tail for name, of in found.items()}
    worst = max(found, key=lambda name: found[name].r_hat)
    slowest = min(found, key=lambda name: found[name].smallest_ess)
    if found[worst].r_hat >= LARGEST_R_HAT:
        told = doubts if found[worst].r_hat < _SPLIT_R_HAT else trouble
        told.append(f"R-hat of {worst} is {found[worst].r_hat:.3f}, not below {LARGEST_R_HAT}: the chains disagree")
    if found[slowest].smallest_ess < SMALLEST_ESS:
        doubts.append(
            f"{slowest} has an effective sample size of {found[slowest].smallest_ess:.0f}, below {SMALLEST_ESS:.0f}"
        )
    if divergent >= MOST_DIVERGENT:
        told = doubts if divergent < _BROKEN else trouble
        told.append(f"{divergent:.1%} of the trajectories diverged, not below {MOST_DIVERGENT:.1%}")
    lacking = SMALLEST_ESS / float(np.fmax(found[slowest].smallest_ess, 20.0))
    draws = int(math.ceil(settings.draws * max(1.5, 1.2 * lacking) / 500) * 500)
    remedy = {"method": "nuts", "draws": draws, "warmup": 2 * settings.warmup}
    return judged(numbers, trouble, doubts, f"{settings.chains} chains from dispersed starts agree", remedy)


def verdict_on_checked_guide(
    weights: Importance, status: str, n_numbers: int, chains: Verdict, *, can_judge: bool, log_z: float
) -> Verdict:
    """Judge a guide whose weighted draws agree with chains in all `n_numbers` that are quoted.

    Args:
        weights: of the guide's draws, which are drawn again by them.
        status: of the optimiser.
        chains: their own verdict; can_judge: whether they have mixed well enough to find a fault.
        log_z: with the mass that only the chains have seen.
    """
    trouble, doubts = weight_doubts(weights, {})
    if not can_judge:
        doubts += ["the chains have not mixed well enough to judge the guide", *chains.reasons]
    if abs(log_z - weights.log_z) > LARGEST_DISAGREEMENT:
        doubts.append(_apart(log_z, weights))
    if status == "stopped" and (trouble or doubts):
        doubts.append("the optimiser stopped before the ELBO was flat")
    fine = f"guide and chains agree in all {n_numbers} numbers that are quoted"
    numbers = _numbers(weights) | {"log Z with the chains": log_z}
    return judged(numbers, trouble, doubts, fine, chains.remedy or {"method": "nuts"})


def verdict_on_chains_beside(
    chains: Verdict, different: Sequence[Disagreement], guide: Importance, log_z: float
) -> Verdict:
    """Judge chains that disagree with a guide.

    Args:
        chains: their own verdict.
        different: where the guide was wrong, the worst first.
        guide: weights of its draws.
        log_z: with the mass that only the chains have seen.
    """
    told = [f"svi alone (k-hat {guide.k_hat:.2f}) misleads in {len(different)} numbers; {different[0]}"]
    if abs(log_z - guide.log_z) > LARGEST_DISAGREEMENT:
        told.append(_apart(log_z, guide))
    verdict = Verdict(chains.level, (*chains.reasons, *told), chains.remedy)
    return unless_finite(verdict, {"log Z with the chains": log_z})


def _apart(log_z: float, guide: Importance) -> str:
    return (
        f"log Z by the guide's weights is {guide.log_z:.2f}, and {log_z:.2f} with the chains: more than "
        f"{LARGEST_DISAGREEMENT} apart"
    )


def shifts(model: Density, derived: Mapping[str, np.ndarray], weights: Importance) -> dict[str, float]:
    """Measure how far the weights move the mean of each parameter, in standard deviations."""
    found: dict[str, float] = {}
    for name, slot in model.latent.slots.items():
        labels = [f"{name}[{label}]" for label in slot.labels] or [name]
        found |= dict(zip(labels, np.atleast_1d(weights.shift(derived[name])).tolist(), strict=True))
    return found
