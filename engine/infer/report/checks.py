"""How good the fit is: predictive checks, prior against posterior, diagnostics, the ELBO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gammasky.engine.errors import InputError
from gammasky.engine.infer.figures.prior import panel, svg
from gammasky.engine.infer.report.headline import with_unit
from gammasky.engine.infer.report.markup import Markup, details, joined, section, table, tag
from gammasky.engine.infer.report.numbers import number
from gammasky.engine.infer.report.result import FitFolder
from gammasky.engine.infer.report.sky import saved_figure

SMALL_P = 0.05
NATS = frozenset(
    {"elbo", "elbo_error", "log_z", "log_z_error", "laplace_log_density", "laplace_log_evidence"}
)  # differences of 0.1 matter
DIAGNOSTICS = {
    "method": ("method", ""),
    "elbo": ("ELBO", "nat; a lower bound of log Z"),
    "log_z": ("log evidence log Z", "nat"),
    "log_z_error": ("its standard error", "nat"),
    "k_hat": ("Pareto k-hat of the importance weights", "above 0.7 the weights cannot be trusted"),
    "ess": ("effective sample size of the weighted draws", ""),
    "efficiency": ("importance efficiency", "effective over drawn"),
    "max_psis_shift_sd": ("largest shift of a marginal by reweighting", "sd; above 0.2 the unweighted draws mislead"),
    "r_hat_max": ("largest R-hat", "above 1.01 the chains disagree"),
    "ess_bulk_min": ("smallest bulk effective sample size", "at least 400"),
    "ess_tail_min": ("smallest tail effective sample size", "at least 400"),
    "divergences": ("divergent transitions", "0, or few"),
}
FIT = {
    "status": "status",
    "elbo": "ELBO [nat]",
    "elbo_error": "its standard error [nat]",
    "laplace_log_density": "log density at the best point",
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
    """The numbers behind the verdict and those of the optimiser."""
    found = fit.entry("diagnostics") or {}
    rows: list[list[Markup | str]] = [
        [joined([text, tag("small", hint, class_="hint") if hint else None]), _figure(name, found[name])]
        for name, (text, hint) in DIAGNOSTICS.items()
        if found.get(name) is not None
    ]
    rows += [
        [name.replace("_", " "), _figure(name, value)]
        for name, value in found.items()
        if name not in DIAGNOSTICS and isinstance(value, int | float | str)
    ]
    settings = fit.summary["fit"]
    optimiser = [[text, _figure(name, settings[name])] for name, text in FIT.items() if settings.get(name) is not None]
    content = [
        table(["diagnostic", "value"], rows, caption="Diagnostics") if rows else None,
        _evidence(found.get("log_z_by_method")),
        table(["quantity", "value"], optimiser, caption="The fit") if optimiser else None,
        saved_figure(fit, "elbo", "trace of the ELBO", "ELBO of each step, and its running mean."),
    ]
    return section("diagnostics", "Diagnostics", *content)


def _figure(name: str, value: Any) -> str:
    """A diagnostic with the digits that matter."""
    return number(value, 0.1 if name in NATS else None)


def _evidence(by_method: Any) -> Markup | None:
    """log Z of each method with its error."""
    if not isinstance(by_method, dict) or not by_method:
        return None
    rows = []
    for method, value in by_method.items():
        middle, error = value if isinstance(value, list) and len(value) == 2 else (value, None)
        rows.append([str(method), number(middle, 0.1), number(error, 0.1)])
    return table(["method", "log Z", "error"], rows, caption="Evidence by method [nat]")


def settings_table(fit: FitFolder) -> Markup:
    """What the fit was asked to do."""
    asked = {name: value for name, value in fit.summary["fit"].items() if name not in FIT}
    rows = [
        [name.replace("_", " "), number(value) if isinstance(value, float) else str(value)]
        for name, value in asked.items()
    ]
    return details("Settings", table(["setting", "value"], rows)) if rows else Markup("")
