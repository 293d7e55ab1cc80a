"""Sections about how good the fit is: predictive checks, prior against posterior, diagnostics, the ELBO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gammasky.engine.errors import InputError
from gammasky.engine.infer.derived import FLUX, QUOTED
from gammasky.engine.infer.figures.prior import drawing, panel
from gammasky.engine.infer.report.derived import derived_panels
from gammasky.engine.infer.report.diagnostics import DIAGNOSTICS, ERRORS, figure, with_error
from gammasky.engine.infer.report.fit_folder import FitFolder
from gammasky.engine.infer.report.html import Cell, Section, Table
from gammasky.engine.infer.report.numbers import number
from gammasky.engine.infer.report.side_by_side import QUANTITIES
from gammasky.engine.infer.report.sky import saved_figure
from gammasky.engine.model.parameters import block_parameters

SMALL_P = 0.05
RESIDUALS = (
    "PS map: signed −log₁₀ of the probability of the counts around each pixel under the fitted model; the largest is "
    "circled. Residuals of the same discs in counts, in standard deviations of replicated skies and in per cent."
)
PROFILES = (
    "Counts along longitude, latitude and radius, and angular power of the residuals, with bands that hold 68 and 95 % "
    "of the replicated skies."
)
FIT = {
    "status": "status",
    "elbo": "ELBO [nat]",
    "elbo_error": "its standard error [nat]",
    "laplace_log_density": "log density at the best point [nat]",
    "laplace_log_evidence": "log evidence by Laplace's method [nat]",
    "steps_done": "steps",
    "fit_seconds": "seconds in the fit",
    "wall_seconds": "seconds in all",
}


def predictive(fit: FitFolder) -> Section | None:
    """Posterior predictive p-values by band, and the figure."""
    found = fit.summary.get("predictive_checks")
    bands = found.get("bands") if isinstance(found, dict) else None
    if not bands and not isinstance(found, str):
        return None
    try:
        rows = [_band(band, whole=position == 0) for position, band in enumerate(bands or [])]
        p_values = [p for band in bands or [] for p in (band["p_counts"], band["p_dispersion"])]
        spots = _spots(found.get("ps_map") if isinstance(found, dict) else None)
        small = sum(p is not None and p < SMALL_P for p in p_values)
    except (KeyError, TypeError):
        raise InputError(f"{fit.folder / 'summary.json'}: damaged predictive_checks; run the fit again") from None
    headings = ["band", "counts", "expected", "p (counts)", "p (dispersion)"]
    values = {
        "told": found if isinstance(found, str) else "",
        "table": Table(headings, rows, "Posterior predictive p-values"),
        "replicas": found.get("replicas", "?") if isinstance(found, dict) else "",
        "unknown": found.get("unknown_around", 0) if isinstance(found, dict) else 0,
        "together": _p_value(found["p_together"]) if isinstance(found, dict) and "p_together" in found else "",
        "small": small,
        "limit": SMALL_P,
        "picture": saved_figure(
            fit, "predictive", "predictive checks", "Replicated skies beside the one seen.", wide=True
        ),
        "spots": spots,
        "residuals": saved_figure(fit, "residuals", "PS map and residuals", RESIDUALS),
        "profiles": saved_figure(fit, "profiles", "profiles and power of the residuals", PROFILES, wide=True),
    }
    return Section("predictive", "Predictive checks", values, "Checks")


def _spots(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The PS map in numbers; None where a fit of an older version has none."""
    if not found:
        return None
    rows: list[list[Cell | str]] = [
        [
            number(spot["lon"], 0.1), number(spot["lat"], 0.1), number(int(spot["counts"])),
            number(spot["expected"], 1.0), number(spot["ps"], 0.1), _p_value(spot["global_p"]),
        ]
        for spot in found["spots"]
    ]  # fmt: skip
    headings = ["ℓ [deg]", "b [deg]", "counts", "expected", "PS", "global p"]
    return {
        "table": Table(headings, rows, "Least probable counts in a disc", words=0),
        "global_p": number(found["global_p"], 0.001),
        "radius": number(found["radius_deg"], 0.1),
    }


def _band(band: Mapping[str, Any], *, whole: bool) -> list[Cell | str]:
    letter, unit = {"radius": ("r", "°"), "latitude": ("b", "°"), "energy": ("E", " GeV")}[band["coordinate"]]
    low, high = (number(band[end], None if letter == "E" else 1.0) for end in ("low", "high"))
    name = "whole region" if whole else f"{low}{unit} < {letter} < {high}{unit}"
    p_values = [_p_value(band["p_counts"]), _p_value(band["p_dispersion"])]
    return [name, number(int(band["counts"])), number(band["expected"], 10.0), *p_values]


def _p_value(p: float | None) -> Cell:
    """A p-value, bold where it is a reason to look closer. One that is not finite, null in the file, is a reason."""
    return Cell(number(p, 0.01), element="strong" if p is None or not p >= SMALL_P else "")


def prior_posterior(fit: FitFolder) -> Section:
    """Small multiples of prior and posterior, one for every number that was fitted."""
    posterior, columns = fit.posterior, fit.posterior.columns()
    panels, blocks = [], block_parameters(posterior.spec)
    for parameter, prior in posterior.spec.parameters.items():
        labels = posterior.elements[parameter]
        if parameter in blocks:
            continue
        for element, name in enumerate([f"{parameter}[{label}]" for label in labels] or [parameter]):
            truth = fit.summary["parameters"].get(name, {}).get("truth")
            panels.append(drawing(panel(name, prior, columns[name], truth, element, len(labels))))
    panels += derived_panels(fit, (FLUX, *QUOTED))
    known = any("truth" in entry for entry in fit.summary["parameters"].values())
    values = {"panels": panels, "known": known, "draws": number(len(next(iter(posterior.prior.values()), ())))}
    return Section("priors", "Prior against posterior", values, "Priors")


def diagnostics(fit: FitFolder) -> Section:
    """The numbers behind the verdict and those of the optimiser; what the table of methods shows is left out."""
    found = fit.entry("diagnostics") or {}
    left_out = {"method", *ERRORS.values(), *_told_by_stages(fit, found)}  # the page says the method at its top
    known = [name for name in DIAGNOSTICS if found.get(name) is not None]
    others = [name for name, value in found.items() if name not in known and isinstance(value, int | float | str)]
    rows = [[_named(name), with_error(name, found)] for name in (*known, *others) if name not in left_out]
    told = {*found, *(["laplace_log_density"] if found.get("optima") else [])}
    settings = {name: value for name, value in fit.summary["fit"].items() if name not in told}
    optimiser = [[text, figure(name, settings[name])] for name, text in FIT.items() if settings.get(name)]
    tables = [
        Table(["diagnostic", "value"], rows, "Diagnostics"),
        Table(["optimum", "log density", "starts"], _optima(fit, found), "Optima, and how many starts led to each"),
        Table(["quantity", "value"], optimiser, "The fit"),
    ]
    trace = saved_figure(fit, "elbo", "trace of the ELBO", "ELBO of each step, and its running mean.")
    values = {"tables": [table for table in tables if table.rows], "picture": trace}
    return Section("diagnostics", "Diagnostics", values, "Diagnostics")


def _told_by_stages(fit: FitFolder, found: Mapping[str, Any]) -> set[str]:
    """Diagnostics that the table of the stages shows."""
    shown = {*QUANTITIES, "ess_bulk_min", "ess_tail_min"}
    stages = fit.entry("stages") or []
    return {name for name in shown & found.keys() if any(stage.get(name) == found[name] for stage in stages)}


def _named(name: str) -> Cell:
    """The name of a diagnostic, with a hint in small print."""
    return Cell(*DIAGNOSTICS.get(name, (name.replace("_", " "), "")))


def _optima(fit: FitFolder, found: Mapping[str, Any]) -> list[list[str]]:
    """The different best points that were found, the highest first, and from how many starts."""
    try:
        return [
            [str(place), figure("log_density", optimum["log_density"]), number(optimum["starts"])]
            for place, optimum in enumerate(found.get("optima") or [], start=1)
        ]
    except (KeyError, TypeError):
        raise InputError(f"{fit.folder / 'summary.json'}: damaged optima; run the fit again") from None


def settings_table(fit: FitFolder) -> Table:
    """The settings that the method of the fit reads."""
    asked = {name: value for name, value in fit.settings.items() if name not in FIT}
    rows = [
        [name.replace("_", " "), number(value) if isinstance(value, float) else str(value)]
        for name, value in asked.items()
    ]
    return Table(["setting", "value"], rows)
