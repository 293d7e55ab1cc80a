"""<sigma v> of dark matter by mass: the usual plot."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure

from gammasky.engine.infer.dark_matter import Annihilation
from gammasky.engine.infer.figures.style import COLOURS, look

THERMAL_CM3_S = 2.2e-26  # of a particle that is all dark matter, frozen out, above some 10 GeV: arXiv:1204.3622


def draw(found: Sequence[Annihilation]) -> Figure:
    """Median, 68 % and 95 % of <sigma v> by mass, and its upper limit, in one colour for each channel."""
    figure = Figure(figsize=(7.4, 5.4), layout="constrained")
    axis = figure.subplots()
    for number, of in enumerate(found):
        colour, (low2, low, middle, high, high2) = COLOURS[number % len(COLOURS)], of.cross_sections
        axis.fill_between(of.masses_gev, low2, high2, color=colour, alpha=0.15, linewidth=0)
        axis.fill_between(of.masses_gev, low, high, color=colour, alpha=0.3, linewidth=0)
        axis.plot(of.masses_gev, middle, linewidth=2, label=of.channel, **look(number))
        axis.plot(of.masses_gev, of.limit, color=colour, linewidth=1, linestyle="--", label=f"{of.channel}, 95 % limit")
    axis.axhline(THERMAL_CM3_S, color="0.3", linewidth=1, linestyle=":", label="thermal relic")
    highest = max(float(of.cross_sections[-1].max()) for of in found)
    lowest = min(float(of.cross_sections[2].min()) for of in found)
    axis.set(xscale="log", yscale="log", ylim=(min(lowest, THERMAL_CM3_S) / 10, 3 * max(highest, THERMAL_CM3_S)))
    axis.set_xlabel("mass [GeV]")
    axis.set_ylabel(r"$\langle\sigma v\rangle$ [cm$^3$ s$^{-1}$]")
    density = found[0].local_density_gev_cm3
    axis.legend(title=f"median, 68 % and 95 %; {density:g} GeV cm$^{{-3}}$ at the Sun", fontsize="small")
    return figure
