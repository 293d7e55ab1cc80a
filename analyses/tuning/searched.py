"""A search along the axes of an ensemble, in its folder: run, looked at, reported."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gammasky.analyses.ensemble.expansion import Expansion
from gammasky.analyses.ensemble.file import EnsembleFile, sweep_of
from gammasky.analyses.tuning.sweep import sweep_models
from gammasky.distributed.record import load_member
from gammasky.distributed.runners.base import Runner
from gammasky.distributed.tuning.search import Found
from gammasky.distributed.tuning.sweep import SweepTrial, Swept
from gammasky.engine.errors import InputError
from gammasky.engine.files import write_text
from gammasky.engine.infer.report.model_toml import model_toml
from gammasky.engine.model.spec import model_from_table

if TYPE_CHECKING:
    from pandas import DataFrame
    from xarray import DataTree

BEST_MODEL, REPORT = "best_model.toml", "report.html"


class Searched:
    """What a search has found, see `Ensemble.tune`.

    Attributes:
        folder: of the search, with trials.csv, the study of Optuna, report.html and best_model.toml.
        found: trials and the best of them.
    """

    def __init__(self, folder: Path, expansion: Expansion, found: Swept | Found) -> None:
        self.folder, self.found, self._expansion = folder, found, expansion

    def __repr__(self) -> str:
        return f"<Searched {self.folder}: {len(self.found.trials)} trials>"

    @property
    def best(self) -> Any:
        """The best trial by the first objective that meets all constraints; None: there is none."""
        return self.found.best

    @property
    def best_settings(self) -> dict[str, Any]:
        """The settings of the fit of the best trial.

        Raises:
            InputError: there is none, or its file is damaged.
        """
        if self._swept.best is None:
            raise InputError("search: no trial meets all constraints")
        return dict(load_member(self.folder, self._swept.best.key).spec["fit"])

    @property
    def front(self) -> tuple[SweepTrial, ...]:
        """The trials that no other beats in every objective; with one objective, the best trial."""
        return self._swept.front

    def table(self) -> DataFrame:
        """A row for each trial, by its number: whether it meets the constraints, its choices, and its fit's row."""
        import pandas

        return pandas.read_csv(self.folder / "trials.csv").set_index("number")

    def posterior(self, number: int) -> DataTree:
        """The posterior of a trial in the ArviZ schema; its model is built anew for this.

        Raises:
            InputError: no trial of that number has a fit, or its file is damaged.
        """
        from gammasky.analyses.ensemble.posterior import write_member
        from gammasky.engine.infer.posterior import read_posterior

        fitted = {trial.number: trial for trial in self._swept.trials if trial.row}
        if number not in fitted:
            raise InputError(
                f"trial {number}: expected one that was fitted, of {', '.join(map(str, fitted)) or 'none'}"
            )
        trial = fitted[number]
        with tempfile.TemporaryDirectory() as folder:
            member = load_member(self.folder, trial.key)
            return read_posterior(write_member(member, self._expansion.task, trial.name, Path(folder) / "posterior.nc"))

    def report(self) -> Path:
        """Write report.html into the folder; returns where it is."""
        from gammasky.analyses.tuning.sweep_page import write_page

        return write_page(self._swept, self._expansion, self.folder)

    @property
    def _swept(self) -> Swept:
        if isinstance(self.found, Swept):
            return self.found
        raise InputError("search: one that ends fits early keeps no fits; leave `pruner` out")


def search(folder: Path, ensemble: EnsembleFile, given: Mapping[str, Any], runner: Runner, **options: Any) -> Searched:
    """Search along the axes of an ensemble, see `Ensemble.tune`; `given` is put in place of what its file says.

    Raises:
        InputError: anything that cannot be used.
    """
    expansion = Expansion(ensemble)
    found = sweep_models(folder, expansion, sweep_of(ensemble, given), runner, **options)
    searched = Searched(Path(folder), expansion, found)
    if isinstance(found, Swept):
        searched.report()
        if found.best:
            write_text(Path(folder) / BEST_MODEL, _model_of(searched, found.best))
    return searched


def _model_of(searched: Searched, trial: SweepTrial) -> str:
    """The model of a trial as a file, which `gammasky fit` takes."""
    spec = load_member(searched.folder, trial.key).spec
    told = f"trial {trial.number} of {searched.folder.resolve().name}: {trial.name}"
    return model_toml(model_from_table({**spec["model"], "description": told}))
