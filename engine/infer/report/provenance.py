"""Sections about what the numbers rest on: model, settings, versions, data, and the papers to cite."""

from __future__ import annotations

from gammasky.engine.infer.citations import Citation, bibtex, citations, datasets_of
from gammasky.engine.infer.report.checks import settings_table
from gammasky.engine.infer.report.fit_folder import FitFolder
from gammasky.engine.infer.report.html import Cell, Section, Table
from gammasky.engine.infer.report.model_toml import model_toml


def configuration(fit: FitFolder) -> Section:
    """The model as TOML, the settings of the fit, versions and checksums."""
    spec, summary = fit.posterior.spec, fit.summary
    versions = [[name, str(version)] for name, version in summary["versions"].items()]
    files = [[name, Cell(str(sha256), element="code")] for name, sha256 in summary["data_sha256"].items()]
    values = {
        "model": spec.name,
        "toml": model_toml(spec),
        "settings": settings_table(fit),
        "versions": Table(["package", "version"], versions, words=2),
        "dataset": summary["dataset"],
        "files": Table(["file", "SHA-256"], files, words=2),
    }
    return Section("configuration", "Configuration", values, "Configuration")


def references(fit: FitFolder) -> Section:
    """The works behind the fit and their BibTeX."""
    works = works_of(fit)
    return Section("cite", "What to cite", {"works": works, "bibtex": bibtex(works)}, "Cite")


def works_of(fit: FitFolder) -> list[Citation]:
    """List what a fit asks to be cited."""
    found = fit.entry("diagnostics") or {}
    measured = [name for name in ("k_hat", "r_hat_max") if found.get(name) is not None]
    names = [fit.method, *_objective(fit), *(found.get("log_z_by_method") or {}), *measured]
    datasets = datasets_of(fit.summary["dataset"], fit.summary["data_sha256"])
    return citations(fit.posterior.spec, datasets, [name for name in names if name])


def _objective(fit: FitFolder) -> list[str]:
    """Name the guide of a fit, if it has one, and what its bound on log Z rests on."""
    guide, alpha = fit.settings.get("guide"), fit.settings.get("alpha")
    if guide is None:
        return []
    guide = "flow" if fit.method == "auto" else str(guide)  # auto fits no other
    lower = isinstance(alpha, int | float) and alpha < 1.0
    return [guide, *(["renyi"] if lower else []), *(["dreg"] if lower and guide == "flow" else [])]
