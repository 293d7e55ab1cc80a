"""What a test of a nested model has found, to read and to plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gammasky.analyses.nested.evidence import BayesFactor
from gammasky.analyses.nested.statistics import PValue, chi_square, p_value
from gammasky.analyses.nested.study import NestedStudy
from gammasky.engine.infer.maximum.climbs import SAME_HEIGHT, Maximum, theta_of
from gammasky.engine.infer.maximum.ends import ends_of
from gammasky.engine.infer.maximum.likelihood_ratio import LikelihoodRatio
from gammasky.engine.infer.maximum.null import Null
from gammasky.engine.model import SkyModel
from gammasky.engine.model.priors import Slot

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame


@dataclass(frozen=True, eq=False)
class NestedResult:
    """A test of a nested model.

    Attributes:
        study: what was asked; model, null: on the observed sky.
        observed: the maxima there, by the climbs that every simulated sky has, too.
        rows: of each simulated sky ts, log_likelihood_null, log_likelihood and starts_at_maximum.
        bayes_factor: where it was asked for.
        higher: log-likelihood [nat] that other climbs in the model have found beyond `observed`.
    """

    study: NestedStudy
    model: SkyModel
    null: Null
    observed: LikelihoodRatio
    rows: Sequence[Mapping[str, Any]]
    bayes_factor: BayesFactor | None
    higher: float = 0.0

    @property
    def ts(self) -> float:
        """The test statistic of the observed sky."""
        return self.observed.ts

    @property
    def simulated(self) -> NDArray[np.float64]:
        """The test statistics (n,) of the skies of the null."""
        return np.array([float(row["ts"]) for row in self.rows])

    @property
    def p(self) -> PValue:
        """The p-value, from the simulated skies."""
        return p_value(self.ts, self.simulated)

    @property
    def p_chi_square(self) -> float:
        """For comparison only: the p-value of chi-square with as many degrees as the null fixes numbers."""
        return chi_square(self.ts, self.null.degrees)

    def table(self) -> DataFrame:
        """One row for each simulated sky."""
        from pandas import DataFrame

        names = ("ts", "log_likelihood_null", "log_likelihood", "starts_at_maximum")
        columns = {name: [row[name] for row in self.rows] for name in names}
        return DataFrame({"sky": range(len(self.rows)), **columns})

    def plot(self) -> Figure:
        """The survival function of the test statistic under the null, and where the observed sky lies."""
        from gammasky.analyses.nested.figures import survival

        return survival(self.ts, self.simulated, self.null.degrees)

    def maxima(self) -> list[dict[str, Any]]:
        """One line for each number of the model: its value at both maxima, and at which end of its prior it lies."""
        null, full = (np.asarray(_flat(self.model, found)) for found in (self.observed.null, self.observed.full))
        names = [f"{name}[{label}]" if label else name for name, label in _elements(self.model)]
        owners = [name for name, _ in _elements(self.model)]
        ends = {
            "null": ends_of(self.model, self.null.plane, self.observed.null),
            "model": ends_of(self.model, self.null.full, self.observed.full),
        }
        lines = []
        for name, owner, at_null, at_full in zip(names, owners, null, full, strict=True):
            told = (
                "fixed" if owner in self.null.fixed else f"= {self.null.tied[owner]}" if owner in self.null.tied else ""
            )
            lines.append({
                "parameter": name,
                "null": None if owner in self.null.loose else float(at_null),
                "model": float(at_full),
                "null_is": "without meaning" if owner in self.null.loose else told or ends["null"].get(name, ""),
                "model_is": ends["model"].get(name, ""),
            })  # fmt: skip
        return lines

    def warnings(self) -> list[str]:
        """What a reader should know before believing the numbers."""
        found = []
        maxima = (("null", self.null.plane, self.observed.null), ("model", self.null.full, self.observed.full))
        for name, plane, maximum in maxima:
            ends = ends_of(self.model, plane, maximum)
            loose = self.null.loose if name == "null" else ()
            at_end = [entry for entry in ends if entry.partition("[")[0] not in loose]
            if at_end:
                found.append(
                    f"The maximum of the {name} lies at the end of the prior of {', '.join(at_end)}: another prior "
                    "would move it, and the theorem behind chi-square does not hold there."
                )
            if maximum.n_reached < 2:
                found.append(f"Only one of {maximum.n_starts} climbs reached the maximum of the {name}.")
        if self.higher > SAME_HEIGHT:
            found.append(
                f"Other climbs came {self.higher:.2f} nat higher in the model, a TS larger by {2 * self.higher:.2f}. "
                "It is not compared, since no simulated sky is climbed as often."
            )
        if self.p.exceeding == 0:
            found.append(
                f"No simulated sky has a test statistic as large: p = 1/{self.p.skies + 1} is the smallest that "
                f"{self.p.skies} skies can give, and the true one may be much smaller."
            )
        return found

    def summary(self) -> dict[str, Any]:
        """All numbers, as plain JSON."""
        p = self.p
        study = {name: getattr(self.study, name) for name in ("model", "data", "simulator", "seed")}
        factor = self.bayes_factor
        return {
            **study,
            "dataset": self.model.dataset.name,
            "null": list(self.null.texts),
            "degrees": self.null.degrees,
            "without_meaning": list(self.null.loose),
            "ts": self.ts,
            "log_likelihood_null": self.observed.null.log_likelihood,
            "log_likelihood": self.observed.full.log_likelihood,
            "higher": self.higher,
            "p": p.value,
            "p_interval": [p.low, p.high],
            "sigma": p.sigma,
            "exceeding": p.exceeding,
            "skies": p.skies,
            "p_chi_square": self.p_chi_square,
            "bayes_factor": None if factor is None else factor.plain(),
            "warnings": self.warnings(),
            "maxima": self.maxima(),
        }

    def text(self) -> str:
        """The result in a few lines."""
        p = self.p
        lines = [
            f"null: {', '.join(self.null.texts)}",
            f"TS = {self.ts:.2f}; as large in {p.exceeding} of {p.skies} skies of the null ({self.study.simulator})",
            f"p = {p.value:.3g} (68 %: {p.low:.3g} to {p.high:.3g}), {p.sigma:.2f} sigma",
            f"for comparison only, chi-square with {degrees_words(self.null.degrees)}: p = {self.p_chi_square:.3g}",
        ]
        if self.bayes_factor is not None:
            lines.append(f"ln Bayes factor of the model over the null: {self.bayes_factor.text()}")
        return "\n".join(lines)


def degrees_words(degrees: int) -> str:
    """ "1 degree" or "2 degrees"."""
    return f"{degrees} degree{'' if degrees == 1 else 's'}"


def _elements(model: SkyModel) -> list[tuple[str, str]]:
    """Every number of the model but for blocks: its parameter, and the name of the element, "" for a single number."""
    return [(name, label) for name, slot in _shown(model) for label in slot.labels or ("",)]


def _shown(model: SkyModel) -> list[tuple[str, Slot]]:
    """The parameters whose elements are shown one by one."""
    return [(name, slot) for name, slot in model.latent.slots.items() if not slot.block]


def _flat(model: SkyModel, maximum: Maximum) -> list[float]:
    theta = theta_of(model, maximum.x)
    return [float(value) for name, _ in _shown(model) for value in np.atleast_1d(np.asarray(theta[name]))]
