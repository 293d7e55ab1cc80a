"""The page of a fit: its sections in order."""

from __future__ import annotations

from pathlib import Path

from gammasky.engine.files import write_text
from gammasky.engine.infer.report import (
    checks,
    emulator,
    fields,
    headline,
    honest,
    provenance,
    side_by_side,
    sky,
    spectra,
)
from gammasky.engine.infer.report.fit_folder import FitFolder, read_fit
from gammasky.engine.infer.report.html import Head, page, require_own
from gammasky.engine.infer.report.numbers import number

GENERATOR = "gammasky report"
REPORT = "report.html"


def write_report(
    folder: Path, out: Path | None = None, *, threshold: float | None = None, overwrite: bool = False
) -> Path:
    """Write the fit in `folder` as one HTML page; see `report_page`.

    Args:
        folder: of a finished fit.
        out: the page; default: report.html in the folder. An older page of a fit is replaced.
        threshold [photons]: detection threshold of a catalogue; None: that of the data set, or an estimate.
        overwrite: replace whatever file is there.

    Returns:
        where the page is.

    Raises:
        InputError: see `read_fit`; or a file that is there is no page of a fit.
        OSError: what the file system refused; an older page is then still whole.
    """
    out = folder / REPORT if out is None else out
    if not overwrite:
        require_own(out, GENERATOR, "use `overwrite=True`, or choose another name")
    text = report_page(read_fit(folder), threshold)
    write_text(out, text)
    return out


def report_page(fit: FitFolder, threshold: float | None = None) -> str:
    """Make the page of a fit: the verdict first, then result, sky, checks and provenance.

    Everything that a browser needs is in the page; there is no script.

    Args:
        fit: what its folder holds.
        threshold [photons]: detection threshold of a catalogue; None: that of the data set, or an estimate.

    Raises:
        InputError: a figure or an entry that is damaged.
    """
    summary, posterior = fit.summary, fit.posterior
    method = fit.method or summary["fit"].get("guide")
    facts = [
        f"fitted {str(posterior.attributes.get('created_at', ''))[:10]}",
        *([f"method {method}"] if method else []),
        f"{number(posterior.n_draws)} draws",
        f"{number(len(posterior.counts))} pixels",
        f"{number(int(posterior.counts.sum()))} photons",
    ]
    sections = [
        headline.headline(fit),
        side_by_side.side_by_side(fit),
        honest.honest(fit),
        sky.maps(fit),
        fields.fields(fit),
        sky.corner(fit),
        sky.point_sources(fit, threshold),
        sky.fluxes(fit),
        spectra.spectra(fit),
        checks.predictive(fit),
        checks.prior_posterior(fit),
        checks.diagnostics(fit),
        emulator.emulator(fit),
        provenance.configuration(fit),
        provenance.references(fit),
    ]
    name, kind = summary["model_name"], f"on {summary['dataset']}"
    head = Head(f"{name} {kind}", name, kind, facts, posterior.spec.description, verdict=headline.verdict(fit))
    return page(__package__, f"{GENERATOR} {summary['versions'].get('gammasky', '')}", head, sections)
