"""docs/studies/fields.md, from the study `fields`: what the sky asked of the maps, once they may change.

    gammasky study fields --data fermi --out studies/fields
    python docs/make_fields.py studies/fields

Two figures go to docs/studies/figures. No number of the page is typed by hand.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from gammasky import configure
from gammasky.analyses.ensemble.expansion import Expansion
from gammasky.analyses.ensemble.file import EnsembleFile
from gammasky.distributed.campaign import load_member, read_manifest
from gammasky.engine.infer.derived import FIELD_SD, derive
from gammasky.engine.infer.fields import FieldPosterior, field_posterior
from gammasky.engine.infer.figures import fields as field_figure
from gammasky.engine.infer.figures.maps import Window, colour_bar
from gammasky.engine.model import SkyModel

HERE = Path(__file__).parent / "studies"
PAGE, HEMISPHERES = HERE / "fields.md", HERE / "tables" / "hemispheres_members.csv"
GAS = "z_pib"
MAP_DRAWS = 256
TOLD = {
    "l_max=0": "none",
    "l_max=2": "the paper's modulation, l <= 2",
    "gas=l4": "gas: harmonics, l <= 4",
    "gas=l8": "gas: harmonics, l <= 8",
    "gas=sines10": "gas: Matern 3/2, 10 x 10 sines",
    "gas=sines14": "gas: Matern 3/2, 14 x 14 sines",
    "gas=sines10,others=fields": "gas, inverse Compton and excess (`fiducial_field`)",
    "gas=l4,split=both": "gas: harmonics, l <= 4; an excess of each hemisphere",
}

TEXT = """# What the sky asks of the maps: fields

Written by `docs/make_fields.py` from the study, {n_fits} fits of the Fermi-LAT data by the default method:

    gammasky study fields --data fermi --out studies/fields
    python docs/make_fields.py studies/fields

The model is that of the paper but for the gas map, which a [field](../models.md#fields-templates-that-are-not-known)
multiplies by exp(g). The first row has the maps as they are. *Gain* is log Z above it; *sd* the standard deviation of g
over the region in per cent, of the gas unless said; quantiles are 5 / 50 / 95 %, fluxes mean ± standard deviation in
counts per pixel.

{table}

{level}

{agree}

![Mean of the field on the gas in each fit](figures/fields_gas.png)

![The three fields of the last but one row](figures/fields_all.png)

## North and south

{split}
"""


@dataclass(frozen=True, eq=False)
class Member:
    """One fit of the study: its name in the plan, model, draws z (n, D), row of numbers, and its draws by quantity."""

    name: str
    model: SkyModel
    z: np.ndarray
    row: dict[str, Any]
    quantities: dict[str, np.ndarray]

    @property
    def log_z(self) -> float:
        return float(self.row["log_z"])

    def field(self, name: str) -> FieldPosterior:
        """A field of this fit, from evenly spaced draws."""
        return field_posterior(self.model, name, self.z[np.linspace(0, len(self.z) - 1, MAP_DRAWS).astype(int)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path, help="Folder of the study `fields`.")
    configure()
    members = read_members(parser.parse_args().study / "campaign")
    gas = {name: of.field(GAS) for name, of in members.items() if GAS in of.model.expectation.fields}
    whole = members["gas=sines10,others=fields"]
    (HERE / "figures").mkdir(exist_ok=True)
    gas_maps(members, gas).savefig(HERE / "figures" / "fields_gas.png", dpi=110)
    three = {name: whole.field(name) for name in whole.model.expectation.fields}
    field_figure.draw(whole.model, three).savefig(HERE / "figures" / "fields_all.png", dpi=80)
    text = TEXT.format(
        n_fits=len(members), table=table(members), level=level(members), agree=agreement(gas), split=split(members)
    )
    PAGE.write_text(text, encoding="utf-8")
    print(text)


def read_members(folder: Path) -> dict[str, Member]:
    """The fits that are done, by the axes that they choose."""
    manifest = read_manifest(folder)
    task = Expansion(EnsembleFile(**manifest.campaign)).task
    found = {}
    for member in manifest.members:
        done = load_member(folder, member.key)
        chosen = ",".join(f"{axis}={of}" for axis, of in member.labels.items() if of != "base")
        draws = {
            name.removeprefix("quantity_"): values
            for name, values in done.arrays.items()
            if name.startswith("quantity_")
        }
        found[chosen] = Member(member.name, task.model(done.spec), done.arrays["z"], done.row, draws)
    return found


def table(members: dict[str, Member]) -> str:
    head = ["field", "modes", "log Z", "gain", "sd", "point-source fraction", "flux of the excess", "of it smooth",
            "gradients", "verdict"]  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "| --- | ---: | ---: | ---: | --- | --- | --- | --- | ---: | --- |"]
    for chosen, words in TOLD.items():
        member = members[chosen]
        cells = [
            words,
            str(n_modes(member) or ""),
            f"{member.log_z:.2f} ± {float(member.row['log_z_error']):.2f}",
            f"{member.log_z - members['l_max=0'].log_z:.1f}",
            _sds(member),
            _quantiles(member.quantities["ps_fraction"]),
            _mean(member.quantities["excess_flux"]),
            _mean(member.quantities["smooth_flux"]),
            f"{int(member.row['gradients']):,}",
            ": ".join(filter(None, (str(member.row["verdict"]), str(member.row.get("why", ""))))),
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _sds(member: Member) -> str:
    """Standard deviation of every field over the region [per cent]."""
    names = list(member.model.expectation.fields)
    if not names:
        return ""
    found = 100 * np.asarray(derive(member.model, member.z)[FIELD_SD])
    parts = [f"{np.quantile(found[:, i], 0.5):.1f}" for i in range(len(names))]
    if len(names) == 1:
        return _quantiles(found[:, 0], ".1f")
    return "; ".join(f"{name} {part}" for name, part in zip(names, parts, strict=True))


def level(members: dict[str, Member]) -> str:
    """Whether log Z has levelled off."""
    gains = {name: of.log_z - members["l_max=0"].log_z for name, of in members.items()}
    fraction = {name: np.quantile(of.quantities["ps_fraction"], 0.05) for name, of in members.items()}
    best = max((name for name in gains if name.startswith("gas=") and "," not in name), key=gains.__getitem__)
    l4, l8, s10, s14 = (gains[f"gas={of}"] for of in ("l4", "l8", "sines10", "sines14"))
    fewer, more = (n_modes(members[f"gas={of}"]) for of in ("sines10", "sines14"))
    return (
        f"**Has log Z levelled off?** On the gas alone it rises by {l4:.1f} to l <= 4, by {l8 - l4:.1f} more to "
        f"l <= 8, and that of {more} sines is {s14 - s10:+.1f} beside that of {fewer}; the best of them is "
        f"“{TOLD[best]}”. "
        f"Fields on inverse Compton and on the excess besides bring {gains['gas=sines10,others=fields'] - s10:+.1f}. "
        f"The 5 % quantile of the point-source fraction is between {min(fraction.values()):.2f} and "
        f"{max(fraction.values()):.2f} in all rows."
    )


def n_modes(member: Member) -> int:
    return member.model.n_latent - member.model.latent.n_plain


def agreement(gas: dict[str, FieldPosterior]) -> str:
    """How alike the maps of the field on the gas are."""
    names = [name for name in gas if "," not in name]
    alike = sorted(
        (float(np.corrcoef(gas[one].mean, gas[other].mean)[0, 1]), TOLD[other], TOLD[one])
        for place, one in enumerate(names)
        for other in names[:place]
    )
    (low, *least), (high, *most) = alike[0], alike[-1]
    extremes = [f"{TOLD[name]}: {gas[name].mean.min():+.0f} to {gas[name].mean.max():+.0f} %" for name in names]
    return (
        f"The correlation between the mean fields on the gas of two fits is from {low:.2f} ({' and '.join(least)}) to "
        f"{high:.2f} ({' and '.join(most)}). They change the gas by so much: {'; '.join(extremes)}."
    )


def gas_maps(members: dict[str, Member], gas: dict[str, FieldPosterior]) -> Figure:
    """Mean of the field on the gas, a panel for each fit that has no other."""
    names = [name for name in gas if "," not in name]
    largest = max(float(np.abs(gas[name].mean).max()) for name in names)
    scale = Normalize(-largest, largest)
    figure = Figure(figsize=(10.5, 9.5), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey=True).ravel()
    for axis, name in zip(axes, names, strict=True):
        model = members[name].model
        Window(model.pixels).show(axis, field_figure.on_sphere(model, gas[name].mean), scale, "RdBu_r")
        axis.set_title(TOLD[name])
    for axis in axes[2:]:
        axis.set_xlabel(r"Galactic longitude $\ell$ [deg]")
    for axis in axes[::2]:
        axis.set_ylabel(r"Galactic latitude $b$ [deg]")
    colour_bar(figure, list(axes), scale, "RdBu_r", r"$e^g$ over its mean, minus 1 [per cent]", shrink=0.8)
    return figure


def split(members: dict[str, Member]) -> str:
    """What becomes of the split of the excess, with a field on the gas and without."""
    both, one = members["gas=l4,split=both"], members["gas=l4"]
    theta = jax.vmap(both.model.parameters)(jnp.asarray(both.z))
    north, south = (np.asarray(theta[f"S_gce{of}"] + theta[f"Sps_gce{of}"]) for of in ("", "_south"))
    with HEMISPHERES.open(encoding="utf-8", newline="") as file:
        rigid = {(row["axis.hemisphere"], row["axis.split"]): float(row["log_z"]) for row in csv.DictReader(file)}
    before = rigid["base", "both"] - rigid["all", "base"]
    fractions = [_quantiles(of.quantities["ps_fraction"]) for of in (both, one)]
    return (
        f"With the paper's modulation of the gas, an excess of its own for each hemisphere raises log Z by "
        f"{before:.1f} (study [hemispheres](results.md#hemispheres)). With a field of l <= 4 on the gas it changes "
        f"log Z by {both.log_z - one.log_z:+.1f}: {_mean(north)} counts per pixel in the north, {_mean(south)} in the "
        f"south, the north higher in {(north > south).mean():.0%} of the draws; the point-source fraction of both "
        f"together is {fractions[0]} (*{both.row['verdict']}*), {fractions[1]} without the split."
    )


def _quantiles(draws: np.ndarray, form: str = ".2f") -> str:
    return " / ".join(f"{value:{form}}" for value in np.quantile(draws, (0.05, 0.5, 0.95)))


def _mean(draws: np.ndarray) -> str:
    return f"{draws.mean():.2f} ± {draws.std():.2f}"


if __name__ == "__main__":
    main()
