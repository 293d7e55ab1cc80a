"""Several posteriors in one figure: corners, source-count functions and fluxes over each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from gammasky.engine.infer.derived import FLUX, POINT_SOURCE_FRACTION
from gammasky.engine.infer.figures.corner import axis_label, overlay, shown
from gammasky.engine.infer.figures.dnds import label_axes, mark_thresholds
from gammasky.engine.infer.figures.style import COLOURS, GREY, MARKERS, look, save, styled
from gammasky.engine.infer.report.fit_folder import Posterior
from gammasky.engine.infer.report.sources import reference_exposure_cm2_s
from gammasky.engine.model.priors import LogUniform, Prior

Floats = NDArray[np.float64]
FIGURES = ("corner", "dnds", "fluxes")
MOST_MAIN = 10  # parameters of the corner
BANDS = ((0.025, 0.975, 0.16), (0.16, 0.84, 0.32))  # quantiles and opacity
DECADES = 4.0  # shown below the highest band; above it is room for the legend


@dataclass(frozen=True, eq=False)
class Curve:
    """Source-count functions of a population: draws of dN/dS (n, S) on counts (S,), and the truth (S,) if known."""

    label: str
    counts: Floats
    draws: Floats
    truth: Floats | None = None


def save_comparison(posteriors: Mapping[str, Posterior], folder: Path, *, exposure: bool) -> list[Path]:
    """Draw corner.png, dnds.png and fluxes.png, each where the posteriors have something for it in common.

    Args:
        posteriors: by label.
        folder: where the files go.
        exposure: whether all have the exposure of the first, so that source counts are fluxes too.
    """
    written = []
    with styled():
        for name in FIGURES:
            figure = draw(posteriors, name, exposure=exposure)
            if figure is not None:
                written.append(save(figure, folder / f"{name}.png"))
    return written


def draw(posteriors: Mapping[str, Posterior], name: str, *, exposure: bool) -> Figure | None:
    """One of FIGURES; None where the posteriors have nothing for it in common."""
    if name == "corner":
        return _corner(posteriors)
    if name == "dnds":
        return _source_counts(posteriors, exposure)
    rows, shares = (_shared_columns(posteriors, of) for of in (FLUX, POINT_SOURCE_FRACTION))
    return draw_fluxes(rows, shares) if rows or shares else None


def _corner(posteriors: Mapping[str, Posterior]) -> Figure | None:
    names = main_shared(posteriors)
    if not names:
        return None
    priors = {name: _shown_prior(posteriors, name) for name in names}
    draws = {
        label: np.stack([shown(priors[name], posterior.draws[name]) for name in names], axis=1)
        for label, posterior in posteriors.items()
    }
    return draw_corner(draws, [axis_label(priors[name], name, "\n") for name in names])


def _source_counts(posteriors: Mapping[str, Posterior], exposure: bool) -> Figure | None:
    """dN/dS, or dN/dF; curves over counts and over fluxes have no axis in common."""
    panels, grids = _curves(posteriors), {posterior.spec.source_grid.in_flux for posterior in posteriors.values()}
    if not panels or len(grids) > 1:
        return None
    if grids.pop():
        return draw_dnds(panels, lines={}, in_flux=True)
    scale = reference_exposure_cm2_s(next(iter(posteriors.values()))) if exposure else None
    return draw_dnds(panels, lines={"1 photon": 1.0}, exposure_cm2_s=scale)


def main_shared(posteriors: Mapping[str, Posterior], most: int = MOST_MAIN) -> list[str]:
    """Scalar parameters of all posteriors that vary in all, in the order of the first model, at most `most`.

    First what the summaries call main parameters, then norms of populations and of components with a group.
    """
    first, every = next(iter(posteriors.values())), list(posteriors.values())
    names = [
        name
        for name in first.spec.parameters
        if all(name in p.spec.parameters and p.draws[name].ndim == 1 and np.ptp(p.draws[name]) > 0 for p in every)
    ]
    told = [posterior.attributes.get("main_parameters") for posterior in every]
    main = {name for given in told if isinstance(given, list) for name in given}
    asked = [c for c in first.spec.components if c.group or c.of_sources]
    norms = {c.norm if c.norm is not None else c.amplitude for c in asked}
    chosen = sorted(names, key=lambda name: (name not in main, name not in norms, names.index(name)))[:most]
    return [name for name in names if name in chosen and (name in main or not main & set(names))]


def _shown_prior(posteriors: Mapping[str, Posterior], name: str) -> Prior:
    """The prior that decides how a parameter is drawn: log10 only where every prior is log-uniform."""
    priors = [posterior.spec.parameters[name] for posterior in posteriors.values()]
    return next((prior for prior in priors if not isinstance(prior, LogUniform)), priors[0])


def _curves(posteriors: Mapping[str, Posterior]) -> dict[str, list[Curve]]:
    """dN/dS of every population that at least two posteriors have, one curve for each of them."""
    panels: dict[str, list[Curve]] = {}
    for label, posterior in posteriors.items():
        grid = posterior.spec.source_grid.points()
        for name, values in posterior.dnds.items():
            panels.setdefault(name, []).append(Curve(label, grid, values))
    return {name: curves for name, curves in panels.items() if len(curves) > 1}


def _shared_columns(posteriors: Mapping[str, Posterior], name: str) -> dict[str, dict[str, Floats]]:
    """Columns of a derived number that at least two posteriors have: element -> label -> draws."""
    found: dict[str, dict[str, Floats]] = {}
    for label, posterior in posteriors.items():
        for column, element in enumerate(posterior.elements.get(name, ())):
            found.setdefault(element, {})[label] = posterior.draws[name][:, column]
    return {element: draws for element, draws in found.items() if len(draws) > 1}


def draw_corner(posteriors: Mapping[str, Floats], labels: Sequence[str]) -> Figure:
    """Corners of several posteriors over each other.

    Args:
        posteriors: what to call each, and its draws (n, k) on the axes as they are shown.
        labels: of the k axes.
    """
    figure = overlay(list(posteriors.values()), labels, [None] * len(labels))
    handles = [Line2D([], [], linewidth=2, label=name, **look(number)) for number, name in enumerate(posteriors)]
    place: dict[str, Any] = {"loc": "upper right", "bbox_to_anchor": (0.98, 0.98)}
    if len(labels) < 3:
        place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}  # no empty corner to put it in
    figure.legend(handles=handles, fontsize=12, **place)
    return figure


def draw_dnds(
    panels: Mapping[str, Sequence[Curve]],
    *,
    lines: Mapping[str, float],
    thresholds: Mapping[str, tuple[float, float]] | None = None,
    exposure_cm2_s: float | None = None,
    in_flux: bool = False,
) -> Figure:
    """S^2 dN/dS with median, 68 % and 95 % bands, one panel for each entry; or F^2 dN/dF.

    Args:
        panels: title -> curves.
        lines [photons]: label -> source counts of vertical lines, such as one photon.
        thresholds [photons]: catalogue -> source counts between which its sources begin to be resolved.
        exposure_cm2_s: turns counts into the flux of the upper axis; None leaves it out.
        in_flux: all of these are fluxes [cm^-2 s^-1], and the curves dN/dF.
    """
    figure = Figure(figsize=(7.4, 1.0 + 4.4 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
    for axis, (title, curves) in zip(axes, panels.items(), strict=True):
        top = max(_curve(axis, curve, number) for number, curve in enumerate(curves))
        ends = [end for curve in curves for end in (curve.counts[0], curve.counts[-1])]
        axis.set(
            xscale="log",
            yscale="log",
            xlim=(min(ends), max(ends)),
            ylim=(top * 10**-DECADES, top * 10 ** (0.6 + 0.3 * len(curves))),
        )
        label_axes(axis, in_flux)
        _lines(axis, lines)
        mark_thresholds(axis, thresholds or {})
        if exposure_cm2_s is not None:
            scale = partial(np.multiply, 1 / exposure_cm2_s), partial(np.multiply, exposure_cm2_s)
            upper = axis.secondary_xaxis("top", functions=scale)
            upper.set_xlabel(r"flux $F$ [photons cm$^{-2}$ s$^{-1}$]")
        handles = axis.get_legend_handles_labels()[0]
        if any(curve.truth is not None for curve in curves):
            handles.append(Line2D([], [], color=GREY, linestyle="--", label="truth"))
        axis.legend(handles=handles, title=title, loc="upper right", alignment="left")
    return figure


def _curve(axis: Axes, curve: Curve, number: int) -> float:
    """Draw the curve and bands of one population; return the highest value of its bands."""
    values, highest, colour = curve.counts**2 * curve.draws, 0.0, look(number)["color"]
    for low, high, opacity in BANDS:
        lower, upper = np.quantile(values, (low, high), axis=0)
        axis.fill_between(curve.counts, lower, upper, color=colour, alpha=opacity, linewidth=0)
        highest = max(highest, float(upper.max()))
    axis.plot(curve.counts, np.median(values, axis=0), linewidth=2, label=curve.label, **look(number))
    if curve.truth is not None:
        axis.plot(curve.counts, curve.counts**2 * curve.truth, color=colour, linestyle="--", linewidth=1.4)
    return highest


def _lines(axis: Axes, lines: Mapping[str, float]) -> None:
    """Vertical lines with their names, as far as they lie on the axis."""
    low, high = axis.get_xlim()
    where: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
    for label, counts in lines.items():
        if low < counts < high:
            axis.axvline(counts, color=GREY, linestyle=":", linewidth=1.2)
            axis.annotate(
                label, (counts, 0.02), (-3, 0), rotation=90, color=GREY, va="bottom", ha="right", fontsize=9, **where
            )


def draw_fluxes(rows: Mapping[str, Mapping[str, Floats]], shares: Mapping[str, Mapping[str, Floats]]) -> Figure:
    """Median, 68 % and 95 % intervals of fluxes and of point-source fractions, one line for each posterior.

    Args:
        rows: component -> posterior -> draws (n,) [counts per pixel].
        shares: group -> posterior -> draws (n,) of the point-source fraction.
    """
    groups = [(rows, "mean counts per pixel"), (shares, "point-source fraction of the group's flux")]
    groups = [(values, label) for values, label in groups if values]
    names = list(dict.fromkeys(name for values, _ in groups for row in values.values() for name in row))
    lengths = [sum(len(row) for row in values.values()) + len(values) for values, _ in groups]
    figure = Figure(figsize=(7.4, 1.6 + 0.2 * sum(lengths) + 0.5 * len(groups)), layout="constrained")
    axes = figure.subplots(len(groups), 1, height_ratios=lengths, squeeze=False)[:, 0]
    for axis, (values, label) in zip(axes, groups, strict=True):
        _intervals(axis, values, names)
        axis.set_xlabel(label)
    axes[-1].set_xlim((0, 1) if shares else None)
    handles = [Line2D([], [], linewidth=4, label=name, **_marker(number)) for number, name in enumerate(names)]
    figure.legend(handles=handles, loc="outside upper right", ncols=min(len(names), 3))
    return figure


def _marker(number: int) -> dict[str, Any]:
    """How the interval of one posterior among several looks, by its number."""
    colour = COLOURS[number % len(COLOURS)]
    face: dict[str, Any] = {"markerfacecolor": "white", "markeredgecolor": colour, "markersize": 6}
    return {"color": colour, "marker": MARKERS[number % len(MARKERS)], **face}


def _intervals(axis: Axes, rows: Mapping[str, Mapping[str, Floats]], names: Sequence[str]) -> None:
    place, ticks = 0.0, []
    for row in rows.values():
        ticks.append(place + 0.5 * (len(row) - 1))
        for name, draws in row.items():
            low2, low, middle, high, high2 = np.quantile(draws, (0.025, 0.16, 0.5, 0.84, 0.975))
            marker = _marker(names.index(name))
            colour = marker["color"]
            axis.hlines(place, low2, high2, color=colour, linewidth=1.2)
            axis.hlines(place, low, high, color=colour, linewidth=4)
            axis.plot(middle, place, **marker)
            place += 1.0
        place += 1.0
    axis.set_yticks(ticks, list(rows))
    axis.set_ylim(place - 1.2, -0.8)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", alpha=0.3)
