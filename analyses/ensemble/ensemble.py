"""An ensemble of fits: its file, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gammasky.analyses.ensemble.axis import WHEN
from gammasky.analyses.ensemble.campaign import Campaign
from gammasky.analyses.ensemble.expansion import Expansion
from gammasky.analyses.ensemble.file import EnsembleFile, listed_choices
from gammasky.analyses.ensemble.plan import plan_frame
from gammasky.distributed.runners.place import runner_at
from gammasky.engine.card import card

if TYPE_CHECKING:
    from pandas import DataFrame

    from gammasky.analyses.tuning.searched import Searched


class Ensemble(EnsembleFile):
    """An ensemble of fits, from a TOML file (`Ensemble.read`) or from Python with the same names as in the file.

    The file is checked at once; what a member needs of model and data is checked before anything starts.

    Example:
        >>> import gammasky
        >>> gammasky.configure()
        >>> ensemble = gammasky.Ensemble(
        ...     name="priors", model="calibration", data="demo", fit={"method": "laplace"},
        ...     axes={"top": {"sets": "parameters.S_gce.high", "values": [2.5, 5]}},
        ... )
        >>> ensemble
        <Ensemble priors: calibration on demo, top (2.5, 5)>
        >>> ensemble.plan()["n_photons"].to_dict()
        {'top=2.5': 13596, 'top=5': 13596}
        >>> campaign = ensemble.run("campaigns/priors", address=None, quiet=True)  # no Ray
        >>> campaign.table()["state"].to_dict()
        {'top=2.5': 'done', 'top=5': 'done'}
    """

    def __repr__(self) -> str:
        axes = ", ".join(f"{name} ({choices})" for name, choices in self._choices().items()) or "no axes"
        return f"<Ensemble {self.name}: {self.model} on {self.data}, {axes}>"

    __str__ = __repr__

    def _repr_html_(self) -> str:
        rows = [[name, choices] for name, choices in self._choices().items()]
        facts = {"model": self.model, "data": self.data, "members": f"{self.combine}; plan() lists them"}
        return card(
            self.name, self.description, facts, [{"caption": "Axes", "headings": ["", "choices"], "rows": rows}]
        )

    def _choices(self) -> dict[str, str]:
        """The choices of each axis in words."""
        found = {}
        for name, axis in self.axes.items():
            listed = listed_choices(axis)
            if listed:
                shown = [choice.get("name", choice) if isinstance(choice, Mapping) else choice for choice in listed]
                found[name] = ", ".join(map(str, shown))
            elif isinstance(axis, dict) and "low" in axis:
                found[name] = f"from {axis['low']} to {axis['high']}"
            else:
                found[name] = ", ".join(choice for choice in axis if choice != WHEN)
        return found

    @cached_property
    def expansion(self) -> Expansion:
        """The members, their sizes and their task, worked out once.

        Raises:
            InputError: an axis, choice, model, dataset or region that cannot be used; names the member.
        """
        return Expansion(self)

    def plan(self) -> DataFrame:
        """What would be fitted: a row for each member, with its choices, pixels, photons, parameters and seconds.

        Raises:
            InputError: an axis, choice, model, dataset or region that cannot be used; names the member.
        """
        return plan_frame(self.expansion)

    def run(
        self, folder: Path | str, *, address: str | None = "auto", workers: int | None = None, lanes: int = 1,
        keep_going: bool = False, allow_mixed: Sequence[str] = (), quiet: bool = False,
    ) -> Campaign:  # fmt: skip
        """Fit every member; what is finished stays in the folder whatever happens, see `Campaign.resume`.

        Args:
            folder: of the campaign, new or empty; workers must see it.
            address: of a Ray cluster: "auto" (a running one, else this machine), "local", "host:port",
                "ray://host:port"; None: one after the other, in this process.
            workers: processes on Ray that fit at once; None: as many as there is room for.
            lanes: members of one structure (they differ in priors, counts or seed) side by side in each process: for a
                GPU, which one fit does not fill.
            keep_going: also where most members fail with the same error.
            allow_mixed: packages ("jax", "numba") of which this run may have other versions than its workers.
            quiet: no progress.

        Raises:
            InputError: members, folder or address that cannot be used.
            KeyboardInterrupt: after an interrupt, when what ran has ended.
        """
        runner = runner_at(address, workers, lanes)
        return Campaign.begin(
            folder, self.expansion, runner, keep_going=keep_going, allow_mixed=allow_mixed, quiet=quiet
        )

    def tune(
        self, folder: Path | str, trials: int | None = None, *, minimise: str | Sequence[str] | None = None,
        maximise: str | Sequence[str] | None = None, constraints: str | Sequence[str] | None = None,
        sampler: str | None = None, pruner: str | None = None, at_once: int | None = None,
        address: str | None = "auto", workers: int | None = None, lanes: int = 1, **options: Any,
    ) -> Searched:  # fmt: skip
        """Search along the axes, instead of fitting every member.

        Args:
            folder: of the search.
            trials: in all; where there is less to choose from everything is fitted, once.
            minimise, maximise: columns of a fit's row; where neither is said, log_z is maximised.
            constraints: what a trial must meet, such as "reliable" or "log_z >= best - 5".
            sampler: "tpe", "random", "qmc", "nsga2" or "cmaes".
            pruner: "halving", "hyperband" or "median" end variational fits to the likelihood itself early.
            at_once: how many trials are chosen before the results of each other are known: the trials are the same for
                any number of workers. What is not given here is as `sweep` in the file says.
            address, workers, lanes: as of `run`.
            options: `storage`, `seed`, `resume`, `retry_failed`, `keep_going`, `allow_mixed`, `quiet`, as of `gammasky
                tune`.

        Raises:
            InputError: values that cannot be compared, or anything else that cannot be used.
            KeyboardInterrupt: after an interrupt; `resume=True` goes on.
        """
        from gammasky.analyses.tuning.searched import search

        given = {
            "minimise": minimise, "maximise": maximise, "constraints": constraints, "sampler": sampler,
            "pruner": pruner, "trials": trials, "at_once": at_once,
        }  # fmt: skip
        return search(Path(folder), self, given, runner_at(address, workers, lanes), **options)
