"""What a fit shows of itself in Python, whether it was just made or read from its folder: tables, figures, HTML."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.card import card
from gammasky.engine.errors import InputError
from gammasky.engine.infer.derived import (
    BIN_FLUX,
    FLUX,
    INTENSITY,
    Predictions,
    derive,
    predict,
)
from gammasky.engine.infer.summary import quoted_entries
from gammasky.engine.infer.verdict import Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

    from gammasky.engine.model import SkyModel

Floats = NDArray[np.float64]
_COLUMNS = ("truth", "mean", "sd", "q05", "q50", "q95", "unit")


def numbers_frame(summary: Mapping[str, Any], *, every: bool) -> DataFrame:
    """A row for each number of a summary: truth where it is known, mean, sd, quantiles and unit.

    Args:
        summary: as `summarise` makes it.
        every: all parameters, fluxes and intensities, not the main parameters and point-source fractions alone.
    """
    import pandas

    parameters = summary["parameters"]
    chosen = parameters if every else {name: parameters[name] for name in summary["main_parameters"]}
    rows = dict(chosen)
    if every:
        rows |= {f"{FLUX}[{name}]": entry for name, entry in summary[FLUX].items()}
        rows |= {f"{INTENSITY}[{name}]": entry for name, entry in summary.get(INTENSITY, {}).items()}
    rows |= quoted_entries(summary)
    columns = [name for name in _COLUMNS if any(name in entry for entry in rows.values())]
    table = [[entry.get(name, "" if name == "unit" else np.nan) for name in columns] for entry in rows.values()]
    return pandas.DataFrame(table, index=pandas.Index(list(rows), name="number"), columns=columns)


def told(summary: Mapping[str, Any], verdict: Verdict) -> str:
    """One line: what was fitted, and how far to trust it."""
    return f"{summary['model_name']} on {summary['dataset']}: {verdict.level} ({verdict.reasons[0]})"


def fit_card(summary: Mapping[str, Any], verdict: Verdict, method: str) -> str:
    """HTML of a fit: verdict with its reasons, and the main numbers."""
    table = numbers_frame(summary, every=False)
    rows = [
        [name, *(value if isinstance(value, str) else "" if np.isnan(value) else f"{value:.4g}" for value in row)]
        for name, row in zip(table.index, table.values.tolist(), strict=True)
    ]
    numbers = {"caption": f"{summary['draws']:,} draws", "headings": ["", *table.columns], "rows": rows}
    facts = {"verdict": verdict.level, "because": "; ".join(verdict.reasons), "method": method}
    return card(f"{summary['model_name']} on {summary['dataset']}", facts=facts, tables=[numbers])


@dataclass(frozen=True, eq=False)
class FitPlots:
    """The figures of a fit, each a matplotlib Figure: `fit.plot.corner()`.

    Args:
        model: gives the sky model; called when a figure is drawn.
        z (n, D): draws on the latent space.
        derived: parameters and derived numbers of the draws.
        elbo (steps,): bound of each step of a variational fit, else empty.
    """

    model: Callable[[], SkyModel]
    z: Floats
    derived: Mapping[str, Floats]
    elbo: Floats

    def corner(self) -> Figure:
        """Marginals of the main parameters, and of every pair of them.

        Raises:
            InputError: a model without free main parameters.
        """
        from gammasky.engine.infer.figures import corner

        model = self.model()
        if not model.main_parameters():
            raise InputError("plot.corner: the model has no main parameters that are free")
        return self._drawn(lambda: corner.draw(model, self.derived))

    def dnds(self) -> Figure:
        """Source-count functions of the populations, with 68 and 95 % bands.

        Raises:
            InputError: a model without populations of point sources.
        """
        from gammasky.engine.infer.figures import dnds

        model = self.model()
        if not model.spec.populations:
            raise InputError("plot.dnds: the model has no point sources")
        return self._drawn(lambda: dnds.draw(model, self._predictions().dnds))

    def maps(self) -> Figure:
        """Counts, expected counts and residuals over the region."""
        from gammasky.engine.infer.figures import maps

        return self._drawn(lambda: maps.draw(self.model(), self._predictions().counts))

    def fluxes(self) -> Figure:
        """Flux of every component, and the share of point sources in each group."""
        from gammasky.engine.infer.figures import fluxes

        return self._drawn(lambda: fluxes.draw(self.model(), self.derived))

    def fields(self) -> Figure:
        """Fields on templates: how much each raises its templates in the mean, and its standard deviation.

        Raises:
            InputError: a model without fields.
        """
        from gammasky.engine.infer.figures import fields

        if not self.model().expectation.fields:
            raise InputError("plot.fields: no template of the model has a field")
        return self._drawn(lambda: fields.draw(self.model(), self._predictions().fields))

    def spectra(self) -> Figure:
        """Energy spectrum E^2 dN/dE of every component, and the point-source fraction in each energy bin.

        Raises:
            InputError: a model of one energy bin.
        """
        from gammasky.engine.infer.energy_spectra import EnergySpectra
        from gammasky.engine.infer.figures import sed

        model = self.model()
        if model.pixels.n_energy == 1:
            raise InputError("plot.spectra: the data have one energy bin")
        derived = self.derived if BIN_FLUX in self.derived else derive(model, self.z)
        return self._drawn(lambda: sed.draw(EnergySpectra.of(model, derived)))

    def trace(self) -> Figure:
        """The bound of the variational fit, step by step.

        Raises:
            InputError: a fit by a method without steps.
        """
        from gammasky.engine.infer.figures import elbo

        if not self.elbo.size:
            raise InputError("plot.trace: this method has no steps; svi without the emulator has")
        return self._drawn(lambda: elbo.draw(self.elbo))

    def _predictions(self) -> Predictions:
        return predict(self.model(), self.z, self.derived)

    def _drawn(self, draw: Callable[[], Figure]) -> Figure:
        from gammasky.engine.infer.figures.style import shown

        return shown(draw)
