"""Fits beside each other in a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from gammasky.engine.card import card
from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.infer import compare as comparing
from gammasky.engine.infer.compare import Comparison, evidence_lines, one_sky, read_all
from gammasky.engine.infer.report.fit_folder import Posterior
from gammasky.engine.infer.saved import SavedFit

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from pandas import DataFrame

MOST_ROWS = 12  # of the card


def compare(fits: Sequence[SavedFit | Path | str]) -> FitsBeside:
    """Compare fits: every one with the first, in the numbers that they share.

    Args:
        fits: at least two: folders, posterior files, or what `gammasky.load` gave.

    Raises:
        InputError: a fit that cannot be read, the same fit twice, or nothing in common.

    Example:
        >>> import gammasky
        >>> gammasky.configure()
        >>> model = gammasky.SkyModel("calibration", gammasky.Dataset.open("demo"))
        >>> other = gammasky.fit(model, gammasky.Settings(method="laplace", seed=2)).save("fits/other")
        >>> beside = gammasky.compare(["fits/demo", "fits/other"])
        >>> sorted(beside.table()["number"])
        ['S_dif', 'S_gce', 'Sps_gce', 'n1', 'n2', 'point_source_fraction[gce]', 'sb']
    """
    paths = [fit.folder if isinstance(fit, SavedFit) else Path(fit) for fit in fits]
    posteriors = read_all(paths)
    return FitsBeside(posteriors, comparing.compare(posteriors))


@dataclass(frozen=True, eq=False, repr=False)
class FitsBeside:
    """What `gammasky.compare` gives.

    Attributes:
        posteriors: by label.
        comparison: the differences, notes and evidences.
    """

    posteriors: dict[str, Posterior]
    comparison: Comparison

    @property
    def notes(self) -> tuple[str, ...]:
        """What else differs: data, model, priors, verdicts."""
        return self.comparison.notes

    def table(self) -> DataFrame:
        """Differences of the marginals in standard deviations, the largest distance first.

        Columns: "number", "log10" (of the number, not the number itself), "of" (the label), "distance", "shift" and
        "sd_ratio" as of `Difference`.
        """
        from pandas import DataFrame

        return DataFrame(
            [
                {"number": of.name, "log10": of.log10, "of": of.other, "distance": of.distance, "shift": of.shift,
                 "sd_ratio": of.sd_ratio}
                for of in self.comparison.differences
            ]
        )  # fmt: skip

    def plot(self, what: str = "corner") -> Figure:
        """A figure of all fits.

        Args:
            what: "corner", "dnds" or "fluxes".

        Raises:
            InputError: another word, or a figure of what the fits do not share.
        """
        from gammasky.engine.infer.figures.compare import FIGURES, draw
        from gammasky.engine.infer.figures.style import shown

        if what not in FIGURES:
            raise unknown_name("figure", what, FIGURES)

        def drawn() -> Figure:
            figure = draw(self.posteriors, what, exposure=one_sky(self.posteriors))
            if figure is None:
                raise InputError(f"figure '{what}': the fits have nothing for it in common; plot another")
            return figure

        return shown(drawn)

    def __repr__(self) -> str:
        largest = self.comparison.differences[0]
        return (
            f"<Fits {', '.join(self.comparison.labels)}: largest difference {largest.distance:.2f} sd, of "
            f"{largest.name} in {largest.other}>"
        )

    def _repr_html_(self) -> str:
        rows = [
            [f"log10 {of.name}" if of.log10 else of.name, of.other, f"{of.distance:.2f}", f"{of.shift:+.2f}",
             "" if of.sd_ratio is None else f"{of.sd_ratio:.2f}"]
            for of in self.comparison.differences[:MOST_ROWS]
        ]  # fmt: skip
        table = {
            "caption": "Largest differences, in standard deviations",
            "headings": ["", "of", "distance", "shift", "sd ratio"],
            "rows": rows,
        }
        notes = {f"note {number}": note for number, note in enumerate(self.notes, 1)}
        facts = {"evidence": "; ".join(evidence_lines(self.comparison)) or "not known"}
        title = f"{' and '.join(self.comparison.labels[1:])} against {self.comparison.labels[0]}"
        return card(title, "", {**facts, **notes}, [table])
