"""docs/above_50_gev.md, from a fit of the data set that `examples/above_50_gev` builds, and from a study of it.

    gammasky fit above_50_gev --data sky_above_50_gev --out fits/above_50_gev
    gammasky study latitudes.toml --out latitudes
    python docs/above_50_gev.py fits/above_50_gev latitudes

No number of the fit is typed by hand; those of the paper are, with the place where they stand.
"""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import numpy as np

from gammasky.engine.infer.posterior import read_posterior
from gammasky.engine.infer.report.numbers import number

HERE = Path(__file__).parent
QUANTILES = (0.16, 0.5, 0.84)
PAGE = """# The sky above 50 GeV

From photons to a posterior with files of the mission alone: 2FHL's photons, exposure and point-spread function (80
months, P8R2_SOURCE_V6, 50 GeV to 2 TeV), binned at nside 64 and fitted at |b| > 20 deg with isotropic point sources,
smooth isotropic emission, gas, inverse Compton and bubbles. The photon-count analysis of the same photons is
arXiv:1511.00693. This page is written by `docs/above_50_gev.py`.

    cd examples/above_50_gev        # its README says which files go beside the recipe
    python galaxy.py
    gammasky data build recipe.toml --out sky_above_50_gev
    gammasky fit above_50_gev --data sky_above_50_gev --out fits/above_50_gev

{photons:,} photons in {pixels:,} pixels; verdict *{verdict}*, {gradients:,} gradients, log Z {log_z:.2f} ±
{log_z_error:.2f}.

| | here, median and 68 % | arXiv:1511.00693 |
| --- | --- | --- |
{rows}

![Source counts above 50 GeV](figures/above_50_gev_dnds.png)

- **The sources' intensity is that of the paper**, and their counts meet those of the 2FHL catalogue (points) down to
  where it becomes incomplete, although the fit knows nothing of the catalogue.
- **The share of the sources is not.** The paper divides by the extragalactic background of arXiv:1410.3696, which was
  made with a cleaner event class and corrected for misclassified cosmic rays. Photons of class SOURCE hold these, and
  in a map they are smooth and isotropic, so the smooth intensity of this fit is far above that background. Nothing in
  the counts can take them apart.
- **The slope above the break is flatter.** The paper's break is where the catalogue ends; one break that may lie
  anywhere is not known here to better than an order of magnitude, and where it lies lower the slope above it is that of
  a longer stretch. Around 10 photons both say the same.
- **The bubbles matter**: they are bright above 50 GeV at high latitudes. Where they are left out (below) log Z falls,
  and near the plane the sources take up part of what they shine. What remains (`fits/above_50_gev/report.html`,
  predictive checks) is a deficit towards the poles and the anticentre, of a diffuse model that was made for lower
  energies and the inner Galaxy.

## How much depends on the cut and on the bubbles

    gammasky study latitudes.toml --out latitudes

| latitudes above | bubbles | verdict | photons | log Z | share of the sources | all isotropic emission | sources |
| --- | --- | --- | --- | --- | --- | --- | --- |
{members}

The share of the sources in the isotropic intensity: median and 90 %. Intensities in 1e-9 cm^-2 s^-1 sr^-1; that of the
sources is the share times the mean of the second last column. An isotropic population has one intensity whatever the
cut: how far the numbers move says how far the diffuse model can be trusted. With the bubbles they stay where they are;
without them they come down to it as the plane is left behind.
"""
PAPER = {
    "intensity of all point sources": "2.07 (+0.40, -0.34): 86 (+16, -14) % of 2.4",
    "slope above the break": "2.49 ± 0.12",
    "slope below the break": "1.60 to 1.75",
    "flux of the break": "8 to 15",
    "smooth isotropic intensity": "not comparable: holds misclassified cosmic rays here",
    "share of the sources in the isotropic intensity": "",
}
UNITS = {
    "intensity of all point sources": "1e-9 cm^-2 s^-1 sr^-1",
    "smooth isotropic intensity": "1e-9 cm^-2 s^-1 sr^-1",
    "flux of the break": "1e-12 cm^-2 s^-1",
}


def main() -> None:
    folder = Path(sys.argv[1])
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    posterior = read_posterior(folder / "posterior.nc")
    draws = {name: posterior["posterior"][name].values.ravel() for name in ("n1", "n2", "sb", "Sps_iso", "S_iso")}
    unit = summary["intensity"]["iso"]["mean"] / summary["parameters"]["S_iso"]["mean"]
    exposure = float(posterior["constant_data"]["reference_exposure"].values.ravel()[0])
    counts = posterior["observed_data"]["counts"].values
    quantities = {
        "intensity of all point sources": draws["Sps_iso"] * unit * 1e9,
        "smooth isotropic intensity": draws["S_iso"] * unit * 1e9,
        "share of the sources in the isotropic intensity": draws["Sps_iso"] / (draws["Sps_iso"] + draws["S_iso"]),
        "slope above the break": draws["n1"],
        "slope below the break": draws["n2"],
        "flux of the break": draws["sb"] / exposure * 1e12,
    }
    rows = []
    for name, values in quantities.items():
        low, middle, high = np.quantile(values, QUANTILES)
        unit_of = f" [{UNITS[name]}]" if name in UNITS else ""
        shown = [number(value, high - low) for value in (low, middle, high)]
        rows.append(f"| {name}{unit_of} | {shown[1]} ({shown[0]} to {shown[2]}) | {PAPER[name]} |")
    diagnostics = summary["diagnostics"]
    members = "\n".join(_member(row) for row in _members(Path(sys.argv[2])))
    text = PAGE.format(
        photons=int(counts.sum()), pixels=counts.size, rows="\n".join(rows), members=members,
        verdict=summary["verdict"]["level"], gradients=diagnostics["gradients"], log_z=diagnostics["log_z"],
        log_z_error=diagnostics["log_z_error"],
    )  # fmt: skip
    shutil.copyfile(folder / "figures" / "dnds.png", HERE / "figures" / "above_50_gev_dnds.png")
    (HERE / "above_50_gev.md").write_text(text, encoding="utf-8")


def _members(study: Path) -> list[dict[str, str]]:
    """The rows of the study, each with the numbers of its fit."""
    with open(study / "campaign" / "results.csv", encoding="utf-8", newline="") as file:
        fits = {row["name"]: row for row in csv.DictReader(file)}
    with open(study / "study.csv", encoding="utf-8", newline="") as file:
        return [fits[row["choices"]] | row for row in csv.DictReader(file)]


def _member(row: dict[str, str]) -> str:
    share = [float(row[f"ps_fraction_{q}"]) for q in ("q50", "q05", "q95")]
    whole, error = float(row["excess_intensity"]) * 1e9, float(row["excess_intensity_sd"]) * 1e9
    middle, low, high = (number(whole * value, whole * (share[2] - share[1])) for value in share)
    cells = [
        f"{row['axis.latitude_min']} deg", row["axis.bubbles"], f"*{row['verdict']}*", f"{int(row['n_photons']):,}",
        f"{float(row['log_z']):.2f}", "{:.2f} ({:.2f} to {:.2f})".format(*share), f"{whole:.2f} ± {error:.2f}",
        f"{middle} ({low} to {high})",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
