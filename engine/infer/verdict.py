"""How far to trust a posterior: one word, the reasons, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from gammasky.engine.infer.importance import RELIABLE_K_HAT, Importance

Level = Literal["reliable", "preview", "unreliable"]
LARGEST_GAP = 1.0  # log Z - ELBO [nat]
LARGEST_SHIFT = 0.2  # of a mean by the weights [sd]


@dataclass(frozen=True)
class Verdict:
    """Level, the reasons for it, and the remedy; both empty for a reliable posterior."""

    level: Level
    reasons: tuple[str, ...]
    remedy: str

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers and text."""
        return {**asdict(self), "reasons": list(self.reasons)}


def verdict_on_guide(weights: Importance, shifts: dict[str, float], status: str) -> Verdict:
    """Of one variational fit by itself, which is never *reliable*.

    Its draws cannot tell of mass where the guide never goes: on the Fermi data a k-hat of 0.7 goes with a missing
    shoulder of the posterior. Only a second method, started elsewhere, could have seen it.

    Args:
        weights: importance weights of the guide's draws.
        shifts: by parameter, how far the weights move its mean [sd].
        status: of the optimiser, "converged" or "stopped".
    """
    name, shift = max(shifts.items(), key=lambda item: abs(item[1]))
    gap = weights.log_z - weights.elbo
    trouble = []
    if weights.k_hat > RELIABLE_K_HAT:
        trouble.append(f"k-hat {weights.k_hat:.2f} is above {RELIABLE_K_HAT}: the importance weights have a heavy tail")
    doubts = []
    if gap > LARGEST_GAP:
        doubts.append(f"log Z - ELBO is {gap:.2f}, above {LARGEST_GAP:g} nat: the guide misses a part of the posterior")
    if abs(shift) > LARGEST_SHIFT:
        doubts.append(f"weights move the mean of {name} by {shift:+.2f} sd, more than {LARGEST_SHIFT}")
    if status != "converged":
        doubts.append("the optimiser stopped while the ELBO still rose")
    doubts.append("no second method has looked for mass that the guide misses")
    remedy = "fit again with --guide flow or more --steps, compare, and read the weighted posterior in summary.json"
    return Verdict("unreliable" if trouble else "preview", (*trouble, *doubts), remedy)
