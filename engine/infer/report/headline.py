"""The top of the page: how far to trust the fit, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.derived import FLUX, POINT_SOURCE_FRACTION
from gammasky.engine.infer.report.fit_folder import FitFolder
from gammasky.engine.infer.report.markup import Markup, joined, section, table, tag
from gammasky.engine.infer.report.numbers import described, interval, number, width

LEVELS = {
    "reliable": ("✓", "The checks that were made found nothing wrong."),
    "preview": ("◐", "Good enough to look at, not to quote."),
    "unreliable": ("✕", "Do not quote these numbers."),
}
GROUPS = {"gce": "the Galactic Centre excess"}
STRIP_BINS = 80
INTERVALS = ("median", "68 %", "90 %")


def verdict(fit: FitFolder) -> Markup | None:
    """The verdict with its reasons and remedy, where the fit has one."""
    found = fit.entry("verdict")
    if not isinstance(found, dict) or not found.get("level"):
        return None
    level = str(found["level"])
    sign, meaning = LEVELS.get(level.lower(), ("?", ""))
    reasons = [tag("li", str(reason)) for reason in found.get("reasons") or []]
    remedy = found.get("remedy")
    return tag(
        "section",
        tag(
            "p",
            tag("span", sign, class_="sign", aria_hidden="true"),
            tag("strong", level),
            " ",
            meaning,
            class_="level",
        ),
        tag("ul", *reasons) if reasons else None,
        tag("p", "Remedy: ", tag("code", str(remedy))) if remedy else None,
        class_=f"verdict {level.lower() if level.lower() in LEVELS else 'other'}",
        id="verdict",
        aria_label="verdict",
    )


def headline(fit: FitFolder) -> Markup:
    """Point-source fraction of each group, the fluxes of its components, the main parameters."""
    shares = fit.summary[POINT_SOURCE_FRACTION]
    blocks = [_share(fit, group, entry) for group, entry in shares.items()]
    names = [name for name in fit.summary.get("main_parameters", []) if name in fit.summary["parameters"]]
    rows = {name: fit.summary["parameters"][name] for name in names}
    return section("headline", "Result", *blocks, _parameters(rows) if rows else None)


def _parameters(rows: Mapping[str, Mapping[str, Any]]) -> Markup:
    """Name and unit, truth where one is known, median and intervals."""
    known = any("truth" in entry for entry in rows.values())
    body = [
        [
            with_unit(name, str(entry.get("unit", ""))),
            *([number(entry.get("truth"), width(entry))] if known else []),
            *described(entry),
        ]
        for name, entry in rows.items()
    ]
    return table(["parameter", *(["truth"] if known else []), *INTERVALS], body, caption="Main parameters")


def with_unit(name: str, unit: str) -> Markup:
    """A name that may break before its element, and its unit in small print."""
    head, bracket, element = name.partition("[")
    return joined(
        [head, tag("wbr") if bracket else None, bracket + element, tag("small", f" {unit}") if unit else None]
    )


def _share(fit: FitFolder, group: str, entry: Mapping[str, Any]) -> Markup:
    """The point-source fraction of one group, large, with its distribution and the fluxes behind it."""
    spread = width(entry)
    intervals = f"68 %: {interval(entry.get('q16'), entry.get('q84'), spread)}; "
    intervals += f"90 %: {interval(entry.get('q05'), entry.get('q95'), spread)}"
    truth = entry.get("truth")
    lines = [tag("p", intervals, class_="intervals")]
    if truth is not None:
        lines.append(tag("p", f"Simulated with {number(truth, spread)}.", class_="intervals"))
    column = fit.posterior.columns().get(f"{POINT_SOURCE_FRACTION}[{group}]")
    members = [component for component in fit.posterior.spec.components if component.group == group]
    tiles = [
        tag(
            "div",
            tag("dt", _tile_name(component.name, component.source_counts is not None)),
            _flux(fit, component.name),
        )
        for component in members
    ]
    return tag(
        "div",
        tag(
            "div",
            tag("p", f"Point-source fraction of {GROUPS.get(group, f'the group “{group}”')}", class_="what"),
            tag("p", number(entry.get("q50"), spread), class_="big"),
            *lines,
        ),
        tag("div", strip(column, truth), class_="strip") if column is not None else None,
        tag("dl", *tiles, class_="tiles"),
        class_="headline",
    )


def _tile_name(name: str, points: bool) -> Markup:
    return joined([name, tag("small", " point sources" if points else " smooth")])


def _flux(fit: FitFolder, name: str) -> Markup:
    """Flux of one component with its 68 % interval."""
    entry = fit.summary[FLUX].get(name, {})
    middle, inner, _ = described(entry)
    return tag("dd", middle, tag("small", f" ({inner}) counts/pixel"))


def strip(draws: NDArray[np.float64], truth: float | None = None) -> Markup:
    """The distribution of a share between 0 and 1, with its 68 % and 90 % intervals."""
    counts, edges = np.histogram(draws, STRIP_BINS, (0.0, 1.0))
    smooth = np.convolve(np.pad(counts.astype(float), 2, mode="edge"), [0.1, 0.2, 0.4, 0.2, 0.1], mode="valid")
    x = 10 + 300 * 0.5 * (edges[1:] + edges[:-1])
    y = 70 - 60 * smooth / max(smooth.max(), 1.0)
    line = "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))
    low2, low, middle, high, high2 = 10 + 300 * np.quantile(draws, (0.05, 0.16, 0.5, 0.84, 0.95))
    ticks = "".join(f'<text x="{10 + 300 * v:.0f}" y="97" text-anchor="middle">{v:g}</text>' for v in (0, 0.5, 1))
    known = "" if truth is None else f'<path class="truth" d="M{10 + 300 * truth:.1f} 6V70"/>'
    label = "posterior of the point-source fraction, with 68 % and 90 % intervals"
    return Markup(
        f'<svg viewBox="0 0 320 100" role="img" aria-label="{label}">'
        f'<path class="posterior" d="M{x[0]:.1f} 70L{line}L{x[-1]:.1f} 70Z"/>{known}<path class="axis" d="M10 70H310"/>'
        f'<path class="thin" d="M{low2:.1f} 78H{high2:.1f}"/><path class="thick" d="M{low:.1f} 78H{high:.1f}"/>'
        f'<circle class="dot" cx="{middle:.1f}" cy="78" r="4.2"/>{ticks}</svg>'
    )
