"""The section about energy: spectra of the components, and the point-source fraction of each bin."""

from __future__ import annotations

from typing import Any

import numpy as np

from gammasky.engine.infer.energy_spectra import EnergySpectra, exposures_of
from gammasky.engine.infer.report.fit_folder import FitFolder, Posterior
from gammasky.engine.infer.report.html import Section, Table
from gammasky.engine.infer.report.numbers import interval, number
from gammasky.engine.infer.report.sky import saved_figure

SPECTRA = "Energy spectra: median, 68 % and 95 % in each energy bin; hatched: point sources."
SCALE = 1e-7  # GeV cm^-2 s^-1 sr^-1


def energy_spectra(posterior: Posterior) -> EnergySpectra | None:
    """The spectra in a posterior file; None where it has one energy bin."""
    if posterior.bin_fluxes is None:
        return None
    pixels, components = posterior.pixels, posterior.spec.components
    mean, reference = (np.asarray(pixels[name].values) for name in ("mean_exposure", "reference_exposure"))
    return EnergySpectra(
        components, np.asarray(pixels["energy_edges"].values), posterior.bin_fluxes,
        exposures_of(components, mean, reference), float(pixels.attrs["pixel_area_sr"]),
    )  # fmt: skip


def spectra(fit: FitFolder) -> Section | None:
    """The figure, a table of E^2 dN/dE, and one of point-source fractions by bin."""
    found = energy_spectra(fit.posterior)
    if found is None:
        return None
    rows = [
        [component.name, *(_entry(found.sed[:, c, e] / SCALE) for e in range(len(found.labels)))]
        for c, component in enumerate(found.components)
    ]
    fractions = [[group, *map(_entry, draws.T)] for group, draws in found.fractions.items()]
    values: dict[str, Any] = {
        "picture": saved_figure(fit, "sed", "energy spectra of the components", SPECTRA),
        "table": Table(["component", *found.labels], rows, "E² dN/dE in 10⁻⁷ GeV cm⁻² s⁻¹ sr⁻¹: median (68 %)"),
        "fractions": Table(["group", *found.labels], fractions, "Point-source fraction by energy: median (68 %)"),
    }
    return Section("spectra", "Energy spectra", values, "Spectra")


def _entry(draws: np.ndarray) -> str:
    low, middle, high = (float(value) for value in np.quantile(draws, (0.16, 0.5, 0.84)))
    spread = 0.5 * (high - low)
    return f"{number(middle, spread)} ({interval(low, high, spread)})"
