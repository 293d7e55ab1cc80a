"""How far to trust a posterior: one word, the reasons, and what to do about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gammasky.engine.infer.agreement import Disagreement
from gammasky.engine.infer.convergence import LARGEST_R_HAT, MOST_DIVERGENT, SMALLEST_ESS, Convergence
from gammasky.engine.infer.importance import RELIABLE_K_HAT, Importance
from gammasky.engine.infer.settings import Settings

if TYPE_CHECKING:
    from gammasky.engine.model import SkyModel

Level = Literal["reliable", "preview", "unreliable"]
LARGEST_GAP = 1.0  # log Z - ELBO [nat]
LARGEST_SHIFT = 0.2  # of a mean by the weights [sd]
LARGEST_DISAGREEMENT = 0.3  # between two methods' log Z [nat]
_SPLIT_R_HAT = 1.05  # above: the chains are in different places
_BROKEN = 0.02  # share of divergent trajectories above which draws are biased


@dataclass(frozen=True)
class Verdict:
    """Level, the reasons for it, and the remedy: options of `gammasky fit` that would do better, "" where none is
    needed."""

    level: Level
    reasons: tuple[str, ...]
    remedy: str

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and text."""
        return {**asdict(self), "reasons": list(self.reasons)}


def verdict_on_guide(weights: Importance, shifts: Mapping[str, float], status: str) -> Verdict:
    """Of one approximation by itself, which is never *reliable*.

    Its draws cannot tell of mass where the guide never goes: on the Fermi data a k-hat of 0.5 goes with a missing
    shoulder of the posterior. Only a second method, started elsewhere, could have seen it.

    Args:
        weights: importance weights of the guide's draws.
        shifts: by parameter, how far the weights move its mean [sd].
        status: of the optimiser, "converged" or "stopped"; "finished" where there is none.
    """
    trouble, doubts = weight_doubts(weights, shifts)
    if status == "stopped":
        doubts.append("the optimiser stopped while the ELBO still rose")
    doubts.append("no second method has looked for mass that the guide misses")
    return Verdict("unreliable" if trouble else "preview", (*trouble, *doubts), "--method auto")


def weight_doubts(weights: Importance, shifts: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """What importance weights say against the draws: why not to trust them, and why to doubt them.

    Args:
        weights: of the draws.
        shifts: by parameter, how far the weights move its mean [sd]; none where the draws are drawn again by them.
    """
    name, shift = max(shifts.items(), key=lambda item: abs(item[1]), default=("", 0.0))
    gap = weights.log_z - weights.elbo
    trouble: list[str] = []
    doubts: list[str] = []
    if weights.k_hat > RELIABLE_K_HAT:
        trouble.append(f"k-hat {weights.k_hat:.2f} is above {RELIABLE_K_HAT}: the importance weights have a heavy tail")
    if gap > LARGEST_GAP:
        doubts.append(f"log Z - ELBO is {gap:.2f}, above {LARGEST_GAP:g} nat: the guide misses a part of the posterior")
    if abs(shift) > LARGEST_SHIFT:
        doubts.append(f"weights move the mean of {name} by {shift:+.2f} sd, more than {LARGEST_SHIFT}")
    return trouble, doubts


def verdict_on_chains(found: Mapping[str, Convergence], divergent: float, settings: Settings) -> Verdict:
    """Of Markov chains from dispersed starts: reliable if they agree and have moved enough.

    Args:
        found: convergence of every number that is quoted, by name.
        divergent: share of divergent trajectories.
        settings: of the chains.
    """
    trouble: list[str] = []
    doubts: list[str] = []
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
    if not trouble and not doubts:
        return Verdict("reliable", (f"{settings.chains} chains from dispersed starts agree",), "")
    lacking = SMALLEST_ESS / max(found[slowest].smallest_ess, 20.0)
    draws = int(math.ceil(settings.draws * max(1.5, 1.2 * lacking) / 500) * 500)
    remedy = f"--method nuts --draws {draws} --warmup {2 * settings.warmup}"
    return Verdict("unreliable" if trouble else "preview", (*trouble, *doubts), remedy)


def verdict_on_checked_guide(
    weights: Importance, status: str, n_numbers: int, chains: Verdict, *, can_judge: bool, log_z: float
) -> Verdict:
    """Of a guide whose weighted draws agree with chains in all `n_numbers` that are quoted.

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
    if not trouble and not doubts:
        return Verdict("reliable", (f"guide and chains agree in all {n_numbers} numbers that are quoted",), "")
    if status == "stopped":
        doubts.append("the optimiser stopped while the ELBO still rose")
    return Verdict("unreliable" if trouble else "preview", (*trouble, *doubts), chains.remedy or "--method nuts")


def verdict_on_chains_beside(
    chains: Verdict, different: Sequence[Disagreement], guide: Importance, log_z: float
) -> Verdict:
    """Of chains that disagree with a guide.

    Args:
        chains: their own verdict.
        different: where the guide was wrong, the worst first.
        guide: weights of its draws.
        log_z: with the mass that only the chains have seen.
    """
    told = [f"svi alone (k-hat {guide.k_hat:.2f}) misleads in {len(different)} numbers; {different[0]}"]
    if abs(log_z - guide.log_z) > LARGEST_DISAGREEMENT:
        told.append(_apart(log_z, guide))
    return Verdict(chains.level, (*chains.reasons, *told), chains.remedy)


def _apart(log_z: float, guide: Importance) -> str:
    return (
        f"log Z by the guide's weights is {guide.log_z:.2f}, and {log_z:.2f} with the chains: more than "
        f"{LARGEST_DISAGREEMENT} apart"
    )


def shifts(model: SkyModel, derived: Mapping[str, np.ndarray], weights: Importance) -> dict[str, float]:
    """How far the weights move the mean of each parameter, in standard deviations."""
    found: dict[str, float] = {}
    for name, slot in model.latent.slots.items():
        labels = [f"{name}[{label}]" for label in slot.labels] or [name]
        found |= dict(zip(labels, np.atleast_1d(weights.shift(derived[name])).tolist(), strict=True))
    return found
