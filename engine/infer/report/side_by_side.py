"""Section that compares what methods say: draws with and without their weights, and the stages of the method `auto`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.infer.derived import POINT_SOURCE_FRACTION
from gammasky.engine.infer.report.diagnostics import figure, with_error
from gammasky.engine.infer.report.fit_folder import FitFolder
from gammasky.engine.infer.report.html import Cell, Section, Table
from gammasky.engine.infer.report.numbers import interval, number, width

LARGE_SHIFT = 0.2  # sd
QUANTITIES = {
    "seconds": "time [s]",
    "gradients": "gradients",
    "elbo": "ELBO [nat]",
    "log_z": "log Z [nat]",
    "k_hat": "k-hat",
    "ess": "ESS",
    "r_hat_max": "R-hat",
}


def side_by_side(fit: FitFolder) -> Section | None:
    """Tables that put the posteriors of one fit beside each other; None where there is only one."""
    found = fit.entry("stages") or []
    try:
        stages = _stages(found) if found else None
        marginals = _marginals(fit, found) if found else _weighted(fit)
    except (AttributeError, KeyError, TypeError):
        raise InputError(f"{fit.folder / 'summary.json'}: damaged stages or weights; run the fit again") from None
    if not marginals:
        return None
    title = "Methods side by side" if found else "Draws and their weights"
    values = {"stages": stages, "marginals": marginals, "large_shift": LARGE_SHIFT}
    return Section("methods", title, values, "Methods")


def _quoted(fit: FitFolder) -> dict[str, Mapping[str, Any]]:
    """Main parameters and point-source fractions, as the stages name them."""
    names = [name for name in fit.summary.get("main_parameters", []) if name in fit.summary["parameters"]]
    entries = {name: fit.summary["parameters"][name] for name in names}
    return entries | {f"PS fraction ({group})": entry for group, entry in fit.summary[POINT_SOURCE_FRACTION].items()}


def _label(fit: FitFolder, name: str) -> Cell:
    """A name and its unit."""
    return Cell(name, str(fit.summary["parameters"].get(name, {}).get("unit", "")))


def _weighted(fit: FitFolder) -> Table | None:
    """Median and 90 % interval of the draws and of the weighted draws, and how far the weights move the mean."""
    rows = [
        [_label(fit, name), _described(entry, width(entry)), _described(entry["weighted"], width(entry)), _shift(entry)]
        for name, entry in _quoted(fit).items()
        if "weighted" in entry
    ]
    return Table(["number", "drawn", "reweighted", "shift [sd]"], rows, "Median (90 % interval)") if rows else None


def _described(entry: Mapping[str, Any], spread: float | None) -> Cell:
    """Median and 90 % interval, with the digits that `spread` supports."""
    return Cell(number(entry["q50"], spread), f"({interval(entry['q05'], entry['q95'], spread)})")


def _shift(entry: Mapping[str, Any]) -> Cell:
    """Weighted mean minus mean, in sd of the draws as they are."""
    if not entry["sd"]:
        return Cell(number(None))
    shift = (entry["weighted"]["mean"] - entry["mean"]) / entry["sd"]
    text = number(shift, 0.1)
    return Cell(f"+{text}" if shift > 0 else text, element="strong" if abs(shift) > LARGE_SHIFT else "")


def _stages(found: Sequence[Mapping[str, Any]]) -> Table:
    """Cost and diagnostics of each method."""
    names = [str(stage["method"]) for stage in found]
    columns = [_cells(stage) for stage in found]
    rows = [
        [QUANTITIES[name], *(column.get(name, "") for column in columns)]
        for name in QUANTITIES
        if any(name in column for column in columns)
    ]
    return Table(["quantity", *names], rows, "Cost and diagnostics of each method")


def _cells(stage: Mapping[str, Any]) -> dict[str, Cell | str]:
    """The numbers of one method, by quantity."""
    known = [name for name in QUANTITIES if stage.get(name) is not None]
    cells: dict[str, Cell | str] = {name: with_error(name, stage) for name in known}
    if "seconds" in cells:
        cells["seconds"] = number(round(stage["seconds"]))
    sizes = [stage[name] for name in ("ess_bulk_min", "ess_tail_min") if name in stage]
    if sizes:  # the smaller; a dash where one of them is not a number, which summary.json has as null
        cells["ess"] = figure("ess", None if None in sizes else float(np.min(sizes)))
    return cells


def _marginals(fit: FitFolder, found: Sequence[Mapping[str, Any]]) -> Table:
    """Write every quoted number as each method found it, with as many digits for all."""
    rows = []
    for name in found[0]["marginals"]:
        entries = [stage["marginals"][name] for stage in found]
        spread = min((width(entry) or 0.0 for entry in entries), default=0.0)
        rows.append([_label(fit, name), *(_described(entry, spread) for entry in entries)])
    headings = ["number", *(str(stage["method"]) for stage in found)]
    return Table(headings, rows, "Median (90 % interval) by each method")
