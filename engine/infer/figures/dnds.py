"""Source-count functions with credible bands."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gammasky.engine.infer.derived import reference_exposure
from gammasky.engine.infer.figures.style import GREY, look
from gammasky.engine.model import SkyModel
from gammasky.engine.sky.pixels.frames import vectors_of

BANDS = ((0.025, 0.975, 0.18), (0.16, 0.84, 0.35))  # quantiles and opacity
DECADES = 4.0  # shown below the highest band; above it is room for the legend


def draw(model: SkyModel, dnds: np.ndarray) -> Figure:
    """S^2 dN/dS of each population: median, 68 % and 95 % bands, against counts and flux; or F^2 dN/dF.

    Args:
        model: the model.
        dnds (k, I, S) [sources per pixel per count]: draws, from `predict`; on a grid of fluxes dN/dF.
    """
    in_flux = model.spec.source_grid.in_flux
    counts = model.expectation.populations.s_grid
    figure = Figure(figsize=(7.4, 5.4), layout="constrained")
    axis = figure.subplots()
    top = 0.0
    for number, population in enumerate(model.spec.populations):
        values = counts**2 * dnds[:, number]
        top = max(top, _band(axis, counts, values, population.name, number))
    axis.set(xscale="log", yscale="log", xlim=(counts[0], counts[-1]), ylim=(top * 10**-DECADES, top * 12))
    label_axes(axis, in_flux)
    one = 1.0 / source_exposure(model) if in_flux else 1.0
    if counts[0] < one < counts[-1]:
        axis.axvline(one, color=GREY, linestyle="--", linewidth=1)
        where: dict[str, Any] = {
            "xycoords": ("data", "axes fraction"),
            "textcoords": "offset points",
            "va": "top",
            "ha": "right",
        }
        axis.annotate("1 photon", (one, 0.98), (-3, 0), rotation=90, color=GREY, **where)
    exposure = 1.0 if in_flux else reference_exposure(model.pixels)
    if exposure is not None:
        mark_thresholds(axis, model.dataset.manifest.thresholds_in_counts(exposure))
        for name in sorted(model.dataset.manifest.sources):
            n_pixels = model.pixels.n_region // model.pixels.n_energy
            _histogram(axis, name, catalogued(model, name, exposure), n_pixels)
        if not in_flux:
            _flux_axis(axis, exposure)
    axis.legend(title="median, 68 % and 95 %", loc="upper right", alignment="left")
    return figure


def label_axes(axis: Axes, in_flux: bool) -> None:
    """What the axes of a source-count function show."""
    if in_flux:
        axis.set_xlabel(r"flux $F$ [photons cm$^{-2}$ s$^{-1}$]")
        axis.set_ylabel(r"$F^2\, \mathrm{d}N/\mathrm{d}F$ [photons cm$^{-2}$ s$^{-1}$ per pixel]")
    else:
        axis.set_xlabel("source counts $S$ [photons at mean exposure]")
        axis.set_ylabel(r"$S^2\, \mathrm{d}N/\mathrm{d}S$ [photons per pixel]")


def source_exposure(model: SkyModel) -> float:
    """Photons in all energy bins of a source of flux 1 cm^-2 s^-1 [cm^2 s], in the middle of the priors."""
    expectation = model.expectation
    return float(expectation.bins.source_exposure(expectation.populations.components[0], expectation.middle))


def _band(axis: Axes, counts: np.ndarray, values: np.ndarray, name: str, number: int) -> float:
    """Draw the curve and bands of one population; return the highest value of its bands."""
    highest = 0.0
    for low, high, opacity in BANDS:
        lower, upper = np.quantile(values, (low, high), axis=0)
        axis.fill_between(counts, lower, upper, color=look(number)["color"], alpha=opacity, linewidth=0)
        highest = max(highest, float(upper.max()))
    axis.plot(counts, np.median(values, axis=0), linewidth=2, label=name, **look(number))
    return highest


def mark_thresholds(axis: Axes, thresholds: Mapping[str, tuple[float, float]]) -> None:
    """Bands of source counts (low, high) between which the sources of a catalogue begin to be resolved, by its name."""
    first, last = axis.get_xlim()
    for name, (low, high) in thresholds.items():
        if first < high and low < last:
            axis.axvspan(low, high, color=GREY, alpha=0.25, linewidth=0)
            where: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            axis.annotate(
                f"{name} resolved", (high, 0.02), (3, 0), rotation=90, color=GREY, va="bottom", ha="left", **where
            )


def catalogued(model: SkyModel, name: str, exposure: float) -> np.ndarray:
    """Photons at an exposure (of 1: the flux) of the sources (n,) of a catalogue in the region, masks lifted.

    None of a catalogue without fluxes of the energies of the dataset.
    """
    catalogue, edges = model.dataset.catalogue(name), model.dataset.energy_edges_gev
    if catalogue.flux is None or not catalogue.reaches(edges[0], edges[-1]):
        return np.empty(0)
    pixels = model.pixels
    inside = np.isin(pixels.grid.find(vectors_of(*catalogue.positions.T)), pixels.pixel[: pixels.n_region])
    return catalogue.flux_in(edges[0], edges[-1])[inside] * exposure


def _histogram(axis: Axes, name: str, counts: np.ndarray, n_pixels: int) -> None:
    """S^2 dN/dS of catalogued sources (n,) in bins of a fifth of a decade, with Poisson errors."""
    counts = counts[counts > 0]
    if not len(counts):
        return
    edges = 10 ** (np.arange(np.floor(5 * np.log10(counts.min())), 5 * np.log10(counts.max()) + 1.0) / 5)
    number, _ = np.histogram(counts, edges)
    middle, filled = np.sqrt(edges[:-1] * edges[1:]), number > 0
    scale = (middle**2 / np.diff(edges) / n_pixels)[filled]
    values, errors = scale * number[filled], scale * np.sqrt(number[filled])
    errors = np.stack([np.minimum(errors, 0.999 * values), errors])
    label = f"{name} ({len(counts)} sources)"
    axis.errorbar(middle[filled], values, errors, color="black", fmt="o", markersize=3.5, linewidth=1, label=label)


def _flux_axis(axis: Axes, exposure: float) -> None:
    """Flux on the upper axis, by the exposure [cm^2 s]."""
    upper = axis.secondary_xaxis("top", functions=(partial(np.multiply, 1 / exposure), partial(np.multiply, exposure)))
    upper.set_xlabel(r"flux $F$ [photons cm$^{-2}$ s$^{-1}$]")
