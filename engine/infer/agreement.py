"""Compares the posteriors that two methods found, number by number: do they differ by more than the noise of both?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.convergence import Convergence

Floats = NDArray[np.float64]
LARGEST_SHIFT = 0.15  # between means [sd]
LARGEST_TAIL = 0.04  # more, or less, than 0.05 beyond the 5 and 95 % quantiles
_SURE = 2.5  # standard errors that a difference must have


@dataclass(frozen=True)
class Disagreement:
    """A number for which two methods find different distributions.

    Attributes:
        name: of the number.
        shift: mean by the chains minus mean by the emulator [sd of the chains].
        below, above: share of the chains' draws below the emulator's 5 % and above its 95 % quantile.
        size: how far beyond what is allowed; 1 is the limit.
    """

    name: str
    shift: float
    below: float
    above: float
    size: float

    def __str__(self) -> str:
        if not np.isfinite([self.shift, self.below, self.above]).all():
            return f"{self.name}: draws that are not finite"
        below = abs(self.below - 0.05) > abs(self.above - 0.05)
        share, side, edge = (self.below, "below", 5) if below else (self.above, "above", 95)
        return (
            f"{self.name}: {share:.0%} of the chains {side} the emulator's {edge} % quantile, mean {self.shift:+.2f} sd"
        )


def disagreements(
    emulator: Mapping[str, Floats],
    of_emulator: Mapping[str, Convergence],
    chains: Mapping[str, Floats],
    of_chains: Mapping[str, Convergence],
) -> list[Disagreement]:
    """List the numbers that differ by more than is allowed and by more than noise, the worst first.

    Args:
        emulator: draws (n,) of the emulator's chains, by name; of_emulator: their convergence.
        chains: draws (m,) of chains that know nothing of it, by name; of_chains: their convergence.
    """
    different = []
    for name, draws in chains.items():
        if not (np.isfinite(draws).all() and np.isfinite(emulator[name]).all()):
            different.append(Disagreement(name, np.nan, np.nan, np.nan, np.inf))
            continue
        sd = draws.std()
        if sd == 0:
            continue
        low, high = np.quantile(emulator[name], (0.05, 0.95))
        shift = float((draws.mean() - emulator[name].mean()) / sd)
        below, above = float((draws < low).mean()), float((draws > high).mean())
        noise = np.sqrt(1 / of_chains[name].smallest_ess + 1 / of_emulator[name].smallest_ess)
        tail_noise = np.sqrt(0.05 * 0.95) * noise
        sizes = [
            min(abs(shift) / LARGEST_SHIFT, abs(shift) / (_SURE * noise)),
            *(min(abs(p - 0.05) / LARGEST_TAIL, abs(p - 0.05) / (_SURE * tail_noise)) for p in (below, above)),
        ]
        if max(sizes) > 1:
            different.append(Disagreement(name, shift, below, above, float(max(sizes))))
    return sorted(different, key=lambda item: -item.size)
