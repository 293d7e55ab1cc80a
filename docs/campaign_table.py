"""The tables of docs/campaigns.md, from the answer.csv and effects.csv of a campaign.

    gammasky campaign report campaigns/mmd
    python docs/campaign_table.py campaigns/mmd

Prints what the members say together, the effects that move the answer, and a row for each member, as Markdown.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter
from pathlib import Path

import numpy as np

AXES = ("mask", "morphology", "diffuse")


def main() -> None:
    folder = Path(sys.argv[1])
    rows = _read(folder / "answer.csv")
    gradients, seconds = (np.array([float(row[name]) for row in rows]) for name in ("gradients", "fit_seconds"))
    verdicts = Counter(row["verdict"] for row in rows)
    print(f"{len(rows)} members: {', '.join(f'{number} {verdict}' for verdict, number in verdicts.most_common())}.")
    print(f"Gradients: median {np.median(gradients):,.0f}, at most {gradients.max():,.0f}; seconds of a fit: "
          f"median {np.median(seconds):.0f}, at most {seconds.max():.0f}.\n")  # fmt: skip
    for quantity in ("ps_fraction", "excess_flux"):
        _together(quantity, [row for row in rows if row["verdict"] == "reliable"])
    print("\n| quantity | choice | shift | error | sd of one fit |\n| --- | --- | ---: | ---: | ---: |")
    for effect in _read(folder / "effects.csv"):
        if effect["quantity"] in ("ps_fraction", "excess_flux"):
            numbers = (f"{float(effect[name]):+.2f}" for name in ("shift", "error"))
            print(f"| {effect['quantity']} | {effect['axis']} = {effect['choice']} | {' | '.join(numbers)} | "
                  f"{float(effect['posterior_sd']):.2f} |")  # fmt: skip
    print("\n| mask | shape | diffuse | log Z | weight | point-source fraction | flux | gradients | verdict |")
    print("| --- | --- | --- | ---: | ---: | --- | --- | ---: | --- |")
    for row in rows:
        weight = float(row["evidence_weight"] or 0)
        cells = [row[f"axis.{axis}"] for axis in AXES]
        cells += [f"{float(row['log_z']):.2f} ± {float(row['log_z_error']):.2f}", f"{weight:.2f}" * (weight > 0.005)]
        cells.append(" / ".join(f"{float(row[f'ps_fraction_{q}']):.2f}" for q in ("q05", "q50", "q95")))
        cells.append(f"{float(row['excess_flux_mean']):.2f} ± {float(row['excess_flux_sd']):.2f}")
        print(f"| {' | '.join(cells)} | {float(row['gradients']):,.0f} | {row['verdict']} |")


def _together(quantity: str, rows: list[dict[str, str]]) -> None:
    """Averages over all of these members alike and, within one mask, by evidence."""
    means, sds = (np.array([float(row[f"{quantity}_{name}"]) for row in rows]) for name in ("mean", "sd"))
    within, between = np.sqrt(np.mean(sds**2)), means.std()
    print(f"{quantity}: {means.mean():.2f} ± {np.hypot(within, between):.2f}, of which {within:.2f} within a member "
          f"and {between:.2f} between members; means from {means.min():.2f} to {means.max():.2f}.")  # fmt: skip
    for mask in dict.fromkeys(row["axis.mask"] for row in rows):
        here = np.array([row["axis.mask"] == mask for row in rows])
        weights = np.array([float(row["evidence_weight"] or 0) for row in rows])[here]
        mean = weights @ means[here]
        sd = np.sqrt(weights @ (sds[here] ** 2 + (means[here] - mean) ** 2))
        print(f"- by evidence, {mask}: {mean:.2f} ± {sd:.2f}")


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
