"""Sections about the sky: maps, corner, source counts, numbers of sources, fluxes and intensities."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.citations import datasets_of
from gammasky.engine.infer.derived import FLUX, LUMINOSITY
from gammasky.engine.infer.report import sources
from gammasky.engine.infer.report.fit_folder import FitFolder
from gammasky.engine.infer.report.headline import INTERVALS
from gammasky.engine.infer.report.html import Picture, Section, Table, picture
from gammasky.engine.infer.report.numbers import decimals, described, interval, number, width

Floats = NDArray[np.float64]
Bands = Mapping[str, tuple[float, float]]

MAPS = "Counts, posterior-mean model and residual in Galactic coordinates; masked pixels, grey, are not fitted."
MAPS_BY_BIN = "The first row is of all energy bins together, each further row of one."
CORNER = (
    "Marginals with median and 68 % interval, contours that hold 68 % and 95 % of the mass; the truth, where it is "
    "known, as lines with a square where they cross."
)
SOURCE_COUNTS = (
    "Median, 68 % and 95 % bands. Sources that give about one photon or less look like smooth emission: left of that "
    "line the prior decides."
)


def saved_figure(fit: FitFolder, name: str, alt: str, caption: str, *, wide: bool = False) -> Picture | None:
    """A figure that the fit left, or nothing."""
    if name not in fit.figures:
        return None
    return picture(fit.figures[name], alt, caption, str(fit.folder / "figures" / f"{name}.png"), wide=wide)


def maps(fit: FitFolder) -> Section | None:
    """The section with maps of counts, model and residual."""
    from gammasky.engine.infer.figures.maps import MOST_BINS

    by_bin = fit.posterior.bin_fluxes is not None and fit.posterior.bin_fluxes.shape[-1] <= MOST_BINS
    caption = f"{MAPS} {MAPS_BY_BIN}" if by_bin else MAPS
    return _one("maps", "Maps", saved_figure(fit, "maps", "maps of counts, model and residual", caption, wide=True))


def corner(fit: FitFolder) -> Section | None:
    """The section with the corner plot."""
    return _one("corner", "Correlations", saved_figure(fit, "corner", "corner plot", CORNER, wide=True))


def _one(identity: str, title: str, figure: Picture | None) -> Section | None:
    """A section that holds one picture."""
    return None if figure is None else Section(identity, title, {"picture": figure}, title, "picture.html")


def point_sources(fit: FitFolder, threshold: float | None) -> Section | None:
    """dN/dS with bands, the lines of one photon and of detection, and the numbers of sources."""
    posterior = fit.posterior
    if not posterior.dnds:
        return None
    known_bands = catalogue_thresholds(fit) if threshold is None else {}
    lines, at, note = _threshold(fit, threshold, known_bands)
    grid = posterior.spec.source_grid
    flux, true_flux = posterior.draws[FLUX][posterior.source_draws], true_draws(fit).get(FLUX)
    if grid.in_flux:
        flux = sources.photon_fluxes(posterior)[posterior.source_draws]
        true_flux = None if posterior.true_dnds is None else sources.true_photon_fluxes(posterior, flux)
    one = 1 / sources.source_exposure_cm2_s(posterior) if grid.in_flux else 1.0  # one photon
    curves, truth = posterior.dnds, posterior.true_dnds
    known = truth is not None and true_flux is not None
    if truth is not None and true_flux is not None:  # the truth is one more draw, the last
        flux = np.concatenate([flux, true_flux])
        curves = {name: np.concatenate([values, truth[name][None]]) for name, values in curves.items()}
    image = _draw(fit, curves, known, {"1 photon": 1.0, **lines}, known_bands, one)
    shown = picture(image, "source-count functions with credible bands", f"{SOURCE_COUNTS} {note}", "dnds")
    values = {
        "picture": shown,
        "numbers": _numbers(fit, curves, flux, known, at, one),
        "pixels": f"{sources.pixels_of_region(posterior):,}",
        "luminosity": _luminosity(fit),
    }
    return Section("sources", "Point sources", values, "Point sources")


def _luminosity(fit: FitFolder) -> Table | None:
    """Mean luminosities and numbers of sources of populations with a luminosity function."""
    entries = fit.summary.get(LUMINOSITY, {})
    known = any("truth" in entry for entry in entries.values())
    rows = [
        [name, *([number(entry.get("truth"), width(entry))] if known else []), *described(entry), entry["unit"]]
        for name, entry in entries.items()
    ]
    headings = ["number", *(["truth"] if known else []), *INTERVALS, "unit"]
    return Table(headings, rows, "Luminosities and numbers of sources") if rows else None


def catalogue_thresholds(fit: FitFolder) -> Bands:
    """Source counts (low, high) between which the sources of a catalogue begin to be resolved, by its name.

    They are of the shipped data sets whose files were fitted; none with several energy bins.
    """
    exposure = sources.reference_exposure_cm2_s(fit.posterior)
    if exposure is None:
        return {}
    bands: dict[str, tuple[float, float]] = {}
    for manifest in datasets_of(fit.summary["dataset"], fit.summary["data_sha256"]):
        bands |= manifest.thresholds_in_counts(exposure)
    return bands


def _threshold(fit: FitFolder, given: float | None, known: Bands) -> tuple[dict[str, float], float, str]:
    """Lines to draw besides those known, source counts and explanation of the detection threshold."""
    if given is not None:
        lines = {"catalogue (as given)": given}
        return lines, given, f"The catalogue threshold of {number(given)} photons was given."
    if known:
        name, (low, high) = next(iter(known.items()))
        return {}, high, f"Grey: where sources of {name} begin to be resolved, {low:.0f} to {high:.0f} photons."
    background = float(fit.posterior.counts.mean())
    if not background > 0:
        return {}, float("nan"), "There are no photons to estimate a detection threshold from."
    counts = sources.detectable_counts(background)
    return (
        {"≈ 5 σ in one pixel": counts},
        counts,
        f"The line at {counts:.0f} photons is an estimate, not a catalogue's threshold: a source whose photons all "
        f"fall into one pixel of the mean count, {background:.3g}, stands out there by 5 σ. Photons spread over "
        "several pixels, which raises it; a catalogue from more data reaches deeper.",
    )


def _draw(
    fit: FitFolder,
    curves: Mapping[str, Floats],
    known: bool,
    lines: Mapping[str, float],
    thresholds: Bands,
    one: float,
) -> bytes:
    """Draw dN/dS (n, S) by population as PNG. Where the truth is `known`, it is the last draw; `one` is one photon."""
    from gammasky.engine.infer.figures.compare import Curve, draw_dnds
    from gammasky.engine.infer.figures.style import DPI, styled

    grid, content = fit.posterior.spec.source_grid.points(), BytesIO()
    drawn = [
        Curve(name, grid, values[:-1] if known else values, values[-1] if known else None)
        for name, values in curves.items()
    ]
    with styled():
        in_flux = fit.posterior.spec.source_grid.in_flux
        exposure = None if in_flux else sources.reference_exposure_cm2_s(fit.posterior)
        lines = {name: one * photons for name, photons in lines.items()}
        thresholds = {name: (one * low, one * high) for name, (low, high) in thresholds.items()}
        figure = draw_dnds({"": drawn}, lines=lines, thresholds=thresholds, exposure_cm2_s=exposure, in_flux=in_flux)
        figure.savefig(content, dpi=DPI, format="png", facecolor="white")
    return content.getvalue()


def true_draws(fit: FitFolder) -> dict[str, Floats]:
    """The parameters that simulated counts were drawn with, as one draw (1, ...), as far as they are known in full."""
    found = {}
    for name, table_name in [*((name, "parameters") for name in fit.posterior.spec.parameters), (FLUX, FLUX)]:
        labels = fit.posterior.elements[name]
        of_flux = table_name == FLUX
        names = [label if of_flux else f"{name}[{label}]" for label in labels] or [name]
        values = [fit.summary[table_name].get(entry, {}).get("truth") for entry in names]
        if all(isinstance(value, int | float) for value in values):
            found[name] = np.array([values if labels else values[0]], dtype=np.float64)
    return found


def _numbers(fit: FitFolder, curves: Mapping[str, Floats], flux: Floats, known: bool, at: float, one: float) -> Table:
    """Count the sources of each population, in all and above two brightnesses; `one` is one photon."""
    posterior, (lowest, _, unit) = fit.posterior, fit.posterior.spec.source_grid.limits
    faintest = f"S ≥ {lowest:g}" if unit == "counts" else f"F ≥ {lowest:.2g} cm⁻² s⁻¹"
    columns = {f"all ({faintest})": lowest, "above 1 photon": max(one, lowest)}
    if np.isfinite(at):
        columns[f"above {at:.0f} photons"] = at * one
    rows = []
    for name, values in curves.items():
        found = [sources.number_of_sources(posterior, name, flux, values, limit) for limit in columns.values()]
        rows.append([name, *(_quantiles(numbers[:-1] if known else numbers) for numbers in found)])
        if known:
            rows.append([f"{name}, truth", *(count(float(numbers[-1])) for numbers in found)])
    return Table(["population", *columns], rows, "Number of sources")


def _quantiles(values: Floats) -> str:
    low2, low, middle, high, high2 = (
        count(float(value)) for value in np.quantile(values, (0.05, 0.16, 0.5, 0.84, 0.95))
    )
    return f"{middle} ({low} – {high}; {low2} – {high2})"


def count(value: float) -> str:
    """A number of sources with three digits: 0.12, 3.4, 56, 1,230, 45,600."""
    if value < 9.95:
        return f"{value:.2f}" if value < 0.995 else f"{value:.1f}"
    step = 10 ** max(int(np.floor(np.log10(value))) - 2, 0)
    return f"{round(value / step) * step:,d}"


def fluxes(fit: FitFolder) -> Section:
    """Flux of each component: counts, share of all emission, intensity."""
    posterior = fit.posterior
    draws, names = posterior.draws[FLUX], posterior.elements[FLUX]
    total = draws.sum(axis=1)
    area, exposure = sources.pixel_area_sr(posterior), sources.exposure_cm2_s(posterior)
    scale = None if exposure is None else 1 / (float(exposure.mean()) * area)
    known = any("truth" in entry for entry in fit.summary[FLUX].values())
    kinds = {c.name: "point sources" if c.of_sources else "smooth" for c in posterior.spec.components}
    rows = []
    for column, name in enumerate(names):
        entry: Mapping[str, Any] = fit.summary[FLUX].get(name, {})
        truth = [number(entry.get("truth"), width(entry))] if known else []
        intensity = [] if scale is None else [_intensity(draws[:, column] * scale)]
        rows.append([name, kinds[name], *truth, *described(entry), _share(draws[:, column], total), *intensity])
    headings = ["component", "kind", *(["truth"] if known else []), *INTERVALS, "share"]
    if scale is not None:
        headings.append("intensity (10⁻⁷)")
    caption = "Mean counts per pixel, share of all emission" + (", intensity" if scale else "")
    violins = "Posterior of the fluxes and of the point-source fraction."
    values: dict[str, Any] = {
        "table": Table(headings, rows, caption, words=2),
        "picture": saved_figure(fit, "fluxes", "violins of the fluxes", violins),
        "area": number(area),
        "exposure": "",
    }
    if exposure is not None:
        values["exposure"] = number(float(exposure.mean()))
        values["spread"] = f"{50 * (exposure.max() - exposure.min()) / exposure.mean():.0f}"
    return Section("fluxes", "Fluxes and intensities", values, "Fluxes")


def _share(part: Floats, total: Floats) -> str:
    """Median and 68 % interval of a percentage."""
    low, middle, high = 100 * np.quantile(part / total, (0.16, 0.5, 0.84))
    digits = min(decimals(0.5 * (high - low)), 2)
    return f"{middle:.{digits}f} % ({low:.{digits}f} – {high:.{digits}f})".replace("-", "−")


def _intensity(values: Floats) -> str:
    low, middle, high = (float(value) for value in 1e7 * np.quantile(values, (0.16, 0.5, 0.84)))
    spread = 0.5 * (high - low)
    return f"{number(middle, spread)} ({interval(low, high, spread)})"
