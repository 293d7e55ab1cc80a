"""What methods say beside each other: draws with and without their weights, the stages of `--method auto`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gammasky.engine.errors import InputError
from gammasky.engine.infer.derived import POINT_SOURCE_FRACTION
from gammasky.engine.infer.report.diagnostics import figure, with_error
from gammasky.engine.infer.report.fit_folder import FitFolder
from gammasky.engine.infer.report.headline import with_unit
from gammasky.engine.infer.report.markup import Markup, joined, section, table, tag
from gammasky.engine.infer.report.numbers import interval, number, width

LARGE_SHIFT = 0.2  # sd
REWEIGHTED = ", reweighted"  # what the name of a method ends in whose draws count by their weights
OF_WEIGHTS = ("log_z", "k_hat", "ess")  # what the importance weights of a guide's draws tell, not the guide itself
QUANTITIES = {
    "seconds": "time [s]",
    "gradients": "gradients",
    "elbo": "ELBO [nat]",
    "log_z": "log Z [nat]",
    "k_hat": "k-hat",
    "ess": "ESS",
    "r_hat_max": "R-hat",
}
WEIGHTED = (
    "Drawn: all draws of the guide count the same. Reweighted: each counts by its importance weight, which puts right "
    "what the guide got wrong at places where it has draws; it cannot bring back places where it has none. "
    f"A mean that the weights move by more than {LARGE_SHIFT:g} sd is bold: quote the reweighted numbers there, if "
    "k-hat is below 0.7."
)
STAGES = (
    "Gradients: evaluations of the likelihood with its derivative. ESS: effective sample size, of chains the smaller "
    "of bulk and tails. log Z of the chains is that of a bridge between them and the guide, which counts mass that the "
    "guide misses: it is the one to quote."
)


def side_by_side(fit: FitFolder) -> Markup:
    """Tables that put the posteriors of one fit side by side; nothing where there is only one."""
    found = fit.entry("stages") or []
    try:
        content = [*_stages(fit, found)] if found else [*_weighted(fit)]
    except (AttributeError, KeyError, TypeError):
        raise InputError(f"{fit.folder / 'summary.json'}: damaged stages or weights; run the fit again") from None
    return section("methods", "Methods side by side" if found else "Draws and their weights", *content)


def _quoted(fit: FitFolder) -> dict[str, Mapping[str, Any]]:
    """Main parameters and point-source fractions, as the stages name them."""
    names = [name for name in fit.summary.get("main_parameters", []) if name in fit.summary["parameters"]]
    entries = {name: fit.summary["parameters"][name] for name in names}
    return entries | {f"PS fraction ({group})": entry for group, entry in fit.summary[POINT_SOURCE_FRACTION].items()}


def _label(fit: FitFolder, name: str) -> Markup:
    """A name and its unit."""
    return with_unit(name, str(fit.summary["parameters"].get(name, {}).get("unit", "")))


def _weighted(fit: FitFolder) -> list[Markup]:
    """Median and 90 % interval of the draws and of the weighted draws, and how far the weights move the mean."""
    rows = [
        [_label(fit, name), _described(entry, width(entry)), _described(entry["weighted"], width(entry)), _shift(entry)]
        for name, entry in _quoted(fit).items()
        if "weighted" in entry
    ]
    if not rows:
        return []
    return [
        table(["number", "drawn", "reweighted", "shift [sd]"], rows, caption="Median (90 % interval)"),
        tag("p", WEIGHTED, class_="note"),
    ]


def _described(entry: Mapping[str, Any], spread: float | None) -> Markup:
    """Median and 90 % interval, with the digits that `spread` supports."""
    around = interval(entry["q05"], entry["q95"], spread)
    return joined([number(entry["q50"], spread), tag("small", f" ({around})")])


def _shift(entry: Mapping[str, Any]) -> Markup | str:
    """Weighted mean minus mean, in sd of the draws as they are."""
    if not entry["sd"]:
        return number(None)
    shift = (entry["weighted"]["mean"] - entry["mean"]) / entry["sd"]
    text = number(shift, 0.1)
    text = f"+{text}" if shift > 0 else text
    return tag("strong", text) if abs(shift) > LARGE_SHIFT else text


def _stages(fit: FitFolder, found: Sequence[Mapping[str, Any]]) -> list[Markup]:
    """Cost and diagnostics of each method; the marginals of each."""
    names = [str(stage["method"]) for stage in found]
    columns = [_cells(stage, names) for stage in found]
    rows = [
        [QUANTITIES[name], *(column.get(name, "") for column in columns)]
        for name in QUANTITIES
        if any(name in column for column in columns)
    ]
    return [
        table(["quantity", *names], rows, caption="Cost and diagnostics of each method"),
        tag("p", STAGES, class_="note"),
        table(["number", *names], _marginals(fit, found), caption="Median (90 % interval) by each method"),
    ]


def _cells(stage: Mapping[str, Any], methods: Sequence[str]) -> dict[str, Markup | str]:
    """What one method says, by quantity: of the weights only for the reweighted draws, the rest only for the draws."""
    method = str(stage["method"])
    names = [name for name in QUANTITIES if stage.get(name) is not None]
    if method.endswith(REWEIGHTED):
        names = [name for name in names if name in OF_WEIGHTS]
    elif method + REWEIGHTED in methods:
        names = [name for name in names if name not in OF_WEIGHTS]
    cells: dict[str, Markup | str] = {name: with_error(name, stage) for name in names}
    if "seconds" in cells:
        cells["seconds"] = number(round(stage["seconds"]))
    sizes = [stage[name] for name in ("ess_bulk_min", "ess_tail_min") if stage.get(name) is not None]
    if sizes:
        cells["ess"] = figure("ess", min(sizes))
    return cells


def _marginals(fit: FitFolder, found: Sequence[Mapping[str, Any]]) -> list[list[Markup]]:
    """Rows of every quoted number, with a cell for each method and equal digits in all."""
    rows = []
    for name in found[0]["marginals"]:
        entries = [stage["marginals"][name] for stage in found]
        spread = min((width(entry) or 0.0 for entry in entries), default=0.0)
        rows.append([_label(fit, name), *(_described(entry, spread) for entry in entries)])
    return rows
