"""The power of a test: how many skies with a signal are found, and how strong a signal must be for that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression
from scipy.stats import norm

from gammasky.analyses.nested.statistics import p_value

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Power:
    """The share of skies that are found at one significance, by the strength of their signal.

    Attributes:
        sigma: the one-sided significance in standard deviations; a sky is found where its p-value is at most alpha,
            the probability beyond that of a normal distribution.
        ts_above: what the test statistic of a sky must exceed to be found.
        strengths (k,): rising; the first is the null's own value, of which the share alpha is found.
        share, low, high (k,): the share that is found, and its 68 % interval (Clopper & Pearson 1934).
    """

    sigma: float
    ts_above: float
    strengths: Floats
    share: Floats
    low: Floats
    high: Floats

    def strength_at(self, share: float) -> tuple[float | None, float | None, float | None]:
        """The strength whose signal is found in this share of the skies, and its 68 % interval; None: beyond the last.

        The interval is where the two ends of the interval of the share reach it.
        """
        return self._reached(self.share, share), self._reached(self.high, share), self._reached(self.low, share)

    def _reached(self, shares: Floats, wanted: float) -> float | None:
        """Where a curve reaches a share: along straight lines between the best curve that never falls (a stronger
        signal is never harder to find) and lies closest to these shares."""
        rising = isotonic_regression(shares).x
        above = np.flatnonzero(rising >= wanted)
        if not above.size:
            return None
        at = int(above[0])
        return float(np.interp(wanted, rising[at - 1 : at + 1], self.strengths[at - 1 : at + 1]))


def power(null: ArrayLike, signals: Mapping[float, ArrayLike], sigma: float, without: float = 0.0) -> Power:
    """Compare skies with a signal with those of the null.

    The p-value of a sky is (k + 1) / (n + 1), if k of n skies of the null have as large a test statistic.

    Args:
        null (n,): test statistics of skies of the null; n is at least 1 / alpha - 1.
        signals: those of skies with a signal, by its strength, rising.
        sigma: one-sided significance, above 0.
        without: the strength of the null.
    """
    alpha, values = float(norm.sf(sigma)), np.sort(np.asarray(null, dtype=np.float64))[::-1]
    at_most = math.floor(alpha * (len(values) + 1) + 1e-9) - 1  # skies of the null that may have as large a statistic
    ts_above = float(values[at_most])
    found = [p_value(np.nextafter(ts_above, np.inf), ts) for ts in signals.values()]
    share, low, high = (
        np.array([alpha, *shares])
        for shares in zip(*((one.exceeding / one.skies, one.low, one.high) for one in found), strict=True)
    )
    return Power(sigma, ts_above, np.array([without, *signals]), share, low, high)
