"""What a profile has found, to read and to plot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gammasky.analyses.profiles.limits import Limits
from gammasky.analyses.profiles.study import ProfileStudy
from gammasky.engine.infer.maximum.climbs import SAME_HEIGHT
from gammasky.engine.infer.maximum.ends import ends_of
from gammasky.engine.infer.maximum.null import without_meaning
from gammasky.engine.infer.maximum.profile import Profile
from gammasky.engine.model import SkyModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class ProfileResult:
    """The profile likelihood of a number, and limits on it.

    Attributes:
        study: what was asked; model: on the observed sky.
        profile: the profile.
        grid (k,): the values that skies were drawn at.
        limits: from simulated skies, where there are any.
        higher: log-likelihood [nat] that the profile's climbs have found beyond those that `limits` rest on.
    """

    study: ProfileStudy
    model: SkyModel
    profile: Profile
    grid: NDArray[np.float64]
    limits: Limits | None
    higher: float = 0.0

    def table(self) -> DataFrame:
        """One row for each point of the profile."""
        from pandas import DataFrame

        found = self.profile
        return DataFrame(
            {found.quantity.name: found.values, "log_likelihood": found.log_likelihood, "ts": 2 * found.below}
        )

    def plot(self) -> Figure:
        """The profile, with the levels of its intervals and, from simulated skies, what a value must stay below."""
        from gammasky.analyses.profiles.figures import draw

        return draw(self.profile, self.grid, self.limits, self.study.level)

    def warnings(self) -> list[str]:
        """What a reader should know before believing the numbers."""
        found, told = self.profile, []
        quantity, end = found.quantity, 1e-6
        for name, value in (("lower", quantity.low), ("upper", quantity.high)):
            if np.isfinite(value) and abs(found.value - value) <= end * max(abs(value), 1e-3):
                told.append(
                    f"The maximum lies at the {name} end of what {quantity.name} can be: the interval by the fall of "
                    "the profile does not hold its level there; simulated skies do."
                )
        if others := self._others_at_ends():
            told.append(
                f"The maximum lies at the end of the prior of {', '.join(others)}: another prior would move it, and "
                "the interval by the fall of the profile need not hold its level."
            )
        if found.best.n_reached < 2:
            told.append(f"Only one of {found.best.n_starts} climbs reached the maximum.")
        return told + ([] if self.limits is None else self._warnings_of_skies(self.limits))

    def _others_at_ends(self) -> list[str]:
        """The numbers at an end of their priors, the profiled one and those that mean nothing at the maximum apart."""
        found, name = self.profile, self.profile.quantity.name
        ends = ends_of(self.model, found.plane, found.best)
        gone = found.quantity.scale and ends.get(name) == "lower end"
        loose = without_meaning(self.model.spec, {name: 0.0}) if gone else ()
        return [other for other in ends if other != name and other.partition("[")[0] not in loose]

    def _warnings_of_skies(self, limits: Limits) -> list[str]:
        """What a reader should know of the limits from simulated skies."""
        told, quantity = [], self.profile.quantity
        if self.higher > SAME_HEIGHT:
            told.append(
                f"The climbs of the profile came {self.higher:.2f} nat higher than those that limits rest on, a TS "
                f"larger by {2 * self.higher:.2f}. It is not compared, since no simulated sky is climbed as often."
            )
        if limits.interval is None:
            told.append(
                "The Feldman-Cousins interval lies beyond the values that skies were drawn at, "
                f"{self.grid[0]:g} to {self.grid[-1]:g}."
            )
        if not quantity.scale:
            told.append(
                f"{quantity.name} is no norm that may be 0, so that no value of it is no signal: there is no CLs limit."
            )
        elif limits.expected is None:
            told.append(
                f"Skies without a signal exclude {self.grid[1]:g}, the lowest value above 0 that skies were drawn at: "
                "more is not known of the limits to expect of them."
            )
        return told

    def answers(self) -> list[tuple[str, Any]]:
        """The numbers, line by line: what, and its value or two."""
        found, level = self.profile, self.study.level
        told: list[tuple[str, Any]] = [("best value", found.value)]
        told += [(f"{100 * one:g} % interval, fall of the profile", found.interval(one)) for one in (0.68, 0.95)]
        told.append((f"{100 * level:g} % upper limit, fall of the profile", found.upper_limit(level)))
        if self.limits is not None:
            told.append((f"{100 * level:g} % interval, Feldman-Cousins", self.limits.interval))
            if found.quantity.scale:
                told.append((f"{100 * level:g} % upper limit, CLs", self.limits.upper))
            if found.quantity.scale and (expected := self.limits.expected) is not None:
                told += [
                    ("expected without a signal, median", expected["median"]),
                    ("expected, 68 % of skies", (expected["low_68"], expected["high_68"])),
                    ("expected, 95 % of skies", (expected["low_95"], expected["high_95"])),
                ]
        return told

    def summary(self) -> dict[str, Any]:
        """All numbers, as plain JSON."""
        found = self.profile
        study = {
            name: getattr(self.study, name) for name in ("model", "data", "of", "simulator", "seed", "skies", "level")
        }
        return {
            **study,
            "dataset": self.model.dataset.name,
            "unit": found.quantity.unit,
            "best": found.value,
            "log_likelihood": found.best.log_likelihood,
            "interval_68": list(found.interval(0.68)),
            "interval_95": list(found.interval(0.95)),
            "upper_limit": found.upper_limit(self.study.level),
            "grid": self.grid.tolist(),
            "limits": None if self.limits is None else self.limits.plain(),
            "higher": self.higher,
            "warnings": self.warnings(),
        }
