"""Feldman-Cousins intervals, CLs upper limits and expected limits, from test statistics of simulated skies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gammasky.analyses.sky_study import require_finite

Floats = NDArray[np.float64]
BANDS = {"median": 0.5, "low_68": 0.16, "high_68": 0.84, "low_95": 0.025, "high_95": 0.975}


@dataclass(frozen=True, eq=False)
class SimulatedStatistics:
    """Test statistics 2 (ln L_max - ln L(value)) on simulated skies.

    Attributes:
        values (k,): of the number, rising; the first is that of no signal.
        own (k, n): on skies of each value, of that value.
        best_own (k, n): where the likelihood of these skies is highest.
        none (n, k): on skies of no signal, of every value.
        best_none (n,): where the likelihood of those is highest.
    """

    values: Floats
    own: Floats
    best_own: Floats
    none: Floats
    best_none: Floats


@dataclass(frozen=True, eq=False)
class Limits:
    """What simulated skies say of a number.

    Attributes:
        level: of all of these.
        interval: Feldman-Cousins; an end is None where the interval reaches beyond the values, the whole where it lies
            beyond them altogether.
        upper: CLs upper limit; None where no value is excluded.
        expected: of skies without a signal, CLs upper limits: BANDS, None where they lie beyond the values; the whole
            is None where half of them lie before the second value, so that nothing more is known of them.
        critical (k,): of the statistic, at each value; cls (k,): CLs of each value.
    """

    level: float
    interval: tuple[float | None, float | None] | None
    upper: float | None
    expected: dict[str, float | None] | None
    critical: Floats
    cls: Floats

    def plain(self) -> dict[str, Any]:
        """All of it, as plain JSON."""
        return {
            "level": self.level,
            "feldman_cousins": None if self.interval is None else list(self.interval),
            "cls_upper": self.upper,
            "expected_cls_upper": self.expected,
            "critical": self.critical.tolist(),
            "cls": self.cls.tolist(),
        }


def limits(skies: SimulatedStatistics, observed: Floats, best: Floats, level: float) -> Limits:
    """Work out intervals and limits.

    Feldman-Cousins (physics/9711021), with other parameters profiled: a value is in the interval where its observed
    statistic is at most the quantile `level` of skies of that value. CLs (Read 2002): with q the statistic where the
    best value is below the one tested, and 0 otherwise, CLs = P(q >= q_obs | value) / P(q >= q_obs | no signal), and a
    value is excluded where it is at most 1 - level. Between the values the signed roots of statistics and the logarithm
    of CLs are straight lines, which they nearly are where a statistic is a parabola: so no value needs to be inside.

    Args:
        skies: the simulated statistics.
        observed (k,): the observed ones, of the same values; best (k,): where the likelihood was found to be highest
            with each of them.
        level: of the interval and the limits.

    Raises:
        InputError: a statistic that is not finite.
    """
    simulated = (skies.own, skies.best_own, skies.none, skies.best_none)
    require_finite({"observed sky": [observed, best], "simulated skies": np.concatenate([*map(np.ravel, simulated)])})
    # the quantile that another sky exceeds with probability 1 - level, however few there are: NumPy's own is too low
    critical = np.quantile(skies.own, level, axis=1, method="weibull")
    tails = _Tails(skies)
    cls = tails.cls(_one_sided(observed, best, skies.values))
    expected = [
        _excluded_from(skies.values, tails.cls(_one_sided(row, at, skies.values)), 1.0 - level)
        for row, at in zip(skies.none, skies.best_none, strict=True)
    ]
    return Limits(
        level,
        _interval(skies.values, np.sign(skies.values - best) * np.sqrt(observed), np.sqrt(critical)),
        _excluded_from(skies.values, cls, 1.0 - level),
        _quantiles(expected, float(skies.values[1])),
        critical,
        cls,
    )


def _one_sided(ts: Floats, best: float | Floats, values: Floats | float) -> Floats:
    """The statistic for an upper limit: what fits better above is no evidence against a value."""
    return np.where(np.asarray(best) <= values, ts, 0.0)


class _Tails:
    """How often one-sided statistics are as large as any, on skies of each value and on those of no signal."""

    def __init__(self, skies: SimulatedStatistics) -> None:
        self._own = np.sort(_one_sided(skies.own, skies.best_own, skies.values[:, None]), axis=1)
        self._none = np.sort(_one_sided(skies.none, skies.best_none[:, None], skies.values[None]), axis=0).T

    def cls(self, q: Floats) -> Floats:
        """CLs (k,) of an observed one-sided statistic (k,).

        The observed sky counts among those simulated: of n skies none may be as extreme, and p is 1 / (n + 1), not 0.
        So a few skies exclude nothing.
        """
        with_signal, without = (
            np.array([1 + row.size - np.searchsorted(row, one) for row, one in zip(rows, q, strict=True)])
            / (1 + rows.shape[1])
            for rows in (self._own, self._none)
        )
        return np.asarray(with_signal / without)


def _excluded_from(values: Floats, cls: Floats, size: float) -> float | None:
    """The value from which on CLs stays at or below a size; along straight lines of its logarithm in between."""
    above = np.flatnonzero(cls > size)
    if not above.size:
        return float(values[0])
    last = above[-1]
    if last == len(values) - 1:
        return None
    return _between(values[last : last + 2], np.log(cls[last : last + 2] / size))


def _interval(values: Floats, roots: Floats, highest: Floats) -> tuple[float | None, float | None] | None:
    """The interval of values that are not excluded, from signed roots of statistics and the largest that are accepted.

    Each end is the outermost one: what lies between two parts of it counts as inside. An end is None where the interval
    goes on beyond the values, and the whole is None where it has no part among them.
    """
    above, below = np.flatnonzero(roots <= highest), np.flatnonzero(roots >= -highest)
    if not above.size or not below.size:  # every value is too large, or too small
        return None
    first, last = below[0], above[-1]
    low = None if first == 0 else _between(values[first - 1 : first + 1], (roots + highest)[first - 1 : first + 1])
    at_end = last == len(values) - 1
    return low, None if at_end else _between(values[last : last + 2], (highest - roots)[last : last + 2])


def _between(values: Floats, heights: Floats) -> float:
    """Where a straight line through two points, one of them not above 0 and one not below, is 0."""
    return float(values[0] + (values[1] - values[0]) * heights[0] / (heights[0] - heights[1]))


def _quantiles(found: list[float | None], lowest: float) -> dict[str, float | None] | None:
    """Quantiles of limits, of which those that no value reaches are the largest; None where half are below `lowest`."""
    numbers = np.sort([np.inf if one is None else one for one in found])
    if numbers[int(BANDS["median"] * len(numbers))] < lowest:
        return None
    at = {name: numbers[min(int(share * len(numbers)), len(numbers) - 1)] for name, share in BANDS.items()}
    return {name: float(value) if np.isfinite(value) else None for name, value in at.items()}
