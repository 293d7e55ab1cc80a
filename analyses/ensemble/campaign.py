"""A campaign in its folder: begun, running anywhere, or done."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gammasky.analyses.ensemble.answer import Answer, read_answer
from gammasky.analyses.ensemble.expansion import Expansion
from gammasky.analyses.ensemble.file import EnsembleFile
from gammasky.distributed.board import summary
from gammasky.distributed.campaign import Status, Tally, read_manifest, run_campaign, status
from gammasky.distributed.runners.base import Runner
from gammasky.distributed.runners.place import runner_at
from gammasky.distributed.table import flat, read_rows
from gammasky.engine.card import card
from gammasky.engine.errors import InputError, unknown_name

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame
    from xarray import DataTree


_MOST_ROWS = 40  # of members that a notebook shows


class Campaign:
    """The fits of an ensemble in a folder, from `Ensemble.run`, or of any earlier run.

    Args:
        folder: of the campaign.

    Attributes:
        folder: the same; tally: how the run of this object ended; None where it did not run.

    Raises:
        InputError: no campaign there, or one of another version.

    Example:
        >>> import gammasky
        >>> campaign = gammasky.Campaign("campaigns/priors")
        >>> campaign
        <Campaign campaigns/priors: 2 of 2 done>
        >>> campaign.answer(every=True).quantities  # also of fits that are not reliable
        ['ps_fraction', 'excess_flux', 'smooth_flux', 'excess_share', 'n_sources']
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self.tally: Tally | None = None
        self._manifest = read_manifest(self.folder)

    @classmethod
    def begin(cls, folder: Path | str, expansion: Expansion, runner: Runner, **options: Any) -> Campaign:
        """Fit every member of an ensemble in a new folder, see `Ensemble.run`; `options` are of `run_campaign`."""
        tally = _run(Path(folder), expansion, runner, **options)
        campaign = cls(folder)
        campaign.tally = tally
        return campaign

    def resume(
        self, *, address: str | None = "auto", workers: int | None = None, lanes: int = 1,
        data_dir: Path | str | None = None, hours: float | None = None,
        retry_failed: bool = False, check: bool = False, keep_going: bool = False,
        allow_mixed: Sequence[str] = (), quiet: bool = False,
    ) -> Campaign:  # fmt: skip
        """Go on with it: fit what is missing, and nothing twice.

        Args:
            address, workers, lanes, keep_going, allow_mixed, quiet: as of `Ensemble.run`.
            data_dir: folder of the data files; None: that of the ensemble.
            hours [h]: time limit of an attempt at any member, in this run; 0: none; None: what the ensemble says.
            retry_failed: try members again that failed by themselves.
            check: read every result whole, and fit those again that are damaged.

        Raises:
            InputError: a model or data that have changed since; another driver at work; a place or a time limit that
                cannot be used.
            KeyboardInterrupt: after an interrupt, when what ran has ended.
        """
        manifest = EnsembleFile(**self._manifest.campaign).manifest(data_dir)
        if hours is not None:
            resources = manifest["resources"]
            for asked in (resources, *(of for of in resources.get("overrides", []) if "hours" in of)):
                asked["hours"] = hours
        ensemble = EnsembleFile(**manifest)
        options: dict[str, Any] = {"retry_failed": retry_failed, "check": check, "keep_going": keep_going,
                                   "allow_mixed": allow_mixed, "quiet": quiet}  # fmt: skip
        self.tally = _run(self.folder, Expansion(ensemble), runner_at(address, workers, lanes), resume=True, **options)
        return self

    def status(self) -> Status:
        """How far it is, also while it runs elsewhere."""
        return status(self.folder)

    def __repr__(self) -> str:
        return f"<Campaign {self.folder}: {summary(self.status())}>"

    def _repr_html_(self) -> str:
        rows = [
            [name, str(row["state"]), _text(row.get("verdict")), _text(row.get("log_z"), ".2f"), _fraction(row)]
            for name, row in self.table().iterrows()
        ]
        left = f"; {len(rows) - _MOST_ROWS} more in table()" if len(rows) > _MOST_ROWS else ""
        headings = ["", "state", "verdict", "log Z", "point-source fraction (5 to 95 %)"]
        members = {"caption": f"Members{left}", "headings": headings, "rows": rows[:_MOST_ROWS]}
        return card(str(self.folder), summary(self.status()), tables=[members])

    def table(self) -> DataFrame:
        """A row for each member in the order of the plan, by its name: choices, state, verdict, numbers.

        What a member has not, or not yet, is missing in its row.
        """
        import pandas

        ended = {row["name"]: row for row in read_rows(self.folder)}
        rows = []
        for member in self._manifest.members:
            row = ended.get(member.name, {"state": "waiting"})
            said = {name: value for name, value in row.items() if name not in ("key", "labels")}
            rows.append(flat({"name": member.name, "labels": member.labels, **said}))
        return pandas.DataFrame(rows).set_index("name")

    def answer(self, *, every: bool = False) -> Answer:
        """What all reliable members together say, as far as they are done.

        Args:
            every: whether members count whose verdict is not *reliable*.

        Raises:
            InputError: no member is done yet.
        """
        return read_answer(self.folder, every=every)

    def posterior(self, name: str) -> DataTree:
        """The posterior of a member in the ArviZ schema; its model is built anew for this.

        Args:
            name: of the member, as in the plan.

        Raises:
            InputError: no member of that name, one that is not done, data that are not those of the fit.
        """
        from gammasky.analyses.ensemble.posterior import export_member
        from gammasky.engine.infer.posterior import read_posterior

        with tempfile.TemporaryDirectory() as folder:
            return read_posterior(export_member(self.folder, name, Path(folder) / "posterior.nc"))

    def report(self, *, every: bool = False) -> Path:
        """Write report.html with its tables and figures into the folder; returns where it is.

        Args:
            every: whether members count whose verdict is not *reliable*.

        Raises:
            InputError: no member is done yet, or a member's file is damaged.
        """
        from gammasky.analyses.ensemble.report import write_report

        return write_report(self.folder, every=every)

    def plot_forest(self, quantity: str = "ps_fraction") -> Figure:
        """Median and 90 % interval of every member, sorted, by one quantity of the answer.

        Raises:
            InputError: a quantity that no member has; no member is done yet.
        """
        from gammasky.analyses.ensemble.figures import forest
        from gammasky.engine.infer.figures.style import shown

        answer = self.answer()
        return shown(lambda: forest(answer, _known(quantity, answer.quantities)))

    def plot_effects(self, quantity: str = "ps_fraction", *, every: bool = False) -> Figure:
        """How far each choice moves one quantity of the answer, with errors.

        Args:
            quantity: by its name in the table.
            every: whether members count whose verdict is not *reliable*.

        Raises:
            InputError: a quantity that no choice changes; too few members to tell.
        """
        from gammasky.analyses.ensemble.figures import effects
        from gammasky.engine.infer.figures.style import shown

        answer = _with_effects(self.answer(every=every))
        return shown(lambda: effects(answer, _known(quantity, list(answer.effects))))

    def plot_variance(self, *, every: bool = False) -> Figure:
        """Which axis the variance between members comes from, by quantity.

        Args:
            every: whether members count whose verdict is not *reliable*.

        Raises:
            InputError: too few members to tell.
        """
        from gammasky.analyses.ensemble.figures import variance
        from gammasky.engine.infer.figures.style import shown

        answer = _with_effects(self.answer(every=every))
        return shown(lambda: variance(answer))


def _run(folder: Path, expansion: Expansion, runner: Runner, **options: Any) -> Tally:
    ensemble = expansion.ensemble
    return run_campaign(
        folder, expansion.task, expansion.members, ensemble.resources, runner, manifest=ensemble.manifest(), **options
    )


def _with_effects(answer: Answer) -> Answer:
    """The answer, if it has effects to draw."""
    if not answer.effects:
        left_out = f"; {len(answer.left_out)} are not reliable, and count with `every`" if answer.left_out else ""
        counted = len(answer.rows) - len(answer.left_out)
        raise InputError(f"expected members with two choices of an axis, got {counted} to count{left_out}")
    return answer


def _text(value: Any, form: str = "") -> str:
    """A value of a row; "" where it is missing."""
    return "" if value is None or value != value else format(value, form)


def _fraction(row: Any) -> str:
    middle, low, high = (_text(row.get(f"ps_fraction_{q}"), ".2f") for q in ("q50", "q05", "q95"))
    return f"{middle} ({low} to {high})" if middle else ""


def _known(quantity: str, names: list[str]) -> str:
    if quantity not in names:
        raise unknown_name("quantity", quantity, names)
    return quantity
