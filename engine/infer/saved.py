"""A fit that was saved: read from its folder, without its data until a figure needs them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import InputError
from gammasky.engine.infer.face import FitPlots, fit_card, numbers_frame, told
from gammasky.engine.infer.fitted_guide import FittedGuide, guide_from
from gammasky.engine.infer.posterior import read_posterior, read_posterior_of
from gammasky.engine.infer.report.fit_folder import FitFolder, read_fit
from gammasky.engine.infer.verdict import Level, Verdict

if TYPE_CHECKING:
    from pandas import DataFrame
    from xarray import DataTree

    from gammasky.engine.model import SkyModel

Floats = NDArray[np.float64]


def load(folder: Path | str, *, data: Path | str | None = None, data_dir: Path | str | None = None) -> SavedFit:
    """Read the fit that `gammasky fit` or `ModelFit.save` left in a folder.

    Args:
        folder: of the fit.
        data: the data set that it was fitted to, by name or path, where figures are wanted and the name in the file
            does not lead to it.
        data_dir: folder of the data files.

    Raises:
        InputError: no such folder, no finished fit in it, a damaged file, or one of another version.

    Example:
        >>> import gammasky
        >>> saved = gammasky.load("fits/demo")
        >>> saved.method, len(saved.derived["S_gce"])
        ('laplace', 5000)
        >>> list(saved.summary().index)
        ['S_dif', 'S_gce', 'Sps_gce', 'PS fraction (gce)']
    """
    return SavedFit(read_fit(Path(folder)), data, data_dir)


@dataclass(frozen=True, eq=False, repr=False)
class SavedFit:
    """A fit from its folder; see `load`.

    Attributes:
        saved: the folder's content: summary, posterior, figures.
        data, data_dir: where figures find the data.
    """

    saved: FitFolder
    data: Path | str | None = None
    data_dir: Path | str | None = None

    @property
    def folder(self) -> Path:
        """The folder."""
        return self.saved.folder

    @property
    def method(self) -> str:
        """The method of the fit."""
        return self.saved.method

    @property
    def derived(self) -> dict[str, Floats]:
        """Draws of the parameters and of "flux" and "point_source_fraction", by name."""
        return self.saved.posterior.draws

    @property
    def diagnostics(self) -> dict[str, Any]:
        """The numbers behind the verdict."""
        return dict(self.saved.entry("diagnostics") or {})

    @cached_property
    def verdict(self) -> Verdict:
        """How far to trust the draws; its remedy is words, not settings.

        Raises:
            InputError: a summary without one.
        """
        found = self.saved.entry("verdict")
        if not isinstance(found, dict) or found.get("level") not in get_args(Level) or not found.get("reasons"):
            raise InputError(f"{self.folder}: the summary holds no verdict; run the fit again")
        return Verdict(found["level"], tuple(map(str, found["reasons"])), {})

    @property
    def inference_data(self) -> DataTree:
        """The posterior in the ArviZ schema, as `xarray.DataTree`."""
        return read_posterior(self.saved.posterior.path)

    @cached_property
    def model(self) -> SkyModel:
        """The model on its data, built anew.

        Raises:
            InputError: data that are not found (name them with `data` of `load`), or others than those of the fit.
        """
        from gammasky.engine.model import SkyModel
        from gammasky.engine.sky.dataset import Dataset

        name = self.saved.summary["dataset"] if self.data is None else self.data
        try:
            dataset = Dataset.open(name, self.data_dir)
        except InputError as error:
            raise InputError(f"{self.folder}: its data are needed for this; give them with `data` ({error})") from None
        model = SkyModel(self.saved.posterior.spec, dataset)
        read_posterior_of(self.saved.posterior.path, model)
        return model

    @cached_property
    def z(self) -> Floats:
        """Draws (n, D) on the latent space."""
        values = np.asarray(self.inference_data["posterior"].to_dataset()["z"].values, dtype=np.float64)
        return values.reshape(-1, values.shape[-1])

    @cached_property
    def guide(self) -> FittedGuide | None:
        """The guide of a variational fit, which draws and evaluates more at no cost; None for other methods.

        Raises:
            InputError: as of `model`; a damaged file.
        """
        tree = self.inference_data
        return guide_from(tree["guide"].to_dataset(), self.model) if "guide" in tree.children else None

    @property
    def plot(self) -> FitPlots:
        """Figures: `plot.corner()`, likewise `dnds`, `maps`, `fields`, `fluxes`, `spectra` and `trace`."""
        return FitPlots(lambda: self.model, self.z, self.derived, self.saved.trace)

    def summary(self, *, every: bool = False) -> DataFrame:
        """Mean, sd, quantiles and unit of the main parameters and point-source fractions, or of `every` number."""
        return numbers_frame(self.saved.summary, every=every)

    def report(self) -> Path:
        """Write report.html into the folder; returns where it is.

        Raises:
            InputError: a report.html is there that is no page of a fit.
        """
        from gammasky.engine.infer.report import write_report

        return write_report(self.folder)

    def __repr__(self) -> str:
        return f"<SavedFit {self.folder}: {told(self.saved.summary, self.verdict)}>"

    def _repr_html_(self) -> str:
        return fit_card(self.saved.summary, self.verdict, self.method)
