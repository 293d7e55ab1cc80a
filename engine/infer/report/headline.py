"""The top of the page: how far the fit can be trusted, and its main results."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.derived import FLUX, POINT_SOURCE_FRACTION
from gammasky.engine.infer.report.fit_folder import FitFolder
from gammasky.engine.infer.report.html import Cell, Section, Table
from gammasky.engine.infer.report.numbers import described, interval, number, width

Floats = NDArray[np.float64]
LEVELS = {
    "reliable": ("✓", "The checks that were made found nothing wrong."),
    "preview": ("◐", "Good enough to look at, not to quote."),
    "unreliable": ("✕", "Do not quote these numbers."),
}
GROUPS = {"gce": "the Galactic Centre excess"}
STRIP_BINS = 80
INTERVALS = ("median", "68 %", "90 %")


def verdict(fit: FitFolder) -> dict[str, Any] | None:
    """The verdict with its reasons and remedy, where the fit has one."""
    found = fit.entry("verdict")
    if not isinstance(found, dict) or not found.get("level"):
        return None
    sign, meaning = LEVELS.get(str(found["level"]).lower(), ("?", ""))
    return {"reasons": (), "remedy": "", **found, "sign": sign, "meaning": meaning}


def headline(fit: FitFolder) -> Section | None:
    """Point-source fraction of each group, the fluxes of its components, the main parameters."""
    shares = [_share(fit, group, entry) for group, entry in fit.summary[POINT_SOURCE_FRACTION].items()]
    names = [name for name in fit.summary.get("main_parameters", []) if name in fit.summary["parameters"]]
    rows = {name: fit.summary["parameters"][name] for name in names}
    if not shares and not rows:
        return None
    values = {"shares": shares, "parameters": _parameters(rows) if rows else None}
    return Section("headline", "Result", values, "Result")


def _parameters(rows: Mapping[str, Mapping[str, Any]]) -> Table:
    """Name and unit, truth where one is known, median and intervals."""
    known = any("truth" in entry for entry in rows.values())
    body: list[list[Cell | str]] = [
        [
            Cell(name, str(entry.get("unit", ""))),
            *([number(entry.get("truth"), width(entry))] if known else []),
            *described(entry),
        ]
        for name, entry in rows.items()
    ]
    return Table(["parameter", *(["truth"] if known else []), *INTERVALS], body, "Main parameters")


def _share(fit: FitFolder, group: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The point-source fraction of one group, with its distribution and the fluxes behind it."""
    spread, truth, name = width(entry), entry.get("truth"), f"{POINT_SOURCE_FRACTION}[{group}]"
    column, prior = fit.posterior.columns().get(name), fit.posterior.prior.get(name)
    return {
        "what": GROUPS.get(group, f"the group “{group}”"),
        "median": number(entry.get("q50"), spread),
        "inner": interval(entry.get("q16"), entry.get("q84"), spread),
        "outer": interval(entry.get("q05"), entry.get("q95"), spread),
        "truth": "" if truth is None else number(truth, spread),
        "prior": "" if prior is None else interval(np.quantile(prior, 0.05), np.quantile(prior, 0.95), 0.1),
        "strip": None if column is None else strip(column, truth, prior),
        "tiles": [
            _tile(component.name, component.of_sources, fit.summary[FLUX].get(component.name, {}))
            for component in fit.posterior.spec.components
            if component.group == group
        ],
    }


def _tile(name: str, points: bool, entry: Mapping[str, Any]) -> dict[str, str]:
    """Flux of one component with its 68 % interval."""
    middle, inner, _ = described(entry)
    return {"name": name, "kind": "point sources" if points else "smooth", "flux": middle, "interval": inner}


def strip(draws: Floats, truth: float | None = None, prior: Floats | None = None) -> dict[str, Any]:
    """The drawing of the distribution of a share between 0 and 1, and of its prior: the lines of `strip.svg`."""
    shares = _smooth_shares(draws)
    top, x = shares.max(), 10 + 300 * (np.arange(STRIP_BINS) + 0.5) / STRIP_BINS

    def line(heights: Floats) -> str:
        y = 70 - 60 * np.minimum(heights / top, 1.1)  # a prior that is higher leaves the drawing
        return "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))

    return {
        "posterior": f"M{x[0]:.1f} 70L{line(shares)}L{x[-1]:.1f} 70Z",
        "prior": "" if prior is None else f"M{line(_smooth_shares(prior))}",
        "quantiles": (10 + 300 * np.quantile(draws, (0.05, 0.16, 0.5, 0.84, 0.95))).tolist(),
        "truth": None if truth is None else 10 + 300 * truth,
    }


def _smooth_shares(draws: Floats) -> Floats:
    """The part of the draws in each bin of the strip, smoothed over five bins."""
    shares = np.histogram(draws, STRIP_BINS, (0.0, 1.0))[0] / len(draws)
    return np.convolve(np.pad(shares, 2, mode="edge"), [0.1, 0.2, 0.4, 0.2, 0.1], mode="valid")
