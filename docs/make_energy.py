"""docs/energy.md, from the fits of two skies in several energy bins, and of one of them with its bins added up.

    gammasky fit inner_galaxy_energy --data demo_energy --seed 1 --out fits/energy_demo
    gammasky fit high_latitude_10gev --data sky_above_10_gev --out fits/energy_sky
    gammasky fit high_latitude_10gev --data sky_above_10_gev_one_bin --out fits/energy_one_bin
    python benchmarks/energy_gain.py fits/energy_gain
    python docs/make_energy.py --demo fits/energy_demo --sky fits/energy_sky --one-bin fits/energy_one_bin \\
        --gain fits/energy_gain

No number of a fit is typed by hand; those of the paper are, with the place where they stand. A section whose fits are
not given stays as it is on the page.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import binom, kstest

from gammasky.engine.infer.posterior import read_posterior
from gammasky.engine.infer.report.numbers import number

HERE = Path(__file__).parent
QUANTILES = (0.16, 0.5, 0.84)
FITS = ("joint", "one bin", "composite")
LEVELS = (0.68, 0.9, 0.95)  # of central intervals
ENOUGH = 50  # skies
TAILS = [0.5 * (1 - level) for level in LEVELS]
PAGE = """# Energy: one population of sources, seen in several bins

A source shines in all energy bins at once, and its photons in all of them must be counted together. This page says
how the joint likelihood is computed, and shows two fits and what they gain. It is written by `docs/make_energy.py`
from those fits.

## What is computed

A source of flux F [cm^-2 s^-1] sends, in exposure region r, a Poisson number of photons with mean S = eps_r F to all
bins together, where eps_r is the exposure [cm^2 s]. Each photon falls in bin e with the probability phi_e, the
normalised product of spectrum and exposure. So the total number n of source photons in a pixel has the distribution
p_n that it has in a fit of one bin, and these photons are then shared out among the bins. The smooth emission adds a
Poisson number of mean mu_e to each bin. The probability of the counts k_1 .. k_E of a pixel is

    P(k_1 .. k_E) = sum_n p_n a_n,     a_n = P(k_1 .. k_E | n photons of sources)

which is exact and has only positive terms, and takes a few times as long as one bin with all photons. Value and
gradient are written by hand, in Numba and CUDA (`engine/kernels/nptf_energy`). Two tests hold to 1e-12: with one bin
this is the likelihood of one bin; and if everything has one spectrum, it is the likelihood of the summed bins times a
multinomial factor.

A model uses this likelihood if it has a source grid of fluxes and a spectrum for every population
([models](models.md)):

```toml
[source_grid]
flux_min = 1e-13          # cm^-2 s^-1, in all bins together
flux_max = 1e-8

[[components]]
name = "iso_ps"
norm = "Sps_iso"          # mean counts per pixel, in all bins together
template = "iso"
spectrum = {{ power_law = {{ index = "index_ps" }} }}
source_counts = {{ slopes = ["n1", "n2"], breaks = ["Fb"] }}      # breaks are fluxes
```

**What is approximate**: the fraction of a source's photons that a pixel receives is taken to be the same in all bins,
that of their mean point-spread function. Simulated photons have the point-spread function of their own bin
(`gammasky simulate`, predictive checks). The last section measures what that costs.

**Two spectra**: all populations share one spectrum, or some have one and the others a second one. Then the sum runs
over the photons of both kinds (`engine/kernels/nptf_two_spectra`). It is exact, too, but its cost grows with the cube
of the counts of a pixel instead of the square, and it runs only on the CPU, for pixels of at most 1,000 photons. A
third spectrum is refused.

## A simulated inner Galaxy in four bins

    gammasky fit inner_galaxy_energy --data demo_energy --seed 1 --out fits/energy_demo

{demo}

## The sky above 10 GeV

    cd examples/above_10_gev          # its README says which files go beside the recipe
    gammasky data build recipe.toml --out sky_above_10_gev
    gammasky fit high_latitude_10gev --data sky_above_10_gev --out fits/energy_sky

The second column is the same fit of a data set that the same recipe builds with `energy_edges_gev = [10.0, 2000.0]`.

{sky}

## What several bins gain, and what the approximation costs

    python benchmarks/energy_gain.py fits/energy_gain

{gain}
"""
GAIN = """Skies of the inner 12 degrees at nside 128 in four bins from 2 to 20 GeV, with the exposure of the Fermi-LAT
data and the point-spread function of each bin. Truths come from the priors of ten parameters. In half of the skies
the point sources of the excess have the spectrum of pulsars and the smooth part that of dark matter (b quarks); in
the others it is the reverse. Each is fitted by the joint likelihood (*joint*), by that of the summed bins with the
mean point-spread function (*one bin*), and by the sum of the log-likelihoods of the bins, as if no source shone in
two of them (*composite*). Counts are drawn from the likelihood's own distribution (*likelihood*), or photon by photon
on the sphere (*photons*), where pixels share sources and the point-spread function is that of the bin.

{number}All numbers are of the point-source fraction of the excess: *width* is the median over skies of the standard
deviation of the posterior over that of one bin on the same sky (below 1 is a gain), *shift* the mean distance of the
posterior mean from the truth in posterior standard deviations, *KS* the Kolmogorov-Smirnov probability that the share
of the posterior below the truth is uniform, and then how often the truth lies in the central interval (binomial 95 %
band of a perfect one: {bands}). All rows have the same truths: their shifts are not independent of each other.

{table}

{said}

![Left: the posterior sd of the joint fit beside that of one bin, of each sky. Right: how often the truth has less of
the posterior below it than so much](figures/energy_gain.png)
"""
SKY_READ = """- **The share of the sources is that of the paper**, and dN/dF meets the counts of the 3FHL catalogue
  (points) over two decades of flux, from where it becomes incomplete, although the fit knows nothing of the
  catalogue.
- **The break is not where the paper has it.** It lies at the lower end of its prior, where a source sends about one
  photon: a single power law describes all brighter sources, a little steeper than the paper's law above its break.
  The fit of one bin says the same, so energy is not the reason. The paper's break is where the catalogue ends, and
  the points there lie above the straight line, so a model with two breaks may fit better. With one break, the many
  bright sources decide the slope. What the diffuse model and cosmic rays among photons of class SOURCE do is not
  known.
- **The sources' spectrum is measured**, harder than that of the smooth isotropic emission; one bin knows nothing of
  it. The share of the sources is not known better for it on this sky, where bright sources determine it in one bin
  already."""
PAPER = {
    "slope above the break": "2.09 ± 0.04",
    "slope below the break": "1.07 ± 0.27",
    "flux of the break [1e-11 cm^-2 s^-1]": "3.5 ± 0.4",
    "index of the spectrum of sources": "",
    "share of the sources in the isotropic intensity": "0.42 ± 0.08 of the extragalactic background",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("demo", "sky", "one-bin", "gain"):
        parser.add_argument(f"--{name}", type=Path)
    given = parser.parse_args()
    made = {"demo": _demo(given.demo), "sky": _sky(given.sky, given.one_bin), "gain": _gain(given.gain)}
    page = HERE / "energy.md"
    text = PAGE.format(**{name: f"<{name}>" if part is None else part for name, part in made.items()})
    (page).write_text(_filled(text, page.read_text(encoding="utf-8")), encoding="utf-8")


def _filled(text: str, before: str) -> str:
    """The page with each part that was not made as it is on the page so far."""
    sections, known = text.split("\n## "), dict(part.partition("\n")[::2] for part in before.split("\n## ")[1:])
    for place, section in enumerate(sections):
        if re.search(r"^<\w+>$", section, re.MULTILINE):
            title = section.partition("\n")[0]
            sections[place] = f"{title}\n{known.get(title, chr(10) + 'Not run.' + chr(10)).rstrip(chr(10))}\n"
    return "\n## ".join(sections)


def _told(summary: dict[str, Any]) -> str:
    """How a fit ended, in one sentence."""
    diagnostics = summary["diagnostics"]
    log_z = f"{diagnostics['log_z']:.2f} ± {diagnostics['log_z_error']:.2f}"
    return f"Verdict *{summary['verdict']['level']}*, {diagnostics['gradients']:,} gradients, log Z {log_z}."


def _demo(folder: Path | None) -> str | None:
    """Truth beside posterior, by number."""
    if folder is None:
        return None
    summary = _summary(folder)
    rows = {name: summary["parameters"][name] for name in summary["main_parameters"]}
    rows["point-source fraction"] = summary["point_source_fraction"]["gce"]
    bins = summary["point_source_fraction_by_bin"]["gce"]
    rows |= {f"point-source fraction, {name}": entry for name, entry in bins.items()}
    shutil.copyfile(folder / "figures" / "sed.png", HERE / "figures" / "energy_demo_sed.png")
    lines = [_told(summary), "", "| | truth | median and 68 % | unit |", "| --- | ---: | --- | --- |"]
    for name, entry in rows.items():
        truth = f"{entry['truth']:.3g}" if "truth" in entry else ""
        lines.append(f"| {name} | {truth} | {_interval(entry)} | {entry['unit'].replace('1', '') or ''} |")
    return "\n".join([*lines, "", "![Spectra of the components](figures/energy_demo_sed.png)"])


def _sky(folder: Path | None, one_bin: Path | None) -> str | None:
    """The fit of all bins beside that of their sum, and the paper."""
    if folder is None:
        return None
    summary = _summary(folder)
    columns = {"five bins together": _numbers(folder)}
    if one_bin is not None:
        columns["one bin"] = _numbers(one_bin)
    counts = read_posterior(folder / "posterior.nc")["observed_data"]["counts"].values
    for name in ("sed", "dnds"):
        shutil.copyfile(folder / "figures" / f"{name}.png", HERE / "figures" / f"energy_sky_{name}.png")
    lines = [
        f"{int(counts.sum()):,} photons. {_told(summary)}", "",
        f"| | {' | '.join(columns)} | arXiv:1711.03111 |", f"| --- {'| --- ' * len(columns)}| --- |",
    ]  # fmt: skip
    for name, paper in PAPER.items():
        lines.append(f"| {name} | {' | '.join(column.get(name, '') for column in columns.values())} | {paper} |")
    lines += ["", "![Source counts above 10 GeV](figures/energy_sky_dnds.png)", "", SKY_READ]
    return "\n".join([*lines, "", "![Spectra of the components](figures/energy_sky_sed.png)"])


def _numbers(folder: Path) -> dict[str, str]:
    """Medians and 68 % of what the paper quotes."""
    posterior = read_posterior(folder / "posterior.nc")["posterior"]
    draws = {name: posterior[name].values.ravel() for name in ("n1", "n2", "Fb", "index_ps", "Sps_iso", "S_iso")}
    found = {
        "slope above the break": draws["n1"],
        "slope below the break": draws["n2"],
        "flux of the break [1e-11 cm^-2 s^-1]": draws["Fb"] * 1e11,
        "index of the spectrum of sources": draws["index_ps"],
        "share of the sources in the isotropic intensity": draws["Sps_iso"] / (draws["Sps_iso"] + draws["S_iso"]),
    }
    told = {}
    for name, values in found.items():
        low, middle, high = np.quantile(values, QUANTILES)
        told[name] = _interval({"q16": low, "q50": middle, "q84": high})
    return told


def _gain(folder: Path | None) -> str | None:
    """Width, shift and coverage of the point-source fraction, by simulator and likelihood."""
    if folder is None:
        return None
    rows = [json.loads(line) for file in sorted(folder.glob("fits_*.jsonl")) for line in file.read_text().splitlines()]
    by_fit: dict[tuple[str, str], dict[int, dict[str, Any]]] = {}
    for row in rows:
        if (row["simulator"], row["fit"]) == ("photons", "composite"):
            continue
        by_fit.setdefault((row["simulator"], row["fit"]), {})[row["sky"]] = row
    shared = set.intersection(*(set(skies) for skies in by_fit.values()))
    n = len(shared)
    bands = [binom.interval(0.95, n, level) for level in LEVELS]
    lines = [
        "| counts, fit | reliable | width | shift | KS | " + " | ".join(f"{100 * of:.0f} %" for of in LEVELS) + " |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for simulator, fit in sorted(by_fit, key=lambda of: (of[0], FITS.index(of[1]))):
        skies = [by_fit[simulator, fit][sky] for sky in sorted(shared)]
        ones = [by_fit[simulator, "one bin"][sky] for sky in sorted(shared)]
        width = np.median([row["sd"] / one["sd"] for row, one in zip(skies, ones, strict=True)])
        shifts = np.array([(row["mean"] - row["truth"]) / row["sd"] for row in skies])
        inside = [sum(lost < row["below"] < 1 - lost for row in skies) for lost in TAILS]
        reliable = sum(row["verdict"] == "reliable" for row in skies)
        shift = f"{shifts.mean():+.2f} ± {shifts.std(ddof=1) / np.sqrt(n):.2f}"
        cells = [f"{100 * found / n:.0f} %" for found in inside]
        uniform = kstest([row["below"] for row in skies], "uniform").pvalue
        cells = [f"{reliable} of {n}", f"{width:.2f}", shift, f"{uniform:.2f}", *cells]
        lines.append(f"| {simulator}, {fit} | {' | '.join(cells)} |")
    told = ", ".join(
        f"{100 * low / n:.0f} to {100 * high / n:.0f} % for {100 * level:.0f} %"
        for (low, high), level in zip(bands, LEVELS, strict=True)
    )
    few = (
        f"**Only {n} skies so far, of the 50 that this is meant for**: a first look, no result.\n\n"
        if n < ENOUGH
        else ""
    )
    _draw_gain({of: [skies[sky] for sky in sorted(shared)] for of, skies in by_fit.items()})
    return GAIN.format(number=few, bands=told, table="\n".join(lines), said=_gain_by_scenario(by_fit, shared)).rstrip()


def _gain_by_scenario(by_fit: dict[tuple[str, str], dict[int, dict[str, Any]]], shared: set[int]) -> str:
    """The width of the joint fit over that of one bin, for either assignment of the spectra."""
    told = []
    for simulator in ("likelihood", "photons"):
        ratios: dict[str, list[float]] = {}
        for sky in sorted(shared):
            joint, one = by_fit[simulator, "joint"][sky], by_fit[simulator, "one bin"][sky]
            ratios.setdefault(joint["scenario"], []).append(joint["sd"] / one["sd"])
        parts = [
            f"{np.median(of):.2f} ({np.quantile(of, 0.16):.2f} to {np.quantile(of, 0.84):.2f}) where {scenario}"
            for scenario, of in ratios.items()
        ]
        told.append(f"{' and '.join(parts)} ({simulator})")
    return f"Width of the joint fit over that of one bin, median and 68 % of the skies: {'; '.join(told)}."


def _draw_gain(rows: dict[tuple[str, str], list[dict[str, Any]]]) -> None:
    figure = Figure(figsize=(10.0, 4.6), layout="constrained")
    widths, ranks = figure.subplots(1, 2)
    for (simulator, marker), colour in zip((("likelihood", "o"), ("photons", "^")), ("C0", "C1"), strict=True):
        pairs = [[row["sd"] for row in rows[simulator, fit]] for fit in ("one bin", "joint")]
        widths.plot(*pairs, marker, color=colour, alpha=0.8, markersize=5, label=simulator)
    end = 1.05 * max(row["sd"] for of in rows.values() for row in of)
    widths.plot([0, end], [0, end], "--", color="0.5", linewidth=1)
    widths.set(xlabel="posterior sd of the fraction, one bin", ylabel="the same, joint", xlim=(0, end), ylim=(0, end))
    for (simulator, fit), style in zip(rows, ("-", "--", ":", "-.", (0, (1, 3))), strict=True):
        below = np.sort([row["below"] for row in rows[simulator, fit]])
        ranks.step(below, np.arange(1, len(below) + 1) / len(below), where="post", linestyle=style,
                   label=f"{simulator}, {fit}")  # fmt: skip
    at = np.linspace(0, 1, 201)
    low, high = (binom.ppf(q, len(below), at) / len(below) for q in (0.025, 0.975))
    ranks.fill_between(at, low, high, color="0.5", alpha=0.2, label="95 % of a perfect one, at each place")
    ranks.set(xlabel="share of the posterior below the truth", ylabel="share of the skies", xlim=(0, 1), ylim=(0, 1))
    for axis in (widths, ranks):
        axis.legend(fontsize=8, loc="upper left")
    figure.savefig(HERE / "figures" / "energy_gain.png", dpi=110)


def _interval(entry: dict[str, float]) -> str:
    low, middle, high = (number(entry[name], entry["q84"] - entry["q16"]) for name in ("q16", "q50", "q84"))
    return f"{middle} ({low} to {high})"


def _summary(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    main()
