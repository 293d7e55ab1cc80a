"""Counts along longitude, latitude and radius beside replicated skies, and the angular power of the residuals."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gammasky.engine.infer.figures.style import COLOURS
from gammasky.engine.infer.predictive import PredictiveCheck
from gammasky.engine.infer.residuals import PowerSpectrum
from gammasky.engine.model import SkyModel
from gammasky.engine.sky.roi import angular_distance_deg

BINS = 24
QUANTILES = (0.025, 0.16, 0.5, 0.84, 0.975)
POINTS: dict[str, Any] = {"color": "black", "markersize": 4, "linewidth": 1}


def draw(model: SkyModel, check: PredictiveCheck) -> Figure:
    """Four panels, each with what was seen and with bands that hold 68 and 95 % of the replicas.

    Args:
        model: the model; energy bins are added up.
        check: the replicas.
    """
    pixels, region = model.pixels, model.spec.region
    lon, lat = pixels.lon_deg[: pixels.n_fit], pixels.lat_deg[: pixels.n_fit]
    turned = lon % 360 if np.abs(lon).min() > 90 else lon  # a region around the anticentre stays in one piece
    radius = angular_distance_deg(lon, lat, region.center_lon, region.center_lat)
    figure = Figure(figsize=(13, 8.5), layout="constrained")
    first, second, third, last = figure.subplots(2, 2).ravel()
    _profile(first, turned, check, r"Galactic longitude $\ell$ [deg]")
    first.invert_xaxis()
    _profile(second, lat, check, r"Galactic latitude $b$ [deg]")
    _profile(third, radius, check, "distance from the centre of the region [deg]")
    _spectrum(last, PowerSpectrum.of(pixels, check.counts, check.replicas, check.expected))
    first.legend()
    return figure


def _profile(axis: Axes, values: np.ndarray, check: PredictiveCheck, label: str) -> None:
    """Mean counts per pixel in bins of a coordinate (P,)."""
    edges = np.linspace(values.min(), np.nextafter(values.max(), np.inf), BINS + 1)
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, BINS - 1)
    pixels = np.bincount(place, minlength=BINS)
    skies = np.stack([np.bincount(place, sky, BINS) for sky in (check.counts, *check.replicas)])
    with np.errstate(invalid="ignore"):  # NaN where a bin has no pixel
        seen, *replicas = skies / pixels
    middles = 0.5 * (edges[1:] + edges[:-1])
    bands = np.quantile(replicas, QUANTILES, axis=0)
    for low, high, alpha, name in ((0, 4, 0.2, "replicas, 95 %"), (1, 3, 0.35, "replicas, 68 %")):
        axis.bar(
            middles, bands[high] - bands[low], np.diff(edges), bands[low], color=COLOURS[0], alpha=alpha, linewidth=0,
            label=name,
        )  # fmt: skip
    axis.plot(middles, seen, "o", label="counts", **POINTS)
    axis.set(xlabel=label, ylabel="counts per pixel", xlim=(edges[0], edges[-1]))
    axis.set_ylim(bottom=0)


def _spectrum(axis: Axes, found: PowerSpectrum) -> None:
    """C_l of the residuals."""
    middles = np.sqrt(found.edges[:-1] * (found.edges[1:] - 1.0))
    bands = np.quantile(found.replicas, QUANTILES, axis=0)
    for low, high, alpha in ((0, 4, 0.2), (1, 3, 0.35)):
        axis.fill_between(middles, bands[low], bands[high], color=COLOURS[0], alpha=alpha, linewidth=0)
    axis.plot(middles, found.seen, "o", **POINTS)
    axis.set(xscale="log", yscale="log" if found.seen.min() > 0 and bands.min() > 0 else "linear")
    axis.set(xlabel=r"multipole $\ell$", ylabel=r"$C_\ell$ of (counts $-$ expected) / mean [sr]")
