"""What the numbers rest on: model, settings, versions, data, and the papers to cite."""

from __future__ import annotations

from gammasky.engine.infer.citations import Citation, bibtex, citations, datasets_of
from gammasky.engine.infer.report.checks import settings_table
from gammasky.engine.infer.report.fit_folder import FitFolder
from gammasky.engine.infer.report.markup import Markup, details, section, table, tag
from gammasky.engine.infer.report.model_toml import model_toml


def configuration(fit: FitFolder) -> Markup:
    """The model as TOML, the settings of the fit, versions and checksums."""
    spec, summary = fit.posterior.spec, fit.summary
    versions = [[name, str(version)] for name, version in summary["versions"].items()]
    files = [[name, tag("code", str(sha256))] for name, sha256 in summary["data_sha256"].items()]
    return section(
        "configuration",
        "Configuration",
        details(f"Model “{spec.name}”, as gammasky fit reads it", tag("pre", model_toml(spec), tabindex="0")),
        settings_table(fit),
        details("Versions", table(["package", "version"], versions, words=2)),
        details(f"Data “{summary['dataset']}”: SHA-256 of its files", table(["file", "SHA-256"], files, words=2)),
    )


def references(fit: FitFolder) -> Markup:
    """The works behind the fit and their BibTeX."""
    works = works_of(fit)
    summary = ", ".join(dict.fromkeys(work.why for work in works))
    return section(
        "cite",
        "What to cite",
        tag(
            "p",
            f"{len(works)} works: {summary}. The same from a terminal: ",
            tag("code", "gammasky cite --fit DIR"),
            ".",
        ),
        details("BibTeX", tag("pre", bibtex(works), tabindex="0")),
    )


def works_of(fit: FitFolder) -> list[Citation]:
    """What a fit asks to be cited."""
    found = fit.entry("diagnostics") or {}
    measured = [name for name in ("k_hat", "r_hat_max") if found.get(name) is not None]
    names = [fit.method, *_objective(fit), *(found.get("log_z_by_method") or {}), *measured]
    datasets = datasets_of(fit.summary["dataset"], fit.summary["data_sha256"])
    return citations(fit.posterior.spec, datasets, [name for name in names if name])


def _objective(fit: FitFolder) -> list[str]:
    """The guide and what its bound on log Z rests on, of a fit that has a guide."""
    guide, alpha = fit.settings.get("guide"), fit.settings.get("alpha")
    if guide is None:
        return []
    guide = "flow" if fit.method == "auto" else str(guide)  # auto fits no other
    lower = isinstance(alpha, int | float) and alpha < 1.0
    return [guide, *(["renyi"] if lower else []), *(["dreg"] if lower and guide == "flow" else [])]
