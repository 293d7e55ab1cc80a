"""Sections about what the numbers rest on: model, settings, versions, data, and the papers to cite."""

from __future__ import annotations

from gammasky.engine.citation import Citation
from gammasky.engine.infer import godambe, honest
from gammasky.engine.infer.citations import bibtex, citations, datasets_of, works_measured, works_of_method
from gammasky.engine.infer.methods import METHODS
from gammasky.engine.infer.methods.svi import Svi
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
    method = fit.method or Svi.name  # which is what fits were before they said
    settings = {"emulator": False, **fit.settings}  # before there was a copy, no fit said that it had none
    of_fit = [*works_of_method(method, settings)] if method in METHODS else []
    of_fit += works_measured(fit.entry("diagnostics") or {})
    of_fit += [*godambe.CITATIONS, *honest.CITATIONS] if fit.summary.get("honest") else []
    return citations(fit.posterior.spec, datasets_of(fit.summary["dataset"], fit.summary["data_sha256"]), of_fit)
