"""What simulated skies say of a test statistic: p-value, binomial interval, and what chi-square would have said."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import beta, chi2, norm

from gammasky.analyses.sky_study import require_finite
from gammasky.engine.errors import InputError

CONFIDENCE = 0.68  # of the interval of a p-value
SMALLEST = 1e-9  # p-value that skies can be asked for


@dataclass(frozen=True)
class PValue:
    """How likely a test statistic as large as the observed one is under the null.

    Attributes:
        value: (k + 1) / (n + 1), never too small whatever n is (Davison & Hinkley 1997, section 4.2).
        low, high: 68 % interval of the probability, from the binomial distribution of k (Clopper & Pearson 1934).
        exceeding: k, how many of the skies have a test statistic at least as large; skies: n.
    """

    value: float
    low: float
    high: float
    exceeding: int
    skies: int

    @property
    def sigma(self) -> float:
        """The one-sided significance in standard deviations of a normal distribution."""
        return float(norm.isf(self.value))


def p_value(observed: float, simulated: ArrayLike) -> PValue:
    """The p-value of a test statistic, of its values (n,) on skies of the null; the larger, the less likely.

    Raises:
        InputError: a statistic that is not finite.
    """
    values = np.asarray(simulated, dtype=np.float64)
    require_finite({"observed sky": observed, "simulated skies": values})
    k, n = int((values >= observed).sum()), values.size
    tail = 0.5 * (1.0 - CONFIDENCE)
    low = float(beta.ppf(tail, k, n - k + 1)) if k else 0.0
    high = float(beta.isf(tail, k + 1, n - k)) if k < n else 1.0
    return PValue((k + 1) / (n + 1), low, high, k, n)


def chi_square(observed: float, degrees: int) -> float:
    """What the theorem of Wilks would say; it does not hold at the end of a support, nor where parameters lose their
    meaning under the null (Protassov et al. 2002, astro-ph/0201547)."""
    return float(chi2.sf(observed, degrees))


def require_enough(skies: int, smallest: float | None) -> None:
    """Refuse fewer skies than a p-value as small as asked for needs.

    Raises:
        InputError: says the smallest that so many can give, and how many are needed.
    """
    if smallest is None:
        return
    if not SMALLEST <= smallest < 1:
        raise InputError(f"`smallest_p`: expected a number from {SMALLEST:g} to below 1, got {smallest:g}")
    needed = math.ceil(1.0 / smallest - 1e-9) - 1
    if skies < needed:
        raise InputError(
            f"`skies`: {skies} give no p-value below 1/{skies + 1} = {1 / (skies + 1):.3g}; for {smallest:g} ask for "
            f"`skies={needed}`"
        )
