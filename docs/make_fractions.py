"""docs/studies/fractions.md, from one fit of `fiducial_fraction`: the point-source fraction under six priors.

    gammasky fit fiducial_fraction --data fermi --out fits/fiducial_fraction
    python docs/make_fractions.py fits/fiducial_fraction

The posterior under another prior of the two norms is that of the fit, each draw weighted by the ratio of the priors:
the likelihood is the same. Fits of the study `priors`, where there are any, stand beside what the weights give. No
number of the page is typed by hand.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import gammasky

HERE = Path(__file__).parent / "studies"
PAGE, FITTED = HERE / "fractions.md", HERE / "tables" / "priors_members.csv"
Floats = NDArray[np.float64]
QUANTILES = (0.05, 0.5, 0.95)
N_DRAWS, SEED = 1_000_000, 0

TEXT = """# What the prior says of the point-source fraction

Written by `docs/make_fractions.py` from one fit:

    gammasky fit fiducial_fraction --data fermi --out fits/fiducial_fraction
    python docs/make_fractions.py fits/fiducial_fraction

The model is that of the paper. Its prior of the excess stands on the norms of the smooth and of the point-like part;
the preset `fiducial_fraction` puts it on the total flux (log-uniform) and on the fraction in point sources (uniform)
instead ([Models](../models.md#expressions-priors-on-what-is-asked)). What the fraction is before the data are seen, and
after, at 5 / 50 / 95 %:

{table}

The first row is the fit, with the verdict *{verdict}*. In the others its draws are weighted by the ratio of the
priors, since the likelihood is the same (the bulge shares have the uniform priors of `fiducial` there); ESS is the
effective number of draws that this leaves. The column "fitted" holds fits of the study [priors](results.md#priors),
made with that prior from the start: two ways to the same numbers. Its `wide_norms` are twice as wide for the disk, too:
log Z is lower by ln 2 for that.
{said}"""


@dataclass(frozen=True)
class OfNorms:
    """One prior of both norms, each on its own.

    Attributes:
        words: what it is.
        log_density: of one norm [counts per pixel].
        draw: norms from uniform numbers between 0 and 1.
        member: the fit of the study `priors` that has it; "" for none.
    """

    words: str
    log_density: Callable[[Floats], Floats]
    draw: Callable[[Floats], Floats]
    member: str = ""


def uniform(low: float, high: float, member: str) -> OfNorms:
    def log_density(x: Floats) -> Floats:
        return np.where((x >= low) & (x <= high), -math.log(high - low), -np.inf)

    return OfNorms(f"norms uniform, {low:g} to {high:g}", log_density, lambda u: low + (high - low) * u, member)


def log_uniform(low: float, high: float, member: str = "") -> OfNorms:
    width = math.log(high / low)

    def log_density(x: Floats) -> Floats:
        return np.where((x >= low) & (x <= high), -np.log(x * width), -np.inf)

    return OfNorms(f"norms log-uniform, {low:g} to {high:g}", log_density, lambda u: low * np.exp(width * u), member)


def half_normal(sd: float) -> OfNorms:
    from scipy.special import ndtri

    def log_density(x: Floats) -> Floats:
        return 0.5 * math.log(2 / math.pi) - math.log(sd) - 0.5 * (x / sd) ** 2

    return OfNorms(f"norms half-normal, sd {sd:g}", log_density, lambda u: sd * ndtri(0.5 + 0.5 * u))


PRIORS = [
    uniform(1e-5, 4.0, "default"),
    uniform(1e-5, 8.0, "wide_norms"),
    half_normal(1.0),
    log_uniform(0.1, 4.0),
    log_uniform(0.01, 4.0, "log_norms"),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fit", type=Path, help="Folder of the fit of `fiducial_fraction`.")
    fit = gammasky.load(parser.parse_args().fit)
    draws = {name: np.asarray(values) for name, values in fit.derived.items()}
    flux, fraction = draws["F_gce"], draws["f_gce"]
    prior = fit.saved.posterior.spec.parameters["F_gce"]
    low, high = prior.support()
    bulge = np.stack([draws["f_bulge_poiss"][:, 0], draws["f_bulge_ps"][:, 0]])
    # of the two norms: that of flux and fraction over the Jacobian, which is the flux; and Beta(1/2, 1/2) twice
    log_old = -2 * np.log(flux) - math.log(math.log(high / low))
    log_old -= np.sum(np.log(np.pi) + 0.5 * np.log(bulge * (1 - bulge)), axis=0)
    log_z = float(fit.diagnostics["log_z"])
    even = np.full(len(flux), 1.0 / len(flux))
    rows = [["flux log-uniform, fraction uniform", _told(np.array(QUANTILES)), _told(_quantiles(fraction, even)),
             f"{len(flux)}", f"{log_z:.2f}", "this fit"]]  # fmt: skip
    for other in PRIORS:
        log_weight = other.log_density(flux * (1 - fraction)) + other.log_density(flux * fraction) - log_old
        weight = np.exp(log_weight - log_weight.max())
        found = log_z + log_weight.max() + math.log(weight.mean())
        weight /= weight.sum()
        u = np.random.default_rng(SEED).uniform(size=(2, N_DRAWS))
        smooth, sources = other.draw(u[0]), other.draw(u[1])
        before = np.quantile(sources / (smooth + sources), QUANTILES)
        rows.append(
            [other.words, _told(before), _told(_quantiles(fraction, weight)), f"{1 / np.sum(weight**2):.0f}",
             f"{found:.2f}", _fitted(other.member)]
        )  # fmt: skip
    text = TEXT.format(table=_table(rows), verdict=fit.verdict.level, said=_said(rows))
    PAGE.write_text(text, encoding="utf-8")
    print(text)


def _quantiles(values: Floats, weights: Floats) -> Floats:
    order = np.argsort(values)
    return np.interp(QUANTILES, np.cumsum(weights[order]) - 0.5 * weights[order], values[order])


def _told(values: Any) -> str:
    return " / ".join(f"{value:.2f}" for value in values)


def _fitted(member: str) -> str:
    """Fraction, log Z and verdict of a fit of the study `priors`."""
    if not member or not FITTED.is_file():
        return ""
    with FITTED.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["axis.priors"] == member:
                fraction = _told(float(row[f"ps_fraction_q{q}"]) for q in ("05", "50", "95"))
                return f"{fraction}, log Z {float(row['log_z']):.2f}, {row['verdict']}"
    return ""


def _table(rows: list[list[str]]) -> str:
    head = ["prior", "fraction before", "after", "ESS", "log Z", "fitted"]
    lines = ["| " + " | ".join(head) + " |", "| --- | --- | --- | ---: | ---: | --- |"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _said(rows: list[list[str]]) -> str:
    middles = [float(row[2].split(" / ")[1]) for row in rows]
    lows = [float(row[2].split(" / ")[0]) for row in rows]
    evidences = [float(row[4]) for row in rows]
    return (
        f"\nThe median goes from {min(middles):.2f} to {max(middles):.2f}, and the lower limit of 95 % from "
        f"{min(lows):.2f} to {max(lows):.2f}, with the prior alone, while log Z differs by no more than "
        f"{max(evidences) - min(evidences):.1f}.\n"
    )


if __name__ == "__main__":
    main()
