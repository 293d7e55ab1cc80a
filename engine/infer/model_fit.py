"""A fit with its model: draws that can be summed up, drawn and saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gammasky.engine.errors import InputError
from gammasky.engine.infer.face import FitPlots, fit_card, numbers_frame
from gammasky.engine.infer.outputs import save, tree_of
from gammasky.engine.infer.result import Fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.summary import summarise
from gammasky.engine.model import Density, SkyModel

if TYPE_CHECKING:
    from pandas import DataFrame
    from xarray import DataTree


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ModelFit(Fit):
    """What `gammasky.fit` gives: a fit, and the model and settings that it is of.

    Attributes:
        model: the density that was fitted; tables and figures need a sky model.
        settings: of the fit.
    """

    model: Density
    settings: Settings

    def summary(self, *, every: bool = False) -> DataFrame:
        """Mean, sd, quantiles and unit of the main parameters and point-source fractions, or of `every` number.

        Raises:
            InputError: a fit of a density that is not a sky model.
        """
        return numbers_frame(self._numbers(), every=every)

    @property
    def inference_data(self) -> DataTree:
        """The posterior in the ArviZ schema, as `xarray.DataTree`: what `save` writes as posterior.nc.

        Raises:
            InputError: as of `summary`.
        """
        return tree_of(self._sky_model(), self.settings, self)

    @property
    def plot(self) -> FitPlots:
        """Figures: `plot.corner()`, likewise `dnds`, `maps`, `fields`, `fluxes`, `spectra` and `trace`."""
        return FitPlots(self._sky_model, self.z, self.derived, self.elbo)

    def save(self, folder: Path | str, *, overwrite: bool = False) -> Path:
        """Write posterior.nc, summary.json and figures, as `gammasky fit` does; `gammasky.load` reads them.

        Args:
            folder: new, empty, or that of this fit's checkpoint.
            overwrite: replace a fit that it holds already.

        Raises:
            InputError: a folder that holds a fit, or the checkpoint of another one; a fit of a density that is not a
                sky model.
        """
        return save(self._sky_model(), self.settings, self, Path(folder), overwrite=overwrite)

    def __repr__(self) -> str:
        return f"<Fit by {self.method}, {len(self.z):,} draws: {self.verdict.level} ({self.verdict.reasons[0]})>"

    def _repr_html_(self) -> str:
        return fit_card(self._numbers(), self.verdict, self.method)

    def _numbers(self) -> dict[str, Any]:
        weights = None if self.weights is None else self.weights.weights
        return summarise(self._sky_model(), self.derived, {}, weights)

    def _sky_model(self) -> SkyModel:
        """The sky model of the fit."""
        if not isinstance(self.model, SkyModel):
            raise InputError("this fit is not of a sky model: it has draws (z, derived), but no tables and figures")
        return self.model
