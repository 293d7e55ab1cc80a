"""An ensemble of fits: its file, and what can be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gammasky.analyses.ensemble.campaign import Campaign
from gammasky.analyses.ensemble.expansion import Expansion
from gammasky.analyses.ensemble.file import EnsembleFile
from gammasky.analyses.ensemble.plan import plan_frame
from gammasky.distributed.runners.place import runner_at

if TYPE_CHECKING:
    from pandas import DataFrame

    from gammasky.distributed.tuning.search import Found


class Ensemble(EnsembleFile):
    """An ensemble of fits, from a TOML file (`Ensemble.read`) or from Python with the same names as in the file.

    The file is checked at once; what a member needs of model and data is checked before anything starts.
    """

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
        self, folder: Path | str, *, address: str | None = "auto", workers: int | None = None,
        keep_going: bool = False, allow_mixed: Sequence[str] = (), quiet: bool = False,
    ) -> Campaign:  # fmt: skip
        """Fit every member; what is finished stays in the folder whatever happens, see `Campaign.resume`.

        Args:
            folder: of the campaign, new or empty; workers must see it.
            address: of a Ray cluster: "auto" (a running one, else this machine), "local", "host:port",
                "ray://host:port"; None: one after the other, in this process.
            workers: members at once on Ray; None: as many as there is room for.
            keep_going: also where most members fail with the same error.
            allow_mixed: packages ("jax", "numba") of which this run may have other versions than its workers.
            quiet: no progress.

        Raises:
            InputError: members, folder or address that cannot be used.
            KeyboardInterrupt: after an interrupt, when what ran has ended.
        """
        runner = runner_at(address, workers)
        return Campaign.begin(
            folder, self.expansion, runner, keep_going=keep_going, allow_mixed=allow_mixed, quiet=quiet
        )

    def tune(
        self, folder: Path | str, trials: int, *, objective: str = "log_z", address: str | None = "auto",
        workers: int | None = None, **options: Any,
    ) -> Found:  # fmt: skip
        """Search along the axes for the choices with the highest evidence, instead of fitting every member.

        Args:
            folder: of the search.
            trials: in all.
            objective: "log_z" by importance weights, or "elbo", its lower bound.
            address, workers: as of `run`.
            options: `storage`, `seed`, `resume`, `quiet`, as of `gammasky tune`.

        Raises:
            InputError: an ensemble whose evidences cannot be compared, or anything else that cannot be used.
        """
        from gammasky.analyses.tuning.search import tune_models

        runner = runner_at(address, workers)
        return tune_models(Path(folder), self.expansion, trials, runner, objective=objective, **options)
