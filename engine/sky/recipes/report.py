"""The report of a data folder: what was read, what was cut and why, what is left."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gammasky.engine.sky.maps import NOT_OBSERVED
from gammasky.engine.sky.photons.cuts import EVENT_CLASSES, type_names
from gammasky.engine.sky.psf import PSF
from gammasky.engine.sky.recipes.counted import Counted
from gammasky.engine.sky.recipes.exposed import Exposed
from gammasky.engine.sky.recipes.figures import draw_map
from gammasky.engine.sky.recipes.recipe import Recipe

REPORT = "report.md"
MOST_FIGURES = 3


def write_report(
    folder: Path, recipe: Recipe, counts: Counted, exposure: Exposed, psfs: tuple[PSF, ...], files: list[Path],
    notes: list[str],
) -> None:  # fmt: skip
    """Write `report.md` and its figures."""
    lines = [f"# {recipe.name}", "", *([recipe.description, ""] if recipe.description else [])]
    lines += ["## Read", "", "| file | bytes |", "| --- | ---: |"]
    lines += [f"| `{path}` | {path.stat().st_size} |" for path in dict.fromkeys(files)]
    lines += ["", "## Cuts", "", *_cuts(recipe, counts), "", "## Kept", "", *_bins(counts, exposure, psfs)]
    lines += ["", *[f"- {note}." for note in [*exposure.notes, *notes]], "", "## Maps", ""]
    (folder / "figures").mkdir()
    for name, caption in _figures(folder / "figures", counts, exposure):
        lines += [f"![{caption}](figures/{name})", ""]
    (folder / REPORT).write_text("\n".join(lines), encoding="utf-8")


def _cuts(recipe: Recipe, counts: Counted) -> list[str]:
    """What is in force, and how many photons each cut took."""
    cuts, lines = counts.selection, []
    if cuts.event_class is not None:
        names = [name for name, mask in EVENT_CLASSES.items() if cuts.event_class & mask]
        lines.append(f"- event class {cuts.event_class} ({', '.join(names) or 'of no known name'})")
    if cuts.event_type is not None:
        lines.append(
            f"- event types {cuts.event_type} ({', '.join(type_names(cuts.event_type)) or 'of no known name'})"
        )
    if cuts.zenith_max_deg is not None:
        lines.append(f"- zenith angle up to {cuts.zenith_max_deg:g} deg")
    if counts.intervals is not None:
        start, stop = counts.intervals.start, counts.intervals.stop
        span = f"from {start[0]:.1f} to {stop[-1]:.1f} s"
        lines.append(f"- {len(start)} good time intervals, {counts.intervals.total:.1f} s, {span}")
    if recipe.region is not None:
        kept = [f"{name} = {value}" for name, value in recipe.region.model_dump(exclude_defaults=True).items()]
        lines.append(f"- region: {', '.join(kept)}; {int(counts.inside.sum())} of {counts.pixels.n_pixels} pixels")
    if counts.n_read:
        lines += ["", f"Of {counts.n_read} photons, these were taken away, each by the first cut that it failed:", ""]
        lines += ["| cut | photons |", "| --- | ---: |"]
        lines += [f"| {name} | {number} |" for name, number in counts.cut.items()] or ["| none | 0 |"]
    return lines or ["None is known."]


def _bins(counts: Counted, exposure: Exposed, psfs: tuple[PSF, ...]) -> list[str]:
    """Photons, exposure and PSF of each energy bin."""
    lines = [
        f"{counts.pixels.name}; {int(counts.inside.sum())} pixels are observed.",
        "",
        "| energy [GeV] | photons | mean exposure [cm^2 s] | least | most | PSF 68 % [deg] | 95 % |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    seen, edges = counts.inside, counts.energy_edges_gev
    for number, (layer, psf) in enumerate(zip(exposure.exposure, psfs, strict=True)):
        values, photons = layer[seen], int(counts.counts[number][seen].sum())
        radii = " | ".join(f"{r:.3g}" for r in np.rad2deg(psf.radius(np.array([0.68, 0.95]))))
        span = f"{edges[number]:.6g} to {edges[number + 1]:.6g}"
        lines.append(
            f"| {span} | {photons} | {values.mean():.4g} | {values.min():.4g} | {values.max():.4g} | {radii} |"
        )
    return lines


def _figures(folder: Path, counts: Counted, exposure: Exposed) -> list[tuple[str, str]]:
    """Figures of the counts of the first bins, and of the exposure of the first."""
    found = []
    edges = counts.energy_edges_gev
    for number in range(min(len(edges) - 1, MOST_FIGURES)):
        span = f"{edges[number]:.4g} to {edges[number + 1]:.4g} GeV"
        layer = np.where(counts.counts[number] == NOT_OBSERVED, np.nan, counts.counts[number])
        draw_map(folder / f"counts_{number}.png", counts.pixels, layer, f"Photons, {span}", "photons", logarithmic=True)
        found.append((f"counts_{number}.png", f"photons, {span}"))
        shown = np.where(counts.inside, exposure.exposure[number], np.nan)
        draw_map(
            folder / f"exposure_{number}.png", counts.pixels, shown, f"Exposure, {span}", "cm2 s", logarithmic=False
        )
        found.append((f"exposure_{number}.png", f"exposure, {span}"))
    return found
