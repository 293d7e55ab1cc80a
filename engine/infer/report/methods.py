"""What methods say beside each other: draws with and without their weights, the stages of `--method auto`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gammasky.engine.errors import InputError
from gammasky.engine.infer.derived import POINT_SOURCE_FRACTION
from gammasky.engine.infer.report.headline import with_unit
from gammasky.engine.infer.report.markup import Markup, joined, section, table, tag
from gammasky.engine.infer.report.numbers import interval, number, width
from gammasky.engine.infer.report.quantities import figure, with_error
from gammasky.engine.infer.report.result import FitFolder

LARGE_SHIFT = 0.2  # sd
REWEIGHTED = ", reweighted"  # what the name of a method ends in whose draws count by their weights
OF_WEIGHTS = ("log_z", "k_hat", "ess")  # what the importance weights of a guide's draws tell, not the guide itself
COLUMNS = {
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


def methods(fit: FitFolder) -> Markup:
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
        [_label(fit, name), *_median_and_interval(entry), *_median_and_interval(entry["weighted"]), _shift(entry)]
        for name, entry in _quoted(fit).items()
        if "weighted" in entry
    ]
    if not rows:
        return []
    headings = ["number", "drawn", "90 %", "reweighted", "90 %", "shift [sd]"]
    return [
        table(headings, rows, caption="Medians and intervals of the draws, and of the draws by their weights"),
        tag("p", WEIGHTED, class_="note"),
    ]


def _median_and_interval(entry: Mapping[str, Any], spread: float | None = None) -> list[str]:
    spread = width(entry) if spread is None else spread
    return [number(entry["q50"], spread), interval(entry["q05"], entry["q95"], spread)]


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
    cells = [_cells(stage, [str(other["method"]) for other in found]) for stage in found]
    columns = [name for name in COLUMNS if any(name in row for row in cells)]
    rows = [
        [str(stage["method"]), *(row.get(name, "") for name in columns)]
        for stage, row in zip(found, cells, strict=True)
    ]
    return [
        table(["method", *(COLUMNS[name] for name in columns)], rows, caption="Cost and diagnostics"),
        tag("p", STAGES, class_="note"),
        _marginals(fit, found),
    ]


def _cells(stage: Mapping[str, Any], methods: Sequence[str]) -> dict[str, str]:
    """What one method says, by column. What belongs to the weights stands in the row of the reweighted draws, the rest
    in that of the draws."""
    method = str(stage["method"])
    names = [name for name in COLUMNS if stage.get(name) is not None]
    if method.endswith(REWEIGHTED):
        names = [name for name in names if name in OF_WEIGHTS]
    elif method + REWEIGHTED in methods:
        names = [name for name in names if name not in OF_WEIGHTS]
    cells = {name: with_error(name, stage) for name in names}
    if "seconds" in cells:
        cells["seconds"] = number(round(stage["seconds"]))
    sizes = [stage[name] for name in ("ess_bulk_min", "ess_tail_min") if stage.get(name) is not None]
    if sizes:
        cells["ess"] = figure("ess", min(sizes))
    return cells


def _marginals(fit: FitFolder, found: Sequence[Mapping[str, Any]]) -> Markup:
    """Median and 90 % interval of every quoted number by every method, with equal digits in a row."""
    rows = []
    for name in found[0]["marginals"]:
        entries = [stage["marginals"][name] for stage in found]
        spread = min((width(entry) or 0.0 for entry in entries), default=0.0)
        texts = [_median_and_interval(entry, spread) for entry in entries]
        cells = [joined([middle, tag("small", f" ({around})")]) for middle, around in texts]
        rows.append([_label(fit, name), *cells])
    headings = ["number", *(str(stage["method"]) for stage in found)]
    return table(headings, rows, caption="Median (90 % interval) by each method")
