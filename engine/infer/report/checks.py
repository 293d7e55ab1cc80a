"""How good the fit is: predictive checks, prior against posterior, diagnostics, the ELBO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gammasky.engine.errors import InputError
from gammasky.engine.infer.figures.prior import panel, svg
from gammasky.engine.infer.report.diagnostics import DIAGNOSTICS, ERRORS, figure, with_error
from gammasky.engine.infer.report.fit_folder import FitFolder
from gammasky.engine.infer.report.headline import with_unit
from gammasky.engine.infer.report.markup import Markup, details, joined, section, table, tag
from gammasky.engine.infer.report.numbers import number
from gammasky.engine.infer.report.side_by_side import QUANTITIES
from gammasky.engine.infer.report.sky import saved_figure

SMALL_P = 0.05
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


def predictive(fit: FitFolder) -> Markup:
    """Posterior predictive p-values by band, and the figure."""
    found = fit.summary.get("predictive_checks")
    if isinstance(found, str):
        return section("predictive", "Predictive checks", tag("p", found))
    if not isinstance(found, dict) or not found.get("bands"):
        return Markup("")
    bands = found["bands"]
    try:
        rows = [_band(band, whole=position == 0) for position, band in enumerate(bands)]
        small = sum(p < SMALL_P for band in bands for p in (band["p_counts"], band["p_dispersion"]))
    except (KeyError, TypeError):
        raise InputError(f"{fit.folder / 'summary.json'}: damaged predictive_checks; run the fit again") from None
    note = (
        f"{found.get('replicas', '?')} skies replicated from draws of the posterior. {small} of {2 * len(bands)} "
        f"p-values are below {SMALL_P:g} (bold). Posterior predictive p-values crowd around one half even for a "
        "perfect model, and bands overlap: a small one means more than its number, a moderate one less."
    )
    headings = ["band", "counts", "expected", "p (counts)", "p (dispersion)"]
    figure = saved_figure(fit, "predictive", "predictive checks", "Replicated skies beside the one seen.", wide=True)
    return section(
        "predictive", "Predictive checks", table(headings, rows, caption="Posterior predictive p-values"),
        tag("p", note, class_="note"), figure,
    )  # fmt: skip


def _band(band: Mapping[str, Any], *, whole: bool) -> list[Markup | str]:
    letter = "r" if band["coordinate"] == "radius" else "b"
    name = "whole region" if whole else f"{number(band['low'], 1.0)}° < {letter} < {number(band['high'], 1.0)}°"
    return [
        name,
        number(int(band["counts"])),
        number(band["expected"], 10.0),
        _p(band["p_counts"]),
        _p(band["p_dispersion"]),
    ]


def _p(value: float) -> Markup | str:
    text = f"{value:.3f}"
    return tag("strong", text) if value < SMALL_P else text


def prior_posterior(fit: FitFolder) -> Markup:
    """Small multiples of prior and posterior, one for every number that was fitted."""
    posterior, columns = fit.posterior, fit.posterior.columns()
    shown = []
    for parameter, prior in posterior.spec.parameters.items():
        labels = posterior.elements[parameter]
        for element, name in enumerate([f"{parameter}[{label}]" for label in labels] or [parameter]):
            truth = fit.summary["parameters"].get(name, {}).get("truth")
            drawn = panel(name, prior, columns[name], truth, element, len(labels))
            label = joined(["log₁₀ " if drawn.log10 else None, with_unit(name, drawn.unit)])
            shown.append(tag("figure", Markup(svg(drawn)), tag("figcaption", label)))
    note = "Filled: posterior. Line: prior. A posterior as wide as its prior was not informed by the data."
    known = any("truth" in entry for entry in fit.summary["parameters"].values())
    note += " Vertical: the truth of the simulation." if known else ""
    return section(
        "priors", "Prior against posterior", tag("p", note, class_="note"), tag("div", *shown, class_="panels")
    )


def diagnostics(fit: FitFolder) -> Markup:
    """The numbers behind the verdict and those of the optimiser, but for what stands beside other methods already."""
    found = fit.entry("diagnostics") or {}
    left_out = {"method", *ERRORS.values(), *_told_by_stages(fit, found)}  # the page says the method at its top
    known = [name for name in DIAGNOSTICS if found.get(name) is not None]
    others = [name for name, value in found.items() if name not in known and isinstance(value, int | float | str)]
    rows = [[_named(name), with_error(name, found)] for name in (*known, *others) if name not in left_out]
    told = {*found, *(["laplace_log_density"] if found.get("optima") else [])}
    settings = {name: value for name, value in fit.summary["fit"].items() if name not in told}
    optimiser = [[text, figure(name, settings[name])] for name, text in FIT.items() if settings.get(name)]
    content = [
        table(["diagnostic", "value"], rows, caption="Diagnostics") if rows else None,
        _optima(fit, found.get("optima")),
        table(["quantity", "value"], optimiser, caption="The fit") if optimiser else None,
        saved_figure(fit, "elbo", "trace of the ELBO", "ELBO of each step, and its running mean."),
    ]
    return section("diagnostics", "Diagnostics", *content)


def _told_by_stages(fit: FitFolder, found: Mapping[str, Any]) -> set[str]:
    """Diagnostics that the table of the stages shows."""
    shown = {*QUANTITIES, "ess_bulk_min", "ess_tail_min"}
    stages = fit.entry("stages") or []
    return {name for name in shown & found.keys() if any(stage.get(name) == found[name] for stage in stages)}


def _named(name: str) -> Markup:
    """What a diagnostic is called, with a hint in small print."""
    text, hint = DIAGNOSTICS.get(name, (name.replace("_", " "), ""))
    return joined([text, tag("small", hint, class_="hint") if hint else None])


def _optima(fit: FitFolder, optima: Any) -> Markup | None:
    """The different best points that were found, the highest first, and from how many starts."""
    if not optima:
        return None
    try:
        rows = [
            [str(place), figure("log_density", optimum["log_density"]), number(optimum["starts"])]
            for place, optimum in enumerate(optima, start=1)
        ]
    except (KeyError, TypeError):
        raise InputError(f"{fit.folder / 'summary.json'}: damaged optima; run the fit again") from None
    return table(["optimum", "log density", "starts"], rows, caption="Optima, and how many starts led to each")


def settings_table(fit: FitFolder) -> Markup:
    """What the fit was asked to do, of the settings that its method reads."""
    asked = {name: value for name, value in fit.settings.items() if name not in FIT}
    rows = [
        [name.replace("_", " "), number(value) if isinstance(value, float) else str(value)]
        for name, value in asked.items()
    ]
    return details("Settings", table(["setting", "value"], rows)) if rows else Markup("")
